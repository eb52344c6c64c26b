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
    function leaf(bytes32 instance, bytes32 process, uint256 next, bytes32 head) internal view returns (bytes32) {
        return
            keccak256(
                abi.encodePacked(uint8(0), abi.encode(block.chainid, address(this), instance, process, next, head))
            );
    }

    /// @dev Whether `node` is the leaf at `index` under `root`.
    function includes(bytes32 root, bytes32 node, uint256 index, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        if (proof.length > DEPTH_MAX || index >> proof.length != 0) return false;
        for (uint256 level; level < proof.length; ++level) {
            bytes32 sibling = proof[level];
            node = index & 1 == 0 ? hash(node, sibling) : hash(sibling, node);
            index >>= 1;
        }
        return node == root;
    }

    /// @dev keccak256(1, left, right).
    function hash(bytes32 left, bytes32 right) private pure returns (bytes32 node) {
        assembly ("memory-safe") {
            // Beyond the free pointer: nothing here is needed after the hash.
            let buffer := mload(0x40)
            mstore8(buffer, 1)
            mstore(add(buffer, 0x01), left)
            mstore(add(buffer, 0x21), right)
            node := keccak256(buffer, 0x41)
        }
    }
}
