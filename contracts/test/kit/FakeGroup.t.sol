// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {FakeGroup, Payout} from "../../kit/FakeGroup.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, Message, MessageKind, ProcessInfo} from "../../src/types/Messages.sol";
import {GroupTest} from "../helpers/GroupTest.sol";
import {Signed} from "../helpers/Members.sol";
import {Log} from "../helpers/Vm.sol";
import {MockProcess} from "../mocks/MockProcess.sol";

/// @notice The fake group of the kit against the real one: the same messages, the same processes, the same outcome.
contract FakeGroupTest is GroupTest {
    uint256 private constant BOXES = 3;
    uint256 private constant STEPS = 24;
    uint32 private constant LIMIT = 400_000;
    /// @dev A payout costs a little more at the fake group, which keeps it for the test.
    uint256 private constant GAS_TOLERANCE = 8000;

    FakeGroup private fake;
    /// @dev Of each mailbox, the contract at the real group and its twin at the fake one. The last one has not bound.
    MockProcess[BOXES] private reals;
    MockProcess[BOXES] private twins;
    /// @dev What was posted to a mailbox behind its registration.
    mapping(uint256 box => Message[]) private posted;

    function setUp() public override {
        super.setUp();
        fake = new FakeGroup();
        fake.accept(members.sequence());
        for (uint256 box; box < BOXES; ++box) {
            bytes32 bound_ = box + 1 < BOXES ? processOf(box) : bytes32(0);
            reals[box] = new MockProcess(group, bound_);
            twins[box] = new MockProcess(fake, bound_);
            bytes memory reentry = abi.encodeCall(IGroup.send, (XIN, 1, abi.encode(ALICE), "again"));
            reals[box].setReentry(reentry);
            twins[box].setReentry(reentry);
            members.open(processOf(box));
        }
    }

    /* REFUSALS OF THE FAKE ITSELF */

    function test_RefusesAMessageOutOfOrder() public {
        Message memory message = Message(MessageKind.CALL, 1, 1, 1, ALICE, XIN, 5, "");
        vm.expectRevert(abi.encodeWithSelector(FakeGroup.WrongNonce.selector, 0, 1));
        fake.deliverMessage(PROCESS, message);
    }

    function test_RefusesWhatWasNotSent() public {
        Payout memory expected = Payout(processOf(0), XIN, 5, abi.encode(ALICE), "hello");
        vm.expectRevert(abi.encodeWithSelector(FakeGroup.NoPayout.selector, expected));
        fake.expectOutbound(processOf(0), XIN, 5, ALICE, "hello");

        fake.register(processOf(0), address(twins[0]));
        fake.deliver(processOf(0), ALICE, XIN, 5, "");
        twins[0].send(XIN, 4, abi.encode(ALICE), "hello");
        Payout memory found = Payout(processOf(0), XIN, 4, abi.encode(ALICE), "hello");
        vm.expectRevert(abi.encodeWithSelector(FakeGroup.OtherPayout.selector, expected, found));
        fake.expectOutbound(processOf(0), XIN, 5, ALICE, "hello");
        vm.expectRevert(abi.encodeWithSelector(FakeGroup.UnexpectedPayout.selector, found));
        fake.expectNothing();

        fake.expectOutbound(processOf(0), XIN, 4, ALICE, "hello");
        fake.expectNothing();
    }

    function test_RefusesEverythingWhileHalted() public {
        fake.register(processOf(0), address(twins[0]));
        fake.deliver(processOf(0), ALICE, XIN, 5, "");
        fake.halt(true);
        vm.expectRevert(IGroup.Halted.selector);
        fake.deliver(processOf(0), ALICE, XIN, 5, "");
        vm.expectRevert(IGroup.Halted.selector);
        twins[0].send(XIN, 5, abi.encode(ALICE), "");
        fake.halt(false);
        twins[0].send(XIN, 5, abi.encode(ALICE), "");
    }

    function test_RefusesTooLittleGas() public {
        fake.register(processOf(0), address(twins[0]));
        bytes memory call_ = abi.encodeCall(fake.bounce, (processOf(0), XIN, 5));
        (bool done, bytes memory reason) = address(fake).call{gas: 350_000}(call_);
        vm.assertFalse(done);
        vm.assertEq(bytes32(reason) & bytes32(bytes4(0xffffffff)), bytes32(IGroup.InsufficientGas.selector));
    }

    /* REFUSALS OF BOTH, IN THE SAME WORDS */

    function test_RefusesTheSamePayouts() public {
        start();
        step(1, 0, 0);
        bytes memory alice = abi.encode(ALICE);
        refusesBoth(XIN, 0, alice, "");
        refusesBoth(XIN, uint256(type(uint128).max) + 1, alice, "");
        refusesBoth(XIN, 1e30, alice, "");
        refusesBoth(XIN, 1, "", "");
        refusesBoth(XIN, 1, new bytes(32), "");
        refusesBoth(XIN, 1, hex"020201", "");
        refusesBoth(XIN, 1, alice, new bytes(201));
        refusesBoth(keccak256("nothing"), 1, alice, "");
        bytes[2] memory reasons;
        for (uint256 i; i < 2; ++i) {
            try (i == 0 ? reals : twins)[2].send(XIN, 1, alice, "") returns (uint64) {
                revert("sent");
            } catch (bytes memory reason) {
                vm.assertEq(bytes32(reason) & bytes32(bytes4(0xffffffff)), bytes32(IGroup.NotLive.selector));
                reasons[i] = reason;
            }
        }
        vm.assertEq(reasons[0].length, reasons[1].length);
    }

    function refusesBoth(bytes32 asset, uint256 amount, bytes memory recipient, bytes memory memo) private {
        bytes memory wanted;
        try reals[0].send(asset, amount, recipient, memo) returns (uint64) {
            revert("sent");
        } catch (bytes memory reason) {
            wanted = reason;
        }
        vm.expectRevert(wanted);
        twins[0].send(asset, amount, recipient, memo);
    }

    function test_NamesAssets() public {
        fake.nameAsset(XIN, "Mixin", "XIN");
        (string memory name, string memory symbol) = fake.assetInfo(XIN);
        vm.assertEq(bytes(name), "Mixin");
        vm.assertEq(bytes(symbol), "XIN");
    }

    function test_RefusesTheSameBindings() public {
        for (uint256 i; i < 2; ++i) {
            IGroup one = i == 0 ? group : fake;
            one.bind(PROCESS);
            one.bind(PROCESS);
            vm.expectRevert(IGroup.InvalidProcess.selector);
            one.bind(0);
            vm.expectRevert(abi.encodeWithSelector(IGroup.AlreadyBound.selector, PROCESS));
            one.bind(OTHER);
            vm.assertTrue(one.bound(address(this)));
            vm.assertEq(one.processOf(address(this)), PROCESS);
        }
    }

    /* THE SAME OUTCOME */

    /// @dev The stated gas of a payout: a process that just fits its limit in a test must fit it in the world.
    function test_ACallCostsTheSame() public {
        start();
        for (uint256 mode; mode <= uint256(type(MockProcess.Mode).max); ++mode) {
            // Twice, for the first payment of an asset brings its slot into use.
            for (uint256 i; i < 2; ++i) {
                setMode(0, MockProcess.Mode(mode));
                step(0, i, 7);
            }
        }
    }

    /// @dev A strict process is delivered message by message here: the one that fails reverts with both, and again later.
    function test_WaitsLikeTheRealGroup() public {
        start();
        members.post(0, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(uint8(4), uint32(0)));
        deliver(0, 1);
        fake.update(processOf(0), 4, 0);
        members.post(0, MessageKind.CALL, ALICE, XIN, 5, "");
        Signed memory signed = members.sign();
        Batch[] memory batches = list(members.batch(signed, 0, 2));
        setMode(0, MockProcess.Mode.Revert);
        bytes memory reason = abi.encodeWithSelector(IGroup.StrictBlocked.selector, processOf(0), 2);
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(reason);
            group.deliver(signed.checkpoint, signed.signature, batches);
            vm.expectRevert(reason);
            fake.deliver(processOf(0), ALICE, XIN, 5, "");
        }
        setMode(0, MockProcess.Mode.Keep);
        deliver(signed, batches);
        vm.assertTrue(fake.deliver(processOf(0), ALICE, XIN, 5, ""));
        vm.assertEq(group.custody(processOf(0), XIN), fake.custody(processOf(0), XIN));
    }

    /// @dev The words of ERC-7786, good and bad.
    function test_SendsTheSameMessages() public {
        start();
        members.post(0, MessageKind.CALL, ALICE, XIN, 9, "");
        deliver(0, 1);
        fake.deliver(processOf(0), ALICE, XIN, 9, "");
        bytes memory to = abi.encodePacked(hex"00014c530020", ALICE);
        bytes memory transfer = abi.encodeWithSelector(bytes4(keccak256("transfer(bytes32,uint256)")), XIN, 1);
        sendsBoth(to, transfer, 1);
        sendsBoth(to, transfer, 2);
        sendsBoth(to, abi.encodePacked(transfer, hex"00"), 1);
        sendsBoth(to, "other", 1);
        sendsBoth(abi.encodePacked(to, hex"00"), transfer, 1);
        sendsBoth(hex"00014c530000", transfer, 1);
        sendsBoth(abi.encodePacked(hex"000100000020", ALICE), transfer, 1);
        sendsBoth("", transfer, 1);
        vm.assertEq(fake.outboundNonce(), 1);
    }

    function sendsBoth(bytes memory to, bytes memory attribute, uint256 count) private {
        bytes[] memory attributes = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            attributes[i] = attribute;
        }
        bytes memory call_ = abi.encodeCall(FakeGroup.sendMessage, (to, "memo", attributes));
        vm.prank(address(reals[0]));
        (bool done, bytes memory answer) = address(group).call(call_);
        vm.prank(address(twins[0]));
        (bool doneByFake, bytes memory answerOfFake) = address(fake).call(call_);
        vm.assertTrue(done == doneByFake, "sent");
        vm.assertEq(answer, answerOfFake, "answer");
        vm.assertEq(group.outboundNonce(), fake.outboundNonce());
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_BehavesLikeTheRealGroup(uint256 seed) public {
        start();
        for (uint256 i; i < STEPS; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 box = seed % BOXES;
            if (seed >> 8 & 3 == 0) setMode(box, MockProcess.Mode((seed >> 16) % 8));
            if (seed >> 24 & 7 == 0) paySomething(box, seed >> 32);
            else if (seed >> 24 & 7 == 1) goBackTo(box, seed >> 32);
            else step(seed % 4, seed >> 64, seed >> 128);
        }
    }

    /* INTERNALS: WHAT HAPPENS TO BOTH */

    function start() private {
        vm.recordLogs();
        for (uint256 box; box < BOXES; ++box) {
            // The second one parks what fails.
            uint8 flags = box == 1 ? 2 : 0;
            members.register(box, address(reals[box]), flags, LIMIT);
            deliver(box, 0);
            bytes memory payload = abi.encodePacked(twins[box], flags, LIMIT);
            Message memory twin = Message(MessageKind.REGISTER, 0, members.sequence(), 1, 0, 0, 0, payload);
            fake.deliverMessage(processOf(box), twin);
        }
        compare();
    }

    function setMode(uint256 box, MockProcess.Mode mode) private {
        reals[box].setMode(mode);
        twins[box].setMode(mode);
    }

    function paySomething(uint256 box, uint256 dice) private {
        bytes32 asset = dice & 1 == 0 ? XIN : BTC;
        uint256 amount = (dice >> 8) % 10;
        bool[2] memory sent;
        for (uint256 i; i < 2; ++i) {
            (sent[i],) = address((i == 0 ? reals : twins)[box])
                .call(abi.encodeCall(MockProcess.send, (asset, amount, abi.encode(BOB), "out of turn")));
        }
        vm.assertTrue(sent[0] == sent[1], "sent");
        compare();
    }

    /// @dev Retries or claims a message, which is parked or not.
    function goBackTo(uint256 box, uint256 dice) private {
        if (posted[box].length == 0) return;
        Message memory message = posted[box][(dice >> 8) % posted[box].length];
        if (dice & 6 == 0) message.amount += 1;
        bytes memory call_ = dice & 1 == 0
            ? abi.encodeCall(IGroup.retry, (processOf(box), message))
            : abi.encodeCall(IGroup.claim, (processOf(box), message));
        (bool done, bytes memory reason) = address(group).call(call_);
        (bool doneByFake, bytes memory reasonOfFake) = address(fake).call(call_);
        vm.assertTrue(done == doneByFake, "retried or claimed");
        // A process that is not called names its target, which is not the same.
        if (bytes4(reason) != IGroup.NotLive.selector) vm.assertEq(reason, reasonOfFake, "reason");
        compare();
    }

    /// @dev One to three messages of one mailbox under one checkpoint.
    function step(uint256 box, uint256 count, uint256 dice) private {
        box = box % BOXES;
        uint256 first = members.count(box);
        Message[] memory messages = new Message[](1 + count % 3);
        for (uint256 i; i < messages.length; ++i) {
            messages[i] = post(box, dice >> (i * 24));
            posted[box].push(messages[i]);
        }
        Signed memory signed = members.sign();
        deliver(signed, box, first);
        fake.accept(signed.checkpoint.sequence);
        for (uint256 i; i < messages.length; ++i) {
            fake.deliverMessage(processOf(box), messages[i]);
        }
        compare();
    }

    function post(uint256 box, uint256 dice) private returns (Message memory) {
        bytes32 asset = dice & 1 == 0 ? XIN : BTC;
        uint256 amount = (dice >> 1) % 64;
        bytes32 sender = bytes32((dice >> 7) % 3);
        uint256 kind = (dice >> 9) % 32;
        if (kind == 0) return members.post(box, MessageKind.CLOSE, 0, 0, 0, "");
        if (kind == 1 || kind == 5) {
            // To refunds or to parking, with another limit or the one that it has.
            uint8 flags = uint8(dice >> 14) & 2;
            return
                members.post(
                    box, MessageKind.UPDATE, 0, 0, 0, abi.encodePacked(flags, dice & 1 == 0 ? uint32(0) : LIMIT)
                );
        }
        if (kind == 2) return members.post(box, MessageKind.UPDATE, 0, 0, 0, "nonsense");
        if (kind == 3) {
            return members.post(box, MessageKind.REGISTER, 0, 0, 0, abi.encodePacked(reals[box], uint40(0)));
        }
        if (kind == 4) return members.post(box, 99, 0, 0, 0, "");
        if (kind < 9) return members.post(box, MessageKind.BOUNCE, 0, asset, amount + 1, "");
        return members.post(box, MessageKind.CALL, sender, amount == 0 ? bytes32(0) : asset, amount, "payload");
    }

    /* INTERNALS: WHAT CAME OF IT */

    function compare() private {
        vm.assertEq(group.sequence(), fake.sequence(), "sequence");
        vm.assertEq(group.outboundNonce(), fake.outboundNonce(), "outbounds");
        for (uint256 box; box < BOXES; ++box) {
            bytes32 process = processOf(box);
            vm.assertEq(group.custody(process, XIN), fake.custody(process, XIN), "custody of XIN");
            vm.assertEq(group.custody(process, BTC), fake.custody(process, BTC), "custody of BTC");
            // The first message holds an address, which is the only thing that differs: heads differ, their count must not.
            vm.assertEq(reals[box].received(), twins[box].received(), "received");
            vm.assertTrue(reals[box].reentered() == twins[box].reentered(), "reentered");
            ProcessInfo memory info = group.processInfo(process);
            ProcessInfo memory twin = fake.processInfo(process);
            vm.assertEq(info.gasLimit, twin.gasLimit, "gas limit");
            vm.assertEq(uint256(info.flags) << 8 | uint8(info.status), uint256(twin.flags) << 8 | uint8(twin.status));
            vm.assertEq(info.policy, twin.policy, "policy");
            for (uint64 nonce = 1; nonce <= posted[box].length; ++nonce) {
                (bytes32 hash, uint64 time) = group.parked(process, nonce);
                (bytes32 hashOfTwin, uint64 timeOfTwin) = fake.parked(process, nonce);
                vm.assertEq(hash, hashOfTwin, "parked");
                vm.assertEq(time, timeOfTwin, "time of parking");
            }
        }
        compareLogs(vm.getRecordedLogs());
    }

    /// @dev The same events in the same order, but for gas, and for what only signatures bring.
    function compareLogs(Log[] memory logs) private view {
        uint256 other;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter != address(group) || !isCompared(logs[i])) continue;
            while (other < logs.length && (logs[other].emitter != address(fake) || !isCompared(logs[other]))) ++other;
            vm.assertLt(other, logs.length, "the fake said less");
            compareLog(logs[i], logs[other++]);
        }
        for (; other < logs.length; ++other) {
            vm.assertFalse(logs[other].emitter == address(fake) && isCompared(logs[other]));
        }
    }

    function isCompared(Log memory log) private pure returns (bool) {
        return log.topics[0] != IGroup.Accepted.selector && log.topics[0] != IGroup.Delivered.selector
            && log.topics[0] != IGroup.Bound.selector;
    }

    function compareLog(Log memory real, Log memory twin) private pure {
        vm.assertEq(real.topics[0], twin.topics[0], "event");
        vm.assertEq(real.topics[1], twin.topics[1], "first topic");
        if (real.topics[0] == IGroup.Failed.selector) {
            vm.assertEq(real.topics[2], twin.topics[2], "nonce");
            (uint256 policy, uint256 gasUsed) = abi.decode(real.data, (uint256, uint256));
            (uint256 policyOfTwin, uint256 gasOfTwin) = abi.decode(twin.data, (uint256, uint256));
            vm.assertEq(policy, policyOfTwin, "policy");
            vm.assertLe(gasUsed, gasOfTwin + GAS_TOLERANCE, "gas");
            vm.assertLe(gasOfTwin, gasUsed + GAS_TOLERANCE, "gas of the fake");
        } else {
            vm.assertEq(real.data, twin.data, "data");
        }
    }

    function processOf(uint256 box) private pure returns (bytes32) {
        return bytes32(uint256(PROCESS) + box);
    }
}
