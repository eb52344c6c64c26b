// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Frontier} from "../src/libraries/Frontier.sol";
import {Records} from "../src/libraries/Records.sol";
import {Checkpoint} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Members} from "./helpers/Members.sol";

/// @notice The bytes that are frozen, against figures made by neither the contract nor the tests.
contract FrozenTest is GroupTest {
    string private frozen;

    function setUp() public override {
        super.setUp();
        frozen = vm.readFile("test/vectors/frozen.json");
    }

    function test_RecordsLeavesAndHeads() public view {
        bytes32 head;
        for (uint256 i; i < 5; ++i) {
            string memory path = string.concat(".messages[", vm.toString(i), "].");
            bytes memory record = vm.parseJsonBytes(frozen, string.concat(path, "record"));
            bytes32 leaf;
            (leaf, head) = this.follow(record, i, head);
            vm.assertEq(leaf, vm.parseJsonBytes32(frozen, string.concat(path, "leaf")));
            vm.assertEq(head, vm.parseJsonBytes32(frozen, string.concat(path, "head")));
        }
    }

    /// @dev Leaf of the record, and the head after it.
    function follow(bytes calldata record, uint256 nonce, bytes32 head) external pure returns (bytes32 leaf, bytes32) {
        uint256 start;
        uint256 buffer;
        assembly ("memory-safe") {
            start := record.offset
            buffer := mload(0x40)
        }
        // Nothing may allocate before the buffer has been read.
        uint256 next = Records.load(buffer, start, start + record.length, nonce);
        bytes32 extended = Records.extend(head, buffer);
        assembly ("memory-safe") {
            leaf := keccak256(add(buffer, 0x20), mload(buffer))
        }
        vm.assertEq(next, start + record.length);
        return (leaf, extended);
    }

    function test_MailboxLeafAndRoot() public {
        vm.chainId(vm.parseJsonUint(frozen, ".chain"));
        address place = vm.parseJsonAddress(frozen, ".contract");
        vm.etch(place, address(this).code);
        bytes32 leaf = FrozenTest(place)
            .leafHere(
                vm.parseJsonBytes32(frozen, ".instance"),
                vm.parseJsonBytes32(frozen, ".process"),
                vm.parseJsonUint(frozen, ".next"),
                vm.parseJsonBytes32(frozen, ".messages[4].head")
            );
        vm.assertEq(leaf, vm.parseJsonBytes32(frozen, ".mailboxLeaf"));
        bytes32[] memory proof = vm.parseJsonBytes32Array(frozen, ".proof");
        bytes32 root = vm.parseJsonBytes32(frozen, ".root");
        vm.assertTrue(this.includes(root, leaf, vm.parseJsonUint(frozen, ".index"), proof));
        vm.assertEq(members.rootOf(vm.parseJsonBytes32Array(frozen, ".leaves")), root);
    }

    function leafHere(bytes32 instance, bytes32 process, uint256 next, bytes32 head) external view returns (bytes32) {
        return Frontier.leaf(instance, process, next, head);
    }

    function includes(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return Frontier.includes(root, leaf, index, proof);
    }

    /// @dev The contract keeps the digest of what it accepted.
    function test_CheckpointDigest() public {
        Checkpoint memory checkpoint = Checkpoint(
            uint64(vm.parseJsonUint(frozen, ".sequence")),
            vm.parseJsonBytes32(frozen, ".history"),
            vm.parseJsonBytes32(frozen, ".root")
        );
        Members theirs = newMembers(SECRET, vm.parseJsonBytes32(frozen, ".groupId"));
        vm.assertEq(theirs.digestOf(checkpoint), vm.parseJsonBytes32(frozen, ".digest"));
        vm.assertEq(GROUP_ID, vm.parseJsonBytes32(frozen, ".groupId"));
    }

    function test_RefundMemo() public view {
        uint64 nonce = uint64(vm.parseJsonUint(frozen, ".refundNonce"));
        bytes memory memo = vm.parseJsonBytes(frozen, ".refundMemo");
        vm.assertEq(refundMemo(vm.parseJsonBytes32(frozen, ".process"), nonce), memo);
    }
}
