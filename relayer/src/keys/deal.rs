//! Groups for tests: one party makes the key and hands out the shares, which takes a moment where a ceremony takes many. The
//! binary has no such party.

use std::sync::Arc;

use lockstep_core::bls::{Dealing, GroupKeyError, SecretShare, default_threshold};
use lockstep_core::group::{
    ChainFile, DelaysFile, FeeFile, Finality, GAS_BOUNDS, GroupFile, MEMBERS_MAX, MemberFile, PAYLOAD_MAX,
};
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, B256, Uuid};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Entropy, HeldShare, PublicKeys};

/// Delay of an escrow to an unknown recipient, in seconds (DERIVATION.md B7).
const DELAY_UNKNOWN_S: u64 = 60;
/// Delay of an escrow over a cap, in seconds: an hour, in which people can look.
const DELAY_OVER_S: u64 = 3_600;

/// A member to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealMember {
    /// What its key file says.
    pub keys: PublicKeys,
    /// Where the others reach it.
    pub peer: String,
}

/// What the group starts with. All of it can be edited in the file before the first deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealTerms {
    /// How many sign; n − ⌊(n−1)/3⌋ unless given.
    pub threshold: Option<u8>,
    /// The chains, without contracts.
    pub chains: Vec<ChainId>,
    /// The asset that a registration is paid in.
    pub fee_asset: Uuid,
    /// What a registration costs.
    pub fee_amount: Amount,
}

/// A dealt group.
#[derive(Debug)]
pub struct Dealt {
    /// The group file.
    pub file: GroupFile,
    /// The shares of members 1 to n in order, for their key files.
    pub shares: Vec<HeldShare>,
}

/// Deals a group key to members, who get the indexes 1 to n in their order.
///
/// # Errors
/// Too many members, or a threshold without a majority.
pub fn deal(members: &[DealMember], terms: &DealTerms, random: Entropy<'_>) -> Result<Dealt, DealError> {
    let count = u8::try_from(members.len()).ok().filter(|count| usize::from(*count) <= MEMBERS_MAX);
    let count = count.ok_or(DealError::Members(members.len()))?;
    let threshold = terms.threshold.unwrap_or_else(|| default_threshold(count));
    let group_id = B256::new(random());
    let seed = Zeroizing::new(random());
    let dealing = Dealing::from_seed(&seed, threshold, count)?;

    let member = |member: &DealMember, share: &SecretShare| MemberFile {
        index: share.index(),
        name: member.keys.name.clone(),
        user: member.keys.user,
        identity: member.keys.identity.clone(),
        peer: member.peer.clone(),
        public_share: hex::encode(share.public_key().to_eip2537()),
    };
    let file = GroupFile {
        group_id: group_id.to_string(),
        generation: 0,
        threshold,
        key: format!("0x{}", hex::encode(dealing.group.key().to_eip2537())),
        fee: FeeFile { asset: terms.fee_asset, amount: terms.fee_amount },
        delays: DelaysFile { unknown: DELAY_UNKNOWN_S, over: DELAY_OVER_S },
        members: members.iter().zip(&dealing.shares).map(|(of, share)| member(of, share)).collect(),
        chains: terms.chains.iter().map(|id| chain(*id, random())).collect(),
        assets: Vec::new(),
        caps: Vec::new(),
    };
    let group_key = *dealing.group.key();
    let held = |secret| HeldShare { group_id, generation: 0, threshold, group_key, secret: Arc::new(secret) };
    Ok(Dealt { file, shares: dealing.shares.into_iter().map(held).collect() })
}

/// A chain as it is before the contract is deployed.
fn chain(id: ChainId, instance: [u8; 32]) -> ChainFile {
    ChainFile {
        id,
        contract: None,
        instance: B256::from(instance).to_string(),
        start_block: 0,
        finality: Finality::Finalized,
        payload_max: PAYLOAD_MAX,
        gas_max: GAS_BOUNDS.1,
        aliases: Vec::new(),
        recovery: None,
    }
}

/// Why no group is dealt.
#[derive(Debug, Error)]
pub enum DealError {
    /// None, or more than 64.
    #[error("a group has 1 to 64 members, not {0}")]
    Members(usize),
    /// A threshold without a majority.
    #[error("cannot deal the group key")]
    Key(#[from] GroupKeyError),
}
