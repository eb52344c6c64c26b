// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Process} from "lockstep-contracts/src/Process.sol";
import {IGroup} from "lockstep-contracts/src/interfaces/IGroup.sol";
import {Message} from "lockstep-contracts/src/types/Messages.sol";

/// @title An example process: swaps two assets of the ledger at a constant product, for a fee of 0.3 %.
/// @notice Commands are the payload of a payment in one of the two assets. Amounts have 16 bytes and 10^-8 units:
///
///     01, minimum             sell this payment for at least that much of the other asset
///     02, amount              buy exactly that much of the other asset; what is not needed comes back
///     03                      supply this payment; the provider's only
///     04, amount, recipient   withdraw that much of the asset of this payment, to a 32-byte account or a MIX payload, to
///                             the provider where it is empty; the provider's only
///
/// A swap that the price does not allow is paid back in full, with a word why. What makes no sense reverts, so that the
/// group gives it back.
/// @dev The reserves are the pool's own numbers and never more than its custody. A payment of nobody is in custody and not
/// in the reserves, so it moves no price.
///
/// Who may hurt whom: whoever delivers messages cannot order them, so nobody swaps just before another on purpose, except on
/// the ledger itself; the minimum protects from that. The provider may withdraw everything at any time, and gets the fees.
contract SwapPool is Process {
    uint8 private constant SELL = 0x01;
    uint8 private constant BUY = 0x02;
    uint8 private constant SUPPLY = 0x03;
    uint8 private constant WITHDRAW = 0x04;
    /// @dev Bytes of a command and its amount.
    uint256 private constant COMMAND_LENGTH = 17;
    /// @dev Of 1000 that are paid, so many are swapped: the rest is the fee and stays in the reserve.
    uint256 private constant SWAPPED = 997;
    uint256 private constant PAID = 1000;

    /// @notice The first asset.
    bytes32 public immutable assetA;

    /// @notice The second asset.
    bytes32 public immutable assetB;

    /// @notice The account that supplies, and withdraws.
    bytes32 public immutable provider;

    /// @notice What is there to swap, by asset.
    mapping(bytes32 asset => uint256) public reserveOf;

    /// @notice An account swapped.
    event Swapped(bytes32 indexed account, bytes32 indexed sold, uint256 paid, uint256 bought);

    /// @notice The provider changed what is in reserve.
    event Reserve(bytes32 indexed asset, uint256 amount);

    /// @notice Two assets are needed, and they are different.
    error InvalidAssets(bytes32 assetA, bytes32 assetB);

    /// @notice A payment without a sender has no account to pay to.
    error NoSender();

    /// @notice The pool does not swap this asset.
    error UnknownAsset(bytes32 asset);

    /// @notice The payload is not one of the commands.
    error UnknownCommand(bytes payload);

    /// @notice Somebody other than the provider supplies or withdraws.
    error OnlyProvider(bytes32 account);

    /// @notice There is less in reserve.
    error InsufficientReserve(bytes32 asset, uint256 reserve, uint256 amount);

    constructor(IGroup group_, bytes32 process_, bytes32 assetA_, bytes32 assetB_, bytes32 provider_)
        Process(group_, process_)
    {
        require(assetA_ != 0 && assetB_ != 0 && assetA_ != assetB_, InvalidAssets(assetA_, assetB_));
        (assetA, assetB, provider) = (assetA_, assetB_, provider_);
    }

    /// @notice What selling `paid` of `asset` gives now. Zero where it gives nothing.
    /// @dev Reverts on amounts whose product overflows 256 bits: nothing of that size is ever swapped.
    function priceOfSale(bytes32 asset, uint256 paid) public view returns (uint256 bought) {
        uint256 swapped = paid * SWAPPED;
        uint256 reserve = reserveOf[asset] * PAID + swapped;
        return reserve == 0 ? 0 : reserveOf[_other(asset)] * swapped / reserve;
    }

    /// @notice What buying exactly `bought` costs now in `asset`. The highest number where it cannot be had.
    function costOfPurchase(bytes32 asset, uint256 bought) public view returns (uint256 paid) {
        uint256 reserve = reserveOf[_other(asset)];
        if (bought >= reserve) return type(uint256).max;
        // Rounded up, for the product must not fall.
        return reserveOf[asset] * bought * PAID / ((reserve - bought) * SWAPPED) + 1;
    }

    function _onMessage(Message calldata message) internal override {
        require(message.sender != 0, NoSender());
        _other(message.asset);
        bytes calldata payload = message.payload;
        uint8 command = payload.length == 0 ? 0 : uint8(payload[0]);
        if (command == SUPPLY && payload.length == 1) {
            _supply(message);
            return;
        }
        require(payload.length >= COMMAND_LENGTH, UnknownCommand(payload));
        uint256 amount = uint128(bytes16(payload[1:COMMAND_LENGTH]));
        if (command == WITHDRAW) {
            _withdraw(message, amount, payload[COMMAND_LENGTH:]);
            return;
        }
        require(payload.length == COMMAND_LENGTH, UnknownCommand(payload));
        if (command == SELL) _sell(message, amount);
        else if (command == BUY) _buy(message, amount);
        else revert UnknownCommand(payload);
    }

    function _sell(Message calldata message, uint256 minimum) private {
        uint256 bought = priceOfSale(message.asset, message.amount);
        if (bought == 0 || bought < minimum) {
            _send(message.asset, message.amount, message.sender, "below your minimum");
        } else {
            _swap(message, message.amount, bought);
        }
    }

    function _buy(Message calldata message, uint256 amount) private {
        uint256 paid = costOfPurchase(message.asset, amount);
        if (amount == 0 || message.amount < paid) {
            _send(message.asset, message.amount, message.sender, "costs more");
            return;
        }
        _swap(message, paid, amount);
        if (message.amount > paid) _send(message.asset, message.amount - paid, message.sender, "not needed");
    }

    /// @dev Takes `paid` of the payment and pays `bought` of the other asset, which is less than its reserve.
    function _swap(Message calldata message, uint256 paid, uint256 bought) private {
        bytes32 other = _other(message.asset);
        reserveOf[message.asset] += paid;
        reserveOf[other] -= bought;
        _send(other, bought, message.sender, "swapped");
        emit Swapped(message.sender, message.asset, paid, bought);
    }

    function _supply(Message calldata message) private {
        require(message.sender == provider, OnlyProvider(message.sender));
        _reserve(message.asset, reserveOf[message.asset] + message.amount);
    }

    /// @dev The coin that carried the command is supplied first, and so may be withdrawn at once.
    function _withdraw(Message calldata message, uint256 amount, bytes memory recipient) private {
        _supply(message);
        uint256 reserve = reserveOf[message.asset];
        require(amount <= reserve, InsufficientReserve(message.asset, reserve, amount));
        _reserve(message.asset, reserve - amount);
        if (recipient.length == 0) recipient = abi.encode(provider);
        _send(message.asset, amount, recipient, "withdrawn");
    }

    /// @dev A payout that came back is in custody again. It goes to the reserve, from where the provider can pay whom it was
    /// meant for: a bounce does not say.
    function _onBounce(Message calldata message) internal override {
        _other(message.asset);
        _reserve(message.asset, reserveOf[message.asset] + message.amount);
    }

    function _reserve(bytes32 asset, uint256 amount) private {
        reserveOf[asset] = amount;
        emit Reserve(asset, amount);
    }

    function _other(bytes32 asset) private view returns (bytes32) {
        if (asset == assetA) return assetB;
        require(asset == assetB, UnknownAsset(asset));
        return assetA;
    }
}
