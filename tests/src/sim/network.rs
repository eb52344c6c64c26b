//! Pulls between members: packets that may be lost, late, twice, and out of order. The sender's index is authentic.

use lockstep_core::bls::{self, PartialSignature};
use lockstep_core::mask::MaskPair;
use lockstep_core::payout::InputSignature;
use lockstep_core::{B256, Uuid};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// What a member asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Its partial signature for the checkpoint at a sequence.
    Partial(u64),
    /// What it gives of the seed of an attempt's keys.
    Seed(Uuid, u32),
    /// What it gives of the mask of a sender.
    Mask(MaskPair),
    /// Its payload hash for a payout and attempt.
    Hash(Uuid, u32),
    /// Its signatures on that payload.
    Signatures(Uuid, u32),
}

/// What the other says; `None`: nothing yet.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Partial(Option<Partial>),
    Seed(Option<SecretPart>),
    Mask(Option<SecretPart>),
    Hash(Option<B256>),
    Signatures(Option<Vec<InputSignature>>),
}

/// All of a seed or a mask, or a part of it by the share of the roster named.
#[derive(Clone, Copy, Debug)]
pub(super) enum SecretPart {
    Whole(bls::Signature),
    Part { roster: B256, signature: PartialSignature },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Partial {
    /// Digest of the roster whose share signed.
    pub(super) roster: B256,
    pub(super) history: B256,
    pub(super) root: B256,
    pub(super) signature: PartialSignature,
}

#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) ask: Ask,
    /// `None` in a question.
    pub(super) said: Option<Said>,
}

#[derive(Debug, Default)]
pub(super) struct Network {
    flying: Vec<Packet>,
}

impl Network {
    pub(super) fn send(&mut self, packet: Packet) {
        self.flying.push(packet);
    }

    pub(super) fn len(&self) -> usize {
        self.flying.len()
    }

    /// A packet that arrives now, and whether the network misbehaved. With faults one in ten is lost and one in ten
    /// arrives again later.
    pub(super) fn next(&mut self, random: &mut StdRng, faults: bool) -> (Option<Packet>, &'static str) {
        if self.flying.is_empty() {
            return (None, "nothing flies");
        }
        let place = random.random_range(0..self.flying.len());
        let fate = if faults { random.random_range(0..10) } else { 9 };
        match fate {
            0 => {
                self.flying.swap_remove(place);
                (None, "packets lost")
            }
            1 => (Some(self.flying[place].clone()), "packets repeated"),
            _ => (Some(self.flying.swap_remove(place)), "packets"),
        }
    }
}
