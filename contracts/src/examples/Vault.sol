// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Process} from "lockstep-contracts/src/Process.sol";
import {IGroup} from "lockstep-contracts/src/interfaces/IGroup.sol";
import {Message} from "lockstep-contracts/src/types/Messages.sol";

/// @title An example process: keeps what an account pays in, and pays it out when that account says so.
/// @notice Commands are the payload of a payment:
///
///     (empty) or 01                       deposit
///     02, amount 16 bytes, recipient      withdraw that much of the asset of this payment, to a 32-byte account or a MIX
///                                         payload; to the sender where the recipient is empty
///
/// Each payment is a deposit first, so a withdrawal may spend what comes with it. Amounts are in 10^-8 units.
/// @dev Nobody has power over it. An account that never paid in cannot be paid by its 32 bytes, for the group could not tell
/// who that is: such a withdrawal is refused here, where its owner keeps the balance. What still bounces, a MIX payload of
/// users that the ledger does not know, comes back without saying whose it was, and is kept in `bounced` for ever. So
/// withdraw to users that exist.
contract Vault is Process {
    /// @dev First byte of a payload that only deposits.
    uint8 private constant DEPOSIT = 0x01;
    /// @dev First byte of a payload that withdraws.
    uint8 private constant WITHDRAW = 0x02;
    /// @dev Bytes of a withdrawal before its recipient.
    uint256 private constant WITHDRAW_HEADER = 17;

    /// @notice What an account may withdraw.
    mapping(bytes32 account => mapping(bytes32 asset => uint256)) public balanceOf;

    /// @notice Whether an account ever paid in, and so can be paid.
    mapping(bytes32 account => bool) public known;

    /// @notice What came back from payouts.
    mapping(bytes32 asset => uint256) public bounced;

    /// @notice An account paid in.
    event Deposited(bytes32 indexed account, bytes32 indexed asset, uint256 amount);

    /// @notice An account paid out, as outbound `nonce` of the group contract.
    event Withdrawn(bytes32 indexed account, bytes32 indexed asset, uint256 amount, uint64 nonce);

    /// @notice A payment without a sender has no account to credit.
    error NoSender();

    /// @notice A message that brings nothing.
    error NoPayment();

    /// @notice The account never paid in, so it cannot be paid by its 32 bytes. Name its users in a MIX payload.
    error UnknownRecipient(bytes32 account);

    /// @notice The payload is not one of the commands.
    error UnknownCommand(bytes payload);

    /// @notice The account holds less than it wants to withdraw.
    error InsufficientBalance(bytes32 account, bytes32 asset, uint256 balance, uint256 amount);

    constructor(IGroup group_, bytes32 process_) Process(group_, process_) {}

    /// @dev What reverts here gives the payment back to its sender.
    function _onMessage(Message calldata message) internal override {
        require(message.sender != 0, NoSender());
        require(message.amount != 0, NoPayment());
        known[message.sender] = true;
        balanceOf[message.sender][message.asset] += message.amount;
        emit Deposited(message.sender, message.asset, message.amount);

        bytes calldata payload = message.payload;
        if (payload.length == 0 || (payload.length == 1 && uint8(payload[0]) == DEPOSIT)) return;
        bool withdraws = payload.length >= WITHDRAW_HEADER && uint8(payload[0]) == WITHDRAW;
        require(withdraws, UnknownCommand(payload));
        uint256 amount = uint128(bytes16(payload[1:WITHDRAW_HEADER]));
        bytes memory recipient = payload[WITHDRAW_HEADER:];
        if (recipient.length == 0) recipient = abi.encode(message.sender);
        else if (recipient.length == 32) require(known[bytes32(recipient)], UnknownRecipient(bytes32(recipient)));
        _withdraw(message.sender, message.asset, amount, recipient);
    }

    function _onBounce(Message calldata message) internal override {
        bounced[message.asset] += message.amount;
    }

    function _withdraw(bytes32 account, bytes32 asset, uint256 amount, bytes memory recipient) private {
        uint256 balance = balanceOf[account][asset];
        require(amount <= balance, InsufficientBalance(account, asset, balance, amount));
        balanceOf[account][asset] = balance - amount;
        uint64 nonce = _send(asset, amount, recipient, "");
        emit Withdrawn(account, asset, amount, nonce);
    }
}
