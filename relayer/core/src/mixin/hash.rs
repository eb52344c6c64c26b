//! The kernel's two hashes (kernel `crypto/hash.go`).

use alloy_primitives::B256;
use sha3::{Digest, Sha3_256};

/// SHA3-256, which the kernel calls `Sha256Hash`: asset ids, member hashes and address checksums.
pub fn sha3_256(bytes: &[u8]) -> B256 {
    B256::new(Sha3_256::digest(bytes).into())
}

/// BLAKE3-256: transaction hashes and the scalars of one-time keys.
pub fn blake3(bytes: &[u8]) -> B256 {
    B256::new(*::blake3::hash(bytes).as_bytes())
}

/// A hash bound to a network (kernel `Hash.ForNetwork`): BLAKE3 of network ‖ hash.
pub fn for_network(network: B256, hash: B256) -> B256 {
    blake3(&[network.0, hash.0].concat())
}
