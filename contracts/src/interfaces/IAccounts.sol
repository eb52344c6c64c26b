// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAssets} from "./IAssets.sol";

/// @title The process that gives each ledger user a smart account and passes his orders to it (MVM's Registry).
/// @notice A payment to this process mints the asset's token to the account of its sender. What is in the payload decides the
/// rest:
///
///     empty         the amount stays in the account
///     an order      runs in the account; see `IAccount` for its bytes. What it leaves of the message's asset goes back to
///                   the user on the ledger, or stays if the order says so
///     anything else or an order that fails: nothing happens but that the whole amount goes back
///
/// "What it leaves" is how much more of that asset the account has after the order than before the payment: with what the
/// order spent gone, and with what it earned. What came back has the group's refund memo, with the message's nonce.
///
/// @dev NO PAYLOAD STOPS THE MAILBOX, whatever policy the process is registered with: a payload is only read inside of one
/// call with bounded gas, of whose failure at most `REASON_MAX` bytes are copied, and `GAS_RESERVE` is kept to give the amount
/// back. A message reverts as a whole, and is handled by the group's policy, in two cases: its gas does not suffice to
/// create what is needed (register with 2,000,000 or more; 500,000 at least), or it has no sender.
///
/// ADDRESSES. An account is a clone like a token (`IAssets`) of `accountImplementation`, the second contract that this one
/// created, with the 32-byte user as argument and salt. It can be paid before it exists; it exists after its user's first
/// payment.
///
/// WHO MAY HURT WHOM. Users hurt themselves only. A deliverer chooses the block in which an order runs, and what runs around
/// it: orders that trade need limits of their own. The members order accounts about if a threshold of them wants to, and if
/// they close this process, or halt for ever, accounts get no more orders: then only what was approved to others, such as
/// confirmed wallets (`IBridge`), leaves them. If the process is registered as private, accounts belong to masks of users, and
/// nobody can assign.
///
/// WHO PAYS. An order may take all the gas that the process is registered with, and its amount goes back all the same. Whoever
/// repays deliverers for this process pays that too, so it should take known assets only, from a minimum on that makes it dear.
interface IAccounts is IAssets {
    /* EVENTS */

    /// @notice The account of a ledger user was created.
    event AccountCreated(bytes32 indexed user, address indexed account);

    /// @notice A payment without an order stays in the account.
    event Deposited(bytes32 indexed user, uint64 indexed nonce, bytes32 asset, uint256 amount);

    /// @notice An order ran.
    /// @param returned What went back to the ledger of the message's asset.
    event OrderRan(bytes32 indexed user, uint64 indexed nonce, bytes32 asset, uint256 returned);

    /// @notice An order had no effect, and the whole amount went back.
    /// @param reason At most `REASON_MAX` bytes of an error of `IAccount` or `IStorage`; empty where the gas ended.
    event OrderFailed(bytes32 indexed user, uint64 indexed nonce, bytes32 asset, uint256 returned, bytes reason);

    /* ERRORS */

    /// @notice A payment of nobody has no account. The group keeps it for the process, unassigned.
    error NoSender(uint64 nonce);

    /* VIEWS */

    /// @notice The address of a user's account, whether it exists or not.
    function accountOf(bytes32 user) external view returns (address account);

    /// @notice The user of an account that exists, zero for any other address.
    function userOf(address account) external view returns (bytes32 user);

    /// @notice What accounts are clones of.
    function accountImplementation() external view returns (address);

    /// @notice The storage contract that orders may point to.
    function payloads() external view returns (address);

    /// @notice Gas that an order leaves for what comes after it.
    // forge-lint: disable-next-line(mixed-case-function)
    function GAS_RESERVE() external view returns (uint256);
}
