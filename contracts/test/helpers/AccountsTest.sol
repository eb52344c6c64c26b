// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {IAccounts} from "../../src/interfaces/IAccounts.sol";
import {IStorage} from "../../src/interfaces/IStorage.sol";
import {MessageKind} from "../../src/types/Messages.sol";
import {MockTarget} from "../mocks/MockTarget.sol";
import {GroupTest} from "./GroupTest.sol";
import {Signed} from "./Members.sol";

/// @notice A group, the accounts process alive, and something to call.
abstract contract AccountsTest is GroupTest {
    uint8 internal constant KEEP = 1;
    uint8 internal constant NAMED = 2;

    IStorage internal payloads;
    IAccounts internal accounts;
    MockTarget internal target;
    IERC20 internal xin;
    address internal alice;
    address internal bob;
    uint256 internal box;

    function setUp() public virtual override {
        super.setUp();
        payloads = IStorage(create("Storage.sol:Storage", ""));
        accounts = newAccounts(PROCESS);
        target = new MockTarget();
        box = members.open(PROCESS);
        members.register(box, address(accounts), flags(), GAS_LIMIT);
        deliver(box, 0);
        xin = IERC20(accounts.tokenOf(XIN));
        (alice, bob) = (accounts.accountOf(ALICE), accounts.accountOf(BOB));
    }

    /// @dev Flags of the registration.
    function flags() internal pure virtual returns (uint8) {
        return 0;
    }

    function newAccounts(bytes32 process) internal returns (IAccounts) {
        return IAccounts(create("Accounts.sol:Accounts", abi.encode(group, process, payloads)));
    }

    /* PAYMENTS */

    /// @dev A payment to the accounts process, signed and not delivered. It is the last message.
    function posted(bytes32 sender, uint256 amount, bytes memory payload) internal returns (Signed memory) {
        post(box, sender, amount, payload);
        return members.sign();
    }

    /// @dev Delivers what was posted last.
    function deliverLast(Signed memory signed) internal {
        deliver(signed, box, members.count(box) - 1);
    }

    function pay(bytes32 sender, uint256 amount, bytes memory payload) internal {
        deliverLast(posted(sender, amount, payload));
    }

    function bounce(bytes32 asset, uint256 amount) internal {
        members.post(box, MessageKind.BOUNCE, 0, asset, amount, "");
        deliverLast(members.sign());
    }

    function lastNonce() internal view returns (uint64) {
        return uint64(members.count(box) - 1);
    }

    /* ORDERS */

    function call(address to, bytes memory data) internal pure returns (bytes memory) {
        return abi.encodePacked(to, uint16(data.length), data);
    }

    function order(bytes memory one) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(0), uint8(1), one);
    }

    function order(bytes memory one, bytes memory two) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(0), uint8(2), one, two);
    }

    function order(bytes memory one, bytes memory two, bytes memory three) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(0), uint8(3), one, two, three);
    }

    /// @dev The same order, whose leftovers stay.
    function keeping(bytes memory order_) internal pure returns (bytes memory) {
        order_[0] |= bytes1(KEEP);
        return order_;
    }

    /// @dev The same order with a spender of its own.
    function naming(bytes memory order_, address spender) internal pure returns (bytes memory named) {
        named = new bytes(order_.length + 20);
        for (uint256 i; i < named.length; ++i) {
            if (i < 2) named[i] = order_[i];
            else if (i < 22) named[i] = bytes20(spender)[i - 2];
            else named[i] = order_[i - 20];
        }
        named[0] |= bytes1(NAMED);
    }

    function taking(uint256 amount) internal view returns (bytes memory) {
        return call(address(target), abi.encodeCall(MockTarget.take, (xin, amount)));
    }

    function pointerTo(address storage_, bytes32 key) internal pure returns (bytes memory) {
        return abi.encodePacked(uint128(uint256(PROCESS)), storage_, key);
    }

    /* CLAIMS */

    /// @dev What the process holds is the token's supply and what is unassigned.
    function checkBacking(bytes32 asset, uint256 unassigned) internal view {
        address token = accounts.tokenOf(asset);
        uint256 supply = token.code.length == 0 ? 0 : IERC20(token).totalSupply();
        vm.assertEq(accounts.unassigned(asset), unassigned, "unassigned");
        vm.assertEq(group.custody(PROCESS, asset), supply + unassigned, "custody");
    }

    /// @dev Delivers an order that fails for `reason`: everything goes back to its sender, and nothing else happens.
    function failsFor(bytes32 sender, uint256 amount, bytes memory order_, bytes memory reason) internal {
        uint256 supply = address(xin).code.length == 0 ? 0 : xin.totalSupply();
        uint256 calls = target.calls();
        Signed memory signed = posted(sender, amount, order_);
        if (amount != 0) expectRefund(group.outboundNonce(), PROCESS, sender, amount, lastNonce());
        vm.expectEmit(address(accounts));
        emit IAccounts.OrderFailed(sender, lastNonce(), amount == 0 ? bytes32(0) : XIN, amount, reason);
        deliverLast(signed);
        vm.assertEq(address(xin).code.length == 0 ? 0 : xin.totalSupply(), supply);
        vm.assertEq(target.calls(), calls);
        vm.assertEq(group.custody(PROCESS, XIN), supply);
    }
}
