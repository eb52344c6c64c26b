// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

import {GroupSignature} from "../src/libraries/GroupSignature.sol";
import {HashToCurve} from "./helpers/HashToCurve.sol";
import {Signer} from "./helpers/Signer.sol";
import {Test} from "./helpers/Test.sol";

contract GroupSignatureTest is Test {
    uint256 private constant SECRET = 0xb15;
    bytes32 private constant DIGEST = keccak256("digest");
    bytes private constant PRIME =
        hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

    string private vectors;
    address private prepared;
    bytes private signature;

    function setUp() public {
        vectors = vm.readFile("test/vectors/bls.json");
        prepared = SSTORE2.write(GroupSignature.prepare(Signer.key(SECRET)));
        signature = Signer.sign(SECRET, DIGEST);
    }

    /* isValid: refusals */

    function test_RefusesAnotherDigest() public view {
        vm.assertFalse(this.isValid(keccak256("other"), signature, prepared));
    }

    function test_RefusesAnotherKey() public {
        address other = SSTORE2.write(GroupSignature.prepare(Signer.key(SECRET + 1)));
        vm.assertFalse(this.isValid(DIGEST, signature, other));
    }

    function test_RefusesInfinity() public view {
        vm.assertFalse(this.isValid(DIGEST, new bytes(128), prepared));
    }

    function test_RefusesEachOtherLength() public view {
        for (uint256 length; length < 260; length += length < 120 || length > 130 ? 13 : 1) {
            if (length == 128) continue;
            vm.assertFalse(this.isValid(DIGEST, resized(signature, length), prepared));
            vm.assertFalse(GroupSignature.isValidInMemory(DIGEST, resized(signature, length), prepared));
        }
    }

    function testFuzz_RefusesAChangedBit(uint256 bit) public view {
        bit = bound(bit, 0, 1023);
        bytes memory changed = bytes.concat(signature);
        changed[bit / 8] ^= bytes1(uint8(2 ** (bit % 8)));
        vm.assertFalse(this.isValid(DIGEST, changed, prepared));
        vm.assertFalse(GroupSignature.isValidInMemory(DIGEST, changed, prepared));
    }

    function test_RefusesAPointOutsideTheSubgroup() public view {
        // On y^2 = x^3 + 4 with x = 4, of which the subgroup is a small part.
        bytes memory point = abi.encodePacked(
            uint256(0),
            uint256(4),
            hex"000000000000000000000000000000000a989badd40d6212b33cffc3f3763e9b",
            hex"c760f988c9926b26da9dd85e928483446346b8ed00e1de5d5ea93e354abe706c"
        );
        (bool onCurve,) = BLS.BLS12_G1ADD.staticcall(abi.encodePacked(point, new bytes(128)));
        vm.assertTrue(onCurve, "the point must be on the curve for this test to say anything");
        vm.assertFalse(this.isValid(DIGEST, point, prepared));
    }

    /// @dev A coordinate plus the prime names the same point and must not be a second encoding.
    function test_RefusesCoordinatesAboveThePrime() public view {
        bytes memory shifted = bytes.concat(signature);
        bytes memory sum = add(slice(signature, 0), PRIME);
        for (uint256 i; i < 64; ++i) {
            shifted[i] = sum[i];
        }
        vm.assertFalse(this.isValid(DIGEST, shifted, prepared));
    }

    function test_RefusesWhereThereIsNoPairing() public {
        vm.mockCall(BLS.BLS12_PAIRING_CHECK, "", "");
        vm.assertFalse(this.isValid(DIGEST, signature, prepared));
    }

    function test_RefusesWhereThereIsNoMap() public {
        vm.mockCall(BLS.BLS12_MAP_FP_TO_G1, "", "");
        vm.expectRevert(GroupSignature.HashToCurveFailed.selector);
        this.isValid(DIGEST, signature, prepared);
    }

    /// @dev A signature that the precompile rejects burns what the call is given, and no more.
    function test_BoundsTheGasOfAMalformedSignature() public view {
        bytes memory malformed = resized(hex"01", 128);
        uint256 before = gasleft();
        vm.assertFalse(this.isValid(DIGEST, malformed, prepared));
        vm.assertLt(before - gasleft(), 450_000, "gas");
    }

    /* isValid: success */

    function testFuzz_AcceptsASignature(uint256 secret, bytes32 digest) public {
        secret = bound(secret, 1, type(uint128).max);
        address other = SSTORE2.write(GroupSignature.prepare(Signer.key(secret)));
        bytes memory made = Signer.sign(secret, digest);
        vm.assertTrue(this.isValid(digest, made, other));
        vm.assertTrue(GroupSignature.isValidInMemory(digest, made, other));
    }

    /// @dev drand's beacons are signed with our ciphersuite over 32-byte digests.
    function test_AcceptsBeaconsOfDrand() public {
        for (uint256 i; i < 4; ++i) {
            bytes32 digest = vm.parseJsonBytes32(vectors, path("beacons", i, "digest"));
            bytes memory beacon = vm.parseJsonBytes(vectors, path("beacons", i, "signature"));
            bytes memory key = vm.parseJsonBytes(vectors, path("beacons", i, "key"));
            vm.assertEq(hashToG1(digest), vm.parseJsonBytes(vectors, path("beacons", i, "point")));
            vm.assertTrue(GroupSignature.isValidKey(key));
            vm.assertTrue(this.isValid(digest, beacon, SSTORE2.write(GroupSignature.prepare(key))));
        }
    }

    /* hashToG1 */

    /// @dev The test's own form agrees with the RFC; the contract's agrees with the test's.
    function test_HashesAsRfc9380() public view {
        for (uint256 i; i < 5; ++i) {
            bytes memory message = vm.parseJsonBytes(vectors, path("rfc9380", i, "message"));
            bytes memory tag = bytes(vm.parseJsonString(vectors, path("rfc9380", i, "dst")));
            bytes memory point = abi.encode(HashToCurve.toG1(message, tag));
            vm.assertEq(point, vm.parseJsonBytes(vectors, path("rfc9380", i, "point")));
        }
    }

    function testFuzz_HashesAsThePlainForm(bytes32 digest) public view {
        vm.assertEq(hashToG1(digest), abi.encode(HashToCurve.toG1(abi.encode(digest), Signer.TAG)));
    }

    /* reduce */

    function test_ReducesTheEdges() public view {
        bytes memory one = abi.encodePacked(uint256(0), uint256(1));
        bytes memory ones = abi.encodePacked(type(uint256).max, type(uint256).max);
        reduces(new bytes(64));
        reduces(one);
        reduces(PRIME);
        reduces(subtract(PRIME, one));
        reduces(add(PRIME, one));
        reduces(add(PRIME, PRIME));
        reduces(subtract(add(PRIME, PRIME), one));
        reduces(ones);
        reduces(abi.encodePacked(type(uint256).max, uint256(0)));
        // The largest multiple of the prime below 2^512, and its neighbours.
        bytes memory multiple = subtract(ones, abi.encode(HashToCurve.reduce(ones)));
        reduces(multiple);
        reduces(subtract(multiple, one));
        reduces(add(multiple, one));
    }

    function testFuzz_ReducesAsModExp(uint256 high, uint256 low) public view {
        reduces(abi.encodePacked(high, low));
    }

    /* isValidKey */

    function testFuzz_AcceptsAKey(uint256 secret) public view {
        vm.assertTrue(GroupSignature.isValidKey(Signer.key(bound(secret, 1, type(uint128).max))));
    }

    /* helpers */

    function isValid(bytes32 digest, bytes calldata signature_, address prepared_) external view returns (bool) {
        return GroupSignature.isValid(digest, signature_, prepared_);
    }

    function reduces(bytes memory number) private view {
        bytes memory expected = abi.encode(HashToCurve.reduce(number));
        bytes memory reduced = bytes.concat(number);
        uint256 element;
        assembly ("memory-safe") {
            element := add(reduced, 0x20)
        }
        GroupSignature.reduce(element);
        vm.assertEq(reduced, expected);
    }

    function hashToG1(bytes32 digest) private view returns (bytes memory point) {
        point = new bytes(128);
        uint256 output;
        assembly ("memory-safe") {
            output := add(point, 0x20)
        }
        GroupSignature.hashToG1(digest, output);
    }

    function path(string memory table, uint256 row, string memory key) private pure returns (string memory) {
        return string.concat(".", table, "[", vm.toString(row), "].", key);
    }

    function resized(bytes memory from, uint256 length) private pure returns (bytes memory to) {
        to = new bytes(length);
        for (uint256 i; i < length && i < from.length; ++i) {
            to[i] = from[i];
        }
    }

    function slice(bytes memory from, uint256 start) private pure returns (bytes memory) {
        bytes memory to = new bytes(64);
        for (uint256 i; i < 64; ++i) {
            to[i] = from[start + i];
        }
        return to;
    }

    function add(bytes memory a, bytes memory b) private pure returns (bytes memory) {
        (uint256 aHigh, uint256 aLow) = abi.decode(a, (uint256, uint256));
        (uint256 bHigh, uint256 bLow) = abi.decode(b, (uint256, uint256));
        unchecked {
            uint256 low = aLow + bLow;
            return abi.encode(aHigh + bHigh + (low < aLow ? 1 : 0), low);
        }
    }

    function subtract(bytes memory a, bytes memory b) private pure returns (bytes memory) {
        (uint256 aHigh, uint256 aLow) = abi.decode(a, (uint256, uint256));
        (uint256 bHigh, uint256 bLow) = abi.decode(b, (uint256, uint256));
        unchecked {
            return abi.encode(aHigh - bHigh - (aLow < bLow ? 1 : 0), aLow - bLow);
        }
    }
}
