// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GovernanceKind, Message, MessageKind, Status} from "../src/types/Messages.sol";
import {Signed} from "./helpers/Members.sol";
import {ParkedTest} from "./helpers/ParkedTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice `retry`: what was parked is called again, by anyone.
contract RetryTest is ParkedTest {
    /* REFUSALS */

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

    function test_RefusesToRetryWhileHalted() public {
        decide(GovernanceKind.HALT, "");
        refusesRetry(parkedOne, abi.encodeWithSelector(IGroup.Halted.selector));
    }

    /// @dev From inside of a delivery, and from inside of another retry.
    function test_RefusesToRetryWhileAProcessRuns() public {
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.retry, (PROCESS, parkedOne)));
        post(box, BOB, 1, "");
        deliver(box, 3);
        vm.assertFalse(target.reentered());
        group.retry(PROCESS, parkedOne);
        vm.assertFalse(target.reentered());
        vm.assertEq(target.received(), 2);
        vm.assertEq(group.custody(PROCESS, XIN), 6);
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
}
