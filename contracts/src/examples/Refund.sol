// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Process} from "lockstep-contracts/src/Process.sol";
import {IGroup} from "lockstep-contracts/src/interfaces/IGroup.sol";
import {Message} from "lockstep-contracts/src/types/Messages.sol";

/// @title An example process: a tip jar, which pays back whatever it does not understand.
/// @notice Commands are the payload of a payment:
///
///     01                   keep this payment as a tip
///     02, amount 16 bytes  collect that much of the asset of this payment; the keeper's only
///
/// Anything else is paid back with a word why. Amounts are in 10^-8 units.
/// @dev There are two ways to refuse. Reverting leaves it to the group, and is right for what must undo something: here a
/// stranger who collects. Paying back in the call, as for an unknown command, costs the same on the ledger, may carry a
/// memo, and works under each policy: under *park* and *strict* a revert would not give the payment back at once.
///
/// Who may hurt whom: the keeper takes the tips, and nothing else is ever kept.
contract Refund is Process {
    uint8 private constant TIP = 0x01;
    uint8 private constant COLLECT = 0x02;
    /// @dev Bytes of a command to collect.
    uint256 private constant COLLECT_LENGTH = 17;

    /// @notice The account that may collect.
    bytes32 public immutable keeper;

    /// @notice What may be collected, by asset.
    mapping(bytes32 asset => uint256) public tips;

    /// @notice An account left a tip.
    event Tipped(bytes32 indexed account, bytes32 indexed asset, uint256 amount);

    /// @notice A payment without a sender cannot be paid back by anybody.
    error NoSender();

    /// @notice A message without a payment.
    error NoPayment();

    /// @notice Somebody other than the keeper collects.
    error OnlyKeeper(bytes32 account);

    /// @notice There is less in the jar.
    error InsufficientTips(bytes32 asset, uint256 held, uint256 amount);

    constructor(IGroup group_, bytes32 process_, bytes32 keeper_) Process(group_, process_) {
        keeper = keeper_;
    }

    function _onMessage(Message calldata message) internal override {
        require(message.sender != 0, NoSender());
        require(message.amount != 0, NoPayment());
        bytes calldata payload = message.payload;
        if (payload.length == 1 && uint8(payload[0]) == TIP) {
            tips[message.asset] += message.amount;
            emit Tipped(message.sender, message.asset, message.amount);
        } else if (payload.length == COLLECT_LENGTH && uint8(payload[0]) == COLLECT) {
            _collect(message, uint128(bytes16(payload[1:])));
        } else {
            _send(message.asset, message.amount, message.sender, "not understood");
        }
    }

    /// @dev What was paid back and came back in turn, or was collected in vain: it is the jar's.
    function _onBounce(Message calldata message) internal override {
        tips[message.asset] += message.amount;
    }

    /// @dev The coin that carried the command goes back with what is collected.
    function _collect(Message calldata message, uint256 amount) private {
        require(message.sender == keeper, OnlyKeeper(message.sender));
        uint256 held = tips[message.asset];
        require(amount <= held, InsufficientTips(message.asset, held, amount));
        tips[message.asset] = held - amount;
        _send(message.asset, amount + message.amount, keeper, "tips");
    }
}
