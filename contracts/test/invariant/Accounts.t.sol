// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {AccountsTest} from "../helpers/AccountsTest.sol";
import {AccountsHandler} from "./AccountsHandler.sol";

/// @notice See README.md in this folder for what holds and why it matters.
contract AccountsInvariant is AccountsTest {
    AccountsHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new AccountsHandler(group, members, accounts, target, box);
    }

    /// @notice Only the handler is called.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign for all of them.
    function invariant_Tokens() external view {
        for (uint256 i; i < handler.ASSETS(); ++i) {
            tokensAreBacked(i);
            holdersHaveTheSupply(i);
        }
        mailboxNeverWaits();
    }

    /// @dev I5: what the group holds for the process is the token's supply and what has no owner.
    function tokensAreBacked(uint256 i) private view {
        bytes32 asset = handler.assetOf(i);
        uint256 held = group.custody(PROCESS, asset);
        vm.assertEq(held, supplyOf(i) + handler.unowned(asset), "backing");
        vm.assertEq(accounts.unassigned(asset), handler.unowned(asset), "unassigned");
        vm.assertEq(held + handler.paidOut(asset), handler.broughtIn(asset), "custody");
    }

    /// @dev I6: nobody else has tokens.
    function holdersHaveTheSupply(uint256 i) private view {
        address[] memory holders = handler.holders();
        IERC20 token = handler.tokenOf(i);
        uint256 sum;
        for (uint256 h; h < holders.length; ++h) {
            sum += address(token).code.length == 0 ? 0 : token.balanceOf(holders[h]);
        }
        vm.assertEq(sum, supplyOf(i), "supply");
    }

    /// @dev I7: everything that was delivered was taken.
    function mailboxNeverWaits() private view {
        vm.assertEq(group.head(PROCESS), members.headAt(box, members.count(box)), "mailbox");
    }

    function supplyOf(uint256 i) private view returns (uint256) {
        IERC20 token = handler.tokenOf(i);
        return address(token).code.length == 0 ? 0 : token.totalSupply();
    }
}
