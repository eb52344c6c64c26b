// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IBridge} from "../../src/interfaces/IBridge.sol";
import {BridgeTest} from "../helpers/BridgeTest.sol";
import {Signed} from "../helpers/Members.sol";

/// @notice A binding takes the wallet and the account; either ends it.
contract BridgeBindTest is BridgeTest {
    /* REFUSALS */

    function test_RefusesNobody() public {
        vm.expectRevert(IBridge.InvalidUser.selector);
        bridge.bind(0);
    }

    function testFuzz_NobodyConfirmsForAnother(address caller) public {
        vm.assume(caller != alice);
        ask(WALLET, ALICE);
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotAsked.selector, WALLET, alice, caller));
        vm.prank(caller);
        bridge.confirm(WALLET);
        checkBinding(WALLET, alice, false);
    }

    function test_NobodyConfirmsAWalletThatDidNotAsk() public {
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotAsked.selector, WALLET, address(0), alice));
        vm.prank(alice);
        bridge.confirm(WALLET);
    }

    function testFuzz_NobodyRevokesForAnother(address caller) public {
        vm.assume(caller != alice);
        bindWallet();
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotAsked.selector, WALLET, alice, caller));
        vm.prank(caller);
        bridge.revoke(WALLET);
    }

    function test_NobodyUnbindsWhatIsNotBound() public {
        vm.expectRevert(abi.encodeWithSelector(IBridge.NotBound.selector, WALLET));
        vm.prank(WALLET);
        bridge.unbind();
    }

    function test_ABindingToAnotherLosesTheConfirmation() public {
        bindWallet();
        ask(WALLET, BOB);
        checkBinding(WALLET, bob, false);
        // And back: Alice must agree again.
        ask(WALLET, ALICE);
        checkBinding(WALLET, alice, false);
    }

    /* BINDING */

    function test_BindsByTwo() public {
        vm.expectEmit(address(bridge));
        emit IBridge.Asked(WALLET, ALICE, alice);
        ask(WALLET, ALICE);
        checkBinding(WALLET, alice, false);
        Signed memory signed = commanded(ALICE, abi.encodeCall(IBridge.confirm, (WALLET)));
        vm.expectEmit(address(bridge));
        emit IBridge.Confirmed(WALLET, alice);
        deliverLast(signed);
        checkBinding(WALLET, alice, true);
    }

    function test_AskingAgainChangesNothing() public {
        bindWallet();
        ask(WALLET, ALICE);
        checkBinding(WALLET, alice, true);
    }

    function test_TheWalletEndsIt() public {
        bindWallet();
        vm.expectEmit(address(bridge));
        emit IBridge.Ended(WALLET, alice);
        vm.prank(WALLET);
        bridge.unbind();
        checkBinding(WALLET, address(0), false);
    }

    function test_TheAccountEndsIt() public {
        bindWallet();
        Signed memory signed = commanded(ALICE, abi.encodeCall(IBridge.revoke, (WALLET)));
        vm.expectEmit(address(bridge));
        emit IBridge.Ended(WALLET, alice);
        deliverLast(signed);
        checkBinding(WALLET, address(0), false);
    }

    function test_AnAccountHasSeveralWallets() public {
        bindWallet();
        ask(THIEF, ALICE);
        command(ALICE, abi.encodeCall(IBridge.confirm, (THIEF)));
        checkBinding(WALLET, alice, true);
        checkBinding(THIEF, alice, true);
    }
}
