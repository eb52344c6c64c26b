// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Batch, Checkpoint, Message, MessageKind} from "../../src/types/Messages.sol";
import {Signer} from "./Signer.sol";

/// @notice A checkpoint with its signature and the leaves that its root covers.
struct Signed {
    Checkpoint checkpoint;
    bytes signature;
    bytes32[] leaves;
    uint256[] counts;
}

/// @notice The members of a group, as far as a contract can tell: they keep mailboxes and sign the frontier.
/// @dev Written from the frozen definitions and not with the contract's libraries, so that each checks the other.
contract Members {
    struct Mailbox {
        bytes32 process;
        bytes32[] heads;
        bytes[] records;
    }

    bytes32 public immutable GROUP_ID;
    uint256 private _secret;

    /// @dev Where the mailboxes live; tests of foreign proofs lie about it.
    uint256 public chain;
    address public group;
    bytes32 public instance;

    uint64 public sequence = 4_655_227;
    bytes32 private _history = keccak256("history");
    Mailbox[] private _mailboxes;

    constructor(uint256 secret, bytes32 groupId) {
        (_secret, GROUP_ID) = (secret, groupId);
    }

    function place(uint256 chain_, address group_, bytes32 instance_) external {
        (chain, group, instance) = (chain_, group_, instance_);
    }

    /// @notice Another key from here on.
    function take(uint256 secret) external {
        _secret = secret;
    }

    /// @notice Signs any digest.
    function seal(bytes32 digest) external view returns (bytes memory) {
        return Signer.sign(_secret, digest);
    }

    /* MAILBOXES */

    /// @notice A new mailbox without messages.
    /// @return box Its number; its leaf has index box + 1.
    function open(bytes32 process) public returns (uint256 box) {
        box = _mailboxes.length;
        _mailboxes.push();
        _mailboxes[box].process = process;
        _mailboxes[box].heads.push(0);
    }

    /// @notice Appends a message, with its nonce, the next ledger sequence and a time.
    function post(uint256 box, uint8 kind, bytes32 sender, bytes32 asset, uint256 amount, bytes memory payload)
        public
        returns (Message memory message)
    {
        Mailbox storage mailbox = _mailboxes[box];
        sequence += 3;
        uint64 nonce = uint64(mailbox.records.length);
        uint64 time = 1_700_000_000_000_000_000 + sequence;
        message = Message(kind, nonce, sequence, time, sender, asset, amount, payload);
        bytes32 leaf = keccak256(abi.encode(message));
        mailbox.heads.push(keccak256(abi.encodePacked(mailbox.heads[nonce], leaf)));
        mailbox.records
            .push(
                abi.encodePacked(kind, sequence, time, sender, asset, uint128(amount), uint32(payload.length), payload)
            );
    }

    function register(uint256 box, address target, uint8 flags, uint32 gasLimit) external {
        post(box, MessageKind.REGISTER, 0, 0, 0, abi.encodePacked(target, flags, gasLimit));
    }

    function count(uint256 box) public view returns (uint256) {
        return _mailboxes[box].records.length;
    }

    function headAt(uint256 box, uint256 nonce) external view returns (bytes32) {
        return _mailboxes[box].heads[nonce];
    }

    /* CHECKPOINTS */

    /// @notice Signs the mailboxes as they are.
    function sign() external returns (Signed memory signed) {
        uint256 boxes = _mailboxes.length;
        signed.leaves = new bytes32[](boxes + 1);
        signed.counts = new uint256[](boxes);
        signed.leaves[0] = keccak256(abi.encodePacked(uint8(0), keccak256("state")));
        for (uint256 box; box < boxes; ++box) {
            signed.counts[box] = count(box);
            signed.leaves[box + 1] = leafOf(box);
        }
        _history = keccak256(abi.encode(_history));
        signed.checkpoint = Checkpoint(sequence, _history, rootOf(signed.leaves));
        signed.signature = Signer.sign(_secret, digestOf(signed.checkpoint));
    }

    function resign(Signed memory signed) external view returns (Signed memory) {
        signed.signature = Signer.sign(_secret, digestOf(signed.checkpoint));
        return signed;
    }

    function digestOf(Checkpoint memory checkpoint) public view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("lockstep/v1/checkpoint"), GROUP_ID, checkpoint.sequence, checkpoint.history, checkpoint.root
            )
        );
    }

    function leafOf(uint256 box) public view returns (bytes32) {
        Mailbox storage mailbox = _mailboxes[box];
        uint256 next = mailbox.records.length;
        bytes memory words = abi.encode(chain, group, instance, mailbox.process, next, mailbox.heads[next]);
        return keccak256(abi.encodePacked(uint8(0), words));
    }

    /* BATCHES */

    /// @notice Messages `first` and later of a mailbox, up to where `signed` proves it.
    function batch(Signed memory signed, uint256 box, uint256 first) public view returns (Batch memory made) {
        Mailbox storage mailbox = _mailboxes[box];
        made.process = mailbox.process;
        made.index = uint32(box + 1);
        made.first = uint64(first);
        made.head = mailbox.heads[first];
        for (uint256 nonce = first; nonce < signed.counts[box]; ++nonce) {
            made.messages = bytes.concat(made.messages, mailbox.records[nonce]);
        }
        made.proof = proofOf(signed.leaves, box + 1);
    }

    /* MERKLE TREE: the plain definition, level by level, missing leaves are zero */

    function rootOf(bytes32[] memory leaves) public pure returns (bytes32) {
        while (leaves.length > 1) leaves = parents(leaves);
        return leaves[0];
    }

    function proofOf(bytes32[] memory leaves, uint256 index) public pure returns (bytes32[] memory proof) {
        bytes32[] memory siblings = new bytes32[](32);
        uint256 depth;
        bytes32 empty;
        while (leaves.length > 1) {
            uint256 sibling = index ^ 1;
            siblings[depth++] = sibling < leaves.length ? leaves[sibling] : empty;
            leaves = parentsOver(leaves, empty);
            empty = node(empty, empty);
            index >>= 1;
        }
        proof = new bytes32[](depth);
        for (uint256 level; level < depth; ++level) {
            proof[level] = siblings[level];
        }
    }

    function parents(bytes32[] memory leaves) private pure returns (bytes32[] memory) {
        uint256 width = 1;
        while (width < leaves.length) width *= 2;
        bytes32[] memory padded = new bytes32[](width);
        for (uint256 i; i < leaves.length; ++i) {
            padded[i] = leaves[i];
        }
        return parentsOver(padded, 0);
    }

    function parentsOver(bytes32[] memory nodes, bytes32 empty) private pure returns (bytes32[] memory above) {
        above = new bytes32[]((nodes.length + 1) / 2);
        for (uint256 i; i < above.length; ++i) {
            bytes32 right = 2 * i + 1 < nodes.length ? nodes[2 * i + 1] : empty;
            above[i] = node(nodes[2 * i], right);
        }
    }

    function node(bytes32 left, bytes32 right) public pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, right));
    }
}
