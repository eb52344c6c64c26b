// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC1155Receiver} from "@openzeppelin/contracts/token/ERC1155/IERC1155Receiver.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";

import {AccountsTest} from "../helpers/AccountsTest.sol";

/// @notice What an account takes from other contracts.
contract ReceiveTest is AccountsTest {
    function setUp() public override {
        super.setUp();
        pay(ALICE, 5, "");
    }

    function testFuzz_RefusesCallsItDoesNotKnow(bytes4 selector) public {
        vm.assume(uint32(selector) < 0x01000000);
        (bool success,) = alice.call(abi.encodePacked(selector));
        vm.assertFalse(success);
    }

    function testFuzz_TakesCoin(uint96 amount) public {
        vm.deal(address(this), amount);
        (bool success,) = alice.call{value: amount}("");
        vm.assertTrue(success);
        vm.assertEq(alice.balance, amount);
    }

    function test_TakesCoinWithTheGasOfATransfer() public {
        // A clone forwards within 2,300 gas once its code is warm; what sends less must send more.
        vm.deal(address(this), 1);
        (bool success,) = alice.call{value: 1, gas: 10_000}("");
        vm.assertTrue(success);
    }

    function test_TakesCoinBeforeItExists() public {
        vm.deal(bob, 3);
        pay(BOB, 5, "");
        vm.assertEq(bob.balance, 3);
    }

    function test_TakesSafeTransfers() public {
        vm.assertEq(
            IERC721Receiver(alice).onERC721Received(address(1), address(2), 3, "data"),
            IERC721Receiver.onERC721Received.selector
        );
        vm.assertEq(
            IERC1155Receiver(alice).onERC1155Received(address(1), address(2), 3, 4, "data"),
            IERC1155Receiver.onERC1155Received.selector
        );
        uint256[] memory none;
        vm.assertEq(
            IERC1155Receiver(alice).onERC1155BatchReceived(address(1), address(2), none, none, "data"),
            IERC1155Receiver.onERC1155BatchReceived.selector
        );
    }

    function test_SaysWhatItIs() public view {
        IERC165 account = IERC165(alice);
        vm.assertTrue(account.supportsInterface(type(IERC165).interfaceId));
        vm.assertTrue(account.supportsInterface(type(IERC1271).interfaceId));
        vm.assertTrue(account.supportsInterface(type(IERC721Receiver).interfaceId));
        vm.assertTrue(account.supportsInterface(type(IERC1155Receiver).interfaceId));
        vm.assertFalse(account.supportsInterface(0xffffffff));
    }
}
