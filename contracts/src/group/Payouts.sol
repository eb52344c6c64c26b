// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7786GatewaySource} from "@openzeppelin/contracts/interfaces/draft-IERC7786.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {IGroup} from "../interfaces/IGroup.sol";
import {Ledger} from "../libraries/Ledger.sol";
import {Recipients} from "../libraries/Recipients.sol";
import {Status} from "../types/Messages.sol";
import {Processes} from "./Processes.sol";

/// @title How a process asks the group to pay.
abstract contract Payouts is Processes, IERC7786GatewaySource {
    /// @dev Longest memo of a payout, in bytes, that an operation on the ledger carries.
    uint256 private constant MEMO_MAX = 200;

    /// @dev Bytes of the transfer attribute: selector, asset, amount.
    uint256 private constant TRANSFER_LENGTH = 68;

    /// @dev Bytes of an ERC-7930 address beside its reference and address: version 2, chain type 2, two lengths.
    uint256 private constant ADDRESS_HEADER = 6;

    /* ENTRY POINTS */

    /// @inheritdoc IGroup
    function send(bytes32 asset, uint256 amount, bytes calldata recipient, bytes calldata memo)
        external
        returns (uint64 nonce)
    {
        return _send(asset, amount, recipient, memo);
    }

    /// @notice `IGroup.send` in the words of ERC-7786: pays out of the caller's custody to an address of the ledger.
    /// @dev No value, and exactly one attribute: transfer(bytes32 asset, uint256 amount), see `Ledger.TRANSFER`.
    /// @param recipient ERC-7930 address of chain type `Ledger.CHAIN_TYPE`, without a chain reference: a 32-byte account or a
    /// MIX payload. Those of more than 255 bytes do not fit; `send` takes them.
    /// @param payload Memo of the ledger payment, at most 200 bytes.
    /// @return sendId Zero: nothing more has to be done. What was sent is numbered by `Outbound`.
    function sendMessage(bytes calldata recipient, bytes calldata payload, bytes[] calldata attributes)
        external
        payable
        returns (bytes32 sendId)
    {
        require(msg.value == 0, InvalidAmount(msg.value));
        (bytes32 asset, uint256 amount) = _transferIn(attributes);
        _send(asset, amount, _payeeIn(recipient), payload);
        bytes memory sender = InteroperableAddress.formatEvmV1(block.chainid, msg.sender);
        emit MessageSent(0, sender, recipient, payload, 0, attributes);
        return 0;
    }

    /// @inheritdoc IERC7786GatewaySource
    function supportsAttribute(bytes4 selector) external pure returns (bool) {
        return selector == Ledger.TRANSFER;
    }

    /* INTERNALS */

    function _send(bytes32 asset, uint256 amount, bytes calldata recipient, bytes calldata memo)
        private
        returns (uint64 nonce)
    {
        require(!halted(), Halted());
        bytes32 process = processOf[msg.sender];
        Process storage info = _processes[process];
        Status status = info.status;
        // A closed process keeps its own: to freeze it would be to take it.
        bool live = info.target == msg.sender && (status == Status.Alive || status == Status.Closed);
        require(live, NotLive(msg.sender, process, status));
        require(amount != 0 && amount <= type(uint128).max, InvalidAmount(amount));
        require(Recipients.isWellFormed(recipient), InvalidRecipient());
        require(memo.length <= MEMO_MAX, MemoTooLong(memo.length, MEMO_MAX));
        Book storage book = _custody[process][asset];
        uint256 held = book.amount;
        require(amount <= held, InsufficientCustody(process, asset, held, amount));
        book.amount = held - amount;
        return _outbound(process, asset, amount, recipient, memo);
    }

    /// @dev Asset and amount of the only attribute.
    function _transferIn(bytes[] calldata attributes) private pure returns (bytes32 asset, uint256 amount) {
        for (uint256 i; i < attributes.length; ++i) {
            bytes4 selector = bytes4(attributes[i]);
            require(selector == Ledger.TRANSFER, UnsupportedAttribute(selector));
        }
        require(attributes.length == 1 && attributes[0].length == TRANSFER_LENGTH, InvalidTransfer());
        return abi.decode(attributes[0][4:], (bytes32, uint256));
    }

    /// @dev The payee in an ERC-7930 address of the ledger, in the one form it has.
    function _payeeIn(bytes calldata recipient) private pure returns (bytes calldata payee) {
        bytes2 chainType;
        bytes calldata chain;
        bool parsed;
        (parsed, chainType, chain, payee) = InteroperableAddress.tryParseV1Calldata(recipient);
        bool ours = chainType == Ledger.CHAIN_TYPE && chain.length == 0;
        require(parsed && ours && recipient.length == ADDRESS_HEADER + payee.length, InvalidRecipient());
    }
}
