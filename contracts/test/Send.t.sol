// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {MessageKind, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

contract SendTest is GroupTest {
    uint256 private box;
    MockProcess private target;

    function setUp() public override {
        super.setUp();
        (box, target) = newLiveProcess(PROCESS);
        members.post(box, MessageKind.CALL, ALICE, XIN, type(uint128).max, "");
        members.post(box, MessageKind.CALL, ALICE, XIN, 5, "");
        members.post(box, MessageKind.CALL, ALICE, BTC, 100, "");
        deliver(box, 1);
    }

    /* REFUSALS */

    function testFuzz_RefusesAStranger(address caller) public {
        vm.assume(caller != address(target));
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, caller, bytes32(0), Status.None));
        vm.prank(caller);
        group.send(XIN, 1, abi.encode(ALICE), "");
    }

    /// @dev Bound to the process, but not the address that it registered.
    function test_RefusesAnotherAddressOfTheProcess() public {
        MockProcess second = new MockProcess(group, PROCESS);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(second), PROCESS, Status.Alive));
        second.send(XIN, 1, abi.encode(ALICE), "");
    }

    function test_RefusesBeforeTheRegistrationIsDelivered() public {
        (, MockProcess waiting) = newProcess(OTHER);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(waiting), OTHER, Status.None));
        waiting.send(XIN, 1, abi.encode(ALICE), "");
    }

    /// @dev A rejected mailbox may hold what could not be given back; its address never gets at it.
    function test_RefusesARejectedProcess() public {
        MockProcess late = new MockProcess(group, 0);
        uint256 rejected = members.open(OTHER);
        members.register(rejected, address(late), 0, GAS_LIMIT);
        members.post(rejected, MessageKind.CALL, 0, XIN, 5, "");
        deliver(rejected, 0);
        late.bind(OTHER);
        vm.assertEq(group.custody(OTHER, XIN), 5);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(late), OTHER, Status.Rejected));
        late.send(XIN, 5, abi.encode(ALICE), "");
    }

    function test_RefusesAnAmountOfZero() public {
        vm.expectRevert(abi.encodeWithSelector(IGroup.InvalidAmount.selector, 0));
        target.send(XIN, 0, abi.encode(ALICE), "");
    }

    function testFuzz_RefusesAnAmountAboveTheLedgers(uint256 amount) public {
        amount = bound(amount, uint256(type(uint128).max) + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IGroup.InvalidAmount.selector, amount));
        target.send(XIN, amount, abi.encode(ALICE), "");
    }

    function testFuzz_RefusesMoreThanTheCustody(uint128 amount) public {
        amount = uint128(bound(amount, 101, type(uint128).max));
        bytes memory reason =
            abi.encodeWithSelector(IGroup.InsufficientCustody.selector, PROCESS, BTC, 100, uint256(amount));
        vm.expectRevert(reason);
        target.send(BTC, amount, abi.encode(ALICE), "");
    }

    function test_RefusesTheCustodyOfAnotherProcess() public {
        (, MockProcess other) = newLiveProcess(OTHER);
        vm.expectRevert(abi.encodeWithSelector(IGroup.InsufficientCustody.selector, OTHER, XIN, 0, 1));
        other.send(XIN, 1, abi.encode(ALICE), "");
    }

    function test_RefusesALongMemo() public {
        vm.expectRevert(abi.encodeWithSelector(IGroup.MemoTooLong.selector, 201, 200));
        target.send(BTC, 1, abi.encode(ALICE), new bytes(201));
    }

    function test_RefusesTheZeroAccount() public {
        refusesRecipient(new bytes(32));
    }

    function testFuzz_RefusesALengthThatFitsNobody(uint256 length) public {
        length = bound(length, 0, 5000);
        vm.assume(length != 32);
        bytes memory recipient = new bytes(length);
        if (length > 2) (recipient[0], recipient[1], recipient[2]) = (0x02, 0x01, 0x03);
        vm.assume(length != 3 + 3 * 16 && length != 3 + 3 * 64);
        refusesRecipient(recipient);
    }

    function test_RefusesAnIllegalMix() public {
        refusesRecipient(mix(1, 1, 1, 16));
        refusesRecipient(mix(3, 1, 1, 16));
        refusesRecipient(mix(2, 0, 1, 16));
        refusesRecipient(mix(2, 2, 1, 16));
        refusesRecipient(mix(2, 0, 0, 16));
        refusesRecipient(mix(2, 1, 65, 16));
        refusesRecipient(mix(2, 65, 65, 64));
        refusesRecipient(mix(2, 1, 1, 17));
    }

    /* SUCCESS */

    function testFuzz_SendsToAnAccount(bytes32 account, uint128 amount, bytes calldata memo) public {
        vm.assume(account != 0 && memo.length <= 200);
        amount = uint128(bound(amount, 1, type(uint128).max));
        sends(amount, abi.encode(account), memo);
    }

    function testFuzz_SendsToAMix(uint8 threshold, uint8 count, bool addresses) public {
        count = uint8(bound(count, 1, 64));
        threshold = uint8(bound(threshold, 1, count));
        sends(1, mix(2, threshold, count, addresses ? 64 : 16), new bytes(200));
    }

    function test_NumbersWithoutGaps() public {
        for (uint64 i; i < 5; ++i) {
            vm.assertEq(target.send(BTC, 20, abi.encode(ALICE), ""), i);
        }
        vm.assertEq(group.outboundNonce(), 5);
        vm.assertEq(group.custody(PROCESS, BTC), 0);
    }

    /* HELPERS */

    function sends(uint128 amount, bytes memory recipient, bytes memory memo) private {
        uint256 held = group.custody(PROCESS, XIN);
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, members.sequence(), XIN, amount, recipient, memo);
        vm.assertEq(target.send(XIN, amount, recipient, memo), 0);
        vm.assertEq(group.outboundNonce(), 1);
        vm.assertEq(group.custody(PROCESS, XIN), held - amount);
    }

    function refusesRecipient(bytes memory recipient) private {
        vm.expectRevert(IGroup.InvalidRecipient.selector);
        target.send(BTC, 1, recipient, "");
    }

    function mix(uint8 version, uint8 threshold, uint8 count, uint256 size) private pure returns (bytes memory) {
        return abi.encodePacked(version, threshold, count, new bytes(count * size));
    }
}
