// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IAsset} from "../../src/interfaces/IAsset.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice MVM's transfer to an account leaves for the ledger; a plain one stays a transfer.
contract TransferWithExtraTest is AccountsTest {
    address private constant WALLET = address(0xe0a);

    IAsset private token;

    function setUp() public override {
        super.setUp();
        pay(ALICE, 100, "");
        pay(BOB, 0, "");
        pay(ALICE, 0, order(call(address(xin), abi.encodeCall(xin.transfer, (WALLET, 60)))));
        token = IAsset(address(xin));
    }

    function testFuzz_RefusesWhatIsNoAccount(address to) public {
        vm.assume(to != alice && to != bob);
        vm.expectRevert(abi.encodeWithSelector(IAssets.NotAccount.selector, to));
        vm.prank(WALLET);
        token.transferWithExtra(to, 5, "extra");
    }

    function test_RefusesMoreThanTheHolderHas() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, WALLET, 60, 61));
        vm.prank(WALLET);
        token.transferWithExtra(bob, 61, "extra");
    }

    function testFuzz_PaysTheUserOfAnAccount(uint256 amount, bytes calldata extra) public {
        amount = bound(amount, 1, 60);
        vm.assume(extra.length <= 200);
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, members.sequence(), XIN, amount, abi.encode(BOB), extra);
        vm.expectEmit(address(accounts));
        emit IAssets.PaidOut(XIN, WALLET, amount, 0);
        vm.prank(WALLET);
        vm.assertTrue(token.transferWithExtra(bob, amount, extra));
        vm.assertEq(xin.balanceOf(bob), 0);
        checkBacking(XIN, 0);
    }

    /* NO SURPRISES */

    function testFuzz_APlainTransferStays(uint256 amount) public {
        amount = bound(amount, 0, 60);
        vm.prank(WALLET);
        vm.assertTrue(xin.transfer(bob, amount));
        vm.assertEq(xin.balanceOf(bob), amount);
        vm.assertEq(xin.balanceOf(WALLET), 60 - amount);
        vm.assertEq(xin.totalSupply(), 100);
        vm.assertEq(group.outboundNonce(), 0);
    }

    function testFuzz_NobodyHasAnAllowanceThatWasNotGiven(address spender) public {
        vm.assertEq(xin.allowance(WALLET, spender), 0);
        vm.assume(spender != address(0) && spender != WALLET);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, spender, 0, 1));
        vm.prank(spender);
        vm.assertFalse(xin.transferFrom(WALLET, spender, 1));
    }
}
