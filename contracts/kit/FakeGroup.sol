// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {IProcess} from "../src/interfaces/IProcess.sol";
import {Ledger} from "../src/libraries/Ledger.sol";
import {Recipients} from "../src/libraries/Recipients.sol";
import {Message, MessageKind, Policy, ProcessInfo, Status} from "../src/types/Messages.sol";
import {SignaturesNotFaked} from "./SignaturesNotFaked.sol";

/// @notice What a process asked the group to pay. See `IGroup.Outbound`.
struct Payout {
    bytes32 process;
    bytes32 asset;
    uint256 amount;
    bytes recipient;
    bytes memo;
}

/// @title A group contract for tests of developer contracts: messages come from the test, and no signature is needed.
/// @notice To a process it is the real one: it binds, registers, books, calls with the registered gas, refunds what
/// fails, numbers payouts and emits the same events. A differential test of the project holds the two together.
/// @dev Each message is delivered alone. So a strict process that fails makes `deliver` revert with `StrictBlocked`, as a
/// deliverer would see it. What `sendMessage` does is here, its event is not.
///
/// Never deploy it: whoever calls it makes messages.
contract FakeGroup is SignaturesNotFaked {
    struct Mailbox {
        address target;
        uint32 gasLimit;
        uint8 flags;
        Status status;
        uint64 next;
        bytes32 head;
    }

    /* CONSTANTS: those of the real one */

    uint256 private constant GAS_LIMIT_MAX = 8_000_000;
    uint256 private constant GAS_RESERVE = 60_000;
    uint256 private constant GAS_CALL = 8000;
    uint256 private constant MEMO_MAX = 200;
    uint160 private constant RESERVED_ADDRESS_MAX = type(uint16).max;

    /// @dev Gas that a registration asks for when its owner names none.
    uint32 private constant GAS_DEFAULT = 300_000;
    /// @dev Most bytes kept of what a failing call returned, so that a test can say why.
    uint256 private constant REASON_MAX = 4096;
    /// @dev Where the words of fresh payouts begin in transient storage.
    uint256 private constant WORDS = uint256(keccak256("lockstep fake words"));
    /// @dev Bytes of the transfer attribute of `sendMessage`: selector, asset, amount.
    uint256 private constant TRANSFER_LENGTH = 68;
    /// @dev What an ERC-7930 address of the ledger begins with: version 1, chain type, no chain reference.
    bytes5 private constant LEDGER_ADDRESS = bytes5(abi.encodePacked(uint16(1), Ledger.CHAIN_TYPE, uint8(0)));
    /// @dev The part of a parked word that is a time.
    uint256 private constant TIME_MASK = type(uint40).max;
    /// @inheritdoc IGroup
    uint256 public constant claimDelay = 3 days;
    /// @dev Ledger time between two messages.
    uint64 private constant BETWEEN = 1_000_000_000;

    /* STORAGE */

    /// @inheritdoc IGroup
    uint64 public sequence = 1_000_000;
    /// @notice Ledger time of the newest message, in nanoseconds since 1970.
    uint64 public timestamp = 1_790_000_000_000_000_000;

    mapping(bytes32 process => Mailbox) private _mailboxes;

    /// @inheritdoc IGroup
    mapping(bytes32 process => mapping(bytes32 asset => uint256)) public custody;

    /// @inheritdoc IGroup
    mapping(address target => bytes32 process) public processOf;

    /// @inheritdoc IGroup
    bool public halted;

    mapping(bytes32 asset => string[2]) private _names;
    /// @dev Hash and time of what is parked.
    mapping(bytes32 process => mapping(uint64 nonce => bytes32)) private _parked;

    Payout[] private _payouts;
    uint256 private _looked;
    bytes private _reason;

    bool private transient _delivering;
    /// @dev Payouts of the call that runs, and the words that they take: slot `WORDS + i` holds the i-th. They are kept when
    /// the call has ended, so that a call costs a process what it costs with the real group.
    uint64 private transient _fresh;
    uint256 private transient _words;

    /* ERRORS */

    /// @notice As ERC-7786 has it: the attribute is not `transfer`.
    error UnsupportedAttribute(bytes4 selector);

    /// @notice A message of another nonce than the mailbox's next.
    error WrongNonce(uint64 expected, uint64 found);

    /// @notice A payout was expected, and none was asked for since the last look.
    error NoPayout(Payout expected);

    /// @notice The oldest payout that was not looked at yet is another one.
    error OtherPayout(Payout expected, Payout found);

    /// @notice No payout was expected, and there is one.
    error UnexpectedPayout(Payout found);

    /* FOR TESTS: WHAT COMES FROM THE LEDGER */

    /// @notice Registers a contract that has bound itself, with the default gas limit and the policy of refunds.
    /// @return alive Whether it came alive; otherwise it had not bound, and the mailbox is rejected for ever.
    function register(bytes32 process, address target) external returns (bool alive) {
        return register(process, target, 0, GAS_DEFAULT);
    }

    /// @notice Registers with flags and a gas limit. See `ProcessInfo`.
    function register(bytes32 process, address target, uint8 flags, uint32 gasLimit) public returns (bool alive) {
        _run(process, _next(process, MessageKind.REGISTER, 0, 0, 0, abi.encodePacked(target, flags, gasLimit)));
        return _mailboxes[process].status == Status.Alive;
    }

    /// @notice A payment of `sender` reaches a process, with a payload.
    /// @param asset Zero for no payment.
    /// @return done Whether the call succeeded. If not, `lastReason` has the reason and the payment goes back.
    function deliver(bytes32 process, bytes32 sender, bytes32 asset, uint256 amount, bytes memory payload)
        external
        returns (bool done)
    {
        return _run(process, _next(process, MessageKind.CALL, sender, asset, amount, payload));
    }

    /// @notice A payout that could not be made comes back to a process.
    /// @return done Whether the call succeeded. The amount stays with the process in any case.
    function bounce(bytes32 process, bytes32 asset, uint256 amount) external returns (bool done) {
        return _run(process, _next(process, MessageKind.BOUNCE, 0, asset, amount, ""));
    }

    /// @notice A decision of the group changes a process.
    function update(bytes32 process, uint8 flags, uint32 gasLimit) external {
        _run(process, _next(process, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(flags, gasLimit)));
    }

    /// @notice A decision of the group closes a process.
    function close(bytes32 process) external {
        _run(process, _next(process, MessageKind.CLOSE, 0, 0, 0, ""));
    }

    /// @notice The group halts its contract, or lets it go on.
    function halt(bool halted_) external {
        halted = halted_;
    }

    /// @notice The group names an asset.
    function nameAsset(bytes32 asset, string calldata name, string calldata symbol) external {
        _names[asset] = [name, symbol];
    }

    /// @notice A message as it is, for tests that choose each of its fields. Its nonce must be the mailbox's next.
    /// @return done Whether it had an effect.
    function deliverMessage(bytes32 process, Message memory message) external returns (bool done) {
        uint64 next = _mailboxes[process].next;
        require(message.nonce == next, WrongNonce(next, message.nonce));
        return _run(process, message);
    }

    /// @notice The members have signed up to this sequence: what a payout may rely on. Each message does that for its own.
    function accept(uint64 sequence_) public {
        if (sequence_ > sequence) sequence = sequence_;
    }

    /// @notice Lets time pass on the ledger.
    function skip(uint64 seconds_) external {
        timestamp += seconds_ * 1_000_000_000;
    }

    /* FOR TESTS: WHAT GOES TO THE LEDGER */

    /// @notice The oldest payout that was not looked at yet is this one, or the test fails.
    function expectOutbound(bytes32 process, bytes32 asset, uint256 amount, bytes32 account, bytes memory memo)
        external
    {
        expectOutbound(process, asset, amount, abi.encode(account), memo);
    }

    /// @notice The same, to a recipient of any form.
    function expectOutbound(bytes32 process, bytes32 asset, uint256 amount, bytes memory recipient, bytes memory memo)
        public
    {
        Payout memory expected = Payout(process, asset, amount, recipient, memo);
        require(_looked < _payouts.length, NoPayout(expected));
        Payout memory found = _payouts[_looked++];
        require(keccak256(abi.encode(expected)) == keccak256(abi.encode(found)), OtherPayout(expected, found));
    }

    /// @notice The newest message of a process failed, and what it paid goes back to its sender.
    function expectRefund(bytes32 process, bytes32 sender, bytes32 asset, uint256 amount) external {
        bytes memory memo = _refundMemo(process, _mailboxes[process].next - 1);
        expectOutbound(process, asset, amount, abi.encode(sender), memo);
    }

    /// @notice No payout is left that was not looked at.
    function expectNothing() external view {
        if (_looked < _payouts.length) revert UnexpectedPayout(_payouts[_looked]);
    }

    /// @notice What the last call that failed reverted with, up to 4 KiB.
    function lastReason() external view returns (bytes memory) {
        return _reason;
    }

    /// @notice A payout by its number.
    function payoutAt(uint64 nonce) external view returns (Payout memory) {
        return _payouts[nonce];
    }

    /* FOR PROCESSES */

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
        return _send(asset, amount, recipient, memo);
    }

    /// @notice The payout of ERC-7786, as the group contract takes it.
    function sendMessage(bytes calldata recipient, bytes calldata payload, bytes[] calldata attributes)
        external
        payable
        returns (bytes32 sendId)
    {
        require(msg.value == 0, InvalidAmount(msg.value));
        for (uint256 i; i < attributes.length; ++i) {
            bytes4 selector = bytes4(attributes[i]);
            require(selector == Ledger.TRANSFER, UnsupportedAttribute(selector));
        }
        require(attributes.length == 1 && attributes[0].length == TRANSFER_LENGTH, InvalidTransfer());
        (bytes32 asset, uint256 amount) = abi.decode(attributes[0][4:], (bytes32, uint256));
        bool ours = recipient.length > 6 && bytes5(recipient) == LEDGER_ADDRESS;
        require(ours && recipient.length == 6 + uint256(uint8(recipient[5])), InvalidRecipient());
        _send(asset, amount, recipient[6:], payload);
        return 0;
    }

    /// @inheritdoc IGroup
    function retry(bytes32 process, Message calldata message) external {
        require(!_delivering, Reentered());
        require(!halted, Halted());
        _delivering = true;
        Mailbox storage mailbox = _mailboxes[process];
        require(mailbox.status == Status.Alive, NotLive(mailbox.target, process, mailbox.status));
        _unpark(process, message);
        custody[process][message.asset] += message.amount;
        (bool done,) = _callTarget(process, mailbox, message);
        require(done, RetryFailed(process, message.nonce));
        emit Retried(process, message.nonce);
        _delivering = false;
        _keep();
    }

    /// @inheritdoc IGroup
    function claim(bytes32 process, Message calldata message) external {
        require(!_delivering, Reentered());
        require(!halted, Halted());
        bool alive = _mailboxes[process].status == Status.Alive;
        uint256 due = _unpark(process, message) + claimDelay;
        require(!alive || block.timestamp >= due, TooEarly(process, message.nonce, due));
        bool claimable = message.amount != 0 && (message.sender != 0 || !alive);
        require(claimable, NothingToClaim(process, message.nonce));
        emit Claimed(process, message.nonce);
        if (message.sender == 0) custody[process][message.asset] += message.amount;
        else _refund(process, message);
    }

    /* VIEWS */

    /// @inheritdoc IGroup
    function parked(bytes32 process, uint64 nonce) external view returns (bytes32 hash, uint64 time) {
        uint256 word = uint256(_parked[process][nonce]);
        return (bytes32(word & ~TIME_MASK), uint64(word & TIME_MASK));
    }

    /// @inheritdoc IGroup
    function outboundNonce() public view returns (uint64) {
        return uint64(_payouts.length) + _fresh;
    }

    /// @inheritdoc IGroup
    function head(bytes32 process) external view returns (bytes32) {
        return _mailboxes[process].head;
    }

    /// @inheritdoc IGroup
    function processInfo(bytes32 process) external view returns (ProcessInfo memory) {
        Mailbox storage mailbox = _mailboxes[process];
        (address target, uint8 flags) = (mailbox.target, mailbox.flags);
        uint8 policy = uint8(_policyIn(flags));
        return ProcessInfo(target, mailbox.gasLimit, flags, mailbox.status, policy, 0, mailbox.head);
    }

    /// @inheritdoc IGroup
    function bound(address target) external view returns (bool) {
        return processOf[target] != 0;
    }

    /// @inheritdoc IGroup
    function assetInfo(bytes32 asset) external view returns (string memory name, string memory symbol) {
        return (_names[asset][0], _names[asset][1]);
    }

    /// @inheritdoc IGroup
    function groupId() external pure returns (bytes32) {
        return keccak256("fake group");
    }

    /// @inheritdoc IGroup
    function instance() external pure returns (bytes32) {
        return keccak256("fake instance");
    }

    /* INTERNALS */

    function _send(bytes32 asset, uint256 amount, bytes calldata recipient, bytes calldata memo)
        private
        returns (uint64 nonce)
    {
        require(!halted, Halted());
        bytes32 process = processOf[msg.sender];
        Mailbox storage mailbox = _mailboxes[process];
        bool live = mailbox.target == msg.sender && (mailbox.status == Status.Alive || mailbox.status == Status.Closed);
        require(live, NotLive(msg.sender, process, mailbox.status));
        require(amount != 0 && amount <= type(uint128).max, InvalidAmount(amount));
        require(Recipients.isWellFormed(recipient), InvalidRecipient());
        require(memo.length <= MEMO_MAX, MemoTooLong(memo.length, MEMO_MAX));
        uint256 held = custody[process][asset];
        require(amount <= held, InsufficientCustody(process, asset, held, amount));
        custody[process][asset] = held - amount;
        return _outbound(Payout(process, asset, amount, recipient, memo));
    }

    function _next(bytes32 process, uint8 kind, bytes32 sender, bytes32 asset, uint256 amount, bytes memory payload)
        private
        view
        returns (Message memory)
    {
        uint64 nonce = _mailboxes[process].next;
        return Message(kind, nonce, sequence + 1, timestamp + BETWEEN, sender, asset, amount, payload);
    }

    /// @dev One message, delivered alone under a checkpoint of its own sequence.
    function _run(bytes32 process, Message memory message) private returns (bool done) {
        require(!_delivering, Reentered());
        require(!halted, Halted());
        _delivering = true;
        Mailbox storage mailbox = _mailboxes[process];
        accept(message.sequence);
        if (message.timestamp > timestamp) timestamp = message.timestamp;
        mailbox.next = message.nonce + 1;
        mailbox.head = keccak256(abi.encode(mailbox.head, keccak256(abi.encode(message))));
        if (message.kind == MessageKind.CALL || message.kind == MessageKind.BOUNCE) {
            done = mailbox.status == Status.Alive ? _call(process, mailbox, message) : _pass(process, message);
        } else {
            done = _control(process, mailbox, message);
            if (!done) _failed(process, message, 0);
        }
        emit Delivered(process, message.nonce, 1);
        _delivering = false;
        _keep();
    }

    function _call(bytes32 process, Mailbox storage mailbox, Message memory message) private returns (bool) {
        custody[process][message.asset] += message.amount;
        (bool done, uint256 gasUsed) = _callTarget(process, mailbox, message);
        if (done) return true;
        uint256 policy = _policyIn(mailbox.flags);
        require(policy != Policy.STRICT, StrictBlocked(process, message.nonce));
        bool parks = policy == Policy.PARK && message.kind == MessageKind.CALL;
        emit Failed(process, message.nonce, uint8(parks ? Policy.PARK : Policy.REFUND), gasUsed);
        if (parks || _isRefunded(message)) custody[process][message.asset] -= message.amount;
        if (parks) {
            uint256 hash = uint256(keccak256(abi.encode(message)));
            _parked[process][message.nonce] = bytes32((hash & ~TIME_MASK) | (block.timestamp & TIME_MASK));
        } else if (_isRefunded(message)) {
            _refund(process, message);
        }
        return false;
    }

    /// @dev There is no fourth policy: it is a refund, too.
    function _policyIn(uint8 flags) private pure returns (uint256 policy) {
        policy = (flags >> 1) & 3;
        if (policy > Policy.STRICT) policy = Policy.REFUND;
    }

    /// @dev Calls a process with all the gas that it is registered for.
    function _callTarget(bytes32 process, Mailbox storage mailbox, Message memory message)
        private
        returns (bool done, uint256 gasUsed)
    {
        uint256 limit = mailbox.gasLimit;
        uint256 kept = limit / 63;
        uint256 needed = limit + (kept < GAS_RESERVE ? GAS_RESERVE : kept) + GAS_CALL;
        bytes memory data = abi.encodeCall(IProcess.onMessage, (message));
        uint256 left = gasleft();
        require(left >= needed, InsufficientGas(process, message.nonce, left, needed));
        bytes memory reason;
        (done, reason) = _callWith(mailbox.target, limit, data);
        gasUsed = left - gasleft();
        if (!done) _reason = reason;
    }

    function _unpark(bytes32 process, Message calldata message) private returns (uint256 time) {
        uint256 word = uint256(_parked[process][message.nonce]);
        uint256 hash = uint256(keccak256(abi.encode(message)));
        require(word != 0 && (word ^ hash) & ~TIME_MASK == 0, NotParked(process, message.nonce));
        delete _parked[process][message.nonce];
        return word & TIME_MASK;
    }

    /// @dev A message for a process that is not called.
    function _pass(bytes32 process, Message memory message) private returns (bool) {
        _failed(process, message, 0);
        if (_isRefunded(message)) _refund(process, message);
        else custody[process][message.asset] += message.amount;
        return false;
    }

    function _control(bytes32 process, Mailbox storage mailbox, Message memory message) private returns (bool done) {
        bytes memory payload = message.payload;
        bool alive = mailbox.status == Status.Alive;
        if (message.kind == MessageKind.REGISTER && message.nonce == 0 && payload.length == 25) {
            _register(process, mailbox, payload);
        } else if (message.kind == MessageKind.UPDATE && alive && payload.length == 5) {
            _limit(mailbox, uint40(bytes5(bytes32(payload))));
            emit Updated(process, mailbox.gasLimit, mailbox.flags);
        } else if (message.kind == MessageKind.CLOSE && alive) {
            mailbox.status = Status.Closed;
            emit Closed(process);
        } else {
            return false;
        }
        return true;
    }

    function _register(bytes32 process, Mailbox storage mailbox, bytes memory payload) private {
        uint200 fields = uint200(bytes25(bytes32(payload)));
        address target = address(uint160(fields >> 40));
        bool valid = processOf[target] == process && target.code.length != 0 && uint160(target) > RESERVED_ADDRESS_MAX
            && target != address(this);
        mailbox.target = target;
        _limit(mailbox, uint40(fields));
        mailbox.status = valid ? Status.Alive : Status.Rejected;
        if (valid) emit Registered(process, target, mailbox.gasLimit, mailbox.flags);
        else emit Rejected(process, target);
    }

    /// @dev Reads flags 1 and gas 4.
    function _limit(Mailbox storage mailbox, uint40 fields) private {
        uint32 gasLimit = uint32(fields);
        mailbox.flags = uint8(fields >> 32);
        if (gasLimit == 0 && mailbox.status == Status.Alive) return;
        mailbox.gasLimit = gasLimit > GAS_LIMIT_MAX ? uint32(GAS_LIMIT_MAX) : gasLimit;
    }

    function _failed(bytes32 process, Message memory message, uint256 gasUsed) private {
        emit Failed(process, message.nonce, 0, gasUsed);
    }

    function _isRefunded(Message memory message) private pure returns (bool) {
        return message.kind == MessageKind.CALL && message.amount != 0 && message.sender != 0;
    }

    function _refund(bytes32 process, Message memory message) private {
        bytes memory memo = _refundMemo(process, message.nonce);
        _outbound(Payout(process, message.asset, message.amount, abi.encode(message.sender), memo));
    }

    function _refundMemo(bytes32 process, uint64 nonce) private pure returns (bytes memory) {
        return abi.encodePacked(hex"000d", uint128(uint256(process)), hex"000000000008", nonce);
    }

    function _outbound(Payout memory payout) private returns (uint64 nonce) {
        nonce = outboundNonce();
        if (_delivering) _note(abi.encode(payout));
        else _payouts.push(payout);
        emit Outbound(nonce, payout.process, sequence, payout.asset, payout.amount, payout.recipient, payout.memo);
    }

    /// @dev Length, then bytes, word by word. A call that reverts takes them along.
    function _note(bytes memory encoded) private {
        (uint256 slot, uint256 base) = (_words, WORDS);
        assembly ("memory-safe") {
            let end := add(add(encoded, 0x20), mload(encoded))
            for { let place := encoded } lt(place, end) { place := add(place, 0x20) } {
                tstore(add(base, slot), mload(place))
                slot := add(slot, 1)
            }
        }
        _words = slot;
        ++_fresh;
    }

    /// @dev Keeps the payouts of a call that has ended.
    function _keep() private {
        (uint256 slot, uint256 base) = (0, WORDS);
        for (uint256 left = _fresh; left != 0; --left) {
            bytes memory encoded;
            assembly ("memory-safe") {
                encoded := mload(0x40)
                let end := add(add(encoded, 0x20), tload(add(base, slot)))
                let place := encoded
                for {} lt(place, end) { place := add(place, 0x20) } {
                    mstore(place, tload(add(base, slot)))
                    slot := add(slot, 1)
                }
                mstore(0x40, place)
            }
            _payouts.push(abi.decode(encoded, (Payout)));
        }
        (_fresh, _words) = (0, 0);
    }

    /// @dev A call that takes at most `limit` gas, and of whose answer at most `REASON_MAX` bytes are copied.
    function _callWith(address target, uint256 limit, bytes memory data)
        private
        returns (bool success, bytes memory answer)
    {
        assembly ("memory-safe") {
            success := call(limit, target, 0, add(data, 0x20), mload(data), 0, 0)
            let size := returndatasize()
            if gt(size, REASON_MAX) { size := REASON_MAX }
            answer := mload(0x40)
            mstore(answer, size)
            returndatacopy(add(answer, 0x20), 0, size)
            mstore(0x40, add(add(answer, 0x20), and(add(size, 0x1f), not(0x1f))))
        }
    }
}
