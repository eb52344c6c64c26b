// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, GovernanceKind} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";
import {Signer} from "./helpers/Signer.sol";

/// @notice The recovery address: nobody else, only after a long silence, and only for the key.
contract RecoverTest is GroupTest {
    address private constant RECOVERY = address(0x4ec0);
    uint16 private constant DAYS = 90;
    uint256 private constant NEW_SECRET = 0x2006;

    uint256 private start;

    function setUp() public override {
        super.setUp();
        start = 20_000 days + 5 hours;
        vm.warp(start);
        group = newGroup(Signer.key(SECRET), RECOVERY, DAYS);
        members = newMembers(SECRET, GROUP_ID);
    }

    /* REFUSALS */

    function test_RefusesARecoveryWithoutDaysAndDaysWithoutRecovery() public {
        vm.expectRevert(IGroup.InvalidRecovery.selector);
        this.deploy(RECOVERY, 0);
        vm.expectRevert(IGroup.InvalidRecovery.selector);
        this.deploy(address(0), 1);
    }

    function testFuzz_RefusesAStranger(address caller) public {
        vm.assume(caller != RECOVERY);
        vm.warp(start + 1000 days);
        refusesRecovery(caller, 1, abi.encodeWithSelector(IGroup.NotRecovery.selector, caller));
    }

    function testFuzz_RefusesBeforeTheEndOfTheSilence(uint256 time) public {
        time = bound(time, start, 20_000 days + (uint256(DAYS) + 1) * 1 days - 1);
        vm.warp(time);
        refusesUntilSilent(uint16(time / 1 days - 20_000));
    }

    /// @dev A checkpoint without any batch is a sign of life.
    function test_RefusesAfterASignOfLife() public {
        vm.warp(start + 500 days);
        deliver(members.sign(), new Batch[](0));
        vm.assertEq(group.lastAcceptedDay(), 20_500);
        refusesUntilSilent(0);
        vm.warp(start + 590 days);
        refusesUntilSilent(90);
        vm.warp(start + 591 days);
        recoverAs(RECOVERY, NEW_SECRET, 1);
    }

    /// @dev Only what is new shows that the group lives: an old checkpoint can be delivered by anybody.
    function test_RecoversThoughOldCheckpointsAreDelivered() public {
        Signed memory signed = members.sign();
        deliver(signed, new Batch[](0));
        vm.warp(start + 91 days);
        deliver(signed, new Batch[](0));
        vm.assertEq(group.lastAcceptedDay(), 20_000);
        recoverAs(RECOVERY, NEW_SECRET, 1);
    }

    function test_RefusesASecondTimeInTheSameSilence() public {
        vm.warp(start + 91 days);
        recoverAs(RECOVERY, NEW_SECRET, 1);
        refusesUntilSilent(0);
    }

    function test_RefusesAKeyWithoutPossession() public {
        vm.warp(start + 91 days);
        bytes memory key = Signer.key(NEW_SECRET);
        bytes memory signature = possession(SECRET, 1);
        vm.prank(RECOVERY);
        vm.expectRevert(IGroup.InvalidPossession.selector);
        group.recover(1, key, signature);
    }

    function test_RefusesAKeyOfNoHigherGeneration() public {
        vm.warp(start + 91 days);
        refusesRecovery(RECOVERY, 0, abi.encodeWithSelector(IGroup.StaleGeneration.selector, 0, 0));
    }

    /* RECOVERED */

    function test_RecoversWithItsEvent() public {
        Signed memory signed = members.sign();
        deliver(signed, new Batch[](0));
        vm.warp(start + 91 days);
        vm.expectEmit(address(group));
        emit IGroup.Recovered(4, Signer.key(NEW_SECRET));
        recoverAs(RECOVERY, NEW_SECRET, 4);
        vm.assertEq(group.key(), Signer.key(NEW_SECRET));
        vm.assertEq(group.keyGeneration(), 4);
        vm.assertEq(group.lastAcceptedDay(), 20_091);
        // The old key has no say any more, not even with the checkpoint that was accepted.
        refuses(signed, new Batch[](0), abi.encodeWithSelector(IGroup.InvalidSignature.selector));
        signed.signature = Signer.sign(NEW_SECRET, members.digestOf(signed.checkpoint));
        deliver(signed, new Batch[](0));
    }

    function test_StaysHalted() public {
        decide(GovernanceKind.HALT, "");
        vm.warp(start + 91 days);
        recoverAs(RECOVERY, NEW_SECRET, 1);
        vm.assertTrue(group.halted());
        bytes memory signature = Signer.sign(NEW_SECRET, decisionDigest(1, GovernanceKind.RESUME, ""));
        group.govern(1, GovernanceKind.RESUME, "", signature);
        vm.assertFalse(group.halted());
        vm.assertEq(group.key(), Signer.key(NEW_SECRET));
    }

    /// @dev Days are counted modulo 2^16, so the year 2149 is no silence.
    function test_CountsDaysAcrossTheirWrap() public {
        vm.warp(65_530 days);
        group = newGroup(Signer.key(SECRET), RECOVERY, DAYS);
        vm.warp(65_540 days);
        refusesUntilSilent(10);
        vm.warp(65_621 days);
        recoverAs(RECOVERY, NEW_SECRET, 1);
        vm.assertEq(group.lastAcceptedDay(), 85);
    }

    /* HELPERS */

    /// @dev One call, for `expectRevert`.
    function deploy(address recovery, uint16 silenceDays) external {
        newGroup(Signer.key(SECRET), recovery, silenceDays);
    }

    function recoverAs(address caller, uint256 secret, uint64 generation) private {
        (bytes memory key, bytes memory signature) = (Signer.key(secret), possession(secret, generation));
        vm.prank(caller);
        group.recover(generation, key, signature);
    }

    function refusesRecovery(address caller, uint64 generation, bytes memory reason) private {
        (bytes memory key, bytes memory signature) = (Signer.key(NEW_SECRET), possession(NEW_SECRET, generation));
        vm.prank(caller);
        vm.expectRevert(reason);
        group.recover(generation, key, signature);
    }

    function refusesUntilSilent(uint16 silent) private {
        refusesRecovery(RECOVERY, 1, abi.encodeWithSelector(IGroup.NotSilent.selector, silent, DAYS));
    }
}
