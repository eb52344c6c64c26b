use super::*;
use crate::dkg::adapter::Polynomial;
use crate::dkg::testing::{first, key, proposal, roster};
use crate::group::roster::Mark;

const CONTEXT: B256 = B256::repeat_byte(1);

fn new_key() -> Terms {
    Terms::new(proposal(Kind::First, 1, &[1, 2, 3, 4], 3, None), None).expect("terms")
}

fn reshare() -> Terms {
    let network = first(&[1, 2, 3, 4], 3);
    let known = roster(&network);
    Terms::new(proposal(Kind::Reshare, 2, &[1, 2, 3, 5, 6], 4, Some(known)), Some(known.clone())).expect("terms")
}

fn polynomial(threshold: u8) -> Polynomial {
    Polynomial::derive(&[1; 32], &CONTEXT, threshold, None).expect("a polynomial")
}

/// What an honest dealer of a new key commits to.
fn commitment(terms: &Terms, dealer: u8) -> Commitment {
    let polynomial = polynomial(terms.proposal.threshold());
    Commitment { points: polynomial.commit(), possession: terms.possession(dealer, polynomial.constant()) }
}

#[test]
fn commitments_of_another_length_should_be_refused() {
    let terms = new_key();
    let good = commitment(&terms, 1);
    for length in [0, 1, 2, 4] {
        let mut points = good.points.clone();
        points.resize(length, good.points[0]);
        let refused = terms.check_commitment(1, &Commitment { points, ..good.clone() });
        assert_eq!(refused, Err(FaultKind::Degree { expected: 3, got: length }));
    }
}

#[test]
fn commitments_to_what_is_no_key_should_be_refused() {
    let terms = new_key();
    let (mut outside, mut infinity) = ([0; 96], [0; 96]);
    (outside[0], outside[95]) = (0x80, 2);
    infinity[0] = 0xc0;
    for (bad, reason) in [(outside, "is outside the subgroup"), (infinity, "is the point at infinity")] {
        for place in 0..3 {
            let mut commitment = commitment(&terms, 1);
            commitment.points[place] = bad;
            assert_eq!(terms.check_commitment(1, &commitment), Err(FaultKind::Point { reason }));
        }
    }
}

#[test]
fn proofs_that_are_missing_or_anothers_should_be_refused() {
    let terms = new_key();
    let good = commitment(&terms, 1);
    let later = Terms::new(proposal(Kind::First, 2, &[1, 2, 3, 4], 3, None), None).expect("terms");
    let constant = SecretKey::derive(&[2; 32], b"another").expect("a key");
    let proofs = [
        None,
        Some([0; 48]),
        // Of the same constant, by another dealer or in another round; and of another constant.
        terms.possession(2, polynomial(3).constant()),
        later.possession(1, polynomial(3).constant()),
        terms.possession(1, &constant),
    ];
    for possession in proofs {
        let refused = terms.check_commitment(1, &Commitment { possession, ..good.clone() });
        assert_eq!(refused, Err(FaultKind::Possession));
    }
    assert!(terms.check_commitment(1, &good).is_ok());
    // Whoever copies another's commitment cannot prove it.
    assert_eq!(terms.check_commitment(2, &good), Err(FaultKind::Possession));
}

#[test]
fn other_secrets_and_needless_proofs_should_be_refused_in_a_reshare() {
    let terms = reshare();
    assert_eq!(terms.check_commitment(1, &commitment(&terms, 1)), Err(FaultKind::Constant));
    let network = first(&[1, 2, 3, 4], 3);
    let secret = network.done[&1].1.as_ref().expect("a share").secret();
    let dealt = Polynomial::derive(&[1; 32], &CONTEXT, 4, Some(secret)).expect("a polynomial");
    let good = Commitment { points: dealt.commit(), possession: None };
    assert!(terms.check_commitment(1, &good).is_ok());
    assert_eq!(terms.check_commitment(2, &good), Err(FaultKind::Constant));
    let proved = Commitment { possession: new_key().possession(1, secret), ..good };
    assert_eq!(terms.check_commitment(1, &proved), Err(FaultKind::Possession));
    assert_eq!(terms.possession(1, secret), None);
}

#[test]
fn marks_should_be_signed_or_known() {
    let network = first(&[1, 2, 3, 4], 3);
    let mark = crate::dkg::testing::signed(&network, 5);
    let marks = Marks { checkpoint: Some(mark), decision: 1, ..Marks::default() };
    // Nothing was signed before there was a key.
    assert!(!new_key().check_marks(&marks) && new_key().check_marks(&Marks::default()));
    assert_eq!(new_key().known_marks(marks.clone()), Marks::default());
    let forged = Marks { checkpoint: Some(Mark { signature: [0xaa; 48], ..mark }), ..marks.clone() };
    assert!(reshare().check_marks(&marks) && !reshare().check_marks(&forged));
    assert_eq!(reshare().known_marks(forged), Marks { checkpoint: None, ..marks.clone() });
    assert_eq!(reshare().known_marks(marks.clone()), marks);
}

#[test]
fn roles_should_follow_from_the_proposal() {
    let terms = reshare();
    let index = |number: u8| {
        let identity = key(number).verifying_key().to_bytes();
        (terms.dealer_index(&identity), terms.player_index(&identity))
    };
    assert_eq!([4, 5, 9].map(index), [(Some(4), None), (None, Some(4)), (None, None)]);
    assert_eq!(terms.everybody().count(), 6);
    assert_eq!((terms.logs_needed, terms.quorum(), terms.bad_dealers, terms.bad_players), (3, 4, 1, 1));
    assert!(terms.player(0).is_none() && terms.player(6).is_none() && terms.dealer(5).is_none());
    // Another leader in each round, so that none can stop the group.
    let known = terms.previous.clone();
    let leaders = (2..7).map(|round| {
        let proposal = proposal(Kind::Reshare, round, &[1, 2, 3, 5, 6], 4, known.as_ref());
        let terms = Terms::new(proposal, known.clone()).expect("terms");
        terms.leader().map(|leader| leader.index)
    });
    assert_eq!(leaders.collect::<Vec<_>>(), [Some(3), Some(4), Some(5), Some(1), Some(2)]);
}
