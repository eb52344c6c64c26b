// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {IProcess} from "../src/interfaces/IProcess.sol";
import {Message, MessageKind} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signed} from "./helpers/Members.sol";

/// @dev The vault's own interface: its source goes through another pipeline than the tests.
interface IVault is IProcess {
    error OnlyGroup(address caller);

    event Deposited(bytes32 indexed account, bytes32 indexed asset, uint256 amount);
    event Withdrawn(bytes32 indexed account, bytes32 indexed asset, uint256 amount, uint64 nonce);

    function group() external view returns (IGroup);
    function process() external view returns (bytes32);
    function balanceOf(bytes32 account, bytes32 asset) external view returns (uint256);
    function bounced(bytes32 asset) external view returns (uint256);
    function known(bytes32 account) external view returns (bool);
}

/// @notice The example processes and their base.
contract VaultTest is GroupTest {
    uint256 private box;
    IVault private vault;

    function setUp() public override {
        super.setUp();
        vault = IVault(create("Vault.sol:Vault", abi.encode(group, PROCESS)));
        box = members.open(PROCESS);
        members.register(box, address(vault), 0, GAS_LIMIT);
        deliver(box, 0);
    }

    /* THE BASE */

    function testFuzz_RefusesMessagesOfOthers(address caller) public {
        vm.assume(caller != address(group));
        vm.expectRevert(abi.encodeWithSelector(IVault.OnlyGroup.selector, caller));
        vm.prank(caller);
        vault.onMessage(Message(MessageKind.CALL, 1, 1, 1, ALICE, XIN, 100, ""));
    }

    function test_BindsWhenDeployed() public view {
        vm.assertEq(address(vault.group()), address(group));
        vm.assertEq(vault.process(), PROCESS);
        vm.assertEq(group.processOf(address(vault)), PROCESS);
    }

    /* THE VAULT: REFUSALS, EACH GIVEN BACK */

    function testFuzz_RefusesAnUnknownCommand(bytes calldata payload) public {
        vm.assume(payload.length != 0 && payload[0] != 0x02 && !(payload.length == 1 && payload[0] == 0x01));
        givesBack(payload);
    }

    function test_RefusesAShortWithdrawal() public {
        givesBack(abi.encodePacked(hex"02", uint120(5)));
    }

    function test_RefusesMoreThanTheBalance() public {
        post(box, BOB, 1000, "");
        deliver(box, 1);
        post(box, ALICE, 5, abi.encodePacked(hex"02", uint128(6)));
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 2);
        deliver(signed, box, 2);
        vm.assertEq(vault.balanceOf(ALICE, XIN), 0);
        vm.assertEq(vault.balanceOf(BOB, XIN), 1000);
    }

    function test_RefusesAnIllegalRecipient() public {
        givesBack(abi.encodePacked(hex"02", uint128(5), hex"0201"));
    }

    function test_RefusesAnAccountThatNeverPaidIn() public {
        givesBack(abi.encodePacked(hex"02", uint128(5), BOB));
        vm.assertFalse(vault.known(ALICE));
    }

    function test_RefusesToDepositNothing() public {
        post(box, ALICE, 0, "");
        deliver(box, 1);
        vm.assertFalse(vault.known(ALICE));
    }

    function test_RefusesADepositOfNobody() public {
        post(box, 0, 5, "");
        deliver(box, 1);
        vm.assertEq(vault.balanceOf(0, XIN), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    /* THE VAULT */

    function test_Deposits() public {
        post(box, ALICE, 5, "");
        post(box, ALICE, 6, hex"01");
        Signed memory signed = members.sign();
        vm.expectEmit(address(vault));
        emit IVault.Deposited(ALICE, XIN, 5);
        deliver(signed, box, 1);
        vm.assertEq(vault.balanceOf(ALICE, XIN), 11);
        vm.assertEq(group.custody(PROCESS, XIN), 11);
    }

    function testFuzz_WithdrawsToTheSender(uint128 deposited, uint128 paid, uint128 amount) public {
        deposited = uint128(bound(deposited, 1, type(uint128).max / 2));
        paid = uint128(bound(paid, 1, type(uint128).max / 2));
        amount = uint128(bound(amount, 1, deposited + paid));
        post(box, ALICE, deposited, "");
        post(box, ALICE, paid, abi.encodePacked(hex"02", amount));
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, signed.checkpoint.sequence, XIN, amount, abi.encode(ALICE), "");
        vm.expectEmit(address(vault));
        emit IVault.Withdrawn(ALICE, XIN, amount, 0);
        deliver(signed, box, 1);
        vm.assertEq(vault.balanceOf(ALICE, XIN), uint256(deposited) + paid - amount);
        vm.assertEq(group.custody(PROCESS, XIN), vault.balanceOf(ALICE, XIN));
    }

    function test_WithdrawsToAnAccountThatPaidIn() public {
        post(box, BOB, 1, "");
        post(box, ALICE, 5, abi.encodePacked(hex"02", uint128(4), BOB));
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, signed.checkpoint.sequence, XIN, 4, abi.encode(BOB), "");
        deliver(signed, box, 1);
    }

    function test_WithdrawsToASet() public {
        bytes memory set = abi.encodePacked(hex"020203", keccak256("one and two"), bytes16(keccak256("three")));
        post(box, ALICE, 5, abi.encodePacked(hex"02", uint128(4), set));
        Signed memory signed = members.sign();
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, signed.checkpoint.sequence, XIN, 4, set, "");
        deliver(signed, box, 1);
        vm.assertEq(vault.balanceOf(ALICE, XIN), 1);
    }

    function test_KeepsWhatBounces() public {
        members.post(box, MessageKind.BOUNCE, 0, XIN, 5, "");
        deliver(box, 1);
        vm.assertEq(vault.bounced(XIN), 5);
        vm.assertEq(group.custody(PROCESS, XIN), 5);
    }

    /* THE REVERTER */

    function test_ReverterRefusesAll() public {
        address reverter = create("Reverter.sol:Reverter", abi.encode(group, OTHER));
        box = members.open(OTHER);
        members.register(box, reverter, 0, GAS_LIMIT);
        post(box, ALICE, 5, "hello");
        Signed memory signed = members.sign();
        expectRefund(0, OTHER, ALICE, 5, 1);
        deliver(signed, box, 0);
    }

    function givesBack(bytes memory payload) private {
        post(box, ALICE, 5, payload);
        Signed memory signed = members.sign();
        expectRefund(0, PROCESS, ALICE, 5, 1);
        deliver(signed, box, 1);
        vm.assertEq(vault.balanceOf(ALICE, XIN), 0);
        vm.assertEq(group.custody(PROCESS, XIN), 0);
    }
}
