use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::mixin::DecodeError;
use crate::mixin::encoding::Fault;

fn amounts() -> impl Strategy<Value = Amount> {
    (any::<u128>(), 0_u32..128).prop_map(|(units, shift)| Amount::from_units(units >> shift))
}

fn hashes() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::new)
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..8)
}

fn inputs() -> impl Strategy<Value = Input> {
    let deposit = (hashes(), texts(), texts(), any::<u64>(), amounts()).prop_map(
        |(chain, asset_key, transaction, index, amount)| Deposit { chain, asset_key, transaction, index, amount },
    );
    let mint = (texts(), any::<u64>(), amounts()).prop_map(|(group, batch, amount)| Mint { group, batch, amount });
    (hashes(), 0..=INPUT_INDEX_MAX, texts(), option::weighted(0.2, deposit), option::weighted(0.2, mint)).prop_map(
        |(transaction, index, genesis, deposit, mint)| {
            let coin = CoinId { transaction, index };
            Input { coin, genesis, deposit, mint }
        },
    )
}

fn outputs() -> impl Strategy<Value = Output> {
    let withdrawal = (texts(), texts()).prop_map(|(address, tag)| Withdrawal { address, tag });
    let keys = vec(any::<[u8; 32]>().prop_map(RawKey), 0..4);
    (any::<u8>(), amounts(), keys, any::<[u8; 32]>(), texts(), option::weighted(0.2, withdrawal)).prop_map(
        |(kind, amount, keys, mask, script, withdrawal)| Output {
            kind: OutputType(kind),
            amount,
            keys,
            mask: RawKey(mask),
            script: Script(script),
            withdrawal,
        },
    )
}

fn all_signatures() -> impl Strategy<Value = Signatures> {
    let signature = || any::<[u8; 64]>().prop_map(Signature);
    let maps = vec(proptest::collection::btree_map(any::<u16>(), signature(), 0..4), 0..4);
    // Dense and sparse signers take the two forms of the mask.
    let signers = prop_oneof![
        proptest::collection::btree_set(0_u16..40, 0..30),
        proptest::collection::btree_set(any::<u16>(), 0..5)
    ];
    prop_oneof![
        maps.prop_map(Signatures::Map),
        (signature(), signers).prop_map(|(signature, signers)| Signatures::Aggregated {
            signature,
            signers: signers.into_iter().collect()
        })
    ]
}

prop_compose! {
    fn transactions()(
        asset: [u8; 32],
        inputs in vec(inputs(), 0..4),
        outputs in vec(outputs(), 0..4),
        references in vec(hashes(), 0..3),
        extra in vec(any::<u8>(), 0..40),
        signatures in all_signatures(),
    ) -> SignedTransaction {
        let transaction = Transaction::new(AssetId(asset), inputs, outputs, references, extra).expect("small");
        SignedTransaction::new(transaction, signatures).expect("small")
    }
}

fn empty() -> Transaction {
    Transaction::new(AssetId::NONE, Vec::new(), Vec::new(), Vec::new(), Vec::new()).expect("small")
}

fn refusal(bytes: &[u8]) -> DecodeError {
    SignedTransaction::decode(bytes).expect_err("malformed")
}

#[test]
fn what_exceeds_the_kernels_bounds_should_not_come_to_be() {
    let coin = |index| Input::of_coin(CoinId { transaction: B256::ZERO, index });
    let with_inputs = |inputs| Transaction::new(AssetId::NONE, inputs, Vec::new(), Vec::new(), Vec::new());
    let too_large = |what, count, max| Err(TransactionError::TooLarge { what, count, max });
    assert_eq!(with_inputs(vec![coin(0); 257]), too_large("inputs", 257, 256));
    assert_eq!(with_inputs(vec![coin(1_025)]), too_large("input index", 1_025, 1_024));
    let extra = |len| Transaction::new(AssetId::NONE, Vec::new(), Vec::new(), Vec::new(), vec![0; len]);
    assert_eq!(extra(SIZE_MAX + 1), too_large("bytes of extra", SIZE_MAX + 1, SIZE_MAX));
    assert_eq!(extra(SIZE_MAX), too_large("bytes", SIZE_MAX + 48, SIZE_MAX));
    let keys = vec![RawKey::ZERO; 257];
    let output = Output::of_keys(Amount::ZERO, keys, RawKey::ZERO, 1);
    let made = Transaction::new(AssetId::NONE, Vec::new(), vec![output], Vec::new(), Vec::new());
    assert_eq!(made, too_large("keys of an output", 257, 256));
    let signatures = Signatures::Aggregated { signature: Signature([0; 64]), signers: vec![2, 1] };
    assert_eq!(SignedTransaction::new(empty(), signatures), Err(TransactionError::Signers));
}

#[test]
fn each_malformed_field_should_be_named_with_its_place() {
    let good = empty().payload();
    let mut bad = good.clone();
    bad[3] = 4;
    assert_eq!(refusal(&bad), DecodeError { offset: 0, what: "version", fault: Fault::Version(0x7777_0004) });
    let mut bad = good.clone();
    bad[36..38].copy_from_slice(&[1, 1]);
    let fault = Fault::TooMany { count: 257, max: 256 };
    assert_eq!(refusal(&bad), DecodeError { offset: 36, what: "inputs", fault });
    let mut bad = good[..46].to_vec();
    bad.extend_from_slice(&[0xff, 0xff, 0xff, 0x02]);
    let fault = Fault::SignatureForm(0xff02);
    assert_eq!(refusal(&bad), DecodeError { offset: 48, what: "signature form", fault });
    let mut bad = good[..46].to_vec();
    bad.extend_from_slice(&[1, 1]);
    let fault = Fault::TooMany { count: 257, max: 256 };
    assert_eq!(refusal(&bad), DecodeError { offset: 46, what: "signatures", fault });
}

#[test]
fn second_forms_of_an_aggregated_mask_should_be_refused() {
    let head = [empty().payload()[..46].to_vec(), vec![0xff, 0xff, 0xff, 0x01], vec![0; 64]].concat();
    let tail = |bytes: &[u8]| refusal(&[head.as_slice(), bytes].concat()).fault;
    // Sparse where the bitmap is as short, a bitmap with an empty last byte, an empty list, a wrong order, a bitmap
    // beyond 65535.
    assert_eq!(tail(&[1, 0, 1, 0, 0]), Fault::NonCanonical);
    assert_eq!(tail(&[0, 0, 2, 1, 0]), Fault::NonCanonical);
    assert_eq!(tail(&[1, 0, 0]), Fault::NonCanonical);
    assert_eq!(tail(&[1, 0, 2, 0, 9, 0, 9]), Fault::Order(9));
    assert_eq!(tail(&[2]), Fault::MaskType(2));
    let mut long = vec![0, 0x20, 0x01];
    long.extend_from_slice(&[0; 0x2000]);
    long.push(1);
    assert_eq!(tail(&long), Fault::Signer(65_536));
}

#[test]
fn amounts_above_128_bits_should_be_read_and_keep_their_bytes() {
    let output = Output::of_keys(Amount::from_units(u128::MAX), Vec::new(), RawKey::ZERO, 1);
    let made = Transaction::new(AssetId::NONE, Vec::new(), vec![output], Vec::new(), Vec::new()).expect("small");
    let good = made.payload();
    assert_eq!(SignedTransaction::decode(&good), Ok(made.clone().unsigned()));
    let wide = [&good[..42], &[0, 17, 1], &good[44..]].concat();
    let read = SignedTransaction::decode(&wide).expect("the kernel takes it");
    assert_eq!((read.encode(), read.transaction().outputs()[0].amount), (wide.clone(), Amount::MAX));
    assert!(read.transaction().has_wide_amounts() && read.transaction().output_total().is_none());
    let other = SignedTransaction::decode(&[&good[..42], &[0, 17, 2], &good[44..]].concat()).expect("another amount");
    assert!(read != other && read.hash() != other.hash() && read.hash() != made.hash());
    let zero = [&good[..42], &[0, 17, 0], &good[44..]].concat();
    assert_eq!(refusal(&zero).fault, Fault::LeadingZero);
}

proptest! {
    #[test]
    fn transactions_should_round_trip(signed in transactions()) {
        let bytes = signed.encode();
        prop_assert_eq!(SignedTransaction::decode(&bytes), Ok(signed.clone()));
        let payload = SignedTransaction::decode(&signed.transaction().payload()).expect("a payload");
        prop_assert_eq!(payload.hash(), signed.hash());
    }

    #[test]
    fn changed_bytes_should_fail_or_encode_back(
        signed in transactions(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        grow in vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = signed.encode();
        for (at, value) in changes {
            *at.get_mut(&mut bytes) = value;
        }
        let mut cut_short = bytes.clone();
        cut_short.truncate(cut.index(bytes.len()));
        bytes.extend_from_slice(&grow);
        for bytes in [bytes, cut_short] {
            if let Ok(decoded) = SignedTransaction::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }

    #[test]
    fn any_bytes_should_not_panic(tail in vec(prop_oneof![Just(0_u8), Just(1), Just(0x77), any::<u8>()], 0..300)) {
        let bytes = [[0x77, 0x77, 0, 5].to_vec(), tail].concat();
        if let Ok(decoded) = SignedTransaction::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }
}
