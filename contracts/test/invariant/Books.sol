// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, Message, MessageKind, Policy, Status} from "../../src/types/Messages.sol";
import {GroupTest} from "../helpers/GroupTest.sol";
import {Members, Signed} from "../helpers/Members.sol";
import {Log} from "../helpers/Vm.sol";
import {Actor, Tripwire} from "./Actor.sol";

/// @notice Books over what a group contract was brought and what it did, kept from messages and events alone.
abstract contract Books is GroupTest {
    /// @dev Mailboxes with an actor, then those whose registration must be rejected.
    uint256 public constant ACTORS = 7;
    uint256 public constant BOXES = 11;
    uint256 public constant ASSETS = 2;
    /// @dev The actor whose code goes away.
    uint256 internal constant DESTROYED = 6;
    uint256 internal constant PRICE = 10 gwei;
    uint32 private constant CALL_GAS = 400_000;
    uint256 private constant GAS_PLENTY = 500_000_000;

    IGroup public immutable GROUP;
    Members public immutable MEMBERS;

    Actor[] public actors;
    Tripwire public tripwire;
    uint256 public rotations;

    /* WHAT CAME IN */

    mapping(uint256 box => Message[]) private _posted;
    /// @notice Messages of each mailbox that the contract has gone past.
    mapping(uint256 box => uint256) public done;
    mapping(bytes32 asset => uint256) public broughtIn;

    /* WHAT CAME OF IT */

    mapping(bytes32 process => mapping(bytes32 asset => uint256)) public wanted;
    mapping(bytes32 asset => uint256) public paidOut;
    mapping(bytes32 asset => uint256) public setApart;
    uint256 public outbounds;

    struct Parked {
        uint256 box;
        uint256 nonce;
    }

    Parked[] internal parked;

    /// @dev What a delivery comes to.
    struct Trial {
        bool success;
        uint256 used;
        uint256 earned;
        /// @dev Gas that was missing before the call that the contract names.
        uint256 short;
        bytes32 heads;
    }

    error Undone(Trial trial);

    /* THE LAST DELIVERY */

    bool internal _delivered;
    uint256 internal _used;
    uint256 internal _earned;

    /// @dev Checkpoints of the past, encoded.
    bytes[] internal _signed;

    constructor(IGroup group_, Members members_) {
        (GROUP, MEMBERS, group, members) = (group_, members_, group_, members_);
        tripwire = new Tripwire();
        for (uint256 box; box < BOXES; ++box) {
            members_.open(processOf(box));
            if (box < ACTORS) actors.push(new Actor(group_, processOf(box)));
            address target = box < ACTORS ? address(actors[box]) : forbidden(box);
            // A policy each, twice, and one that refunds and is destroyed.
            uint8 flags = box < ACTORS - 1 ? uint8((box % 3) << 1) : 0;
            post(box, MessageKind.REGISTER, 0, 0, 0, abi.encodePacked(target, flags, CALL_GAS));
        }
        _signed.push(abi.encode(members_.sign()));
    }

    /// @dev Who must never be called: nobody's contract, the group itself, an address of precompiles, one without code.
    function forbidden(uint256 box) private returns (address target) {
        if (box == ACTORS) return address(tripwire);
        target = box == ACTORS + 1 ? address(GROUP) : box == ACTORS + 2 ? address(0xfe) : address(0xdead00);
        // Code, so that nothing else is wrong with it.
        if (box == ACTORS + 2) vm.etch(target, hex"00");
        // Even if they had bound.
        vm.prank(target);
        GROUP.bind(processOf(box));
    }

    /* VIEWS */

    function processOf(uint256 box) public pure returns (bytes32) {
        return bytes32(0x1000 + box);
    }

    function boxOf(bytes32 process) private pure returns (uint256) {
        return uint256(process) - 0x1000;
    }

    function assetOf(uint256 asset) public pure returns (bytes32) {
        return keccak256(abi.encode("asset", asset % ASSETS));
    }

    /* POSTED AND SIGNED */

    function post(uint256 box, uint8 kind, bytes32 sender, bytes32 asset, uint256 amount, bytes memory payload)
        internal
    {
        box %= BOXES;
        _posted[box].push(MEMBERS.post(box, kind, sender, asset, amount, payload));
    }

    /// @dev A checkpoint of the past, under the key of today.
    function signedAt(uint256 which) internal view returns (Signed memory signed) {
        signed = abi.decode(_signed[which % _signed.length], (Signed));
        if (rotations != 0) signed = MEMBERS.resign(signed);
    }

    function decide(uint8 kind, bytes memory data) internal override {
        uint64 nonce = GROUP.governanceNonce();
        GROUP.govern(nonce, kind, data, MEMBERS.seal(decisionDigest(nonce, kind, data)));
        vm.assertEq(GROUP.governanceNonce(), nonce + 1);
    }

    /* DELIVERED */

    /// @dev Delivers as `who`, with `gasGiven` or plenty for zero.
    function attempt(address who, Signed memory signed, Batch[] memory batches, uint256 gasGiven)
        internal
        returns (bool success, uint256 used, uint256 earned, bytes memory reason)
    {
        bytes memory call = abi.encodeCall(GROUP.deliver, (signed.checkpoint, signed.signature, batches));
        uint256 credit = GROUP.credit(who);
        vm.fee(PRICE);
        vm.txGasPrice(PRICE);
        vm.prank(who);
        uint256 before = gasleft();
        (success, reason) = address(GROUP).call{gas: gasGiven == 0 ? GAS_PLENTY : gasGiven}(call);
        used = before - gasleft();
        earned = GROUP.credit(who) - credit;
        if (!success && gasGiven == 0) excused(reason);
        vm.assertLe(earned, costOf(call, used) * PRICE, "paid for more than it did");
    }

    /// @dev What a delivery would come to, with `gasGiven` or plenty for zero.
    function tried(Signed memory signed, Batch[] memory batches, uint256 gasGiven)
        internal
        returns (Trial memory trial)
    {
        try this.undo(signed, batches, gasGiven) {}
        catch (bytes memory result) {
            vm.assertEq(bytes32(bytes4(result)), bytes32(Undone.selector), "trial");
            assembly ("memory-safe") {
                // Behind the selector stand the five words of a trial.
                mcopy(trial, add(result, 0x24), 0xa0)
            }
        }
    }

    /// @notice Delivers, says what came of it, and undoes it.
    function undo(Signed calldata signed, Batch[] calldata batches, uint256 gasGiven) external {
        Trial memory trial;
        bytes memory reason;
        (trial.success, trial.used, trial.earned, reason) = attempt(address(this), signed, batches, gasGiven);
        if (bytes4(reason) == IGroup.InsufficientGas.selector) {
            (,, uint256 left, uint256 needed) = abi.decode(tail(reason), (bytes32, uint64, uint256, uint256));
            trial.short = needed - left;
        }
        trial.heads = heads();
        revert Undone(trial);
    }

    function tail(bytes memory reason) private pure returns (bytes memory data) {
        data = new bytes(reason.length - 4);
        assembly ("memory-safe") {
            mcopy(add(data, 0x20), add(reason, 0x24), mload(data))
        }
    }

    function heads() internal view returns (bytes32 hash) {
        for (uint256 box; box < BOXES; ++box) {
            hash = keccak256(abi.encode(hash, GROUP.head(processOf(box))));
        }
    }

    /// @dev With plenty of gas, only these stop a delivery of what the members signed.
    function excused(bytes memory reason) private view {
        bytes4 selector = bytes4(reason);
        if (selector == IGroup.Halted.selector) return vm.assertTrue(GROUP.halted(), "halted");
        vm.assertEq(bytes32(selector), bytes32(IGroup.StrictBlocked.selector), "refused");
        bytes32 process;
        assembly ("memory-safe") {
            process := mload(add(reason, 0x24))
        }
        // It may have become strict by an update in this very delivery.
        vm.assertTrue(boxOf(process) < ACTORS, "blocked");
    }

    /// @dev What a transaction with this call takes at most: what it used, and the floor price of its calldata (EIP-7623).
    function costOf(bytes memory call, uint256 used) private pure returns (uint256 cost) {
        uint256 zeros;
        for (uint256 i; i < call.length; ++i) {
            if (call[i] == 0) ++zeros;
        }
        uint256 others = call.length - zeros;
        cost = used + 21_000 + 4 * zeros + 16 * others;
        uint256 floor = 21_000 + 10 * zeros + 40 * others;
        if (cost < floor) cost = floor;
        return cost * 110 / 100;
    }

    /// @dev Delivers and keeps books. Each mailbox comes to the end of its batch, or waits, being strict.
    function deliverAs(address who, Signed memory signed, Batch[] memory batches, uint256 gasGiven) internal {
        uint256[] memory before = new uint256[](batches.length);
        for (uint256 i; i < batches.length; ++i) {
            before[i] = done[boxOf(batches[i].process)];
        }
        vm.recordLogs();
        (_delivered, _used, _earned,) = attempt(who, signed, batches, gasGiven);
        look();
        if (!_delivered) return;
        vm.assertFalse(GROUP.halted(), "delivered while halted");
        for (uint256 i; i < batches.length; ++i) {
            uint256 box = boxOf(batches[i].process);
            uint256 end = signed.counts[box];
            if (batches[i].first > before[i] || done[box] >= end) continue;
            vm.assertTrue(
                GROUP.processInfo(processOf(box)).policy == Policy.STRICT, "a mailbox waits that is not strict"
            );
        }
    }

    /* BOOKS */

    /// @dev Takes note of how far the mailboxes are, and of the events.
    function look() internal {
        for (uint256 box; box < BOXES; ++box) {
            bytes32 head = GROUP.head(processOf(box));
            while (MEMBERS.headAt(box, done[box]) != head) {
                Message storage message = _posted[box][done[box]++];
                broughtIn[message.asset] += message.amount;
                wanted[processOf(box)][message.asset] += message.amount;
            }
        }
        Log[] memory logs = vm.getRecordedLogs();
        uint256 last = GROUP.outboundNonce();
        // Logs are there of reverted calls as well: of those with one number, the last one counts.
        uint256[] memory place = new uint256[](last - outbounds);
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter != address(GROUP)) continue;
            bytes32 selector = logs[i].topics[0];
            if (selector == IGroup.Outbound.selector) {
                uint256 nonce = uint256(logs[i].topics[1]);
                if (nonce < last) place[nonce - outbounds] = i + 1;
            } else if (logs[i].topics.length > 2) {
                settle(selector, logs[i]);
            }
        }
        for (uint256 i; i < place.length; ++i) {
            vm.assertTrue(place[i] != 0, "outbounds have no gap");
            pay(logs[place[i] - 1]);
        }
        outbounds = last;
    }

    function pay(Log memory log) private {
        (uint64 sequence, bytes32 asset, uint256 amount,,) =
            abi.decode(log.data, (uint64, bytes32, uint256, bytes, bytes));
        vm.assertEq(sequence, GROUP.sequence(), "an outbound carries the accepted sequence");
        wanted[log.topics[2]][asset] -= amount;
        paidOut[asset] += amount;
    }

    function settle(bytes32 selector, Log memory log) private {
        bool fails = selector == IGroup.Failed.selector;
        if (!fails && selector != IGroup.Retried.selector && selector != IGroup.Claimed.selector) return;
        (bytes32 process, uint256 nonce) = (log.topics[1], uint256(log.topics[2]));
        Message storage message = _posted[boxOf(process)][nonce];
        (bytes32 asset, uint256 amount) = (message.asset, message.amount);
        if (!fails) {
            wanted[process][asset] += amount;
            setApart[asset] -= amount;
            return;
        }
        (uint8 policy,) = abi.decode(log.data, (uint8, uint256));
        if (message.kind == MessageKind.CALL) healthyOnesSucceed(boxOf(process));
        if (policy != Policy.PARK) return;
        vm.assertEq(message.kind, MessageKind.CALL, "only calls are parked");
        wanted[process][asset] -= amount;
        setApart[asset] += amount;
        parked.push(Parked(boxOf(process), nonce));
    }

    /// @dev A call fails where the process fails or is not alive, never for the gas that a deliverer chose.
    function healthyOnesSucceed(uint256 box) private view {
        if (box >= ACTORS || address(actors[box]).code.length == 0) return;
        Status status = GROUP.processInfo(processOf(box)).status;
        bool well = actors[box].mode() == Actor.Mode.Keep && status == Status.Alive;
        vm.assertFalse(well, "a healthy call failed");
    }

    function parkedAt(uint256 which) internal view returns (uint256 box, Message memory message) {
        Parked storage one = parked[which % parked.length];
        return (one.box, _posted[one.box][one.nonce]);
    }

    function forget(uint256 which) internal {
        parked[which % parked.length] = parked[parked.length - 1];
        parked.pop();
    }
}
