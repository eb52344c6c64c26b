// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Status} from "../../src/types/Messages.sol";
import {GroupTest} from "../helpers/GroupTest.sol";
import {Books} from "./Books.sol";
import {Handler} from "./Handler.sol";

/// @dev As forge wants it.
struct Selectors {
    address target;
    bytes4[] selectors;
}

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

    /// @notice Never by the group: forge gives the caller back the price of gas that it has not paid.
    function targetSenders() external pure returns (address[] memory senders) {
        senders = new address[](1);
        senders[0] = address(0xca11e2);
    }

    /// @notice But not what it has from the tests' base, or for itself.
    function excludeSelectors() external view returns (Selectors[] memory excluded) {
        excluded = new Selectors[](1);
        excluded[0] = Selectors(address(handler), new bytes4[](2));
        (excluded[0].selectors[0], excluded[0].selectors[1]) = (GroupTest.setUp.selector, Books.undo.selector);
    }

    /// @dev One campaign for all of them. What is wrong within one step, the handler says at once.
    function invariant_Books() external view {
        custodyIsWhatCameInLessWhatWentOut();
        nothingIsMadeOrLost();
        coinIsOwedToSomebody();
        callsWereInOrder();
        nobodyElseWasCalled();
    }

    /// @dev G1: for each process and asset. G3, that outbounds have no gap, is asked of each step.
    function custodyIsWhatCameInLessWhatWentOut() private view {
        for (uint256 box; box < handler.BOXES(); ++box) {
            bytes32 process = handler.processOf(box);
            for (uint256 a; a < handler.ASSETS(); ++a) {
                bytes32 asset = handler.assetOf(a);
                vm.assertEq(group.custody(process, asset), handler.wanted(process, asset), "custody");
            }
        }
        vm.assertEq(group.outboundNonce(), handler.outbounds(), "outbounds");
    }

    /// @dev G2: custody of all, what is parked and what was paid are what was delivered.
    function nothingIsMadeOrLost() private view {
        for (uint256 a; a < handler.ASSETS(); ++a) {
            bytes32 asset = handler.assetOf(a);
            uint256 held;
            for (uint256 box; box < handler.BOXES(); ++box) {
                held += group.custody(handler.processOf(box), asset);
            }
            vm.assertLe(held, handler.broughtIn(asset), "sum of custody");
            vm.assertEq(held + handler.setApart(asset) + handler.paidOut(asset), handler.broughtIn(asset), "sum");
        }
    }

    /// @dev G7: tanks and credits are all the coin there is.
    function coinIsOwedToSomebody() private view {
        vm.assertEq(address(group).balance, handler.owed(), "coin");
    }

    /// @dev G3 and G8: each process saw its messages in order, once, with all its gas.
    function callsWereInOrder() private view {
        for (uint256 box; box < handler.ACTORS(); ++box) {
            if (address(handler.actors(box)).code.length == 0) continue;
            vm.assertFalse(handler.actors(box).disordered(), "order");
            vm.assertFalse(handler.actors(box).starved(), "gas");
            vm.assertFalse(handler.actors(box).entered(), "entered");
            vm.assertLe(handler.actors(box).next(), handler.done(box), "ahead of its mailbox");
        }
    }

    /// @dev G5: no call to what is not bound, not a contract, reserved, or not alive.
    function nobodyElseWasCalled() private view {
        vm.assertFalse(handler.tripwire().touched(), "unbound");
        for (uint256 box; box < handler.BOXES(); ++box) {
            Status status = group.processInfo(handler.processOf(box)).status;
            if (box >= handler.ACTORS()) {
                vm.assertTrue(status == Status.None || status == Status.Rejected, "forbidden");
            } else if (address(handler.actors(box)).code.length != 0) {
                vm.assertFalse(handler.actors(box).misled(), "misled");
            }
        }
    }

    /// @dev G4, not vacuous: with all of them well-behaved and delivered, everything posted has run, strict or not.
    function afterInvariant() external {
        handler.resume();
        handler.behave();
        handler.deliverAll();
        for (uint256 box; box < handler.BOXES(); ++box) {
            vm.assertEq(handler.done(box), members.count(box), "drained");
        }
    }
}
