//! What a fresh key is for: the old one gives its place to it, on a contract and in the ledger's order, and the new one
//! shows that it is held.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use lockstep_core::bls::Signature;
use lockstep_core::govern::{Action, Place, possession_digest};
use lockstep_core::operation::{DecisionBody, SignedDecision, decision_digest, group_key_digest};

use super::people::{Holder, group_of};

/// A rotation that the holders of both keys make together, and what holders of only one cannot.
pub(super) fn rotates(old: &BTreeMap<u8, Holder>, new: &BTreeMap<u8, Holder>) -> Result<(), String> {
    contract(old, new)?;
    ledger(old, new)
}

/// The group's signature by the first t holders.
fn sign(holders: &BTreeMap<u8, Holder>, digest: B256) -> Result<Signature, String> {
    let key = group_of(holders).key();
    let partials: Vec<_> = holders.values().map(|holder| holder.share.sign_digest(&digest)).collect();
    let few = partials.get(..usize::from(key.threshold()) - 1).unwrap_or_default();
    if key.recover_digest(&digest, few, &BTreeSet::new()).is_ok() {
        return Err("too few holders sign".into());
    }
    let recovered = key.recover_digest(&digest, &partials, &BTreeSet::new());
    recovered.map(|recovered| recovered.signature).map_err(|error| error.to_string())
}

fn expect(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("rotation: not {what}")) }
}

fn contract(old: &BTreeMap<u8, Holder>, new: &BTreeMap<u8, Holder>) -> Result<(), String> {
    let (before, after) = (group_of(old).key().key(), group_of(new).key().key());
    let generation = group_of(new).generation();
    let instance = B256::repeat_byte(3);
    let place =
        Place { group_id: group_of(old).group_id(), chain: 31_337, contract: Address::repeat_byte(2), instance };
    let proved = possession_digest(&place, generation, after);
    let rotate = |possession: &Signature| Action::Rotate {
        generation,
        key: after.compress(),
        possession: possession.compress(),
    };
    let action = rotate(&sign(new, proved)?);
    expect(action.check(&place).is_ok(), "possession of the new key is shown")?;
    expect(rotate(&sign(old, proved)?).check(&place).is_err(), "the old key proves nothing for the new one")?;
    let elsewhere = Place { chain: 31_338, ..place };
    expect(action.check(&elsewhere).is_err(), "the proof is worth nothing on another chain")?;
    let digest = action.digest(&place, 0).map_err(|error| error.to_string())?;
    expect(before.verify_digest(&digest, &sign(old, digest)?), "the old key orders it")?;
    expect(!before.verify_digest(&digest, &sign(new, digest)?), "the new key cannot order it itself")
}

fn ledger(old: &BTreeMap<u8, Holder>, new: &BTreeMap<u8, Holder>) -> Result<(), String> {
    let (before, after) = (group_of(old).key().key(), group_of(new).key().key());
    let (group_id, generation) = (group_of(old).group_id(), group_of(new).generation());
    let key = after.compress();
    let decide = |holders, possessing| -> Result<SignedDecision, String> {
        let possession = sign(possessing, group_key_digest(&group_id, generation, &key))?.compress();
        let body = DecisionBody::Key { generation, key, possession };
        let signature = sign(holders, decision_digest(&group_id, 1, &body.encode()))?.compress();
        Ok(SignedDecision { number: 1, body, signature })
    };
    let valid = |decision: SignedDecision| decision.judge(&group_id, Some(before)).valid;
    expect(valid(decide(old, new)?), "both keys together decide it")?;
    expect(!valid(decide(new, new)?), "the new key cannot decide it itself")?;
    expect(!valid(decide(old, old)?), "the old key proves nothing for the new one")
}
