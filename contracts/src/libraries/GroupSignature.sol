// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

/// @title BLS signatures in G1 with keys in G2, ciphersuite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_.
/// @notice Points are in EIP-2537 form: 64 bytes a field element, c0 before c1. A point has one encoding only.
/// @dev The pairing checks that both points are on the curve and in their subgroups; points at infinity are refused
/// here, because the pairing accepts them. Addresses and types are solady's; its functions are not used on the way to a
/// verified signature, for they copy points and hand over all gas.
library GroupSignature {
    /// @dev Bytes of a G1 point.
    uint256 internal constant SIGNATURE_LENGTH = 128;
    /// @dev Bytes of a G2 point.
    uint256 internal constant KEY_LENGTH = 256;

    /// @dev Where the key begins in what is kept of it.
    uint256 internal constant KEY_OFFSET = 384;

    bytes private constant NEGATED_G2_GENERATOR = hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051"
        hex"c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        hex"0000000000000000000000000000000013e02b6052719f607dacd3a088274f65"
        hex"596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        hex"000000000000000000000000000000000d1b3cc2c7027888be51d9ef691d77bc"
        hex"b679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa"
        hex"0000000000000000000000000000000013fa4d4a0ad8b1ce186ed5061789213d"
        hex"993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed";

    /// @dev A failing precompile takes all the gas it is given. A check of two pairs takes 102,900 gas, a map 5,500 and a
    /// sum 375 (EIP-2537); the rest is room for a chain that prices them higher, for no owner could raise this later.
    uint256 private constant PAIRING_GAS_MAX = 400_000;
    uint256 private constant MAP_GAS_MAX = 50_000;

    /// @dev Hashing failed: too little gas, or no precompiles.
    error HashToCurveFailed();

    /// @dev What is kept of a key: the input of the pairing check without signature and hashed digest, that is minus the
    /// generator of G2 (RFC 9380, section 8.8.2, y negated), room for a point of G1, and the key.
    function prepare(bytes memory key) internal pure returns (bytes memory) {
        return abi.encodePacked(NEGATED_G2_GENERATOR, new bytes(SIGNATURE_LENGTH), key);
    }

    /// @dev Whether `signature` is the group's over `digest`: e(signature, -G2) * e(H(digest), key) = 1. A signature at
    /// infinity never is, because neither the key nor the hashed digest is at infinity.
    /// @param prepared Contract whose code is one byte, then the prepared key.
    function isValid(bytes32 digest, bytes calldata signature, address prepared) internal view returns (bool) {
        if (signature.length != SIGNATURE_LENGTH) return false;
        uint256 pairs = allocate();
        assembly ("memory-safe") {
            calldatacopy(pairs, signature.offset, 0x80)
        }
        return holds(digest, pairs, prepared);
    }

    /// @dev The same for a signature in memory.
    function isValidInMemory(bytes32 digest, bytes memory signature, address prepared) internal view returns (bool) {
        if (signature.length != SIGNATURE_LENGTH) return false;
        uint256 pairs = allocate();
        assembly ("memory-safe") {
            mcopy(pairs, add(signature, 0x20), 0x80)
        }
        return holds(digest, pairs, prepared);
    }

    /// @dev Memory of two pairs: signature 0x80, -G2 0x100, H(digest) 0x80, key 0x100.
    function allocate() private pure returns (uint256 pairs) {
        assembly ("memory-safe") {
            pairs := mload(0x40)
            mstore(0x40, add(pairs, 0x300))
        }
    }

    /// @dev Whether the signature at `pairs` is the one over `digest` under a prepared key.
    function holds(bytes32 digest, uint256 pairs, address prepared) private view returns (bool) {
        assembly ("memory-safe") {
            extcodecopy(prepared, add(pairs, 0x80), 1, 0x280)
        }
        hashToG1(digest, pairs + 0x180);
        return pairing(pairs, 0x300);
    }

    /// @dev Whether `key` is a point of G2 other than infinity.
    function isValidKey(bytes memory key) internal view returns (bool) {
        if (key.length != KEY_LENGTH || keccak256(key) == keccak256(new bytes(KEY_LENGTH))) return false;
        // Paired with infinity, any point of G2 gives one; anything else fails.
        bytes memory pair = abi.encodePacked(new bytes(SIGNATURE_LENGTH), key);
        uint256 pairs;
        assembly ("memory-safe") {
            pairs := add(pair, 0x20)
        }
        return pairing(pairs, 0x180);
    }

    /// @dev Whether hashing and pairing work on this chain.
    function isSupported() internal view returns (bool) {
        // Where there is no precompile, there is an empty account: a call succeeds and returns nothing. Zeros are valid input
        // to each, points at infinity.
        return answers(BLS.BLS12_MAP_FP_TO_G1, 64, 128) && answers(BLS.BLS12_G1ADD, 256, 128)
            && answers(BLS.BLS12_PAIRING_CHECK, 384, 32);
    }

    /// @dev hash_to_curve of RFC 9380 with this suite's tag: 128 bytes at memory offset `output`.
    function hashToG1(bytes32 digest, uint256 output) internal view {
        uint256 failed;
        uint256 u;
        assembly ("memory-safe") {
            function sha256Of(data, length) -> hash {
                // Address 2 is SHA-256 on every chain; an empty answer means out of gas.
                if iszero(and(eq(returndatasize(), 0x20), staticcall(gas(), 2, data, length, 0x00, 0x20))) {
                    revert(0, 0)
                }
                hash := mload(0x00)
            }

            // expand_message_xmd (section 5.3.1) to 128 bytes. The input is a block of zeros, the digest, 128 as two bytes, a
            // zero byte, the tag and its length.
            let input := mload(0x40)
            mstore(input, 0)
            mstore(add(input, 0x20), 0)
            mstore(add(input, 0x40), digest)
            mstore(add(input, 0x60), shl(232, 0x008000))
            mstore(add(input, 0x63), "BLS_SIG_BLS12381G1_XMD:SHA-256_S")
            mstore(add(input, 0x83), "SWU_RO_NUL_\x2b")
            let b0 := sha256Of(input, 143)

            // b_i = H(b_0 xor b_(i-1), i, tag, its length), with b_0 itself for i = 1.
            mstore(input, b0)
            mstore8(add(input, 0x20), 1)
            mstore(add(input, 0x21), "BLS_SIG_BLS12381G1_XMD:SHA-256_S")
            mstore(add(input, 0x41), "SWU_RO_NUL_\x2b")
            u := add(input, 0x60)
            let b := sha256Of(input, 77)
            mstore(u, b)
            mstore(input, xor(b0, b))
            mstore8(add(input, 0x20), 2)
            b := sha256Of(input, 77)
            mstore(add(u, 0x20), b)
            mstore(input, xor(b0, b))
            mstore8(add(input, 0x20), 3)
            b := sha256Of(input, 77)
            mstore(add(u, 0x40), b)
            mstore(input, xor(b0, b))
            mstore8(add(input, 0x20), 4)
            mstore(add(u, 0x60), sha256Of(input, 77))
        }
        reduce(u);
        reduce(u + 0x40);
        (address map, address sum) = (BLS.BLS12_MAP_FP_TO_G1, BLS.BLS12_G1ADD);
        assembly ("memory-safe") {
            function failing(precompile, input, length, result) -> bad {
                let success := staticcall(MAP_GAS_MAX, precompile, input, length, result, 0x80)
                bad := iszero(and(success, eq(returndatasize(), 0x80)))
            }

            // Mapping clears the cofactor, so the sum is in the subgroup.
            let points := add(u, 0x80)
            failed := failing(map, u, 0x40, points)
            failed := or(failed, failing(map, add(u, 0x40), 0x40, add(points, 0x80)))
            failed := or(failed, failing(sum, points, 0x100, output))
        }
        if (failed != 0) revert HashToCurveFailed();
    }

    /// @dev Replaces a 512-bit number u at memory offset `element` by its remainder modulo the field's prime p. Long
    /// division with the high words: a third of what MODEXP costs, and the same on every fork.
    function reduce(uint256 element) internal pure {
        assembly ("memory-safe") {
            let pHigh := 0x1a0111ea397fe69a4b1ba7b6434bacd7
            let pLow := 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab
            let uHigh := mload(element)
            let uLow := mload(add(element, 0x20))

            // q = floor(uHigh / (pHigh + 1)) is never above u / p, and below it by less than 100, for q has 132 bits and pHigh
            // has 125. The low word of q * pLow is `low`; its high word is `wrapped` - `low`, less a borrow, for `wrapped` is
            // the product modulo 2^256 - 1.
            let q := div(uHigh, add(pHigh, 1))
            let wrapped := mulmod(q, pLow, not(0))
            let low := mul(q, pLow)
            uHigh := sub(sub(uHigh, mul(q, pHigh)), sub(wrapped, low))
            uHigh := add(uHigh, sub(lt(wrapped, low), lt(uLow, low)))
            uLow := sub(uLow, low)

            // Again: now q is at most 1 below u / p.
            q := div(uHigh, add(pHigh, 1))
            wrapped := mulmod(q, pLow, not(0))
            low := mul(q, pLow)
            uHigh := sub(sub(uHigh, mul(q, pHigh)), sub(wrapped, low))
            uHigh := add(uHigh, sub(lt(wrapped, low), lt(uLow, low)))
            uLow := sub(uLow, low)

            if or(gt(uHigh, pHigh), and(eq(uHigh, pHigh), iszero(lt(uLow, pLow)))) {
                uHigh := sub(sub(uHigh, pHigh), lt(uLow, pLow))
                uLow := sub(uLow, pLow)
            }
            mstore(element, uHigh)
            mstore(add(element, 0x20), uLow)
        }
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

    function answers(address precompile, uint256 inputLength, uint256 outputLength) private view returns (bool) {
        (bool success, bytes memory output) = precompile.staticcall{gas: PAIRING_GAS_MAX}(new bytes(inputLength));
        return success && output.length == outputLength;
    }
}
