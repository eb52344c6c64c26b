// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccount} from "../../src/interfaces/IAccount.sol";
import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Orders} from "../../src/accounts/Orders.sol";

/// @notice The vector file that the Rust core reads too.
contract AccountsVectorsTest is AccountsTest {
    string private file;

    function setUp() public override {
        super.setUp();
        file = vm.readFile("test/vectors/accounts.json");
    }

    function test_RefusesWhatTheCoreRefuses() public {
        uint256 i;
        for (; vm.keyExistsJson(file, row("refused", i)); ++i) {
            string memory path = row("refused", i);
            string memory error_ = vm.parseJsonString(file, string.concat(path, ".error"));
            uint256 one = vm.parseJsonUint(file, string.concat(path, ".args[0]"));
            bytes memory reason = abi.encodePacked(selectorOf(error_), one);
            if (vm.keyExistsJson(file, string.concat(path, ".args[1]"))) {
                reason = abi.encodePacked(reason, vm.parseJsonUint(file, string.concat(path, ".args[1]")));
            }
            bytes memory order_ = vm.parseJsonBytes(file, string.concat(path, ".bytes"));
            vm.expectRevert(reason);
            this.read(order_);
        }
        vm.assertEq(i, 11);
    }

    function test_ReadsOrders() public view {
        uint256 i;
        for (; vm.keyExistsJson(file, row("orders", i)); ++i) {
            readsOrder(row("orders", i));
        }
        vm.assertEq(i, 5);
    }

    function test_ComputesAddresses() public {
        address deployer = vm.parseJsonAddress(file, ".deployer");
        vm.prank(deployer);
        IAccounts registry = newAccounts(OTHER);
        vm.assertEq(address(registry), vm.parseJsonAddress(file, ".registry"));
        vm.assertEq(registry.assetImplementation(), vm.parseJsonAddress(file, ".tokenImplementation"));
        vm.assertEq(registry.accountImplementation(), vm.parseJsonAddress(file, ".accountImplementation"));
        bytes32[] memory users = vm.parseJsonBytes32Array(file, ".users");
        for (uint256 i; i < users.length; ++i) {
            vm.assertEq(registry.accountOf(users[i]), vm.parseJsonAddress(file, row("accounts", i)));
        }
        bytes32[] memory assets = vm.parseJsonBytes32Array(file, ".assets");
        for (uint256 i; i < assets.length; ++i) {
            vm.assertEq(registry.tokenOf(assets[i]), vm.parseJsonAddress(file, row("tokens", i)));
            vm.assertEq(registry.createToken(assets[i]), vm.parseJsonAddress(file, row("tokens", i)));
        }
        vm.assertEq(users.length + assets.length, 7);
    }

    function test_ReadsAPointer() public view {
        bytes memory pointer = vm.parseJsonBytes(file, ".pointer");
        bytes32 process = vm.parseJsonBytes32(file, ".process");
        (address named, bytes32 key) = this.readPointer(pointer, process);
        vm.assertEq(named, vm.parseJsonAddress(file, ".storage"));
        vm.assertEq(key, vm.parseJsonBytes32(file, ".key"));
        vm.assertEq(key, keccak256(vm.parseJsonBytes(file, ".stored")));
    }

    /* THE LIBRARY, CALLED FROM OUTSIDE */

    /// @dev Reads an order to its end.
    function read(bytes calldata bytes_)
        external
        pure
        returns (bool keep, address spender, address[] memory targets, bytes[] memory datas)
    {
        bytes memory order_ = bytes_;
        uint256 count;
        uint256 cursor;
        (keep, count, spender, cursor) = Orders.open(order_);
        (targets, datas) = (new address[](count), new bytes[](count));
        for (uint256 i; i < count; ++i) {
            uint256 length;
            uint256 next;
            (targets[i],, length, next) = Orders.call(order_, cursor);
            datas[i] = bytes_[next - length:next];
            cursor = next;
        }
        Orders.close(order_, cursor);
    }

    function readPointer(bytes calldata payload, bytes32 process) external pure returns (address, bytes32) {
        vm.assertTrue(Orders.isPointer(payload, process));
        return Orders.pointer(payload);
    }

    function readsOrder(string memory path) private view {
        bytes memory order_ = vm.parseJsonBytes(file, string.concat(path, ".bytes"));
        (bool keep, address spender, address[] memory targets, bytes[] memory datas) = this.read(order_);
        vm.assertTrue(keep == vm.parseJsonBool(file, string.concat(path, ".keep")));
        string memory named = vm.parseJsonString(file, string.concat(path, ".spender"));
        vm.assertEq(
            spender, bytes(named).length == 0 ? targets[0] : vm.parseJsonAddress(file, string.concat(path, ".spender"))
        );
        uint256 i;
        for (; i < targets.length; ++i) {
            string memory index = string.concat("[", vm.toString(i), "]");
            vm.assertEq(targets[i], vm.parseJsonAddress(file, string.concat(path, ".targets", index)));
            vm.assertEq(datas[i], vm.parseJsonBytes(file, string.concat(path, ".datas", index)));
        }
        vm.assertFalse(vm.keyExistsJson(file, string.concat(path, ".targets[", vm.toString(i), "]")));
    }

    function row(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(index), "]");
    }

    function selectorOf(string memory name) private pure returns (bytes4) {
        bytes32 hash = keccak256(bytes(name));
        if (hash == keccak256("MalformedOrder")) return IAccount.MalformedOrder.selector;
        if (hash == keccak256("UnknownFlags")) return IAccount.UnknownFlags.selector;
        return IAccount.InvalidCount.selector;
    }
}
