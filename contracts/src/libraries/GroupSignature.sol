// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

/// @title BLS signatures in G1 with keys in G2, ciphersuite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_.
/// @notice Points are in EIP-2537 form: 64 bytes a field element, c0 before c1. A point has one encoding only.
/// @dev The pairing checks that both points are on the curve and in their subgroups; points at infinity are refused
/// here, because the pairing accepts them.
library GroupSignature {
    /// @dev Bytes of a G1 point.
    uint256 internal constant SIGNATURE_LENGTH = 128;
    /// @dev Bytes of a G2 point.
    uint256 internal constant KEY_LENGTH = 256;

    /// @dev Domain separation tag of the ciphersuite.
    bytes internal constant DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

    /// @dev Minus the generator of G2: e(signature, -G2) * e(H(m), key) = 1 exactly for a valid signature.
    bytes private constant NEGATED_G2_GENERATOR = //forgefmt: disable-next-line

        hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb80000000000000000000000000000000013e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e000000000000000000000000000000000d1b3cc2c7027888be51d9ef691d77bcb679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa0000000000000000000000000000000013fa4d4a0ad8b1ce186ed5061789213d993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed";

    /// @dev A failing precompile takes all the gas it is given. A check of two pairs takes 102,900 gas (EIP-2537); the
    /// rest is room for a chain that prices it higher, for no owner could raise this later.
    uint256 private constant PAIRING_GAS_MAX = 400_000;

    /// @dev Whether `signature` is the one of `keyStore`'s key over `digest`.
    /// @param keyStore Contract whose code is one byte, then the key.
    function isValid(bytes32 digest, bytes calldata signature, address keyStore) internal view returns (bool) {
        if (signature.length != SIGNATURE_LENGTH || isZero(signature)) return false;
        BLS.G1Point memory hashed = hashToG1(abi.encode(digest), DST);
        bytes memory negated = NEGATED_G2_GENERATOR;
        uint256 input;
        assembly ("memory-safe") {
            // signature 128, -G2 256, H(m) 128, key 256: 768 bytes, not needed after the call.
            input := mload(0x40)
            calldatacopy(input, signature.offset, 0x80)
            mcopy(add(input, 0x80), add(negated, 0x20), 0x100)
            mcopy(add(input, 0x180), hashed, 0x80)
            extcodecopy(keyStore, add(input, 0x200), 1, 0x100)
        }
        return pairing(input, 0x300);
    }

    /// @dev Whether `key` is a point of G2 other than infinity.
    function isValidKey(bytes memory key) internal view returns (bool) {
        if (key.length != KEY_LENGTH || keccak256(key) == keccak256(new bytes(KEY_LENGTH))) return false;
        return isG2(key);
    }

    /// @dev Whether hashing and pairing work on this chain.
    function isSupported() internal view returns (bool) {
        // On a chain without the precompiles their addresses are empty accounts: a call succeeds and returns nothing.
        return returnsBytes(BLS.BLS12_MAP_FP_TO_G1, new bytes(64), 128)
            && returnsBytes(BLS.BLS12_G1ADD, new bytes(256), 128) && isG2(NEGATED_G2_GENERATOR);
    }

    /// @dev hash_to_curve of RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_, with at most 255 bytes of `dst`.
    function hashToG1(bytes memory message, bytes memory dst) internal view returns (BLS.G1Point memory) {
        (BLS.Fp memory u0, BLS.Fp memory u1) = expandMessage(message, dst);
        reduce(u0);
        reduce(u1);
        // Mapping clears the cofactor, so the sum is in the subgroup.
        return BLS.add(BLS.toG1(u0), BLS.toG1(u1));
    }

    /// @dev expand_message_xmd of RFC 9380, section 5.3.1, with SHA-256 to 128 bytes: two field elements not yet reduced.
    function expandMessage(bytes memory message, bytes memory dst)
        private
        view
        returns (BLS.Fp memory u0, BLS.Fp memory u1)
    {
        assembly ("memory-safe") {
            function sha256Of(data, length) -> digest {
                // Address 2 is SHA-256 on every chain; an empty answer means out of gas.
                if iszero(and(eq(returndatasize(), 0x20), staticcall(gas(), 2, data, length, 0x00, 0x20))) {
                    revert(0, 0)
                }
                digest := mload(0x00)
            }

            let size := mload(dst)
            let buffer := mload(0x40)
            // msg_prime: a block of zeros, the message, 128 as two bytes, a zero byte, the tag and its length.
            mstore(buffer, 0)
            mstore(add(buffer, 0x20), 0)
            mcopy(add(buffer, 0x40), add(message, 0x20), mload(message))
            let tail := add(add(buffer, 0x40), mload(message))
            mstore(tail, shl(232, 0x008000))
            mcopy(add(tail, 3), add(dst, 0x20), size)
            mstore8(add(add(tail, 3), size), size)
            let b0 := sha256Of(buffer, add(sub(add(tail, 4), buffer), size))

            // b_i = H((b_0 xor b_(i-1)), i, tag, length of the tag), with b_0 itself for i = 1.
            mcopy(add(buffer, 0x21), add(dst, 0x20), size)
            mstore8(add(add(buffer, 0x21), size), size)
            let length := add(0x22, size)
            mstore(buffer, b0)
            mstore8(add(buffer, 0x20), 1)
            let b := sha256Of(buffer, length)
            mstore(u0, b)
            mstore(buffer, xor(b0, b))
            mstore8(add(buffer, 0x20), 2)
            b := sha256Of(buffer, length)
            mstore(add(u0, 0x20), b)
            mstore(buffer, xor(b0, b))
            mstore8(add(buffer, 0x20), 3)
            b := sha256Of(buffer, length)
            mstore(u1, b)
            mstore(buffer, xor(b0, b))
            mstore8(add(buffer, 0x20), 4)
            mstore(add(u1, 0x20), sha256Of(buffer, length))
        }
    }

    /// @dev Replaces a 512-bit number by its remainder modulo the field's prime, by MODEXP with exponent 1.
    function reduce(BLS.Fp memory element) private view {
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, 0x40) // length of the base
            mstore(add(input, 0x20), 0x20) // length of the exponent
            mstore(add(input, 0x40), 0x40) // length of the modulus
            mcopy(add(input, 0x60), element, 0x40)
            mstore(add(input, 0xa0), 1)
            mstore(add(input, 0xc0), 0x000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd7)
            mstore(add(input, 0xe0), 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab)
            // Address 5 is MODEXP on every chain; an empty answer means out of gas.
            if iszero(and(eq(returndatasize(), 0x40), staticcall(gas(), 5, input, 0x100, element, 0x40))) {
                revert(0, 0)
            }
        }
    }

    /// @dev Whether the pairing takes `point`: it pairs it with infinity, which gives one for any point of G2.
    function isG2(bytes memory point) private view returns (bool) {
        bytes memory pair = abi.encodePacked(new bytes(SIGNATURE_LENGTH), point);
        uint256 input;
        assembly ("memory-safe") {
            input := add(pair, 0x20)
        }
        return pairing(input, 0x180);
    }

    /// @dev Whether the product of the pairings of `length` bytes at `input` is one. False for anything malformed.
    function pairing(uint256 input, uint256 length) private view returns (bool result) {
        address precompile = BLS.BLS12_PAIRING_CHECK;
        assembly ("memory-safe") {
            // One word comes back; an empty account would succeed with none.
            let success := staticcall(PAIRING_GAS_MAX, precompile, input, length, 0x00, 0x20)
            result := and(and(success, eq(returndatasize(), 0x20)), eq(mload(0x00), 1))
        }
    }

    function returnsBytes(address precompile, bytes memory input, uint256 length) private view returns (bool) {
        (bool success, bytes memory output) = precompile.staticcall{gas: PAIRING_GAS_MAX}(input);
        return success && output.length == length;
    }

    function isZero(bytes calldata signature) private pure returns (bool result) {
        assembly ("memory-safe") {
            let point := signature.offset
            let x := or(calldataload(point), calldataload(add(point, 0x20)))
            let y := or(calldataload(add(point, 0x40)), calldataload(add(point, 0x60)))
            result := iszero(or(x, y))
        }
    }
}
