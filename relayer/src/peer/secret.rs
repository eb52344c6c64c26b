//! Parts of the group's secrets between two members: sealed to who asks, so that whoever listens on the line learns nothing.

use alloy::primitives::keccak256;
use ed25519_dalek::{SigningKey, VerifyingKey};
use lockstep_core::B256;
use lockstep_core::dkg::seal::{open_bytes, seal_bytes};

use super::HexBytes;
use super::wire::SealedPart;
use crate::world::peer::SecretPart;

/// Domain of what a sealed part belongs to.
const DOMAIN: &[u8] = b"lockstep/v1/secret-part";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What the group signs: group, kind and place of the secret are in it.
    pub digest: B256,
    /// Digest of the roster of the sharing whose part is wanted.
    pub roster: B256,
}

impl Subject {
    /// What a sealed part belongs to: nobody can pass one off as another.
    fn context(&self, is_whole: bool) -> B256 {
        let Self { digest, roster } = self;
        keccak256([keccak256(DOMAIN).as_slice(), digest.as_slice(), roster.as_slice(), &[u8::from(is_whole)]].concat())
    }

    /// The answer for the owner of an identity key. `random` must never be used again.
    pub fn seal(&self, part: &SecretPart, to: &VerifyingKey, random: &[u8; 32]) -> SealedPart {
        let (is_whole, signature) = match part {
            SecretPart::Whole { signature } => (true, signature),
            SecretPart::Part { signature } => (false, signature),
        };
        SealedPart { is_whole, sealed: HexBytes(seal_bytes(signature, to, &self.context(is_whole), random)) }
    }

    /// What an answer holds; `None` for one to something else or to somebody else.
    pub fn open(&self, answer: &SealedPart, own: &SigningKey) -> Option<SecretPart> {
        let opened = open_bytes(&answer.sealed.0, own, &self.context(answer.is_whole))?;
        let signature = <[u8; 48]>::try_from(opened.as_slice()).ok()?;
        Some(if answer.is_whole { SecretPart::Whole { signature } } else { SecretPart::Part { signature } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn a_part_should_be_read_by_who_asked_and_as_what_it_is() {
        let subject = Subject { digest: B256::repeat_byte(7), roster: B256::repeat_byte(3) };
        let part = SecretPart::Part { signature: [9; 48] };
        let answer = subject.seal(&part, &key(1).verifying_key(), &[5; 32]);
        let text = serde_json::to_string(&answer).expect("JSON");
        assert!(!text.contains(&hex::encode([9; 16])), "{text}");
        assert_eq!(subject.open(&answer, &key(1)), Some(part));
        assert_eq!(subject.open(&answer, &key(2)), None, "sealed to another");
        assert_eq!(Subject { digest: B256::ZERO, ..subject }.open(&answer, &key(1)), None, "another secret's");
        assert_eq!(Subject { roster: B256::ZERO, ..subject }.open(&answer, &key(1)), None, "under another share");
        assert_eq!(subject.open(&SealedPart { is_whole: true, ..answer }, &key(1)), None);
        let whole = SecretPart::Whole { signature: [9; 48] };
        let answer = subject.seal(&whole, &key(1).verifying_key(), &[5; 32]);
        assert_eq!(subject.open(&answer, &key(1)), Some(whole));
        let long = SealedPart { sealed: HexBytes([answer.sealed.0.clone(), vec![0]].concat()), ..answer };
        assert_eq!(subject.open(&long, &key(1)), None);
    }
}
