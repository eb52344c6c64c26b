// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Process} from "lockstep-contracts/src/Process.sol";
import {IGroup} from "lockstep-contracts/src/interfaces/IGroup.sol";
import {Message} from "lockstep-contracts/src/types/Messages.sol";

/// @title An example process: gives each account a gift of one asset, once a day.
/// @notice Commands are the payload of a payment:
///
///     (empty)   fund the faucet; its own asset only
///     01        ask for the gift; whatever pays for the message comes back with it
///
/// @dev A day is one of ledger time, which every message carries: nobody who delivers messages can bend it, and a message
/// that is delivered late counts from when it was paid.
///
/// Who may hurt whom: nobody has power over it. A user with many accounts gets many gifts, so give what you can afford to
/// give to anybody.
contract Faucet is Process {
    uint8 private constant GIVE = 0x01;
    /// @dev In nanoseconds, as the ledger counts.
    uint64 private constant DAY = 1 days * 1_000_000_000;

    /// @notice What it gives.
    bytes32 public immutable asset;

    /// @notice How much, in 10^-8 units.
    uint256 public immutable gift;

    /// @notice Ledger time of an account's last gift, zero for none.
    mapping(bytes32 account => uint64) public lastGift;

    /// @notice An account filled the faucet up.
    event Funded(bytes32 indexed account, uint256 amount);

    /// @notice An account got its gift, as outbound `nonce` of the group contract.
    event Given(bytes32 indexed account, uint256 amount, uint64 nonce);

    /// @notice A gift of nothing.
    error NoGift();

    /// @notice A message without a sender has no account to give to.
    error NoSender();

    /// @notice It takes no such asset.
    error UnknownAsset(bytes32 asset);

    /// @notice The payload is not one of the commands.
    error UnknownCommand(bytes payload);

    /// @notice The account must wait until this ledger time.
    error TooSoon(bytes32 account, uint64 until);

    constructor(IGroup group_, bytes32 process_, bytes32 asset_, uint256 gift_) Process(group_, process_) {
        require(asset_ != 0 && gift_ != 0, NoGift());
        asset = asset_;
        gift = gift_;
    }

    /// @notice What is left to give.
    function left() external view returns (uint256) {
        return group.custody(process, asset);
    }

    /// @dev What reverts here gives the payment back to its sender: an empty faucet too, for `send` then reverts.
    function _onMessage(Message calldata message) internal override {
        require(message.sender != 0, NoSender());
        bytes calldata payload = message.payload;
        if (payload.length == 0) {
            require(message.asset == asset, UnknownAsset(message.asset));
            emit Funded(message.sender, message.amount);
            return;
        }
        require(payload.length == 1 && uint8(payload[0]) == GIVE, UnknownCommand(payload));
        _give(message);
    }

    function _give(Message calldata message) private {
        bytes32 account = message.sender;
        uint64 last = lastGift[account];
        require(last == 0 || message.timestamp >= last + DAY, TooSoon(account, last + DAY));
        lastGift[account] = message.timestamp;
        uint256 amount = gift;
        if (message.asset == asset) amount += message.amount;
        else if (message.amount != 0) _send(message.asset, message.amount, account, "your payment");
        emit Given(account, amount, _send(asset, amount, account, "a gift"));
    }

    // A gift that bounces is in custody again, and the next one's: nothing to do in `_onBounce`.
}
