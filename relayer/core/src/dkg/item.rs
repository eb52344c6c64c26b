//! What members say to one another in a ceremony: signed items with one encoding each.
//!
//! ```text
//! item   = keccak("lockstep/v1/dkg/" + what) ‖ group id 32 ‖ round u32 ‖ generation u32 ‖ proposal digest 32 ‖ author 32
//!          ‖ body ‖ signature 64
//! digest = keccak(item without its signature)
//! ```
//!
//! The author is an ed25519 identity key; it signs the digest's 32 bytes (RFC 8032, checked strictly). Numbers are big
//! endian; a list is preceded by its count, one byte. Bodies:
//!
//! ```text
//! join     nothing
//! dealing  player u8 ‖ commitment ‖ sealed share 80
//! ack      dealer u8 ‖ commitment digest 32
//! log      commitment ‖ list of: 0 ‖ the player's signature of its ack 64, or 1 ‖ its share 32 ‖ marks
//! set      list of: dealer u8 ‖ log digest 32, ascending
//! vote     set digest 32
//! ready    set digest 32 ‖ roster digest 32 ‖ marks digest 32
//! want     list of: digest 32
//!
//! commitment = list of points 96 ‖ 0, or 1 ‖ possession 48
//! marks      = 0, or 1 ‖ sequence u64 ‖ history 32 ‖ root 32 ‖ signature 48, then decision u64
//!              ‖ list of: chain u64 ‖ nonce u64, ascending
//! ```

use std::fmt;

use alloy_primitives::{B256, keccak256};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use super::bytes::push_count;
use super::seal::SEALED;
use crate::account::MEMBERS_MAX;
use crate::group::roster::Marks;
use crate::reader::Reader;

/// Longest item, in bytes. The largest there is, a log of 64 members, needs less.
pub const ITEM_MAX: usize = 16 * 1024;
/// Most digests that one item may ask for.
pub(super) const WANTS_MAX: usize = MEMBERS_MAX + 1;
/// Domain of a commitment's digest.
const COMMITMENT: &[u8] = b"lockstep/v1/dkg/commitment";

/// What every item of one ceremony is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The group.
    pub group_id: B256,
    /// The ceremony's number.
    pub round: u32,
    /// The generation that is made.
    pub generation: u32,
    /// Digest of the proposal.
    pub proposal: B256,
}

impl Binding {
    /// Group id ‖ round ‖ generation ‖ proposal digest.
    fn push(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.group_id.as_slice());
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(self.proposal.as_slice());
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            group_id: B256::new(reader.array()?),
            round: u32::from_be_bytes(reader.array()?),
            generation: u32::from_be_bytes(reader.array()?),
            proposal: B256::new(reader.array()?),
        })
    }
}

/// A dealer's public word: its polynomial's coefficients times the generator of G2, unchecked, as compressed points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Constant first.
    pub points: Vec<[u8; 96]>,
    /// Shows that the dealer knows its constant: a signature by it. Only where a new key is made.
    pub possession: Option<[u8; 48]>,
}

impl Commitment {
    /// keccak(domain ‖ binding ‖ dealer's identity 32 ‖ commitment): what an ack is for.
    pub fn digest(&self, binding: &Binding, dealer: &[u8; 32]) -> B256 {
        let mut bytes = keccak256(COMMITMENT).to_vec();
        binding.push(&mut bytes);
        bytes.extend_from_slice(dealer);
        self.push(&mut bytes);
        keccak256(bytes)
    }

    fn push(&self, bytes: &mut Vec<u8>) {
        push_count(bytes, self.points.len());
        bytes.extend(self.points.iter().flatten());
        match &self.possession {
            None => bytes.push(0),
            Some(possession) => {
                bytes.push(1);
                bytes.extend_from_slice(possession);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let points = list(reader, MEMBERS_MAX, Reader::array)?;
        let possession = match reader.array()? {
            [0] => None,
            [1] => Some(reader.array()?),
            _ => return None,
        };
        Some(Self { points, possession })
    }
}

/// How a dealer's log accounts for one player.
#[derive(Clone, PartialEq, Eq)]
pub enum Receipt {
    /// The player's signature of its ack.
    Ack([u8; 64]),
    /// The player did not acknowledge: its share, for everybody to check.
    Reveal(Zeroizing<[u8; 32]>),
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ack(_) => "Ack",
            Self::Reveal(_) => "Reveal(hidden)",
        })
    }
}

/// What an item says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// I am here, and my operator approved this proposal.
    Join,
    /// To one player: my commitment, and your share.
    Dealing {
        /// Whom it is for.
        player: u8,
        /// To all the same.
        commitment: Commitment,
        /// The share, for the player's eyes.
        sealed: [u8; SEALED],
    },
    /// To one dealer: I hold a good share under this commitment, and of no other.
    Ack {
        /// Whose.
        dealer: u8,
        /// [`Commitment::digest`].
        commitment: B256,
    },
    /// To all: what I dealt, and who has it.
    Log {
        /// As dealt.
        commitment: Commitment,
        /// For players 1 to n.
        receipts: Vec<Receipt>,
        /// What the group signed, as far as I know.
        marks: Marks,
    },
    /// The leader: these logs make the key.
    Set {
        /// Dealer and digest of its log, by ascending dealer.
        logs: Vec<(u8, B256)>,
    },
    /// I hold all logs of this set, they are good, and I vote for no other set.
    Vote {
        /// Digest of the set's item.
        set: B256,
    },
    /// I hold my share of this outcome.
    Ready {
        /// Digest of the set's item.
        set: B256,
        /// [`crate::group::roster::Roster::digest`].
        roster: B256,
        /// [`Marks::digest`].
        marks: B256,
    },
    /// Who holds an item with one of these digests, show it to me.
    Want {
        /// Digests of logs or sets.
        digests: Vec<B256>,
    },
}

impl Body {
    /// The last word of the domain.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Dealing { .. } => "dealing",
            Self::Ack { .. } => "ack",
            Self::Log { .. } => "log",
            Self::Set { .. } => "set",
            Self::Vote { .. } => "vote",
            Self::Ready { .. } => "ready",
            Self::Want { .. } => "want",
        }
    }

    fn push(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Join => {}
            Self::Dealing { player, commitment, sealed } => {
                bytes.push(*player);
                commitment.push(bytes);
                bytes.extend_from_slice(sealed);
            }
            Self::Ack { dealer, commitment } => {
                bytes.push(*dealer);
                bytes.extend_from_slice(commitment.as_slice());
            }
            Self::Log { commitment, receipts, marks } => {
                commitment.push(bytes);
                push_count(bytes, receipts.len());
                for receipt in receipts {
                    push_receipt(bytes, receipt);
                }
                marks.push(bytes);
            }
            Self::Set { logs } => {
                push_count(bytes, logs.len());
                for (dealer, digest) in logs {
                    bytes.push(*dealer);
                    bytes.extend_from_slice(digest.as_slice());
                }
            }
            Self::Vote { set } => bytes.extend_from_slice(set.as_slice()),
            Self::Ready { set, roster, marks } => {
                bytes.extend([set, roster, marks].into_iter().flatten());
            }
            Self::Want { digests } => {
                push_count(bytes, digests.len());
                bytes.extend(digests.iter().flatten());
            }
        }
    }

    fn read(what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        Some(match what {
            "join" => Self::Join,
            "dealing" => {
                let [player] = reader.array()?;
                Self::Dealing { player, commitment: Commitment::read(reader)?, sealed: reader.array()? }
            }
            "ack" => {
                let [dealer] = reader.array()?;
                Self::Ack { dealer, commitment: hash(reader)? }
            }
            "log" => Self::Log {
                commitment: Commitment::read(reader)?,
                receipts: list(reader, MEMBERS_MAX, read_receipt)?,
                marks: Marks::read(reader)?,
            },
            "set" => {
                let logs = list(reader, MEMBERS_MAX, |reader| {
                    let [dealer] = reader.array()?;
                    Some((dealer, hash(reader)?))
                })?;
                // One set has one encoding.
                if !logs.is_sorted_by(|(left, _), (right, _)| left < right) {
                    return None;
                }
                Self::Set { logs }
            }
            "vote" => Self::Vote { set: hash(reader)? },
            "ready" => Self::Ready { set: hash(reader)?, roster: hash(reader)?, marks: hash(reader)? },
            "want" => Self::Want { digests: list(reader, WANTS_MAX, hash)? },
            _ => return None,
        })
    }
}

/// True for the bytes of a dealing, whoever wrote them: it holds a share, sealed to its receiver, that must not outlive the
/// ceremony. All other items are public.
pub fn carries_share(item: &[u8]) -> bool {
    item.starts_with(tag("dealing").as_slice())
}

/// All last words of domains.
const WHATS: [&str; 8] = ["join", "dealing", "ack", "log", "set", "vote", "ready", "want"];

fn tag(what: &str) -> B256 {
    keccak256(format!("lockstep/v1/dkg/{what}"))
}

fn hash(reader: &mut Reader<'_>) -> Option<B256> {
    reader.array().map(B256::new)
}

/// A counted list of at most `most` entries.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    most: usize,
    mut each: impl FnMut(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let [count] = reader.array()?;
    if usize::from(count) > most {
        return None;
    }
    (0..count).map(|_| each(reader)).collect()
}

fn push_receipt(bytes: &mut Vec<u8>, receipt: &Receipt) {
    match receipt {
        Receipt::Ack(signature) => {
            bytes.push(0);
            bytes.extend_from_slice(signature);
        }
        Receipt::Reveal(share) => {
            bytes.push(1);
            bytes.extend_from_slice(share.as_slice());
        }
    }
}

fn read_receipt(reader: &mut Reader<'_>) -> Option<Receipt> {
    match reader.array()? {
        [0] => Some(Receipt::Ack(reader.array()?)),
        [1] => Some(Receipt::Reveal(Zeroizing::new(reader.array()?))),
        _ => None,
    }
}

/// A signed item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Identity key of who says it.
    pub author: [u8; 32],
    /// What it says.
    pub body: Body,
    /// By the author over [`Item::digest`].
    pub signature: [u8; 64],
    digest: B256,
    bytes: Vec<u8>,
}

impl Item {
    /// Says something.
    pub fn sign(binding: &Binding, body: Body, identity: &SigningKey) -> Self {
        let author = identity.verifying_key().to_bytes();
        let mut bytes = unsigned(binding, &author, &body);
        let digest = keccak256(&bytes);
        let signature = identity.sign(digest.as_slice()).to_bytes();
        bytes.extend_from_slice(&signature);
        Self { author, body, signature, digest, bytes }
    }

    /// Reads an item of one ceremony and checks its signature. Whether the author may say this is for the ceremony.
    ///
    /// # Errors
    /// Not an item, one of another ceremony, or a signature that is not the author's.
    pub fn decode(bytes: &[u8], binding: &Binding) -> Result<Self, ItemError> {
        if bytes.len() > ITEM_MAX {
            return Err(ItemError::TooLong(bytes.len()));
        }
        let mut reader = Reader::new(bytes);
        let found = hash(&mut reader).ok_or(ItemError::Malformed { what: "item" })?;
        let what = WHATS.into_iter().find(|what| tag(what) == found).ok_or(ItemError::Malformed { what: "item" })?;
        let malformed = ItemError::Malformed { what };
        let bound_to = Binding::read(&mut reader).ok_or(malformed.clone())?;
        if bound_to != *binding {
            return Err(ItemError::Other { what, round: bound_to.round, proposal: bound_to.proposal });
        }
        let author = reader.array().ok_or(malformed.clone())?;
        let body = Body::read(what, &mut reader).ok_or(malformed.clone())?;
        let signature = reader.array().ok_or(malformed.clone())?;
        if !reader.is_empty() {
            return Err(malformed);
        }
        let length = bytes.len().saturating_sub(signature.len());
        let digest = keccak256(bytes.get(..length).unwrap_or_default());
        if !verify(&author, &digest, &signature) {
            return Err(ItemError::Signature { what, author });
        }
        Ok(Self { author, body, signature, digest, bytes: bytes.to_vec() })
    }

    /// Names the item: the hash of all of it but its signature.
    pub const fn digest(&self) -> B256 {
        self.digest
    }

    /// As it goes over a wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The digest that `author` signs when it says `body`.
pub fn digest_of(binding: &Binding, author: &[u8; 32], body: &Body) -> B256 {
    keccak256(unsigned(binding, author, body))
}

/// True if `author` signed the digest.
pub fn verify(author: &[u8; 32], digest: &B256, signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(author).ok().filter(|key| !key.is_weak());
    key.is_some_and(|key| key.verify_strict(digest.as_slice(), &Signature::from_bytes(signature)).is_ok())
}

fn unsigned(binding: &Binding, author: &[u8; 32], body: &Body) -> Vec<u8> {
    let mut bytes = tag(body.what()).to_vec();
    binding.push(&mut bytes);
    bytes.extend_from_slice(author);
    body.push(&mut bytes);
    bytes
}

/// Why bytes are not an item of this ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ItemError {
    /// More bytes than any item has.
    #[error("an item has at most {ITEM_MAX} bytes, got {0}")]
    TooLong(usize),
    /// Bytes that are not the one encoding of such an item.
    #[error("not a well-formed {what}")]
    Malformed {
        /// What it claims to be.
        what: &'static str,
    },
    /// An item of another ceremony, such as an earlier round.
    #[error("a {what} of round {round} with proposal {proposal}, which is another ceremony")]
    Other {
        /// What it is.
        what: &'static str,
        /// Its round.
        round: u32,
        /// Its proposal.
        proposal: B256,
    },
    /// Not signed by the author that it names.
    #[error("a {what} with a wrong signature of {}", hex::encode(author))]
    Signature {
        /// What it is.
        what: &'static str,
        /// Whom it names.
        author: [u8; 32],
    },
    /// Somebody who has no part in the ceremony, or not this one.
    #[error("a {what} of {}, who may not say that here", hex::encode(author))]
    Stranger {
        /// What it is.
        what: &'static str,
        /// Who says it.
        author: [u8; 32],
    },
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests;
