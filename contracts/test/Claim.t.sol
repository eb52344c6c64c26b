// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GovernanceKind, Message, MessageKind} from "../src/types/Messages.sol";
import {ParkedTest} from "./helpers/ParkedTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice `claim`: what was parked goes back to its sender, after a while.
contract ClaimTest is ParkedTest {
    /* REFUSALS */

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

    function test_RefusesToClaimWhileHalted() public {
        decide(GovernanceKind.HALT, "");
        vm.warp(NOW + DELAY);
        refusesClaim(parkedOne, abi.encodeWithSelector(IGroup.Halted.selector));
    }

    /// @dev From inside of a delivery, and from inside of a retry.
    function test_RefusesToClaimWhileAProcessRuns() public {
        vm.warp(NOW + DELAY);
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.claim, (PROCESS, parkedOne)));
        post(box, BOB, 1, "");
        deliver(box, 3);
        vm.assertFalse(target.reentered());
        group.retry(PROCESS, parkedOne);
        vm.assertFalse(target.reentered());
        vm.assertEq(target.received(), 2);
        vm.assertEq(group.outboundNonce(), 0);
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
}
