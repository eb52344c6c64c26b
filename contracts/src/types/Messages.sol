// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice What a message is. The order is part of every signed message and never changes.
/// @dev Travels as a `uint8`, so that a kind that this contract does not know is passed over instead of blocking a mailbox.
library MessageKind {
    /// @notice Message 0 of each mailbox: payload = address 20, flags 1, gas 4.
    uint8 internal constant REGISTER = 0;
    /// @notice A payment with a payload, for the developer contract.
    uint8 internal constant CALL = 1;
    /// @notice A payout that could not be made comes back to its process.
    uint8 internal constant BOUNCE = 2;
    /// @notice The process as it is from now on: payload = flags 1, gas 4; a gas of zero leaves the limit as it is.
    uint8 internal constant UPDATE = 3;
    /// @notice The mailbox takes no more calls.
    uint8 internal constant CLOSE = 4;
}

/// @notice What becomes of a call that fails. Bits 1 and 2 of a process's flags.
library Policy {
    /// @notice The payment goes back to its sender. Also what the unused fourth value means.
    uint256 internal constant REFUND = 0;
    /// @notice The message is kept, with its payment set apart: anyone may retry it, and later claim the payment for its
    /// sender.
    uint256 internal constant PARK = 1;
    /// @notice The mailbox waits until the call succeeds, or until an update or closing behind it releases it.
    uint256 internal constant STRICT = 2;
}

/// @notice What the group can decide for one contract alone. Each names the state that follows, so none is a toggle.
library GovernanceKind {
    /// @notice Deliveries and payouts stop: data is empty.
    uint8 internal constant HALT = 1;
    /// @notice They go on: data is empty.
    uint8 internal constant RESUME = 2;
    /// @notice Another group key: data = abi.encode(uint64 generation, bytes key, bytes possession).
    uint8 internal constant ROTATE = 3;
    /// @notice Name of an asset: data = abi.encode(bytes32 asset, string name, string symbol).
    uint8 internal constant ASSET = 4;
    /// @notice Limits of what tanks repay: data = abi.encode(uint64 tipWei, uint32 gasPerByte).
    uint8 internal constant REPAY = 5;
}

/// @notice One message of one mailbox. Its leaf is keccak256(abi.encode(message)) and a receiver gets the same bytes.
/// @param kind See `MessageKind`.
/// @param nonce Place in the mailbox, from 0, without gaps.
/// @param sequence Ledger sequence at which the message was made.
/// @param timestamp Ledger time in nanoseconds since 1970.
/// @param sender 32-byte account that paid; zero for nobody and for messages that the group itself posts.
/// @param asset Kernel asset id; zero for no payment.
/// @param amount In 10^-8 units, at most 2^128 - 1. Already booked to the process when it is called.
/// @param payload What the sender wants the contract to read, at most 64 KiB.
struct Message {
    uint8 kind;
    uint64 nonce;
    uint64 sequence;
    uint64 timestamp;
    bytes32 sender;
    bytes32 asset;
    uint256 amount;
    bytes payload;
}

/// @notice What the members sign: every mailbox of every chain after the ledger output at `sequence`.
/// @param sequence Ledger sequence of the last applied output.
/// @param history Hash chain over all applied outputs.
/// @param root Root of the frontier, the Merkle tree over the heads of all mailboxes.
struct Checkpoint {
    uint64 sequence;
    bytes32 history;
    bytes32 root;
}

/// @notice A run of consecutive messages of one mailbox, up to the head that the checkpoint proves.
/// @param process The mailbox.
/// @param index Leaf index of the mailbox in the frontier; bits above the depth of `proof` are zero.
/// @param first Nonce of the first message. Not trusted: the proved leaf holds the nonce after the last one.
/// @param head Head of the mailbox before the first message; zero for a new mailbox.
/// @param messages Packed records: kind 1, sequence 8, timestamp 8, sender 32, asset 32, amount 16, length 4, payload.
/// @param proof Siblings of the mailbox's leaf, bottom up.
struct Batch {
    bytes32 process;
    uint32 index;
    uint64 first;
    bytes32 head;
    bytes messages;
    bytes32[] proof;
}

/// @notice How far a process has come.
/// @dev None: no registration delivered. Alive: called and paid. Rejected: its address had not bound, for ever.
/// Closed: takes no more calls, but may still pay out what it holds.
enum Status {
    None,
    Alive,
    Rejected,
    Closed
}

/// @notice A registered developer contract.
/// @param target Address that is called.
/// @param gasLimit Gas of each call.
/// @param flags Bit 0: senders are masked. Bits 1 and 2: policy.
/// @param status See `Status`.
/// @param policy See `Policy`.
/// @param tank What it can repay to deliverers, in wei.
/// @param head Head of its mailbox after the last message that ran.
struct ProcessInfo {
    address target;
    uint32 gasLimit;
    uint8 flags;
    Status status;
    uint8 policy;
    uint256 tank;
    bytes32 head;
}
