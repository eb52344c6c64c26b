// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title The smart account of one ledger user, or of one set of users with a threshold.
/// @notice It does what an order says that its ledger user paid in with, and nothing else: no key on this chain has power over
/// it, unless an order gave it an allowance (ERC-20), an approved hash (ERC-1271) or a confirmed wallet (`IBridge`).
///
/// It takes native coin and safe transfers of ERC-721 and ERC-1155 tokens.
///
/// @dev ORDER: MVM's `User.run` payload, big endian, with what MVM left zero used as flags:
///
///     flags 1     bit 0: leftovers stay in the account; bit 1: a spender is named
///     count 1     1 to 16
///     spender 20  only if it is named; zero for nobody. Else the first call's target
///     count times: target 20, length 2, calldata
///
/// and nothing after that. The spender has a temporary approval (ERC-7674) for the message's amount while the order runs. All
/// calls happen, in turn, or none does. A target without code fails.
///
/// POINTER: MVM's 68 bytes, process id 16, address 20, key 32, stand for the order that is stored under the key. The address
/// is that of the one storage contract, or the order fails: an address that a user chose is never called for it.
///
/// WHO MAY HURT WHOM. An order hurts its own account only. A target may do with its approval what it likes while the order
/// runs, may take all gas (the order fails), and may call back: an account obeys its registry and itself, nobody else. What a
/// target returns is not read; of what it reverts with, at most `REASON_MAX` bytes are.
interface IAccount {
    /* ERRORS */

    /// @notice Somebody other than the registry gave an order.
    error OnlyRegistry(address caller);

    /// @notice Only the account itself may do this: name it as a target in an order.
    error OnlySelf(address caller);

    /// @notice The order ends too early, or goes on after its last call.
    error MalformedOrder(uint256 offset, uint256 length);

    /// @notice Bits that mean nothing are set.
    error UnknownFlags(uint8 flags);

    /// @notice An order has 1 to 16 calls.
    error InvalidCount(uint256 count);

    /// @notice A pointer names another contract than the storage of this registry.
    error ForeignStorage(address named);

    /// @notice A call to an address without code would succeed and do nothing.
    error NoCode(address target);

    /// @notice A call of the order failed.
    /// @param index Its place, from 0; 2^256 - 1 for a call through `transact`.
    /// @param reason The first bytes of what it reverted with.
    error CallFailed(uint256 index, address target, bytes reason);

    /* FUNCTIONS */

    /// @notice Runs an order. Only for the registry.
    /// @param order See above.
    /// @param token The token of the message's asset, zero for no payment.
    /// @param amount What the message brought.
    /// @return keep Whether leftovers stay in the account.
    function run(bytes calldata order, address token, uint256 amount) external returns (bool keep);

    /// @notice Calls with native coin, which the layout of an order has no place for. Only for the account itself.
    function transact(address target, uint256 value, bytes calldata data) external;

    /// @notice Lets `isValidSignature` accept a hash, or no longer. Only for the account itself.
    function approveHash(bytes32 hash, bool approved) external;

    /// @notice ERC-1271: the magic value for a hash that an order has approved; the signature is not looked at.
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4);

    /// @notice The ledger user or set that this account obeys: 32 bytes, as in messages.
    function user() external view returns (bytes32);

    /// @notice The contract that created this account and passes orders on.
    function registry() external view returns (address);
}
