// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";
import {Log} from "../helpers/Vm.sol";
import {MockTarget} from "../mocks/MockTarget.sol";

/// @notice What stopped MVM, or could have, stops nothing here: after each such payment the next one runs, the amount is back
/// with its sender, and no message failed as the group sees it. The process is registered as strict, where a failure would
/// make the mailbox wait.
contract StopsTest is AccountsTest {
    uint8 private constant STRICT = 2 << 1;

    function flags() internal pure override returns (uint8) {
        return STRICT;
    }

    function test_AStoragePointerToANonContract() public {
        stopsNothing(pointerTo(address(0xdead), keccak256("key")));
    }

    function test_AStoragePointerToAContractThatBurnsGas() public {
        // Any call to it would count.
        stopsNothing(pointerTo(address(target), keccak256("key")));
    }

    function test_AStoragePointerToNothing() public {
        stopsNothing(pointerTo(address(payloads), keccak256("key")));
    }

    function test_ACountThatUnderflows() public {
        // One call is announced, three empty ones come.
        bytes memory empty = call(address(target), "");
        stopsNothing(bytes.concat(order(empty), empty, empty));
    }

    function test_ACountOfZero() public {
        stopsNothing(abi.encodePacked(uint16(0), call(address(target), "hello")));
    }

    function test_ThreeMegabytesOfRevertData() public {
        stopsNothing(order(call(address(target), abi.encodeCall(MockTarget.failWithZeros, (3_000_000)))));
    }

    function test_AllTheGas() public {
        stopsNothing(order(call(address(target), abi.encodeCall(MockTarget.burnGas, ()))));
    }

    function testFuzz_AnyExtraOnAFailingCall(uint256 size) public {
        size = bound(size, 100, 300);
        bytes memory extra = order(call(address(target), abi.encodeCall(MockTarget.failWith, (""))));
        // The payload has `size` bytes.
        uint256 data = size < extra.length ? extra.length : size;
        bytes memory padded =
            abi.encodePacked(abi.encodeCall(MockTarget.failWith, ("")), new bytes(data - extra.length));
        bytes memory whole = order(call(address(target), padded));
        vm.assertEq(whole.length, data);
        stopsNothing(whole);
    }

    function test_AShortExtra() public {
        stopsNothing(hex"00");
        stopsNothing(hex"0001");
    }

    function testFuzz_AnyPayload(bytes calldata payload) public {
        vm.assume(payload.length != 0);
        stopsNothing(payload);
    }

    function test_AnAmountOfZero() public {
        bytes memory failing = order(call(address(target), abi.encodeCall(MockTarget.failWith, (""))));
        pay(ALICE, 0, failing);
        vm.assertEq(address(xin).code.length, 0);
        nextOneRuns();
    }

    function test_AHugeAmount() public {
        uint256 huge = type(uint128).max;
        bytes memory failing = order(call(address(target), abi.encodeCall(MockTarget.failWith, (""))));
        Signed memory signed = posted(ALICE, huge, failing);
        expectRefund(0, PROCESS, ALICE, huge, 1);
        deliverLast(signed);
        nextOneRuns();
    }

    function test_AMegabyteOfRevertData() public {
        // As much as the gas of this process pays for: three megabytes end in the lack of gas.
        stopsNothing(order(call(address(target), abi.encodeCall(MockTarget.failWithZeros, (1_000_000)))));
    }

    function test_AMegabyteOfAnswer() public {
        // Not a failure at all: what a call returns is not read.
        pay(ALICE, 5, order(call(address(target), abi.encodeCall(MockTarget.answerZeros, (1_000_000)))));
        vm.assertEq(target.calls(), 1);
        vm.assertEq(group.outboundNonce(), 1);
        nextOneRuns();
    }

    function stopsNothing(bytes memory payload) private {
        uint64 outbound = group.outboundNonce();
        uint256 held = group.custody(PROCESS, XIN);
        Signed memory signed = posted(ALICE, 5, payload);
        expectRefund(outbound, PROCESS, ALICE, 5, lastNonce());
        vm.recordLogs();
        deliverLast(signed);
        Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(countLogs(logs, IGroup.Failed.selector), 0, "the group saw a failure");
        vm.assertEq(countLogs(logs, IAccounts.OrderFailed.selector), 1, "the order ran");
        vm.assertEq(target.calls(), 0);
        vm.assertEq(group.custody(PROCESS, XIN), held);
        nextOneRuns();
    }

    function nextOneRuns() private {
        uint256 before = address(xin).code.length == 0 ? 0 : xin.balanceOf(bob);
        pay(BOB, 7, "");
        vm.assertEq(xin.balanceOf(bob), before + 7);
    }
}
