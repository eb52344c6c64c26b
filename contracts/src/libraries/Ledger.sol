// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title The ledger in the words of ERC-7786 and ERC-7930.
library Ledger {
    /// @notice Chain type of an ERC-7930 address of the ledger. Not registered anywhere: "LS".
    bytes2 internal constant CHAIN_TYPE = 0x4c53;

    /// @notice Selector of the ERC-7786 attribute that says what a message pays: transfer(bytes32 asset, uint256 amount).
    bytes4 internal constant TRANSFER = bytes4(keccak256("transfer(bytes32,uint256)"));
}
