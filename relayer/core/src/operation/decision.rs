//! Decisions: governance messages signed by the group that enter as ledger outputs.

use alloy_primitives::{B256, keccak256};
use thiserror::Error;
use uuid::Uuid;

use super::frame::push_prefixed;
use super::meaning::{decode_assets, encode_assets};
use super::{Caps, Decision, DecisionBody, GAS_MAX, GAS_MIN, Policy};
use crate::account::MixError;
use crate::bls::{PublicKey, Signature};
use crate::reader::Reader;
use crate::{Amount, AssetId, Mix};

/// Domain of the signed digest.
const DOMAIN: &[u8] = b"lockstep/v1/decision";

/// The 32 bytes that the group signs: keccak(domain ‖ group id ‖ number u64 ‖ body).
pub fn decision_digest(group_id: &B256, number: u64, body: &[u8]) -> B256 {
    let domain = keccak256(DOMAIN);
    keccak256([domain.as_slice(), group_id.as_slice(), &number.to_be_bytes(), body].concat())
}

/// Domain of what a new group key signs.
const KEY_DOMAIN: &[u8] = b"lockstep/v1/group-key";

/// What the key of a [`DecisionBody::Key`] signs, so that nobody decides a key that he does not hold: keccak(domain ‖
/// group id ‖ generation u32 ‖ key 96).
pub fn group_key_digest(group_id: &B256, generation: u32, key: &[u8; 96]) -> B256 {
    let domain = keccak256(KEY_DOMAIN);
    keccak256([domain.as_slice(), group_id.as_slice(), &generation.to_be_bytes(), key].concat())
}

/// A decision as its memo carries it, the signature unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDecision {
    /// Acts once.
    pub number: u64,
    /// What is decided.
    pub body: DecisionBody,
    /// A compressed point in G1, as found.
    pub signature: [u8; 48],
}

impl SignedDecision {
    /// The extra of a decision's operation: number u64 ‖ u16 length ‖ body ‖ signature 48.
    ///
    /// # Errors
    /// Refuses a body of more than 65,535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, DecisionError> {
        let body = self.body.encode();
        if body.len() > super::FIELD_MAX {
            return Err(DecisionError::TooLong(body.len()));
        }
        let mut extra = self.number.to_be_bytes().to_vec();
        push_prefixed(&mut extra, &body);
        extra.extend_from_slice(&self.signature);
        Ok(extra)
    }

    /// Reads the extra of a decision's operation, and nothing else.
    ///
    /// # Errors
    /// Says what is malformed.
    pub fn decode(extra: &[u8]) -> Result<Self, DecisionError> {
        let mut reader = Reader::new(extra);
        let number = u64::from_be_bytes(reader.array().ok_or(DecisionError::Short)?);
        let body = reader.prefixed().ok_or(DecisionError::Short)?;
        let signature = reader.array().ok_or(DecisionError::Short)?;
        if !reader.is_empty() {
            return Err(DecisionError::Trailing);
        }
        Ok(Self { number, body: DecisionBody::decode(body)?, signature })
    }

    /// The digest to sign.
    pub fn digest(&self, group_id: &B256) -> B256 {
        decision_digest(group_id, self.number, &self.body.encode())
    }

    /// The decision with its signature judged. Without a key, or with bytes that are no signature, it is invalid; so is a
    /// new key whose possession is not proved.
    pub fn judge(self, group_id: &B256, key: Option<&PublicKey>) -> Decision {
        let signature = Signature::from_bytes(&self.signature).ok();
        let digest = self.digest(group_id);
        let signed = key.zip(signature).is_some_and(|(key, signature)| key.verify_digest(&digest, &signature));
        let valid = signed && self.body.is_possessed(group_id);
        Decision { number: self.number, valid, body: self.body }
    }
}

impl DecisionBody {
    /// True unless it decides a key without the proof that somebody holds it.
    pub fn is_possessed(&self, group_id: &B256) -> bool {
        let Self::Key { generation, key, possession } = self else { return true };
        let digest = group_key_digest(group_id, *generation, key);
        let parts = PublicKey::from_bytes(key).ok().zip(Signature::from_bytes(possession).ok());
        parts.is_some_and(|(key, possession)| key.verify_digest(&digest, &possession))
    }

    /// Kind u8 and the parts. One body has one encoding.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bounce { chain, k } => parts(1, &[&chain.to_be_bytes(), &k.to_be_bytes()]),
            Self::Refused { chain, k } => parts(2, &[&chain.to_be_bytes(), &k.to_be_bytes()]),
            Self::Switch { group } => parts(3, &[&group.to_payload()]),
            Self::Limits { chain, asset, caps: Caps { payout, hour, day } } => {
                let [payout, hour, day] = [payout, hour, day].map(|amount| amount.units().to_be_bytes());
                parts(4, &[&chain.to_be_bytes(), &asset.0, &payout, &hour, &day])
            }
            Self::Minimum { asset, minimum, floor } => {
                parts(5, &[&asset.0, &minimum.units().to_be_bytes(), &floor.units().to_be_bytes()])
            }
            Self::Update { process, assets } => {
                let count = assets.as_ref().map_or(0, |assets| u16::try_from(assets.len()).unwrap_or(u16::MAX));
                let list = assets.as_ref().map(encode_assets).unwrap_or_default();
                parts(6, &[process.as_bytes(), &[u8::from(assets.is_some())], &count.to_be_bytes(), &list])
            }
            Self::Close { process } => parts(7, &[process.as_bytes()]),
            Self::Admit { output } => parts(8, &[output.as_bytes()]),
            Self::Policy { process, policy, gas } => {
                parts(9, &[process.as_bytes(), &[*policy as u8], &gas.to_be_bytes()])
            }
            Self::Release { output, to } => parts(10, &[output.as_bytes(), &to.to_payload()]),
            Self::Key { generation, key, possession } => parts(11, &[&generation.to_be_bytes(), key, possession]),
        }
    }

    /// Reads a body, and nothing else.
    ///
    /// # Errors
    /// Says what is malformed.
    pub fn decode(body: &[u8]) -> Result<Self, DecisionError> {
        let mut reader = Reader::new(body);
        let [kind] = reader.array().ok_or(DecisionError::Short)?;
        if kind == 3 {
            return Ok(Self::Switch { group: sorted(reader.rest())? });
        }
        if kind == 6 {
            return decode_update(reader);
        }
        if kind == 10 {
            let output = uuid(&mut reader)?;
            return Ok(Self::Release { output, to: sorted(reader.rest())? });
        }
        let decoded = match kind {
            1 => Self::Bounce { chain: number(&mut reader)?, k: number(&mut reader)? },
            2 => Self::Refused { chain: number(&mut reader)?, k: number(&mut reader)? },
            4 => Self::Limits {
                chain: number(&mut reader)?,
                asset: asset(&mut reader)?,
                caps: Caps { payout: amount(&mut reader)?, hour: amount(&mut reader)?, day: amount(&mut reader)? },
            },
            5 => {
                Self::Minimum { asset: asset(&mut reader)?, minimum: amount(&mut reader)?, floor: amount(&mut reader)? }
            }
            7 => Self::Close { process: uuid(&mut reader)? },
            8 => Self::Admit { output: uuid(&mut reader)? },
            9 => decode_policy(&mut reader)?,
            11 => decode_key(&mut reader)?,
            other => return Err(DecisionError::Kind(other)),
        };
        if reader.is_empty() { Ok(decoded) } else { Err(DecisionError::Trailing) }
    }
}

fn sorted(payload: &[u8]) -> Result<Mix, DecisionError> {
    let mix = Mix::from_payload(payload)?;
    // Members in another order would be the same set under another signature.
    if mix.to_payload() == payload { Ok(mix) } else { Err(DecisionError::Order) }
}

fn decode_policy(reader: &mut Reader<'_>) -> Result<DecisionBody, DecisionError> {
    let process = uuid(reader)?;
    let policy = match reader.array().ok_or(DecisionError::Short)? {
        [0] => Policy::Refund,
        [1] => Policy::Park,
        [2] => Policy::Strict,
        [other] => return Err(DecisionError::Policy(other)),
    };
    let gas = u32::from_be_bytes(reader.array().ok_or(DecisionError::Short)?);
    if gas != 0 && !(GAS_MIN..=GAS_MAX).contains(&gas) {
        return Err(DecisionError::Gas(gas));
    }
    Ok(DecisionBody::Policy { process, policy, gas })
}

fn decode_key(reader: &mut Reader<'_>) -> Result<DecisionBody, DecisionError> {
    let generation = u32::from_be_bytes(reader.array().ok_or(DecisionError::Short)?);
    let key: [u8; 96] = reader.array().ok_or(DecisionError::Short)?;
    let possession = reader.array().ok_or(DecisionError::Short)?;
    PublicKey::from_bytes(&key).map_err(|_| DecisionError::Key)?;
    Ok(DecisionBody::Key { generation, key, possession })
}

fn decode_update(mut reader: Reader<'_>) -> Result<DecisionBody, DecisionError> {
    let process = uuid(&mut reader)?;
    let [has] = reader.array().ok_or(DecisionError::Short)?;
    let count = u16::from_be_bytes(reader.array().ok_or(DecisionError::Short)?);
    let assets = decode_assets(reader.rest()).ok_or(DecisionError::Assets)?;
    if assets.len() != usize::from(count) {
        return Err(DecisionError::Assets);
    }
    match (has, count) {
        (0, 0) => Ok(DecisionBody::Update { process, assets: None }),
        (1, _) => Ok(DecisionBody::Update { process, assets: Some(assets) }),
        _ => Err(DecisionError::Assets),
    }
}

fn parts(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[kind], parts.concat().as_slice()].concat()
}

fn number(reader: &mut Reader<'_>) -> Result<u64, DecisionError> {
    reader.array().map(u64::from_be_bytes).ok_or(DecisionError::Short)
}

fn amount(reader: &mut Reader<'_>) -> Result<Amount, DecisionError> {
    reader.array().map(u128::from_be_bytes).map(Amount::from_units).ok_or(DecisionError::Short)
}

fn asset(reader: &mut Reader<'_>) -> Result<AssetId, DecisionError> {
    reader.array().map(AssetId).ok_or(DecisionError::Short)
}

fn uuid(reader: &mut Reader<'_>) -> Result<Uuid, DecisionError> {
    reader.array().map(Uuid::from_bytes).ok_or(DecisionError::Short)
}

/// Why bytes are not a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecisionError {
    /// The bytes end early.
    #[error("the decision is cut short")]
    Short,
    /// Bytes behind the decision or its body.
    #[error("trailing bytes behind the decision")]
    Trailing,
    /// Something that cannot be decided.
    #[error("the decision has unknown kind {0}")]
    Kind(u8),
    /// A member set that cannot be read.
    #[error("the decision's member set is malformed")]
    Group(#[from] MixError),
    /// A member set that is not sorted.
    #[error("the decision's member set is not sorted")]
    Order,
    /// An asset list that is not whole, not ascending, or not of the announced length.
    #[error("the decision's asset list is malformed")]
    Assets,
    /// A policy that does not exist.
    #[error("the decision has unknown policy {0}")]
    Policy(u8),
    /// Out of range, and not 0.
    #[error("the decision's gas limit {0} is neither 0 nor within {GAS_MIN} to {GAS_MAX}")]
    Gas(u32),
    /// A group key that is no point of the subgroup.
    #[error("the decision's group key is not a key")]
    Key,
    /// A body that no memo can carry.
    #[error("a decision of {0} bytes is too long")]
    TooLong(usize),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Memo, MemoKind, MemoRules, Operation};
    use super::*;
    use crate::bls::SecretKey;

    fn bodies() -> Vec<DecisionBody> {
        let (uuid, asset, amount) = (Uuid::from_u128, |byte| AssetId([byte; 32]), Amount::from_units);
        let assets = BTreeMap::from([(asset(1), amount(2)), (asset(3), amount(4))]);
        vec![
            DecisionBody::Bounce { chain: 1, k: 2 },
            DecisionBody::Refused { chain: 1, k: 2 },
            DecisionBody::Switch { group: Mix::of_users([uuid(3), uuid(1), uuid(2)], 2) },
            DecisionBody::Limits {
                chain: 1,
                asset: asset(2),
                caps: Caps { payout: amount(3), hour: amount(4), day: amount(5) },
            },
            DecisionBody::Minimum { asset: asset(1), minimum: amount(2), floor: amount(3) },
            DecisionBody::Update { process: uuid(1), assets: None },
            DecisionBody::Update { process: uuid(1), assets: Some(BTreeMap::new()) },
            DecisionBody::Update { process: uuid(1), assets: Some(assets) },
            DecisionBody::Close { process: uuid(1) },
            DecisionBody::Admit { output: uuid(1) },
            DecisionBody::Policy { process: uuid(1), policy: Policy::Strict, gas: 0 },
            DecisionBody::Policy { process: uuid(1), policy: Policy::Refund, gas: GAS_MIN },
            DecisionBody::Release { output: uuid(1), to: Mix::of_users([uuid(2), uuid(1)], 1) },
            key(B256::ZERO, 2),
        ]
    }

    /// A key with its proof for the group and the generation.
    fn key(group_id: B256, generation: u32) -> DecisionBody {
        let new = SecretKey::derive(&[2; 32], b"test").expect("a key");
        let key = new.public_key().compress();
        let possession = new.sign_digest(&group_key_digest(&group_id, generation, &key)).compress();
        DecisionBody::Key { generation, key, possession }
    }

    #[test]
    fn truncations_and_trailing_bytes_should_be_refused() {
        for body in bodies() {
            let bytes = body.encode();
            for cut in 0..bytes.len() {
                assert!(DecisionBody::decode(&bytes[..cut]).is_err(), "{body:?} {cut}");
            }
            assert!(DecisionBody::decode(&[&bytes[..], &[0]].concat()).is_err(), "{body:?}");
            let signed = SignedDecision { number: 1, body, signature: [0; 48] }.encode().expect("short");
            for cut in 0..signed.len() {
                assert!(SignedDecision::decode(&signed[..cut]).is_err(), "{cut}");
            }
            assert_eq!(SignedDecision::decode(&[&signed[..], &[0]].concat()), Err(DecisionError::Trailing));
        }
    }

    #[test]
    fn other_encodings_of_one_body_should_be_refused() {
        for kind in [0, 12, 255] {
            assert_eq!(DecisionBody::decode(&[kind]), Err(DecisionError::Kind(kind)));
        }
        let unsorted = [&[3, 2, 1, 2][..], &[2; 16], &[1; 16]].concat();
        assert_eq!(DecisionBody::decode(&unsorted), Err(DecisionError::Order));
        let unsorted = [&[10][..], &[7; 16], &unsorted[1..]].concat();
        assert_eq!(DecisionBody::decode(&unsorted), Err(DecisionError::Order));
        let policy = |policy: u8, gas: u32| DecisionBody::decode(&parts(9, &[&[1; 16], &[policy], &gas.to_be_bytes()]));
        assert_eq!(policy(3, 0), Err(DecisionError::Policy(3)));
        for gas in [1, GAS_MIN - 1, GAS_MAX + 1, u32::MAX] {
            assert_eq!(policy(0, gas), Err(DecisionError::Gas(gas)));
        }
        let infinity = [&[0xc0][..], &[0; 95]].concat();
        for key in [&[0; 96][..], &[0xff; 96], &infinity] {
            assert_eq!(DecisionBody::decode(&parts(11, &[&[0; 4], key, &[0; 48]])), Err(DecisionError::Key));
        }
        let update = |has: u8, count: u16, entries: &[[u8; 48]]| {
            DecisionBody::decode(&parts(6, &[&[0; 16], &[has], &count.to_be_bytes(), &entries.concat()]))
        };
        for refused in
            [update(0, 1, &[[1; 48]]), update(1, 2, &[[2; 48], [1; 48]]), update(1, 1, &[]), update(2, 0, &[])]
        {
            assert_eq!(refused, Err(DecisionError::Assets));
        }
    }

    #[test]
    fn only_the_groups_signature_over_all_parts_should_be_valid() {
        let key = SecretKey::derive(&[1; 32], b"test").expect("a key");
        let rules = MemoRules { group_key: Some(key.public_key()), ..MemoRules::default() };
        for body in bodies() {
            let digest = decision_digest(&B256::ZERO, 7, &body.encode());
            let signed =
                SignedDecision { number: 7, body: body.clone(), signature: key.sign_digest(&digest).compress() };
            let valid = |signed: &SignedDecision, rules: &MemoRules| {
                let memo = Operation::decision(signed).expect("short").to_memo_text().expect("short");
                let MemoKind::Decision(decision) = Memo::decode(memo.as_bytes(), rules).kind else { return None };
                (decision.body == signed.body).then_some(decision.valid)
            };
            assert_eq!(valid(&signed, &rules), Some(true));
            let other = SignedDecision { number: 8, ..signed.clone() };
            assert_eq!(valid(&other, &rules), Some(false));
            let other = SignedDecision { body: DecisionBody::Bounce { chain: 9, k: 9 }, ..signed.clone() };
            assert_eq!(valid(&other, &rules), Some(false));
            let other = SignedDecision { signature: [0xff; 48], ..signed.clone() };
            assert_eq!(valid(&other, &rules), Some(false));
            assert_eq!(valid(&signed, &MemoRules { group_id: B256::repeat_byte(1), ..rules.clone() }), Some(false));
            assert_eq!(valid(&signed, &MemoRules::default()), Some(false));
        }
    }

    #[test]
    fn a_key_that_nobody_proved_to_hold_should_be_invalid() {
        let signer = SecretKey::derive(&[1; 32], b"test").expect("a key");
        let judged = |body: DecisionBody| {
            let digest = decision_digest(&B256::ZERO, 7, &body.encode());
            let signature = signer.sign_digest(&digest).compress();
            SignedDecision { number: 7, body, signature }.judge(&B256::ZERO, Some(&signer.public_key())).valid
        };
        assert!(judged(key(B256::ZERO, 2)));
        assert!(!judged(key(B256::repeat_byte(1), 2)), "another group's");
        let DecisionBody::Key { key: found, possession, .. } = key(B256::ZERO, 2) else { return };
        assert!(!judged(DecisionBody::Key { generation: 3, key: found, possession }), "another generation's");
        let other = signer.public_key().compress();
        assert!(!judged(DecisionBody::Key { generation: 2, key: other, possession }), "another key's");
        assert!(!judged(DecisionBody::Key { generation: 2, key: found, possession: [0; 48] }));
    }

    proptest! {
        #[test]
        fn signed_decisions_should_read_back(
            number: u64,
            body in prop::sample::select(bodies()),
            signature in prop::collection::vec(any::<u8>(), 48),
            place in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let signed = SignedDecision { number, body, signature: signature.try_into().expect("48 bytes") };
            let bytes = signed.encode().expect("short");
            prop_assert_eq!(SignedDecision::decode(&bytes), Ok(signed));
            let mut changed = bytes.clone();
            changed[place.index(bytes.len())] = byte;
            for bytes in [changed, bytes[..place.index(bytes.len())].to_vec(), [bytes, vec![byte]].concat()] {
                if let Ok(read) = SignedDecision::decode(&bytes) {
                    prop_assert_eq!(read.encode(), Ok(bytes));
                }
            }
        }

        #[test]
        fn any_bytes_should_be_read_or_refused(kind in 0..13_u8, rest in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = [vec![kind], rest].concat();
            if let Ok(body) = DecisionBody::decode(&bytes) {
                prop_assert_eq!(body.encode(), bytes);
            }
        }
    }
}
