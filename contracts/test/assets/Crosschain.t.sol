// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";

import {IAsset} from "../../src/interfaces/IAsset.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice Mint and burn (ERC-7802) by the registry alone.
contract CrosschainTest is AccountsTest {
    IERC7802 private token;

    function setUp() public override {
        super.setUp();
        pay(ALICE, 100, "");
        token = IERC7802(address(xin));
    }

    function testFuzz_RefusesToMintForOthers(address caller) public {
        vm.assume(caller != address(accounts));
        vm.expectRevert(abi.encodeWithSelector(IAsset.OnlyRegistry.selector, caller));
        vm.prank(caller);
        token.crosschainMint(caller, 1);
    }

    function testFuzz_RefusesToBurnForOthers(address caller) public {
        vm.assume(caller != address(accounts));
        vm.expectRevert(abi.encodeWithSelector(IAsset.OnlyRegistry.selector, caller));
        vm.prank(caller);
        token.crosschainBurn(alice, 1);
    }

    function test_RefusesToBurnMoreThanThereIs() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice, 100, 101));
        vm.prank(address(accounts));
        token.crosschainBurn(alice, 101);
    }

    function testFuzz_Mints(address to, uint128 amount) public {
        vm.assume(to != address(0) && to != alice);
        vm.expectEmit(address(token));
        emit IERC7802.CrosschainMint(to, amount, address(accounts));
        vm.prank(address(accounts));
        token.crosschainMint(to, amount);
        vm.assertEq(xin.balanceOf(to), amount);
        vm.assertEq(xin.totalSupply(), uint256(amount) + 100);
    }

    function testFuzz_Burns(uint256 amount) public {
        amount = bound(amount, 0, 100);
        vm.expectEmit(address(token));
        emit IERC7802.CrosschainBurn(alice, amount, address(accounts));
        vm.prank(address(accounts));
        token.crosschainBurn(alice, amount);
        vm.assertEq(xin.balanceOf(alice), 100 - amount);
    }

    function test_SaysWhatItIs() public view {
        vm.assertTrue(token.supportsInterface(type(IERC7802).interfaceId));
        vm.assertTrue(token.supportsInterface(0x01ffc9a7));
        vm.assertFalse(token.supportsInterface(0xffffffff));
    }
}
