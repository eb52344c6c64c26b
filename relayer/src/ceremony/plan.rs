//! `proposal.toml`: what a ceremony is to make, and for a first one also the terms that the group starts with. Every operator
//! holds the same file, looks at it and approves it.

use std::collections::BTreeMap;

use lockstep_core::dkg::{Deadlines, Kind, Proposal, ProposalError, ProposalFile, ProposalMember};
use lockstep_core::group::roster::Roster;
use lockstep_core::group::{
    AssetFile, CapsFile, ChainFile, DelaysFile, FeeFile, Finality, GAS_BOUNDS, Group, GroupError, GroupFile,
    MEMBERS_MAX, MemberFile, PAYLOAD_MAX, default_threshold,
};
use lockstep_core::trace::ChainId;
use lockstep_core::{B256, Uuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::keys::Entropy;
use crate::peer::Listing;

/// Separates the names of first ceremonies from every other hash.
const DOMAIN: &[u8] = b"lockstep/v1/ceremony/first";
/// Delay of an escrow to an unknown recipient, in seconds (DERIVATION.md B7).
const DELAY_UNKNOWN_S: u64 = 60;
/// Delay of an escrow over a cap, in seconds: an hour, in which people can look.
const DELAY_OVER_S: u64 = 3_600;

/// A proposal that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Who shares which key among whom.
    pub proposal: Proposal,
    /// What the group starts with; in a first ceremony only.
    pub terms: Option<Terms>,
}

/// The parts of a group file that no ceremony makes. In `proposal.toml` the table `terms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What a registration costs.
    pub fee: FeeFile,
    /// How long escrows wait.
    pub delays: DelaysFile,
    /// The chains, without contracts.
    #[serde(default)]
    pub chains: Vec<ChainFile>,
    /// Assets with terms of their own.
    #[serde(default)]
    pub assets: Vec<AssetFile>,
    /// Caps of payouts.
    #[serde(default)]
    pub caps: Vec<CapsFile>,
}

impl Terms {
    /// Usual terms for chains whose contracts are not deployed yet.
    pub fn new(chains: &[ChainId], fee: FeeFile, random: Entropy<'_>) -> Self {
        let chain = |id: &ChainId| ChainFile {
            id: *id,
            contract: None,
            instance: B256::from(random()).to_string(),
            start_block: 0,
            recovery: None,
            finality: Finality::Finalized,
            payload_max: PAYLOAD_MAX,
            gas_max: GAS_BOUNDS.1,
            aliases: Vec::new(),
        };
        Self {
            fee,
            delays: DelaysFile { unknown: DELAY_UNKNOWN_S, over: DELAY_OVER_S },
            chains: chains.iter().map(chain).collect(),
            assets: Vec::new(),
            caps: Vec::new(),
        }
    }

    /// The group file that these terms make with the outcome of a first ceremony.
    pub fn group_file(&self, roster: &Roster) -> GroupFile {
        let members = roster.members().iter().zip(roster.key().shares());
        let member = |(member, share): (&lockstep_core::group::Member, &lockstep_core::bls::PublicKey)| MemberFile {
            index: member.index,
            name: member.name.clone(),
            user: member.user,
            identity: hex::encode(member.identity.as_bytes()),
            peer: member.peer.clone(),
            public_share: hex::encode(share.to_eip2537()),
        };
        GroupFile {
            group_id: roster.group_id().to_string(),
            generation: roster.generation(),
            threshold: roster.key().threshold(),
            key: format!("0x{}", hex::encode(roster.key().key().to_eip2537())),
            fee: self.fee.clone(),
            delays: self.delays.clone(),
            members: members.map(member).collect(),
            chains: self.chains.clone(),
            assets: self.assets.clone(),
            caps: self.caps.clone(),
        }
    }
}

impl Plan {
    /// Reads the text of a proposal file and checks all that can be checked without the roster before.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let mut table: toml::Table = toml::from_str(text)?;
        let terms = table.remove("terms").map(toml::Value::try_into::<Terms>).transpose()?;
        let file: ProposalFile = toml::Value::Table(table).try_into()?;
        let proposal = Proposal::parse(&file)?;
        match (proposal.kind(), &terms) {
            (Kind::First, None) => return Err(PlanError::NoTerms),
            (Kind::Reshare | Kind::Fresh, Some(_)) => return Err(PlanError::Terms),
            (Kind::First, Some(terms)) => {
                Group::check_terms(&terms.chains, &terms.assets, &terms.caps, &terms.delays)?;
            }
            (Kind::Reshare | Kind::Fresh, None) => {}
        }
        Ok(Self { proposal, terms })
    }

    /// The text of the proposal file.
    ///
    /// # Errors
    /// Where it cannot be written as TOML.
    pub fn to_text(&self) -> Result<String, PlanError> {
        #[derive(Serialize)]
        struct First<'a> {
            terms: &'a Terms,
        }
        let mut text = toml::to_string(&self.proposal.to_file())?;
        if let Some(terms) = &self.terms {
            text.push('\n');
            text.push_str(&toml::to_string(&First { terms })?);
        }
        Ok(text)
    }

    /// What is made, as the file says it.
    pub const fn kind(&self) -> &'static str {
        match self.proposal.kind() {
            Kind::First => "first",
            Kind::Reshare => "reshare",
            Kind::Fresh => "fresh",
        }
    }

    /// Names the ceremony between its participants: the proposal's digest; for a first one, whose terms nobody has agreed on
    /// otherwise, a hash of both. Who holds other terms is in another ceremony, and finds nobody there.
    pub fn id(&self) -> B256 {
        let digest = self.proposal.digest();
        let Some(terms) = &self.terms else { return digest };
        // Structs have a fixed order of fields, so equal terms have equal JSON.
        let terms = serde_json::to_vec(terms).unwrap_or_default();
        let hash = Sha256::new_with_prefix(DOMAIN).chain_update(digest).chain_update(Sha256::digest(terms));
        B256::from(<[u8; 32]>::from(hash.finalize()))
    }

    /// The same once more, after a round that failed: the next one, unless a later one is given.
    ///
    /// # Errors
    /// A round that is not later.
    pub fn again(&self, round: Option<u32>) -> Result<Self, PlanError> {
        let failed = self.proposal.round();
        let round = round.or_else(|| failed.checked_add(1)).filter(|round| *round > failed);
        let round = round.ok_or(PlanError::Round { failed })?;
        let proposal = Proposal::parse(&ProposalFile { round, ..self.proposal.to_file() })?;
        Self { proposal, terms: self.terms.clone() }.checked()
    }

    /// Everybody who takes part: the new members, and in a reshare the old ones. Where an identity is in both, the proposal's
    /// name and address count.
    pub fn participants(&self, previous: Option<&Roster>) -> Vec<Listing> {
        let mut all = BTreeMap::new();
        let old = previous.filter(|_| self.proposal.kind() == Kind::Reshare);
        for member in old.into_iter().flat_map(Roster::members).chain(self.proposal.members()) {
            all.insert(*member.identity.as_bytes(), Listing::from(member));
        }
        all.into_values().collect()
    }
}

/// A member to be: what `keygen member` printed, and where the others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// For people.
    pub name: String,
    /// Ledger user.
    pub user: Uuid,
    /// ed25519, hex.
    pub identity: String,
    /// `http://host:port` or `https://host`.
    pub peer: String,
}

/// Who is to hold the key, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The members, who get the indexes 1 to n in this order.
    pub members: Vec<Candidate>,
    /// How many sign; n − ⌊(n−1)/3⌋ unless given.
    pub threshold: Option<u8>,
    /// Counts the group's ceremonies.
    pub round: u32,
    /// How long each phase may take.
    pub deadlines: Deadlines,
}

impl Draft {
    /// A first ceremony for a new group.
    ///
    /// # Errors
    /// Whatever makes it no proposal.
    pub fn first(&self, terms: Terms, random: Entropy<'_>) -> Result<Plan, PlanError> {
        let group_id = B256::new(random()).to_string();
        let proposal = Proposal::parse(&self.file(group_id, Kind::First, 0, None)?)?;
        Plan { proposal, terms: Some(terms) }.checked()
    }

    /// A ceremony that follows `previous`: the same key for these members, or with `fresh` a new one. `absent` are old members
    /// that nobody waits for.
    ///
    /// # Errors
    /// Whatever makes it no proposal.
    pub fn after(&self, previous: &Roster, fresh: bool, absent: Vec<u8>) -> Result<Plan, PlanError> {
        let kind = if fresh { Kind::Fresh } else { Kind::Reshare };
        let generation = previous.generation().checked_add(1).ok_or(PlanError::Generations)?;
        let file = self.file(previous.group_id().to_string(), kind, generation, Some(previous.digest()))?;
        let proposal = Proposal::parse(&ProposalFile { absent, ..file })?;
        proposal.check_previous(Some(previous))?;
        Plan { proposal, terms: None }.checked()
    }

    fn file(
        &self,
        group_id: String,
        kind: Kind,
        generation: u32,
        previous: Option<B256>,
    ) -> Result<ProposalFile, PlanError> {
        let count = u8::try_from(self.members.len()).ok().filter(|count| usize::from(*count) <= MEMBERS_MAX);
        let count = count.ok_or(PlanError::Members(self.members.len()))?;
        let member = |(index, member): (u8, &Candidate)| ProposalMember {
            index,
            name: member.name.clone(),
            user: member.user,
            identity: member.identity.clone(),
            peer: member.peer.clone(),
        };
        Ok(ProposalFile {
            group_id,
            round: self.round,
            kind,
            generation,
            threshold: self.threshold.unwrap_or_else(|| default_threshold(count)),
            previous: previous.map(|digest| digest.to_string()),
            absent: Vec::new(),
            deadlines: self.deadlines,
            members: (1..=count).zip(&self.members).map(member).collect(),
        })
    }
}

impl Plan {
    /// What is written must be read as the same.
    fn checked(self) -> Result<Self, PlanError> {
        Self::parse(&self.to_text()?)
    }
}

/// Why there is no plan.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Not the TOML of a proposal.
    #[error("not a proposal file")]
    Syntax(#[from] toml::de::Error),
    /// Cannot be written.
    #[error("the proposal cannot be written")]
    Write(#[from] toml::ser::Error),
    /// A rule of proposals.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// A rule of group files.
    #[error("`terms`: {0}")]
    Group(#[from] GroupError),
    /// A first ceremony makes a group, which needs terms.
    #[error("a first ceremony needs the table `terms`: fee, delays and chains of the group")]
    NoTerms,
    /// The terms of a group that exists change by decisions.
    #[error("`terms` belong to a first ceremony only: those of a group that exists change by decisions")]
    Terms,
    /// None, or more than 64.
    #[error("a group has 1 to 64 members, not {0}")]
    Members(usize),
    /// No round is used twice.
    #[error("the next round must be above {failed}, that of the proposal")]
    Round {
        /// Of the proposal that failed.
        failed: u32,
    },
    /// 2³² − 1 generations.
    #[error("the group has had all generations there are")]
    Generations,
}
