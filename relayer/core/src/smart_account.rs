//! Smart accounts of ledger users on a chain (`contracts/src/accounts`, `contracts/src/assets`): their addresses, the
//! addresses of the tokens of ledger assets, and the orders that accounts obey.
//!
//! Nothing that members derive depends on this: a payload is opaque to them. It is for who pays, and for who reads.

use alloy_primitives::{Address, B256, keccak256};

use crate::account::Account;
use crate::asset::AssetId;

mod order;

pub use order::{CALLS_MAX, Call, DATA_MAX, Order, OrderError, Payload, StoredOrder};

/// Nonce at which a registry creates what its tokens are clones of.
const TOKEN_NONCE: u8 = 1;
/// Nonce at which a registry creates what its accounts are clones of.
const ACCOUNT_NONCE: u8 = 2;

/// The accounts process of a group contract: everything it creates has an address that follows from its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registry(pub Address);

impl Registry {
    /// The smart account of a ledger user or set, whether it exists or not.
    pub fn account(self, user: Account) -> Address {
        self.clone_of(ACCOUNT_NONCE, user.0)
    }

    /// The ERC-20 of a ledger asset, whether it exists or not.
    pub fn token(self, asset: AssetId) -> Address {
        self.clone_of(TOKEN_NONCE, B256::from(asset.0))
    }

    /// A clone with `argument` as its immutable argument and its salt (CREATE2, EIP-1014) of what was created at `nonce`.
    fn clone_of(self, nonce: u8, argument: B256) -> Address {
        self.0.create2_from_code(argument, clone_code(created(self.0, nonce), argument))
    }
}

/// The contract that `creator` makes with CREATE at a `nonce` of 1 to 127: the hash of the RLP list of both.
fn created(creator: Address, nonce: u8) -> Address {
    // A list of 22 bytes: a string of 20, and one byte that stands for itself.
    let list = [[0xd6, 0x94].as_slice(), creator.as_slice(), &[nonce]].concat();
    Address::from_word(keccak256(list))
}

/// Creation code of a minimal proxy (ERC-1167) with 32 bytes behind its code, as `LibClone` of solady makes it.
fn clone_code(implementation: Address, argument: B256) -> Vec<u8> {
    // PUSH2 77, the length of what follows the first line; it is copied and returned.
    let mut code = vec![0x61, 0x00, 0x4d, 0x3d, 0x81, 0x60, 0x0a, 0x3d, 0x39, 0xf3];
    code.extend_from_slice(&[0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d, 0x3d, 0x36, 0x3d, 0x73]);
    code.extend_from_slice(implementation.as_slice());
    code.extend_from_slice(&[0x5a, 0xf4, 0x3d, 0x82, 0x80, 0x3e, 0x90, 0x3d, 0x91, 0x60, 0x2b, 0x57, 0xfd, 0x5b, 0xf3]);
    code.extend_from_slice(argument.as_slice());
    code
}

#[cfg(test)]
mod tests;
