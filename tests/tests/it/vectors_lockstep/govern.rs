//! Governance of one contract: data, digests and the proof that a new key is held.

use alloy::sol_types::SolValue;
use alloy_primitives::{Address, B256, U256, keccak256};
use lockstep_core::AssetId;
use lockstep_core::bls::SecretKey;
use lockstep_core::govern::{Action, Place, possession_digest};
use serde_json::{Value, json};

use super::{group_id, hexed};
use crate::figures::{load, rows, text};

/// The generation of the new key.
const GENERATION: u32 = 2;

fn place() -> Place {
    let (contract, instance) = (Address::repeat_byte(0x6c), B256::repeat_byte(0x1c));
    Place { group_id: group_id(), chain: 31_337, contract, instance }
}

fn old_key() -> SecretKey {
    SecretKey::from_bytes(&[0x4c; 32]).expect("a scalar below the order")
}

fn new_key() -> SecretKey {
    SecretKey::from_bytes(&[0x4e; 32]).expect("a scalar below the order")
}

fn actions() -> Vec<(&'static str, Action)> {
    let key = new_key().public_key();
    let possession = new_key().sign_digest(&possession_digest(&place(), GENERATION, &key)).compress();
    let asset = |name: &str, symbol: &str| Action::Asset {
        asset: AssetId([0xaa; 32]),
        name: name.to_owned(),
        symbol: symbol.to_owned(),
    };
    vec![
        ("halt", Action::Halt),
        ("resume", Action::Resume),
        ("rotate", Action::Rotate { generation: GENERATION, key: key.compress(), possession }),
        ("asset", asset("Bitcoin", "BTC")),
        ("asset: longest", asset(&"n".repeat(64), &"s".repeat(16))),
        ("repay", Action::Repay { tip_wei: 1_000_000_000, gas_per_byte: 40 }),
    ]
}

pub(super) fn governance() -> Value {
    let place = place();
    let action = |(nonce, (what, action)): (u64, (&str, Action))| {
        let digest = action.digest(&place, nonce).expect("well formed");
        json!({
            "what": what,
            "nonce": nonce,
            "kind": action.kind(),
            "data": hexed(action.data().expect("well formed")),
            "digest": hexed(digest),
            "signature": hexed(old_key().sign_digest(&digest).to_eip2537()),
        })
    };
    let key = new_key().public_key();
    let digest = possession_digest(&place, GENERATION, &key);
    json!({
        "group_id": hexed(place.group_id),
        "chain": place.chain,
        "contract": hexed(place.contract),
        "instance": hexed(place.instance),
        "key": hexed(old_key().public_key().to_eip2537()),
        "actions": (0..).zip(actions()).map(action).collect::<Vec<_>>(),
        "possession": {
            "generation": GENERATION,
            "key": hexed(key.to_eip2537()),
            "digest": hexed(digest),
            "signature": hexed(new_key().sign_digest(&digest).to_eip2537()),
        },
    })
}

#[test]
fn actions_should_be_encoded_as_solidity_does() {
    let section = &load("lockstep.json")["governance"];
    let place = place();
    let words = (place.group_id, U256::from(place.chain), place.contract, place.instance);
    for (row, (_, action)) in rows(&section["actions"]).iter().zip(actions()) {
        let data = match &action {
            Action::Halt | Action::Resume => Vec::new(),
            Action::Rotate { generation, .. } => {
                let possession = &section["possession"];
                let raw = |field| hex::decode(&text(possession, field)[2..]).expect("hex");
                (u64::from(*generation), raw("key"), raw("signature")).abi_encode_params()
            }
            Action::Asset { asset, name, symbol } => {
                (B256::from(asset.0), name.clone(), symbol.clone()).abi_encode_params()
            }
            Action::Repay { tip_wei, gas_per_byte } => (*tip_wei, *gas_per_byte).abi_encode_params(),
        };
        assert_eq!(text(row, "data"), hexed(&data), "{}", row["what"]);
        assert_eq!(Action::decode(action.kind(), &data), Ok(action.clone()));
        let (nonce, kind) = (row["nonce"].as_u64().expect("a number"), u32::from(action.kind()));
        let (group, chain, contract, instance) = words;
        let domain = keccak256("lockstep/v1/govern");
        // A number fills a word whatever its type; `u8` itself has no encoding as a value here.
        let encoded = (domain, group, chain, contract, instance, nonce, kind, keccak256(&data)).abi_encode();
        assert_eq!(text(row, "digest"), hexed(keccak256(encoded)));
    }
}

#[test]
fn possessions_should_be_encoded_as_solidity_does() {
    let row = &load("lockstep.json")["governance"]["possession"];
    let place = place();
    let key = hex::decode(&text(row, "key")[2..]).expect("hex");
    let domain = keccak256("lockstep/v1/possession");
    let generation = row["generation"].as_u64().expect("a number");
    let words = (domain, place.group_id, U256::from(place.chain), place.contract, place.instance);
    let encoded = (words.0, words.1, words.2, words.3, words.4, generation, keccak256(key)).abi_encode();
    assert_eq!(text(row, "digest"), hexed(keccak256(encoded)));
}
