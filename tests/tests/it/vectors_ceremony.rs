//! The bytes of key ceremonies that are frozen: `vectors/ceremony.json`.
//!
//! The file must be what this code computes. After a deliberate change of a format, `LOCKSTEP_WRITE_VECTORS=1` writes it
//! anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use alloy_primitives::B256;
use ed25519_dalek::SigningKey;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::dkg::seal::{open, seal};
use lockstep_core::dkg::{
    Binding, Body, Ceremony, Commitment, Effect, Item, ItemError, Kind, Receipt, Receivers, Setup,
};
use lockstep_core::group::roster::{Mark, Marks, Roster, RosterError};
use lockstep_tests::ceremony::{Person, proposal};
use serde_json::{Value, json};

const ABOUT: &str = "Frozen bytes of Lockstep's key ceremonies. Hexadecimal with 0x. \
    Written by the tests with LOCKSTEP_WRITE_VECTORS=1.";

fn hexed(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn key(number: u8) -> SigningKey {
    Person::new(number).identity
}

const fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

const fn binding() -> Binding {
    Binding { group_id: hash(9), round: 3, generation: 2, proposal: hash(8) }
}

fn marks() -> Marks {
    let checkpoint = Checkpoint { sequence: 77, history: hash(5), root: hash(6) };
    let governance = BTreeMap::from([(31_337, 2), (31_338, 1)]);
    Marks { checkpoint: Some(Mark { checkpoint, signature: [0xab; 48] }), decision: 4, governance }
}

/// One item of every kind. Points and signatures inside are not checked by the encoding.
fn bodies() -> Vec<Body> {
    let commitment = Commitment { points: vec![[1; 96], [2; 96]], possession: Some([3; 48]) };
    let bare = Commitment { possession: None, ..commitment.clone() };
    vec![
        Body::Join,
        Body::Dealing { player: 2, commitment: commitment.clone(), sealed: [4; 80] },
        Body::Ack { dealer: 1, commitment: commitment.digest(&binding(), &[7; 32]) },
        Body::Log {
            commitment,
            receipts: vec![Receipt::Ack([5; 64]), Receipt::Reveal([6; 32].into())],
            marks: marks(),
        },
        Body::Log { commitment: bare, receipts: vec![], marks: Marks::default() },
        Body::Set { logs: vec![(1, hash(1)), (3, hash(3))] },
        Body::Vote { set: hash(2) },
        Body::Ready { set: hash(2), roster: hash(3), marks: marks().digest() },
        Body::Want { digests: vec![hash(1), hash(2)] },
    ]
}

/// The roster of a whole ceremony under fixed seeds: dealings, their coefficients and all that follows from them.
#[expect(clippy::arithmetic_side_effects, reason = "counts items of a small ceremony")]
fn ceremony() -> (Roster, Vec<Vec<u8>>) {
    let people: Vec<Person> = (1..=4).map(Person::new).collect();
    let proposal = proposal(Kind::First, 1, &people, 3, &BTreeMap::new());
    let mut shown: Vec<(Receivers, Vec<u8>)> = Vec::new();
    let mut done = None;
    let mut act = |effects: Vec<Effect>, shown: &mut Vec<(Receivers, Vec<u8>)>| {
        for effect in effects {
            match effect {
                Effect::Publish { to, item } => shown.push((to, item)),
                Effect::Done { roster, .. } if done.is_none() => done = Some(*roster),
                Effect::Persist(_) | Effect::Begun | Effect::Done { .. } | Effect::Failed(_) => {}
            }
        }
    };
    let mut nodes = Vec::new();
    for person in &people {
        let (identity, proposal) = (person.identity.clone(), proposal.clone());
        let setup = Setup { proposal, previous: None, identity, share: None, marks: Marks::default() };
        let (node, effects) = Ceremony::start(setup, &[person.number; 32]).expect("a ceremony");
        act(effects, &mut shown);
        nodes.push((person.public(), node));
    }
    let mut next = 0;
    while let Some((to, item)) = shown.get(next).cloned() {
        next += 1;
        for (public, node) in &mut nodes {
            if to == Receivers::All || to == Receivers::One(*public) {
                act(node.receive(&item).expect("an item"), &mut shown);
            }
        }
    }
    (done.expect("a roster"), shown.into_iter().map(|(_, item)| item).collect())
}

fn vectors() -> Value {
    let items: Vec<_> = bodies()
        .into_iter()
        .map(|body| {
            let what = body.what();
            let item = Item::sign(&binding(), body, &key(1));
            json!({ "what": what, "digest": hexed(item.digest()), "bytes": hexed(item.bytes()) })
        })
        .collect();
    let (roster, shown) = ceremony();
    let mut sorted: Vec<_> = shown.iter().map(hexed).collect();
    sorted.sort();
    let all = alloy_primitives::keccak256(sorted.join(","));
    let people: Vec<Person> = (1..=4).map(Person::new).collect();
    let proposal = proposal(Kind::First, 1, &people, 3, &BTreeMap::new());
    json!({
        "about": ABOUT,
        "binding": { "group_id": hexed(hash(9)), "round": 3, "generation": 2, "proposal": hexed(hash(8)) },
        "author": hexed(key(1).verifying_key().as_bytes()),
        "items": items,
        "marks_digest": hexed(marks().digest()),
        "sealed": hexed(seal(&[9; 32], &key(2).verifying_key(), &hash(4), &[5; 32])),
        "proposal_digest": hexed(proposal.digest()),
        "ceremony": {
            "group_key": hexed(roster.key().key().compress()),
            "public_shares": roster.key().shares().iter().map(|share| hexed(share.compress())).collect::<Vec<_>>(),
            "roster_digest": hexed(roster.digest()),
            "items": hexed(all),
        },
    })
}

#[test]
fn the_file_should_be_what_the_code_computes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ceremony.json");
    let text = serde_json::to_string_pretty(&vectors()).expect("JSON") + "\n";
    if std::env::var_os("LOCKSTEP_WRITE_VECTORS").is_some() {
        fs::write(&path, &text).expect("the file is written");
    }
    assert_eq!(fs::read_to_string(&path).expect("the file"), text);
}

#[test]
fn each_item_should_have_one_encoding() {
    for body in bodies() {
        let item = Item::sign(&binding(), body, &key(1));
        assert_eq!(Item::decode(item.bytes(), &binding()).as_ref(), Ok(&item));
        for cut in 0..item.bytes().len() {
            assert!(Item::decode(&item.bytes()[..cut], &binding()).is_err());
        }
        assert!(Item::decode(&[item.bytes(), &[0]].concat(), &binding()).is_err());
        for place in 0..item.bytes().len() {
            let mut changed = item.bytes().to_vec();
            changed[place] ^= 1;
            assert!(Item::decode(&changed, &binding()).is_err(), "{} {place}", item.body.what());
        }
    }
    let item = Item::sign(&binding(), Body::Join, &key(1));
    for other in [
        Binding { group_id: hash(1), ..binding() },
        Binding { round: 2, ..binding() },
        Binding { generation: 1, ..binding() },
        Binding { proposal: hash(1), ..binding() },
    ] {
        assert!(matches!(Item::decode(item.bytes(), &other), Err(ItemError::Other { .. })));
    }
    let unsorted = Item::sign(&binding(), Body::Set { logs: vec![(3, hash(3)), (1, hash(1))] }, &key(1));
    assert_eq!(Item::decode(unsorted.bytes(), &binding()), Err(ItemError::Malformed { what: "set" }));
}

#[test]
fn a_roster_should_need_its_quorum_and_every_byte() {
    let (roster, _) = ceremony();
    let bytes = roster.encode().expect("bytes");
    assert_eq!(Roster::decode(&bytes).as_ref(), Ok(&roster));
    assert_eq!(Roster::parse(&roster.to_file().expect("a file")).as_ref(), Ok(&roster));
    for place in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(Roster::decode(&changed).is_err(), "{place}");
    }
    assert_eq!(Roster::decode(&bytes[..bytes.len() - 1]), Err(RosterError::Malformed));
    let mut few = roster.to_file().expect("a file");
    few.ready.truncate(2);
    assert_eq!(Roster::parse(&few), Err(RosterError::Quorum { need: 3, got: 2 }));
    let mut other = roster.to_file().expect("a file");
    other.round += 1;
    assert!(matches!(Roster::parse(&other), Err(RosterError::Signature { .. })));
    let text = toml::to_string(&roster.to_file().expect("a file")).expect("TOML");
    assert_eq!(Roster::parse(&toml::from_str(&text).expect("TOML")).as_ref(), Ok(&roster));
}

#[test]
fn marks_should_follow_the_newest_checkpoint_and_f_plus_one_members() {
    let of = |decision, nonce| Marks {
        checkpoint: None,
        decision,
        governance: if nonce == 0 { BTreeMap::new() } else { BTreeMap::from([(1, nonce)]) },
    };
    // One of four may lie upwards.
    let all = [of(u64::MAX, u64::MAX), of(5, 1), of(4, 0), of(3, 0)];
    let combined = Marks::combine(&all, 1);
    assert_eq!((combined.decision, combined.governance), (5, BTreeMap::from([(1, 1)])));
    assert_eq!(Marks::combine(&[marks(), of(9, 0), of(9, 0)], 1).checkpoint, marks().checkpoint);
    assert!(!marks().verify(&hash(9), ceremony().0.key().key()), "nobody signed that checkpoint");
}

#[test]
fn a_sealed_share_should_open_for_its_receiver_only() {
    let sealed = seal(&[9; 32], &key(2).verifying_key(), &hash(4), &[5; 32]);
    assert_eq!(open(&sealed, &key(3), &hash(4)), None);
    assert_eq!(open(&sealed, &key(2), &hash(4)).as_deref(), Some(&[9; 32]));
}
