//! The model's names as bytes: ASCII, padded on the right with zeros, so that their order stays.

use anyhow::{Context as _, Result, ensure};
use lockstep_core::trace::ChainId;
use lockstep_core::{Account, Address, AssetId, B256, Mix, MixMember, Uuid};

fn padded<const N: usize>(name: &str) -> Result<[u8; N]> {
    ensure!(name.len() <= N && name.bytes().all(|byte| byte.is_ascii_graphic()), "`{name}` does not fit {N} bytes");
    let mut bytes = [0; N];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Ok(bytes)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

pub(crate) fn user(name: &str) -> Result<Uuid> {
    Ok(Uuid::from_bytes(padded(name)?))
}

pub(crate) fn user_name(user: &Uuid) -> String {
    text(user.as_bytes())
}

pub(crate) fn asset(name: &str) -> Result<AssetId> {
    Ok(AssetId(padded(name)?))
}

pub(crate) fn asset_name(asset: &AssetId) -> String {
    text(&asset.0)
}

pub(crate) fn address(name: &str) -> Result<Address> {
    Ok(Address::from(padded::<20>(name)?))
}

pub(crate) fn chain(name: &str) -> Result<ChainId> {
    Ok(ChainId::from_be_bytes(padded(name)?))
}

pub(crate) fn chain_name(chain: ChainId) -> String {
    text(&chain.to_be_bytes())
}

/// Transactions have long names and no order.
pub(crate) fn hash(name: &str) -> B256 {
    alloy_primitives::keccak256(name)
}

/// `T/a+b`.
pub(crate) fn mix(text: &str) -> Result<Mix> {
    let (threshold, names) = text.split_once('/').with_context(|| format!("`{text}` is no set"))?;
    let users: Vec<Uuid> = names.split('+').filter(|name| !name.is_empty()).map(user).collect::<Result<_>>()?;
    Ok(Mix::of_users(users, threshold.parse()?))
}

pub(crate) fn mix_name(mix: &Mix) -> String {
    let name = |member: &MixMember| match member {
        MixMember::User(user) => user_name(user),
        MixMember::Address(spend, _) => hex::encode(spend),
    };
    let names: Vec<String> = mix.members().iter().map(name).collect();
    format!("{}/{}", mix.threshold(), names.join("+"))
}

/// `mix:T/a+b` or `account:T/a+b`.
pub(crate) fn recipient(text: &str) -> Result<Vec<u8>> {
    match text.split_once(':') {
        Some(("mix", set)) => Ok(mix(set)?.to_payload()),
        Some(("account", set)) => Ok(Account::of(&mix(set)?).0.to_vec()),
        _ => anyhow::bail!("`{text}` is no recipient"),
    }
}
