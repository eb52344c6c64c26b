// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SSTORE2} from "solady/utils/SSTORE2.sol";

import {IGroup} from "./interfaces/IGroup.sol";
import {Frontier} from "./libraries/Frontier.sol";
import {GroupSignature} from "./libraries/GroupSignature.sol";
import {Recipients} from "./libraries/Recipients.sol";
import {Records} from "./libraries/Records.sol";
import {Batch, Checkpoint, MessageKind, ProcessInfo, Status} from "./types/Messages.sol";

/// @title The group contract. What it does, for whom and under which assumptions stands at `IGroup`.
contract Group is IGroup {
    /// @dev Two slots: the first is written by registration, update and close, the second by each batch.
    struct Process {
        address target;
        uint32 gasLimit;
        uint8 flags;
        Status status;
        bytes32 head;
    }

    /// @dev In a struct, so that its slot is hashed once for a run of messages with the same asset.
    struct Book {
        uint256 amount;
    }

    /// @dev What one batch works on. `buffer` holds the message at hand, laid out as `Records` says.
    struct Run {
        bytes32 process;
        Process info;
        uint256 buffer;
        uint256 size;
        uint256 nonce;
    }

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

    /* IMMUTABLES */

    /// @inheritdoc IGroup
    bytes32 public immutable groupId;

    /// @inheritdoc IGroup
    bytes32 public immutable instance;

    /* STORAGE: CHECKPOINT AND OUTBOUND (one slot, then one) */

    uint48 private _sequence;
    uint48 private _outboundNonce;
    /// @dev Its code is a zero byte and the group key.
    address private _keyStore;

    /// @inheritdoc IGroup
    bytes32 public checkpointDigest;

    /* STORAGE: PROCESSES */

    mapping(bytes32 process => Process) private _processes;
    mapping(bytes32 process => mapping(bytes32 asset => Book)) private _custody;

    /// @inheritdoc IGroup
    mapping(address target => bytes32 process) public processOf;

    /* STORAGE: LOCK */

    bool private transient _delivering;

    /* CONSTRUCTOR */

    /// @param groupId_ Identity of the group.
    /// @param instance_ Random bytes of this deployment.
    /// @param key_ Group key, 256 bytes, EIP-2537 encoding of a G2 point.
    constructor(bytes32 groupId_, bytes32 instance_, bytes memory key_) {
        require(GroupSignature.isSupported(), MissingPrecompiles());
        require(GroupSignature.isValidKey(key_), InvalidKey());
        groupId = groupId_;
        instance = instance_;
        _keyStore = SSTORE2.write(key_);
    }

    /* DELIVERY */

    /// @inheritdoc IGroup
    function deliver(Checkpoint calldata checkpoint, bytes calldata signature, Batch[] calldata batches) external {
        require(!_delivering, Reentered());
        _delivering = true;
        _accept(checkpoint, signature);
        for (uint256 i; i < batches.length; ++i) {
            _deliver(batches[i], checkpoint.root);
        }
        _delivering = false;
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
    function key() external view returns (bytes memory) {
        return SSTORE2.read(_keyStore);
    }

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
        require(signed <= type(uint48).max, SequenceTooLarge(signed));
        require(GroupSignature.isValid(digest, signature, _keyStore), InvalidSignature());
        if (signed <= _sequence) return;
        _sequence = uint48(signed);
        checkpointDigest = digest;
        emit Accepted(signed, checkpoint.history, checkpoint.root);
    }

    /* INTERNALS: MAILBOX */

    /// @dev Proves a batch, then runs what the mailbox has not run yet.
    function _deliver(Batch calldata batch, bytes32 root) private {
        bytes32 process = batch.process;
        Process storage stored = _processes[process];
        (uint256 record, uint256 end, uint256 nonce, uint256 next, bytes32 newHead, uint256 buffer) =
            _walk(batch, stored.head);
        bytes32 leaf = Frontier.leaf(instance, process, next, newHead);
        require(Frontier.includes(root, leaf, batch.index, batch.proof), InvalidProof(process));
        if (nonce == next) return;

        // From here on the messages are what the members signed. The head goes first: a second batch of this mailbox in
        // the same delivery starts from it, and a call that looks at it sees the end of the batch.
        stored.head = newHead;
        Run memory run;
        run.process = process;
        run.info = stored;
        run.buffer = buffer;
        run.nonce = nonce;
        _run(run, record, end);
        emit Delivered(process, uint64(nonce), uint64(next - nonce));
    }

    /// @dev Follows the chain of heads over a batch.
    /// @return record Calldata offset of the first message that has not run.
    /// @return end Calldata offset after the last message.
    /// @return nonce Nonce of the first message that has not run; equal to `next` when none is left or the chain does
    /// not meet the stored head.
    /// @return next Nonce after the last message.
    /// @return head_ Head after the last message.
    /// @return buffer Memory that holds any of the batch's messages, one at a time.
    function _walk(Batch calldata batch, bytes32 stored)
        private
        pure
        returns (uint256 record, uint256 end, uint256 nonce, uint256 next, bytes32 head_, uint256 buffer)
    {
        bytes calldata messages = batch.messages;
        uint256 cursor;
        assembly ("memory-safe") {
            cursor := messages.offset
            end := add(cursor, messages.length)
            buffer := mload(0x40)
        }
        head_ = batch.head;
        next = batch.first;
        bool met = head_ == stored;
        if (met) (record, nonce) = (cursor, next);
        uint256 longest;
        while (cursor < end) {
            uint256 size;
            (cursor, size) = Records.load(buffer, cursor, end, next);
            require(size != 0, MalformedMessages(batch.process));
            if (size > longest) longest = size;
            head_ = Records.extend(head_, buffer, size);
            ++next;
            if (head_ == stored) (met, record, nonce) = (true, cursor, next);
        }
        if (!met) nonce = next;
        assembly ("memory-safe") {
            // Takes the memory that the longest message needs, with the selector's word before it.
            mstore(0x40, add(add(buffer, 0x20), longest))
        }
    }

    /// @dev Runs the records from `record` to `end`.
    function _run(Run memory run, uint256 record, uint256 end) private {
        bytes32 asset;
        Book storage book = _custody[run.process][asset];
        while (record < end) {
            (record, run.size) = Records.load(run.buffer, record, end, run.nonce);
            uint256 kind = Records.kind(run.buffer);
            (bytes32 sender, bytes32 paid, uint256 amount) = Records.payment(run.buffer);
            if (paid != asset) (asset, book) = (paid, _custody[run.process][paid]);
            if (kind == MessageKind.CALL) {
                _call(run, book, sender, asset, amount);
            } else if (kind == MessageKind.BOUNCE) {
                _bounce(run, book, amount);
            } else {
                _control(run, kind);
            }
            ++run.nonce;
        }
    }

    /// @dev A payment: booked, then the process is called; what it does not take goes back to its sender.
    function _call(Run memory run, Book storage book, bytes32 sender, bytes32 asset, uint256 amount) private {
        bool alive = run.info.status == Status.Alive;
        // Nobody can be paid back where nobody is known to have paid: the process keeps it.
        bool refundable = amount != 0 && sender != 0;
        // Booked before each call and not for the batch at once, so that no message spends what a later one brings.
        if (amount != 0 && (alive || !refundable)) book.amount += amount;
        if (alive ? _invoke(run) : _failed(run, 0)) return;
        if (!refundable) return;
        // The failed call undid its own sends, so what was booked for it is still there.
        if (alive) book.amount -= amount;
        _outbound(run.process, asset, amount, abi.encode(sender), _refundMemo(run));
    }

    /// @dev What comes back from a payout stays with the process, whatever it makes of it: nothing goes to and fro.
    function _bounce(Run memory run, Book storage book, uint256 amount) private {
        if (amount != 0) book.amount += amount;
        if (run.info.status == Status.Alive) _invoke(run);
        else _failed(run, 0);
    }

    /// @dev Calls the process with exactly its gas limit.
    function _invoke(Run memory run) private returns (bool success) {
        uint256 limit = run.info.gasLimit;
        uint256 left = gasleft();
        uint256 kept = limit / 63;
        if (kept < GAS_RESERVE) kept = GAS_RESERVE;
        uint256 needed = limit + kept + GAS_CALL;
        // A revert and not a record of failure: else a deliverer could starve a call. Nor a stop at what fits: else an
        // estimate of gas would find that delivering nothing is cheapest.
        require(left >= needed, InsufficientGas(run.process, uint64(run.nonce), left, needed));
        success = Records.call(run.buffer, run.size, run.info.target, limit);
        if (!success) _failed(run, left - gasleft());
    }

    /// @dev Records that a message had no effect. Always false, as the result of a call that failed.
    function _failed(Run memory run, uint256 gasUsed) private returns (bool) {
        emit Failed(run.process, uint64(run.nonce), (run.info.flags >> 1) & 3, gasUsed);
        return false;
    }

    /// @dev Register, update and close. One that makes no sense is passed over, for it must not block the mailbox.
    function _control(Run memory run, uint256 kind) private {
        (uint256 length, bytes32 word) = Records.payloadStart(run.buffer);
        bool alive = run.info.status == Status.Alive;
        if (kind == MessageKind.REGISTER && run.nonce == 0 && length == REGISTER_LENGTH) {
            _register(run, address(bytes20(word)), word << 160);
        } else if (kind == MessageKind.UPDATE && alive && length == UPDATE_LENGTH) {
            _setLimits(run.info, word);
            _processes[run.process].gasLimit = run.info.gasLimit;
            _processes[run.process].flags = run.info.flags;
            emit Updated(run.process, run.info.gasLimit, run.info.flags);
        } else if (kind == MessageKind.CLOSE && alive) {
            run.info.status = _processes[run.process].status = Status.Closed;
            emit Closed(run.process);
        } else {
            _failed(run, 0);
        }
    }

    /// @dev A registration comes alive if the target itself has bound to the process.
    function _register(Run memory run, address target, bytes32 limits) private {
        bool valid = processOf[target] == run.process && target.code.length != 0
            && uint160(target) > RESERVED_ADDRESS_MAX && target != address(this);
        _setLimits(run.info, limits);
        run.info.target = target;
        run.info.status = valid ? Status.Alive : Status.Rejected;
        Process storage stored = _processes[run.process];
        (stored.target, stored.gasLimit, stored.flags, stored.status) =
        (target, run.info.gasLimit, run.info.flags, run.info.status);
        if (valid) emit Registered(run.process, target, run.info.gasLimit, run.info.flags);
        else emit Rejected(run.process, target);
    }

    /// @dev Reads flags 1 and gas 4 from the start of `word`.
    function _setLimits(Process memory info, bytes32 word) private pure {
        info.flags = uint8(bytes1(word));
        uint32 gasLimit = uint32(bytes4(word << 8));
        info.gasLimit = gasLimit > GAS_LIMIT_MAX ? uint32(GAS_LIMIT_MAX) : gasLimit;
    }

    /* INTERNALS: OUTBOUND */

    /// @dev Numbers an outbound. Slot 0 is read anew: a call may have sent in between.
    function _outbound(bytes32 process, bytes32 asset, uint256 amount, bytes memory recipient, bytes memory memo)
        private
        returns (uint64 nonce)
    {
        uint48 current = _outboundNonce;
        require(current != type(uint48).max, OutboundsExhausted());
        _outboundNonce = current + 1;
        nonce = current;
        emit Outbound(nonce, process, _sequence, asset, amount, recipient, memo);
    }

    /// @dev Raw operation: purpose, process, no platform, no address, and the message's nonce as its extra.
    function _refundMemo(Run memory run) private pure returns (bytes memory) {
        (uint128 process, uint64 nonce) = (uint128(uint256(run.process)), uint64(run.nonce));
        return abi.encodePacked(PURPOSE_REFUND, process, uint16(0), uint16(0), uint16(8), nonce);
    }
}
