// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccount} from "../../src/interfaces/IAccount.sol";
import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IAsset} from "../../src/interfaces/IAsset.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {Message, MessageKind} from "../../src/types/Messages.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";
import {Log} from "../helpers/Vm.sol";
import {MockTarget} from "../mocks/MockTarget.sol";

/// @notice What a payment to the accounts process does.
contract OnMessageTest is AccountsTest {
    error OnlyGroup(address caller);

    /* REFUSALS */

    function testFuzz_RefusesMessagesOfOthers(address caller) public {
        vm.assume(caller != address(group));
        vm.expectRevert(abi.encodeWithSelector(OnlyGroup.selector, caller));
        vm.prank(caller);
        accounts.onMessage(Message(MessageKind.CALL, 1, 1, 1, ALICE, XIN, 100, ""));
    }

    function test_RefusesAPaymentOfNobody() public {
        Signed memory signed = posted(0, 5, "");
        vm.recordLogs();
        deliverLast(signed);
        vm.assertEq(countLogs(vm.getRecordedLogs(), IGroup.Failed.selector), 1);
        vm.assertEq(accounts.accountOf(0).code.length, 0);
        checkBacking(XIN, 5);
    }

    function testFuzz_GivesBackWhatIsNoOrder(bytes calldata rest, uint96 amount) public {
        bytes memory junk = abi.encodePacked(hex"ff", rest);
        amount = uint96(bound(amount, 1, type(uint96).max));
        Signed memory signed = posted(ALICE, amount, junk);
        bytes memory reason = junk.length < 2
            ? abi.encodeWithSelector(IAccount.MalformedOrder.selector, 2, junk.length)
            : abi.encodeWithSelector(IAccount.UnknownFlags.selector, 0xff);
        expectRefund(0, PROCESS, ALICE, amount, 1);
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderFailed(ALICE, 1, XIN, amount, reason);
        deliverLast(signed);
        vm.assertEq(xin.balanceOf(alice), 0);
        checkBacking(XIN, 0);
    }

    /* DEPOSITS */

    function test_KeepsAPaymentWithoutPayload() public {
        Signed memory signed = posted(ALICE, 5, "");
        vm.expectEmit(address(accounts));
        emit IAccounts.AccountCreated(ALICE, alice);
        vm.expectEmit(address(accounts));
        emit IAssets.AssetCreated(XIN, address(xin));
        vm.expectEmit(address(accounts));
        emit IAccounts.Deposited(ALICE, 1, XIN, 5);
        deliverLast(signed);
        pay(ALICE, 6, "");
        vm.assertEq(xin.balanceOf(alice), 11);
        vm.assertEq(IAccount(payable(alice)).user(), ALICE);
        checkBacking(XIN, 0);
    }

    function testFuzz_KeepsAnyAmount(uint128 amount) public {
        pay(ALICE, amount, "");
        vm.assertEq(address(xin).code.length == 0 ? 0 : xin.balanceOf(alice), amount);
        checkBacking(XIN, 0);
    }

    /* ORDERS */

    function testFuzz_ReturnsWhatTheOrderLeaves(uint96 amount, uint96 taken, uint96 had) public {
        amount = uint96(bound(amount, 1, type(uint96).max));
        taken = uint96(bound(taken, 0, amount));
        pay(ALICE, had, "");
        Signed memory signed = posted(ALICE, amount, order(taking(taken)));
        if (taken != amount) expectRefund(0, PROCESS, ALICE, amount - taken, 2);
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderRan(ALICE, 2, XIN, amount - taken);
        deliverLast(signed);
        vm.assertEq(xin.balanceOf(alice), had);
        vm.assertEq(xin.balanceOf(address(target)), taken);
        checkBacking(XIN, 0);
    }

    function test_KeepsWhatTheOrderLeaves() public {
        Signed memory signed = posted(ALICE, 10, keeping(order(taking(3))));
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderRan(ALICE, 1, XIN, 0);
        deliverLast(signed);
        vm.assertEq(xin.balanceOf(alice), 7);
        vm.assertEq(group.outboundNonce(), 0);
        checkBacking(XIN, 0);
    }

    function test_ReturnsWhatTheOrderEarned() public {
        pay(ALICE, 100, keeping(order(taking(100))));
        bytes memory giving = call(address(target), abi.encodeCall(MockTarget.give, (xin, 40)));
        Signed memory signed = posted(ALICE, 10, order(giving));
        expectRefund(0, PROCESS, ALICE, 50, 2);
        deliverLast(signed);
        vm.assertEq(xin.balanceOf(alice), 0);
        checkBacking(XIN, 0);
    }

    function test_ReturnsNothingWhereTheOrderSpentMore() public {
        pay(ALICE, 100, "");
        // With an allowance of its own, the target takes more than the message brought.
        bytes memory approving = call(address(xin), abi.encodeCall(xin.approve, (address(target), 30)));
        Signed memory signed = posted(ALICE, 10, naming(order(approving, taking(25)), address(0)));
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderRan(ALICE, 2, XIN, 0);
        deliverLast(signed);
        vm.assertEq(xin.balanceOf(alice), 85);
        checkBacking(XIN, 0);
    }

    function test_RunsWithoutAPayment() public {
        Signed memory signed = posted(ALICE, 0, order(call(address(target), "hello")));
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderRan(ALICE, 1, 0, 0);
        deliverLast(signed);
        vm.assertEq(target.last(), "hello");
    }

    function test_SendsEarningsOfAnotherAssetToTheLedger() public {
        bytes32 btc = BTC;
        members.post(box, MessageKind.CALL, BOB, btc, 7, "");
        deliverLast(members.sign());
        IAsset token = IAsset(accounts.tokenOf(btc));
        bytes memory handing = call(address(token), abi.encodeCall(xin.transfer, (alice, 7)));
        pay(BOB, 0, order(handing));
        bytes memory leaving = call(address(token), abi.encodeCall(IAsset.toLedger, ("", type(uint256).max, "out")));
        Signed memory signed = posted(ALICE, 1, order(leaving));
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, members.sequence(), btc, 7, abi.encode(ALICE), "out");
        deliverLast(signed);
        checkBacking(btc, 0);
        checkBacking(XIN, 0);
    }

    /* BOUNCES */

    function test_KeepsABounceUnassigned() public {
        pay(ALICE, 5, "");
        Signed memory signed;
        members.post(box, MessageKind.BOUNCE, 0, XIN, 4, "");
        signed = members.sign();
        vm.expectEmit(address(accounts));
        emit IAssets.CameBack(XIN, 4);
        deliverLast(signed);
        checkBacking(XIN, 4);
    }

    /* MANY AT ONCE */

    function test_RunsEachMessageOfABatch() public {
        uint256 first = members.count(box);
        post(box, ALICE, 5, "");
        post(box, BOB, 6, hex"ffff");
        post(box, ALICE, 7, order(taking(7)));
        post(box, BOB, 8, "");
        vm.recordLogs();
        deliver(box, first);
        Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(countLogs(logs, IAccounts.AccountCreated.selector), 2);
        vm.assertEq(countLogs(logs, IAssets.AssetCreated.selector), 1);
        vm.assertEq(countLogs(logs, IGroup.Failed.selector), 0);
        vm.assertEq(xin.balanceOf(alice), 5);
        vm.assertEq(xin.balanceOf(bob), 8);
        checkBacking(XIN, 0);
    }
}
