//! Parts of seeds between two members: sealed to who asks, so that whoever listens on the line learns nothing.

use alloy::primitives::keccak256;
use ed25519_dalek::{SigningKey, VerifyingKey};
use lockstep_core::B256;
use lockstep_core::dkg::seal::{open_bytes, seal_bytes};

use super::HexBytes;
use super::wire::{AskSeed, PayoutSeed};
use crate::world::peer::SeedPart;

/// Domain of what a sealed part belongs to.
const DOMAIN: &[u8] = b"lockstep/v1/seed-part";

/// What a sealed part belongs to: nobody can pass one off as another.
fn context(group_id: &B256, ask: &AskSeed, is_whole: bool) -> B256 {
    let AskSeed { trace, attempt, roster, is_open: _ } = ask;
    let place = [&attempt.to_be_bytes()[..], roster.as_slice(), &[u8::from(is_whole)]].concat();
    keccak256([keccak256(DOMAIN).as_slice(), group_id.as_slice(), trace.as_bytes(), &place].concat())
}

/// The answer to `ask` for the owner of an identity key. `random` must never be used again.
pub(super) fn seal(
    group_id: &B256,
    ask: &AskSeed,
    part: &SeedPart,
    to: &VerifyingKey,
    random: &[u8; 32],
) -> PayoutSeed {
    let (is_whole, signature) = match part {
        SeedPart::Whole { signature } => (true, signature),
        SeedPart::Part { signature } => (false, signature),
    };
    let sealed = HexBytes(seal_bytes(signature, to, &context(group_id, ask, is_whole), random));
    PayoutSeed { trace: ask.trace, attempt: ask.attempt, is_whole, sealed }
}

/// What an answer to `ask` holds; `None` for one to something else or to somebody else.
pub(super) fn open(group_id: &B256, ask: &AskSeed, answer: &PayoutSeed, own: &SigningKey) -> Option<SeedPart> {
    if (answer.trace, answer.attempt) != (ask.trace, ask.attempt) {
        return None;
    }
    let opened = open_bytes(&answer.sealed.0, own, &context(group_id, ask, answer.is_whole))?;
    let signature = <[u8; 48]>::try_from(opened.as_slice()).ok()?;
    Some(if answer.is_whole { SeedPart::Whole { signature } } else { SeedPart::Part { signature } })
}

#[cfg(test)]
mod tests {
    use lockstep_core::Uuid;

    use super::*;

    const GROUP: B256 = B256::repeat_byte(7);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn a_part_should_be_read_by_who_asked_and_as_what_it_is() {
        let ask = AskSeed { trace: Uuid::from_u128(1), attempt: 2, is_open: true, roster: B256::repeat_byte(3) };
        let part = SeedPart::Part { signature: [9; 48] };
        let answer = seal(&GROUP, &ask, &part, &key(1).verifying_key(), &[5; 32]);
        let text = serde_json::to_string(&answer).expect("JSON");
        assert!(!text.contains(&hex::encode([9; 16])), "{text}");
        assert_eq!(open(&GROUP, &ask, &answer, &key(1)), Some(part));
        assert_eq!(open(&GROUP, &ask, &answer, &key(2)), None, "sealed to another");
        assert_eq!(open(&B256::ZERO, &ask, &answer, &key(1)), None, "another group's");
        let other = AskSeed { roster: B256::ZERO, ..ask.clone() };
        assert_eq!(open(&GROUP, &other, &answer, &key(1)), None, "under another share");
        assert_eq!(open(&GROUP, &ask, &PayoutSeed { is_whole: true, ..answer.clone() }, &key(1)), None);
        assert_eq!(open(&GROUP, &ask, &PayoutSeed { attempt: 3, ..answer.clone() }, &key(1)), None);
        let whole = SeedPart::Whole { signature: [9; 48] };
        let answer = seal(&GROUP, &ask, &whole, &key(1).verifying_key(), &[5; 32]);
        assert_eq!(open(&GROUP, &ask, &answer, &key(1)), Some(whole));
        let long = PayoutSeed { sealed: HexBytes([answer.sealed.0.clone(), vec![0]].concat()), ..answer };
        assert_eq!(open(&GROUP, &ask, &long, &key(1)), None);
    }
}
