// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Process} from "../Process.sol";
import {IGroup} from "../interfaces/IGroup.sol";
import {Message} from "../types/Messages.sol";

/// @title An example process that refuses each message: whoever pays it gets the payment back.
contract Reverter is Process {
    /// @notice What each call ends in.
    error AlwaysReverts();

    constructor(IGroup group_, bytes32 process_) Process(group_, process_) {}

    function _onMessage(Message calldata) internal pure override {
        revert AlwaysReverts();
    }
}
