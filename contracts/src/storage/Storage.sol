// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SSTORE2} from "solady/utils/SSTORE2.sol";

import {IStorage} from "../interfaces/IStorage.sol";

/// @title Payloads by their hash. What it promises stands at `IStorage`.
/// @dev Bytes are kept as code of contracts that begin with STOP (SSTORE2), at most `CHUNK` of them in each. A payload of
/// several chunks has one more such contract, which lists the addresses of the chunks.
contract Storage is IStorage {
    /// @dev One slot: what is read first, and how much it leads to.
    struct Entry {
        address pointer;
        uint96 size;
    }

    /// @inheritdoc IStorage
    uint256 public constant SIZE_MAX = 65_536;

    /// @dev Most bytes of code (EIP-170), less the STOP.
    uint256 private constant CHUNK = 24_575;

    mapping(bytes32 key => Entry) private _entries;

    /// @inheritdoc IStorage
    function write(bytes calldata data) external returns (bytes32 key) {
        uint256 size = data.length;
        require(size != 0, Empty());
        require(size <= SIZE_MAX, TooLarge(size, SIZE_MAX));
        key = keccak256(data);
        if (_entries[key].size != 0) return key;
        _entries[key] = Entry(size <= CHUNK ? SSTORE2.write(data) : SSTORE2.write(_split(data)), uint96(size));
        emit Stored(key, size);
    }

    /// @inheritdoc IStorage
    function read(bytes32 key) external view returns (bytes memory data) {
        Entry memory entry = _entries[key];
        require(entry.size != 0, NotStored(key));
        data = SSTORE2.read(entry.pointer);
        return entry.size <= CHUNK ? data : _join(data, entry.size);
    }

    /// @inheritdoc IStorage
    function sizeOf(bytes32 key) external view returns (uint256 size) {
        return _entries[key].size;
    }

    /// @dev Stores the chunks.
    /// @return pointers 20 bytes each.
    function _split(bytes calldata data) private returns (bytes memory pointers) {
        for (uint256 start; start < data.length; start += CHUNK) {
            uint256 end = start + CHUNK < data.length ? start + CHUNK : data.length;
            pointers = abi.encodePacked(pointers, SSTORE2.write(data[start:end]));
        }
    }

    /// @dev Copies the chunks behind `pointers` into one.
    function _join(bytes memory pointers, uint256 size) private view returns (bytes memory data) {
        data = new bytes(size);
        for (uint256 start; start < size; start += CHUNK) {
            uint256 length = size - start < CHUNK ? size - start : CHUNK;
            uint256 place = start / CHUNK * 20;
            assembly ("memory-safe") {
                let pointer := shr(96, mload(add(add(pointers, 0x20), place)))
                // The first byte of the code is the STOP.
                extcodecopy(pointer, add(add(data, 0x20), start), 1, length)
            }
        }
    }
}
