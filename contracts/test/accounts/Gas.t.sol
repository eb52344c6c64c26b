// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";

import {IAsset} from "../../src/interfaces/IAsset.sol";
import {Message, MessageKind} from "../../src/types/Messages.sol";
import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice Gas of whole transactions, intrinsic cost and calldata included: what the group contract's call costs here, without
/// the delivery around it.
/// @dev The figures for the record are measured on a chain by `make bench`; these are the ones to look at in a diff.
/// forge-config: default.isolate = true
contract AccountsGasTest is AccountsTest {
    address private constant WALLET = address(0xe0a);

    function setUp() public override {
        super.setUp();
        // Alice, the asset and the target are in use; custody holds what the measured messages spend.
        pay(ALICE, 1000, keeping(order(taking(500))));
        pay(ALICE, 0, order(call(address(xin), abi.encodeCall(xin.transfer, (WALLET, 100)))));
        bounce(XIN, 1000);
        bounce(BTC, 1000);
        pay(BOB, 5, "");
    }

    function test_FirstPayment() public {
        // Account and token are created.
        message(keccak256("set"), BTC, "");
        check("first payment of an account and of an asset", 280_000);
    }

    function test_Deposit() public {
        message(ALICE, XIN, "");
        check("deposit", 70_000);
    }

    function test_AccountCall() public {
        // One call, which takes all.
        message(ALICE, XIN, order(taking(10)));
        check("account call", 115_000);
    }

    function test_AccountCallWithLeftovers() public {
        message(ALICE, XIN, order(taking(3)));
        check("account call, leftovers to the ledger", 150_000);
    }

    function test_FailingOrder() public {
        message(ALICE, XIN, hex"ffff");
        check("order that fails", 120_000);
    }

    function test_Mint() public {
        vm.prank(address(accounts));
        IERC7802(address(xin)).crosschainMint(alice, 10);
        check("ERC-20 mint", 45_000);
    }

    function test_Burn() public {
        vm.prank(address(accounts));
        IERC7802(address(xin)).crosschainBurn(alice, 10);
        check("ERC-20 burn", 45_000);
    }

    function test_Transfer() public {
        vm.prank(WALLET);
        vm.assertTrue(xin.transfer(alice, 10));
        check("ERC-20 transfer", 45_000);
    }

    function test_ToLedger() public {
        vm.prank(WALLET);
        IAsset(address(xin)).toLedger(abi.encode(ALICE), 10, "");
        check("ERC-20 to the ledger", 80_000);
    }

    function message(bytes32 sender, bytes32 asset, bytes memory payload) private {
        vm.prank(address(group));
        accounts.onMessage(Message(MessageKind.CALL, 9, 9, 9, sender, asset, 10, payload));
    }

    function check(string memory name, uint256 bar) private {
        vm.assertLe(vm.snapshotGasLastCall(name), bar, name);
    }
}
