use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::group::roster::Mark;

const BINDING: Binding =
    Binding { group_id: B256::repeat_byte(9), round: 3, generation: 2, proposal: B256::repeat_byte(8) };

fn identity() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// Bytes that its author signed, whatever they say.
fn signed(unsigned: &[u8]) -> Vec<u8> {
    let signature = identity().sign(keccak256(unsigned).as_slice()).to_bytes();
    [unsigned, &signature].concat()
}

fn decode(bytes: &[u8]) -> Result<Item, ItemError> {
    Item::decode(bytes, &BINDING)
}

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().expect("as many"))
}

fn hashes() -> impl Strategy<Value = B256> {
    bytes().prop_map(B256::new)
}

fn commitments() -> impl Strategy<Value = Commitment> {
    let possession = proptest::option::of(bytes());
    (vec(bytes(), 0..4), possession).prop_map(|(points, possession)| Commitment { points, possession })
}

fn all_marks() -> impl Strategy<Value = Marks> {
    let mark = (any::<u64>(), hashes(), hashes(), bytes()).prop_map(|(sequence, history, root, signature)| Mark {
        checkpoint: Checkpoint { sequence, history, root },
        signature,
    });
    let chains = btree_map(any::<u64>(), 1..=u64::MAX, 0..4);
    (proptest::option::of(mark), any::<u64>(), chains).prop_map(|(checkpoint, decision, governance)| Marks {
        checkpoint,
        decision,
        governance,
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let receipt = prop_oneof![
        bytes().prop_map(Receipt::Ack),
        bytes().prop_map(|share: [u8; 32]| Receipt::Reveal(Zeroizing::new(share)))
    ];
    let log = (commitments(), vec(receipt, 0..5), all_marks()).prop_map(|(commitment, receipts, marks)| Body::Log {
        commitment,
        receipts,
        marks,
    });
    prop_oneof![
        Just(Body::Join),
        (any::<u8>(), commitments(), bytes()).prop_map(|(player, commitment, sealed)| Body::Dealing {
            player,
            commitment,
            sealed
        }),
        (any::<u8>(), hashes()).prop_map(|(dealer, commitment)| Body::Ack { dealer, commitment }),
        log,
        btree_map(any::<u8>(), hashes(), 0..5).prop_map(|logs| Body::Set { logs: logs.into_iter().collect() }),
        hashes().prop_map(|set| Body::Vote { set }),
        (hashes(), hashes(), hashes()).prop_map(|(set, roster, marks)| Body::Ready { set, roster, marks }),
        vec(hashes(), 0..=WANTS_MAX).prop_map(|digests| Body::Want { digests }),
    ]
}

#[test]
fn items_of_another_ceremony_should_be_refused() {
    let item = Item::sign(&BINDING, Body::Join, &identity());
    let others = [
        Binding { group_id: B256::ZERO, ..BINDING },
        Binding { round: 2, ..BINDING },
        Binding { generation: 1, ..BINDING },
        Binding { proposal: B256::ZERO, ..BINDING },
    ];
    for other in others {
        let found = ItemError::Other { what: "join", round: BINDING.round, proposal: BINDING.proposal };
        assert_eq!(Item::decode(item.bytes(), &other), Err(found));
        // Nor is it made to fit by writing the other ceremony into it.
        let mut bytes = unsigned(&other, &item.author, &Body::Join);
        bytes.extend_from_slice(&item.signature);
        let refused = ItemError::Signature { what: "join", author: item.author };
        assert_eq!(Item::decode(&bytes, &other), Err(refused));
    }
}

#[test]
fn words_of_another_kind_and_of_no_kind_should_be_refused() {
    let vote = unsigned(&BINDING, &identity().verifying_key().to_bytes(), &Body::Vote { set: B256::ZERO });
    let mut other = vote.clone();
    other[..32].copy_from_slice(tag("ack").as_slice());
    // An ack has one byte more.
    assert_eq!(decode(&signed(&other)), Err(ItemError::Malformed { what: "ack" }));
    other[..32].fill(7);
    assert_eq!(decode(&signed(&other)), Err(ItemError::Malformed { what: "item" }));
    assert_eq!(decode(&[]), Err(ItemError::Malformed { what: "item" }));
    assert_eq!(decode(&vec![0; ITEM_MAX + 1]), Err(ItemError::TooLong(ITEM_MAX + 1)));
}

#[test]
fn lists_that_are_too_long_unsorted_or_double_should_be_refused() {
    let author = identity().verifying_key().to_bytes();
    let refused = |body: Body| {
        let what = body.what();
        assert_eq!(decode(&signed(&unsigned(&BINDING, &author, &body))), Err(ItemError::Malformed { what }));
    };
    let commitment = |points: usize| Commitment { points: vec![[1; 96]; points], possession: None };
    refused(Body::Dealing { player: 1, commitment: commitment(65), sealed: [0; SEALED] });
    let receipts = |count: usize| vec![Receipt::Ack([1; 64]); count];
    refused(Body::Log { commitment: commitment(1), receipts: receipts(65), marks: Marks::default() });
    let logs = |dealers: &[u8]| dealers.iter().map(|dealer| (*dealer, B256::ZERO)).collect();
    refused(Body::Set { logs: logs(&[2, 1]) });
    refused(Body::Set { logs: logs(&[1, 1]) });
    refused(Body::Set { logs: logs(&(0..65).collect::<Vec<_>>()) });
    refused(Body::Want { digests: vec![B256::ZERO; WANTS_MAX + 1] });
}

#[test]
fn keys_of_low_order_should_sign_nothing() {
    // The neutral element: with it, a zero signature would verify for every message.
    let mut author = [0; 32];
    author[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!verify(&author, &B256::ZERO, &signature));
}

#[test]
fn the_largest_log_should_fit() {
    let commitment = Commitment { points: vec![[1; 96]; MEMBERS_MAX], possession: Some([2; 48]) };
    let mark =
        Mark { checkpoint: Checkpoint { sequence: 1, history: B256::ZERO, root: B256::ZERO }, signature: [3; 48] };
    let governance = (0..255).map(|chain| (chain, 1)).collect();
    let marks = Marks { checkpoint: Some(mark), decision: 1, governance };
    let body = Body::Log { commitment, receipts: vec![Receipt::Ack([4; 64]); MEMBERS_MAX], marks };
    let item = Item::sign(&BINDING, body, &identity());
    assert_eq!(decode(item.bytes()), Ok(item));
}

proptest! {
    #[test]
    fn items_should_read_back(body in bodies()) {
        let item = Item::sign(&BINDING, body, &identity());
        prop_assert_eq!(decode(item.bytes()), Ok(item));
    }

    /// Nobody but its author changes an item.
    #[test]
    fn changed_items_should_be_refused(body in bodies(), place in any::<Index>(), bits in 1..=u8::MAX) {
        let item = Item::sign(&BINDING, body, &identity());
        let mut changed = item.bytes().to_vec();
        changed[place.index(item.bytes().len())] ^= bits;
        prop_assert!(decode(&changed).is_err());
        let cut = place.index(item.bytes().len());
        prop_assert!(decode(&item.bytes()[..cut]).is_err());
        prop_assert!(decode(&[item.bytes(), &[bits]].concat()).is_err());
    }

    /// Its author cannot say the same in two ways: bytes that are read are the ones that would be written.
    #[test]
    fn items_should_have_one_encoding(
        body in bodies(),
        place in any::<Index>(),
        byte in any::<u8>(),
        cut in any::<Index>(),
        more in vec(any::<u8>(), 0..40),
    ) {
        let author = identity().verifying_key().to_bytes();
        let whole = unsigned(&BINDING, &author, &body);
        let head = whole.len() - { let mut body_bytes = Vec::new(); body.push(&mut body_bytes); body_bytes.len() };
        let mut changed = whole.clone();
        let at = head + place.index((whole.len() - head).max(1));
        if let Some(there) = changed.get_mut(at) {
            *there = byte;
        }
        let cut = [&whole[..head + cut.index(whole.len() - head + 1)], &more[..]].concat();
        for bytes in [changed, cut] {
            if let Ok(item) = decode(&signed(&bytes)) {
                prop_assert_eq!(unsigned(&BINDING, &author, &item.body), bytes);
            }
        }
    }
}
