//! The decoders, and bytes that they take.

mod chains;
mod files;
mod ledger;
mod members;
mod operations;
mod peers;
mod services;

use std::collections::BTreeMap;

use lockstep_core::bls::Dealing;
use lockstep_core::dkg::item::digest_of;
use lockstep_core::dkg::{Binding, Body};
use lockstep_core::group::Member;
use lockstep_core::group::roster::{Certificate, Marks, Roster};
use lockstep_core::mixin::{
    Deposit, Input, Output, PrivateKey, Signature, Signatures, SignedTransaction, Transaction, Withdrawal, XinAddress,
};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, B256, Mix, MixMember, Uuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Target, Verdict};
use crate::ceremony::Person;

/// All of them.
pub fn targets() -> Vec<Target> {
    [
        ledger::targets(),
        operations::targets(),
        members::targets(),
        peers::targets(),
        services::targets(),
        chains::targets(),
        files::targets(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn target(
    name: &'static str,
    samples: Vec<Vec<u8>>,
    read: impl Fn(&[u8]) -> Verdict + Send + Sync + 'static,
) -> Target {
    Target { name, samples, read: Box::new(read) }
}

fn same(is_same: bool) -> Verdict {
    if is_same { Verdict::Taken } else { Verdict::Broken("what was read does not encode back") }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

/// What is kept as JSON: other fields and spellings are read, so what was read must be stable from then on.
fn json_target<T>(name: &'static str, samples: Vec<T>) -> Target
where
    T: Serialize + DeserializeOwned + PartialEq + 'static,
{
    target(name, samples.iter().map(json).collect(), |bytes| {
        serde_json::from_slice::<T>(bytes).map_or(Verdict::Refused, |read| stable(&read))
    })
}

fn stable<T: Serialize + DeserializeOwned + PartialEq>(read: &T) -> Verdict {
    let again = serde_json::to_vec(read).ok().and_then(|bytes| serde_json::from_slice::<T>(&bytes).ok());
    same(again.is_some_and(|again| again == *read))
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_ed25519_seed(&[number; 32])
}

fn xin(number: u8) -> XinAddress {
    XinAddress { spend: key(number).public(), view: key(number | 0x80).public() }
}

fn mixes() -> Vec<Mix> {
    let users = (1..=4).map(Uuid::from_u128);
    let addresses = (1..=3).map(|number| xin(number).member());
    vec![Mix::of_users(users, 3), Mix::new(addresses.collect(), 2), Mix::new(vec![MixMember::User(Uuid::max())], 1)]
}

/// Signed transactions of each kind.
fn transactions() -> Vec<SignedTransaction> {
    let pay = |number: u8, units| {
        Output::of_keys(
            Amount::from_units(units),
            vec![key(number).public().raw()],
            key(number | 0x40).public().raw(),
            1,
        )
    };
    let coin = |index| Input::of_coin(CoinId { transaction: B256::repeat_byte(5), index });
    let deposit = Input::of_deposit(Deposit {
        chain: B256::repeat_byte(1),
        asset_key: b"btc".to_vec(),
        transaction: b"0xabc".to_vec(),
        index: 3,
        amount: Amount::from_units(9),
    });
    let mut withdrawal = pay(4, 4);
    withdrawal.withdrawal = Some(Withdrawal { address: b"0xdef".to_vec(), tag: b"7".to_vec() });
    let made = |inputs: Vec<Input>, outputs: Vec<Output>| {
        let references = vec![B256::repeat_byte(2), B256::repeat_byte(3)];
        Transaction::new(asset(), inputs, outputs, references, b"memo".to_vec()).ok()
    };
    let signature = Signature([9; 64]);
    let maps =
        Signatures::Map(vec![BTreeMap::from([(0, signature), (2, signature)]), BTreeMap::from([(1, signature)])]);
    let aggregated = |signers| Signatures::Aggregated { signature, signers };
    [
        (made(vec![coin(0), coin(1)], vec![pay(1, 5), pay(2, u128::MAX >> 1)]), maps),
        (made(vec![deposit], vec![withdrawal]), aggregated(vec![0, 1, 5])),
        (made(vec![coin(2)], vec![pay(3, 1)]), aggregated(vec![700])),
    ]
    .into_iter()
    .filter_map(|(transaction, signatures)| SignedTransaction::new(transaction?, signatures).ok())
    .collect()
}

/// The asset's id on the ledger's API.
const ASSET: Uuid = Uuid::from_u128(7);

fn asset() -> AssetId {
    AssetId::from_uuid(ASSET)
}

fn binding() -> Binding {
    let (group_id, proposal) = (B256::repeat_byte(9), B256::repeat_byte(8));
    Binding { group_id, round: 3, generation: 2, proposal }
}

/// A group of one member: the rules are those of any number, and its keys are quick to check.
fn dealing() -> Dealing {
    Dealing::from_seed(&[3; 32], 1, 1).expect("a key of one member")
}

fn member() -> Member {
    Member {
        index: 1,
        name: "one".to_owned(),
        user: Uuid::from_u128(1),
        identity: Person::new(1).identity.verifying_key(),
        peer: "http://127.0.0.1:7701".to_owned(),
    }
}

/// The certified roster of that group.
fn roster() -> Roster {
    use ed25519_dalek::Signer as _;

    let identity = Person::new(1).identity;
    let roster = Roster::uncertified(binding().group_id, binding().generation, vec![member()], dealing().group);
    let (set, marks) = (B256::repeat_byte(6), Marks::default());
    let ready = Body::Ready { set, roster: roster.digest(), marks: marks.digest() };
    let digest = digest_of(&binding(), identity.verifying_key().as_bytes(), &ready);
    let ready = BTreeMap::from([(1, identity.sign(digest.as_slice()).to_bytes())]);
    let certificate = Certificate { round: binding().round, proposal: binding().proposal, set, marks, ready };
    roster.certified(certificate).expect("the member vouches for it")
}
