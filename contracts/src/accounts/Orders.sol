// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccount} from "../interfaces/IAccount.sol";

/// @title Bytes of an order; the layout stands at `IAccount`.
/// @dev Total: any bytes are read, or refused with an error of `IAccount`. Offsets count from the first byte of the order.
library Orders {
    /// @dev Bytes of a pointer to a stored order.
    uint256 internal constant POINTER = 68;
    /// @dev Most calls of an order, as in MVM.
    uint256 internal constant CALLS_MAX = 16;

    uint8 private constant KEEP = 1;
    uint8 private constant NAMED = 2;
    /// @dev Flags and count.
    uint256 private constant HEADER = 2;
    uint256 private constant ADDRESS = 20;
    /// @dev Target and length.
    uint256 private constant CALL = 22;

    /// @dev Reads what comes before the calls.
    /// @return keep Whether leftovers stay.
    /// @return count Number of calls.
    /// @return spender Who may spend; the first target where none is named.
    /// @return cursor Offset of the first call.
    function open(bytes memory order)
        internal
        pure
        returns (bool keep, uint256 count, address spender, uint256 cursor)
    {
        _require(order, HEADER);
        uint8 flags = uint8(order[0]);
        count = uint8(order[1]);
        require(flags <= KEEP | NAMED, IAccount.UnknownFlags(flags));
        require(count != 0 && count <= CALLS_MAX, IAccount.InvalidCount(count));
        keep = flags & KEEP != 0;
        // A named spender and the first target stand at the same place.
        _require(order, HEADER + ADDRESS);
        spender = address(bytes20(_word(order, HEADER)));
        cursor = flags & NAMED == 0 ? HEADER : HEADER + ADDRESS;
    }

    /// @dev Reads the call at `cursor`.
    /// @return target Whom to call.
    /// @return data Memory offset of the calldata.
    /// @return length Bytes of calldata.
    /// @return next Offset after the call.
    function call(bytes memory order, uint256 cursor)
        internal
        pure
        returns (address target, uint256 data, uint256 length, uint256 next)
    {
        _require(order, cursor + CALL);
        bytes32 word = _word(order, cursor);
        target = address(bytes20(word));
        length = uint16(bytes2(word << 160));
        next = cursor + CALL + length;
        _require(order, next);
        assembly ("memory-safe") {
            data := add(add(add(order, 0x20), cursor), CALL)
        }
    }

    /// @dev Refuses bytes after the last call: MVM's counter ran below zero on them.
    function close(bytes memory order, uint256 cursor) internal pure {
        require(cursor == order.length, IAccount.MalformedOrder(cursor, order.length));
    }

    /// @dev Whether a payload points to a stored order. MVM: process id, address, key.
    function isPointer(bytes calldata payload, bytes32 process) internal pure returns (bool) {
        return payload.length == POINTER && bytes16(payload) == bytes16(process << 128);
    }

    /// @dev Address and key of a pointer.
    function pointer(bytes calldata payload) internal pure returns (address named, bytes32 key) {
        return (address(bytes20(payload[16:36])), bytes32(payload[36:POINTER]));
    }

    function _require(bytes memory order, uint256 end) private pure {
        require(end <= order.length, IAccount.MalformedOrder(end, order.length));
    }

    /// @dev The word at `offset`, of which the caller uses what lies within the order.
    function _word(bytes memory order, uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(order, 0x20), offset))
        }
    }
}
