// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {IAccount} from "../../src/interfaces/IAccount.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice ERC-1271: an account signs what an order approved.
contract SignatureTest is AccountsTest {
    bytes4 private constant INVALID = 0xffffffff;

    function setUp() public override {
        super.setUp();
        pay(ALICE, 5, "");
        pay(BOB, 5, "");
    }

    function testFuzz_RefusesOthers(address caller, bytes32 hash) public {
        vm.assume(caller != alice);
        vm.expectRevert(abi.encodeWithSelector(IAccount.OnlySelf.selector, caller));
        vm.prank(caller);
        IAccount(alice).approveHash(hash, true);
    }

    function testFuzz_KnowsNoSignature(bytes32 hash, bytes calldata signature) public view {
        vm.assertEq(IAccount(alice).isValidSignature(hash, signature), INVALID);
        vm.assertEq(IAccount(accounts.accountImplementation()).isValidSignature(hash, signature), INVALID);
    }

    function testFuzz_AcceptsAnApprovedHash(bytes32 hash, bytes calldata signature) public {
        approve(hash, true);
        vm.assertEq(IAccount(alice).isValidSignature(hash, signature), IERC1271.isValidSignature.selector);
        vm.assertEq(IAccount(alice).isValidSignature(~hash, signature), INVALID);
        vm.assertEq(IAccount(bob).isValidSignature(hash, signature), INVALID);
    }

    function test_TakesAnApprovalBack() public {
        approve("hash", true);
        approve("hash", false);
        vm.assertEq(IAccount(alice).isValidSignature("hash", ""), INVALID);
    }

    function approve(bytes32 hash, bool approved) private {
        pay(ALICE, 0, order(call(alice, abi.encodeCall(IAccount.approveHash, (hash, approved)))));
    }
}
