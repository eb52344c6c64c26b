// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice Names are what the group governs, else what follows from the id.
contract NamesTest is AccountsTest {
    bytes32 private constant ASSET = hex"1a2b3c4d00000000000000000000000000000000000000000000000000000005";

    IERC20Metadata private token;

    function setUp() public override {
        super.setUp();
        token = IERC20Metadata(accounts.createToken(ASSET));
    }

    function test_HasADefault() public view {
        vm.assertEq(bytes(token.name()), "Ledger asset 1a2b3c4d");
        vm.assertEq(bytes(token.symbol()), "LS-1a2b3c4d");
    }

    function test_HasADefaultWhereNothingIsSet() public {
        govern("", "");
        vm.assertEq(bytes(token.name()), "Ledger asset 1a2b3c4d");
        vm.assertEq(bytes(token.symbol()), "LS-1a2b3c4d");
    }

    function testFuzz_FollowsTheGroup(bytes32 name, bytes16 symbol) public {
        bytes memory long = abi.encodePacked(name, name);
        govern(string(long), string(abi.encodePacked(symbol)));
        vm.assertEq(bytes(token.name()), long);
        vm.assertEq(bytes(token.symbol()), abi.encodePacked(symbol));
        govern("Bitcoin", "BTC");
        vm.assertEq(bytes(token.name()), "Bitcoin");
    }

    function test_ANameChangesNoAddress() public {
        address before = accounts.tokenOf(ASSET);
        govern("Bitcoin", "BTC");
        vm.assertEq(accounts.tokenOf(ASSET), before);
        vm.assertEq(accounts.createToken(ASSET), before);
    }

    function test_HasEightDecimals() public view {
        vm.assertEq(token.decimals(), 8);
    }

    function govern(string memory name, string memory symbol) private {
        decide(4, abi.encode(ASSET, name, symbol));
    }
}
