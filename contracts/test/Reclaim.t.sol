// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {MessageKind, Status} from "../src/types/Messages.sol";
import {Signed} from "./helpers/Members.sol";
import {TankTest} from "./helpers/TankTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice `reclaim`: the tank of a closed process becomes credit of its contract.
contract ReclaimTest is TankTest {
    /* REFUSALS */

    function test_RefusesToReclaimFromALiveProcess() public {
        group.fund{value: 1 ether}(PROCESS);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotClosed.selector, address(target), PROCESS, Status.Alive));
        vm.prank(address(target));
        group.reclaim();
    }

    function test_RefusesToReclaimForAnother() public {
        group.fund{value: 1 ether}(PROCESS);
        close();
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotClosed.selector, address(other), OTHER, Status.Alive));
        vm.prank(address(other));
        group.reclaim();
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotClosed.selector, address(this), bytes32(0), Status.None));
        group.reclaim();
    }

    /// @dev A closing takes effect in the delivery whose gas the tank owes: it cannot be emptied before that is paid.
    function test_RefusesToReclaimWhileAProcessRuns() public {
        group.fund{value: 1 ether}(PROCESS);
        members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.reclaim, ()));
        other.setMode(MockProcess.Mode.Reenter);
        post(otherBox, ALICE, 5, "");
        Signed memory signed = members.sign();
        // The other process calls the first one's contract, which is closed by then, to reclaim.
        other.setReentry(abi.encodeCall(group.reclaim, ()));
        deliverAs(signed, list(members.batch(signed, box, 1), members.batch(signed, otherBox, 1)));
        vm.assertFalse(other.reentered());
        vm.assertTrue(group.credit(DELIVERER) != 0);
    }

    /* RECLAIMED */

    function test_ReclaimsTheTankOfAClosedProcess() public {
        group.fund{value: 1 ether}(PROCESS);
        close();
        uint256 left = group.processInfo(PROCESS).tank;
        vm.prank(address(target));
        vm.assertEq(group.reclaim(), left);
        vm.assertEq(group.processInfo(PROCESS).tank, 0);
        vm.assertEq(group.credit(address(target)), left);
    }
}
