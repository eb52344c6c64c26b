// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IBridge} from "../../src/interfaces/IBridge.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {BridgeTest} from "../helpers/BridgeTest.sol";

/// @notice A confirmed wallet moves what the account holds, within its allowance.
contract BridgeTokensTest is BridgeTest {
    function setUp() public override {
        super.setUp();
        bindWallet();
    }

    /* REFUSALS */

    function testFuzz_RefusesStrangers(address caller) public {
        vm.assume(caller != WALLET);
        allow(xin, 100);
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, caller));
        vm.prank(caller);
        bridge.pull(address(xin), 1);
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, caller));
        vm.prank(caller);
        bridge.toLedger(XIN, 1, "");
    }

    function test_RefusesNothing() public {
        vm.expectRevert(IBridge.InvalidAmount.selector);
        vm.prank(WALLET);
        bridge.pull(address(xin), 0);
        vm.expectRevert(IBridge.InvalidAmount.selector);
        vm.prank(WALLET);
        bridge.toLedger(XIN, 0, "");
    }

    function testFuzz_RefusesMoreThanTheAllowance(uint256 allowed, uint256 amount) public {
        allowed = bound(allowed, 0, 99);
        amount = bound(amount, allowed + 1, 100);
        allow(xin, allowed);
        bytes memory reason =
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(bridge), allowed, amount);
        vm.expectRevert(reason);
        vm.prank(WALLET);
        bridge.pull(address(xin), amount);
        vm.expectRevert(reason);
        vm.prank(WALLET);
        bridge.toLedger(XIN, amount, "");
    }

    function test_RefusesTheAllowanceOfAnotherAccount() public {
        pay(BOB, 50, "");
        pay(BOB, 0, order(call(address(xin), abi.encodeCall(xin.approve, (address(bridge), 50)))));
        vm.expectRevert();
        vm.prank(WALLET);
        bridge.pull(address(xin), 1);
        vm.assertEq(xin.balanceOf(bob), 50);
    }

    function test_RefusesAnAssetWithoutAToken() public {
        vm.expectRevert();
        vm.prank(WALLET);
        bridge.toLedger(BTC, 1, "");
    }

    /* MOVING */

    function testFuzz_PullsToTheWallet(uint256 amount) public {
        amount = bound(amount, 1, 100);
        allow(xin, 100);
        vm.prank(WALLET);
        bridge.pull(address(xin), amount);
        vm.assertEq(xin.balanceOf(WALLET), amount);
        vm.assertEq(xin.balanceOf(alice), 100 - amount);
    }

    function testFuzz_SendsToTheLedger(uint256 amount, bytes calldata memo) public {
        amount = bound(amount, 1, 100);
        vm.assume(memo.length <= 200);
        allow(xin, 100);
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, members.sequence(), XIN, amount, abi.encode(ALICE), memo);
        vm.prank(WALLET);
        vm.assertEq(bridge.toLedger(XIN, amount, memo), 0);
        vm.assertEq(xin.balanceOf(alice), 100 - amount);
        vm.assertEq(xin.balanceOf(address(bridge)), 0);
        checkBacking(XIN, 0);
    }
}
