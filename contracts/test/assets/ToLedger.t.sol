// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IAsset} from "../../src/interfaces/IAsset.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IGroup} from "../../src/interfaces/IGroup.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";
import {Signed} from "../helpers/Members.sol";

/// @notice Tokens go back to the ledger.
contract ToLedgerTest is AccountsTest {
    address private constant WALLET = address(0xe0a);
    bytes private constant MEMO = "memo";

    IAsset private token;

    function setUp() public override {
        super.setUp();
        pay(ALICE, 100, "");
        pay(ALICE, 0, order(call(address(xin), abi.encodeCall(xin.transfer, (WALLET, 60)))));
        token = IAsset(address(xin));
    }

    /* REFUSALS */

    function testFuzz_RefusesMoreThanTheHolderHas(uint256 amount) public {
        amount = bound(amount, 61, type(uint256).max - 1);
        refuses(
            abi.encode(ALICE),
            amount,
            MEMO,
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, WALLET, 60, amount)
        );
    }

    function test_RefusesNothing() public {
        refuses(abi.encode(ALICE), 0, MEMO, abi.encodeWithSelector(IGroup.InvalidAmount.selector, 0));
    }

    function testFuzz_RefusesAUserWhoWasNeverHere(bytes32 user) public {
        vm.assume(user != ALICE);
        refuses(abi.encode(user), 5, MEMO, abi.encodeWithSelector(IAssets.UnknownUser.selector, user));
    }

    function test_RefusesAWalletWithoutALedgerUser() public {
        refuses("", 5, MEMO, abi.encodeWithSelector(IAssets.NotAccount.selector, WALLET));
    }

    function testFuzz_RefusesWhatIsNoRecipient(bytes calldata recipient) public {
        vm.assume(recipient.length != 0 && recipient.length != 32 && recipient[0] != 0x02);
        vm.expectRevert();
        vm.prank(WALLET);
        token.toLedger(recipient, 5, MEMO);
        checkBacking(XIN, 0);
    }

    function test_RefusesEqualMembers() public {
        bytes16 user = bytes16(keccak256("user"));
        refuses(
            abi.encodePacked(hex"020103", bytes16(0), user, user),
            5,
            MEMO,
            abi.encodeWithSelector(IAssets.MembersNotAscending.selector, 2)
        );
    }

    function test_RefusesEqualMembersWithKeys() public {
        bytes memory member = abi.encodePacked(keccak256("spend"), keccak256("view"));
        refuses(
            abi.encodePacked(hex"020102", member, member),
            5,
            MEMO,
            abi.encodeWithSelector(IAssets.MembersNotAscending.selector, 1)
        );
    }

    function testFuzz_RefusesMembersThatDescend(bytes16 left, bytes16 right) public {
        vm.assume(left > right);
        refuses(
            abi.encodePacked(hex"020102", left, right),
            5,
            MEMO,
            abi.encodeWithSelector(IAssets.MembersNotAscending.selector, 1)
        );
    }

    function test_RefusesALongMemo() public {
        refuses(abi.encode(ALICE), 5, new bytes(201), abi.encodeWithSelector(IGroup.MemoTooLong.selector, 201, 200));
    }

    function testFuzz_OnlyTheTokenAsksForAPayout(address caller) public {
        vm.assume(caller != address(xin));
        vm.expectRevert(abi.encodeWithSelector(IAssets.OnlyAsset.selector, XIN, caller));
        vm.prank(caller);
        accounts.payOut(XIN, alice, 5, "", MEMO);
    }

    function test_ATokenAsksForItsOwnAssetOnly() public {
        vm.expectRevert(abi.encodeWithSelector(IAssets.OnlyAsset.selector, BTC, address(xin)));
        vm.prank(address(xin));
        accounts.payOut(BTC, alice, 5, "", MEMO);
    }

    /* TO THE LEDGER */

    function testFuzz_PaysAUser(uint256 amount, bytes calldata memo) public {
        amount = bound(amount, 1, 60);
        vm.assume(memo.length <= 200);
        pays(abi.encode(ALICE), abi.encode(ALICE), amount, memo);
        vm.assertEq(xin.balanceOf(WALLET), 60 - amount);
    }

    function test_PaysAnyUserByHisMix() public {
        bytes memory mix = abi.encodePacked(hex"020101", bytes16(keccak256("never here")));
        pays(mix, mix, 5, MEMO);
    }

    function testFuzz_PaysASet(bytes16 left, bytes16 right) public {
        vm.assume(left < right);
        bytes memory mix = abi.encodePacked(hex"020202", left, right);
        pays(mix, mix, 5, MEMO);
    }

    function testFuzz_PaysASetOfAddresses(bytes32 spend, bytes32 left, bytes32 right) public {
        vm.assume(left < right);
        bytes memory mix = abi.encodePacked(hex"020202", spend, left, spend, right);
        pays(mix, mix, 5, MEMO);
    }

    function test_PaysAll() public {
        vm.expectEmit(address(accounts));
        emit IAssets.PaidOut(XIN, WALLET, 60, 0);
        vm.prank(WALLET);
        token.toLedger(abi.encode(ALICE), type(uint256).max, MEMO);
        vm.assertEq(xin.balanceOf(WALLET), 0);
        checkBacking(XIN, 0);
    }

    function test_AnAccountPaysItsOwnUser() public {
        bytes memory leaving = call(address(xin), abi.encodeCall(IAsset.toLedger, ("", 40, MEMO)));
        Signed memory signed = posted(ALICE, 0, order(leaving));
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, members.sequence(), XIN, 40, abi.encode(ALICE), MEMO);
        deliverLast(signed);
        checkBacking(XIN, 0);
    }

    function pays(bytes memory recipient, bytes memory expected, uint256 amount, bytes memory memo) private {
        vm.expectEmit(address(group));
        emit IGroup.Outbound(0, PROCESS, members.sequence(), XIN, amount, expected, memo);
        vm.expectEmit(address(accounts));
        emit IAssets.PaidOut(XIN, WALLET, amount, 0);
        vm.prank(WALLET);
        vm.assertEq(token.toLedger(recipient, amount, memo), 0);
        vm.assertEq(xin.totalSupply(), 100 - amount);
        checkBacking(XIN, 0);
    }

    function refuses(bytes memory recipient, uint256 amount, bytes memory memo, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(WALLET);
        token.toLedger(recipient, amount, memo);
        vm.assertEq(xin.totalSupply(), 100);
        checkBacking(XIN, 0);
    }
}
