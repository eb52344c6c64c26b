//! Random values that do not shy away from the ends of their ranges.

use anyhow::{Context as _, Result};
use lockstep_core::message::{Message, MessageKind};
use lockstep_core::{Account, Address, Amount, AssetId, B256, Mix, MixMember, Uuid};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// The cases of one kind: of one seed and one name they are always the same.
pub(super) struct Random {
    pub(super) rng: StdRng,
}

impl Random {
    pub(super) fn of(what: &str) -> Result<Self> {
        let hash = Sha256::digest([&seed()?.to_be_bytes(), what.as_bytes()].concat());
        Ok(Self { rng: StdRng::from_seed(hash.into()) })
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    pub(super) fn word(&mut self) -> B256 {
        match self.below(10) {
            0 => B256::ZERO,
            1 => B256::repeat_byte(0xff),
            _ => B256::new(self.rng.random()),
        }
    }

    /// Of any size: numbers of few bits are as frequent as those of many.
    pub(super) fn number(&mut self) -> u64 {
        let bits = self.rng.random_range(0..=64_u32);
        self.rng.random::<u64>().checked_shr(64 - bits).unwrap_or(0)
    }

    pub(super) fn amount(&mut self) -> Amount {
        let bits = self.rng.random_range(0..=128_u32);
        Amount::from_units(self.rng.random::<u128>().checked_shr(128 - bits).unwrap_or(0))
    }

    pub(super) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.rng.random_range(0..=most)];
        self.rng.fill(bytes.as_mut_slice());
        bytes
    }

    pub(super) fn address(&mut self) -> Address {
        Address::from_word(self.word())
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.rng.random())
    }

    /// A legal set of payees.
    pub(super) fn mix(&mut self) -> Mix {
        let count = if self.percent(50) { 1 } else { self.rng.random_range(1..=64) };
        let bare = self.percent(30);
        let member = |random: &mut Self| {
            if bare {
                MixMember::Address(random.rng.random(), random.rng.random())
            } else {
                MixMember::User(random.uuid())
            }
        };
        let members = (0..count).map(|_| member(self)).collect();
        Mix::new(members, self.rng.random_range(1..=count))
    }

    /// A user, a set of them, or nobody.
    pub(super) fn account(&mut self) -> Account {
        match self.below(4) {
            0 => Account::ZERO,
            1 => Account::of_user(self.uuid()),
            _ => Account::of(&self.mix()),
        }
    }

    /// A message whose parts have nothing to do with one another.
    pub(super) fn message(&mut self, kind: MessageKind, nonce: u64) -> Message {
        let longest = if self.percent(10) { 3_000 } else { 100 };
        Message {
            kind,
            nonce,
            sequence: self.number(),
            timestamp: self.number(),
            sender: self.account(),
            asset: AssetId(self.word().0),
            amount: self.amount(),
            payload: self.bytes(longest),
        }
    }

    /// Of any kind.
    pub(super) fn any_message(&mut self, nonce: u64) -> Message {
        use MessageKind::{Bounce, Call, Close, Register, Update};
        let kind = [Register, Call, Bounce, Update, Close][self.below(5)];
        self.message(kind, nonce)
    }

    /// The bytes with one bit changed, a part missing, or something added.
    pub(super) fn damage(&mut self, bytes: &mut Vec<u8>) {
        match self.below(3) {
            0 if !bytes.is_empty() => {
                let (place, bit) = (self.below(bytes.len()), self.below(8));
                bytes[place] ^= 1 << bit;
            }
            1 if !bytes.is_empty() => bytes.truncate(self.below(bytes.len())),
            _ => bytes.push(self.rng.random()),
        }
    }
}

/// Which cases: another number, other cases.
pub(super) fn seed() -> Result<u64> {
    match std::env::var("LOCKSTEP_DIFFERENTIAL_SEED") {
        Ok(text) => text.parse().with_context(|| format!("LOCKSTEP_DIFFERENTIAL_SEED={text} is no number")),
        Err(_) => Ok(1),
    }
}
