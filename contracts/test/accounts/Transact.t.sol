// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccount} from "../../src/interfaces/IAccount.sol";
import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";
import {MockTarget} from "../mocks/MockTarget.sol";

/// @notice Calls with coin, which the layout of an order has no place for.
contract TransactTest is AccountsTest {
    function setUp() public override {
        super.setUp();
        pay(ALICE, 5, "");
        vm.deal(alice, 10 ether);
    }

    function testFuzz_RefusesOthers(address caller) public {
        vm.assume(caller != alice);
        vm.expectRevert(abi.encodeWithSelector(IAccount.OnlySelf.selector, caller));
        vm.prank(caller);
        IAccount(alice).transact(caller, 1 ether, "");
    }

    function test_RefusesTheRegistry() public {
        vm.expectRevert(abi.encodeWithSelector(IAccount.OnlySelf.selector, address(accounts)));
        vm.prank(address(accounts));
        IAccount(alice).transact(address(target), 1 ether, "");
    }

    function test_RefusesDataForATargetWithoutCode() public {
        vm.expectRevert(abi.encodeWithSelector(IAccount.NoCode.selector, address(0xdead)));
        vm.prank(alice);
        IAccount(alice).transact(address(0xdead), 1, "hello");
    }

    function test_RefusesMoreThanThereIs() public {
        vm.expectRevert(abi.encodeWithSelector(IAccount.CallFailed.selector, type(uint256).max, address(target), ""));
        vm.prank(alice);
        IAccount(alice).transact(address(target), 11 ether, "");
    }

    function test_KeepsTheReason() public {
        vm.expectRevert(abi.encodeWithSelector(IAccount.CallFailed.selector, type(uint256).max, address(target), "why"));
        vm.prank(alice);
        IAccount(alice).transact(address(target), 0, abi.encodeCall(MockTarget.failWith, ("why")));
    }

    function test_PaysAContractOnOrder() public {
        bytes memory paying = abi.encodeCall(IAccount.transact, (address(target), 3 ether, "hello"));
        Signed memory signed = posted(ALICE, 0, order(call(alice, paying)));
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderRan(ALICE, 2, 0, 0);
        deliverLast(signed);
        vm.assertEq(address(target).balance, 3 ether);
        vm.assertEq(target.last(), "hello");
    }

    function test_PaysAWalletOnOrder() public {
        address wallet = address(0xe0a);
        pay(ALICE, 0, order(call(alice, abi.encodeCall(IAccount.transact, (wallet, 3 ether, "")))));
        vm.assertEq(wallet.balance, 3 ether);
        vm.assertEq(alice.balance, 7 ether);
    }
}
