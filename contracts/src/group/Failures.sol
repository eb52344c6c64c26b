// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../interfaces/IGroup.sol";
import {IProcess} from "../interfaces/IProcess.sol";
import {Records} from "../libraries/Records.sol";
import {Message, MessageKind, Policy, Status} from "../types/Messages.sol";
import {Processes} from "./Processes.sol";

/// @title What becomes of a call that fails: given back, or parked, retried and claimed.
abstract contract Failures is Processes {
    /// @inheritdoc IGroup
    uint256 public constant claimDelay = 3 days;

    /// @dev Purpose of an operation that marks a refund (MVM).
    uint16 private constant PURPOSE_REFUND = 13;

    /// @dev The part of a parked word that is a time.
    uint256 private constant TIME_MASK = type(uint40).max;

    /* STORAGE */

    /// @dev The hash of the message, with the time of its parking in place of the last 5 bytes: one slot, and what is left of
    /// the hash is far more than anybody can meet. Zero where nothing is parked.
    mapping(bytes32 process => mapping(uint64 nonce => bytes32)) private _parked;

    /* ENTRY POINTS */

    /// @inheritdoc IGroup
    function retry(bytes32 process, Message calldata message) external outsideOfDelivery {
        require(!halted(), Halted());
        uint256 before = _delivering;
        _delivering = RUNNING;
        Process storage stored = _processes[process];
        uint256 word = _wordOf(stored);
        uint256 gasNeeded = _gasNeeded(word);
        require(gasNeeded != 0, NotLive(_targetIn(word), process, stored.status));
        _unpark(process, message);
        if (message.amount != 0) _custody[process][message.asset].amount += message.amount;
        bytes memory data = abi.encodeCall(IProcess.onMessage, (message));
        uint256 left = gasleft();
        // As in a delivery: a call that is given less might do half of its work.
        require(left >= gasNeeded, InsufficientGas(process, message.nonce, left, gasNeeded));
        require(_call(_targetIn(word), _gasLimitIn(word), data), RetryFailed(process, message.nonce));
        emit Retried(process, message.nonce);
        _delivering = before;
    }

    /// @inheritdoc IGroup
    function claim(bytes32 process, Message calldata message) external outsideOfDelivery {
        require(!halted(), Halted());
        (bytes32 asset, uint256 amount, uint64 nonce) = (message.asset, message.amount, message.nonce);
        bool alive = _processes[process].status == Status.Alive;
        uint256 due = _unpark(process, message) + claimDelay;
        // Nobody can retry for a closed process, so there is nothing to wait for. Seconds that a validator may shift do not
        // matter in a delay of days.
        // forge-lint: disable-next-line(block-timestamp)
        require(!alive || block.timestamp >= due, TooEarly(process, nonce, due));
        // What is parked without a payment, or was paid by nobody, waits for a retry as long as there can be one.
        require(amount != 0 && (message.sender != 0 || !alive), NothingToClaim(process, nonce));
        emit Claimed(process, nonce);
        if (message.sender == 0) _custody[process][asset].amount += amount;
        else _refund(process, nonce, message.sender, asset, amount);
    }

    /* VIEWS */

    /// @inheritdoc IGroup
    function parked(bytes32 process, uint64 nonce) external view returns (bytes32 hash, uint64 time) {
        uint256 word = uint256(_parked[process][nonce]);
        return (bytes32(word & ~TIME_MASK), uint64(word & TIME_MASK));
    }

    /* INTERNALS */

    /// @dev What becomes of a message without effect: parked, given back, or, where it is no call or nobody can be given it
    /// back, left with the process.
    /// @param policy Refund or park.
    /// @return kept Whether its payment stays in custody. Else the caller must see to it that it is not booked there.
    function _fail(bytes32 process, uint256 buffer, uint256 following, uint256 policy, uint256 gasUsed)
        internal
        returns (bool kept)
    {
        (bytes32 asset, uint256 amount) = Records.payment(buffer);
        (uint64 nonce, bytes32 sender) = (Records.nonce(buffer), Records.sender(buffer));
        bool isCall = Records.kind(buffer) == MessageKind.CALL;
        if (!isCall) policy = Policy.REFUND;
        emit Failed(process, nonce, uint8(policy), gasUsed);
        if (policy == Policy.PARK) {
            // Set apart, for else the process could spend it before the sender's claim.
            uint256 hash = uint256(Records.leaf(buffer, following));
            _parked[process][nonce] = bytes32((hash & ~TIME_MASK) | (block.timestamp & TIME_MASK));
            return false;
        }
        if (!isCall || amount == 0 || sender == 0) return true;
        _refund(process, nonce, sender, asset, amount);
    }

    /// @dev Pays the sender of a message back, with a raw operation as memo: purpose, process, no platform, no address, and
    /// the message's nonce as its extra.
    function _refund(bytes32 process, uint64 nonce, bytes32 sender, bytes32 asset, uint256 amount) private {
        bytes memory memo =
            abi.encodePacked(PURPOSE_REFUND, uint128(uint256(process)), uint16(0), uint16(0), uint16(8), nonce);
        _outbound(process, asset, amount, abi.encode(sender), memo);
    }

    /// @dev Forgets a parked message, which must be exactly this one.
    /// @return time When it was parked.
    function _unpark(bytes32 process, Message calldata message) private returns (uint256 time) {
        uint256 word = uint256(_parked[process][message.nonce]);
        uint256 hash = uint256(keccak256(abi.encode(message)));
        require(word != 0 && (word ^ hash) & ~TIME_MASK == 0, NotParked(process, message.nonce));
        delete _parked[process][message.nonce];
        return word & TIME_MASK;
    }

    /// @dev Calls with at most `gasLimit` gas, and copies nothing back.
    function _call(address target, uint256 gasLimit, bytes memory data) private returns (bool success) {
        assembly ("memory-safe") {
            success := call(gasLimit, target, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }
}
