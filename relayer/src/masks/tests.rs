//! Who is given what of a mask.

use lockstep_core::bls::PartialSignature;
use lockstep_core::mask::MaskPair;
use lockstep_core::{Account, Uuid};

use super::*;
use crate::signer::tests::{Bench, GROUP, Group, checkpoint};
use crate::store::{Commit, SigningSwitch};

#[tokio::test]
async fn parts_should_be_given_of_senders_that_were_met() {
    let group = Group::new();
    let bench = Bench::with_marks(&group, 0, group.marks(checkpoint(10, 1))).await;
    let key = group.dealings[0].group.key();
    let roster = bench.signer.rosters().sharings(key).first().map_or(B256::ZERO, |roster| roster.digest());
    let masks = Masks::new(GROUP, bench.signer.clone(), bench.store.clone());
    let pair = MaskPair { process: Uuid::from_u128(1), account: Account::of_user(Uuid::from_u128(2)) };
    let asked = MaskQuestion { pair, key: key.compress(), roster };
    let given = async |question| masks.answer(question).await.expect("rows");

    assert_eq!(given(asked).await, None, "never met");
    let met = Commit { unmasked: vec![(pair, asked.key)], ..Commit::default() };
    bench.store.commit(&met).await.expect("met");
    let Some(SecretPart::Part { signature }) = given(asked).await else { panic!("a part") };
    let digest = pair.digest(&GROUP);
    let mut parts: Vec<_> =
        group.dealings[0].shares[1..3].iter().map(|share| share.sign(digest.as_slice(), MASK_DST)).collect();
    parts.push(PartialSignature { index: 1, signature });
    let made = group.dealings[0].group.recover(digest.as_slice(), MASK_DST, &parts, &BTreeSet::new()).expect("three");
    assert_eq!(made.culprits, BTreeSet::new());

    let elsewhere = MaskPair { process: Uuid::from_u128(9), ..pair };
    let somebody = MaskPair { account: Account::of_user(Uuid::from_u128(9)), ..pair };
    for question in [
        MaskQuestion { pair: elsewhere, ..asked },
        MaskQuestion { pair: somebody, ..asked },
        MaskQuestion { key: [1; 96], ..asked },
        MaskQuestion { roster: B256::repeat_byte(1), ..asked },
    ] {
        assert_eq!(given(question).await, None, "{question:?}");
    }

    let whole = made.signature.compress();
    bench.store.save_mask(&pair, &asked.key, &whole).await.expect("kept");
    let told = Some(SecretPart::Whole { signature: whole });
    assert_eq!(given(asked).await, told);
    assert_eq!(given(MaskQuestion { roster: B256::ZERO, ..asked }).await, told, "to whom knows no sharing");

    let switch = SigningSwitch { at: 1, stopped: true, reason: "a test".into() };
    bench.store.switch_signing(&switch).await.expect("a row");
    assert!(matches!(masks.answer(asked).await, Err(Refusal::Stopped)));
}
