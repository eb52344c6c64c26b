// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../interfaces/IGroup.sol";
import {Records} from "../libraries/Records.sol";
import {MessageKind, Policy, ProcessInfo, Status} from "../types/Messages.sol";
import {GroupBase} from "./GroupBase.sol";

/// @title Which contracts there are, and what a call of each takes.
abstract contract Processes is GroupBase {
    /// @dev Gas of a call is cut to this, so that delivering one message always fits a transaction (EIP-7825: 2^24).
    uint256 private constant GAS_LIMIT_MAX = 8_000_000;

    /// @dev Gas kept from a call to record its failure, to end the batch and to repay the deliverer.
    uint256 private constant GAS_RESERVE = 60_000;

    /// @dev What reaching the target costs before the 63/64 rule is applied: a cold account and memory.
    uint256 private constant GAS_CALL = 8000;

    /// @dev Bits of the first slot of a process below its tank.
    uint256 internal constant TANK_SHIFT = 208;

    /// @dev Addresses up to here are precompiles, or may become some.
    uint160 private constant RESERVED_ADDRESS_MAX = type(uint16).max;

    /// @dev Bytes of a registration: address 20, flags 1, gas 4.
    uint256 private constant REGISTER_LENGTH = 25;

    /// @dev Bytes of an update: flags 1, gas 4.
    uint256 private constant UPDATE_LENGTH = 5;

    /* STORAGE: THE LAST RELEASE OF A STRICT PROCESS IN THIS TRANSACTION */

    bytes32 private transient _releasedProcess;
    uint256 private transient _releasedBefore;
    uint256 private transient _releasedPolicy;

    /* ENTRY POINTS */

    /// @inheritdoc IGroup
    function bind(bytes32 process) external {
        require(process != 0, InvalidProcess());
        bytes32 current = processOf[msg.sender];
        if (current == process) return;
        require(current == 0, AlreadyBound(current));
        processOf[msg.sender] = process;
        emit Bound(process, msg.sender);
    }

    /* VIEWS */

    /// @inheritdoc IGroup
    function head(bytes32 process) external view returns (bytes32) {
        return _processes[process].head;
    }

    /// @inheritdoc IGroup
    function processInfo(bytes32 process) external view returns (ProcessInfo memory) {
        Process storage info = _processes[process];
        return ProcessInfo(
            info.target,
            info.gasLimit,
            info.flags,
            info.status,
            uint8(_policyIn(info.flags)),
            uint256(info.tank) * 1 gwei,
            info.head
        );
    }

    /// @inheritdoc IGroup
    function custody(bytes32 process, bytes32 asset) external view returns (uint256) {
        return _custody[process][asset].amount;
    }

    /// @inheritdoc IGroup
    function bound(address target) external view returns (bool) {
        return processOf[target] != 0;
    }

    /* INTERNALS: THE FIRST SLOT OF A PROCESS AS A WORD */

    /// @dev The first slot of `Process`, read once for all that a batch needs of it.
    function _wordOf(Process storage stored) internal view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(stored.slot)
        }
    }

    function _setWord(Process storage stored, uint256 word) internal {
        assembly ("memory-safe") {
            sstore(stored.slot, word)
        }
    }

    function _targetIn(uint256 word) internal pure returns (address) {
        return address(uint160(word));
    }

    function _gasLimitIn(uint256 word) internal pure returns (uint256) {
        return uint32(word >> 160);
    }

    function _hasTank(uint256 word) internal pure returns (bool) {
        return word >> TANK_SHIFT != 0;
    }

    /// @dev Gas that must be left before a call, so that nobody can starve it; zero where the process is not called at all.
    function _gasNeeded(uint256 word) internal pure returns (uint256) {
        if (uint8(word >> 200) != uint8(Status.Alive)) return 0;
        unchecked {
            // The limit has 32 bits.
            uint256 gasLimit = _gasLimitIn(word);
            uint256 kept = gasLimit / 63;
            return gasLimit + (kept < GAS_RESERVE ? GAS_RESERVE : kept) + GAS_CALL;
        }
    }

    /* INTERNALS: POLICY */

    /// @dev The policy in a process's flags. There is no fourth: it is a refund, too.
    function _policyIn(uint8 flags) internal pure returns (uint256 policy) {
        policy = (flags >> 1) & 3;
        if (policy > Policy.STRICT) policy = Policy.REFUND;
    }

    /// @dev What applies to a failure of message `nonce` with `count` messages behind it, from `buffer` on. A strict process
    /// gets out of it by the first of them that closes it or gives it another policy. That is looked for once for all the
    /// messages before it, however many fail.
    function _policyAt(bytes32 process, uint8 flags, uint256 nonce, uint256 buffer, uint256 count)
        internal
        returns (uint256 policy)
    {
        policy = _policyIn(flags);
        if (policy != Policy.STRICT) return policy;
        if (_releasedProcess == process && nonce < _releasedBefore) return _releasedPolicy;
        for (; policy == Policy.STRICT && count != 0; --count) {
            uint256 kind = Records.kind(buffer);
            (uint256 length, bytes32 word) = Records.payloadStart(buffer);
            if (kind == MessageKind.CLOSE) policy = Policy.REFUND;
            else if (kind == MessageKind.UPDATE && length == UPDATE_LENGTH) policy = _policyIn(uint8(bytes1(word)));
            if (policy != Policy.STRICT) {
                (_releasedProcess, _releasedPolicy) = (process, policy);
                _releasedBefore = Records.nonce(buffer);
            }
            buffer = Records.after_(buffer);
        }
    }

    /* INTERNALS: CONTROL */

    /// @dev Register, update and close. One that makes no sense is passed over, for it must not block the mailbox.
    function _control(bytes32 process, Process storage stored, uint256 buffer, uint256 kind) internal {
        (uint256 length, bytes32 word) = Records.payloadStart(buffer);
        bool alive = stored.status == Status.Alive;
        if (kind == MessageKind.REGISTER && Records.nonce(buffer) == 0 && length == REGISTER_LENGTH) {
            _register(process, stored, address(bytes20(word)), word << 160);
        } else if (kind == MessageKind.UPDATE && alive && length == UPDATE_LENGTH) {
            (uint8 flags, uint32 gasLimit) = _limits(word);
            stored.flags = flags;
            if (gasLimit != 0) stored.gasLimit = gasLimit;
            emit Updated(process, stored.gasLimit, flags);
        } else if (kind == MessageKind.CLOSE && alive) {
            stored.status = Status.Closed;
            emit Closed(process);
        } else {
            emit Failed(process, Records.nonce(buffer), uint8(Policy.REFUND), 0);
        }
    }

    /// @dev A registration comes alive if the target itself has bound to the process.
    function _register(bytes32 process, Process storage stored, address target, bytes32 limits) private {
        bool valid = processOf[target] == process && target.code.length != 0 && uint160(target) > RESERVED_ADDRESS_MAX
            && target != address(this);
        stored.target = target;
        (stored.flags, stored.gasLimit) = _limits(limits);
        stored.status = valid ? Status.Alive : Status.Rejected;
        if (valid) emit Registered(process, target, stored.gasLimit, stored.flags);
        else emit Rejected(process, target);
    }

    /// @dev Reads flags 1 and gas 4 from the start of `word`.
    function _limits(bytes32 word) private pure returns (uint8 flags, uint32 gasLimit) {
        flags = uint8(bytes1(word));
        gasLimit = uint32(bytes4(word << 8));
        if (gasLimit > GAS_LIMIT_MAX) gasLimit = uint32(GAS_LIMIT_MAX);
    }
}
