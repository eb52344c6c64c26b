// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, Checkpoint} from "../src/types/Messages.sol";

/// @title What the fake group does not do: signatures, governance, and what deliverers are paid.
abstract contract SignaturesNotFaked is IGroup {
    /// @notice This part of a group contract has nothing to do with processes: test it with the real one.
    error NotFaked(bytes4 selector);

    /// @inheritdoc IGroup
    function deliver(Checkpoint calldata, bytes calldata, Batch[] calldata) external pure {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function key() external pure returns (bytes memory) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function checkpointDigest() external pure returns (bytes32) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function govern(uint64, uint8, bytes calldata, bytes calldata) external pure {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function recover(uint64, bytes calldata, bytes calldata) external pure {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function keyGeneration() external pure returns (uint64) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function governanceNonce() external pure returns (uint64) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function recovery() external pure returns (address) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function silenceDays() external pure returns (uint16) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function lastAcceptedDay() external pure returns (uint16) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function repayLimits() external pure returns (uint64, uint32) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function fund(bytes32) external payable {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function reclaim() external pure returns (uint256) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function withdraw(address) external pure returns (uint256) {
        revert NotFaked(msg.sig);
    }

    /// @inheritdoc IGroup
    function credit(address) external pure returns (uint256) {
        revert NotFaked(msg.sig);
    }
}
