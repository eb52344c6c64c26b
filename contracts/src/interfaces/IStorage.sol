// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Payloads by their hash: for orders that do not fit a memo of the ledger.
/// @notice Anyone stores, anyone reads, nothing is ever changed or removed. A key is keccak256 of what it names, so nobody
/// can put other bytes under a key, and storing the same bytes again changes nothing.
/// @dev WHO MAY HURT WHOM: nobody. The contract has no owner, takes no coin and calls nothing but what it created itself.
/// A reader gets the bytes whose hash it asked for, or a revert; it can be made to pay for reading at most `SIZE_MAX` bytes.
interface IStorage {
    /// @notice Bytes were stored.
    event Stored(bytes32 indexed key, uint256 size);

    /// @notice Nothing was given to store.
    error Empty();

    /// @notice More than a payload of the ledger may have.
    error TooLarge(uint256 size, uint256 maximum);

    /// @notice Nothing is stored under this key.
    error NotStored(bytes32 key);

    /// @notice Stores bytes, for about 210 gas a byte.
    /// @param data 1 to `SIZE_MAX` bytes.
    /// @return key keccak256(data).
    function write(bytes calldata data) external returns (bytes32 key);

    /// @notice The bytes whose keccak256 is `key`.
    function read(bytes32 key) external view returns (bytes memory data);

    /// @notice Number of bytes under `key`, zero if nothing is stored.
    function sizeOf(bytes32 key) external view returns (uint256 size);

    /// @notice Most bytes of one payload: 64 KiB, as messages of the ledger have.
    // forge-lint: disable-next-line(mixed-case-function)
    function SIZE_MAX() external view returns (uint256);
}
