// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, Message, MessageKind, Policy, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {Log} from "./helpers/Vm.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Strict mailboxes: they wait before a message that fails, and what gets them on again.
contract StrictTest is GroupTest {
    uint256 private box;
    Picky private target;
    uint256 private otherBox;
    MockProcess private other;

    function setUp() public override {
        super.setUp();
        target = new Picky(group, PROCESS);
        box = members.open(PROCESS);
        members.register(box, address(target), flagsOf(Policy.STRICT), GAS_LIMIT);
        deliver(box, 0);
        (otherBox, other) = newLiveProcess(OTHER);
    }

    /* NO PROGRESS */

    function test_RefusesABatchThatOnlyFails() public {
        post(box, ALICE, 5, "bad");
        post(box, ALICE, 6, "good");
        refusesBlocked(1, 1);
    }

    function test_RefusesItAgainAfterSomeProgress() public {
        post(box, ALICE, 5, "good");
        post(box, ALICE, 6, "bad");
        deliver(box, 1);
        refusesBlocked(2, 2);
    }

    /// @dev An estimate of the whole delivery names the mailbox that must be left out.
    function test_RefusesTheWholeDeliveryForOneThatIsBlocked() public {
        post(box, ALICE, 5, "bad");
        post(otherBox, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, otherBox, 1), members.batch(signed, box, 1));
        refuses(signed, batches, abi.encodeWithSelector(IGroup.StrictBlocked.selector, PROCESS, 1));
        vm.assertEq(other.received(), 0);
        deliver(signed, otherBox, 1);
        vm.assertEq(other.received(), 1);
    }

    function test_RefusesAFailedBounce() public {
        members.post(box, MessageKind.BOUNCE, 0, XIN, 5, "bad");
        refusesBlocked(1, 1);
    }

    /* PROGRESS */

    function test_StopsBeforeTheMessageThatFails() public {
        for (uint256 i; i < 3; ++i) {
            // Payloads of any length: the heads are found again from memory.
            post(box, ALICE, 10, abi.encodePacked("good", new bytes(i * 29)));
        }
        members.post(box, MessageKind.CALL, ALICE, BTC, 7, "bad");
        post(box, ALICE, 10, "good");
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Delivered(PROCESS, 1, 3);
        deliver(signed, box, 1);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 4));
        vm.assertEq(target.count(), 3);
        vm.assertEq(group.custody(PROCESS, XIN), 30);
        vm.assertEq(group.custody(PROCESS, BTC), 0);
        vm.assertEq(group.outboundNonce(), 0);
    }

    function test_SaysWhereItIsBlocked() public {
        post(box, ALICE, 5, "good");
        post(box, ALICE, 6, "bad");
        Signed memory signed = members.sign();
        vm.recordLogs();
        deliver(signed, box, 1);
        Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(countLogs(logs, IGroup.Failed.selector), 0);
        bool found;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IGroup.Blocked.selector) continue;
            found = true;
            vm.assertEq(logs[i].topics[1], PROCESS);
            vm.assertEq(uint256(logs[i].topics[2]), 2);
        }
        vm.assertTrue(found);
    }

    /// @dev Somebody else brings what a batch begins with, and leaves it with a message that fails: the rest of the delivery
    /// runs as if the batch were not there, and its tank pays nothing for the failure.
    function test_LosesARaceWithoutTheOtherMailboxes() public {
        post(box, ALICE, 5, "good");
        post(box, ALICE, 6, "bad");
        post(otherBox, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        deliver(signed, box, 1);
        vm.deal(address(this), 1 ether);
        group.fund{value: 1 ether}(PROCESS);
        vm.recordLogs();
        deliver(signed, list(members.batch(signed, otherBox, 1), members.batch(signed, box, 1)));
        Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(countLogs(logs, IGroup.Blocked.selector), 1);
        vm.assertEq(countLogs(logs, IGroup.Delivered.selector), 1);
        vm.assertEq(other.received(), 1);
        vm.assertEq(target.count(), 1);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 2));
        vm.assertEq(group.custody(PROCESS, XIN), 5);
        vm.assertEq(group.processInfo(PROCESS).tank, 1 ether);
    }

    /// @dev A mailbox twice in a delivery: the second batch finds it blocked, and changes nothing.
    function test_StopsAtTheSameMessageTwice() public {
        post(box, ALICE, 5, "good");
        post(box, ALICE, 6, "bad");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        deliver(signed, list(batch, batch));
        vm.assertEq(target.count(), 1);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 2));
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    /// @dev What was booked for the failing message is taken back, and booked when it runs.
    function testFuzz_GoesOnWhenTheCallSucceeds(uint256 count, uint256 bad) public {
        count = bound(count, 1, 6);
        bad = bound(bad, 1, count);
        post(box, ALICE, 1, "good");
        for (uint256 i = 1; i <= count; ++i) {
            post(box, ALICE, 1, i == bad ? bytes("bad") : bytes("good"));
        }
        deliver(box, 1);
        vm.assertEq(target.count(), bad);
        vm.assertEq(group.custody(PROCESS, XIN), bad);
        target.forgive();
        deliver(box, 1);
        vm.assertEq(target.count(), count + 1);
        vm.assertEq(group.custody(PROCESS, XIN), count + 1);
        vm.assertEq(group.head(PROCESS), members.headAt(box, count + 2));
    }

    /// @dev A control message that makes no sense is passed over here, too: it could never succeed.
    function test_PassesOverMalformedControl() public {
        members.post(box, MessageKind.UPDATE, 0, 0, 0, "nonsense");
        members.post(box, 77, 0, 0, 0, "");
        post(box, ALICE, 5, "good");
        deliver(box, 1);
        vm.assertEq(target.count(), 1);
    }

    /* RELEASED */

    function test_RefundsUnderAnUpdateBehindIt() public {
        post(box, ALICE, 5, "bad");
        post(box, BOB, 6, "good");
        update(Policy.REFUND);
        post(box, ALICE, 7, "bad");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 1);
        expectRefund(1, PROCESS, ALICE, 7, 4);
        deliver(signed, box, 1);
        vm.assertEq(target.count(), 1);
        vm.assertEq(group.custody(PROCESS, XIN), 6);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 5));
        vm.assertEq(uint256(group.processInfo(PROCESS).policy), Policy.REFUND);
    }

    function test_ParksUnderAnUpdateBehindIt() public {
        Message memory first = members.post(box, MessageKind.CALL, ALICE, XIN, 5, "bad");
        post(box, ALICE, 6, "bad");
        update(Policy.PARK);
        deliver(box, 1);
        (, uint64 time) = group.parked(PROCESS, 1);
        vm.assertEq(time, block.timestamp);
        (, time) = group.parked(PROCESS, 2);
        vm.assertEq(time, block.timestamp);
        target.forgive();
        group.retry(PROCESS, first);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    function test_RefundsUnderAClosingBehindIt() public {
        post(box, ALICE, 5, "bad");
        post(box, ALICE, 6, "good");
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        post(box, BOB, 7, "good");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 1);
        expectRefund(1, PROCESS, BOB, 7, 4);
        deliver(signed, box, 1);
        vm.assertTrue(group.processInfo(PROCESS).status == Status.Closed);
        vm.assertEq(group.custody(PROCESS, XIN), 6);
    }

    /// @dev An update that stays strict, or makes no sense, is no way out; the next one is.
    function test_LooksForTheFirstOtherPolicy() public {
        post(box, ALICE, 5, "bad");
        update(Policy.STRICT);
        members.post(box, MessageKind.UPDATE, 0, 0, 0, hex"00");
        refusesBlocked(1, 1);
        update(Policy.PARK);
        update(Policy.REFUND);
        deliver(box, 1);
        (, uint64 time) = group.parked(PROCESS, 1);
        vm.assertEq(time, block.timestamp);
    }

    /// @dev A release ends with its update: what is strict again behind it waits again.
    function test_WaitsAgainBehindTheRelease() public {
        post(box, ALICE, 5, "bad");
        update(Policy.REFUND);
        update(Policy.STRICT);
        post(box, ALICE, 6, "bad");
        deliver(box, 1);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 4));
        vm.assertEq(group.outboundNonce(), 1);
        refusesBlocked(4, 4);
    }

    /// @dev The same transaction, another strict process: the release of one is none of the other.
    function test_ReleasesNobodyElse() public {
        Picky second = new Picky(group, bytes32(uint256(0x5ec0)));
        uint256 secondBox = members.open(second.PROCESS());
        members.register(secondBox, address(second), flagsOf(Policy.STRICT), GAS_LIMIT);
        deliver(secondBox, 0);
        post(box, ALICE, 5, "bad");
        update(Policy.REFUND);
        members.post(secondBox, MessageKind.CALL, ALICE, XIN, 5, "bad");
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, 1), members.batch(signed, secondBox, 1));
        bytes memory reason = abi.encodeWithSelector(IGroup.StrictBlocked.selector, second.PROCESS(), 1);
        refuses(signed, batches, reason);
    }

    /// @dev Many failures before one release: it is looked for once, so that the way out is never too dear.
    function test_FindsTheReleaseOnce() public {
        for (uint256 i; i < 200; ++i) {
            post(box, ALICE, 0, "bad");
        }
        update(Policy.REFUND);
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, 1));
        uint256 before = gasleft();
        deliver(signed, batches);
        vm.assertLt(before - gasleft(), 200 * 15_000, "gas");
        vm.assertEq(group.head(PROCESS), members.headAt(box, 202));
    }

    /* HELPERS */

    function flagsOf(uint256 policy) private pure returns (uint8) {
        return uint8(policy << 1);
    }

    function update(uint256 policy) private {
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(flagsOf(policy), uint32(0)));
    }

    function refusesBlocked(uint256 first, uint64 nonce) private {
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, first));
        (bytes32 head, uint256 held) = (group.head(PROCESS), group.custody(PROCESS, XIN));
        refuses(signed, batches, abi.encodeWithSelector(IGroup.StrictBlocked.selector, PROCESS, nonce));
        vm.assertEq(group.head(PROCESS), head);
        vm.assertEq(group.custody(PROCESS, XIN), held);
    }
}

/// @notice Refuses messages whose payload is "bad", until it forgives.
contract Picky {
    bytes32 public immutable PROCESS;
    uint256 public count;
    bool private _forgiving;

    error Bad();

    constructor(IGroup group, bytes32 process) {
        PROCESS = process;
        group.bind(process);
    }

    function forgive() external {
        _forgiving = true;
    }

    function onMessage(Message calldata message) external {
        require(_forgiving || keccak256(message.payload) != keccak256("bad"), Bad());
        ++count;
    }
}
