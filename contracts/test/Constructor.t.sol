// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

import {IGroup} from "../src/interfaces/IGroup.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Signer} from "./helpers/Signer.sol";

contract ConstructorTest is GroupTest {
    function test_RefusesAChainWithoutPairing() public {
        refusesWithout(BLS.BLS12_PAIRING_CHECK);
    }

    function test_RefusesAChainWithoutMap() public {
        refusesWithout(BLS.BLS12_MAP_FP_TO_G1);
    }

    function test_RefusesAChainWithoutSum() public {
        refusesWithout(BLS.BLS12_G1ADD);
    }

    function test_RefusesAKeyOfAnotherLength() public {
        refuses(new bytes(0));
        refuses(new bytes(255));
        refuses(new bytes(257));
        refuses(bytes.concat(Signer.key(SECRET), hex"00"));
    }

    function test_RefusesAKeyAtInfinity() public {
        refuses(new bytes(256));
    }

    function test_RefusesAKeyOffTheCurve() public {
        bytes memory key = Signer.key(SECRET);
        key[255] ^= 0x01;
        refuses(key);
    }

    function test_RefusesAKeyInTheOrderOfZcash() public {
        // c1 before c0, as most libraries write it.
        bytes memory key = Signer.key(SECRET);
        bytes memory swapped = new bytes(256);
        for (uint256 i; i < 256; ++i) {
            swapped[i] = key[i ^ 64];
        }
        refuses(swapped);
    }

    function test_RefusesAKeyOutsideTheSubgroup() public {
        // On the twist y^2 = x^3 + 4(1 + u), of which the subgroup is a small part.
        bytes memory key = hex"0000000000000000000000000000000000000000000000000000000000000000"
            hex"0000000000000000000000000000000000000000000000000000000000000001"
            hex"0000000000000000000000000000000000000000000000000000000000000000"
            hex"0000000000000000000000000000000000000000000000000000000000000001"
            hex"0000000000000000000000000000000017faa6201231304f270b858dad946208"
            hex"9f2a5b83388e4b10773abc1eef6d193b9fce4e8ea2d9d28e3c3a315aa7de14ca"
            hex"0000000000000000000000000000000000cc12449be6ac4e7f367e7242250427"
            hex"c4fb4c39325d3164ad397c1837a90f0ea1a534757df374dd6569345eb41ed76e";
        (bool onCurve,) = BLS.BLS12_G2ADD.staticcall(abi.encodePacked(key, new bytes(256)));
        vm.assertTrue(onCurve, "the point must be on the curve for this test to say anything");
        refuses(key);
    }

    function test_KeepsWhatItIsGiven() public view {
        vm.assertEq(group.groupId(), GROUP_ID);
        vm.assertEq(group.instance(), INSTANCE);
        vm.assertEq(group.key(), Signer.key(SECRET));
        vm.assertEq(group.sequence(), 0);
        vm.assertEq(group.outboundNonce(), 0);
        vm.assertEq(group.checkpointDigest(), 0);
        vm.assertEq(group.keyGeneration(), 0);
        vm.assertEq(group.governanceNonce(), 0);
        vm.assertEq(group.recovery(), address(0));
        vm.assertEq(group.silenceDays(), 0);
        vm.assertEq(group.lastAcceptedDay(), block.timestamp / 1 days);
        vm.assertFalse(group.halted());
    }

    /// @dev One call, for `expectRevert`.
    function deploy(bytes memory key) external {
        newGroup(key);
    }

    function refusesWithout(address precompile) private {
        bytes memory key = Signer.key(SECRET);
        vm.mockCall(precompile, "", "");
        vm.expectRevert(IGroup.MissingPrecompiles.selector);
        this.deploy(key);
    }

    function refuses(bytes memory key) private {
        vm.expectRevert(IGroup.InvalidKey.selector);
        this.deploy(key);
    }
}
