// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {GroupTest} from "./helpers/GroupTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice The storage layout that the gas figures rest on.
contract PackingTest is GroupTest {
    function test_CheckpointAndOutboundShareASlot() public {
        (uint256 box, MockProcess target) = newLiveProcess(PROCESS);
        post(box, ALICE, 5, "");
        deliver(box, 1);
        target.send(XIN, 5, abi.encode(ALICE), "");
        uint256 slot = uint256(vm.load(address(group), 0));
        vm.assertEq(slot & type(uint40).max, group.sequence());
        vm.assertEq(slot >> 40 & type(uint40).max, 1);
        vm.assertEq(slot >> 80 & type(uint16).max, block.timestamp / 1 days);
        vm.assertTrue(address(uint160(slot >> 96)).code.length != 0, "key");
        vm.assertEq(vm.load(address(group), bytes32(uint256(1))), group.checkpointDigest());
    }

    function test_AProcessTakesTwoSlots() public {
        (, MockProcess target) = newLiveProcess(PROCESS);
        uint256 slot = uint256(keccak256(abi.encode(PROCESS, uint256(2))));
        uint256 first = uint256(vm.load(address(group), bytes32(slot)));
        vm.assertEq(address(uint160(first)), address(target));
        vm.assertEq(uint32(first >> 160), GAS_LIMIT);
        vm.assertEq(vm.load(address(group), bytes32(slot + 1)), group.head(PROCESS));
        vm.assertEq(vm.load(address(group), bytes32(slot + 2)), 0);
    }
}
