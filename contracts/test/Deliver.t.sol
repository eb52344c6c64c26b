// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, Message, MessageKind} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Members, Signed} from "./helpers/Members.sol";
import {Log} from "./helpers/Vm.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Checkpoints, proofs and order. What a call does is in DeliverCalls.t.sol.
contract DeliverTest is GroupTest {
    uint256 private box;
    MockProcess private target;
    uint256 private otherBox;
    MockProcess private other;

    function setUp() public override {
        super.setUp();
        (box, target) = newLiveProcess(PROCESS);
        (otherBox, other) = newLiveProcess(OTHER);
    }

    /* THE CHECKPOINT: REFUSALS */

    function test_RefusesAnotherGroupsSignature() public {
        Members strangers = newMembers(SECRET + 1, GROUP_ID);
        uint256 theirs = strangers.open(PROCESS);
        strangers.register(theirs, address(target), 0, GAS_LIMIT);
        Signed memory signed = strangers.sign();
        Batch[] memory batches = list(strangers.batch(signed, theirs, 0));
        refuses(signed, batches, abi.encodeWithSelector(IGroup.InvalidSignature.selector));
    }

    function test_RefusesASignatureForAnotherGroupId() public {
        Members namesakes = newMembers(SECRET, keccak256("another group of the same members"));
        uint256 theirs = namesakes.open(PROCESS);
        namesakes.register(theirs, address(target), 0, GAS_LIMIT);
        Signed memory signed = namesakes.sign();
        Batch[] memory batches = list(namesakes.batch(signed, theirs, 0));
        refuses(signed, batches, abi.encodeWithSelector(IGroup.InvalidSignature.selector));
    }

    function test_RefusesASignatureAtInfinity() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        signed.signature = new bytes(128);
        refusesSignature(signed);
    }

    function test_RefusesEachChangedPartOfTheCheckpoint() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        signed.checkpoint.sequence += 1;
        refusesSignature(signed);
        signed.checkpoint.sequence -= 1;
        signed.checkpoint.history = keccak256("another history");
        refusesSignature(signed);
        signed = members.sign();
        signed.checkpoint.root = keccak256("another root");
        refusesSignature(signed);
    }

    /// @dev The cached digest excuses from the pairing for exactly one checkpoint, not for its neighbours.
    function test_RefusesAChangedCheckpointAfterItWasAccepted() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        deliver(signed, box, 1);
        signed.signature = "";
        deliver(signed, box, 1);
        signed.checkpoint.history = keccak256("another history");
        refusesSignature(signed);
    }

    function test_RefusesASequenceThatDoesNotFit() public {
        Signed memory signed = members.sign();
        signed.checkpoint.sequence = 1 << 40;
        signed = members.resign(signed);
        refuses(signed, new Batch[](0), abi.encodeWithSelector(IGroup.SequenceTooLarge.selector, 1 << 40));
    }

    function test_AcceptsTheLargestSequenceThatFits() public {
        Signed memory signed = members.sign();
        signed.checkpoint.sequence = (1 << 40) - 1;
        signed = members.resign(signed);
        group.deliver(signed.checkpoint, signed.signature, new Batch[](0));
        vm.assertEq(group.sequence(), (1 << 40) - 1);
    }

    /* THE BATCH: REFUSALS */

    function testFuzz_RefusesAChangedByte(uint256 place) public {
        post(box, ALICE, 5, "one");
        post(box, BOB, 6, "two, a longer payload than the first");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        place = bound(place, 0, batch.messages.length - 1);
        batch.messages[place] ^= 0x01;
        // A changed length breaks the records; any other byte breaks the chain of hashes.
        uint256 second = 101 + 3;
        bool inLength = place % second >= 97 && place % second < 101 && place < second;
        inLength = inLength || (place >= second + 97 && place < second + 101);
        vm.expectRevert(inLength ? new bytes(0) : abi.encodeWithSelector(IGroup.InvalidProof.selector, PROCESS));
        this.deliverOrBare(signed, batch, inLength);
    }

    /// @dev With `bare`, any refusal of the batch counts: it is turned into one without data.
    function deliverOrBare(Signed calldata signed, Batch calldata batch, bool bare) external {
        try group.deliver(signed.checkpoint, signed.signature, list(batch)) {}
        catch (bytes memory reason) {
            bytes4 selector = bytes4(reason);
            vm.assertTrue(selector == IGroup.InvalidProof.selector || selector == IGroup.MalformedMessages.selector);
            if (bare) revert();
            assembly ("memory-safe") {
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }

    function test_RefusesEachTruncation() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        bytes memory whole = batch.messages;
        for (uint256 length = 1; length < whole.length; ++length) {
            bytes memory part = new bytes(length);
            for (uint256 i; i < length; ++i) {
                part[i] = whole[i];
            }
            batch.messages = part;
            refuses(signed, list(batch), abi.encodeWithSelector(IGroup.MalformedMessages.selector, PROCESS));
        }
        batch.messages = bytes.concat(whole, hex"00");
        refuses(signed, list(batch), abi.encodeWithSelector(IGroup.MalformedMessages.selector, PROCESS));
    }

    function test_RefusesAHugeLength() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        for (uint256 i = 97; i < 101; ++i) {
            batch.messages[i] = 0xff;
        }
        refuses(signed, list(batch), abi.encodeWithSelector(IGroup.MalformedMessages.selector, PROCESS));
    }

    function test_RefusesEachChangedPartOfTheBatch() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        batch.first = 2;
        refusesProof(signed, batch);
        batch.first = 0;
        refusesProof(signed, batch);

        batch = members.batch(signed, box, 1);
        batch.head = 0;
        refusesProof(signed, batch);

        batch = members.batch(signed, box, 1);
        batch.process = OTHER;
        refusesProof(signed, batch);

        batch = members.batch(signed, box, 1);
        batch.messages = "";
        refusesProof(signed, batch);
    }

    function test_RefusesEachChangedPartOfTheProof() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        for (uint256 level; level < batch.proof.length; ++level) {
            bytes32 sibling = batch.proof[level];
            batch.proof[level] = keccak256("another sibling");
            refusesProof(signed, batch);
            batch.proof[level] = sibling;
        }
        batch.index = uint32(otherBox + 1);
        refusesProof(signed, batch);
        // Bits above the depth must be zero, or one leaf would have many indices.
        batch.index = uint32(box + 1 + 2 ** batch.proof.length);
        refusesProof(signed, batch);
    }

    function test_RefusesALongerOrShorterProof() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        batch.proof = new bytes32[](batch.proof.length - 1);
        refusesProof(signed, batch);
        batch.proof = new bytes32[](33);
        refusesProof(signed, batch);
    }

    function test_RefusesTheProofOfAnotherChain() public {
        refusesForeign(block.chainid + 1, address(group), INSTANCE);
    }

    function test_RefusesTheProofOfAnotherContract() public {
        refusesForeign(block.chainid, address(newGroup(group.key())), INSTANCE);
    }

    function test_RefusesTheProofOfAnotherInstance() public {
        refusesForeign(block.chainid, address(group), keccak256("another deployment"));
    }

    /// @dev A fork of the chain takes the other id, and refuses from then on.
    function test_RefusesAfterTheChainTookAnotherId() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        vm.chainId(block.chainid + 1);
        refusesProof(signed, members.batch(signed, box, 1));
    }

    function test_RefusesTheProofOfAnotherProcess() public {
        post(otherBox, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, otherBox, 1);
        batch.process = PROCESS;
        refusesProof(signed, batch);
    }

    /// @dev A refused batch takes the whole delivery with it, also what was good before it.
    function test_RefusesAllBatchesForOne() public {
        post(box, ALICE, 5, "hello");
        post(otherBox, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch memory bad = members.batch(signed, otherBox, 1);
        bad.proof[0] = keccak256("another sibling");
        Batch[] memory batches = list(members.batch(signed, box, 1), bad);
        refuses(signed, batches, abi.encodeWithSelector(IGroup.InvalidProof.selector, OTHER));
        vm.assertEq(target.received(), 0);
    }

    function test_RefusesDeliveryInsideOfADelivery() public {
        post(box, ALICE, 5, "hello");
        post(otherBox, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        Batch[] memory inner = list(members.batch(signed, otherBox, 1));
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, inner)));
        deliver(signed, box, 1);
        vm.assertEq(target.received(), 1);
        vm.assertFalse(target.reentered());
        vm.assertEq(other.received(), 0);
        vm.assertEq(group.head(OTHER), members.headAt(otherBox, 1));
        // The lock is gone afterwards.
        deliver(signed, otherBox, 1);
        vm.assertEq(other.received(), 1);
    }

    /* SKIPPED WITHOUT A WORD */

    function test_SkipsWhatWasDelivered() public {
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        deliver(signed, box, 1);
        vm.recordLogs();
        deliver(signed, box, 1);
        deliver(signed, box, 0);
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(target.received(), 1);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    function test_SkipsWhatStartsBeyondTheMailbox() public {
        post(box, ALICE, 5, "one");
        post(box, ALICE, 6, "two");
        Signed memory signed = members.sign();
        deliver(signed, box, 2);
        vm.assertEq(target.received(), 0);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 1));
        deliver(signed, box, 1);
        vm.assertEq(target.received(), 2);
    }

    function test_SkipsWhatEndsBehindTheMailbox() public {
        post(box, ALICE, 5, "one");
        Signed memory early = members.sign();
        post(box, ALICE, 6, "two");
        Signed memory late = members.sign();
        deliver(late, box, 1);
        deliver(early, box, 1);
        vm.assertEq(target.received(), 2);
        vm.assertEq(group.head(PROCESS), members.headAt(box, 3));
        vm.assertEq(group.custody(PROCESS, XIN), 11);
    }

    function test_SkipsAnEmptyBatch() public {
        Signed memory signed = members.sign();
        deliver(signed, box, 1);
        vm.assertEq(target.received(), 0);
    }

    /* DELIVERED */

    function test_DeliversWithItsEvents() public {
        post(box, ALICE, 5, "one");
        post(box, BOB, 6, "two");
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Accepted(signed.checkpoint.sequence, signed.checkpoint.history, signed.checkpoint.root);
        vm.expectEmit(address(group));
        emit IGroup.Delivered(PROCESS, 1, 2);
        deliver(signed, box, 1);
        vm.assertEq(group.sequence(), signed.checkpoint.sequence);
        vm.assertEq(group.checkpointDigest(), members.digestOf(signed.checkpoint));
        vm.assertEq(group.head(PROCESS), members.headAt(box, 3));
        vm.assertEq(group.custody(PROCESS, XIN), 11);
    }

    /// @dev The receiver gets each field and the payload as posted, whatever its length.
    function testFuzz_HandsOverTheWholeMessage(bytes32 sender, bytes32 asset, uint128 amount, bytes calldata payload)
        public
    {
        Message memory posted = members.post(box, MessageKind.CALL, sender, asset, amount, payload);
        deliver(box, 1);
        vm.assertEq(abi.encode(target.receivedAt(0)), abi.encode(posted));
        vm.assertEq(group.custody(PROCESS, asset), amount);
    }

    function testFuzz_PassesOverWhatHasRun(uint256 count, uint256 done, uint256 from) public {
        count = bound(count, 1, 8);
        done = bound(done, 0, count);
        from = bound(from, 0, done + 1);
        Signed memory early;
        for (uint256 i; i < count; ++i) {
            if (i == done) early = members.sign();
            post(box, ALICE, i + 1, abi.encode(i));
        }
        if (done == count) early = members.sign();
        deliver(early, box, 1);
        vm.assertEq(target.received(), done);
        vm.recordLogs();
        deliver(members.sign(), box, from);
        vm.assertEq(target.received(), count);
        for (uint256 i; i < count; ++i) {
            vm.assertEq(uint256(target.receivedAt(i).nonce), i + 1);
        }
        Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(countLogs(logs, IGroup.Delivered.selector), count == done ? 0 : 1);
        vm.assertEq(group.custody(PROCESS, XIN), count * (count + 1) / 2);
    }

    /// @dev Messages of two processes, interleaved on the ledger and delivered in pieces, arrive in order at each.
    function testFuzz_KeepsTheOrderOfEachMailbox(uint256 seed) public {
        uint256[2] memory posted;
        uint256[2] memory boxes = [box, otherBox];
        for (uint256 step; step < 24; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 which = seed & 1;
            post(boxes[which], ALICE, 1, abi.encode(posted[which]++));
            if (seed & 14 == 0) {
                Signed memory signed = members.sign();
                Batch memory one = members.batch(signed, box, (seed >> 8) % 2);
                Batch memory two = members.batch(signed, otherBox, 1);
                deliver(signed, seed & 16 == 0 ? list(one, two) : list(two, one));
            }
        }
        deliver(box, 1);
        deliver(otherBox, 1);
        MockProcess[2] memory targets = [target, other];
        for (uint256 which; which < 2; ++which) {
            vm.assertEq(targets[which].received(), posted[which]);
            for (uint256 i; i < posted[which]; ++i) {
                vm.assertEq(targets[which].receivedAt(i).payload, abi.encode(i));
            }
        }
    }

    /// @dev The head is written before the calls, so the second batch finds all done.
    function test_RunsAMailboxOnceThatIsTwiceInADelivery() public {
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        Batch memory batch = members.batch(signed, box, 1);
        deliver(signed, list(batch, batch));
        vm.assertEq(target.received(), 1);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    function test_TakesAnOlderCheckpointAndKeepsTheNewest() public {
        post(box, ALICE, 5, "one");
        Signed memory early = members.sign();
        post(otherBox, ALICE, 6, "two");
        Signed memory late = members.sign();
        deliver(late, otherBox, 1);
        vm.recordLogs();
        deliver(early, box, 1);
        vm.assertEq(countLogs(vm.getRecordedLogs(), IGroup.Accepted.selector), 0);
        vm.assertEq(target.received(), 1);
        vm.assertEq(group.sequence(), late.checkpoint.sequence);
        vm.assertEq(group.checkpointDigest(), members.digestOf(late.checkpoint));
    }

    /// @dev Members never sign two of one sequence; if they did, the first would stay.
    function test_KeepsTheFirstCheckpointOfASequence() public {
        post(box, ALICE, 5, "one");
        Signed memory first = members.sign();
        deliver(first, new Batch[](0));
        Signed memory second = members.sign();
        vm.assertEq(second.checkpoint.sequence, first.checkpoint.sequence);
        vm.recordLogs();
        deliver(second, new Batch[](0));
        vm.assertEq(countLogs(vm.getRecordedLogs(), IGroup.Accepted.selector), 0);
        vm.assertEq(group.checkpointDigest(), members.digestOf(first.checkpoint));
    }

    function test_TakesACheckpointWithoutBatches() public {
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        deliver(signed, new Batch[](0));
        vm.assertEq(group.sequence(), signed.checkpoint.sequence);
        vm.assertEq(target.received(), 0);
    }

    /// @dev Anyone may deliver.
    function testFuzz_TakesItFromAnyone(address deliverer) public {
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, box, 1));
        vm.prank(deliverer);
        group.deliver(signed.checkpoint, signed.signature, batches);
        vm.assertEq(target.received(), 1);
    }

    /* HELPERS */

    function refusesSignature(Signed memory signed) private {
        Batch[] memory batches = list(members.batch(signed, box, 1));
        refuses(signed, batches, abi.encodeWithSelector(IGroup.InvalidSignature.selector));
    }

    function refusesProof(Signed memory signed, Batch memory batch) private {
        refuses(signed, list(batch), abi.encodeWithSelector(IGroup.InvalidProof.selector, batch.process));
        vm.assertEq(target.received(), 0);
    }

    /// @dev The same messages in the same mailbox, proved for another place.
    function refusesForeign(uint256 chain, address contract_, bytes32 instance) private {
        post(box, ALICE, 5, "hello");
        members.place(chain, contract_, instance);
        Signed memory signed = members.sign();
        refusesProof(signed, members.batch(signed, box, 1));
    }
}
