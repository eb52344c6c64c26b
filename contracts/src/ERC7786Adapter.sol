// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7786GatewaySource, IERC7786Recipient} from "@openzeppelin/contracts/interfaces/draft-IERC7786.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {Process} from "./Process.sol";
import {IGroup} from "./interfaces/IGroup.sol";
import {Ledger} from "./libraries/Ledger.sol";
import {Message} from "./types/Messages.sol";

/// @title A process that is the ERC-7786 gateway of one recipient contract.
/// @notice Deploy it for a contract that knows ERC-7786 and nothing of Lockstep, register it as the process, and let the
/// contract trust it as its gateway. A payment becomes `receiveMessage`; `sendMessage` of the contract becomes a payout.
/// @dev A message arrives with these words:
///
///     receiveId   keccak256(abi.encode(message)), the leaf that the members have signed
///     sender      ERC-7930 address of chain type `Ledger.CHAIN_TYPE` with the 32-byte account, zero for nobody
///     payload     abi.encode(bytes32 asset, uint256 amount, bytes payload)
///
/// What it pays is in this adapter's custody, of which the recipient alone disposes. A recipient that reverts, or does not
/// answer with the selector as the ERC asks, refuses the payment. A bounce only adds to custody: `Bounced` tells.
contract ERC7786Adapter is Process, IERC7786GatewaySource {
    /// @notice Who gets the messages, and alone may send.
    IERC7786Recipient public immutable recipient;

    /// @notice A payout came back.
    event Bounced(bytes32 indexed asset, uint256 amount);

    /// @notice Somebody other than the recipient wants to send.
    error OnlyRecipient(address caller);

    /// @notice The recipient did not answer as ERC-7786 asks.
    error NotReceived(bytes4 answer);

    constructor(IGroup group_, bytes32 process_, IERC7786Recipient recipient_) Process(group_, process_) {
        recipient = recipient_;
    }

    /// @inheritdoc IERC7786GatewaySource
    function sendMessage(bytes calldata to, bytes calldata payload, bytes[] calldata attributes)
        external
        payable
        returns (bytes32 sendId)
    {
        require(msg.sender == address(recipient), OnlyRecipient(msg.sender));
        emit MessageSent(
            0, InteroperableAddress.formatEvmV1(block.chainid, msg.sender), to, payload, msg.value, attributes
        );
        return IERC7786GatewaySource(address(group)).sendMessage{value: msg.value}(to, payload, attributes);
    }

    /// @inheritdoc IERC7786GatewaySource
    function supportsAttribute(bytes4 selector) external pure returns (bool) {
        return selector == Ledger.TRANSFER;
    }

    function _onMessage(Message calldata message) internal override {
        bytes memory sender = InteroperableAddress.formatV1(Ledger.CHAIN_TYPE, "", abi.encode(message.sender));
        bytes memory payload = abi.encode(message.asset, message.amount, message.payload);
        bytes4 answer = recipient.receiveMessage(keccak256(abi.encode(message)), sender, payload);
        require(answer == IERC7786Recipient.receiveMessage.selector, NotReceived(answer));
    }

    function _onBounce(Message calldata message) internal override {
        emit Bounced(message.asset, message.amount);
    }
}
