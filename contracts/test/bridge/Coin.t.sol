// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IBridge} from "../../src/interfaces/IBridge.sol";
import {BridgeTest} from "../helpers/BridgeTest.sol";

/// @notice The chain's coin, in and out.
contract BridgeCoinTest is BridgeTest {
    /* REFUSALS */

    function test_RefusesADepositOfAStranger() public {
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, WALLET));
        vm.prank(WALLET);
        bridge.deposit{value: 1 ether}();
    }

    function test_RefusesADepositBeforeTheAccountAgreed() public {
        ask(WALLET, ALICE);
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, WALLET));
        vm.prank(WALLET);
        bridge.deposit{value: 1 ether}();
    }

    function test_RefusesPlainCoinOfAStranger() public {
        vm.prank(WALLET);
        (bool success,) = address(bridge).call{value: 1 ether}("");
        vm.assertFalse(success);
    }

    function test_RefusesNothing() public {
        bindWallet();
        vm.expectRevert(IBridge.InvalidAmount.selector);
        vm.prank(WALLET);
        bridge.deposit();
        vm.expectRevert(IBridge.InvalidAmount.selector);
        vm.prank(WALLET);
        bridge.withdraw(0);
    }

    function test_RefusesAWithdrawalByAStranger() public {
        deposited(2 ether);
        allow(coin, 2 ether);
        ask(THIEF, ALICE);
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, THIEF));
        vm.prank(THIEF);
        bridge.withdraw(1);
    }

    function test_RefusesAWithdrawalAfterTheEnd() public {
        deposited(2 ether);
        allow(coin, 2 ether);
        command(ALICE, abi.encodeCall(IBridge.revoke, (WALLET)));
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, WALLET));
        vm.prank(WALLET);
        bridge.withdraw(1);
    }

    function test_RefusesAWithdrawalWithoutAnAllowance() public {
        deposited(2 ether);
        vm.expectRevert();
        vm.prank(WALLET);
        bridge.withdraw(1);
    }

    function testFuzz_RefusesMoreThanTheAllowance(uint96 allowed, uint96 more) public {
        deposited(2 ether);
        allowed = uint96(bound(allowed, 0, 1 ether));
        more = uint96(bound(more, 1, 1 ether));
        allow(coin, allowed);
        vm.expectRevert();
        vm.prank(WALLET);
        bridge.withdraw(uint256(allowed) + more);
        vm.assertEq(coin.balanceOf(alice), 2 ether);
    }

    function test_RefusesAWalletThatTakesNoCoin() public {
        // A contract without a way to take coin.
        address wallet = address(payloads);
        ask(wallet, ALICE);
        command(ALICE, abi.encodeCall(IBridge.confirm, (wallet)));
        deposited(2 ether);
        allow(coin, 2 ether);
        vm.expectRevert(abi.encodeWithSelector(IBridge.CoinRefused.selector, wallet, 1 ether));
        vm.prank(wallet);
        bridge.withdraw(1 ether);
    }

    /* IN */

    function testFuzz_WrapsForTheAccount(uint96 amount) public {
        amount = uint96(bound(amount, 1, 10 ether));
        bindWallet();
        vm.expectEmit(address(bridge));
        emit IBridge.Deposited(WALLET, alice, amount);
        vm.prank(WALLET);
        bridge.deposit{value: amount}();
        vm.assertEq(coin.balanceOf(alice), amount);
        vm.assertEq(WALLET.balance, 10 ether - amount);
        holdsNothing();
    }

    function test_WrapsPlainCoin() public {
        bindWallet();
        vm.prank(WALLET);
        (bool success,) = address(bridge).call{value: 1 ether}("");
        vm.assertTrue(success);
        vm.assertEq(coin.balanceOf(alice), 1 ether);
        holdsNothing();
    }

    function test_AnOrderUsesIt() public {
        deposited(2 ether);
        bytes memory moving = call(address(coin), abi.encodeCall(coin.transfer, (bob, 1 ether)));
        pay(ALICE, 0, order(moving));
        vm.assertEq(coin.balanceOf(bob), 1 ether);
    }

    /* OUT */

    function testFuzz_UnwrapsForTheWallet(uint96 amount) public {
        amount = uint96(bound(amount, 1, 2 ether));
        deposited(2 ether);
        allow(coin, 2 ether);
        vm.expectEmit(address(bridge));
        emit IBridge.Withdrawn(WALLET, alice, amount);
        vm.prank(WALLET);
        bridge.withdraw(amount);
        vm.assertEq(WALLET.balance, 8 ether + uint256(amount));
        vm.assertEq(coin.balanceOf(alice), 2 ether - uint256(amount));
        holdsNothing();
    }

    function test_AWalletThatCallsBackTakesNoMoreThanItsAllowance() public {
        // It withdraws again while its coin arrives: the second time, nothing is allowed.
        Greedy greedy = new Greedy(bridge);
        ask(address(greedy), ALICE);
        command(ALICE, abi.encodeCall(IBridge.confirm, (address(greedy))));
        deposited(3 ether);
        allow(coin, 1 ether);
        vm.prank(address(greedy));
        bridge.withdraw(1 ether);
        vm.assertFalse(greedy.again());
        vm.assertEq(address(greedy).balance, 1 ether);
        vm.assertEq(coin.balanceOf(alice), 2 ether);
    }

    function deposited(uint256 amount) private {
        bindWallet();
        vm.prank(WALLET);
        bridge.deposit{value: amount}();
    }

    function holdsNothing() private view {
        vm.assertEq(address(bridge).balance, 0);
        vm.assertEq(coin.balanceOf(address(bridge)), 0);
    }
}

/// @notice A wallet that withdraws again when it is paid.
contract Greedy {
    IBridge private immutable BRIDGE;
    bool public again;

    constructor(IBridge bridge) {
        BRIDGE = bridge;
    }

    receive() external payable {
        (again,) = address(BRIDGE).call(abi.encodeCall(IBridge.withdraw, (1 ether)));
    }
}
