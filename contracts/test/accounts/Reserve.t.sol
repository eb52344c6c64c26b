// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";
import {Log} from "../helpers/Vm.sol";
import {MockTarget} from "../mocks/MockTarget.sol";

/// @notice Gas: whatever a process is registered with, a payment is either handled here or refunded by the group.
contract ReserveTest is AccountsTest {
    /// @dev A set of users, so that nothing of the accounts exists yet.
    bytes32 private constant SET = keccak256("set");

    function testFuzz_LosesNothingAtAnyGasLimit(uint32 limit) public {
        limit = uint32(bound(limit, 50_000, 1_000_000));
        update(limit);
        uint256 before = group.outboundNonce();
        Log[] memory logs = burn(SET);
        uint256 there = countLogs(logs, IGroup.Failed.selector);
        // Logs are there of a reverted call as well, so what the accounts said counts only where the group did not fail it.
        uint256 here = there == 0 ? countLogs(logs, IAccounts.OrderFailed.selector) : 0;
        vm.assertEq(here + there, 1, "handled once");
        vm.assertEq(group.outboundNonce() - before, 1, "given back once");
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }

    function test_SufficesForTheWorstFailure() public {
        // The least gas that gets as far as the order: from there on the reserve must suffice.
        for (uint32 limit = 500_000; limit > 200_000; limit -= 2500) {
            uint256 snapshot = vm.snapshotState();
            update(limit);
            Log[] memory logs = burn(SET);
            if (countLogs(logs, IAccounts.AccountCreated.selector) != 0) {
                vm.assertEq(countLogs(logs, IAccounts.OrderFailed.selector), 1, vm.toString(limit));
            } else {
                // The message failed as a whole before the order began, and the first of these has little to spare.
                vm.assertLt(limit, 320_000, "first use is dear");
            }
            vm.revertToState(snapshot);
        }
    }

    function test_SufficesForTheLongestReason() public {
        pay(SET, 5, "");
        bytes memory failing = abi.encodeCall(MockTarget.failWith, (new bytes(500)));
        Signed memory signed = posted(SET, 5, order(call(address(target), failing)));
        vm.recordLogs();
        deliverLast(signed);
        vm.assertEq(countLogs(vm.getRecordedLogs(), IAccounts.OrderFailed.selector), 1);
    }

    function update(uint32 limit) private {
        members.post(box, 3, 0, 0, 0, abi.encodePacked(flags(), limit));
        deliverLast(members.sign());
    }

    function burn(bytes32 user) private returns (Log[] memory) {
        Signed memory signed = posted(user, 5, order(call(address(target), abi.encodeCall(MockTarget.burnGas, ()))));
        vm.recordLogs();
        deliverLast(signed);
        return vm.getRecordedLogs();
    }
}
