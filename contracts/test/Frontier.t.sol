// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Frontier} from "../src/libraries/Frontier.sol";
import {Members} from "./helpers/Members.sol";
import {Test} from "./helpers/Test.sol";

contract FrontierTest is Test {
    Members private members;

    function setUp() public {
        members = new Members(1, keccak256("group"));
    }

    function testFuzz_RefusesAnotherIndex(uint256 count, uint256 index, uint32 other) public view {
        (bytes32[] memory leaves, uint256 chosen) = tree(count, index);
        vm.assume(other != chosen);
        bytes32[] memory proof = members.proofOf(leaves, chosen);
        vm.assertFalse(this.includes(members.rootOf(leaves), leaves[chosen], other, proof));
    }

    function testFuzz_RefusesAnotherLeaf(uint256 count, uint256 index, bytes32 leaf) public view {
        (bytes32[] memory leaves, uint256 chosen) = tree(count, index);
        vm.assume(leaf != leaves[chosen]);
        vm.assertFalse(this.includes(members.rootOf(leaves), leaf, chosen, members.proofOf(leaves, chosen)));
    }

    /// @dev An inner node is no leaf: the depth needs no signature because a mailbox leaf hashes other lengths.
    function testFuzz_RefusesAnInnerNodeAsMailbox(bytes32 process, uint256 next, bytes32 head) public view {
        bytes32 leaf = Frontier.leaf(keccak256("instance"), process, next, head);
        vm.assertTrue(leaf != members.node(process, head));
    }

    /// @dev The deepest tree that indices of 32 bits reach, and one level more.
    function testFuzz_RefusesMoreLevelsThanIndicesHave(uint32 index, bytes32 leaf) public view {
        bytes32[] memory proof = new bytes32[](32);
        bytes32 root = fold(leaf, index, proof);
        vm.assertTrue(this.includes(root, leaf, index, proof));
        proof = new bytes32[](33);
        root = fold(leaf, index, proof);
        vm.assertFalse(this.includes(root, leaf, index, proof));
    }

    function testFuzz_Includes(uint256 count, uint256 index) public view {
        (bytes32[] memory leaves, uint256 chosen) = tree(count, index);
        bytes32[] memory proof = members.proofOf(leaves, chosen);
        vm.assertTrue(2 ** proof.length >= leaves.length && 2 ** proof.length < 2 * leaves.length, "depth");
        vm.assertTrue(this.includes(members.rootOf(leaves), leaves[chosen], chosen, proof));
    }

    function test_IncludesTheOnlyLeaf() public view {
        vm.assertTrue(this.includes(keccak256("leaf"), keccak256("leaf"), 0, new bytes32[](0)));
    }

    function testFuzz_LeafIsTheFrozenEncoding(bytes32 instance, bytes32 process, uint64 next, bytes32 head)
        public
        view
    {
        bytes memory words = abi.encode(block.chainid, address(this), instance, process, next, head);
        bytes32 expected = keccak256(abi.encodePacked(uint8(0), words));
        vm.assertEq(Frontier.leaf(instance, process, next, head), expected);
    }

    /// @dev The root of a tree with `leaf` at `index`; fills in the siblings.
    function fold(bytes32 leaf, uint256 index, bytes32[] memory proof) private pure returns (bytes32 node) {
        node = leaf;
        for (uint256 level; level < proof.length; ++level) {
            bytes32 sibling = keccak256(abi.encode(level));
            proof[level] = sibling;
            bool isRight = (index >> level) % 2 == 1;
            node = keccak256(
                isRight ? abi.encodePacked(uint8(1), sibling, node) : abi.encodePacked(uint8(1), node, sibling)
            );
        }
    }

    function includes(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return Frontier.includes(root, leaf, index, proof);
    }

    function tree(uint256 count, uint256 index) private pure returns (bytes32[] memory leaves, uint256 chosen) {
        count = bound(count, 1, 130);
        chosen = bound(index, 0, count - 1);
        leaves = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = keccak256(abi.encode(count, i));
        }
    }
}
