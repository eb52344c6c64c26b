// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccount} from "../../src/interfaces/IAccount.sol";
import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {IStorage} from "../../src/interfaces/IStorage.sol";
import {Batch, Checkpoint} from "../../src/types/Messages.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";
import {Log} from "../helpers/Vm.sol";
import {MockTarget} from "../mocks/MockTarget.sol";

/// @notice Orders: their bytes, and what their calls may do.
contract RunTest is AccountsTest {
    bytes private constant HELLO = "hello";

    /* REFUSALS: WHO */

    function testFuzz_RefusesOrdersOfOthers(address caller) public {
        pay(ALICE, 5, "");
        vm.assume(caller != address(accounts));
        vm.expectRevert(abi.encodeWithSelector(IAccount.OnlyRegistry.selector, caller));
        vm.prank(caller);
        IAccount(alice).run(order(call(address(target), HELLO)), address(xin), 5);
    }

    function test_TheImplementationObeysNobodyElse() public {
        address implementation = accounts.accountImplementation();
        vm.expectRevert(abi.encodeWithSelector(IAccount.OnlyRegistry.selector, address(this)));
        IAccount(implementation).run(order(call(address(target), HELLO)), address(xin), 5);
    }

    /* REFUSALS: BYTES */

    function testFuzz_RefusesUnknownFlags(uint8 flags_) public {
        flags_ = uint8(bound(flags_, 4, 255));
        bytes memory bad = order(call(address(target), HELLO));
        bad[0] = bytes1(flags_);
        failsFor(ALICE, 5, bad, abi.encodeWithSelector(IAccount.UnknownFlags.selector, flags_));
    }

    function testFuzz_RefusesACount(uint8 count) public {
        vm.assume(count == 0 || count > 16);
        bytes memory bad = order(call(address(target), HELLO));
        bad[1] = bytes1(count);
        failsFor(ALICE, 5, bad, abi.encodeWithSelector(IAccount.InvalidCount.selector, count));
    }

    function testFuzz_RefusesAnOrderThatEndsEarly(uint256 length) public {
        bytes memory whole = order(call(address(target), HELLO), call(address(target), HELLO));
        length = bound(length, 1, whole.length - 1);
        bytes memory cut = new bytes(length);
        for (uint256 i; i < length; ++i) {
            cut[i] = whole[i];
        }
        uint256 first = 24 + HELLO.length;
        uint256 end = length < 2 ? 2 : length < 22 ? 22 : length < 24 ? 24 : length < first ? first : 0;
        if (end == 0) end = length < first + 22 ? first + 22 : whole.length;
        failsFor(ALICE, 5, cut, abi.encodeWithSelector(IAccount.MalformedOrder.selector, end, length));
    }

    function testFuzz_RefusesBytesAfterTheLastCall(bytes calldata more) public {
        vm.assume(more.length != 0);
        bytes memory whole = order(call(address(target), HELLO));
        bytes memory bad = bytes.concat(whole, more);
        failsFor(ALICE, 5, bad, abi.encodeWithSelector(IAccount.MalformedOrder.selector, whole.length, bad.length));
    }

    /* REFUSALS: CALLS */

    function test_RefusesATargetWithoutCode() public {
        address nobody = address(0xdead);
        bytes memory bad = order(call(address(target), HELLO), call(nobody, HELLO));
        failsFor(ALICE, 5, bad, abi.encodeWithSelector(IAccount.NoCode.selector, nobody));
    }

    function test_RefusesAPrecompile() public {
        failsFor(ALICE, 5, order(call(address(2), HELLO)), abi.encodeWithSelector(IAccount.NoCode.selector, address(2)));
    }

    function testFuzz_KeepsTheStartOfAReason(bytes calldata reason) public {
        bytes memory bad = call(address(target), abi.encodeCall(MockTarget.failWith, (reason)));
        bytes memory kept = reason.length <= 132 ? reason : reason[:132];
        failsFor(
            ALICE,
            5,
            order(call(address(target), HELLO), bad),
            abi.encodeWithSelector(IAccount.CallFailed.selector, 1, address(target), kept)
        );
    }

    function test_UndoesAllWhereTheLastCallFails() public {
        pay(ALICE, 100, "");
        bytes memory last = call(address(target), abi.encodeCall(MockTarget.failWith, ("no")));
        failsFor(
            ALICE,
            5,
            order(taking(5), last),
            abi.encodeWithSelector(IAccount.CallFailed.selector, 1, address(target), "no")
        );
        vm.assertEq(xin.balanceOf(alice), 100);
        vm.assertEq(xin.balanceOf(address(target)), 0);
    }

    function test_RefusesATargetThatTakesMore() public {
        failsWithAllowance(order(taking(6)), 1);
    }

    function test_RefusesATargetWhereAnotherSpenderIsNamed() public {
        failsWithAllowance(naming(order(taking(5)), address(this)), 5);
    }

    function test_RefusesATargetWhereNobodyMaySpend() public {
        failsWithAllowance(naming(order(taking(5)), address(0)), 5);
    }

    function test_LeavesNoAllowanceToALaterMessage() public {
        // Both run in one transaction, where a temporary approval would live on.
        uint256 first = members.count(box);
        post(box, ALICE, 10, keeping(order(call(address(target), HELLO))));
        bytes memory taker = abi.encodeCall(xin.transferFrom, (alice, bob, 10));
        post(box, BOB, 0, order(call(address(target), abi.encodeCall(MockTarget.reenter, (address(xin), taker)))));
        deliver(box, first);
        vm.assertFalse(target.reentered());
        vm.assertEq(xin.balanceOf(alice), 10);
        vm.assertEq(xin.allowance(alice, address(target)), 0);
    }

    /* REFUSALS: POWERS THAT AN ACCOUNT DOES NOT HAVE */

    function test_CannotMint() public {
        bytes memory minting = abi.encodeWithSignature("crosschainMint(address,uint256)", alice, 1);
        vm.assertEq(failing(address(xin), minting), bytes4(keccak256("OnlyRegistry(address)")));
    }

    function test_CannotPayOut() public {
        bytes memory paying = abi.encodeCall(IAssets.payOut, (XIN, alice, 1, "", ""));
        vm.assertEq(failing(address(accounts), paying), IAssets.OnlyAsset.selector);
    }

    function test_CannotAssign() public {
        bytes memory assigning = abi.encodeCall(IAssets.assign, (XIN, ALICE, 1));
        vm.assertEq(failing(address(accounts), assigning), IAssets.OnlyRegistrar.selector);
    }

    function test_CannotSendFromCustody() public {
        bytes memory sending = abi.encodeCall(IGroup.send, (XIN, 1, abi.encode(ALICE), ""));
        vm.assertEq(failing(address(group), sending), IGroup.NotLive.selector);
    }

    function test_CannotDeliver() public {
        Batch[] memory none;
        bytes memory delivering = abi.encodeCall(IGroup.deliver, (Checkpoint(0, 0, 0), "", none));
        vm.assertEq(failing(address(group), delivering), IGroup.Reentered.selector);
    }

    function test_CannotOrderItself() public {
        bytes memory again = abi.encodeCall(IAccount.run, (order(call(address(target), HELLO)), address(xin), 5));
        vm.assertEq(failing(alice, again), IAccount.OnlyRegistry.selector);
    }

    function test_ATargetCannotOrderItsCaller() public {
        pay(ALICE, 5, "");
        bytes memory theft = abi.encodeCall(IAccount.transact, (address(xin), 0, HELLO));
        pay(ALICE, 5, order(call(address(target), abi.encodeCall(MockTarget.reenter, (alice, theft)))));
        vm.assertFalse(target.reentered());
        vm.assertEq(target.answer(), abi.encodeWithSelector(IAccount.OnlySelf.selector, address(target)));
        vm.assertEq(xin.balanceOf(alice), 5);
    }

    /* CALLS */

    function testFuzz_CallsInTurn(uint8 count, bytes calldata data) public {
        count = uint8(bound(count, 1, 16));
        bytes memory many = abi.encodePacked(uint8(0), count);
        for (uint256 i; i < count; ++i) {
            many = bytes.concat(many, call(address(target), abi.encodePacked(hex"ffffffff", uint8(i), data)));
        }
        pay(ALICE, 5, many);
        vm.assertEq(target.calls(), count);
        vm.assertEq(target.last(), abi.encodePacked(hex"ffffffff", count - 1, data));
    }

    function test_LetsANamedSpenderSpend() public {
        bytes memory first = call(address(group), abi.encodeCall(IGroup.sequence, ()));
        pay(ALICE, 5, naming(order(first, taking(5)), address(target)));
        vm.assertEq(xin.balanceOf(address(target)), 5);
    }

    function test_RunsAnOrderForASet() public {
        bytes32 set = keccak256("two of three");
        pay(set, 5, order(taking(5)));
        vm.assertEq(IAccount(accounts.accountOf(set)).user(), set);
        vm.assertEq(xin.balanceOf(address(target)), 5);
    }

    /* STORED ORDERS */

    function test_RefusesAnOrderThatIsNotStored() public {
        bytes32 key = keccak256("nothing");
        failsFor(ALICE, 5, pointerTo(address(payloads), key), abi.encodeWithSelector(IStorage.NotStored.selector, key));
    }

    function testFuzz_RefusesAPointerElsewhere(address named, bytes32 key) public {
        vm.assume(named != address(payloads));
        failsFor(ALICE, 5, pointerTo(named, key), abi.encodeWithSelector(IAccount.ForeignStorage.selector, named));
    }

    function test_RefusesAStoredOrderThatIsNone() public {
        bytes32 key = payloads.write(hex"0011");
        failsFor(
            ALICE, 5, pointerTo(address(payloads), key), abi.encodeWithSelector(IAccount.InvalidCount.selector, 17)
        );
    }

    function testFuzz_RunsAStoredOrder(uint256 size) public {
        size = bound(size, 0, 20_000);
        bytes32 key = payloads.write(keeping(order(call(address(target), new bytes(size)))));
        pay(ALICE, 5, pointerTo(address(payloads), key));
        vm.assertEq(target.calls(), 1);
        vm.assertEq(xin.balanceOf(alice), 5);
    }

    /* HELPERS */

    /// @dev The target is refused, for it has nothing left and wants `needed` more.
    function failsWithAllowance(bytes memory order_, uint256 needed) private {
        vm.assertEq(
            reasonOf(order_),
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", address(target), 0, needed)
        );
    }

    /// @dev Lets Alice's account call what it may not: the order fails.
    /// @return selector The error of the call.
    function failing(address to, bytes memory data) private returns (bytes4 selector) {
        return bytes4(reasonOf(order(call(to, data))));
    }

    /// @dev Delivers an order whose first call fails.
    /// @return reason What that call reverted with.
    function reasonOf(bytes memory order_) private returns (bytes memory reason) {
        pay(ALICE, 5, "");
        Signed memory signed = posted(ALICE, 5, order_);
        vm.recordLogs();
        deliverLast(signed);
        Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == IAccounts.OrderFailed.selector) reason = nested(logs[i].data);
        }
        vm.assertEq(xin.totalSupply(), 5);
        vm.assertEq(xin.balanceOf(alice), 5);
    }

    /// @dev The reason inside of CallFailed inside of OrderFailed.
    function nested(bytes memory data) private pure returns (bytes memory reason) {
        (,, bytes memory failed) = abi.decode(data, (bytes32, uint256, bytes));
        vm.assertEq(bytes4(failed), IAccount.CallFailed.selector);
        assembly {
            let size := mload(failed)
            failed := add(failed, 4)
            mstore(failed, sub(size, 4))
        }
        (,, reason) = abi.decode(failed, (uint256, address, bytes));
    }
}
