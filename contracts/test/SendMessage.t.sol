// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7786GatewaySource} from "@openzeppelin/contracts/interfaces/draft-IERC7786.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GovernanceKind, Status} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice The group contract as a source gateway of ERC-7786.
contract SendMessageTest is GroupTest {
    bytes2 private constant LEDGER = 0x4c53;
    bytes4 private constant TRANSFER = bytes4(keccak256("transfer(bytes32,uint256)"));

    IERC7786GatewaySource private gateway;
    MockProcess private target;
    bytes private alice;

    function setUp() public override {
        super.setUp();
        gateway = IERC7786GatewaySource(address(group));
        uint256 box;
        (box, target) = newLiveProcess(PROCESS);
        post(box, ALICE, 50, "");
        deliver(box, 1);
        alice = InteroperableAddress.formatV1(LEDGER, "", abi.encode(ALICE));
    }

    /* REFUSALS */

    function test_RefusesValue() public {
        vm.deal(address(target), 1);
        vm.expectRevert(abi.encodeWithSelector(IGroup.InvalidAmount.selector, 1));
        vm.prank(address(target));
        gateway.sendMessage{value: 1}(alice, "", transfer(XIN, 5));
    }

    function testFuzz_RefusesAnotherAttribute(bytes4 selector) public {
        vm.assume(selector != TRANSFER);
        bytes[] memory attributes = new bytes[](2);
        attributes[0] = transfer(XIN, 5)[0];
        attributes[1] = abi.encodePacked(selector, new bytes(64));
        refusesMessage(
            alice, attributes, abi.encodeWithSelector(IERC7786GatewaySource.UnsupportedAttribute.selector, selector)
        );
        attributes[1] = "";
        refusesMessage(
            alice, attributes, abi.encodeWithSelector(IERC7786GatewaySource.UnsupportedAttribute.selector, bytes4(0))
        );
    }

    function test_RefusesNoTransferAndTwoOfThem() public {
        bytes memory reason = abi.encodeWithSelector(IGroup.InvalidTransfer.selector);
        refusesMessage(alice, new bytes[](0), reason);
        bytes[] memory attributes = new bytes[](2);
        (attributes[0], attributes[1]) = (transfer(XIN, 5)[0], transfer(XIN, 5)[0]);
        refusesMessage(alice, attributes, reason);
    }

    function test_RefusesATransferOfAnotherLength() public {
        bytes[] memory attributes = transfer(XIN, 5);
        bytes memory whole = attributes[0];
        attributes[0] = bytes.concat(whole, hex"00");
        refusesMessage(alice, attributes, abi.encodeWithSelector(IGroup.InvalidTransfer.selector));
        attributes[0] = abi.encodePacked(TRANSFER, XIN);
        refusesMessage(alice, attributes, abi.encodeWithSelector(IGroup.InvalidTransfer.selector));
    }

    /// @dev One payee has one address: nothing before, behind or beside it.
    function test_RefusesAddressesThatAreNotTheLedgers() public {
        bytes memory payee = abi.encode(ALICE);
        refusesRecipient("");
        refusesRecipient(payee);
        refusesRecipient(bytes.concat(alice, hex"00"));
        refusesRecipient(InteroperableAddress.formatV1(0x0000, "", payee));
        refusesRecipient(InteroperableAddress.formatV1(LEDGER, hex"01", payee));
        refusesRecipient(InteroperableAddress.formatEvmV1(block.chainid, address(target)));
        bytes memory other = bytes.concat(alice);
        other[1] = 0x02;
        refusesRecipient(other);
        refusesRecipient(InteroperableAddress.formatV1(LEDGER, "", abi.encode(0)));
        refusesRecipient(InteroperableAddress.formatV1(LEDGER, "", new bytes(31)));
    }

    /// @dev All of `send` holds here, too: the same custody, the same limits.
    function test_RefusesWhatSendRefuses() public {
        bytes memory reason = abi.encodeWithSelector(IGroup.InsufficientCustody.selector, PROCESS, XIN, 50, 51);
        refusesMessage(alice, transfer(XIN, 51), reason);
        refusesMessage(alice, transfer(XIN, 0), abi.encodeWithSelector(IGroup.InvalidAmount.selector, 0));
        vm.expectRevert(abi.encodeWithSelector(IGroup.MemoTooLong.selector, 201, 200));
        vm.prank(address(target));
        gateway.sendMessage(alice, new bytes(201), transfer(XIN, 5));
        vm.expectRevert(abi.encodeWithSelector(IGroup.NotLive.selector, address(this), bytes32(0), Status.None));
        gateway.sendMessage(alice, "", transfer(XIN, 5));
        decide(GovernanceKind.HALT, "");
        refusesMessage(alice, transfer(XIN, 5), abi.encodeWithSelector(IGroup.Halted.selector));
    }

    /* SENT */

    function testFuzz_SupportsTransfersOnly(bytes4 selector) public view {
        vm.assertTrue(gateway.supportsAttribute(TRANSFER));
        vm.assertEq(gateway.supportsAttribute(selector) ? 1 : 0, selector == TRANSFER ? 1 : 0);
    }

    function test_SendsWithBothEvents() public {
        bytes[] memory attributes = transfer(XIN, 20);
        uint64 sequence = group.sequence();
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, sequence, XIN, 20, abi.encode(ALICE), "thanks");
        vm.expectEmit(address(group));
        emit IERC7786GatewaySource.MessageSent(
            0, InteroperableAddress.formatEvmV1(block.chainid, address(target)), alice, "thanks", 0, attributes
        );
        vm.prank(address(target));
        vm.assertEq(gateway.sendMessage(alice, "thanks", attributes), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 30);
    }

    function test_SendsToAMix() public {
        bytes memory mix = abi.encodePacked(hex"020102", uint128(1), uint128(2));
        vm.prank(address(target));
        gateway.sendMessage(InteroperableAddress.formatV1(LEDGER, "", mix), "", transfer(XIN, 1));
        vm.assertEq(group.outboundNonce(), 1);
    }

    /* HELPERS */

    function transfer(bytes32 asset, uint256 amount) private pure returns (bytes[] memory attributes) {
        attributes = new bytes[](1);
        attributes[0] = abi.encodeWithSelector(TRANSFER, asset, amount);
    }

    function refusesMessage(bytes memory recipient, bytes[] memory attributes, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(address(target));
        gateway.sendMessage(recipient, "", attributes);
        vm.assertEq(group.outboundNonce(), 0);
    }

    function refusesRecipient(bytes memory recipient) private {
        refusesMessage(recipient, transfer(XIN, 5), abi.encodeWithSelector(IGroup.InvalidRecipient.selector));
    }
}
