// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {IBridge} from "../../src/interfaces/IBridge.sol";
import {AccountsTest} from "./AccountsTest.sol";
import {Signed} from "./Members.sol";

/// @notice A bridge, a wallet with coin, and Alice's account with some of an asset.
abstract contract BridgeTest is AccountsTest {
    address internal constant WALLET = address(0xe0a);
    address internal constant THIEF = address(0x7416f);

    IBridge internal bridge;
    IERC20 internal coin;

    function setUp() public virtual override {
        super.setUp();
        coin = IERC20(create("WrappedCoin.sol:WrappedCoin", ""));
        bridge = IBridge(create("Bridge.sol:Bridge", abi.encode(accounts, coin)));
        vm.deal(WALLET, 10 ether);
        pay(ALICE, 100, "");
    }

    function ask(address wallet, bytes32 user) internal {
        vm.prank(wallet);
        bridge.bind(user);
    }

    /// @dev Lets a user's account call the bridge, on his order.
    function command(bytes32 user, bytes memory data) internal {
        deliverLast(commanded(user, data));
    }

    function commanded(bytes32 user, bytes memory data) internal returns (Signed memory) {
        return posted(user, 0, order(call(address(bridge), data)));
    }

    function bindWallet() internal {
        ask(WALLET, ALICE);
        command(ALICE, abi.encodeCall(IBridge.confirm, (WALLET)));
    }

    function allow(IERC20 token, uint256 amount) internal {
        pay(ALICE, 0, order(call(address(token), abi.encodeCall(token.approve, (address(bridge), amount)))));
    }

    function checkBinding(address wallet, address account, bool confirmed) internal view {
        (address named, bool agreed) = bridge.bindingOf(wallet);
        vm.assertEq(named, account);
        vm.assertTrue(agreed == confirmed);
    }
}
