// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GroupTest} from "./helpers/GroupTest.sol";

contract BindTest is GroupTest {
    function test_RefusesTheZeroProcess() public {
        vm.expectRevert(IGroup.InvalidProcess.selector);
        group.bind(0);
    }

    function testFuzz_RefusesASecondProcess(address caller, bytes32 first, bytes32 second) public {
        vm.assume(first != 0 && second != 0 && first != second);
        vm.startPrank(caller);
        group.bind(first);
        vm.expectRevert(abi.encodeWithSelector(IGroup.AlreadyBound.selector, first));
        group.bind(second);
        vm.stopPrank();
        vm.assertEq(group.processOf(caller), first);
    }

    function testFuzz_Binds(address caller, bytes32 process) public {
        vm.assume(process != 0);
        vm.assertFalse(group.bound(caller));
        vm.expectEmit(address(group));
        emit IGroup.Bound(process, caller);
        vm.prank(caller);
        group.bind(process);
        vm.assertTrue(group.bound(caller));
        vm.assertEq(group.processOf(caller), process);
    }

    function test_RepeatsWithoutEffect() public {
        group.bind(PROCESS);
        vm.recordLogs();
        group.bind(PROCESS);
        vm.assertEq(vm.getRecordedLogs().length, 0);
    }

    /// @dev Several addresses may bind to one process: the registration names one of them.
    function testFuzz_BindsManyAddressesToOneProcess(address one, address two) public {
        vm.prank(one);
        group.bind(PROCESS);
        vm.prank(two);
        group.bind(PROCESS);
        vm.assertEq(group.processOf(one), PROCESS);
        vm.assertEq(group.processOf(two), PROCESS);
    }
}
