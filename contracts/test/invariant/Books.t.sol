// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {GroupTest} from "../helpers/GroupTest.sol";
import {Handler} from "./Handler.sol";

/// @notice See README.md in this folder for what holds and why it matters.
contract BooksInvariant is GroupTest {
    Handler private handler;

    function setUp() public override {
        super.setUp();
        handler = new Handler(group, members);
    }

    /// @notice Only the handler is called.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign for all of them.
    function invariant_Books() external view {
        booksHoldWhatCameIn();
        outboundsAreNumbered();
        eachMessageRunsOnce();
        messagesKeepTheirOrder();
    }

    /// @dev I1: custody of all processes and all outbounds are together what messages brought, asset by asset.
    function booksHoldWhatCameIn() private view {
        for (uint256 a; a < handler.ASSETS(); ++a) {
            bytes32 asset = handler.assetOf(a);
            uint256 held;
            for (uint256 box; box < handler.PROCESSES(); ++box) {
                held += group.custody(handler.processOf(box), asset);
            }
            vm.assertEq(held + handler.paidOut(asset), handler.broughtIn(asset), "books");
        }
    }

    /// @dev I2: each outbound was seen once, with the next number.
    function outboundsAreNumbered() private view {
        vm.assertEq(group.outboundNonce(), handler.outbounds(), "outbounds");
    }

    /// @dev I3: each delivered message ran once, in order, or failed once: none is lost and none is repeated.
    function eachMessageRunsOnce() private view {
        for (uint256 box; box < handler.PROCESSES(); ++box) {
            uint256 ran = handler.targets(box).received() + handler.failures(box) + handler.controls(box);
            vm.assertEq(ran, handler.done(box), "messages");
        }
    }

    /// @dev I4: a process got its messages in the order of their nonces.
    function messagesKeepTheirOrder() private view {
        for (uint256 box; box < handler.PROCESSES(); ++box) {
            uint256 received = handler.targets(box).received();
            for (uint256 i = 1; i < received; ++i) {
                uint256 before = handler.targets(box).receivedAt(i - 1).nonce;
                vm.assertLt(before, handler.targets(box).receivedAt(i).nonce, "order");
            }
        }
    }

    /// @dev Not vacuous: with all delivered and nobody in the way, everything posted has run.
    function afterInvariant() external {
        handler.deliverAll();
        for (uint256 box; box < handler.PROCESSES(); ++box) {
            vm.assertEq(handler.done(box), members.count(box), "drained");
        }
    }
}
