// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

/// @notice hash_to_curve of RFC 9380 for any message and tag, suite BLS12381G1_XMD:SHA-256_SSWU_RO_: plain and slow, so that
/// the RFC's own vectors apply, and the contract's fixed and fast form has something to be compared with.
library HashToCurve {
    error ModExpFailed();

    function toG1(bytes memory message, bytes memory tag) internal view returns (BLS.G1Point memory) {
        (bytes memory u0, bytes memory u1) = expand(message, tag);
        return BLS.add(BLS.toG1(reduce(u0)), BLS.toG1(reduce(u1)));
    }

    function expand(bytes memory message, bytes memory tag) private pure returns (bytes memory u0, bytes memory u1) {
        bytes memory suffix = abi.encodePacked(tag, uint8(tag.length));
        bytes32 b0 = sha256(abi.encodePacked(new bytes(64), message, uint16(128), uint8(0), suffix));
        bytes32 b1 = sha256(abi.encodePacked(b0, uint8(1), suffix));
        bytes32 b2 = sha256(abi.encodePacked(b0 ^ b1, uint8(2), suffix));
        bytes32 b3 = sha256(abi.encodePacked(b0 ^ b2, uint8(3), suffix));
        bytes32 b4 = sha256(abi.encodePacked(b0 ^ b3, uint8(4), suffix));
        return (abi.encodePacked(b1, b2), abi.encodePacked(b3, b4));
    }

    /// @notice The remainder of a 64-byte number modulo the field's prime, by MODEXP.
    function reduce(bytes memory number) internal view returns (BLS.Fp memory) {
        bytes memory prime = abi.encodePacked(
            hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd7",
            hex"64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
        );
        bytes memory input = abi.encodePacked(uint256(64), uint256(1), uint256(64), number, uint8(1), prime);
        (bool success, bytes memory remainder) = address(5).staticcall(input);
        require(success && remainder.length == 64, ModExpFailed());
        return abi.decode(remainder, (BLS.Fp));
    }
}
