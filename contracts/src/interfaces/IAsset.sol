// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title The token of one ledger asset.
/// @notice ERC-20 with 8 decimals, so that a unit is a unit of the ledger; permit (ERC-2612), temporary approval (ERC-7674),
/// mint and burn by its registry only (ERC-7802). Transfers have no fee, no hook and no list of any kind, and a transfer to an
/// account of a ledger user is a transfer like any other: it does not leave for the ledger by itself, as MVM's did.
/// @dev The name and symbol are those that the group governs, and may change; until they are set they come from the asset's id.
/// The EIP-712 domain is named "Lockstep asset" for all tokens and for ever (`eip712Domain` says so), so that a new name
/// breaks no permit. Nobody chooses a token's name but the group, so no token can look like another's.
interface IAsset {
    /// @notice Somebody other than the registry minted or burned.
    error OnlyRegistry(address caller);

    /// @notice Burns tokens of the caller, and has them paid on the ledger.
    /// @param recipient Empty for the caller's own ledger user (the caller is his account), a 32-byte account that the
    /// registry knows, or a MIX payload with ascending members.
    /// @param amount In 10^-8 units, 1 to 2^128 - 1; 2^256 - 1 is all that the caller has.
    /// @param memo Raw extra of the ledger payment, at most 200 bytes.
    /// @return nonce Number of the outbound at the group contract.
    function toLedger(bytes calldata recipient, uint256 amount, bytes calldata memo) external returns (uint64 nonce);

    /// @notice MVM's form of `toLedger`: to the ledger user whose account `to` is.
    function transferWithExtra(address to, uint256 amount, bytes calldata extra) external returns (bool);

    /// @notice Kernel asset id.
    function asset() external view returns (bytes32);

    /// @notice The contract that mints and burns.
    function registry() external view returns (address);
}
