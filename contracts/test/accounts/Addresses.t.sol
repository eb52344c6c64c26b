// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {LibClone} from "solady/utils/LibClone.sol";

import {IAccount} from "../../src/interfaces/IAccount.sol";
import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IAsset} from "../../src/interfaces/IAsset.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice Addresses that anyone can compute, and what they answer to.
contract AddressesTest is AccountsTest {
    /* WHAT IS NO ACCOUNT AND NO TOKEN */

    function testFuzz_KnowsNoOtherAddress(address other) public view {
        vm.assertEq(accounts.userOf(other), 0);
        vm.assertEq(accounts.assetOf(other), 0);
    }

    function test_KnowsNoAccountThatDoesNotExist() public view {
        vm.assertEq(accounts.userOf(alice), 0);
        vm.assertEq(accounts.assetOf(address(xin)), 0);
    }

    function test_KnowsNoCloneOfAnother() public {
        pay(ALICE, 5, "");
        address implementation = accounts.accountImplementation();
        // The same code with the same argument, created by somebody else.
        address forged = LibClone.cloneDeterministic(implementation, abi.encode(ALICE), ALICE);
        vm.assertEq(forged.code, alice.code);
        vm.assertEq(IAccount(forged).user(), ALICE);
        vm.assertEq(accounts.userOf(forged), 0);
    }

    function test_TellsTokensFromAccounts() public {
        pay(XIN, 5, "");
        vm.assertEq(accounts.assetOf(accounts.accountOf(XIN)), 0);
        vm.assertEq(accounts.userOf(address(xin)), 0);
    }

    /* WHAT IS */

    function testFuzz_AccountsFollowFromTheRegistry(bytes32 user) public {
        vm.assume(user != 0);
        address predicted = cloneOf(vm.computeCreateAddress(address(accounts), 2), user);
        vm.assertEq(accounts.accountOf(user), predicted);
        pay(user, 0, "");
        vm.assertEq(IAccount(predicted).user(), user);
        vm.assertEq(IAccount(predicted).registry(), address(accounts));
        vm.assertEq(accounts.userOf(predicted), user);
    }

    function testFuzz_TokensFollowFromTheRegistry(bytes32 asset) public {
        address predicted = cloneOf(vm.computeCreateAddress(address(accounts), 1), asset);
        vm.assertEq(accounts.tokenOf(asset), predicted);
        vm.assertEq(accounts.createToken(asset), predicted);
        vm.assertEq(accounts.createToken(asset), predicted);
        vm.assertEq(IAsset(predicted).asset(), asset);
        vm.assertEq(IAsset(predicted).registry(), address(accounts));
        vm.assertEq(accounts.assetOf(predicted), asset);
    }

    function test_TwoRegistriesShareNothing() public {
        IAccounts other = newAccounts(OTHER);
        vm.assertTrue(other.accountOf(ALICE) != alice);
        vm.assertTrue(other.tokenOf(XIN) != address(xin));
    }

    /// @dev The definition: a clone with immutable arguments, written out.
    function cloneOf(address implementation, bytes32 argument) private view returns (address) {
        bytes memory runtime =
            abi.encodePacked(hex"363d3d373d3d3d363d73", implementation, hex"5af43d82803e903d91602b57fd5bf3", argument);
        bytes memory creation = abi.encodePacked(hex"61", uint16(runtime.length), hex"3d81600a3d39f3", runtime);
        bytes32 digest = keccak256(abi.encodePacked(hex"ff", address(accounts), argument, keccak256(creation)));
        return address(uint160(uint256(digest)));
    }
}
