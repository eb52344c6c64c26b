// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, MessageKind} from "../../src/types/Messages.sol";
import {Members, Signed} from "../helpers/Members.sol";
import {Test} from "../helpers/Test.sol";
import {Log} from "../helpers/Vm.sol";
import {MockProcess} from "../mocks/MockProcess.sol";

/// @notice What the world may do to a group contract, and what it has seen come of it.
/// @dev None of its functions may revert: `fail_on_revert` is set.
contract Handler is Test {
    uint256 public constant PROCESSES = 4;
    uint256 public constant ASSETS = 2;
    uint32 private constant GAS_LIMIT = 400_000;
    uint256 private constant AMOUNT_MAX = 1e24;

    IGroup public immutable GROUP;
    Members public immutable MEMBERS;

    struct Payment {
        bytes32 asset;
        uint256 amount;
    }

    MockProcess[] public targets;
    mapping(uint256 box => Payment[]) private _posted;

    /// @notice Messages of each mailbox that have run.
    mapping(uint256 box => uint256) public done;
    /// @notice What all delivered messages brought.
    mapping(bytes32 asset => uint256) public broughtIn;
    /// @notice What all outbounds asked for.
    mapping(bytes32 asset => uint256) public paidOut;
    /// @notice Outbounds seen; each had the number that followed.
    uint256 public outbounds;
    /// @notice `Failed` events seen, of each mailbox.
    mapping(uint256 box => uint256) public failures;

    /// @notice Registrations and closings that have taken effect, of each mailbox.
    mapping(uint256 box => uint256) public controls;

    /// @dev The outbound seen last.
    Payment private _last;

    /// @dev Checkpoints of the past, encoded.
    bytes[] private _signed;

    constructor(IGroup group, Members members) {
        (GROUP, MEMBERS) = (group, members);
        for (uint256 box; box < PROCESSES; ++box) {
            // The last one does not bind: its mailbox is rejected.
            bool binds = box + 1 < PROCESSES;
            MockProcess target = new MockProcess(group, binds ? processOf(box) : bytes32(0));
            targets.push(target);
            members.open(processOf(box));
            members.register(box, address(target), 0, GAS_LIMIT);
            _posted[box].push(Payment(0, 0));
        }
        _signed.push(abi.encode(members.sign()));
    }

    /* THE LEDGER */

    function pay(uint256 box, uint256 sender, uint256 asset, uint256 amount) external {
        box = bound(box, 0, PROCESSES - 1);
        amount = bound(amount, 0, AMOUNT_MAX);
        bytes32 from = bytes32(bound(sender, 0, 3));
        post(box, MessageKind.CALL, from, amount == 0 ? bytes32(0) : assetOf(asset % ASSETS), amount);
    }

    function bounce(uint256 box, uint256 asset, uint256 amount) external {
        box = bound(box, 0, PROCESSES - 1);
        post(box, MessageKind.BOUNCE, 0, assetOf(asset % ASSETS), bound(amount, 1, AMOUNT_MAX));
    }

    /// @dev Rarely, for a closed mailbox stays closed.
    function close(uint256 box, uint256 dice) external {
        if (dice % 16 == 0) post(bound(box, 0, PROCESSES - 1), MessageKind.CLOSE, 0, 0, 0);
    }

    function sign() external {
        _signed.push(abi.encode(MEMBERS.sign()));
    }

    /* THE CHAIN */

    /// @dev Any checkpoint so far, two batches that start anywhere, perhaps of one mailbox.
    function deliver(uint256 checkpoint, uint256 boxes, uint256 firsts) external {
        Signed memory signed = abi.decode(_signed[checkpoint % _signed.length], (Signed));
        Batch[] memory batches = new Batch[](2);
        for (uint256 i; i < 2; ++i) {
            uint256 box = (boxes >> (i * 8)) % PROCESSES;
            batches[i] = MEMBERS.batch(signed, box, (firsts >> (i * 8)) % (signed.counts[box] + 1));
        }
        vm.recordLogs();
        GROUP.deliver(signed.checkpoint, signed.signature, batches);
        look();
    }

    /// @dev The newest checkpoint, all mailboxes, from the start.
    function deliverAll() external {
        Signed memory signed = MEMBERS.sign();
        _signed.push(abi.encode(signed));
        Batch[] memory batches = new Batch[](PROCESSES);
        for (uint256 box; box < PROCESSES; ++box) {
            batches[box] = MEMBERS.batch(signed, box, 0);
            if (box == 0) {
                targets[0].setReentry(abi.encodeCall(GROUP.deliver, (signed.checkpoint, "", new Batch[](0))));
            }
        }
        vm.recordLogs();
        GROUP.deliver(signed.checkpoint, signed.signature, batches);
        look();
    }

    function change(uint256 box, uint256 mode) external {
        targets[box % PROCESSES].setMode(MockProcess.Mode(mode % (uint256(type(MockProcess.Mode).max) + 1)));
    }

    function send(uint256 box, uint256 asset, uint256 amount) external {
        box = box % (PROCESSES - 1);
        bytes32 paid = assetOf(asset % ASSETS);
        uint256 held = GROUP.custody(processOf(box), paid);
        if (held == 0) return;
        vm.recordLogs();
        targets[box].send(paid, bound(amount, 1, held), abi.encode(uint256(1)), "");
        look();
    }

    /* VIEWS */

    function processOf(uint256 box) public pure returns (bytes32) {
        return bytes32(0x1000 + box);
    }

    function assetOf(uint256 asset) public pure returns (bytes32) {
        return keccak256(abi.encode("asset", asset));
    }

    /* INTERNALS */

    function post(uint256 box, uint8 kind, bytes32 sender, bytes32 asset, uint256 amount) private {
        MEMBERS.post(box, kind, sender, asset, amount, "");
        _posted[box].push(Payment(asset, amount));
    }

    /// @dev Takes note of how far the mailboxes are, and of the events.
    function look() private {
        for (uint256 box; box < PROCESSES; ++box) {
            bytes32 head = GROUP.head(processOf(box));
            while (MEMBERS.headAt(box, done[box]) != head) {
                Payment storage payment = _posted[box][done[box]++];
                broughtIn[payment.asset] += payment.amount;
            }
        }
        Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter != address(GROUP)) continue;
            bytes32 selector = logs[i].topics[0];
            if (selector == IGroup.Failed.selector) ++failures[uint256(logs[i].topics[1]) - 0x1000];
            bool registers = selector == IGroup.Registered.selector || selector == IGroup.Rejected.selector;
            if (registers || selector == IGroup.Closed.selector) ++controls[uint256(logs[i].topics[1]) - 0x1000];
            if (selector != IGroup.Outbound.selector) continue;
            noteOutbound(uint256(logs[i].topics[1]), logs[i].data);
        }
    }

    /// @dev Recorded logs hold those of reverted calls as well. Such an outbound never was: its number comes again.
    function noteOutbound(uint256 nonce, bytes memory data) private {
        (uint64 sequence, bytes32 asset, uint256 amount,,) = abi.decode(data, (uint64, bytes32, uint256, bytes, bytes));
        if (nonce + 1 == outbounds) {
            paidOut[_last.asset] -= _last.amount;
            --outbounds;
        }
        vm.assertEq(nonce, outbounds++, "outbounds have no gap");
        vm.assertEq(sequence, GROUP.sequence(), "an outbound carries the accepted sequence");
        paidOut[asset] += amount;
        _last = Payment(asset, amount);
    }
}
