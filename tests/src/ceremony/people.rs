//! People, and what they hold between ceremonies.

use std::collections::BTreeMap;
use std::fmt;

use ed25519_dalek::SigningKey;
use lockstep_core::bls::{SecretKey, SecretShare};
use lockstep_core::dkg::{Deadlines, Kind, Proposal, ProposalFile, ProposalMember};
use lockstep_core::group::roster::Roster;

/// Somebody with an identity.
#[derive(Clone)]
pub struct Person {
    /// Tells people apart.
    pub number: u8,
    /// Its identity key.
    pub identity: SigningKey,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.number)
    }
}

impl Person {
    /// The person with a number.
    pub fn new(number: u8) -> Self {
        Self { number, identity: SigningKey::from_bytes(&[number; 32]) }
    }

    /// Its identity's public key.
    pub fn public(&self) -> [u8; 32] {
        self.identity.verifying_key().to_bytes()
    }

    fn member(&self, index: u8) -> ProposalMember {
        ProposalMember {
            index,
            name: format!("m{}", self.number),
            user: uuid::Uuid::from_u128(self.number.into()),
            identity: hex::encode(self.public()),
            peer: format!("http://127.0.0.1:{}", 7_700 + u16::from(self.number)),
        }
    }
}

/// What one member has after a ceremony.
#[derive(Debug)]
pub struct Holder {
    /// The certified roster.
    pub roster: Roster,
    /// Its share.
    pub share: SecretShare,
}

/// A share once more: they are not copied by accident.
pub(super) fn copy(share: &SecretShare) -> SecretShare {
    let secret = SecretKey::from_bytes(share.secret().to_bytes().as_slice()).expect("a key");
    SecretShare::new(share.index(), secret).expect("a share")
}

/// The roster that holders agree on.
///
/// # Panics
/// If nobody holds anything.
pub fn group_of(holders: &BTreeMap<u8, Holder>) -> &Roster {
    &holders.values().next().expect("somebody holds a share").roster
}

/// A proposal that these people make, after what holders have.
///
/// # Panics
/// If it keeps not every rule.
pub fn proposal(kind: Kind, round: u32, members: &[Person], threshold: u8, holders: &BTreeMap<u8, Holder>) -> Proposal {
    let previous = (kind != Kind::First).then(|| group_of(holders));
    let file = ProposalFile {
        group_id: hex::encode([9; 32]),
        round,
        kind,
        generation: previous.map_or(0, |previous| previous.generation() + 1),
        threshold,
        previous: previous.map(|previous| previous.digest().to_string()),
        absent: Vec::new(),
        deadlines: Deadlines::default(),
        members: (1..).zip(members).map(|(index, person)| person.member(index)).collect(),
    };
    Proposal::parse(&file).expect("a proposal by the rules")
}
