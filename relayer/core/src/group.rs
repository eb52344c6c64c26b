//! The public group file, parsed and validated: who the members are, which chains they serve and on what terms.
//!
//! Every member holds the same file. Its [`Group::digest`] opens the history and is thereby in every checkpoint, so members
//! with different files cannot sign together. Whatever a derivation reads of it changes later only by a decision.

mod addresses;
mod canonical;
pub(crate) mod file;
mod generations;
pub mod roster;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use ed25519_dalek::VerifyingKey;
use thiserror::Error;
use uuid::Uuid;

use crate::bls::{BlsError, GroupKey, GroupKeyError};
use crate::operation::{Caps, MemoRules};
use crate::trace::ChainId;
use crate::{Amount, AssetId, Mix, derive};

pub use crate::bls::default_threshold;
pub use addresses::{Addresses, Arrival};
pub use file::{AssetFile, CapsFile, ChainFile, DelaysFile, FeeFile, Finality, GroupFile, MemberFile, Recovery};
pub use generations::{Generations, LearnError};

/// Most members of a group: the ledger pays to at most 64.
pub const MEMBERS_MAX: usize = crate::account::MEMBERS_MAX;
/// Most chains, assets and caps that a file may list, so that a wrong file cannot fill memory.
pub const ENTRIES_MAX: usize = 1024;
/// Largest payload of a message that any chain may allow (DESIGN.md section 9).
pub const PAYLOAD_MAX: u32 = 64 * 1024;
/// Bounds of the gas limit of one call (DESIGN.md section 9).
pub const GAS_BOUNDS: (u32, u32) = (50_000, 5_000_000);
/// Longest delay of an escrow: thirty days, in seconds. A longer one is a slip of the unit.
pub const DELAY_MAX_S: u64 = 30 * 24 * 3600;
/// Smallest payment and smallest refund of an asset that the file does not list: 0.0001 (DESIGN.md section 9).
pub const UNLISTED: AssetTerms = AssetTerms { minimum: Amount::from_units(10_000), floor: Amount::from_units(10_000) };
/// Chains that run on one machine for development.
pub const DEVELOPMENT_CHAINS: std::ops::RangeInclusive<ChainId> = 31_337..=31_346;

/// A member as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// From 1, also the point of its share on the key polynomial.
    pub index: u8,
    /// For people; lower-case letters, digits and hyphens.
    pub name: String,
    /// Its user on the ledger.
    pub user: Uuid,
    /// Verifies what it says to peers.
    pub identity: VerifyingKey,
    /// Where its peer interface listens, without a path.
    pub peer: String,
}

/// A chain that the group serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// EIP-155 id.
    pub id: ChainId,
    /// The group contract; `None` before it is deployed.
    pub contract: Option<Address>,
    /// 32 random bytes of this deployment.
    pub instance: B256,
    /// The block of the deployment: no event is older.
    pub start_block: u64,
    /// From when on an event cannot change.
    pub finality: Finality,
    /// Longest payload of a message, in bytes.
    pub payload_max: u32,
    /// Highest gas limit of a call.
    pub gas_max: u32,
    /// Other names for the chain in a memo, such as MVM's `quorum`.
    pub aliases: BTreeSet<String>,
    /// Who may replace the key in the contract after a long silence.
    pub recovery: Option<Recovery>,
}

/// What an asset must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssetTerms {
    /// Least amount of a message.
    pub minimum: Amount,
    /// Least amount that is refunded.
    pub floor: Amount,
}

/// An asset with terms of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The id on the ledger's API, for display.
    pub uuid: Uuid,
    /// For people.
    pub symbol: String,
    /// What it must bring.
    pub terms: AssetTerms,
}

/// What a registration costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// The asset on the ledger's API.
    pub asset: Uuid,
    /// Exactly this much.
    pub amount: Amount,
}

/// How long an escrow waits, in seconds of ledger time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// For a recipient that never paid the group.
    pub unknown_s: u64,
    /// For an amount over a cap.
    pub over_s: u64,
}

/// A valid group. Made only by [`Group::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    id: B256,
    generation: u32,
    key: GroupKey,
    members: Vec<Member>,
    chains: BTreeMap<ChainId, Chain>,
    assets: BTreeMap<AssetId, Asset>,
    fee: Fee,
    caps: BTreeMap<(ChainId, AssetId), Caps>,
    delays: Delays,
}

impl Group {
    /// Validates a file: every rule that can be checked without asking anybody.
    ///
    /// # Errors
    /// The first rule that is broken, with the place in the file.
    pub fn parse(file: &GroupFile) -> Result<Self, GroupError> {
        let (members, shares) = file::members(&file.members)?;
        let chains = file::chains(&file.chains)?;
        let key = file::public_key("key", &file.key)?;
        let group = Self {
            id: file::hash("group_id", &file.group_id)?,
            generation: file.generation,
            key: GroupKey::new(file.threshold, key, shares).map_err(GroupError::Key)?,
            caps: file::caps(&file.caps, &chains)?,
            assets: file::assets(&file.assets)?,
            fee: Fee { asset: file.fee.asset, amount: file.fee.amount },
            delays: file::delays(&file.delays)?,
            members,
            chains,
        };
        group.check()?;
        Ok(group)
    }

    /// Checks the parts of a group file that no ceremony makes, before there is a key.
    ///
    /// # Errors
    /// The first rule that is broken, with the place in the file.
    pub fn check_terms(
        chains: &[ChainFile],
        assets: &[AssetFile],
        caps: &[CapsFile],
        delays: &DelaysFile,
    ) -> Result<(), GroupError> {
        let chains = file::chains(chains)?;
        file::caps(caps, &chains)?;
        file::assets(assets)?;
        file::delays(delays)?;
        Ok(())
    }

    fn check(&self) -> Result<(), GroupError> {
        if self.id.is_zero() {
            return Err(GroupError::Zero { field: "group_id".into() });
        }
        if self.generation != 0 {
            return Err(GroupError::Generation(self.generation));
        }
        Ok(())
    }

    /// Fixed for ever, independent of the key.
    pub const fn id(&self) -> B256 {
        self.id
    }

    /// How often the key was shared anew.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// How many must sign.
    pub const fn threshold(&self) -> u8 {
        self.key.threshold()
    }

    /// Verifies what the group signs, and with the members' public shares who signed wrongly.
    pub const fn key(&self) -> &GroupKey {
        &self.key
    }

    /// All members by ascending index; the one with index i stands at i − 1.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with an index from 1.
    pub fn member(&self, index: u8) -> Option<&Member> {
        self.members.get(usize::from(index.checked_sub(1)?))
    }

    /// The member that signs with an identity key.
    pub fn member_by_identity(&self, identity: &[u8; 32]) -> Option<&Member> {
        self.members.iter().find(|member| member.identity.as_bytes() == identity)
    }

    /// The members as the ledger knows them: the set that is paid and that pays.
    pub fn mix(&self) -> Mix {
        Mix::of_users(self.members.iter().map(|member| member.user), self.threshold())
    }

    /// The members and their public shares at the opening of the group, which the group file itself certifies.
    pub fn roster(&self) -> roster::Roster {
        roster::Roster::genesis(self.id, self.members.clone(), self.key.clone())
    }

    /// The chains by ascending id.
    pub const fn chains(&self) -> &BTreeMap<ChainId, Chain> {
        &self.chains
    }

    /// The group contract of a chain, once deployed.
    pub fn contract(&self, chain: ChainId) -> Option<Address> {
        self.chains.get(&chain)?.contract
    }

    /// The chain that a memo's alias names.
    pub fn aliases(&self) -> BTreeMap<String, ChainId> {
        let of = |chain: &Chain| -> Vec<_> { chain.aliases.iter().map(|alias| (alias.clone(), chain.id)).collect() };
        self.chains.values().flat_map(of).collect()
    }

    /// The listed assets by kernel id.
    pub const fn assets(&self) -> &BTreeMap<AssetId, Asset> {
        &self.assets
    }

    /// What an asset must bring, listed or not.
    pub fn terms(&self, asset: &AssetId) -> AssetTerms {
        self.assets.get(asset).map_or(UNLISTED, |asset| asset.terms)
    }

    /// What a registration costs.
    pub const fn fee(&self) -> Fee {
        self.fee
    }

    /// Caps of payouts by chain and asset; an unlisted pair has none.
    pub const fn caps(&self) -> &BTreeMap<(ChainId, AssetId), Caps> {
        &self.caps
    }

    /// How long an escrow waits.
    pub const fn delays(&self) -> Delays {
        self.delays
    }

    /// The group as memos are read: the aliases of its chains, and the key of its decisions.
    pub fn memo_rules(&self) -> MemoRules {
        MemoRules { group_id: self.id, group_key: Some(*self.key.key()), aliases: self.aliases() }
    }

    /// The group as derivations read it, at sequence 0.
    pub fn derivation(&self) -> derive::Config {
        let rule = |terms: AssetTerms| derive::AssetRule { minimum: terms.minimum, floor: terms.floor };
        let nanoseconds = |seconds: u64| seconds.saturating_mul(1_000_000_000);
        let mut caps = BTreeMap::<ChainId, BTreeMap<AssetId, Caps>>::new();
        for ((chain, asset), of_pair) in &self.caps {
            caps.entry(*chain).or_default().insert(*asset, *of_pair);
        }
        let maxima = |chain: &Chain| derive::ChainRule {
            payload_max: usize::try_from(chain.payload_max).unwrap_or(usize::MAX),
            gas_max: chain.gas_max,
        };
        derive::Config {
            group: self.mix(),
            fee: derive::Fee { asset: AssetId::from_uuid(self.fee.asset), amount: self.fee.amount },
            default: rule(UNLISTED),
            assets: self.assets.iter().map(|(id, asset)| (*id, rule(asset.terms))).collect(),
            chains: self.chains.iter().map(|(id, chain)| (*id, maxima(chain))).collect(),
            caps,
            delay_unknown_ns: nanoseconds(self.delays.unknown_s),
            delay_over_ns: nanoseconds(self.delays.over_s),
            window_hour_ns: derive::HOUR_NS,
            window_day_ns: derive::DAY_NS,
            inputs_max: derive::INPUTS_MAX,
            sweep_max: derive::SWEEP_MAX,
            memo_max: derive::MEMO_MAX,
        }
    }

    /// Commits to everything in the file, and to nothing about how it is written: keccak over the encoding that
    /// `canonical` documents.
    pub fn digest(&self) -> B256 {
        canonical::digest(self)
    }
}

/// Why a group file is refused. `field` is the place in the file, such as `members[2].peer`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// Not hexadecimal, or of another length.
    #[error("`{field}` must be {bytes} bytes of hex, got `{shown}`")]
    Hex {
        /// Place in the file.
        field: String,
        /// Bytes expected.
        bytes: usize,
        /// The beginning of what stands there.
        shown: String,
    },
    /// All zero where that means nothing.
    #[error("`{field}` is zero")]
    Zero {
        /// Place in the file.
        field: String,
    },
    /// A BLS key that is not a key.
    #[error("`{field}` is not a BLS public key")]
    PublicKey {
        /// Place in the file.
        field: String,
        /// What is wrong with it.
        #[source]
        source: BlsError,
    },
    /// An ed25519 key that is not a key, or one of small order.
    #[error("`{field}` is not an ed25519 public key that can be trusted")]
    Identity {
        /// Place in the file.
        field: String,
    },
    /// Too many entries of a list, or none where one is needed.
    #[error("`{field}` has {count} entries, expected {least} to {most}")]
    Count {
        /// The list.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
    },
    /// Indexes other than 1 to n.
    #[error("member indexes must be 1 to {members}, each once; {index} is missing")]
    MissingIndex {
        /// How many members.
        members: usize,
        /// The first that is not there.
        index: usize,
    },
    /// Two entries that must differ are alike.
    #[error("`{field}` stands twice: {value}")]
    Duplicate {
        /// Place in the file.
        field: String,
        /// What is repeated.
        value: String,
    },
    /// A text that is empty, too long or has other characters.
    #[error("`{field}` is `{value}`: {expected}")]
    Text {
        /// Place in the file.
        field: String,
        /// The beginning of what stands there.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A number out of its bounds.
    #[error("`{field}` is {value}, expected {least} to {most}")]
    Bounds {
        /// Place in the file.
        field: String,
        /// What stands there.
        value: u64,
        /// Smallest.
        least: u64,
        /// Largest.
        most: u64,
    },
    /// A threshold without a majority, or shares that do not belong to the key.
    #[error("`threshold`, `key` and the members' `public_share` do not fit together")]
    Key(#[source] GroupKeyError),
    /// A generation that this version cannot have.
    #[error("generation {0}: this version knows generation 0 only")]
    Generation(u32),
    /// A cap for a chain that is not listed.
    #[error("`{field}` names chain {chain}, which is not in `chains`")]
    UnknownChain {
        /// Place in the file.
        field: String,
        /// The chain.
        chain: ChainId,
    },
}

#[cfg(test)]
mod tests;
