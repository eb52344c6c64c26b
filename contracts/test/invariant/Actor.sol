// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Batch, Checkpoint, Message, ProcessInfo, Status} from "../../src/types/Messages.sol";

/// @notice A process's contract that does what it is told, good or bad, and watches how it is called.
/// @dev What it has noticed survives only where it does not revert, so it notes what is wrong and returns at once.
contract Actor {
    enum Mode {
        Keep,
        Revert,
        BurnGas,
        ReturnBomb,
        RevertBomb,
        Reenter,
        SendAll,
        SendThenRevert,
        RevertOdd
    }

    /// @dev What reading the gas costs here, and finding the way to it.
    uint256 private constant GAS_ENTRY = 400;

    IGroup private immutable GROUP;
    bytes32 private immutable PROCESS;

    Mode public mode;
    /// @notice Nonce after the last message.
    uint64 public next;
    /// @notice A nonce came that is not above the last one, and was no retry.
    bool public disordered;
    /// @notice A call had less than all of the gas that was registered for it.
    bool public starved;
    /// @notice A call came to what is not alive, or not from the group.
    bool public misled;
    /// @notice Something that must not run inside of a delivery did.
    bool public entered;
    /// @notice Whether the handler is retrying: then nonces go back.
    bool public retrying;

    error Told();

    constructor(IGroup group, bytes32 process) {
        (GROUP, PROCESS) = (group, process);
        group.bind(process);
    }

    function set(Mode mode_) external {
        mode = mode_;
    }

    function setRetrying(bool retrying_) external {
        retrying = retrying_;
    }

    function send(bytes32 asset, uint256 amount, bytes32 payee) external {
        GROUP.send(asset, amount, abi.encode(payee), "");
    }

    function reclaim() external {
        GROUP.reclaim();
    }

    /// @dev No `onMessage`, so that little gas is used before what is left of it is read.
    fallback() external {
        uint256 gasGiven = gasleft() + GAS_ENTRY;
        ProcessInfo memory info = GROUP.processInfo(PROCESS);
        if (msg.sender != address(GROUP) || info.status != Status.Alive) misled = true;
        else if (gasGiven < info.gasLimit) starved = true;
        else behave(abi.decode(msg.data[4:], (Message)));
    }

    function behave(Message memory message) private {
        if (mode == Mode.Revert) revert Told();
        if (mode == Mode.RevertOdd && message.nonce % 2 == 1) revert Told();
        if (mode == Mode.BurnGas) while (true) {}
        if (mode == Mode.ReturnBomb || mode == Mode.RevertBomb) bomb(mode == Mode.ReturnBomb);
        if (mode == Mode.Reenter) reenter(message);
        if (mode == Mode.SendAll || mode == Mode.SendThenRevert) {
            uint256 held = GROUP.custody(PROCESS, message.asset);
            if (held != 0) GROUP.send(message.asset, held, abi.encode(bytes32(uint256(7))), "all");
            if (mode == Mode.SendThenRevert) revert Told();
        }
        if (retrying) return;
        if (message.nonce < next) disordered = true;
        next = message.nonce + 1;
    }

    /// @dev All that must not work here, and two things that may.
    function reenter(Message memory message) private {
        bytes[5] memory calls = [
            abi.encodeCall(GROUP.deliver, (Checkpoint(0, 0, 0), "", new Batch[](0))),
            abi.encodeCall(GROUP.retry, (PROCESS, message)),
            abi.encodeCall(GROUP.claim, (PROCESS, message)),
            abi.encodeCall(GROUP.reclaim, ()),
            abi.encodeCall(GROUP.govern, (0, 0, "", ""))
        ];
        for (uint256 i; i < calls.length; ++i) {
            (bool success, bytes memory reason) = address(GROUP).call(calls[i]);
            if (success || bytes4(reason) != IGroup.Reentered.selector) entered = true;
        }
        GROUP.bind(PROCESS);
        (bool sent,) = address(GROUP).call(abi.encodeCall(GROUP.send, (message.asset, 1, abi.encode(PROCESS), "")));
        if (sent && GROUP.outboundNonce() == 0) entered = true;
    }

    /// @dev Some 200 kB of zeros: more would be all the gas there is.
    function bomb(bool success) private pure {
        assembly {
            if success { return(0, 200000) }
            revert(0, 200000)
        }
    }
}

/// @notice Never bound to a process, so never to be called.
contract Tripwire {
    bool public touched;

    fallback() external {
        touched = true;
    }
}
