// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7786Recipient} from "@openzeppelin/contracts/interfaces/draft-IERC7786.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {ERC7786Adapter} from "../src/ERC7786Adapter.sol";
import {IGroup} from "../src/interfaces/IGroup.sol";
import {Message, MessageKind} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";

/// @notice A recipient of ERC-7786 behind its adapter.
contract ERC7786AdapterTest is GroupTest {
    bytes4 private constant TRANSFER = bytes4(keccak256("transfer(bytes32,uint256)"));

    uint256 private box;
    ERC7786Adapter private adapter;
    Listener private listener;

    function setUp() public override {
        super.setUp();
        listener = new Listener();
        adapter = new ERC7786Adapter(group, PROCESS, listener);
        box = members.open(PROCESS);
        members.register(box, address(adapter), 0, GAS_LIMIT);
        deliver(box, 0);
    }

    /* REFUSALS */

    function testFuzz_RefusesToSendForAnother(address caller) public {
        vm.assume(caller != address(listener));
        vm.expectRevert(abi.encodeWithSelector(ERC7786Adapter.OnlyRecipient.selector, caller));
        vm.prank(caller);
        adapter.sendMessage("", "", new bytes[](0));
    }

    /// @dev A contract that does not know the call "succeeds" without the selector: its payments go back.
    function test_RefundsWhatIsNotAnswered() public {
        listener.answer(bytes4(0));
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 1);
        deliver(signed, box, 1);
    }

    /* RECEIVED AND SENT */

    function test_HandsOverSenderPaymentAndPayload() public {
        Message memory message = members.post(box, MessageKind.CALL, ALICE, XIN, 5, "hello");
        deliver(box, 1);
        vm.assertEq(listener.receiveId(), keccak256(abi.encode(message)));
        vm.assertEq(listener.sender(), InteroperableAddress.formatV1(0x4c53, "", abi.encode(ALICE)));
        vm.assertEq(listener.payload(), abi.encode(XIN, 5, bytes("hello")));
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    function test_SendsWhatTheRecipientSays() public {
        post(box, ALICE, 5, "");
        deliver(box, 1);
        bytes[] memory attributes = new bytes[](1);
        attributes[0] = abi.encodeWithSelector(TRANSFER, XIN, 3);
        vm.assertTrue(adapter.supportsAttribute(TRANSFER));
        bytes memory to = listener.sender();
        vm.prank(address(listener));
        vm.assertEq(adapter.sendMessage(to, "back", attributes), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 2);
        vm.assertEq(group.outboundNonce(), 1);
    }

    function test_KeepsABounce() public {
        members.post(box, MessageKind.BOUNCE, 0, XIN, 5, "");
        Signed memory signed = members.sign();
        vm.expectEmit(address(adapter));
        emit ERC7786Adapter.Bounced(XIN, 5);
        deliver(signed, box, 1);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }
}

/// @notice Keeps the last message.
contract Listener is IERC7786Recipient {
    bytes4 private _answer = IERC7786Recipient.receiveMessage.selector;
    bytes32 public receiveId;
    bytes public sender;
    bytes public payload;

    function answer(bytes4 answer_) external {
        _answer = answer_;
    }

    function receiveMessage(bytes32 receiveId_, bytes calldata sender_, bytes calldata payload_)
        external
        payable
        returns (bytes4)
    {
        (receiveId, sender, payload) = (receiveId_, sender_, payload_);
        return _answer;
    }
}
