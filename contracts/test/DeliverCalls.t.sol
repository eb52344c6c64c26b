// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, MessageKind, Policy} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {Log} from "./helpers/Vm.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice What a delivered message does: booked, called with all its gas, given back when it fails.
contract DeliverCallsTest is GroupTest {
    uint256 private box;
    MockProcess private target;
    uint256 private otherBox;
    MockProcess private other;

    function setUp() public override {
        super.setUp();
        (box, target) = newLiveProcess(PROCESS);
        (otherBox, other) = newLiveProcess(OTHER);
    }

    /* GAS */

    function test_RefusesTooLittleGasForTheCall() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, 1));
        bytes memory call = abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, batches));
        (bool success, bytes memory reason) = address(group).call{gas: 480_000}(call);
        vm.assertFalse(success);
        vm.assertEq(bytes32(bytes4(reason)), bytes32(IGroup.InsufficientGas.selector));
    }

    /// @dev From the least gas that a delivery succeeds with upwards, a process that needs its whole limit always gets it:
    /// a deliverer cannot choose an amount of gas with which it fails.
    function testFuzz_NeverStarvesACall(uint32 gasLimit) public {
        gasLimit = uint32(bound(gasLimit, 50_000, 8_000_000));
        Hungry hungry = new Hungry(group, gasLimit);
        uint256 hungryBox = members.open(hungry.PROCESS());
        members.register(hungryBox, address(hungry), 0, gasLimit);
        members.post(hungryBox, MessageKind.CALL, ALICE, XIN, 5, "");
        Signed memory signed = members.sign();
        deliver(signed, new Batch[](0));
        Batch[] memory batches = list(members.batch(signed, hungryBox, 0));
        bytes memory call = abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, batches));

        uint256 start = vm.snapshotState();
        (uint256 low, uint256 high) = (gasLimit, 2 * uint256(gasLimit) + 500_000);
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            if (succeeds(call, middle, start)) high = middle;
            else low = middle;
        }
        for (uint256 more; more < 2000; more += 100) {
            (bool success,) = address(group).call{gas: high + more}(call);
            vm.assertTrue(success);
            vm.assertTrue(hungry.fed());
            vm.assertEq(group.outboundNonce(), 0);
            vm.revertToState(start);
        }
    }

    /* FAILURES */

    function test_RefundsACallThatReverts() public {
        refunds(MockProcess.Mode.Revert);
    }

    function test_RefundsACallThatBurnsItsGas() public {
        refunds(MockProcess.Mode.BurnGas);
    }

    function test_RefundsACallThatRevertsWithAMegabyte() public {
        refunds(MockProcess.Mode.RevertBomb);
    }

    function test_RefundsACallThatSendsAndThenReverts() public {
        refunds(MockProcess.Mode.SendThenRevert);
    }

    /// @dev A megabyte of returned data costs its maker's gas, and no copy.
    function test_TakesACallThatReturnsAMegabyte() public {
        target.setMode(MockProcess.Mode.ReturnBomb);
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        uint256 before = gasleft();
        deliver(signed, box, 1);
        vm.assertLt(before - gasleft(), 2_400_000, "gas");
        vm.assertEq(group.custody(PROCESS, XIN), 5);
        vm.assertEq(group.outboundNonce(), 0);
    }

    /// @dev The fourth value of the two bits has no meaning of its own.
    function test_RefundsUnderAnUnusedPolicy() public {
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(3 << 1), uint32(0)));
        deliver(box, 1);
        target.setMode(MockProcess.Mode.Revert);
        post(box, ALICE, 5, "hello");
        fails(2, 0);
        vm.assertEq(group.outboundNonce(), 1);
        vm.assertEq(uint256(group.processInfo(PROCESS).policy), Policy.REFUND);
    }

    function test_DelaysNobodyElse() public {
        MockProcess.Mode[4] memory modes = [
            MockProcess.Mode.Revert, MockProcess.Mode.BurnGas, MockProcess.Mode.ReturnBomb, MockProcess.Mode.RevertBomb
        ];
        for (uint256 i; i < modes.length; ++i) {
            target.setMode(modes[i]);
            post(box, ALICE, 5, "hello");
            post(otherBox, BOB, 7, "hello");
            Signed memory signed = members.sign();
            deliver(signed, list(members.batch(signed, box, 1 + i), members.batch(signed, otherBox, 1 + i)));
            vm.assertEq(other.received(), i + 1);
            vm.assertEq(group.custody(OTHER, XIN), 7 * (i + 1));
        }
        vm.assertEq(target.received(), 0);
    }

    /// @dev The failing process's own later messages run as well.
    function test_DelaysNotEvenItself() public {
        post(box, ALICE, 5, "one");
        target.setMode(MockProcess.Mode.Revert);
        deliver(box, 1);
        target.setMode(MockProcess.Mode.Keep);
        post(box, BOB, 6, "two");
        deliver(box, 1);
        vm.assertEq(target.received(), 1);
        vm.assertEq(target.receivedAt(0).payload, "two");
        vm.assertEq(group.custody(PROCESS, XIN), 6);
        vm.assertEq(group.outboundNonce(), 1);
    }

    function test_OnlyRecordsAFailureWithoutPayment() public {
        target.setMode(MockProcess.Mode.Revert);
        post(box, ALICE, 0, "hello");
        fails(1, 0);
        vm.assertEq(group.outboundNonce(), 0);
    }

    /// @dev A payment of nobody has nobody to go back to: the process keeps it.
    function test_KeepsAFailedPaymentOfNobody() public {
        target.setMode(MockProcess.Mode.Revert);
        post(box, 0, 5, "hello");
        fails(1, 0);
        vm.assertEq(group.outboundNonce(), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    /// @dev A process whose messages bring different assets gets each into its own book.
    function test_BooksEachAsset() public {
        members.post(box, MessageKind.CALL, ALICE, XIN, 5, "");
        members.post(box, MessageKind.CALL, ALICE, BTC, 7, "");
        members.post(box, MessageKind.CALL, ALICE, XIN, 11, "");
        members.post(box, MessageKind.CALL, ALICE, 0, 0, "");
        members.post(box, MessageKind.CALL, ALICE, BTC, 13, "");
        deliver(box, 1);
        vm.assertEq(group.custody(PROCESS, XIN), 16);
        vm.assertEq(group.custody(PROCESS, BTC), 20);
        vm.assertEq(group.custody(PROCESS, 0), 0);
    }

    /// @dev Booked before each call: a message spends what came before and with it, never what comes later.
    function test_SpendsNoLaterPayment() public {
        target.setMode(MockProcess.Mode.SendAll);
        post(box, ALICE, 5, "a");
        post(box, BOB, 7, "b");
        Signed memory signed = members.sign();
        uint64 sequence = signed.checkpoint.sequence;
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, sequence, XIN, 5, abi.encode(ALICE), "a");
        vm.expectEmit(address(group));
        emit IGroup.Outbound(1, PROCESS, sequence, XIN, 7, abi.encode(BOB), "b");
        deliver(signed, box, 1);
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }

    /// @dev A failed call undoes its own sends, and with them their numbers.
    function test_LeavesNoGapAfterAFailedSend() public {
        target.setMode(MockProcess.Mode.SendThenRevert);
        post(box, ALICE, 5, "a");
        post(box, BOB, 7, "b");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 1);
        expectRefund(1, PROCESS, BOB, 7, 2);
        deliver(signed, box, 1);
        vm.assertEq(group.outboundNonce(), 2);
    }

    /* BOUNCES */

    function test_BooksABounceAndCalls() public {
        members.post(box, MessageKind.BOUNCE, 0, XIN, 5, "");
        deliver(box, 1);
        vm.assertEq(target.received(), 1);
        vm.assertEq(uint256(target.receivedAt(0).kind), MessageKind.BOUNCE);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    /// @dev What comes back stays, whatever the process makes of it and whoever the message names: nothing goes to and fro.
    function test_KeepsAFailedBounce() public {
        target.setMode(MockProcess.Mode.Revert);
        members.post(box, MessageKind.BOUNCE, ALICE, XIN, 5, "");
        fails(1, 0);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
        vm.assertEq(group.outboundNonce(), 0);
    }

    /* HELPERS */

    function succeeds(bytes memory call, uint256 gasGiven, uint256 start) private returns (bool success) {
        (success,) = address(group).call{gas: gasGiven}(call);
        vm.revertToState(start);
    }

    function refunds(MockProcess.Mode mode) private {
        post(box, BOB, 100, "");
        deliver(box, 1);
        target.setMode(mode);
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        vm.recordLogs();
        deliver(signed, box, 2);
        vm.assertEq(uint256(failedPolicy(vm.getRecordedLogs())), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 100);
        vm.assertEq(group.outboundNonce(), 1);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 3));

        post(box, ALICE, 6, "again");
        signed = members.sign();
        expectRefund(1, PROCESS, ALICE, 6, 3);
        deliver(signed, box, 3);
    }

    /// @dev Delivers the rest of the mailbox from `first` on; its first message fails.
    function fails(uint64 first, uint8 policy) private {
        Signed memory signed = members.sign();
        vm.recordLogs();
        deliver(signed, box, first);
        vm.assertEq(uint256(failedPolicy(vm.getRecordedLogs())), policy);
        vm.assertEq(target.received(), 0);
    }

    /// @dev The policy in the only `Failed` of `logs`.
    function failedPolicy(Log[] memory logs) private view returns (uint8 policy) {
        vm.assertEq(countLogs(logs, IGroup.Failed.selector), 1, "one failure");
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IGroup.Failed.selector) continue;
            vm.assertEq(logs[i].emitter, address(group));
            (policy,) = abi.decode(logs[i].data, (uint8, uint256));
        }
    }
}

/// @notice A healthy process that needs all of its gas limit, but for what getting here costs.
contract Hungry {
    bytes32 public constant PROCESS = bytes32(uint256(0x40060));
    uint256 public immutable LIMIT;
    bool public fed;

    error Starved();

    constructor(IGroup group, uint256 limit) {
        LIMIT = limit;
        group.bind(PROCESS);
    }

    fallback() external {
        require(gasleft() + 300 > LIMIT, Starved());
        fed = true;
    }
}
