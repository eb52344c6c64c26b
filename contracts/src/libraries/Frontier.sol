// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title The Merkle tree over the heads of all mailboxes, on all chains.
/// @dev A mailbox leaf is the hash of 193 bytes, an inner node of 65, the state leaf of 33, each with a tag: none can be
/// taken for another, so the depth needs no signature.
library Frontier {
    /// @dev More levels than 32-bit indices have make no sense.
    uint256 internal constant DEPTH_MAX = 32;

    /// @dev Leaf of a mailbox of this chain and this contract.
    /// @param next Nonce after the last message.
    /// @param head Head after the last message.
    function leaf(bytes32 instance, bytes32 process, uint256 next, bytes32 head) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            // Hashed beyond the free pointer: tag 0, then words: chain id, contract, instance, process, next nonce, head.
            let buffer := mload(0x40)
            mstore8(buffer, 0)
            mstore(add(buffer, 0x01), chainid())
            mstore(add(buffer, 0x21), address())
            mstore(add(buffer, 0x41), instance)
            mstore(add(buffer, 0x61), process)
            mstore(add(buffer, 0x81), next)
            mstore(add(buffer, 0xa1), head)
            hash := keccak256(buffer, 0xc1)
        }
    }

    /// @dev Whether `node` is the leaf at `index` under `root`.
    function includes(bytes32 root, bytes32 node, uint256 index, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        if (proof.length > DEPTH_MAX || index >> proof.length != 0) return false;
        assembly ("memory-safe") {
            // Hashed beyond the free pointer: tag 1, left 32, right 32.
            let buffer := mload(0x40)
            mstore8(buffer, 1)
            let left := add(buffer, 0x01)
            let sibling := proof.offset
            index := shl(5, index)
            for { let end := add(sibling, shl(5, proof.length)) } lt(sibling, end) { sibling := add(sibling, 0x20) } {
                // The node goes to the right where its index is odd.
                let side := and(index, 0x20)
                mstore(add(left, side), node)
                mstore(add(left, xor(side, 0x20)), calldataload(sibling))
                node := keccak256(buffer, 0x41)
                index := shr(1, index)
            }
        }
        return node == root;
    }
}
