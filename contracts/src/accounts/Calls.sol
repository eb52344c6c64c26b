// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Calls of contracts that are not trusted: what they return costs the caller nothing.
library Calls {
    /// @dev Most bytes kept of what an order's call reverts with. With the error around it, it fits `REASON_MAX`.
    uint256 internal constant NESTED_MAX = 132;

    /// @dev Most bytes kept of why an order failed.
    uint256 internal constant REASON_MAX = 292;

    /// @dev Calls with the gas there is, and copies nothing back.
    /// @param data Memory offset of the calldata.
    function call(address target, uint256 value, uint256 data, uint256 length) internal returns (bool success) {
        assembly ("memory-safe") {
            success := call(gas(), target, value, data, length, 0, 0)
        }
    }

    /// @dev The first bytes that the last call returned or reverted with.
    function reason(uint256 maximum) internal pure returns (bytes memory kept) {
        uint256 size;
        assembly ("memory-safe") {
            size := returndatasize()
        }
        kept = new bytes(size < maximum ? size : maximum);
        assembly ("memory-safe") {
            returndatacopy(add(kept, 0x20), 0, mload(kept))
        }
    }
}
