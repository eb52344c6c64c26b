//! The canonical encoding of a group, which is hashed.
//!
//! ```text
//! keccak("lockstep/v1/group") ‖ group_id 32 ‖ generation u32 ‖ threshold u8 ‖ 1 ‖ key 256
//! ‖ members by index:       index u8 ‖ name ‖ user 16 ‖ identity 32 ‖ peer ‖ public share 256
//! ‖ chains by id:           id u64 ‖ contract: 0, or 1 ‖ 20 ‖ instance 32 ‖ start block u64
//!                           ‖ finality: 0 for finalized, or 1 ‖ depth u64; plus 2 with recovery ‖ payload u32 ‖ gas u32
//!                           ‖ aliases, sorted ‖ with recovery: address 20 ‖ silence days u16
//! ‖ assets by kernel id:    uuid 16 ‖ symbol ‖ minimum u128 ‖ floor u128
//! ‖ fee:                    asset uuid 16 ‖ amount u128
//! ‖ caps by chain, asset:   chain u64 ‖ kernel asset id 32 ‖ payout u128 ‖ hour u128 ‖ day u128
//! ‖ delays:                 unknown u64 ‖ over u64
//! ```
//!
//! Numbers are big endian. A list is preceded by its count, a text (UTF-8) by its length in bytes, both u32. Order of keys
//! and of list entries, comments, spaces and the case of hex in the file change nothing; every value does.

use alloy_primitives::{B256, keccak256};

use crate::bls::PublicKey;

use super::{Asset, Chain, Finality, Group, Member};

/// Stood for how the key was made, when there were groups of a dealer; it stays, and their digests with it.
const MARK: u8 = 1;
/// Separates this digest from every other.
const DOMAIN: &[u8] = b"lockstep/v1/group";

pub(super) fn digest(group: &Group) -> B256 {
    let mut bytes = Encoder(keccak256(DOMAIN).to_vec());
    bytes.raw(group.id.as_slice());
    bytes.raw(&group.generation.to_be_bytes());
    bytes.raw(&[group.threshold(), MARK]);
    bytes.raw(&group.key.key().to_eip2537());
    bytes.list(group.members.iter().zip(group.key.shares()), Encoder::member);
    bytes.list(group.chains.values(), Encoder::chain);
    bytes.list(group.assets.values(), Encoder::asset);
    bytes.raw(group.fee.asset.as_bytes());
    bytes.raw(&group.fee.amount.units().to_be_bytes());
    bytes.list(group.caps.iter(), |bytes, ((chain, asset), caps)| {
        bytes.raw(&chain.to_be_bytes());
        bytes.raw(&asset.0);
        for cap in [caps.payout, caps.hour, caps.day] {
            bytes.raw(&cap.units().to_be_bytes());
        }
    });
    bytes.raw(&group.delays.unknown_s.to_be_bytes());
    bytes.raw(&group.delays.over_s.to_be_bytes());
    keccak256(bytes.0)
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Counts fit: a file has at most `ENTRIES_MAX` entries a list and 256 bytes a text.
    fn count(&mut self, count: usize) {
        self.raw(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.raw(text.as_bytes());
    }

    fn list<T>(&mut self, entries: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.count(entries.len());
        for entry in entries {
            each(self, entry);
        }
    }

    fn member(&mut self, (member, public_share): (&Member, &PublicKey)) {
        self.raw(&[member.index]);
        self.text(&member.name);
        self.raw(member.user.as_bytes());
        self.raw(member.identity.as_bytes());
        self.text(&member.peer);
        self.raw(&public_share.to_eip2537());
    }

    fn chain(&mut self, chain: &Chain) {
        self.raw(&chain.id.to_be_bytes());
        match chain.contract {
            None => self.raw(&[0]),
            Some(contract) => {
                self.raw(&[1]);
                self.raw(contract.as_slice());
            }
        }
        self.raw(chain.instance.as_slice());
        self.raw(&chain.start_block.to_be_bytes());
        // A flag in a byte that was there before: without recovery the digest is what it has always been.
        let recovers = if chain.recovery.is_some() { 2 } else { 0 };
        match chain.finality {
            Finality::Finalized => self.raw(&[recovers]),
            Finality::Depth(blocks) => {
                self.raw(&[recovers | 1]);
                self.raw(&blocks.to_be_bytes());
            }
        }
        self.raw(&chain.payload_max.to_be_bytes());
        self.raw(&chain.gas_max.to_be_bytes());
        self.list(chain.aliases.iter(), |bytes, alias| bytes.text(alias));
        if let Some(recovery) = chain.recovery {
            self.raw(recovery.address.as_slice());
            self.raw(&recovery.silence_days.to_be_bytes());
        }
    }

    fn asset(&mut self, asset: &Asset) {
        self.raw(asset.uuid.as_bytes());
        self.text(&asset.symbol);
        self.raw(&asset.terms.minimum.units().to_be_bytes());
        self.raw(&asset.terms.floor.units().to_be_bytes());
    }
}
