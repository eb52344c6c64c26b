// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Message, MessageKind, Policy} from "../../src/types/Messages.sol";
import {MockProcess} from "../mocks/MockProcess.sol";
import {GroupTest} from "./GroupTest.sol";

/// @notice A process that parks what fails, and one message that is parked.
abstract contract ParkedTest is GroupTest {
    uint256 internal constant NOW = 1_800_000_000;
    uint256 internal constant DELAY = 3 days;

    uint256 internal box;
    MockProcess internal target;
    /// @dev Message 2, parked with 5 XIN of Alice.
    Message internal parkedOne;

    function setUp() public virtual override {
        super.setUp();
        vm.warp(NOW);
        (box, target) = newLiveProcess(PROCESS);
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(Policy.PARK << 1), uint32(0)));
        target.setMode(MockProcess.Mode.Revert);
        parkedOne = members.post(box, MessageKind.CALL, ALICE, XIN, 5, "hello");
        deliver(box, 1);
        target.setMode(MockProcess.Mode.Keep);
    }

    function park(bytes32 sender, uint256 amount) internal returns (Message memory message) {
        target.setMode(MockProcess.Mode.Revert);
        uint256 nonce = members.count(box);
        message = members.post(box, MessageKind.CALL, sender, amount == 0 ? bytes32(0) : XIN, amount, "");
        deliver(box, nonce);
        target.setMode(MockProcess.Mode.Keep);
    }

    function close() internal {
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(box, 3);
    }

    function staysParked() internal view {
        (bytes32 hash, uint64 time) = group.parked(PROCESS, 2);
        vm.assertEq(hash, bytes32(uint256(keccak256(abi.encode(parkedOne))) >> 40 << 40));
        vm.assertEq(time, NOW);
    }

    function refusesRetry(Message memory message, bytes memory reason) internal {
        vm.expectRevert(reason);
        group.retry(PROCESS, message);
    }

    function refusesClaim(Message memory message, bytes memory reason) internal {
        vm.expectRevert(reason);
        group.claim(PROCESS, message);
    }
}
