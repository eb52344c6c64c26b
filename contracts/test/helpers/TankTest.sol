// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Batch, MessageKind} from "../../src/types/Messages.sol";
import {MockProcess} from "../mocks/MockProcess.sol";
import {GroupTest} from "./GroupTest.sol";
import {Signed} from "./Members.sol";

/// @notice Two processes whose tanks can be filled, and one who delivers to them.
abstract contract TankTest is GroupTest {
    address internal constant DELIVERER = address(0xde11);
    uint256 internal constant BASE_FEE = 20 gwei;

    uint256 internal box;
    MockProcess internal target;
    uint256 internal otherBox;
    MockProcess internal other;

    function setUp() public virtual override {
        super.setUp();
        vm.fee(BASE_FEE);
        vm.txGasPrice(BASE_FEE);
        vm.deal(address(this), 1000 ether);
        (box, target) = newLiveProcess(PROCESS);
        (otherBox, other) = newLiveProcess(OTHER);
    }

    function earn() internal returns (uint256) {
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        deliverAs(signed, list(members.batch(signed, box, 1)));
        return group.credit(DELIVERER);
    }

    function close() internal {
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(box, members.count(box) - 1);
    }

    function deliverAs(Signed memory signed, Batch[] memory batches) internal {
        vm.prank(DELIVERER);
        group.deliver(signed.checkpoint, signed.signature, batches);
    }
}
