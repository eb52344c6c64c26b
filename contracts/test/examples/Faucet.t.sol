// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {LockstepTest, Test} from "lockstep-contracts/kit/LockstepTest.sol";
import {IGroup} from "lockstep-contracts/src/interfaces/IGroup.sol";
import {Faucet} from "lockstep-contracts/src/examples/Faucet.sol";

contract FaucetTest is LockstepTest, Test {
    uint256 private constant GIFT = 10;

    bytes32 private immutable ALICE = account("alice");
    bytes32 private immutable BOB = account("bob");
    bytes32 private immutable BTC = asset("BTC");
    bytes32 private immutable XIN = asset("XIN");
    bytes32 private immutable PROCESS = account("faucet");

    Faucet private faucet;

    function setUp() public {
        faucet = new Faucet(group, PROCESS, BTC, GIFT);
        group.register(PROCESS, address(faucet));
    }

    function fund(uint256 amount) private {
        vm.assertTrue(group.deliver(PROCESS, BOB, BTC, amount, ""));
    }

    /* REFUSALS */

    function test_RefusesToGiveNothing() public {
        vm.expectRevert(Faucet.NoGift.selector);
        new Faucet(group, PROCESS, BTC, 0);
        vm.expectRevert(Faucet.NoGift.selector);
        new Faucet(group, PROCESS, 0, GIFT);
    }

    function test_RefusesNobody() public {
        fund(100);
        vm.assertFalse(group.deliver(PROCESS, 0, BTC, 5, hex"01"));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Faucet.NoSender.selector));
        group.expectNothing();
    }

    function test_RefusesFundsOfAnotherAsset() public {
        vm.assertFalse(group.deliver(PROCESS, BOB, XIN, 5, ""));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Faucet.UnknownAsset.selector, XIN));
        group.expectRefund(PROCESS, BOB, XIN, 5);
    }

    function testFuzz_RefusesAnUnknownCommand(bytes calldata payload) public {
        vm.assume(payload.length != 0 && !(payload.length == 1 && payload[0] == 0x01));
        fund(100);
        vm.assertFalse(group.deliver(PROCESS, ALICE, BTC, 5, payload));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Faucet.UnknownCommand.selector, payload));
        group.expectRefund(PROCESS, ALICE, BTC, 5);
    }

    function test_RefusesWhenEmpty() public {
        fund(GIFT - 1);
        vm.assertFalse(group.deliver(PROCESS, ALICE, XIN, 5, hex"01"));
        bytes4 reason = IGroup.InsufficientCustody.selector;
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(reason, PROCESS, BTC, GIFT - 1, GIFT));
        group.expectRefund(PROCESS, ALICE, XIN, 5);
        group.expectNothing();
        vm.assertEq(faucet.lastGift(ALICE), 0);
    }

    function testFuzz_RefusesASecondGiftWithinADay(uint64 seconds_) public {
        fund(100);
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 5, hex"01"));
        group.expectOutbound(PROCESS, BTC, GIFT + 5, ALICE, "a gift");
        uint64 until = group.timestamp() + 1 days * 1_000_000_000;
        // The next message itself comes a second later.
        group.skip(uint64(bound(seconds_, 0, 1 days - 2)));
        vm.assertFalse(group.deliver(PROCESS, ALICE, BTC, 5, hex"01"));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Faucet.TooSoon.selector, ALICE, until));
        group.expectRefund(PROCESS, ALICE, BTC, 5);
    }

    /* WHAT IT DOES */

    function test_GivesAgainAfterADay() public {
        fund(100);
        group.deliver(PROCESS, ALICE, BTC, 5, hex"01");
        group.skip(1 days - 1);
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 5, hex"01"));
        group.expectOutbound(PROCESS, BTC, GIFT + 5, ALICE, "a gift");
        group.expectOutbound(PROCESS, BTC, GIFT + 5, ALICE, "a gift");
        group.expectNothing();
        vm.assertEq(faucet.left(), 100 - 2 * GIFT);
    }

    function test_GivesEachAccountItsOwn() public {
        fund(100);
        vm.expectEmit(address(faucet));
        emit Faucet.Given(ALICE, GIFT, 0);
        group.deliver(PROCESS, ALICE, 0, 0, hex"01");
        group.deliver(PROCESS, BOB, XIN, 5, hex"01");
        group.expectOutbound(PROCESS, BTC, GIFT, ALICE, "a gift");
        group.expectOutbound(PROCESS, XIN, 5, BOB, "your payment");
        group.expectOutbound(PROCESS, BTC, GIFT, BOB, "a gift");
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }

    function test_GivesABouncedGiftToTheNext() public {
        fund(GIFT);
        group.deliver(PROCESS, ALICE, 0, 0, hex"01");
        vm.assertEq(faucet.left(), 0);
        vm.assertTrue(group.bounce(PROCESS, BTC, GIFT));
        vm.assertTrue(group.deliver(PROCESS, BOB, 0, 0, hex"01"));
    }
}
