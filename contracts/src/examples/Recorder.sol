// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Process} from "../Process.sol";
import {IGroup} from "../interfaces/IGroup.sol";
import {Message} from "../types/Messages.sol";

/// @title An example process that writes one word a message: what the gas benchmark delivers to.
/// @notice Payload: key 32 bytes, value 32 bytes.
contract Recorder is Process {
    /// @notice What was written last.
    mapping(bytes32 key => bytes32 value) public valueOf;

    /// @notice A payload that is not 64 bytes.
    error InvalidLength(uint256 length);

    /// @param keys Written with a value other than zero, so that later writes cost what a used slot costs.
    constructor(IGroup group_, bytes32 process_, bytes32[] memory keys) Process(group_, process_) {
        for (uint256 i; i < keys.length; ++i) {
            valueOf[keys[i]] = bytes32(type(uint256).max);
        }
    }

    function _onMessage(Message calldata message) internal override {
        bytes calldata payload = message.payload;
        require(payload.length == 64, InvalidLength(payload.length));
        valueOf[bytes32(payload[:32])] = bytes32(payload[32:]);
    }
}
