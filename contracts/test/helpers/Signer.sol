// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

import {HashToCurve} from "./HashToCurve.sol";

/// @notice Signs as a group of one would, with the chain's own precompiles: no node and no other language is needed.
library Signer {
    /// @dev Generator of G2, EIP-2537 form (RFC 9380, section 8.8.2).
    bytes private constant G2_GENERATOR = hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051"
        hex"c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        hex"0000000000000000000000000000000013e02b6052719f607dacd3a088274f65"
        hex"596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        hex"000000000000000000000000000000000ce5d527727d6e118cc9cdc6da2e351a"
        hex"adfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
        hex"000000000000000000000000000000000606c4a02ea734cc32acd2b02bc28b99"
        hex"cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be";

    bytes internal constant TAG = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

    error MultiplicationFailed();

    /// @notice secret * G2.
    function key(uint256 secret) internal view returns (bytes memory) {
        return multiply(BLS.BLS12_G2MSM, G2_GENERATOR, secret);
    }

    /// @notice secret * H(digest).
    function sign(uint256 secret, bytes32 digest) internal view returns (bytes memory) {
        BLS.G1Point memory hashed = HashToCurve.toG1(abi.encode(digest), TAG);
        return multiply(BLS.BLS12_G1MSM, abi.encode(hashed), secret);
    }

    function multiply(address precompile, bytes memory point, uint256 scalar) private view returns (bytes memory) {
        (bool success, bytes memory product) = precompile.staticcall(abi.encodePacked(point, scalar));
        require(success && product.length == point.length, MultiplicationFailed());
        return product;
    }
}
