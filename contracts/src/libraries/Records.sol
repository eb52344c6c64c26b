// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProcess} from "../interfaces/IProcess.sol";

/// @title Messages as they travel, and as they are hashed and delivered.
/// @dev A record is packed: kind 1, sequence 8, timestamp 8, sender 32, asset 32, amount 16, length 4, payload. It is
/// unpacked to a buffer that serves both for the leaf and for the call:
///
///     0x00 bytes after this word; the selector when called
///     0x20 0x20 (offset of the struct) 0x80 sequence      0x100 amount
///     0x40 kind                        0xa0 timestamp     0x120 0x100 (offset of the payload)
///     0x60 nonce                       0xc0 sender        0x140 length
///                                      0xe0 asset         0x160 payload, padded with zeros to words
///
/// so that keccak256(abi.encode(message)) is the hash from 0x20 on, and the call's data starts at 0x1c.
///
/// Buffers are plain memory offsets, one after the other. The one who loads owns the memory from there on.
library Records {
    /// @dev Bytes of a record before its payload.
    uint256 private constant HEADER = 101;

    /// @dev Unpacks the record at calldata offset `record` to `buffer`. Writes at most one word after the buffer's end.
    /// @param end Calldata offset after the last record.
    /// @return next Calldata offset of the next record. Above `end` when the record does not end there: then nothing was
    /// written.
    function load(uint256 buffer, uint256 record, uint256 end, uint256 nonce_) internal pure returns (uint256 next) {
        assembly ("memory-safe") {
            // Amount, and the length of the payload: 32 bits cannot overflow a calldata offset.
            let word := calldataload(add(record, 81))
            let length := and(shr(96, word), 0xffffffff)
            let payload := add(record, HEADER)
            next := add(payload, length)
            if iszero(gt(next, end)) {
                mstore(buffer, add(0x140, and(add(length, 0x1f), not(0x1f))))
                mstore(add(buffer, 0x20), 0x20)
                mstore(add(buffer, 0x60), nonce_)
                mstore(add(buffer, 0x100), shr(128, word))
                mstore(add(buffer, 0x120), 0x100)
                mstore(add(buffer, 0x140), length)
                // Kind, sequence and timestamp share the first word.
                word := calldataload(record)
                mstore(add(buffer, 0x40), byte(0, word))
                mstore(add(buffer, 0x80), and(shr(184, word), 0xffffffffffffffff))
                mstore(add(buffer, 0xa0), and(shr(120, word), 0xffffffffffffffff))
                // Sender and asset.
                calldatacopy(add(buffer, 0xc0), add(record, 17), 0x40)
                let target := add(buffer, 0x160)
                calldatacopy(target, payload, length)
                // Padding, and up to a word of the next buffer.
                mstore(add(target, length), 0)
            }
        }
    }

    /// @dev Head of the mailbox after the message in `buffer`: keccak256(head, keccak256(abi.encode(message))).
    function extend(bytes32 head, uint256 buffer) internal pure returns (bytes32 extended) {
        assembly ("memory-safe") {
            mstore(0x00, head)
            mstore(0x20, keccak256(add(buffer, 0x20), mload(buffer)))
            extended := keccak256(0x00, 0x40)
        }
    }

    /// @dev keccak256(abi.encode(message)) of the message in `buffer`, up to `following`, also after it was called.
    function leaf(uint256 buffer, uint256 following) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let start := add(buffer, 0x20)
            hash := keccak256(start, sub(following, start))
        }
    }

    /// @dev Follows the chain of heads over the messages from `buffer` up to `end`, also after they were called.
    function retrace(bytes32 head, uint256 buffer, uint256 end) internal pure returns (bytes32) {
        while (buffer != end) {
            uint256 following;
            assembly ("memory-safe") {
                // The word that says so was overwritten by the call: from the length of the payload.
                following := add(buffer, add(0x160, and(add(mload(add(buffer, 0x140)), 0x1f), not(0x1f))))
            }
            bytes32 hash = leaf(buffer, following);
            assembly ("memory-safe") {
                mstore(0x00, head)
                mstore(0x20, hash)
                head := keccak256(0x00, 0x40)
            }
            buffer = following;
        }
        return head;
    }

    /// @dev Bytes of `count` records that take the memory from `buffer` to `end`, if each payload fills its last word.
    function lengthOf(uint256 buffer, uint256 end, uint256 count) internal pure returns (uint256) {
        unchecked {
            return end - buffer - count * (0x160 - HEADER);
        }
    }

    /// @dev The buffer after `buffer`, while that has not been called.
    function after_(uint256 buffer) internal pure returns (uint256 following) {
        assembly ("memory-safe") {
            following := add(add(buffer, 0x20), mload(buffer))
        }
    }

    /// @dev Calls `onMessage` of `target` with the message in `buffer`, up to `following`, and at most `gasLimit` gas.
    /// Copies nothing back.
    function call(uint256 buffer, uint256 following, address target, uint256 gasLimit) internal returns (bool success) {
        uint32 selector = uint32(IProcess.onMessage.selector);
        assembly ("memory-safe") {
            mstore(buffer, selector)
            let data := add(buffer, 0x1c)
            success := call(gasLimit, target, 0, data, sub(following, data), 0, 0)
        }
    }

    function kind(uint256 buffer) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(buffer, 0x40))
        }
    }

    function nonce(uint256 buffer) internal pure returns (uint64 value) {
        assembly ("memory-safe") {
            value := mload(add(buffer, 0x60))
        }
    }

    function sender(uint256 buffer) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            value := mload(add(buffer, 0xc0))
        }
    }

    function payment(uint256 buffer) internal pure returns (bytes32 asset, uint256 amount) {
        assembly ("memory-safe") {
            asset := mload(add(buffer, 0xe0))
            amount := mload(add(buffer, 0x100))
        }
    }

    /// @dev Length of the payload and its first word, zero beyond its end.
    function payloadStart(uint256 buffer) internal pure returns (uint256 length, bytes32 word) {
        assembly ("memory-safe") {
            length := mload(add(buffer, 0x140))
            if length { word := mload(add(buffer, 0x160)) }
        }
    }
}
