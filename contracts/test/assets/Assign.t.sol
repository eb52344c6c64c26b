// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAssets} from "../../src/interfaces/IAssets.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";

/// @notice What came back from the ledger finds its owner by the registrar, and only that.
contract AssignTest is AccountsTest {
    address private registrar;

    function setUp() public override {
        super.setUp();
        pay(ALICE, 100, "");
        pay(PROCESS, 0, "");
        bounce(XIN, 40);
        registrar = accounts.accountOf(PROCESS);
    }

    function testFuzz_RefusesOthers(address caller) public {
        vm.assume(caller != registrar);
        vm.expectRevert(abi.encodeWithSelector(IAssets.OnlyRegistrar.selector, caller));
        vm.prank(caller);
        accounts.assign(XIN, ALICE, 1);
    }

    function testFuzz_RefusesMoreThanIsUnassigned(uint256 amount) public {
        amount = bound(amount, 41, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IAssets.InsufficientUnassigned.selector, XIN, 40, amount));
        vm.prank(registrar);
        accounts.assign(XIN, ALICE, amount);
    }

    function test_RefusesAnAssetThatIsNotThere() public {
        vm.expectRevert(abi.encodeWithSelector(IAssets.InsufficientUnassigned.selector, BTC, 0, 1));
        vm.prank(registrar);
        accounts.assign(BTC, ALICE, 1);
    }

    function testFuzz_RefusesAUserWhoWasNeverHere(bytes32 user) public {
        vm.assume(user != ALICE && user != PROCESS);
        vm.expectRevert(abi.encodeWithSelector(IAssets.UnknownUser.selector, user));
        vm.prank(registrar);
        accounts.assign(XIN, user, 1);
    }

    function testFuzz_AssignsOnTheRegistrarsOrder(uint256 amount) public {
        amount = bound(amount, 1, 40);
        bytes memory assigning = call(address(accounts), abi.encodeCall(IAssets.assign, (XIN, ALICE, amount)));
        Signed memory signed = posted(PROCESS, 0, order(assigning));
        vm.expectEmit(address(accounts));
        emit IAssets.Assigned(XIN, ALICE, amount);
        deliverLast(signed);
        vm.assertEq(xin.balanceOf(alice), 100 + amount);
        checkBacking(XIN, 40 - amount);
    }

    function test_AssignsAnAssetWithoutAToken() public {
        bounce(BTC, 7);
        vm.prank(registrar);
        accounts.assign(BTC, ALICE, 7);
        checkBacking(BTC, 0);
    }
}
