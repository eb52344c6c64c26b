use std::collections::BTreeMap;

use commonware_codec::Encode;
use commonware_cryptography::Signer as _;
use commonware_cryptography::bls12381::dkg::feldman_desmedt::{Dealer, Info, Logs, Output, Player, Reveal};
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::Mode;
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey as Identity};
use commonware_utils::ordered::Set;
use commonware_utils::{N3f1, Participant};
use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::bls::{GroupKey, SecretShare, commitment, default_threshold};

const CONTEXT: B256 = B256::repeat_byte(1);

fn polynomial(seed: u8, threshold: u8) -> Polynomial {
    Polynomial::derive(&[seed; 32], &CONTEXT, threshold, None).expect("a polynomial")
}

fn scalar(number: u8) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[31] = number;
    SecretKey::from_bytes(&bytes).expect("a key")
}

/// x = 2 is on the curve, but no point of it is in the subgroup.
fn outside() -> [u8; 96] {
    let mut point = [0; 96];
    (point[0], point[95]) = (0x80, 2);
    point
}

fn infinity() -> [u8; 96] {
    let mut point = [0; 96];
    point[0] = 0xc0;
    point
}

#[test]
fn dealings_of_another_degree_should_be_refused() {
    let dealt = polynomial(1, 3);
    let (points, share) = (dealt.commit(), dealt.at(2).expect("a share"));
    for threshold in [0, 1, 2, 4, 64, u8::MAX] {
        let refused = Err(FaultKind::Degree { expected: threshold, got: 3 });
        assert_eq!(check_dealing(&points, threshold, None, 2, &share), refused);
    }
    assert_eq!(check_dealing(&[], 3, None, 2, &share), Err(FaultKind::Degree { expected: 3, got: 0 }));
    // More coefficients than any group has members.
    let long = vec![points[0]; 65];
    assert_eq!(check_dealing(&long, 65, None, 2, &share), Err(FaultKind::Degree { expected: 65, got: 65 }));
}

#[test]
fn points_that_are_no_keys_should_be_refused_in_every_place() {
    let dealt = polynomial(1, 3);
    let share = dealt.at(2).expect("a share");
    let mut off_curve = dealt.commit()[0];
    off_curve[95] ^= 1;
    let mut uncompressed = dealt.commit()[0];
    uncompressed[0] &= 0x7f;
    for bad in [outside(), infinity(), off_curve, uncompressed, [0; 96], [0xff; 96]] {
        for place in 0..3 {
            let mut points = dealt.commit();
            points[place] = bad;
            let refused = check_dealing(&points, 3, None, 2, &share);
            let is_refused = matches!(refused, Err(FaultKind::Point { .. } | FaultKind::Degree { .. }));
            assert!(is_refused, "{place}: {refused:?}");
        }
    }
    assert_eq!(point_fault(&outside()), Some(FaultKind::Point { reason: "is outside the subgroup" }));
    assert_eq!(point_fault(&infinity()), Some(FaultKind::Point { reason: "is the point at infinity" }));
    assert_eq!(point_fault(&[0xff; 96]), Some(FaultKind::Point { reason: "is not canonically encoded" }));
    assert_eq!(point_fault(&dealt.commit()[0]), None);
}

#[test]
fn another_constant_share_or_index_should_be_refused() {
    let (dealt, other) = (polynomial(1, 3), polynomial(2, 3));
    let (points, share) = (dealt.commit(), dealt.at(2).expect("a share"));
    let check =
        |constant: Option<&PublicKey>, index, share: &SecretKey| check_dealing(&points, 3, constant, index, share);
    assert_eq!(check(Some(&other.constant().public_key()), 2, &share), Err(FaultKind::Constant));
    assert_eq!(check(None, 3, &share), Err(FaultKind::Share));
    assert_eq!(check(None, 2, &other.at(2).expect("a share")), Err(FaultKind::Share));
    // The constant is the share of nobody.
    assert_eq!(check(None, 2, dealt.constant()), Err(FaultKind::Share));
    assert_eq!(check(Some(&dealt.constant().public_key()), 2, &share), Ok(()));
}

#[test]
fn parts_that_cancel_should_give_no_share() {
    let order_less_one = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000";
    let minus_one = SecretKey::from_bytes(&hex::decode(order_less_one).expect("hex")).expect("order − 1");
    assert!(sum(&[(1, scalar(1)), (2, minus_one)]).is_none());
    assert!(sum(&[]).is_none() && interpolate(&[]).is_none());
    // Twice the same place.
    assert!(interpolate(&[(1, scalar(1)), (1, scalar(2))]).is_none());
}

#[test]
fn polynomials_should_differ_by_seed_and_context_and_keep_their_constant() {
    let derive = |seed: u8, context: B256, constant: Option<&SecretKey>| {
        Polynomial::derive(&[seed; 32], &context, 3, constant).expect("a polynomial").commit()
    };
    let points = derive(1, CONTEXT, None);
    assert_eq!(points, derive(1, CONTEXT, None));
    let others = [derive(2, CONTEXT, None), derive(1, B256::ZERO, None)];
    assert!(others.iter().flatten().all(|point| !points.contains(point)));
    // Shared anew, the constant stays, and nothing else.
    let again = derive(2, CONTEXT, Some(&scalar(7)));
    assert_eq!(again[0], scalar(7).public_key().compress());
    assert_eq!(again[1..], others[0][1..]);
}

/// A dealer's commitment, and its shares by player.
type Dealt = (Vec<[u8; 96]>, BTreeMap<Identity, SecretKey>);

/// A ceremony as commonware runs it: what everybody dealt, and what came out of it.
struct Oracle {
    /// By dealer.
    dealt: BTreeMap<Identity, Dealt>,
    output: Output<MinSig, Identity>,
    shares: BTreeMap<Identity, Share>,
}

fn identity(number: u64) -> PrivateKey {
    PrivateKey::from_seed(number)
}

fn set(numbers: &[u64]) -> Set<Identity> {
    Set::from_iter_dedup(numbers.iter().map(|number| identity(*number).public_key()))
}

fn secret(bytes: &[u8]) -> SecretKey {
    SecretKey::from_bytes(bytes.last_chunk::<32>().expect("32 bytes")).expect("a key")
}

fn run(seed: u64, round: u64, dealers: &[u64], players: &[u64], previous: Option<&Oracle>) -> Oracle {
    let mut random = StdRng::seed_from_u64(seed);
    let output = previous.map(|previous| previous.output.clone());
    let info = Info::<MinSig, Identity>::new::<N3f1>(
        b"oracle",
        round,
        output,
        Mode::NonZeroCounter,
        Reveal::V1,
        set(dealers),
        set(players),
    );
    let info = info.expect("a round");
    let mut seats: Vec<_> =
        players.iter().map(|number| Player::new(info.clone(), identity(*number)).expect("a player")).collect();
    let (mut dealt, mut logs) = (BTreeMap::new(), Logs::<MinSig, Identity, N3f1>::new(info.clone()));
    for number in dealers {
        let me = identity(*number).public_key();
        let share = previous.map(|previous| previous.shares[&me].clone());
        let start = Dealer::start::<N3f1>(&mut random, info.clone(), identity(*number), share);
        let (mut dealer, public, private) = start.expect("a dealer");
        let encoded = public.encode();
        let points = encoded[encoded.len() % 96..].as_chunks::<96>().0.to_vec();
        let mut shares = BTreeMap::new();
        for (player, message) in private {
            shares.insert(player.clone(), secret(&message.encode()));
            let place = players.iter().position(|number| identity(*number).public_key() == player).expect("a player");
            let ack = seats[place].dealer_message::<N3f1>(me.clone(), public.clone(), message).expect("good");
            dealer.receive_player_ack(player, ack.expect("its first")).expect("a receipt");
        }
        let (signer, log) = dealer.finalize::<N3f1>().check(&info).expect("a log");
        logs.record(signer, log);
        dealt.insert(me, (points, shares));
    }
    let (mut output, mut shares) = (None, BTreeMap::new());
    for (number, seat) in players.iter().zip(seats) {
        let (made, share) = seat.finalize::<N3f1>(&mut random, logs.clone(), &Sequential).expect("an outcome");
        shares.insert(identity(*number).public_key(), share);
        output = Some(made);
    }
    Oracle { dealt, output: output.expect("an outcome"), shares }
}

/// What this module makes of their dealings is what they make of them.
fn compare(oracle: &Oracle, previous: Option<&Oracle>) {
    let players: Vec<_> = oracle.output.players().iter().cloned().collect();
    let threshold = default_threshold(u8::try_from(players.len()).expect("few"));
    assert_eq!(oracle.output.public().required(), u32::from(threshold));
    let mut points = Vec::new();
    let mut parts: Vec<Vec<(u8, SecretKey)>> = players.iter().map(|_| Vec::new()).collect();
    for (place, dealer) in oracle.output.dealers().iter().enumerate() {
        let position = previous.map_or(place, |previous| previous.output.players().position(dealer).expect("known"));
        let index = u8::try_from(position + 1).expect("small");
        let (commitment, shares) = &oracle.dealt[dealer];
        let constant = previous.map(|previous| secret(&previous.shares[dealer].encode()).public_key());
        for ((player, own), parts) in (1..).zip(&players).zip(&mut parts) {
            let share = &shares[own];
            assert_eq!(check_dealing(commitment, threshold, constant.as_ref(), player, share), Ok(()));
            // All shares of a constant are equal.
            let other = if threshold == 1 { Ok(()) } else { Err(FaultKind::Share) };
            assert_eq!(check_dealing(commitment, threshold, None, player + 1, share), other);
            parts.push((index, secret(&*share.to_bytes())));
        }
        let keys: Vec<_> = commitment.iter().map(|point| PublicKey::from_bytes(point).expect("a key")).collect();
        points.push((index, keys));
    }
    let ours = if previous.is_some() {
        commitment::interpolate(&points.iter().map(|(index, keys)| (*index, keys.as_slice())).collect::<Vec<_>>())
    } else {
        commitment::sum(&points.iter().map(|(_, keys)| keys.as_slice()).collect::<Vec<_>>())
    };
    let group = GroupKey::from_commitments(&ours.expect("a polynomial"), u8::try_from(players.len()).expect("few"));
    let group = group.expect("a key");
    let public = oracle.output.public();
    assert_eq!(group.key().compress()[..], public.public().encode()[..]);
    for ((player, own), parts) in (0..).zip(&players).zip(&parts) {
        let theirs = public.partial_public(Participant::new(player)).expect("a player");
        let index = u8::try_from(player + 1).expect("small");
        assert_eq!(group.share(index).expect("a member").compress()[..], theirs.encode()[..]);
        let share = if previous.is_some() { interpolate(parts) } else { sum(parts) };
        let theirs = secret(&oracle.shares[own].encode());
        assert_eq!(share.expect("a share").to_bytes(), theirs.to_bytes());
        let share = SecretShare::new(index, theirs).expect("a share");
        assert_eq!(Some(&share.public_key()), group.share(index));
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    /// The same key and shares from the same dealings: in a first ceremony, and when it is shared anew among others.
    #[test]
    fn outcomes_should_be_those_of_commonware(seed in any::<u64>(), members in 1_u64..=10, leave in 0_u64..=3, join in 0_u64..=3) {
        let old: Vec<u64> = (0..members).collect();
        let first = run(seed, 0, &old, &old, None);
        compare(&first, None);
        // As many leave as the rest can do without, and deal no more.
        let leave = leave.min((members - 1) / 3);
        let new: Vec<u64> = (leave..members + join).collect();
        let second = run(seed ^ 1, 1, &old[usize::try_from(leave).expect("few")..], &new, Some(&first));
        compare(&second, Some(&first));
        prop_assert_eq!(second.output.public().public(), first.output.public().public());
    }
}
