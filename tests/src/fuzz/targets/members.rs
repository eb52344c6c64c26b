//! What members hand to one another: rosters, what they say in a ceremony, sealed shares, points.

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::keccak256;
use ed25519_dalek::Signer as _;
use lockstep_core::B256;
use lockstep_core::bls::{DST, Dealing, PublicKey, SecretKey, Signature};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::dkg::seal::{SEALED, open_bytes, seal_bytes};
use lockstep_core::dkg::{
    Body, Ceremony, Commitment, Effect, Item, Kind, Proposal, Receipt, Setup, check_dealing, observe,
};
use lockstep_core::group::roster::{Mark, Marks, Roster};

use super::{Target, Verdict, binding, roster, same, target};
use crate::ceremony::{Person, proposal};

/// Bytes of an item around its body: domain, binding and author in front, the signature behind.
const HEAD: usize = 32 + 72 + 32;
const TAIL: usize = 64;

pub(super) fn targets() -> Vec<Target> {
    let (person, (proposal, log)) = (Person::new(1), first_log());
    let (author, dealt) = (person.clone(), dealings());
    vec![
        target("roster", vec![roster().encode().unwrap_or_default()], |bytes| {
            let Ok(roster) = Roster::decode(bytes) else { return Verdict::Refused };
            same(roster.encode().is_some_and(|again| again == bytes))
        }),
        target("ceremony item", items().iter().map(|item| item.bytes().to_vec()).collect(), |bytes| {
            Item::decode(bytes, &binding()).map_or(Verdict::Refused, |item| same(item.bytes() == bytes))
        }),
        // The author itself says anything: damage is signed.
        target("ceremony words", items().iter().map(|item| unsigned(item.bytes()).to_vec()).collect(), move |bytes| {
            let signed = signed_by(&author, bytes);
            let Ok(item) = Item::decode(&signed, &binding()) else { return Verdict::Refused };
            same(Item::sign(&binding(), item.body, &author.identity).bytes() == signed)
        }),
        // The body of a dealer's log, up to the group key that follows from it.
        target("ceremony log", vec![body_of(&log).to_vec()], move |bytes| {
            let head = log.get(..HEAD).unwrap_or_default();
            let signed = signed_by(&person, &[head, bytes].concat());
            let seen = observe(proposal.clone(), None, &[signed]);
            // A group of one has no other dealer: its key is the dealer's constant, behind the count of points.
            seen.map_or(Verdict::Refused, |(roster, _)| {
                let key = roster.key().key().compress();
                same(bytes.get(1..97).is_some_and(|point| point == key))
            })
        }),
        target("dealing", dealings(), move |bytes| {
            let Some((share, points)) = bytes.split_first_chunk::<32>() else { return Verdict::Refused };
            let (points, []) = points.as_chunks::<96>() else { return Verdict::Refused };
            let Ok(share) = SecretKey::from_bytes(share) else { return Verdict::Refused };
            let threshold = u8::try_from(points.len()).unwrap_or(u8::MAX);
            if check_dealing(points, threshold, None, 1, &share).is_err() {
                return Verdict::Refused;
            }
            // One point is the share's own; of several, only those that were dealt fit it.
            let fits = points == [share.public_key().compress()] || dealt.iter().any(|dealt| dealt == bytes);
            same(fits)
        }),
        target("sealed share", sealed(), |bytes| {
            let own = Person::new(1).identity;
            let Some(opened) = open_bytes(bytes, &own, &B256::ZERO) else { return Verdict::Refused };
            same(seal_bytes(&opened, &own.verifying_key(), &B256::ZERO, &[3; 32]) == bytes)
        }),
        target("group key", key_forms(), |bytes| {
            let Ok(key) = PublicKey::from_bytes(bytes) else { return Verdict::Refused };
            let forms = [key.compress().to_vec(), key.serialize().to_vec(), key.to_eip2537().to_vec()];
            same(forms.iter().any(|form| form == bytes))
        }),
        target("group signature", signature_forms(), |bytes| {
            let Ok(signature) = Signature::from_bytes(bytes) else { return Verdict::Refused };
            let (compressed, serialized) = (signature.compress().to_vec(), signature.serialize().to_vec());
            same([compressed, serialized, signature.to_eip2537().to_vec()].iter().any(|form| form == bytes))
        }),
    ]
}

fn unsigned(item: &[u8]) -> &[u8] {
    item.get(..item.len().saturating_sub(TAIL)).unwrap_or_default()
}

fn body_of(item: &[u8]) -> &[u8] {
    unsigned(item).get(HEAD..).unwrap_or_default()
}

fn signed_by(author: &Person, bytes: &[u8]) -> Vec<u8> {
    let signature = author.identity.sign(keccak256(bytes).as_slice()).to_bytes();
    [bytes, &signature].concat()
}

/// One of each kind, and the longer ones with all that they may hold.
fn items() -> Vec<Item> {
    let hash = B256::repeat_byte;
    let commitment = |possession| Commitment { points: vec![[1; 96], [2; 96]], possession };
    let checkpoint = Checkpoint { sequence: 9, history: hash(4), root: hash(5) };
    let marks = Marks {
        checkpoint: Some(Mark { checkpoint, signature: [6; 48] }),
        decision: 7,
        governance: BTreeMap::from([(1, 2), (31_337, 8)]),
    };
    let receipts = vec![Receipt::Ack([3; 64]), Receipt::Reveal([4; 32].into()), Receipt::Ack([5; 64])];
    let bodies = [
        Body::Join,
        Body::Dealing { player: 2, commitment: commitment(Some([7; 48])), sealed: [8; SEALED] },
        Body::Dealing { player: 1, commitment: commitment(None), sealed: [9; SEALED] },
        Body::Ack { dealer: 1, commitment: hash(7) },
        Body::Log { commitment: commitment(Some([7; 48])), receipts, marks },
        Body::Log { commitment: commitment(None), receipts: Vec::new(), marks: Marks::default() },
        Body::Set { logs: vec![(1, hash(1)), (3, hash(3))] },
        Body::Vote { set: hash(1) },
        Body::Ready { set: hash(1), roster: hash(2), marks: hash(3) },
        Body::Want { digests: vec![hash(1), hash(1), hash(2)] },
    ];
    let identity = Person::new(1).identity;
    bodies.into_iter().map(|body| Item::sign(&binding(), body, &identity)).collect()
}

/// A first ceremony of one member, and the log that it publishes.
fn first_log() -> (Proposal, Vec<u8>) {
    let person = Person::new(1);
    let proposal = proposal(Kind::First, 1, std::slice::from_ref(&person), 1, &BTreeMap::new());
    let setup = Setup {
        proposal: proposal.clone(),
        previous: None,
        identity: person.identity,
        share: None,
        marks: Marks::default(),
    };
    let (mut ceremony, effects) = Ceremony::start(setup, &[5; 32]).expect("a ceremony");
    let mut said = VecDeque::from(effects);
    while let Some(effect) = said.pop_front() {
        let Effect::Publish { item, .. } = effect else { continue };
        if item.starts_with(keccak256("lockstep/v1/dkg/log").as_slice()) {
            return (proposal, item);
        }
        said.extend(ceremony.receive(&item).expect("its own item"));
    }
    panic!("a dealer that has all receipts publishes its log");
}

/// A share and the points of its polynomial, of one and of three members.
fn dealings() -> Vec<Vec<u8>> {
    let bytes = |dealing: Dealing| {
        let share = dealing.shares.first().map(|share| share.secret().to_bytes().to_vec()).unwrap_or_default();
        let points = dealing.commitments.iter().flat_map(PublicKey::compress);
        share.into_iter().chain(points).collect::<Vec<_>>()
    };
    [(1, 1), (2, 3)].into_iter().filter_map(|(t, n)| Dealing::from_seed(&[3; 32], t, n).ok()).map(bytes).collect()
}

fn sealed() -> Vec<Vec<u8>> {
    let receiver = Person::new(1).identity.verifying_key();
    [0, 32, 48].map(|length| seal_bytes(&vec![9; length], &receiver, &B256::ZERO, &[3; 32])).to_vec()
}

fn key_forms() -> Vec<Vec<u8>> {
    let key = SecretKey::derive(&[4; 32], b"fuzz").expect("a key").public_key();
    vec![key.compress().to_vec(), key.serialize().to_vec(), key.to_eip2537().to_vec()]
}

fn signature_forms() -> Vec<Vec<u8>> {
    let signature = SecretKey::derive(&[4; 32], b"fuzz").expect("a key").sign(b"message", DST);
    vec![signature.compress().to_vec(), signature.serialize().to_vec(), signature.to_eip2537().to_vec()]
}
