// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GovernanceKind, Message, MessageKind, Policy, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Parked messages: set apart, retried by anyone, claimed later.
contract ParkTest is GroupTest {
    uint256 private constant NOW = 1_800_000_000;
    uint256 private constant DELAY = 3 days;

    uint256 private box;
    MockProcess private target;
    /// @dev Message 2, parked with 5 XIN of Alice.
    Message private parkedOne;

    function setUp() public override {
        super.setUp();
        vm.warp(NOW);
        (box, target) = newLiveProcess(PROCESS);
        members.post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(Policy.PARK << 1), uint32(0)));
        target.setMode(MockProcess.Mode.Revert);
        parkedOne = members.post(box, MessageKind.CALL, ALICE, XIN, 5, "hello");
        deliver(box, 1);
        target.setMode(MockProcess.Mode.Keep);
    }

    /* RETRY: REFUSALS */

    function test_RefusesToRetryWhatIsNotParked() public {
        Message memory message = parkedOne;
        message.nonce = 3;
        refusesRetry(message, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 3));
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(0), OTHER, Status.None));
        group.retry(OTHER, parkedOne);
    }

    function test_RefusesToRetryAChangedMessage() public {
        bytes memory reason = abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2);
        Message memory message = parkedOne;
        message.amount = 6;
        refusesRetry(message, reason);
        message = parkedOne;
        message.sender = BOB;
        refusesRetry(message, reason);
        message = parkedOne;
        message.asset = BTC;
        refusesRetry(message, reason);
        message = parkedOne;
        message.payload = "hullo";
        refusesRetry(message, reason);
        message = parkedOne;
        message.timestamp += 1;
        refusesRetry(message, reason);
        message = parkedOne;
        message.sequence += 1;
        refusesRetry(message, reason);
        message = parkedOne;
        message.kind = MessageKind.BOUNCE;
        refusesRetry(message, reason);
    }

    function test_RefusesToRetryWhatFailsAgain() public {
        target.setMode(MockProcess.Mode.SendThenRevert);
        refusesRetry(parkedOne, abi.encodeWithSelector(IGroup.RetryFailed.selector, PROCESS, 2));
        target.setMode(MockProcess.Mode.RevertBomb);
        refusesRetry(parkedOne, abi.encodeWithSelector(IGroup.RetryFailed.selector, PROCESS, 2));
        vm.assertEq(group.custody(PROCESS, XIN), 0);
        staysParked();
    }

    /// @dev A call that is given little gas may do half of its work and call it a success.
    function test_RefusesToRetryWithLittleGas() public {
        (bool success, bytes memory reason) =
            address(group).call{gas: GAS_LIMIT + 60_000}(abi.encodeCall(group.retry, (PROCESS, parkedOne)));
        vm.assertFalse(success);
        vm.assertEq(bytes32(bytes4(reason)), bytes32(IGroup.InsufficientGas.selector));
        staysParked();
    }

    function test_RefusesToRetryTwice() public {
        group.retry(PROCESS, parkedOne);
        refusesRetry(parkedOne, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2));
        vm.assertEq(target.received(), 1);
    }

    function test_RefusesToRetryAfterTheClaim() public {
        vm.warp(NOW + DELAY);
        group.claim(PROCESS, parkedOne);
        refusesRetry(parkedOne, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2));
    }

    function test_RefusesToRetryForAClosedProcess() public {
        close();
        bytes memory reason = abi.encodeWithSelector(IGroup.NotLive.selector, address(target), PROCESS, Status.Closed);
        refusesRetry(parkedOne, reason);
    }

    function test_RefusesBothWhileHalted() public {
        decide(GovernanceKind.HALT, "");
        refusesRetry(parkedOne, abi.encodeWithSelector(IGroup.Halted.selector));
        vm.warp(NOW + DELAY);
        refusesClaim(parkedOne, abi.encodeWithSelector(IGroup.Halted.selector));
    }

    /// @dev From inside of a delivery, and from inside of another retry.
    function test_RefusesBothWhileAProcessRuns() public {
        vm.warp(NOW + DELAY);
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.retry, (PROCESS, parkedOne)));
        post(box, BOB, 1, "");
        deliver(box, 3);
        vm.assertFalse(target.reentered());
        target.setReentry(abi.encodeCall(group.claim, (PROCESS, parkedOne)));
        post(box, BOB, 1, "");
        deliver(box, 4);
        vm.assertFalse(target.reentered());
        group.retry(PROCESS, parkedOne);
        vm.assertFalse(target.reentered());
        vm.assertEq(target.received(), 3);
        vm.assertEq(group.custody(PROCESS, XIN), 7);
        vm.assertEq(group.outboundNonce(), 0);
    }

    /// @dev The lock of a retry holds against deliveries as well, and is gone afterwards.
    function test_RefusesDeliveryInsideOfARetry() public {
        post(box, BOB, 1, "");
        Signed memory signed = members.sign();
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(
            abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, list(members.batch(signed, box, 3))))
        );
        group.retry(PROCESS, parkedOne);
        vm.assertFalse(target.reentered());
        vm.assertEq(target.received(), 1);
        deliver(signed, box, 3);
        vm.assertEq(target.received(), 2);
    }

    /* CLAIM: REFUSALS */

    function testFuzz_RefusesToClaimEarly(uint256 time) public {
        time = bound(time, NOW, NOW + DELAY - 1);
        vm.warp(time);
        refusesClaim(parkedOne, abi.encodeWithSelector(IGroup.TooEarly.selector, PROCESS, 2, NOW + DELAY));
    }

    function test_RefusesToClaimAChangedMessage() public {
        vm.warp(NOW + DELAY);
        Message memory message = parkedOne;
        message.sender = BOB;
        refusesClaim(message, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2));
        message = parkedOne;
        message.amount += 1;
        refusesClaim(message, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2));
    }

    function test_RefusesToClaimTwice() public {
        vm.warp(NOW + DELAY);
        group.claim(PROCESS, parkedOne);
        refusesClaim(parkedOne, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2));
        vm.assertEq(group.outboundNonce(), 1);
    }

    function test_RefusesToClaimAfterTheRetry() public {
        group.retry(PROCESS, parkedOne);
        vm.warp(NOW + DELAY);
        refusesClaim(parkedOne, abi.encodeWithSelector(IGroup.NotParked.selector, PROCESS, 2));
    }

    /// @dev Neither goes anywhere, so that a claim would only take them from a later retry.
    function test_RefusesToClaimForNobodyAndNothing() public {
        Message memory nobodys = park(0, 7);
        Message memory unpaid = park(ALICE, 0);
        vm.warp(NOW + DELAY);
        refusesClaim(nobodys, abi.encodeWithSelector(IGroup.NothingToClaim.selector, PROCESS, 3));
        refusesClaim(unpaid, abi.encodeWithSelector(IGroup.NothingToClaim.selector, PROCESS, 4));
        group.retry(PROCESS, nobodys);
        group.retry(PROCESS, unpaid);
        vm.assertEq(target.received(), 2);
        vm.assertEq(group.custody(PROCESS, XIN), 7);
    }

    /* PARKED */

    function test_ParksWithItsEvents() public {
        target.setMode(MockProcess.Mode.Revert);
        Message memory message = members.post(box, MessageKind.CALL, BOB, XIN, 9, "again");
        Signed memory signed = members.sign();
        vm.recordLogs();
        deliver(signed, box, 3);
        vm.assertEq(countLogs(vm.getRecordedLogs(), IGroup.Failed.selector), 1);
        (bytes32 hash, uint64 time) = group.parked(PROCESS, 3);
        vm.assertEq(hash, bytes32(uint256(keccak256(abi.encode(message))) >> 40 << 40));
        vm.assertEq(time, NOW);
        vm.assertEq(group.outboundNonce(), 0);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 4));
    }

    function test_SetsApartWhatIsParked() public {
        staysParked();
        vm.assertEq(group.custody(PROCESS, XIN), 0);
        vm.expectRevert(abi.encodeWithSelector(IGroup.InsufficientCustody.selector, PROCESS, XIN, 0, 1));
        target.send(XIN, 1, abi.encode(ALICE), "");
    }

    /// @dev A bounce that fails stays in custody, as ever: the process can send it again, and nobody could claim it.
    function test_KeepsAFailedBounce() public {
        target.setMode(MockProcess.Mode.Revert);
        members.post(box, MessageKind.BOUNCE, ALICE, XIN, 11, "");
        Signed memory signed = members.sign();
        deliver(signed, box, 3);
        (bytes32 hash, uint64 time) = group.parked(PROCESS, 3);
        vm.assertEq(uint256(hash) | time, 0);
        vm.assertEq(group.custody(PROCESS, XIN), 11);
    }

    /// @dev What a closed process is sent goes back at once: nobody could retry it.
    function test_RefundsWhatAClosedProcessIsPaid() public {
        close();
        post(box, BOB, 3, "late");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, BOB, 3, 4);
        deliver(signed, box, 4);
    }

    /* RETRIED */

    function testFuzz_RetriesForAnyone(address caller) public {
        vm.expectEmit(address(group));
        emit IGroup.Retried(PROCESS, 2);
        vm.prank(caller);
        group.retry(PROCESS, parkedOne);
        vm.assertEq(abi.encode(target.receivedAt(0)), abi.encode(parkedOne));
        vm.assertEq(group.custody(PROCESS, XIN), 5);
        (bytes32 hash, uint64 time) = group.parked(PROCESS, 2);
        vm.assertEq(uint256(hash) | time, 0);
    }

    function testFuzz_RetriesWholeMessages(bytes32 sender, bytes32 asset, uint128 amount, bytes calldata payload)
        public
    {
        target.setMode(MockProcess.Mode.Revert);
        Message memory message = members.post(box, MessageKind.CALL, sender, asset, amount, payload);
        deliver(box, 3);
        target.setMode(MockProcess.Mode.Keep);
        group.retry(PROCESS, message);
        vm.assertEq(abi.encode(target.receivedAt(0)), abi.encode(message));
        vm.assertEq(group.custody(PROCESS, asset), amount);
    }

    /// @dev The amount is there when the call looks for it, and may leave at once.
    function test_RetriesACallThatSends() public {
        target.setMode(MockProcess.Mode.SendAll);
        group.retry(PROCESS, parkedOne);
        vm.assertEq(group.custody(PROCESS, XIN), 0);
        vm.assertEq(group.outboundNonce(), 1);
    }

    function test_RetriesAfterTheDelayAsWell() public {
        vm.warp(NOW + 10 * DELAY);
        group.retry(PROCESS, parkedOne);
        vm.assertEq(target.received(), 1);
    }

    /* CLAIMED */

    function testFuzz_ClaimsForAnyone(address caller) public {
        vm.warp(NOW + DELAY);
        vm.expectEmit(address(group));
        emit IGroup.Claimed(PROCESS, 2);
        expectRefund(0, PROCESS, ALICE, 5, 2);
        vm.prank(caller);
        group.claim(PROCESS, parkedOne);
        vm.assertEq(group.custody(PROCESS, XIN), 0);
        vm.assertEq(target.received(), 0);
    }

    function test_ClaimsFromAClosedProcessAtOnce() public {
        close();
        expectRefund(0, PROCESS, ALICE, 5, 2);
        group.claim(PROCESS, parkedOne);
    }

    /// @dev What nobody has paid belongs to the process when nothing can be retried any more.
    function test_LeavesAPaymentOfNobodyToAClosedProcess() public {
        Message memory nobodys = park(0, 7);
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(box, 4);
        group.claim(PROCESS, nobodys);
        vm.assertEq(group.custody(PROCESS, XIN), 7);
        vm.assertEq(group.outboundNonce(), 0);
        target.send(XIN, 7, abi.encode(ALICE), "");
    }

    /* HELPERS */

    function park(bytes32 sender, uint256 amount) private returns (Message memory message) {
        target.setMode(MockProcess.Mode.Revert);
        uint256 nonce = members.count(box);
        message = members.post(box, MessageKind.CALL, sender, amount == 0 ? bytes32(0) : XIN, amount, "");
        deliver(box, nonce);
        target.setMode(MockProcess.Mode.Keep);
    }

    function close() private {
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        deliver(box, 3);
    }

    function staysParked() private view {
        (bytes32 hash, uint64 time) = group.parked(PROCESS, 2);
        vm.assertEq(hash, bytes32(uint256(keccak256(abi.encode(parkedOne))) >> 40 << 40));
        vm.assertEq(time, NOW);
    }

    function refusesRetry(Message memory message, bytes memory reason) private {
        vm.expectRevert(reason);
        group.retry(PROCESS, message);
    }

    function refusesClaim(Message memory message, bytes memory reason) private {
        vm.expectRevert(reason);
        group.claim(PROCESS, message);
    }
}
