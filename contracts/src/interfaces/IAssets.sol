// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProcess} from "./IProcess.sol";

/// @title The tokens of ledger assets: one ERC-20 for each asset that the process holds.
/// @notice A payment into the process mints, a payment out of it burns, and nothing else does either.
///
/// @dev BACKING. For each asset, at any time that other code can look:
///
///     custody(process, asset) of the group = totalSupply of the token + unassigned(asset)
///
/// where `unassigned` is what nobody can be credited for: payments without a sender, and payouts that the ledger could not
/// make and that came back (the group does not say which). A message that fails is refunded and changes none of these.
///
/// ADDRESSES. A token is a clone with immutable arguments (`LibClone` of solady) of `assetImplementation`, which is the first
/// contract that this one created, with the asset as argument and as salt. So anyone can compute a token from this contract's
/// address and the asset, whatever its name is.
///
/// WHO MAY HURT WHOM. A holder spends what he holds. The registrar (the ledger user whose id is the process) may assign what is
/// unassigned to the wrong account; he cannot reach what is backed by a token. Whoever gives a payee that does not exist loses
/// the payment to `unassigned`, and asks the registrar.
interface IAssets is IProcess {
    /* EVENTS */

    /// @notice The token of an asset was created.
    event AssetCreated(bytes32 indexed asset, address indexed token);

    /// @notice Tokens were burned for outbound `nonce` of the group contract.
    event PaidOut(bytes32 indexed asset, address indexed holder, uint256 amount, uint64 nonce);

    /// @notice A payout came back from the ledger, and is unassigned.
    event CameBack(bytes32 indexed asset, uint256 amount);

    /// @notice Unassigned value was minted to the account of `user`.
    event Assigned(bytes32 indexed asset, bytes32 indexed user, uint256 amount);

    /* ERRORS */

    /// @notice Only the token of this asset may ask for its payout.
    error OnlyAsset(bytes32 asset, address caller);

    /// @notice No account of this ledger user exists, so the ledger would send the payment back.
    error UnknownUser(bytes32 user);

    /// @notice A payment to himself, by a holder who is no account of a ledger user.
    error NotAccount(address holder);

    /// @notice Members of a MIX payload must ascend, so that no two are equal: the ledger pays no such set.
    error MembersNotAscending(uint256 index);

    /// @notice Only the account of the registrar may assign.
    error OnlyRegistrar(address caller);

    /// @notice Less than this is unassigned.
    error InsufficientUnassigned(bytes32 asset, uint256 available, uint256 amount);

    /* FUNCTIONS */

    /// @notice Pays out what the token of `asset` has just burned. Tokens call it; see `IAsset.toLedger`.
    /// @param recipient Empty for the ledger user of `holder`, a 32-byte account that was here, or a MIX payload.
    function payOut(bytes32 asset, address holder, uint256 amount, bytes calldata recipient, bytes calldata memo)
        external
        returns (uint64 nonce);

    /// @notice Mints unassigned value to an account that exists. Only for the registrar's own account, on his order.
    function assign(bytes32 asset, bytes32 user, uint256 amount) external;

    /// @notice Creates the token of an asset, if it does not exist. Anyone may.
    function createToken(bytes32 asset) external returns (address token);

    /* VIEWS */

    /// @notice The address of an asset's token, whether it exists or not.
    function tokenOf(bytes32 asset) external view returns (address token);

    /// @notice The asset of a token, zero for any other address.
    function assetOf(address token) external view returns (bytes32 asset);

    /// @notice What the process holds beyond the token's supply, in 10^-8 units.
    function unassigned(bytes32 asset) external view returns (uint256);

    /// @notice What tokens are clones of.
    function assetImplementation() external view returns (address);
}
