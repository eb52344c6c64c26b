// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, Checkpoint, GovernanceKind, Message, MessageKind, Policy, Status} from "../../src/types/Messages.sol";
import {Test} from "../../test/helpers/Test.sol";

/// @notice What halmos proves of the group contract's deployed bytecode, for all values of the parameters.
/// @dev The signature check is mocked by precompiles that accept everything: what holds when anybody may sign anything holds
/// with real signatures as well. Sequence, outbound nonce, governance nonce and what a process holds are any number to begin
/// with, so each claim is a step from any state that these describe. Bounds: deliveries of one batch of one message without
/// a payload, trees of one leaf, one process, 128 bits for what it holds where payments add to it. `prove.py` runs this, and
/// runs it again for faults planted in the contract, where the claims named with them must fail.
contract ProofsCheck is Test {
    bytes32 private constant GROUP_ID = keccak256("group");
    bytes32 private constant INSTANCE = keccak256("instance");
    bytes32 private constant PROCESS = bytes32(uint256(1));
    bytes32 private constant ASSET = bytes32(uint256(0xa55e7));
    uint32 private constant GAS_LIMIT = 100_000;

    /// @dev Slots and places of `GroupBase` and `Governance`.
    uint256 private constant SLOT_CHECKPOINT = 0;
    uint256 private constant SLOT_DIGEST = 1;
    uint256 private constant SLOT_PROCESSES = 2;
    uint256 private constant SLOT_CUSTODY = 3;
    uint256 private constant SLOT_GOVERNANCE = 5;

    IGroup private group;
    Obedient private target;

    /// @dev Head of the mailbox before the last delivery.
    bytes32 private _headBefore;

    function setUp() public {
        // SHA-256, map, sum and pairing: a word of zeros, 128 bytes of them, the same, and a word that says true.
        vm.etch(address(0x02), hex"60205ff3");
        vm.etch(address(0x10), hex"60805ff3");
        vm.etch(address(0x0b), hex"60805ff3");
        vm.etch(address(0x0f), hex"60015f5260205ff3");
        group = IGroup(create("Group.sol:Group", abi.encode(GROUP_ID, INSTANCE, someKey(), address(0), uint16(0))));
        target = new Obedient(group, PROCESS);
        Message memory registration;
        registration.payload = abi.encodePacked(target, uint8(0), GAS_LIMIT);
        deliver(registration, 0, 1);
        require(group.processInfo(PROCESS).status == Status.Alive);
    }

    /* NONCES */

    /// @notice The accepted sequence never falls, and is the highest of those signed.
    function check_SequenceNeverFalls(uint40 before, Checkpoint calldata checkpoint) external {
        setCheckpointSlot(before, 0);
        (bool success,) = tryDeliver(checkpoint, new Batch[](0));
        uint64 later = group.sequence();
        assert(later >= before);
        assert(later == before || (success && later == checkpoint.sequence));
        assert(!success || later >= checkpoint.sequence);
    }

    /// @notice A payout has the next number and the accepted sequence stays; a refused one uses none.
    function check_OutboundsAreNumbered(uint40 before, uint256 held, bytes32 asset, uint256 amount, bytes32 payee)
        external
    {
        setCheckpointSlot(7, before);
        setCustody(asset, held);
        (bool success, bytes memory answer) = trySend(asset, amount, payee);
        assert(group.outboundNonce() == (success ? uint256(before) + 1 : before));
        if (success) assert(abi.decode(answer, (uint64)) == before);
        assert(group.sequence() == 7);
    }

    /// @notice A decision acts under exactly the next nonce, and only then the nonce rises, by one.
    function check_DecisionsAreNumbered(uint64 before, uint64 nonce, uint8 kind, bytes32 word) external {
        setGovernanceSlot(before, 3);
        bytes memory data =
            kind == GovernanceKind.REPAY ? abi.encode(word & bytes32(uint256(7)), uint256(1)) : bytes("");
        (bool success,) = address(group).call(abi.encodeCall(group.govern, (nonce, kind, data, new bytes(128))));
        assert(!success || nonce == before);
        assert(group.governanceNonce() == (success ? uint256(before) + 1 : before));
        assert(group.keyGeneration() == 3);
    }

    /// @notice A rotation only goes to a higher generation.
    function check_GenerationsRise(uint64 before, uint64 generation) external {
        setGovernanceSlot(9, before);
        bytes memory data = abi.encode(generation, someKey(), new bytes(128));
        (bool success,) =
            address(group).call(abi.encodeCall(group.govern, (uint64(9), GovernanceKind.ROTATE, data, new bytes(128))));
        assert(group.keyGeneration() == (success ? generation : before));
        assert(!success || generation > before);
        // What was accepted under the old key is verified again.
        assert(!success || group.checkpointDigest() == 0);
    }

    /// @notice A message runs once and its mailbox never goes back: the same batch again changes nothing.
    function check_NothingRunsTwice(bytes32 sender, bytes32 asset, uint256 amount, uint8 flags, bool fails) external {
        vm.assume(amount <= type(uint128).max);
        setFlags(flags);
        target.order(fails);
        Message memory message;
        (message.kind, message.sender, message.asset, message.amount) = (MessageKind.CALL, sender, asset, amount);
        deliver(message, 1, 2);
        (bytes32 head, uint64 outbounds, uint256 held) =
            (group.head(PROCESS), group.outboundNonce(), group.custody(PROCESS, asset));
        uint256 calls = target.calls();
        // The nonce that the target saw is the place that was proved, whatever the message said.
        assert(fails || target.last() == 1);
        deliverAgain(message, 1, 2);
        assert(group.head(PROCESS) == head && group.outboundNonce() == outbounds);
        assert(group.custody(PROCESS, asset) == held && target.calls() == calls);
    }

    /* CUSTODY */

    /// @notice Nobody sends more than there is: custody falls by the amount, never below zero, and no other book changes.
    function check_SendTakesFromCustody(
        uint256 held,
        uint256 otherHeld,
        bytes32 asset,
        bytes32 other,
        uint256 amount,
        bytes32 payee
    ) external {
        vm.assume(asset != other);
        setCustody(asset, held);
        setCustody(other, otherHeld);
        (bool success,) = trySend(asset, amount, payee);
        uint256 left = group.custody(PROCESS, asset);
        assert(success ? (amount <= held && left == held - amount) : left == held);
        assert(group.custody(PROCESS, other) == otherHeld);
    }

    /// @notice Whoever is not the target of a process sends nothing of it, also when bound to it.
    function check_StrangersSendNothing(address stranger, uint256 held, bytes32 asset, uint256 amount, bytes32 payee)
        external
    {
        vm.assume(stranger != address(target));
        setCustody(asset, held);
        vm.prank(stranger);
        group.bind(PROCESS);
        vm.prank(stranger);
        (bool success,) = address(group).call(abi.encodeCall(group.send, (asset, amount, abi.encode(payee), "")));
        assert(!success);
        assert(group.custody(PROCESS, asset) == held && group.outboundNonce() == 0);
    }

    /// @notice A message of any kind, policy and outcome: what it brought is in custody, or paid back by one outbound, or
    /// parked. It is never in two of these places, and what was held before stays.
    function check_PaymentsAreInOnePlace(
        uint8 kind,
        bytes32 sender,
        bytes32 asset,
        uint256 amount,
        uint256 held,
        uint8 flags,
        bool fails
    ) external {
        vm.assume(kind == MessageKind.CALL || kind == MessageKind.BOUNCE);
        vm.assume(amount <= type(uint128).max && held <= type(uint128).max);
        setFlags(flags);
        setCustody(asset, held);
        target.order(fails);
        Message memory message;
        (message.kind, message.sender, message.asset, message.amount) = (kind, sender, asset, amount);
        bytes32 before = group.head(PROCESS);
        (bool success,) = tryDeliver(message, 1, 2);
        uint256 left = group.custody(PROCESS, asset);
        (, uint64 time) = group.parked(PROCESS, 1);
        if (!success) {
            assert(left == held && group.head(PROCESS) == before && group.outboundNonce() == 0 && time == 0);
            return;
        }
        uint256 places = (left == held + amount && amount != 0 ? 1 : 0) + group.outboundNonce() + (time == 0 ? 0 : 1);
        assert(amount == 0 ? left == held : places == 1);
        assert(left == held || left == held + amount);
        // A call that succeeds keeps its payment; a failed one is never both paid back and kept.
        assert(fails || left == held + amount);
        assert(group.head(PROCESS) != before);
    }

    /// @notice What was parked comes back once: by a retry into custody, or by a claim to its sender.
    function check_ParkedComesBackOnce(bytes32 sender, uint256 amount, uint256 held, uint256 time, bool retries)
        external
    {
        vm.assume(amount <= type(uint128).max && held <= type(uint128).max && time < 2 ** 39);
        setFlags(uint8(Policy.PARK << 1));
        setCustody(ASSET, held);
        vm.warp(1000);
        target.order(true);
        Message memory message;
        (message.kind, message.sender, message.asset, message.amount) = (MessageKind.CALL, sender, ASSET, amount);
        deliver(message, 1, 2);
        message.nonce = 1;
        assert(group.custody(PROCESS, ASSET) == held && group.outboundNonce() == 0);
        target.order(false);
        vm.warp(time);
        (bool success, uint256 outbounds) = (comeBack(message, retries), group.outboundNonce());
        uint256 left = group.custody(PROCESS, ASSET);
        if (!success) assert(left == held && outbounds == 0);
        else if (retries) assert(left == held + amount && outbounds == 0);
        else assert(left == held && outbounds == 1 && amount != 0 && time >= 1000 + 3 days);
        // Neither way a second time.
        assert(!success || !(comeBack(message, true) || comeBack(message, false)));
    }

    /* HELPERS */

    function comeBack(Message memory message, bool retries) private returns (bool success) {
        bytes memory call =
            retries ? abi.encodeCall(group.retry, (PROCESS, message)) : abi.encodeCall(group.claim, (PROCESS, message));
        (success,) = address(group).call(call);
    }

    function someKey() private pure returns (bytes memory) {
        return abi.encode(1, 2, 3, 4, 5, 6, 7, 8);
    }

    function trySend(bytes32 asset, uint256 amount, bytes32 payee) private returns (bool, bytes memory) {
        vm.prank(address(target));
        return address(group).call(abi.encodeCall(group.send, (asset, amount, abi.encode(payee), "")));
    }

    function deliver(Message memory message, uint64 first, uint64 next) private {
        (bool success,) = tryDeliver(message, first, next);
        vm.assume(success);
    }

    /// @dev A batch of one message, which brings the mailbox from `first` to `next`, in a tree of its own.
    function tryDeliver(Message memory message, uint64 first, uint64 next) private returns (bool, bytes memory) {
        return tryDeliverFrom(group.head(PROCESS), message, first, next);
    }

    function deliverAgain(Message memory message, uint64 first, uint64 next) private {
        (bool success,) = tryDeliverFrom(_headBefore, message, first, next);
        assert(success);
    }

    function tryDeliverFrom(bytes32 head, Message memory message, uint64 first, uint64 next)
        private
        returns (bool, bytes memory)
    {
        _headBefore = head;
        message.nonce = first;
        bytes32 headAfter = keccak256(abi.encodePacked(head, keccak256(abi.encode(message))));
        bytes memory words = abi.encode(block.chainid, group, INSTANCE, PROCESS, uint256(next), headAfter);
        Batch[] memory batches = new Batch[](1);
        batches[0].process = PROCESS;
        batches[0].first = first;
        batches[0].head = head;
        batches[0].messages = abi.encodePacked(
            message.kind,
            message.sequence,
            message.timestamp,
            message.sender,
            message.asset,
            uint128(message.amount),
            uint32(message.payload.length),
            message.payload
        );
        return tryDeliver(Checkpoint(next, 0, keccak256(abi.encodePacked(uint8(0), words))), batches);
    }

    function tryDeliver(Checkpoint memory checkpoint, Batch[] memory batches) private returns (bool, bytes memory) {
        return address(group).call(abi.encodeCall(group.deliver, (checkpoint, new bytes(128), batches)));
    }

    /* STORAGE */

    /// @dev With no accepted checkpoint: the one that is kept always has the sequence that is kept with it.
    function setCheckpointSlot(uint40 sequence, uint40 outbounds) private {
        vm.store(address(group), bytes32(SLOT_DIGEST), 0);
        bytes32 slot = bytes32(SLOT_CHECKPOINT);
        uint256 others = uint256(vm.load(address(group), slot)) >> 80 << 80;
        vm.store(address(group), slot, bytes32(others | uint256(outbounds) << 40 | sequence));
        assert(group.sequence() == sequence && group.outboundNonce() == outbounds);
    }

    function setGovernanceSlot(uint64 nonce, uint64 generation) private {
        bytes32 slot = bytes32(SLOT_GOVERNANCE);
        uint256 others = uint256(vm.load(address(group), slot)) >> 128 << 128;
        vm.store(address(group), slot, bytes32(others | uint256(generation) << 64 | nonce));
        assert(group.governanceNonce() == nonce && group.keyGeneration() == generation);
    }

    function setCustody(bytes32 asset, uint256 held) private {
        bytes32 books = keccak256(abi.encode(PROCESS, SLOT_CUSTODY));
        vm.store(address(group), keccak256(abi.encode(asset, books)), bytes32(held));
        assert(group.custody(PROCESS, asset) == held);
    }

    function setFlags(uint8 flags) private {
        bytes32 slot = keccak256(abi.encode(PROCESS, SLOT_PROCESSES));
        uint256 word = uint256(vm.load(address(group), slot)) & ~(uint256(0xff) << 192);
        vm.store(address(group), slot, bytes32(word | uint256(flags) << 192));
        assert(group.processInfo(PROCESS).flags == flags);
    }
}

/// @notice A process that fails when it is told to.
contract Obedient {
    uint256 public calls;
    uint64 public last;
    bool private _failing;

    error Told();

    constructor(IGroup group, bytes32 process) {
        group.bind(process);
    }

    function order(bool failing) external {
        _failing = failing;
    }

    function onMessage(Message calldata message) external {
        require(!_failing, Told());
        ++calls;
        last = message.nonce;
    }
}
