// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Status} from "../../src/types/Messages.sol";

/// @notice Stands in the group contract's place for a moment and writes what many processes have there, for the benchmark
/// of a delivery among 100,000 of them (`tests/src/gas`). That checks what the group contract then reads.
contract Seeder {
    /// @dev Slot of the group contract's mapping of processes.
    uint256 private constant PROCESSES = 2;
    uint256 private constant GAS_LIMIT = 300_000;

    /// @notice Processes named `first` and so on: alive, with a target, a gas limit and a head.
    function seed(uint256 first, uint256 count, address target) external {
        uint256 word = uint256(uint160(target)) | GAS_LIMIT << 160 | uint256(uint8(Status.Alive)) << 200;
        for (uint256 process = first; process < first + count; ++process) {
            bytes32 slot = keccak256(abi.encode(process, PROCESSES));
            bytes32 head = keccak256(abi.encode(process));
            assembly ("memory-safe") {
                sstore(slot, word)
                sstore(add(slot, 1), head)
            }
        }
    }
}
