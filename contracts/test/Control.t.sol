// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {MessageKind, ProcessInfo, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Update, close, and kinds that this contract does not know.
contract ControlTest is GroupTest {
    uint256 private box;
    MockProcess private target;

    function setUp() public override {
        super.setUp();
        (box, target) = newLiveProcess(PROCESS);
    }

    /* PASSED OVER */

    function testFuzz_PassesOverAnUnknownKind(uint8 kind, bytes calldata payload) public {
        kind = uint8(bound(kind, 5, 255));
        members.post(box, kind, ALICE, 0, 0, payload);
        passesOver();
    }

    function testFuzz_PassesOverAMalformedUpdate(bytes calldata payload) public {
        vm.assume(payload.length != 5);
        members.post(box, MessageKind.UPDATE, 0, 0, 0, payload);
        passesOver();
    }

    function test_PassesOverAnUpdateOfAClosedProcess() public {
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(1), uint32(60_000)));
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Closed(PROCESS);
        vm.expectEmit(address(group));
        emit IGroup.Failed(PROCESS, 2, 0, 0);
        vm.expectEmit(address(group));
        emit IGroup.Failed(PROCESS, 3, 0, 0);
        deliver(signed, box, 1);
        vm.assertTrue(group.processInfo(PROCESS).status == Status.Closed);
        vm.assertEq(uint256(group.processInfo(PROCESS).gasLimit), GAS_LIMIT);
    }

    /// @dev A rejected mailbox is not revived by whatever comes later.
    function test_PassesOverControlOfARejectedProcess() public {
        uint256 rejected = members.open(OTHER);
        members.register(rejected, address(target), 0, GAS_LIMIT);
        members.post(rejected, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(1), uint32(60_000)));
        members.post(rejected, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(rejected, 0);
        vm.assertTrue(group.processInfo(OTHER).status == Status.Rejected);
        vm.assertEq(uint256(group.processInfo(OTHER).gasLimit), GAS_LIMIT);
    }

    /* UPDATE */

    function testFuzz_Updates(uint8 flags, uint32 gasLimit) public {
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(flags, gasLimit));
        uint32 kept = gasLimit > 8_000_000 ? 8_000_000 : gasLimit == 0 ? GAS_LIMIT : gasLimit;
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Updated(PROCESS, kept, flags);
        deliver(signed, box, 1);
        ProcessInfo memory info = group.processInfo(PROCESS);
        vm.assertEq(info.target, address(target));
        vm.assertEq(uint256(info.gasLimit), kept);
        vm.assertEq(uint256(info.flags), flags);
        vm.assertTrue(info.status == Status.Alive);
        vm.assertEq(target.received(), 0);
    }

    /// @dev A new gas limit holds for the next message of the same batch.
    function test_CallsWithTheNewGasLimit() public {
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(0), uint32(1000)));
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 2);
        deliver(signed, box, 1);
        vm.assertEq(target.received(), 0);
    }

    /* CLOSE */

    function test_GivesBackWhatAClosedProcessIsPaid() public {
        post(box, BOB, 7, "before");
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        post(box, ALICE, 5, "after");
        members.post(box, MessageKind.BOUNCE, 0, XIN, 3, "");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 3);
        deliver(signed, box, 1);
        vm.assertEq(target.received(), 1);
        vm.assertEq(group.custody(PROCESS, XIN), 10);
    }

    function test_LetsAClosedProcessPayOut() public {
        post(box, BOB, 7, "before");
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(box, 1);
        target.send(XIN, 7, abi.encode(BOB), "");
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }

    /* HELPERS */

    /// @dev The message has no effect, and the next one runs.
    function passesOver() private {
        post(box, ALICE, 5, "next");
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Failed(PROCESS, 1, 0, 0);
        deliver(signed, box, 1);
        vm.assertEq(target.received(), 1);
        vm.assertTrue(group.processInfo(PROCESS).status == Status.Alive);
    }
}
