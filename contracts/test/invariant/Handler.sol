// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, GovernanceKind, Message, MessageKind, ProcessInfo, Status} from "../../src/types/Messages.sol";
import {Members, Signed} from "../helpers/Members.sol";
import {Actor} from "./Actor.sol";
import {Books} from "./Books.sol";

/// @notice What the world may do to a group contract: the ledger pays and decides, two deliverers race, processes misbehave.
/// @dev None of its functions may revert: `fail_on_revert` is set. What has come of it is kept in `Books`.
contract Handler is Books {
    uint256 private constant AMOUNT_MAX = 1e24;
    address private constant ANNA = address(0xa22a);
    address private constant BERT = address(0xbe27);

    /// @dev Gas that a delivery may cost more because of another one before it, but for a pairing that it makes needed again.
    uint256 private constant RACE_MAX = 6000;
    uint256 private constant PAIRING_MAX = 140_000;

    /// @dev A strict mailbox, until an update says otherwise.
    uint256 private constant STRICT = 2;

    constructor(IGroup group, Members members) Books(group, members) {}

    /* THE LEDGER */

    function pay(uint256 box, uint256 sender, uint256 asset, uint256 amount, uint8 length) external {
        amount = bound(amount, 0, AMOUNT_MAX);
        bytes32 from = bytes32(bound(sender, 0, 3));
        bytes memory payload = new bytes(length);
        for (uint256 i; i < length; i += 3) {
            payload[i] = 0xff;
        }
        post(box, MessageKind.CALL, from, amount == 0 ? bytes32(0) : assetOf(asset), amount, payload);
    }

    function bounce(uint256 box, uint256 asset, uint256 amount) external {
        post(box, MessageKind.BOUNCE, 0, assetOf(asset), bound(amount, 1, AMOUNT_MAX), "");
    }

    function update(uint256 box, uint8 flags, uint256 gas) external {
        uint32 limit = gas % 3 == 0 ? 0 : uint32(bound(gas, 200_000, 900_000));
        post(box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(flags & 7, limit));
    }

    /// @dev What makes no sense, and must be passed over.
    function nonsense(uint256 box, uint8 kind, bytes calldata payload) external {
        if (kind == MessageKind.CALL || kind == MessageKind.BOUNCE || kind == MessageKind.CLOSE) kind = 77;
        post(box, kind, 0, 0, 0, payload.length > 40 ? payload[:40] : payload);
    }

    /// @dev Rarely, for a closed mailbox stays closed.
    function close(uint256 box, uint256 dice) external {
        if (dice % 12 == 0) post(box, MessageKind.CLOSE, 0, 0, 0, "");
    }

    function sign() external {
        _signed.push(abi.encode(MEMBERS.sign()));
    }

    /* THE GROUP */

    function halt(uint256 dice) external {
        if (dice % 3 == 0) decide(GovernanceKind.HALT, "");
    }

    function resume() external {
        decide(GovernanceKind.RESUME, "");
    }

    function rotate(uint256 secret) external {
        secret = bound(secret, 1, 1 << 200);
        decide(GovernanceKind.ROTATE, rotation(secret, GROUP.keyGeneration() + 1));
        MEMBERS.take(secret);
        ++rotations;
    }

    function limits(uint64 tip, uint32 perByte) external {
        decide(GovernanceKind.REPAY, abi.encode(tip % 2 gwei, 10 + perByte % 31));
    }

    /* DELIVERERS */

    /// @dev Any checkpoint so far, two batches that start anywhere, perhaps of one mailbox.
    function deliver(uint256 checkpoint, uint256 boxes, uint256 firsts) external {
        Signed memory signed = signedAt(checkpoint);
        deliverAs(ANNA, signed, someBatches(signed, boxes, firsts), 0);
    }

    /// @dev The newest checkpoint, mailbox by mailbox, each from where it is, so that a strict one that waits delays no other.
    function deliverAll() public {
        _signed.push(abi.encode(MEMBERS.sign()));
        Signed memory signed = signedAt(_signed.length - 1);
        for (uint256 box; box < BOXES; ++box) {
            deliverNext(signed, box);
        }
    }

    /// @dev A deliverer picks any limit of gas. What then succeeds has done what more gas would have done.
    function squeeze(uint256 checkpoint, uint256 boxes, uint256 gasGiven) external {
        Signed memory signed = signedAt(checkpoint);
        Batch[] memory batches = nextBatches(signed, boxes);
        Trial memory free = tried(signed, batches, 0);
        if (!free.success) return;
        // The least that will do, as the contract says itself, and what is near it; or anything.
        uint256 least = free.used;
        for (uint256 i; i < 4 && gasGiven % 8 != 0; ++i) {
            uint256 short = tried(signed, batches, least).short;
            if (short == 0) break;
            least += short;
        }
        bool found = least != free.used;
        gasGiven = found ? least + gasGiven % 16_384 : bound(gasGiven, free.used / 2, 2 * free.used);
        deliverAs(ANNA, signed, batches, gasGiven);
        if (_delivered) vm.assertEq(heads(), free.heads, "less gas, other mailboxes");
    }

    /// @dev A race for a mailbox that waits in the midst of the batch: its first message runs, its second one never.
    function raceToAWall(uint256 other) external {
        set(STRICT, Actor.Mode.Keep);
        if (MEMBERS.count(STRICT) % 2 == 1) post(STRICT, MessageKind.CALL, 0, 0, 0, "");
        _signed.push(abi.encode(MEMBERS.sign()));
        deliverNext(signedAt(_signed.length - 1), STRICT);
        set(STRICT, Actor.Mode.RevertOdd);
        post(STRICT, MessageKind.CALL, 0, 0, 0, "");
        post(STRICT, MessageKind.CALL, 0, 0, 0, "");
        _signed.push(abi.encode(MEMBERS.sign()));
        race(_signed.length - 1, 0, STRICT | (other % BOXES) << 8, 0, false);
    }

    /// @dev Anna brings a part of what Bert brings, before him.
    function race(uint256 checkpoint, uint256 earlier, uint256 boxes, uint256 firsts, bool older) public {
        Signed memory signed = signedAt(checkpoint);
        Batch[] memory batches = nextBatches(signed, boxes);
        Trial memory alone = tried(signed, batches, 0);
        if (!alone.success) return;
        if (older) {
            Signed memory part = signedAt(earlier);
            deliverAs(ANNA, part, someBatches(part, boxes, firsts), 0);
        } else {
            deliverAs(ANNA, signed, list(batches[boxes >> 200 & 1]), 0);
        }
        bytes32 digest = GROUP.checkpointDigest();
        deliverAs(BERT, signed, batches, 0);
        vm.assertTrue(_delivered, "a front-run made a delivery fail");
        uint256 more = digest == MEMBERS.digestOf(signed.checkpoint) ? RACE_MAX : RACE_MAX + PAIRING_MAX;
        vm.assertLe(_used, alone.used + more, "a front-run made a delivery dearer");
        vm.assertLe(_earned, alone.earned + PAIRING_MAX * PRICE, "a front-run earned its victim more");
    }

    /* PROCESSES */

    function change(uint256 box, uint256 mode) external {
        set(box % ACTORS, Actor.Mode(mode % (uint256(type(Actor.Mode).max) + 1)));
    }

    /// @dev Well-behaved again, all of them: else nothing would go on for long.
    function behave() public {
        for (uint256 box; box < ACTORS; ++box) {
            set(box, Actor.Mode.Keep);
        }
    }

    /// @dev The target of one process destroys itself.
    function destroy(uint256 dice) external {
        if (dice % 8 == 0) vm.etch(address(actors[DESTROYED]), "");
    }

    function send(uint256 box, uint256 asset, uint256 amount) external {
        box %= ACTORS;
        if (address(actors[box]).code.length == 0) return;
        uint256 held = GROUP.custody(processOf(box), assetOf(asset));
        amount = bound(amount, 0, held + 1);
        ProcessInfo memory info = GROUP.processInfo(processOf(box));
        bool live = info.status == Status.Alive || info.status == Status.Closed;
        vm.recordLogs();
        (bool success,) =
            address(actors[box]).call(abi.encodeCall(Actor.send, (assetOf(asset), amount, bytes32(uint256(9)))));
        vm.assertTrue(success == (!GROUP.halted() && live && amount != 0 && amount <= held), "send");
        look();
    }

    /// @dev Somebody who is nobody.
    function sendAsStranger(uint256 asset, uint256 amount) external {
        (bool success,) = address(GROUP).call(abi.encodeCall(GROUP.send, (assetOf(asset), amount, abi.encode(1), "")));
        vm.assertFalse(success);
    }

    /* WHAT IS PARKED */

    function wait(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 4 days));
    }

    function retry(uint256 which) external {
        if (parked.length == 0) return;
        (uint256 box, Message memory message) = parkedAt(which);
        Actor actor = actors[box];
        bool here = address(actor).code.length != 0;
        if (here) actor.setRetrying(true);
        comeBack(which, abi.encodeCall(GROUP.retry, (processOf(box), message)));
        if (here) actor.setRetrying(false);
    }

    function claim(uint256 which) external {
        if (parked.length == 0) return;
        (uint256 box, Message memory message) = parkedAt(which);
        comeBack(which, abi.encodeCall(GROUP.claim, (processOf(box), message)));
    }

    /* TANKS */

    function fund(uint256 box, uint256 amount) external {
        box %= BOXES;
        amount = bound(amount, 1, 1e9) * 1 gwei;
        if (GROUP.processInfo(processOf(box)).status != Status.Alive) return;
        vm.deal(address(this), amount);
        GROUP.fund{value: amount}(processOf(box));
    }

    function withdraw(bool anna) external {
        address who = anna ? ANNA : BERT;
        if (GROUP.credit(who) < 2) return;
        vm.prank(who);
        GROUP.withdraw(who);
    }

    function reclaim(uint256 box) external {
        box %= ACTORS;
        bool closed = GROUP.processInfo(processOf(box)).status == Status.Closed;
        if (closed && address(actors[box]).code.length != 0) actors[box].reclaim();
    }

    /// @notice What tanks and credits are together.
    function owed() external view returns (uint256 sum) {
        for (uint256 box; box < BOXES; ++box) {
            sum += GROUP.processInfo(processOf(box)).tank;
            if (box < ACTORS) sum += GROUP.credit(address(actors[box]));
        }
        sum += GROUP.credit(ANNA) + GROUP.credit(BERT);
    }

    /* INTERNALS */

    function deliverNext(Signed memory signed, uint256 box) private {
        deliverAs(BERT, signed, list(nextBatch(signed, box)), 0);
    }

    /// @dev Two batches, from anywhere.
    function someBatches(Signed memory signed, uint256 boxes, uint256 firsts)
        private
        view
        returns (Batch[] memory made)
    {
        made = new Batch[](2);
        for (uint256 i; i < 2; ++i) {
            uint256 box = (boxes >> (i * 8)) % BOXES;
            made[i] = MEMBERS.batch(signed, box, (firsts >> (i * 8)) % (signed.counts[box] + 1));
        }
    }

    /// @dev Two batches of two mailboxes, from where they are now, as an honest deliverer would make them.
    function nextBatches(Signed memory signed, uint256 boxes) private view returns (Batch[] memory made) {
        uint256 first = boxes % BOXES;
        uint256 second = (first + 1 + (boxes >> 8) % (BOXES - 1)) % BOXES;
        made = new Batch[](2);
        made[0] = nextBatch(signed, first);
        made[1] = nextBatch(signed, second);
    }

    function nextBatch(Signed memory signed, uint256 box) private view returns (Batch memory) {
        return MEMBERS.batch(signed, box, done[box] < signed.counts[box] ? done[box] : signed.counts[box]);
    }

    function set(uint256 box, Actor.Mode mode) private {
        if (address(actors[box]).code.length != 0) actors[box].set(mode);
    }

    function comeBack(uint256 which, bytes memory call) private {
        vm.recordLogs();
        (bool success,) = address(GROUP).call(call);
        look();
        if (!success) return;
        forget(which);
        (bool again,) = address(GROUP).call(call);
        vm.assertFalse(again, "what was parked came back twice");
    }
}
