// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {MessageKind, ProcessInfo, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Message 0 of a mailbox.
contract RegisterTest is GroupTest {
    MockProcess private target;

    function setUp() public override {
        super.setUp();
        target = new MockProcess(group, 0);
    }

    /* REJECTED */

    function test_RejectsAnAddressThatDidNotBind() public {
        rejects(address(target));
    }

    function test_RejectsAnAddressThatBoundToAnotherProcess() public {
        target.bind(OTHER);
        rejects(address(target));
    }

    function test_RejectsAnAddressWithoutCode() public {
        address account = address(0xAcc0000000000000000000000000000000000001);
        vm.prank(account);
        group.bind(PROCESS);
        rejects(account);
    }

    function test_RejectsThePrecompiles() public {
        for (uint160 i = 1; i <= 0x11; ++i) {
            rejectsEvenIfBound(address(i), bytes32(uint256(i)));
        }
        rejectsEvenIfBound(address(0xffff), PROCESS);
    }

    function test_RejectsTheGroupItself() public {
        rejectsEvenIfBound(address(group), PROCESS);
    }

    function test_RejectsTheZeroAddress() public {
        rejects(address(0));
    }

    /// @dev Binding afterwards does not help: the mailbox stays rejected.
    function test_StaysRejectedAfterALateBind() public {
        uint256 box = members.open(PROCESS);
        members.register(box, address(target), 0, GAS_LIMIT);
        deliver(box, 0);
        target.bind(PROCESS);
        members.register(box, address(target), 0, GAS_LIMIT);
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 2);
        deliver(signed, box, 1);
        vm.assertTrue(group.processInfo(PROCESS).status == Status.Rejected);
        vm.assertEq(target.received(), 0);
    }

    /// @dev A registration anywhere but at nonce 0 changes nothing, not even with a bound address.
    function test_IgnoresALaterRegistration() public {
        (uint256 box, MockProcess live) = newLiveProcess(PROCESS);
        MockProcess second = new MockProcess(group, PROCESS);
        members.register(box, address(second), 7, 50_000);
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Failed(PROCESS, 1, 0, 0);
        deliver(signed, box, 1);
        ProcessInfo memory info = group.processInfo(PROCESS);
        vm.assertEq(info.target, address(live));
        vm.assertEq(uint256(info.gasLimit), GAS_LIMIT);
        vm.assertEq(uint256(info.flags), 0);
    }

    /// @dev A mailbox whose first message is no registration never comes alive, and blocks nothing.
    function testFuzz_PassesOverAMalformedRegistration(bytes calldata payload) public {
        vm.assume(payload.length != 25);
        target.bind(PROCESS);
        uint256 box = members.open(PROCESS);
        members.post(box, MessageKind.REGISTER, 0, 0, 0, payload);
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 1);
        deliver(signed, box, 0);
        vm.assertTrue(group.processInfo(PROCESS).status == Status.None);
    }

    function test_RefundsACallBeforeAnyRegistration() public {
        target.bind(PROCESS);
        uint256 box = members.open(PROCESS);
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 0);
        deliver(signed, box, 0);
        vm.assertEq(target.received(), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }

    /// @dev Payments to a rejected mailbox go back; what cannot, stays with it.
    function test_RefundsEachPaymentToARejectedMailbox() public {
        uint256 box = members.open(PROCESS);
        members.register(box, address(target), 0, GAS_LIMIT);
        post(box, ALICE, 5, "one");
        post(box, BOB, 6, "two");
        post(box, ALICE, 0, "no payment");
        post(box, 0, 7, "nobody");
        members.post(box, MessageKind.BOUNCE, 0, XIN, 8, "");
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Rejected(PROCESS, address(target));
        expectRefund(0, PROCESS, ALICE, 5, 1);
        expectRefund(1, PROCESS, BOB, 6, 2);
        vm.expectEmit(address(group));
        emit IGroup.Failed(PROCESS, 3, 0, 0);
        vm.expectEmit(address(group));
        emit IGroup.Delivered(PROCESS, 0, 6);
        deliver(signed, box, 0);
        vm.assertEq(group.outboundNonce(), 2);
        vm.assertEq(group.custody(PROCESS, XIN), 15);
        vm.assertEq(target.received(), 0);
    }

    /* ALIVE */

    function testFuzz_Registers(uint8 flags, uint32 gasLimit) public {
        target.bind(PROCESS);
        uint256 box = members.open(PROCESS);
        members.register(box, address(target), flags, gasLimit);
        uint32 kept = gasLimit > 8_000_000 ? 8_000_000 : gasLimit;
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Registered(PROCESS, address(target), kept, flags);
        deliver(signed, box, 0);
        ProcessInfo memory info = group.processInfo(PROCESS);
        vm.assertEq(info.target, address(target));
        vm.assertEq(uint256(info.gasLimit), kept);
        vm.assertEq(uint256(info.flags), flags);
        vm.assertTrue(info.status == Status.Alive);
        vm.assertEq(target.received(), 0);
    }

    function test_RunsWhatFollowsInTheSameBatch() public {
        target.bind(PROCESS);
        uint256 box = members.open(PROCESS);
        members.register(box, address(target), 0, GAS_LIMIT);
        post(box, ALICE, 5, "hello");
        deliver(box, 0);
        vm.assertEq(target.received(), 1);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    /* HELPERS */

    function rejects(address address_) private {
        rejects(address_, PROCESS);
    }

    /// @dev Only a bound address comes so far, and these cannot bind: the second line of defence.
    function rejectsEvenIfBound(address address_, bytes32 process) private {
        vm.prank(address_);
        group.bind(process);
        rejects(address_, process);
    }

    function rejects(address address_, bytes32 process) private {
        uint256 box = members.open(process);
        members.register(box, address_, 0, GAS_LIMIT);
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Rejected(process, address_);
        deliver(signed, box, 0);
        vm.assertTrue(group.processInfo(process).status == Status.Rejected);

        // What is paid to it goes back.
        uint64 outbound = group.outboundNonce();
        post(box, ALICE, 5, "hello");
        signed = members.sign();
        expectRefund(outbound, process, ALICE, 5, 1);
        deliver(signed, box, 1);
        vm.assertEq(group.custody(process, XIN), 0);
    }
}
