// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Message, MessageKind} from "../src/types/Messages.sol";
import {Signed} from "./helpers/Members.sol";
import {ParkedTest} from "./helpers/ParkedTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice A delivery to a process that parks: what fails is set apart.
contract ParkTest is ParkedTest {
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
}
