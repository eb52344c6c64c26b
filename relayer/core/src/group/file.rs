//! The group file as it is written, and the reading of its parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alloy_primitives::{Address, B256};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{
    Asset, AssetTerms, Chain, DELAY_MAX_S, Delays, ENTRIES_MAX, GAS_BOUNDS, GroupError, MEMBERS_MAX, Member,
    PAYLOAD_MAX,
};
use crate::bls::PublicKey;
use crate::operation::Caps;
use crate::trace::ChainId;
use crate::{Amount, AssetId};

/// Longest peer URL, in bytes.
const URL_MAX: usize = 256;
/// Longest name, symbol and alias, in bytes.
const NAME_MAX: usize = 32;

/// `group.toml`. Unknown keys are refused. Amounts are decimal strings, byte strings are hex with or without `0x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupFile {
    /// 32 bytes, chosen once at random.
    pub group_id: String,
    /// 0 until a reshare.
    #[serde(default)]
    pub generation: u32,
    /// How many members must sign.
    pub threshold: u8,
    /// The group's BLS public key in G2: 256 bytes as in EIP-2537, or 96 or 192 as in ZCash.
    pub key: String,
    /// What a registration costs.
    pub fee: FeeFile,
    /// How long escrows wait.
    pub delays: DelaysFile,
    /// The members, in any order.
    pub members: Vec<MemberFile>,
    /// The chains, in any order.
    #[serde(default)]
    pub chains: Vec<ChainFile>,
    /// Assets with terms of their own.
    #[serde(default)]
    pub assets: Vec<AssetFile>,
    /// Caps of payouts.
    #[serde(default)]
    pub caps: Vec<CapsFile>,
}

/// An entry of `members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFile {
    /// 1 to n.
    pub index: u8,
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// Ledger user.
    pub user: Uuid,
    /// ed25519 public key, 32 bytes.
    pub identity: String,
    /// `http://host:port` or `https://host`.
    pub peer: String,
    /// Public key of the share, as `key`.
    pub public_share: String,
}

/// An entry of `chains`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainFile {
    /// EIP-155 id.
    pub id: ChainId,
    /// The group contract; left out before it is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Address>,
    /// 32 random bytes of this deployment.
    pub instance: String,
    /// Block of the deployment.
    #[serde(default)]
    pub start_block: u64,
    /// `"finalized"`, or a number of blocks.
    #[serde(default)]
    pub finality: Finality,
    /// Bytes; 64 KiB unless given.
    #[serde(default = "payload_max")]
    pub payload_max: u32,
    /// Gas; 5,000,000 unless given.
    #[serde(default = "gas_max")]
    pub gas_max: u32,
    /// Other names of the chain in a memo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Who may replace the key in the contract after a long silence; nobody unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// Who may replace the group key in a chain's contract, and when: the contract's constructor fixes both for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// An account of that chain, not zero.
    pub address: Address,
    /// Days without an accepted checkpoint that must have passed, at least one.
    pub silence_days: u16,
}

const fn payload_max() -> u32 {
    PAYLOAD_MAX
}

const fn gas_max() -> u32 {
    GAS_BOUNDS.1
}

/// An entry of `assets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetFile {
    /// The id on the ledger's API.
    pub id: Uuid,
    /// For people.
    pub symbol: String,
    /// Least amount of a message.
    pub minimum: Amount,
    /// Least amount that is refunded.
    pub floor: Amount,
}

/// The table `fee`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeFile {
    /// The asset on the ledger's API.
    pub asset: Uuid,
    /// Exactly this much.
    pub amount: Amount,
}

/// An entry of `caps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapsFile {
    /// A chain of `chains`.
    pub chain: ChainId,
    /// The asset on the ledger's API.
    pub asset: Uuid,
    /// Per payout.
    pub payout: Amount,
    /// Per hour of block time.
    pub hour: Amount,
    /// Per day of block time.
    pub day: Amount,
}

/// The table `delays`, in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelaysFile {
    /// For a recipient that never paid the group.
    pub unknown: u64,
    /// For an amount over a cap.
    pub over: u64,
}

/// When an event of a chain counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finality {
    /// The chain itself calls its block finalized.
    #[default]
    Finalized,
    /// So many blocks follow.
    Depth(u64),
}

impl Serialize for Finality {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finalized => serializer.serialize_str("finalized"),
            Self::Depth(blocks) => serializer.serialize_u64(*blocks),
        }
    }
}

impl<'de> Deserialize<'de> for Finality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FinalityVisitor)
    }
}

struct FinalityVisitor;

impl serde::de::Visitor<'_> for FinalityVisitor {
    type Value = Finality;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"finalized\" or a number of blocks")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Finality, E> {
        if text == "finalized" {
            Ok(Finality::Finalized)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    fn visit_u64<E: serde::de::Error>(self, blocks: u64) -> Result<Finality, E> {
        Ok(Finality::Depth(blocks))
    }

    fn visit_i64<E: serde::de::Error>(self, blocks: i64) -> Result<Finality, E> {
        let depth = u64::try_from(blocks).map(Finality::Depth);
        depth.map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(blocks), &self))
    }
}

pub(super) fn members(files: &[MemberFile]) -> Result<(Vec<Member>, Vec<PublicKey>), GroupError> {
    let members = people(files.iter().map(MemberFile::person))?;
    let mut shares = BTreeMap::new();
    let mut seen = Seen::default();
    for (i, file) in files.iter().enumerate() {
        let public_share = public_key(&format!("members[{i}].public_share"), &file.public_share)?;
        seen.once("members.public_share", hex::encode(public_share.compress()))?;
        shares.insert(file.index, public_share);
    }
    Ok((members, shares.into_values().collect()))
}

/// Who a member is, apart from its share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person<'a> {
    pub(crate) index: u8,
    pub(crate) name: &'a str,
    pub(crate) user: Uuid,
    pub(crate) identity: &'a str,
    pub(crate) peer: &'a str,
}

impl MemberFile {
    fn person(&self) -> Person<'_> {
        Person { index: self.index, name: &self.name, user: self.user, identity: &self.identity, peer: &self.peer }
    }
}

/// Members of a file by ascending index, which must be 1 to n.
pub(crate) fn people<'a>(people: impl ExactSizeIterator<Item = Person<'a>>) -> Result<Vec<Member>, GroupError> {
    let size = people.len();
    count("members", size, 1, MEMBERS_MAX)?;
    let mut members = BTreeMap::new();
    let mut seen = Seen::default();
    for (i, person) in people.enumerate() {
        let at = |key: &str| format!("members[{i}].{key}");
        let member = Member {
            index: person.index,
            name: name(at("name"), person.name)?,
            user: person.user,
            identity: identity(at("identity"), person.identity)?,
            peer: peer(at("peer"), person.peer)?,
        };
        seen.once("members.index", person.index.to_string())?;
        seen.once("members.name", member.name.clone())?;
        seen.once("members.user", member.user.to_string())?;
        seen.once("members.identity", hex::encode(member.identity.as_bytes()))?;
        seen.once("members.peer", member.peer.clone())?;
        members.insert(usize::from(person.index), member);
    }
    let missing = (1..=size).find(|index| !members.contains_key(index));
    match missing {
        Some(index) => Err(GroupError::MissingIndex { members: size, index }),
        None => Ok(members.into_values().collect()),
    }
}

pub(super) fn chains(files: &[ChainFile]) -> Result<BTreeMap<ChainId, Chain>, GroupError> {
    count("chains", files.len(), 0, ENTRIES_MAX)?;
    let mut chains = BTreeMap::new();
    let mut seen = Seen::default();
    for (i, file) in files.iter().enumerate() {
        let at = |key: &str| format!("chains[{i}].{key}");
        bounds(at("id"), file.id, 1, u64::MAX)?;
        bounds(at("payload_max"), file.payload_max.into(), 0, PAYLOAD_MAX.into())?;
        bounds(at("gas_max"), file.gas_max.into(), GAS_BOUNDS.0.into(), GAS_BOUNDS.1.into())?;
        if file.contract.is_some_and(|contract| contract.is_zero()) {
            return Err(GroupError::Zero { field: at("contract") });
        }
        if let Some(Recovery { address, silence_days }) = file.recovery {
            if address.is_zero() {
                return Err(GroupError::Zero { field: at("recovery.address") });
            }
            bounds(at("recovery.silence_days"), silence_days.into(), 1, u16::MAX.into())?;
        }
        let instance = hash(&at("instance"), &file.instance)?;
        seen.once("chains.id", file.id.to_string())?;
        seen.once("chains.instance", instance.to_string())?;
        count("chains.aliases", file.aliases.len(), 0, ENTRIES_MAX)?;
        let mut aliases = BTreeSet::new();
        for alias in &file.aliases {
            seen.once("chains.aliases", alias.clone())?;
            aliases.insert(name(at("aliases"), alias)?);
        }
        let ChainFile { id, contract, start_block, finality, payload_max, gas_max, recovery, .. } = *file;
        let chain = Chain { id, contract, instance, start_block, finality, payload_max, gas_max, aliases, recovery };
        chains.insert(id, chain);
    }
    Ok(chains)
}

pub(super) fn assets(files: &[AssetFile]) -> Result<BTreeMap<AssetId, Asset>, GroupError> {
    count("assets", files.len(), 0, ENTRIES_MAX)?;
    let mut assets = BTreeMap::new();
    for (i, file) in files.iter().enumerate() {
        let symbol = symbol(format!("assets[{i}].symbol"), &file.symbol)?;
        let terms = AssetTerms { minimum: file.minimum, floor: file.floor };
        if assets.insert(AssetId::from_uuid(file.id), Asset { uuid: file.id, symbol, terms }).is_some() {
            return Err(GroupError::Duplicate { field: "assets.id".into(), value: file.id.to_string() });
        }
    }
    Ok(assets)
}

pub(super) fn caps(
    files: &[CapsFile],
    chains: &BTreeMap<ChainId, Chain>,
) -> Result<BTreeMap<(ChainId, AssetId), Caps>, GroupError> {
    count("caps", files.len(), 0, ENTRIES_MAX)?;
    let mut caps = BTreeMap::new();
    for (i, file) in files.iter().enumerate() {
        if !chains.contains_key(&file.chain) {
            return Err(GroupError::UnknownChain { field: format!("caps[{i}].chain"), chain: file.chain });
        }
        let entry = Caps { payout: file.payout, hour: file.hour, day: file.day };
        if caps.insert((file.chain, AssetId::from_uuid(file.asset)), entry).is_some() {
            let value = format!("chain {}, asset {}", file.chain, file.asset);
            return Err(GroupError::Duplicate { field: "caps".into(), value });
        }
    }
    Ok(caps)
}

pub(super) fn delays(file: &DelaysFile) -> Result<Delays, GroupError> {
    bounds("delays.unknown".into(), file.unknown, 0, DELAY_MAX_S)?;
    bounds("delays.over".into(), file.over, 0, DELAY_MAX_S)?;
    Ok(Delays { unknown_s: file.unknown, over_s: file.over })
}

pub(crate) fn hash(field: &str, text: &str) -> Result<B256, GroupError> {
    bytes::<32>(field, text).map(B256::new)
}

pub(crate) fn public_key(field: &str, text: &str) -> Result<PublicKey, GroupError> {
    let refused = |_| GroupError::Hex { field: field.into(), bytes: 256, shown: shown(text) };
    let encoded = hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(refused)?;
    PublicKey::from_bytes(&encoded).map_err(|source| GroupError::PublicKey { field: field.into(), source })
}

fn identity(field: String, text: &str) -> Result<VerifyingKey, GroupError> {
    let key = VerifyingKey::from_bytes(&bytes::<32>(&field, text)?);
    match key {
        Ok(key) if !key.is_weak() => Ok(key),
        Ok(_) | Err(_) => Err(GroupError::Identity { field }),
    }
}

pub(crate) fn bytes<const N: usize>(field: &str, text: &str) -> Result<[u8; N], GroupError> {
    let mut bytes = [0; N];
    match hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(GroupError::Hex { field: field.into(), bytes: N, shown: shown(text) }),
    }
}

fn name(field: String, text: &str) -> Result<String, GroupError> {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(legal) {
        return Ok(text.into());
    }
    Err(GroupError::Text { field, value: shown(text), expected: "expected 1 to 32 of a-z, 0-9 and -" })
}

fn symbol(field: String, text: &str) -> Result<String, GroupError> {
    if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic()) {
        return Ok(text.into());
    }
    Err(GroupError::Text { field, value: shown(text), expected: "expected 1 to 32 visible ASCII characters" })
}

/// Only the form: the shell parses it, with the same outcome at every member as far as derivations go, for they never read it.
fn peer(field: String, text: &str) -> Result<String, GroupError> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    let legal = |c: u8| c.is_ascii_alphanumeric() || b".-:[]".contains(&c);
    if !host.is_empty() && text.len() <= URL_MAX && host.bytes().all(legal) {
        return Ok(text.into());
    }
    Err(GroupError::Text {
        field,
        value: shown(text),
        expected: "expected http://host:port or https://host:port and no path",
    })
}

pub(crate) fn bounds(field: String, value: u64, least: u64, most: u64) -> Result<(), GroupError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(GroupError::Bounds { field, value, least, most }) }
}

fn count(field: &'static str, count: usize, least: usize, most: usize) -> Result<(), GroupError> {
    if (least..=most).contains(&count) { Ok(()) } else { Err(GroupError::Count { field, count, least, most }) }
}

/// The beginning of a text, for an error message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What must differ between entries.
#[derive(Default)]
struct Seen(BTreeSet<(&'static str, String)>);

impl Seen {
    fn once(&mut self, field: &'static str, value: String) -> Result<(), GroupError> {
        if self.0.insert((field, value.clone())) {
            return Ok(());
        }
        Err(GroupError::Duplicate { field: field.into(), value: shown(&value) })
    }
}
