// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Governance} from "./group/Governance.sol";
import {GroupBase} from "./group/GroupBase.sol";
import {IGroup} from "./interfaces/IGroup.sol";
import {Frontier} from "./libraries/Frontier.sol";
import {GroupSignature} from "./libraries/GroupSignature.sol";
import {Recipients} from "./libraries/Recipients.sol";
import {Records} from "./libraries/Records.sol";
import {Batch, Checkpoint, MessageKind, ProcessInfo, Status} from "./types/Messages.sol";

/// @title The group contract. What it does, for whom and under which assumptions stands at `IGroup`.
contract Group is Governance {
    /* CONSTANTS */

    /// @dev First word of what members sign.
    bytes32 private constant CHECKPOINT_DOMAIN = keccak256("lockstep/v1/checkpoint");

    /// @dev Gas of a call is cut to this, so that delivering one message always fits a transaction (EIP-7825: 2^24).
    uint256 private constant GAS_LIMIT_MAX = 8_000_000;

    /// @dev Gas kept from a call to record its failure: an outbound, an event, the end of the batch.
    uint256 private constant GAS_RESERVE = 60_000;

    /// @dev What reaching the target costs before the 63/64 rule is applied: a cold account and memory.
    uint256 private constant GAS_CALL = 8000;

    /// @dev Longest memo of a payout, in bytes, that an operation on the ledger carries.
    uint256 private constant MEMO_MAX = 200;

    /// @dev Addresses up to here are precompiles, or may become some.
    uint160 private constant RESERVED_ADDRESS_MAX = type(uint16).max;

    /// @dev Purpose of an operation that marks a refund (MVM).
    uint16 private constant PURPOSE_REFUND = 13;

    /// @dev Bytes of a registration: address 20, flags 1, gas 4.
    uint256 private constant REGISTER_LENGTH = 25;

    /// @dev Bytes of an update: flags 1, gas 4.
    uint256 private constant UPDATE_LENGTH = 5;

    /* CONSTRUCTOR */

    /// @param groupId_ Identity of the group.
    /// @param instance_ Random bytes of this deployment.
    /// @param key_ Group key, 256 bytes, EIP-2537 encoding of a G2 point.
    /// @param recovery_ Who may replace the key after a long silence; zero for nobody.
    /// @param silenceDays_ How long; zero if and only if there is nobody.
    constructor(bytes32 groupId_, bytes32 instance_, bytes memory key_, address recovery_, uint16 silenceDays_)
        GroupBase(groupId_, instance_, key_, recovery_, silenceDays_)
    {}

    /* DELIVERY */

    /// @inheritdoc IGroup
    function deliver(Checkpoint calldata checkpoint, bytes calldata signature, Batch[] calldata batches)
        external
        outsideOfDelivery
    {
        _delivering = 1;
        _accept(checkpoint, signature);
        for (uint256 i; i < batches.length; ++i) {
            _deliver(batches[i], checkpoint.root);
        }
        _delivering = 0;
    }

    /* PROCESSES */

    /// @inheritdoc IGroup
    function bind(bytes32 process) external {
        require(process != 0, InvalidProcess());
        bytes32 current = processOf[msg.sender];
        if (current == process) return;
        require(current == 0, AlreadyBound(current));
        processOf[msg.sender] = process;
        emit Bound(process, msg.sender);
    }

    /// @inheritdoc IGroup
    function send(bytes32 asset, uint256 amount, bytes calldata recipient, bytes calldata memo)
        external
        returns (uint64 nonce)
    {
        require(!halted(), Halted());
        bytes32 process = processOf[msg.sender];
        Process storage info = _processes[process];
        Status status = info.status;
        // A closed process keeps its own: to freeze it would be to take it.
        bool live = info.target == msg.sender && (status == Status.Alive || status == Status.Closed);
        require(live, NotLive(msg.sender, process, status));
        require(amount != 0 && amount <= type(uint128).max, InvalidAmount(amount));
        require(Recipients.isWellFormed(recipient), InvalidRecipient());
        require(memo.length <= MEMO_MAX, MemoTooLong(memo.length, MEMO_MAX));
        Book storage book = _custody[process][asset];
        uint256 held = book.amount;
        require(amount <= held, InsufficientCustody(process, asset, held, amount));
        book.amount = held - amount;
        return _outbound(process, asset, amount, recipient, memo);
    }

    /* VIEWS */

    /// @inheritdoc IGroup
    function sequence() external view returns (uint64) {
        return _sequence;
    }

    /// @inheritdoc IGroup
    function outboundNonce() external view returns (uint64) {
        return _outboundNonce;
    }

    /// @inheritdoc IGroup
    function head(bytes32 process) external view returns (bytes32) {
        return _processes[process].head;
    }

    /// @inheritdoc IGroup
    function processInfo(bytes32 process) external view returns (ProcessInfo memory) {
        Process storage info = _processes[process];
        return ProcessInfo(info.target, info.gasLimit, info.flags, info.status);
    }

    /// @inheritdoc IGroup
    function custody(bytes32 process, bytes32 asset) external view returns (uint256) {
        return _custody[process][asset].amount;
    }

    /// @inheritdoc IGroup
    function bound(address target) external view returns (bool) {
        return processOf[target] != 0;
    }

    /* INTERNALS: CHECKPOINT */

    /// @dev Verifies a checkpoint, and keeps it if it is newer than all before.
    function _accept(Checkpoint calldata checkpoint, bytes calldata signature) private {
        uint64 signed = checkpoint.sequence;
        bytes32 digest = keccak256(abi.encode(CHECKPOINT_DOMAIN, groupId, signed, checkpoint.history, checkpoint.root));
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

    /* INTERNALS: MAILBOX */

    /// @dev Proves a batch, then runs what the mailbox has not run yet.
    function _deliver(Batch calldata batch, bytes32 root) private {
        bytes32 process = batch.process;
        Process storage stored = _processes[process];
        uint256 memoryStart;
        assembly ("memory-safe") {
            memoryStart := mload(0x40)
        }
        (uint256 buffer, uint256 nonce, uint256 next, bytes32 newHead) = _walk(batch, stored.head);
        bytes32 leaf = Frontier.leaf(instance, process, next, newHead);
        require(Frontier.includes(root, leaf, batch.index, batch.proof), InvalidProof(process));
        if (nonce != next) {
            // From here on the messages are what the members signed. The head goes first: a second batch of this mailbox
            // in the same delivery starts from it, and a call that looks at it sees the end of the batch.
            stored.head = newHead;
            uint256 count;
            unchecked {
                count = next - nonce;
            }
            _run(process, stored, buffer, count);
            emit Delivered(process, uint64(nonce), uint64(count));
        }
        assembly ("memory-safe") {
            // Nothing of this batch is needed again: the next one takes the same memory.
            mstore(0x40, memoryStart)
        }
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

    /// @dev Runs `count` messages, at least one, from `buffer` on.
    function _run(bytes32 process, Process storage stored, uint256 buffer, uint256 count) private {
        (address target, uint256 gasLimit, uint256 gasNeeded) = _look(stored);
        (bytes32 asset,) = Records.payment(buffer);
        Book storage book = _custody[process][asset];
        for (; count != 0; --count) {
            uint256 following = Records.after_(buffer);
            uint256 kind = Records.kind(buffer);
            (bytes32 paid, uint256 amount) = Records.payment(buffer);
            if (paid != asset) (asset, book) = (paid, _custody[process][paid]);
            if (kind > MessageKind.BOUNCE || kind == MessageKind.REGISTER) {
                _control(process, stored, buffer, kind);
                (target, gasLimit, gasNeeded) = _look(stored);
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
                if (!Records.call(buffer, following, target, gasLimit)) {
                    _failed(process, stored, buffer, left - gasleft());
                    // The failed call undid its own sends, so what was booked for it is still there.
                    if (_isRefunded(kind, buffer, amount)) {
                        book.amount -= amount;
                        _refund(process, buffer, asset, amount);
                    }
                }
            } else {
                _failed(process, stored, buffer, 0);
                if (_isRefunded(kind, buffer, amount)) _refund(process, buffer, asset, amount);
                else if (amount != 0) book.amount += amount;
            }
            buffer = following;
        }
    }

    /// @dev Whether a message without effect gives its payment back. What comes back from a payout stays with its process,
    /// so that nothing goes to and fro, and so does a payment of nobody.
    function _isRefunded(uint256 kind, uint256 buffer, uint256 amount) private pure returns (bool) {
        return kind == MessageKind.CALL && amount != 0 && Records.sender(buffer) != 0;
    }

    /// @dev Pays the sender of a message back, with a raw operation as memo: purpose, process, no platform, no address, and
    /// the message's nonce as its extra.
    function _refund(bytes32 process, uint256 buffer, bytes32 asset, uint256 amount) private {
        bytes memory memo = abi.encodePacked(
            PURPOSE_REFUND, uint128(uint256(process)), uint16(0), uint16(0), uint16(8), Records.nonce(buffer)
        );
        _outbound(process, asset, amount, abi.encode(Records.sender(buffer)), memo);
    }

    /// @dev Records that a message had no effect.
    function _failed(bytes32 process, Process storage stored, uint256 buffer, uint256 gasUsed) private {
        emit Failed(process, Records.nonce(buffer), (stored.flags >> 1) & 3, gasUsed);
    }

    /// @dev Register, update and close. One that makes no sense is passed over, for it must not block the mailbox.
    function _control(bytes32 process, Process storage stored, uint256 buffer, uint256 kind) private {
        (uint256 length, bytes32 word) = Records.payloadStart(buffer);
        bool alive = stored.status == Status.Alive;
        if (kind == MessageKind.REGISTER && Records.nonce(buffer) == 0 && length == REGISTER_LENGTH) {
            _register(process, stored, address(bytes20(word)), word << 160);
        } else if (kind == MessageKind.UPDATE && alive && length == UPDATE_LENGTH) {
            (stored.flags, stored.gasLimit) = _limits(word);
            emit Updated(process, stored.gasLimit, stored.flags);
        } else if (kind == MessageKind.CLOSE && alive) {
            stored.status = Status.Closed;
            emit Closed(process);
        } else {
            _failed(process, stored, buffer, 0);
        }
    }

    /// @dev A registration comes alive if the target itself has bound to the process.
    function _register(bytes32 process, Process storage stored, address target, bytes32 limits) private {
        bool valid = processOf[target] == process && target.code.length != 0 && uint160(target) > RESERVED_ADDRESS_MAX
            && target != address(this);
        stored.target = target;
        (stored.flags, stored.gasLimit) = _limits(limits);
        stored.status = valid ? Status.Alive : Status.Rejected;
        if (valid) emit Registered(process, target, stored.gasLimit, stored.flags);
        else emit Rejected(process, target);
    }

    /// @dev What a call of the process takes.
    /// @return target Address to call.
    /// @return gasLimit Gas to call it with.
    /// @return gasNeeded Gas that must be left before the call; zero where the process is not called at all.
    function _look(Process storage stored) private view returns (address target, uint256 gasLimit, uint256 gasNeeded) {
        (target, gasLimit) = (stored.target, stored.gasLimit);
        if (stored.status != Status.Alive) return (target, gasLimit, 0);
        unchecked {
            // The limit has 32 bits.
            uint256 kept = gasLimit / 63;
            gasNeeded = gasLimit + (kept < GAS_RESERVE ? GAS_RESERVE : kept) + GAS_CALL;
        }
    }

    /// @dev Reads flags 1 and gas 4 from the start of `word`.
    function _limits(bytes32 word) private pure returns (uint8 flags, uint32 gasLimit) {
        flags = uint8(bytes1(word));
        gasLimit = uint32(bytes4(word << 8));
        if (gasLimit > GAS_LIMIT_MAX) gasLimit = uint32(GAS_LIMIT_MAX);
    }
}
