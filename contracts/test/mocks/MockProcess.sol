// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../../src/interfaces/IGroup.sol";
import {IProcess} from "../../src/interfaces/IProcess.sol";
import {Message} from "../../src/types/Messages.sol";

/// @notice A process that does what it is told, good or bad, and keeps what it was given.
contract MockProcess is IProcess {
    enum Mode {
        Keep,
        Revert,
        BurnGas,
        ReturnBomb,
        RevertBomb,
        Reenter,
        SendAll,
        SendThenRevert
    }

    IGroup public immutable GROUP;
    bytes32 public immutable PROCESS;

    Mode public mode;
    Message[] private _received;
    bool public reentered;

    /// @dev Call data for the group contract, sent by the re-entering mode.
    bytes private _reentry;

    error Told();

    constructor(IGroup group, bytes32 process) {
        (GROUP, PROCESS) = (group, process);
        if (process != 0) group.bind(process);
    }

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function setReentry(bytes calldata reentry) external {
        _reentry = reentry;
    }

    function send(bytes32 asset, uint256 amount, bytes calldata recipient, bytes calldata memo)
        external
        returns (uint64)
    {
        return GROUP.send(asset, amount, recipient, memo);
    }

    function bind(bytes32 process) external {
        GROUP.bind(process);
    }

    function onMessage(Message calldata message) external {
        require(msg.sender == address(GROUP));
        if (mode == Mode.Revert) revert Told();
        if (mode == Mode.BurnGas) while (true) {}
        if (mode == Mode.ReturnBomb || mode == Mode.RevertBomb) _bomb(mode == Mode.ReturnBomb);
        if (mode == Mode.Reenter) (reentered,) = address(GROUP).call(_reentry);
        if (mode == Mode.SendAll || mode == Mode.SendThenRevert) {
            uint256 held = GROUP.custody(PROCESS, message.asset);
            GROUP.send(message.asset, held, abi.encode(message.sender), message.payload);
            if (mode == Mode.SendThenRevert) revert Told();
        }
        _received.push(message);
    }

    function received() external view returns (uint256) {
        return _received.length;
    }

    function receivedAt(uint256 index) external view returns (Message memory) {
        return _received[index];
    }

    /// @dev A megabyte of zeros.
    function _bomb(bool success) private pure {
        assembly {
            if success { return(0, 1000000) }
            revert(0, 1000000)
        }
    }
}
