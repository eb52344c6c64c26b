// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GovernanceKind} from "../src/types/Messages.sol";
import {Signed} from "./helpers/Members.sol";
import {TankTest} from "./helpers/TankTest.sol";

/// @notice `withdraw`: deliverers are paid what they were credited.
contract WithdrawTest is TankTest {
    /* REFUSALS */

    function testFuzz_RefusesToWithdrawNothing(address caller) public {
        vm.expectRevert(abi.encodeWithSelector(IGroup.NoCredit.selector, caller));
        vm.prank(caller);
        group.withdraw(caller);
    }

    function test_RefusesToWithdrawTwice() public {
        earn();
        vm.prank(DELIVERER);
        group.withdraw(DELIVERER);
        vm.expectRevert(abi.encodeWithSelector(IGroup.NoCredit.selector, DELIVERER));
        vm.prank(DELIVERER);
        group.withdraw(DELIVERER);
    }

    /// @dev The group itself takes no transfers, nor does a contract without a way to receive.
    function test_RefusesToWithdrawToWhoRefuses() public {
        uint256 held = earn();
        vm.expectRevert(abi.encodeWithSelector(IGroup.WithdrawalFailed.selector, address(group), held - 1));
        vm.prank(DELIVERER);
        group.withdraw(address(group));
        vm.assertEq(group.credit(DELIVERER), held);
    }

    function test_RefusesToWithdrawAgainFromInside() public {
        Thief thief = new Thief(group);
        group.fund{value: 1 ether}(PROCESS);
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        thief.deliver(
            abi.encodeCall(group.deliver, (signed.checkpoint, signed.signature, list(members.batch(signed, box, 1))))
        );
        uint256 held = group.credit(address(thief));
        uint256 before = address(group).balance;
        thief.steal();
        vm.assertEq(address(thief).balance, held - 1);
        vm.assertEq(before - address(group).balance, held - 1);
        vm.assertFalse(thief.stole());
    }

    /* WITHDRAWN */

    function test_WithdrawsToAnyone() public {
        uint256 held = earn();
        address to = address(0x7071);
        vm.expectEmit(address(group));
        emit IGroup.Withdrawn(DELIVERER, to, held - 1);
        vm.prank(DELIVERER);
        vm.assertEq(group.withdraw(to), held - 1);
        vm.assertEq(to.balance, held - 1);
        vm.assertEq(group.credit(DELIVERER), 1);
    }

    function test_WithdrawsWhileHalted() public {
        uint256 held = earn();
        decide(GovernanceKind.HALT, "");
        group.fund{value: 1 gwei}(PROCESS);
        vm.prank(DELIVERER);
        group.withdraw(DELIVERER);
        vm.assertEq(DELIVERER.balance, held - 1);
    }
}

/// @notice A deliverer that withdraws again while it is paid.
contract Thief {
    IGroup private immutable GROUP;
    bool public stole;

    constructor(IGroup group) {
        GROUP = group;
    }

    function deliver(bytes calldata call) external {
        (bool success,) = address(GROUP).call(call);
        require(success);
    }

    function steal() external {
        GROUP.withdraw(address(this));
    }

    receive() external payable {
        (stole,) = address(GROUP).call(abi.encodeCall(GROUP.withdraw, (address(this))));
    }
}
