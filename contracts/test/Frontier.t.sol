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

    function test_RefusesMoreLevelsThanIndicesHave() public view {
        vm.assertFalse(this.includes(0, 0, 0, new bytes32[](33)));
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
