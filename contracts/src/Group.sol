// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Failures} from "./group/Failures.sol";
import {GroupBase} from "./group/GroupBase.sol";
import {Payouts} from "./group/Payouts.sol";
import {Tank} from "./group/Tank.sol";
import {IGroup} from "./interfaces/IGroup.sol";
import {Frontier} from "./libraries/Frontier.sol";
import {GroupSignature} from "./libraries/GroupSignature.sol";
import {Records} from "./libraries/Records.sol";
import {Batch, Checkpoint, MessageKind, Policy} from "./types/Messages.sol";

/// @title The group contract. What it does, for whom and under which assumptions stands at `IGroup`.
/// @dev Here is the way of a delivery. Its parts are in `group/`.
contract Group is Failures, Payouts, Tank {
    /// @dev First word of what members sign.
    bytes32 private constant CHECKPOINT_DOMAIN = keccak256("lockstep/v1/checkpoint");

    /// @param groupId_ Identity of the group.
    /// @param instance_ Random bytes of this deployment.
    /// @param key_ Group key, 256 bytes, EIP-2537 encoding of a G2 point.
    /// @param recovery_ Who may replace the key after a long silence; zero for nobody.
    /// @param silenceDays_ How long; zero if and only if there is nobody.
    constructor(bytes32 groupId_, bytes32 instance_, bytes memory key_, address recovery_, uint16 silenceDays_)
        GroupBase(groupId_, instance_, key_, recovery_, silenceDays_)
    {}

    /// @inheritdoc IGroup
    function deliver(Checkpoint calldata checkpoint, bytes calldata signature, Batch[] calldata batches) external {
        uint256 shared = gasleft();
        uint256 before = _delivering;
        require(before != RUNNING, Reentered());
        _delivering = RUNNING;
        _accept(checkpoint, signature);
        uint256 bills = _allocate(batches.length * BILL_SIZE);
        unchecked {
            shared -= gasleft();
        }
        (uint256 bill, uint256 weights) = (bills, 0);
        for (uint256 i; i < batches.length; ++i) {
            (bill, weights) = _deliver(batches[i], checkpoint.root, bill, weights);
        }
        // Whoever delivers several times in a transaction has paid for only one.
        if (bill != bills) _repay(bills, bill, shared, before == DELIVERED ? 0 : GAS_TRANSACTION, weights);
        _delivering = DELIVERED;
    }

    /* INTERNALS: CHECKPOINT */

    /// @dev Verifies a checkpoint, and keeps it if it is newer than all before.
    function _accept(Checkpoint calldata checkpoint, bytes calldata signature) private {
        uint64 signed = checkpoint.sequence;
        bytes32 digest = _digestOf(signed, checkpoint);
        // A halt clears the one that is kept.
        if (digest == checkpointDigest) return;
        require(signed <= type(uint40).max, SequenceTooLarge(signed));
        address keyStore = _keyStore;
        require(keyStore != address(0), Halted());
        require(GroupSignature.isValid(digest, signature, keyStore), InvalidSignature());
        if (signed <= _sequence) return;
        (_sequence, _acceptedDay) = (uint40(signed), _today());
        checkpointDigest = digest;
        emit Accepted(signed, checkpoint.history, checkpoint.root);
    }

    /// @dev keccak256(abi.encode(domain, groupId, sequence, history, root)), without taking memory for it.
    function _digestOf(uint256 signed, Checkpoint calldata checkpoint) private view returns (bytes32 digest) {
        (bytes32 domain, bytes32 id) = (CHECKPOINT_DOMAIN, groupId);
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore(buffer, domain)
            mstore(add(buffer, 0x20), id)
            mstore(add(buffer, 0x40), signed)
            // History and root, the second and third word of a checkpoint.
            calldatacopy(add(buffer, 0x60), add(checkpoint, 0x20), 0x40)
            digest := keccak256(buffer, 0xa0)
        }
    }

    /* INTERNALS: MAILBOX */

    /// @dev Proves a batch, then runs what the mailbox has not run yet.
    /// @return The place of the next bill.
    /// @return `weights` with that of this batch.
    function _deliver(Batch calldata batch, bytes32 root, uint256 bill, uint256 weights)
        private
        returns (uint256, uint256)
    {
        bytes32 process = batch.process;
        Process storage stored = _processes[process];
        bytes32 head = stored.head;
        uint256 memoryStart = _allocate(0);
        (uint256 buffer, uint256 nonce, uint256 next, bytes32 newHead) = _walk(batch, head);
        bytes32[] calldata proof = batch.proof;
        bytes32 leaf = Frontier.leaf(instance, process, next, newHead);
        require(Frontier.includes(root, leaf, batch.index, proof), InvalidProof(process));
        if (nonce != next) {
            // From here on the messages are what the members signed. The head goes first: a second batch of this mailbox
            // in the same delivery starts from it, and a call that looks at it sees the end of the batch.
            stored.head = newHead;
            uint256 gasUsed = gasleft();
            uint256 word = _wordOf(stored);
            unchecked {
                (uint256 end, uint256 left) = _run(process, stored, word, buffer, next - nonce);
                next -= nonce + left;
                if (left != 0) {
                    // A strict mailbox waits before the message that fails. Where nothing else ran, the delivery reverts, so
                    // that an estimate tells the deliverer. But not where somebody else has run what this batch begins with:
                    // a race that is lost must not take the other mailboxes along.
                    require(next != 0 || nonce != batch.first, StrictBlocked(process, uint64(nonce)));
                    stored.head = Records.retrace(head, buffer, end);
                }
                if (next != 0) {
                    emit Delivered(process, uint64(nonce), uint64(next));
                    uint256 length = Records.lengthOf(buffer, end, next) + proof.length * 32;
                    uint256 weight = _weigh(gasUsed - gasleft(), next, length);
                    weights += weight;
                    if (_hasTank(word)) bill = _note(bill, process, weight, length);
                }
            }
        }
        assembly ("memory-safe") {
            // Nothing of this batch is needed again: the next one takes the same memory.
            mstore(0x40, memoryStart)
        }
        return (bill, weights);
    }

    /// @dev Follows the chain of heads over a batch and unpacks the messages that have not run, one after the other.
    /// @return buffer The first of them.
    /// @return nonce Its nonce; equal to `next` when none is left or the chain does not meet the stored head.
    /// @return next Nonce after the last message.
    /// @return head_ Head after the last message.
    function _walk(Batch calldata batch, bytes32 stored)
        private
        pure
        returns (uint256 buffer, uint256 nonce, uint256 next, bytes32 head_)
    {
        bytes calldata messages = batch.messages;
        if (messages.length == 0) return (0, batch.first, batch.first, batch.head);
        (uint256 record, uint256 end) = (0, messages.length);
        assembly ("memory-safe") {
            record := messages.offset
            end := add(record, end)
            buffer := mload(0x40)
        }
        head_ = batch.head;
        next = batch.first;
        bool met = head_ == stored;
        nonce = next;
        uint256 cursor = buffer;
        while (record < end) {
            record = Records.load(cursor, record, end, next);
            require(record <= end, MalformedMessages(batch.process));
            head_ = Records.extend(head_, cursor);
            unchecked {
                // Each message has bytes of its own: there are not 2^192 of them.
                ++next;
            }
            // Before the chain meets the stored head, each message overwrites the one before.
            if (met) cursor = Records.after_(cursor);
            else if (head_ == stored) (met, nonce) = (true, next);
        }
        if (!met) nonce = next;
        assembly ("memory-safe") {
            // Takes the memory of all that is unpacked, and of the word that unpacking writes after it.
            mstore(0x40, add(cursor, 0x20))
        }
    }

    /// @dev Runs `count` messages, at least one, from `buffer` on, unless one of a strict process fails.
    /// @param word First slot of the process.
    /// @return The end of what has run.
    /// @return How many have not run.
    function _run(bytes32 process, Process storage stored, uint256 word, uint256 buffer, uint256 count)
        private
        returns (uint256, uint256)
    {
        uint256 gasNeeded = _gasNeeded(word);
        (bytes32 asset,) = Records.payment(buffer);
        Book storage book = _custody[process][asset];
        while (count != 0) {
            unchecked {
                --count;
            }
            uint256 following = Records.after_(buffer);
            uint256 kind = Records.kind(buffer);
            (bytes32 paid, uint256 amount) = Records.payment(buffer);
            if (paid != asset) (asset, book) = (paid, _custody[process][paid]);
            if (kind > MessageKind.BOUNCE || kind == MessageKind.REGISTER) {
                _control(process, stored, buffer, kind);
                word = _wordOf(stored);
                gasNeeded = _gasNeeded(word);
            } else if (gasNeeded != 0) {
                // Booked before each call and not for the batch at once: no message spends what a later one brings.
                unchecked {
                    // Amounts have 16 bytes: it takes 2^128 messages to overflow.
                    if (amount != 0) book.amount += amount;
                }
                uint256 left = gasleft();
                // A revert and not a record of failure: else a deliverer could starve a call. Nor a stop at what fits:
                // else an estimate of gas would find that delivering nothing is cheapest.
                if (left < gasNeeded) revert InsufficientGas(process, Records.nonce(buffer), left, gasNeeded);
                if (!Records.call(buffer, following, _targetIn(word), _gasLimitIn(word))) {
                    left -= gasleft();
                    // The failed call undid its own sends, so what was booked for it is still there.
                    (bool runs, bool kept) = _failed(process, stored, buffer, following, count, left);
                    if (!kept) book.amount -= amount;
                    if (!runs) return (buffer, count + 1);
                }
            } else if (_fail(process, buffer, following, Policy.REFUND, 0) && amount != 0) {
                book.amount += amount;
            }
            buffer = following;
        }
        return (buffer, 0);
    }

    /// @dev What becomes of a call that failed, with `count` messages behind it in its batch.
    /// @return runs Whether the mailbox goes on; a strict one does not.
    /// @return kept Whether the payment stays booked.
    function _failed(
        bytes32 process,
        Process storage stored,
        uint256 buffer,
        uint256 following,
        uint256 count,
        uint256 gasUsed
    ) private returns (bool runs, bool kept) {
        uint256 policy = _policyAt(process, stored.flags, Records.nonce(buffer), following, count);
        if (policy == Policy.STRICT) emit Blocked(process, Records.nonce(buffer), gasUsed);
        else (runs, kept) = (true, _fail(process, buffer, following, policy, gasUsed));
    }

    /// @dev Where free memory begins, before `size` bytes of it are taken.
    function _allocate(uint256 size) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := mload(0x40)
            mstore(0x40, add(start, size))
        }
    }
}
