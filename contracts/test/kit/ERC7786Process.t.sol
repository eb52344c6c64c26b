// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC7786Recipient} from "@openzeppelin/contracts/crosschain/ERC7786Recipient.sol";

import {ERC7786Process} from "../../kit/ERC7786Process.sol";
import {LockstepTest, Test} from "../../kit/LockstepTest.sol";
import {ERC7786Adapter} from "../../src/ERC7786Adapter.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";

/// @notice Gives half of each payment back, in the words of ERC-7786.
contract Halver is ERC7786Process {
    bytes32 public receivedAs;

    error NoSender();

    constructor(IGroup group, bytes32 process) ERC7786Process(group, process) {}

    function _onPayment(bytes32 receiveId, bytes32 account, bytes32 asset, uint256 amount, bytes memory payload)
        internal
        override
    {
        require(account != 0, NoSender());
        receivedAs = receiveId;
        _pay(asset, amount / 2, account, payload);
    }
}

contract ERC7786ProcessTest is LockstepTest, Test {
    bytes32 private immutable PROCESS = account("halver");
    bytes32 private immutable ALICE = account("alice");
    bytes32 private immutable BTC = asset("BTC");

    Halver private halver;

    function setUp() public {
        halver = new Halver(group, PROCESS);
        vm.assertTrue(group.register(PROCESS, address(halver.adapter())));
    }

    function test_RefusesAnotherGateway() public {
        bytes4 reason = ERC7786Recipient.ERC7786RecipientUnauthorizedGateway.selector;
        vm.expectRevert(abi.encodeWithSelector(reason, address(this), bytes("sender")));
        halver.receiveMessage(0, "sender", abi.encode(BTC, 5, ""));
    }

    function test_RefusesAnotherSpender() public {
        ERC7786Adapter adapter = halver.adapter();
        vm.expectRevert(abi.encodeWithSelector(ERC7786Adapter.OnlyRecipient.selector, address(this)));
        adapter.sendMessage("", "", new bytes[](0));
    }

    function test_RefusesNobody() public {
        vm.assertFalse(group.deliver(PROCESS, 0, BTC, 5, ""));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(Halver.NoSender.selector));
    }

    function testFuzz_ReceivesAndPays(bytes32 sender, uint128 amount) public {
        vm.assume(sender != 0 && amount > 1);
        vm.assertTrue(group.deliver(PROCESS, sender, BTC, amount, "half"));
        group.expectOutbound(PROCESS, BTC, amount / 2, sender, "half");
        group.expectNothing();
        vm.assertTrue(halver.receivedAs() != 0);
    }
}
