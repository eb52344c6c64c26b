//! One thing that operators approve and the group then signs: a decision with its number, or an action with its nonce.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Action, GovernError, Place};
use crate::group::roster::Marks;
use crate::machine::ContractPlace;
use crate::operation::{DecisionBody, DecisionError, FIELD_MAX, decision_digest};
use crate::trace::ChainId;

/// What is proposed, with the place where it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Row", into = "Row")]
pub enum Subject {
    /// Enters the ledger's order and acts from there, once.
    Decision {
        /// The group.
        group_id: B256,
        /// Acts once.
        number: u64,
        /// What is decided.
        body: DecisionBody,
    },
    /// Told to one contract, once.
    Action {
        /// The contract.
        place: Place,
        /// The contract's governance nonce.
        nonce: u64,
        /// What it is told.
        action: Action,
    },
}

/// What can be signed for once: a member that signed one digest for it signs no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A decision's number.
    Number(u64),
    /// A contract's governance nonce.
    Nonce {
        /// EIP-155 id.
        chain: ChainId,
        /// The group contract.
        contract: Address,
        /// The deployment.
        instance: B256,
        /// The nonce.
        nonce: u64,
    },
}

impl Slot {
    /// True where the group may have signed something for it before the members changed: then nobody who did not promise
    /// that very digest signs for it any more (DESIGN.md section 5, the high-water marks of a roster).
    pub fn is_covered_by(&self, marks: &Marks) -> bool {
        match self {
            Self::Number(number) => *number <= marks.decision,
            Self::Nonce { chain, nonce, .. } => marks.governance.get(chain).is_some_and(|next| nonce < next),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "decision/{number}"),
            Self::Nonce { chain, contract, instance, nonce } => {
                write!(f, "eip155:{chain}/0x{}/{instance}/{nonce}", hex::encode(contract))
            }
        }
    }
}

/// A subject as files and rows hold it: the bytes that are signed, and not a picture of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "snake_case", deny_unknown_fields)]
enum Row {
    Decision {
        group_id: B256,
        number: u64,
        #[serde(with = "hex::serde")]
        body: Vec<u8>,
    },
    Action {
        group_id: B256,
        chain: ChainId,
        contract: Address,
        instance: B256,
        nonce: u64,
        kind: u8,
        #[serde(with = "hex::serde")]
        data: Vec<u8>,
    },
}

impl From<Subject> for Row {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Decision { group_id, number, body } => Self::Decision { group_id, number, body: body.encode() },
            Subject::Action { place: Place { group_id, chain, contract, instance }, nonce, action } => {
                // Every way to make a subject has had its data once.
                let (kind, data) = (action.kind(), action.data().unwrap_or_default());
                Self::Action { group_id, chain, contract, instance, nonce, kind, data }
            }
        }
    }
}

impl TryFrom<Row> for Subject {
    type Error = SubjectError;

    fn try_from(row: Row) -> Result<Self, SubjectError> {
        Ok(match row {
            Row::Decision { group_id, number, body } => {
                Self::Decision { group_id, number, body: DecisionBody::decode(&body)? }
            }
            Row::Action { group_id, chain, contract, instance, nonce, kind, data } => {
                let place = Place { group_id, chain, contract, instance };
                Self::Action { place, nonce, action: Action::decode(kind, &data)? }
            }
        })
    }
}

impl Subject {
    /// The 32 bytes that the group signs.
    ///
    /// # Errors
    /// Refuses an action without bytes.
    pub fn digest(&self) -> Result<B256, SubjectError> {
        Ok(match self {
            Self::Decision { group_id, number, body } => decision_digest(group_id, *number, &body.encode()),
            Self::Action { place, nonce, action } => action.digest(place, *nonce)?,
        })
    }

    /// What it takes up for ever.
    pub const fn slot(&self) -> Slot {
        match self {
            Self::Decision { number, .. } => Slot::Number(*number),
            Self::Action { place: Place { chain, contract, instance, .. }, nonce, .. } => {
                Slot::Nonce { chain: *chain, contract: *contract, instance: *instance, nonce: *nonce }
            }
        }
    }

    /// Refuses what is not this group's or what nobody could mean. What depends on the ledger (whether a coin is unclaimed,
    /// whether a process is open) is not judged here.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, group_id: &B256, places: &BTreeMap<ChainId, ContractPlace>) -> Result<(), SubjectError> {
        let found = match self {
            Self::Decision { group_id, .. } => group_id,
            Self::Action { place, .. } => &place.group_id,
        };
        if found != group_id {
            return Err(SubjectError::Group { expected: *group_id, found: *found });
        }
        match self {
            Self::Decision { number: 0, .. } => Err(SubjectError::Number),
            Self::Decision { body, .. } => check_body(body, group_id, places),
            Self::Action { place, action, .. } => {
                let at = places.get(&place.chain).ok_or(SubjectError::Chain(place.chain))?;
                if (at.contract, at.instance) != (place.contract, place.instance) {
                    return Err(SubjectError::Contract { chain: place.chain, expected: at.contract });
                }
                Ok(action.check(place)?)
            }
        }
    }
}

fn check_body(
    body: &DecisionBody,
    group_id: &B256,
    places: &BTreeMap<ChainId, ContractPlace>,
) -> Result<(), SubjectError> {
    if body.encode().len() > FIELD_MAX {
        return Err(SubjectError::Decision(DecisionError::TooLong(body.encode().len())));
    }
    match body {
        DecisionBody::Bounce { chain, .. } | DecisionBody::Refused { chain, .. } => known(*chain, places),
        DecisionBody::Limits { chain, caps, .. } => {
            known(*chain, places)?;
            if caps.payout > caps.hour || caps.hour > caps.day { Err(SubjectError::Caps) } else { Ok(()) }
        }
        DecisionBody::Minimum { minimum, floor, .. } if floor > minimum => Err(SubjectError::Floor),
        DecisionBody::Switch { group } => {
            let majority = usize::from(group.threshold()).saturating_mul(2) > group.members().len();
            if group.is_legal() && majority && group.users().is_some() { Ok(()) } else { Err(SubjectError::Members) }
        }
        DecisionBody::Release { to, .. } if !to.is_legal() => Err(SubjectError::Recipient),
        DecisionBody::Key { generation: 0, .. } => Err(SubjectError::Contradictory(GovernError::Generation)),
        DecisionBody::Key { .. } if !body.is_possessed(group_id) => {
            Err(SubjectError::Contradictory(GovernError::Possession))
        }
        DecisionBody::Minimum { .. }
        | DecisionBody::Update { .. }
        | DecisionBody::Close { .. }
        | DecisionBody::Admit { .. }
        | DecisionBody::Policy { .. }
        | DecisionBody::Release { .. }
        | DecisionBody::Key { .. } => Ok(()),
    }
}

fn known(chain: ChainId, places: &BTreeMap<ChainId, ContractPlace>) -> Result<(), SubjectError> {
    if places.contains_key(&chain) { Ok(()) } else { Err(SubjectError::Chain(chain)) }
}

/// Why something is not to be approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// Not this group's.
    #[error("the proposal is for group {found}, this is {expected}")]
    Group {
        /// Ours.
        expected: B256,
        /// The proposal's.
        found: B256,
    },
    /// A chain that the group does not serve.
    #[error("chain {0} is not in the group file")]
    Chain(ChainId),
    /// Another deployment.
    #[error("the proposal is for another contract or deployment on chain {chain} than {expected}")]
    Contract {
        /// The chain.
        chain: ChainId,
        /// The group file's.
        expected: Address,
    },
    /// High-water marks say 0 where nothing was decided.
    #[error("decisions are numbered from 1")]
    Number,
    /// Caps that no payout could keep.
    #[error("a cap per payout is at most that per hour, and that at most the one per day")]
    Caps,
    /// What is above the floor is refunded, what is above the minimum becomes a message.
    #[error("the refund floor is above the minimum")]
    Floor,
    /// A member set that cannot hold coins, or that a minority could rule.
    #[error("the new members are 1 to 64 different ledger users, more than half of whom must sign")]
    Members,
    /// A set that nobody can pay.
    #[error("the recipient cannot be paid: 1 <= threshold <= members <= 64, all different")]
    Recipient,
    /// A body that cannot be read.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// An action that cannot be taken.
    #[error(transparent)]
    Contradictory(#[from] GovernError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Caps;
    use crate::{Amount, AssetId, Mix, Uuid};

    const GROUP: B256 = B256::repeat_byte(1);
    const AT: ContractPlace = ContractPlace { contract: Address::repeat_byte(2), instance: B256::repeat_byte(3) };

    fn places() -> BTreeMap<ChainId, ContractPlace> {
        BTreeMap::from([(31_337, AT)])
    }

    fn decision(body: DecisionBody) -> Subject {
        Subject::Decision { group_id: GROUP, number: 7, body }
    }

    fn halt(place: Place, nonce: u64) -> Subject {
        Subject::Action { place, nonce, action: Action::Halt }
    }

    #[test]
    fn what_is_not_this_groups_should_be_refused() {
        let place = Place::new(GROUP, 31_337, AT);
        let checked = |subject: Subject| subject.check(&GROUP, &places());
        let other = B256::ZERO;
        assert_eq!(
            checked(halt(Place { group_id: other, ..place }, 0)),
            Err(SubjectError::Group { expected: GROUP, found: other })
        );
        assert_eq!(checked(halt(Place { chain: 1, ..place }, 0)), Err(SubjectError::Chain(1)));
        let elsewhere = Err(SubjectError::Contract { chain: 31_337, expected: AT.contract });
        assert_eq!(checked(halt(Place { contract: Address::ZERO, ..place }, 0)), elsewhere);
        assert_eq!(checked(halt(Place { instance: other, ..place }, 0)), elsewhere);
        assert_eq!(checked(halt(place, 0)), Ok(()));
        let close = DecisionBody::Close { process: Uuid::nil() };
        let foreign = Subject::Decision { group_id: other, number: 1, body: close.clone() };
        assert_eq!(checked(foreign), Err(SubjectError::Group { expected: GROUP, found: other }));
        assert_eq!(checked(decision(close)), Ok(()));
    }

    #[test]
    fn what_nobody_could_mean_should_be_refused() {
        let checked = |body| decision(body).check(&GROUP, &places());
        let units = Amount::from_units;
        let asset = AssetId([4; 32]);
        let caps = |payout, hour, day| Caps { payout: units(payout), hour: units(hour), day: units(day) };
        let limits = |chain, caps| checked(DecisionBody::Limits { chain, asset, caps });
        assert_eq!(limits(1, caps(1, 2, 3)), Err(SubjectError::Chain(1)));
        assert_eq!(limits(31_337, caps(3, 2, 3)), Err(SubjectError::Caps));
        assert_eq!(limits(31_337, caps(1, 4, 3)), Err(SubjectError::Caps));
        assert_eq!(limits(31_337, caps(1, 1, 1)), Ok(()));
        assert_eq!(checked(DecisionBody::Bounce { chain: 9, k: 0 }), Err(SubjectError::Chain(9)));
        let minimum = |minimum, floor| DecisionBody::Minimum { asset, minimum: units(minimum), floor: units(floor) };
        assert_eq!(checked(minimum(1, 2)), Err(SubjectError::Floor));
        assert_eq!(checked(minimum(2, 2)), Ok(()));
        let users = |count: u128, threshold| Mix::of_users((1..=count).map(Uuid::from_u128), threshold);
        for group in [users(4, 2), users(65, 64), users(3, 4), users(0, 0)] {
            assert_eq!(checked(DecisionBody::Switch { group }), Err(SubjectError::Members));
        }
        assert_eq!(checked(DecisionBody::Switch { group: users(4, 3) }), Ok(()));
        let release = |to| checked(DecisionBody::Release { output: Uuid::nil(), to });
        assert_eq!(release(users(1, 2)), Err(SubjectError::Recipient));
        assert_eq!(release(users(4, 1)), Ok(()));
        let key = crate::bls::SecretKey::derive(&[5; 32], b"test").expect("a key").public_key().compress();
        let unproved = checked(DecisionBody::Key { generation: 1, key, possession: [0; 48] });
        assert_eq!(unproved, Err(SubjectError::Contradictory(GovernError::Possession)));
    }

    #[test]
    fn marks_should_cover_what_may_have_been_signed_and_nothing_above() {
        let marks = Marks { checkpoint: None, decision: 7, governance: BTreeMap::from([(31_337, 4)]) };
        let nonce = |chain, nonce| halt(Place { chain, ..Place::new(GROUP, 31_337, AT) }, nonce).slot();
        let covered = [Slot::Number(1), Slot::Number(7), nonce(31_337, 0), nonce(31_337, 3)];
        assert!(covered.iter().all(|slot| slot.is_covered_by(&marks)));
        let free = [Slot::Number(8), nonce(31_337, 4), nonce(1, 0)];
        assert!(!free.iter().any(|slot| slot.is_covered_by(&marks)));
        assert!(!Slot::Number(1).is_covered_by(&Marks::default()) && !nonce(1, 0).is_covered_by(&Marks::default()));
        let zeroth =
            Subject::Decision { group_id: GROUP, number: 0, body: DecisionBody::Close { process: Uuid::nil() } };
        assert_eq!(zeroth.check(&GROUP, &places()), Err(SubjectError::Number));
    }

    #[test]
    fn each_number_and_nonce_should_be_a_slot_of_its_own() {
        let place = Place::new(GROUP, 31_337, AT);
        let close = DecisionBody::Close { process: Uuid::nil() };
        let slots = [
            decision(close.clone()).slot(),
            Subject::Decision { group_id: GROUP, number: 8, body: close }.slot(),
            halt(place, 7).slot(),
            halt(place, 8).slot(),
            halt(Place { chain: 1, ..place }, 7).slot(),
            halt(Place { contract: Address::ZERO, ..place }, 7).slot(),
            halt(Place { instance: B256::ZERO, ..place }, 7).slot(),
        ];
        let named: std::collections::BTreeSet<String> = slots.iter().map(Slot::to_string).collect();
        assert_eq!(named.len(), slots.len());
        assert_eq!(slots[0].to_string(), "decision/7");
        let resume = Subject::Action { place, nonce: 7, action: Action::Resume };
        assert_eq!(resume.slot(), halt(place, 7).slot(), "one nonce, one action");
    }
}
