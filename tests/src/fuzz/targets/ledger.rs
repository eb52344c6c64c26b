//! The ledger's own bytes and texts: transactions, amounts, addresses.

use lockstep_core::account::Mix;
use lockstep_core::mixin::structure::{extra_limit, validate_signed};
use lockstep_core::mixin::{MixAddress, SignedTransaction, XinAddress, amount, inspect};
use lockstep_core::{Amount, AssetId};

use super::{Target, Verdict, mixes, same, target, text, transactions, xin};

pub(super) fn targets() -> Vec<Target> {
    let bytes = || transactions().iter().map(SignedTransaction::encode).collect::<Vec<_>>();
    let mix_texts = || mixes().iter().map(|mix| MixAddress::from(mix).to_string().into_bytes()).collect::<Vec<_>>();
    let xin_texts = || vec![xin(1).to_string().into_bytes(), xin(2).to_string().into_bytes()];
    vec![
        target("kernel transaction", bytes(), |bytes| {
            let Ok(signed) = SignedTransaction::decode(bytes) else { return Verdict::Refused };
            let _ = (validate_signed(&signed), extra_limit(signed.transaction()), signed.hash());
            same(signed.encode() == bytes)
        }),
        target("kernel amount", vec![amount::encode(Amount::from_units(1_234_567))], |bytes| {
            amount::decode(bytes).map_or(Verdict::Refused, |read| same(amount::encode(read) == bytes))
        }),
        // A payload lists members in any order, and is read as a set.
        target("MIX payload", mixes().iter().map(Mix::to_payload).collect(), |bytes| {
            let Ok(mix) = Mix::from_payload(bytes) else { return Verdict::Refused };
            let again = Mix::from_payload(&mix.to_payload());
            same(again.is_ok_and(|again| again == mix && mix.is_legal() == again.is_legal()))
        }),
        target("MIX address", mix_texts(), written_alike::<MixAddress>),
        target("XIN address", xin_texts(), written_alike::<XinAddress>),
        target("amount as text", vec![b"12.5".to_vec(), b"0.00000001".to_vec()], |bytes| {
            let Some(text) = text(bytes) else { return Verdict::Refused };
            let _ = (Amount::parse_saturated(text), Amount::parse_floored(text), text.parse::<AssetId>());
            let Ok(read) = text.parse::<Amount>() else { return Verdict::Refused };
            same(read.to_string().parse() == Ok(read))
        }),
        // What people paste into `lockstep inspect`.
        target("inspected texts", inspected([hexed(&bytes()), mix_texts(), xin_texts()].concat()), |bytes| {
            let Some(text) = text(bytes) else { return Verdict::Refused };
            let read =
                [inspect::transaction(text).is_ok(), inspect::address(text).is_ok(), inspect::amount(text).is_ok()];
            if read.contains(&true) { Verdict::Taken } else { Verdict::Refused }
        }),
    ]
}

fn hexed(samples: &[Vec<u8>]) -> Vec<Vec<u8>> {
    samples.iter().map(|bytes| hex::encode(bytes).into_bytes()).collect()
}

fn inspected(mut samples: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    samples.push(b"12.5".to_vec());
    samples
}

/// A text that has one spelling.
fn written_alike<T: std::str::FromStr + ToString>(bytes: &[u8]) -> Verdict {
    let read = text(bytes).and_then(|text| text.parse::<T>().ok());
    read.map_or(Verdict::Refused, |read| same(read.to_string().as_bytes() == bytes))
}
