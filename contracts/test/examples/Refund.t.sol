// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {LockstepTest, Test} from "lockstep-contracts/kit/LockstepTest.sol";
import {Refund} from "lockstep-contracts/src/examples/Refund.sol";

contract RefundTest is LockstepTest, Test {
    bytes32 private immutable KEEPER = account("keeper");
    bytes32 private immutable ALICE = account("alice");
    bytes32 private immutable BTC = asset("BTC");
    bytes32 private immutable PROCESS = account("tip jar");

    Refund private jar;

    function setUp() public {
        jar = new Refund(group, PROCESS, KEEPER);
        group.register(PROCESS, address(jar));
    }

    /* REFUSALS: the group gives back */

    function test_RefusesNobody() public {
        vm.assertFalse(group.deliver(PROCESS, 0, BTC, 5, hex"01"));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Refund.NoSender.selector));
        // Nobody can be given nothing back: it stays, and is no tip.
        group.expectNothing();
        vm.assertEq(group.custody(PROCESS, BTC), 5);
        vm.assertEq(jar.tips(BTC), 0);
    }

    function test_RefusesAMessageWithoutPayment() public {
        vm.assertFalse(group.deliver(PROCESS, ALICE, 0, 0, hex"01"));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Refund.NoPayment.selector));
        group.expectNothing();
    }

    function test_RefusesAStrangerWhoCollects() public {
        group.deliver(PROCESS, ALICE, BTC, 100, hex"01");
        vm.assertFalse(group.deliver(PROCESS, ALICE, BTC, 5, abi.encodePacked(hex"02", uint128(100))));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Refund.OnlyKeeper.selector, ALICE));
        group.expectRefund(PROCESS, ALICE, BTC, 5);
        vm.assertEq(jar.tips(BTC), 100);
    }

    function test_RefusesToCollectMoreThanThereIs() public {
        group.deliver(PROCESS, ALICE, BTC, 100, hex"01");
        vm.assertFalse(group.deliver(PROCESS, KEEPER, BTC, 5, abi.encodePacked(hex"02", uint128(101))));
        bytes memory reason = abi.encodeWithSelector(Refund.InsufficientTips.selector, BTC, 100, 101);
        vm.assertEq(group.lastReason(), reason);
        group.expectRefund(PROCESS, KEEPER, BTC, 5);
    }

    /* WHAT IT DOES */

    function testFuzz_PaysBackWhatItDoesNotUnderstand(bytes32 sender, uint128 amount, bytes calldata payload) public {
        vm.assume(sender != 0 && amount != 0);
        vm.assume(payload.length == 0 || (payload[0] != 0x01 && payload[0] != 0x02));
        vm.assertTrue(group.deliver(PROCESS, sender, BTC, amount, payload));
        group.expectOutbound(PROCESS, BTC, amount, sender, "not understood");
        group.expectNothing();
        vm.assertEq(group.custody(PROCESS, BTC), 0);
    }

    function test_PaysBackCommandsOfAnotherLength() public {
        bytes[3] memory payloads = [bytes(hex"0101"), hex"02", abi.encodePacked(hex"02", uint128(1), hex"00")];
        for (uint256 i; i < payloads.length; ++i) {
            vm.assertTrue(group.deliver(PROCESS, KEEPER, BTC, 5, payloads[i]));
            group.expectOutbound(PROCESS, BTC, 5, KEEPER, "not understood");
        }
        vm.assertEq(jar.tips(BTC), 0);
    }

    function test_KeepsTipsForTheKeeper() public {
        vm.expectEmit(address(jar));
        emit Refund.Tipped(ALICE, BTC, 100);
        group.deliver(PROCESS, ALICE, BTC, 100, hex"01");
        group.expectNothing();
        vm.assertTrue(group.deliver(PROCESS, KEEPER, BTC, 5, abi.encodePacked(hex"02", uint128(60))));
        group.expectOutbound(PROCESS, BTC, 65, KEEPER, "tips");
        vm.assertEq(jar.tips(BTC), 40);
        vm.assertEq(group.custody(PROCESS, BTC), 40);
    }

    function test_KeepsWhatBounces() public {
        vm.assertTrue(group.bounce(PROCESS, BTC, 7));
        vm.assertEq(jar.tips(BTC), 7);
    }
}
