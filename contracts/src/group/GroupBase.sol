// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {SSTORE2} from "solady/utils/SSTORE2.sol";

import {IGroup} from "../interfaces/IGroup.sol";
import {GroupSignature} from "../libraries/GroupSignature.sol";
import {Status} from "../types/Messages.sol";

/// @title What all parts of the group contract share: identity, storage, lock, and the numbering of outbounds.
abstract contract GroupBase is IGroup {
    /// @dev Two slots: the first is written by registration, update, close and tank, the second by each batch.
    struct Process {
        address target;
        uint32 gasLimit;
        uint8 flags;
        Status status;
        /// @dev In gwei.
        uint48 tank;
        bytes32 head;
    }

    /// @dev In a struct, so that its slot is hashed once for a run of messages with the same asset.
    struct Book {
        uint256 amount;
    }

    /* IMMUTABLES */

    /// @inheritdoc IGroup
    bytes32 public immutable groupId;

    /// @inheritdoc IGroup
    bytes32 public immutable instance;

    /// @inheritdoc IGroup
    address public immutable recovery;

    /// @inheritdoc IGroup
    uint16 public immutable silenceDays;

    /* STORAGE: CHECKPOINT AND OUTBOUND (one slot, then one) */

    uint40 internal _sequence;
    uint40 internal _outboundNonce;
    /// @dev Days since 1970 when `_sequence` rose last.
    uint16 internal _acceptedDay;
    /// @dev Its code is a zero byte, then the group key as `GroupSignature.prepare` makes it. Zero while halted, so that what
    /// needs this slot anyway learns of a halt at no cost.
    address internal _keyStore;

    /// @inheritdoc IGroup
    bytes32 public checkpointDigest;

    /* STORAGE: PROCESSES */

    mapping(bytes32 process => Process) internal _processes;
    mapping(bytes32 process => mapping(bytes32 asset => Book)) internal _custody;

    /// @inheritdoc IGroup
    mapping(address target => bytes32 process) public processOf;

    /* STORAGE: LOCK */

    /// @dev While a process may be running, and after the first delivery of a transaction.
    uint256 internal constant RUNNING = 1;
    uint256 internal constant DELIVERED = 2;

    /// @dev A whole word, so that setting it reads nothing.
    uint256 internal transient _delivering;

    /* CONSTRUCTOR */

    constructor(bytes32 groupId_, bytes32 instance_, bytes memory key_, address recovery_, uint16 silenceDays_) {
        require(GroupSignature.isSupported(), MissingPrecompiles());
        require(GroupSignature.isValidKey(key_), InvalidKey());
        require((recovery_ == address(0)) == (silenceDays_ == 0), InvalidRecovery());
        groupId = groupId_;
        instance = instance_;
        recovery = recovery_;
        silenceDays = silenceDays_;
        _keyStore = SSTORE2.write(GroupSignature.prepare(key_));
        // Silence counts from here on, not from 1970.
        _acceptedDay = _today();
    }

    /* LOCK */

    /// @dev For what must not run while a process is called.
    modifier outsideOfDelivery() {
        require(_delivering != RUNNING, Reentered());
        _;
    }

    /* OUTBOUND */

    /// @dev Numbers an outbound. Slot 0 is read anew: a call may have sent in between.
    function _outbound(bytes32 process, bytes32 asset, uint256 amount, bytes memory recipient, bytes memory memo)
        internal
        returns (uint64 nonce)
    {
        uint40 current = _outboundNonce;
        require(current != type(uint40).max, OutboundsExhausted());
        _outboundNonce = current + 1;
        nonce = current;
        emit Outbound(nonce, process, _sequence, asset, amount, recipient, memo);
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
    function halted() public view returns (bool) {
        return _keyStore == address(0);
    }

    /* TIME */

    /// @dev Days since 1970. They wrap in 2149, so only differences of them mean something.
    function _today() internal view returns (uint16) {
        return uint16(block.timestamp / 1 days);
    }
}
