// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {LockstepTest, Test} from "lockstep-contracts/kit/LockstepTest.sol";
import {SwapPool} from "lockstep-contracts/src/examples/SwapPool.sol";

contract SwapPoolTest is LockstepTest, Test {
    bytes32 private immutable ALICE = account("alice");
    bytes32 private immutable PROVIDER = account("provider");
    bytes32 private immutable BTC = asset("BTC");
    bytes32 private immutable XIN = asset("XIN");
    bytes32 private immutable PROCESS = account("pool");

    SwapPool private pool;

    function setUp() public {
        pool = new SwapPool(group, PROCESS, BTC, XIN, PROVIDER);
        group.register(PROCESS, address(pool));
    }

    function supply(uint256 btc, uint256 xin) private {
        vm.assertTrue(group.deliver(PROCESS, PROVIDER, BTC, btc, hex"03"));
        vm.assertTrue(group.deliver(PROCESS, PROVIDER, XIN, xin, hex"03"));
    }

    function command(uint8 what, uint256 amount) private pure returns (bytes memory) {
        return abi.encodePacked(what, uint128(amount));
    }

    function product() private view returns (uint256) {
        return pool.reserveOf(BTC) * pool.reserveOf(XIN);
    }

    /// @dev The pool never owes more than it holds.
    function checkBooks() private view {
        vm.assertLe(pool.reserveOf(BTC), group.custody(PROCESS, BTC), "BTC");
        vm.assertLe(pool.reserveOf(XIN), group.custody(PROCESS, XIN), "XIN");
    }

    function givesBack(bytes32 sender, bytes32 asset_, uint256 amount, bytes memory payload, bytes memory reason)
        private
    {
        vm.assertFalse(group.deliver(PROCESS, sender, asset_, amount, payload));
        vm.assertEq(group.lastReason(), reason);
        group.expectRefund(PROCESS, sender, asset_, amount);
        group.expectNothing();
    }

    /* REFUSALS: the group gives back */

    function test_RefusesTheSameAssetTwiceOrNone() public {
        bytes32[3] memory left = [BTC, 0, BTC];
        bytes32[3] memory right = [BTC, XIN, bytes32(0)];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(SwapPool.InvalidAssets.selector, left[i], right[i]));
            new SwapPool(group, PROCESS, left[i], right[i], PROVIDER);
        }
    }

    function test_RefusesNobody() public {
        vm.assertFalse(group.deliver(PROCESS, 0, BTC, 5, command(1, 0)));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(SwapPool.NoSender.selector));
    }

    function test_RefusesAnotherAsset() public {
        bytes32 other = asset("USDT");
        givesBack(ALICE, other, 5, command(1, 0), abi.encodeWithSelector(SwapPool.UnknownAsset.selector, other));
        vm.assertFalse(group.deliver(PROCESS, ALICE, 0, 0, command(1, 0)));
        vm.assertEq(group.lastReason(), abi.encodeWithSelector(SwapPool.UnknownAsset.selector, bytes32(0)));
    }

    function test_RefusesUnknownCommands() public {
        supply(1000, 1000);
        bytes[6] memory payloads =
            [bytes(""), hex"01", hex"0300", command(0, 1), command(5, 1), abi.encodePacked(command(1, 1), hex"00")];
        for (uint256 i; i < payloads.length; ++i) {
            bytes memory reason = abi.encodeWithSelector(SwapPool.UnknownCommand.selector, payloads[i]);
            givesBack(PROVIDER, BTC, 5, payloads[i], reason);
        }
    }

    function test_RefusesStrangersWhoSupplyOrWithdraw() public {
        supply(1000, 1000);
        bytes memory reason = abi.encodeWithSelector(SwapPool.OnlyProvider.selector, ALICE);
        givesBack(ALICE, BTC, 5, hex"03", reason);
        givesBack(ALICE, BTC, 5, command(4, 1), reason);
    }

    function test_RefusesToWithdrawMoreThanTheReserve() public {
        supply(1000, 1000);
        bytes memory reason = abi.encodeWithSelector(SwapPool.InsufficientReserve.selector, BTC, 1005, 1006);
        givesBack(PROVIDER, BTC, 5, command(4, 1006), reason);
    }

    /* SWAPS THAT THE PRICE DOES NOT ALLOW: the pool gives back */

    function test_PaysBackASaleBelowTheMinimum() public {
        supply(100_000, 200_000);
        uint256 bought = pool.priceOfSale(BTC, 1000);
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 1000, command(1, bought + 1)));
        group.expectOutbound(PROCESS, BTC, 1000, ALICE, "below your minimum");
        group.expectNothing();
        vm.assertEq(pool.reserveOf(BTC), 100_000);
    }

    function test_PaysBackWhereThereIsNothing() public {
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 1000, command(1, 0)));
        group.expectOutbound(PROCESS, BTC, 1000, ALICE, "below your minimum");
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 1000, command(2, 1)));
        group.expectOutbound(PROCESS, BTC, 1000, ALICE, "costs more");
    }

    function test_PaysBackAPurchaseThatCostsMore() public {
        supply(100_000, 200_000);
        uint256 cost = pool.costOfPurchase(BTC, 1000);
        uint256[4] memory wanted = [uint256(1000), 200_000, type(uint128).max, 0];
        for (uint256 i; i < wanted.length; ++i) {
            vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, cost - 1, command(2, wanted[i])));
            group.expectOutbound(PROCESS, BTC, cost - 1, ALICE, "costs more");
        }
        vm.assertEq(pool.reserveOf(XIN), 200_000);
    }

    /* SWAPS */

    function test_SellsAtTheConstantProduct() public {
        supply(100_000, 200_000);
        // 200,000 * 997 / (100,000 + 997), rounded down.
        vm.expectEmit(address(pool));
        emit SwapPool.Swapped(ALICE, BTC, 1000, 1974);
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 1000, command(1, 1974)));
        group.expectOutbound(PROCESS, XIN, 1974, ALICE, "swapped");
        group.expectNothing();
        vm.assertEq(pool.reserveOf(BTC), 101_000);
        vm.assertEq(pool.reserveOf(XIN), 198_026);
    }

    function test_BuysExactlyAndPaysTheRestBack() public {
        supply(100_000, 200_000);
        // 100,000 * 1000 * 1000 / (199,000 * 997) + 1, rounded down.
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, 600, command(2, 1000)));
        group.expectOutbound(PROCESS, XIN, 1000, ALICE, "swapped");
        group.expectOutbound(PROCESS, BTC, 600 - 505, ALICE, "not needed");
        vm.assertTrue(group.deliver(PROCESS, ALICE, BTC, pool.costOfPurchase(BTC, 1000), command(2, 1000)));
        group.expectOutbound(PROCESS, XIN, 1000, ALICE, "swapped");
        group.expectNothing();
    }

    function test_PaysTheProvider() public {
        supply(1000, 1000);
        bytes memory set = abi.encodePacked(hex"020102", bytes16(ALICE << 128), bytes16(PROVIDER << 128));
        vm.assertTrue(group.deliver(PROCESS, PROVIDER, BTC, 5, command(4, 1005)));
        group.expectOutbound(PROCESS, BTC, 1005, PROVIDER, "withdrawn");
        vm.assertTrue(group.deliver(PROCESS, PROVIDER, XIN, 5, abi.encodePacked(command(4, 5), set)));
        group.expectOutbound(PROCESS, XIN, 5, set, "withdrawn");
        vm.assertEq(pool.reserveOf(XIN), 1000);
    }

    function test_SuppliesWhatBounces() public {
        supply(1000, 1000);
        vm.assertTrue(group.bounce(PROCESS, BTC, 7));
        vm.assertEq(pool.reserveOf(BTC), 1007);
        vm.assertFalse(group.bounce(PROCESS, asset("USDT"), 7));
        checkBooks();
    }

    /// @dev Whoever swaps, with whatever numbers: the product never falls, and the books hold.
    function testFuzz_TheProductNeverFalls(uint96 btc, uint96 xin, uint256[8] calldata dice) public {
        supply(bound(btc, 1, type(uint96).max), bound(xin, 1, type(uint96).max));
        for (uint256 i; i < dice.length; ++i) {
            bool sells = dice[i] & 1 != 0;
            bytes32 paid = dice[i] & 2 != 0 ? BTC : XIN;
            uint256 amount = uint96(dice[i] >> 8) >> (uint8(dice[i] >> 104) % 96);
            uint256 wanted = uint96(dice[i] >> 112) >> (uint8(dice[i] >> 208) % 96);
            uint256 before = product();
            group.deliver(PROCESS, ALICE, paid, amount, command(sells ? 1 : 2, wanted));
            vm.assertLe(before, product(), "product");
            checkBooks();
        }
    }

    /// @dev Selling a payment and then all that it bought gives less than was paid.
    function testFuzz_ThereAndBackLoses(uint96 btc, uint96 xin, uint96 paid) public {
        supply(bound(btc, 1000, type(uint96).max), bound(xin, 1000, type(uint96).max));
        paid = uint96(bound(paid, 1, type(uint96).max));
        uint256 bought = pool.priceOfSale(BTC, paid);
        group.deliver(PROCESS, ALICE, BTC, paid, command(1, 0));
        vm.assertLe(pool.priceOfSale(XIN, bought), paid, "profit");
    }
}
