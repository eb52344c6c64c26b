// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";

import {IAsset} from "../../src/interfaces/IAsset.sol";

/// @notice A token that says yes to everything, has whatever is asked for, and takes what it can get of another one.
contract LyingToken {
    /// @notice Calls of another token that did what they should.
    uint256 public worked;

    function balanceOf(address) external pure returns (uint256) {
        return type(uint256).max;
    }

    function transfer(address, uint256) external pure returns (bool) {
        return true;
    }

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return true;
    }

    /// @dev Called by an account in an order. Nothing here may work but to take what was approved, and to leave with it.
    function lie(address token, bytes32 payee, uint256 amount) external returns (bool) {
        bytes[5] memory calls = [
            abi.encodeCall(IERC7802.crosschainMint, (address(this), amount)),
            abi.encodeCall(IERC7802.crosschainBurn, (msg.sender, amount)),
            abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), amount)),
            abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), amount)),
            abi.encodeCall(IAsset.toLedger, (abi.encode(payee), amount / 2, ""))
        ];
        for (uint256 i; i < calls.length; ++i) {
            (bool success,) = token.call(calls[i]);
            if (success) ++worked;
        }
        return true;
    }
}
