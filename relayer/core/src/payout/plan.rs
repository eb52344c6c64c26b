//! The bytes of a derived transaction: inputs, receivers, extra, and the keys of its outputs.

use std::collections::BTreeSet;
use std::fmt;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::derive::{CoinRef, Derived, Payee};
use crate::mixin::address::XinKeys;
use crate::mixin::ids::{XIN, storage_cost, storage_room};
use crate::mixin::structure::{EXTRA_MAX, STORAGE_THRESHOLD};
use crate::mixin::{Input, KeyError, Output, RawKey, Script, Transaction, TransactionError, XinAddress};
use crate::output::CoinId;
use crate::{Amount, AssetId, Mix, MixMember};

use super::seed::Seed;

/// Seed of the address that storage is paid to (`bot-api-go-client`); a threshold above its one key keeps everybody out.
const STORAGE_SEED: [u8; 64] = [1; 64];

/// A coin reference, resolved: where the coin lies and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedCoin {
    /// Its place on the ledger.
    pub id: CoinId,
    /// What it holds.
    pub amount: Amount,
}

/// One output of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOutput {
    /// Who gets it; a legal set, of users only or of bare addresses only.
    pub receivers: Mix,
    /// How much.
    pub amount: Amount,
}

impl PlannedOutput {
    /// What a transaction in XIN burns to carry an extra of so many bytes, where that is more than [`EXTRA_MAX`].
    ///
    /// # Errors
    /// [`KeyError::Zero`], which the seed does not give.
    pub fn storage(extra_len: usize) -> Result<Self, KeyError> {
        let address = XinKeys::from_seed(&STORAGE_SEED)?.address();
        let receivers = Mix::new(vec![address.member()], STORAGE_THRESHOLD);
        Ok(Self { receivers, amount: storage_cost(extra_len) })
    }

    /// True for what buys storage: nobody can ever spend it.
    pub fn is_storage(&self) -> bool {
        let [MixMember::Address(..)] = self.receivers.members() else { return false };
        self.receivers.threshold() == STORAGE_THRESHOLD
    }
}

/// What to ask the key service for one output. The senders named with it are always the group.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GhostRequest {
    /// Sorted.
    pub receivers: Vec<Uuid>,
    /// Index of the output.
    pub index: u16,
    /// Commits to trace, attempt, index, receivers and seed.
    pub hint: Uuid,
}

/// Whoever knows the hint may get the keys: it is not shown.
impl fmt::Debug for GhostRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receivers, index, hint: _ } = self;
        f.debug_struct("GhostRequest").field("receivers", receivers).field("index", index).finish_non_exhaustive()
    }
}

/// What the key service answers: one key a receiver, in sorted order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GhostKeys {
    /// R = r·B.
    pub mask: RawKey,
    /// One-time keys.
    pub keys: Vec<RawKey>,
}

/// A transaction whose coins, receivers and extra are fixed, and whose output keys are still to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    trace: Uuid,
    attempt: u32,
    asset: AssetId,
    coins: Vec<CoinId>,
    outputs: Vec<PlannedOutput>,
    references: Vec<B256>,
    extra: Vec<u8>,
}

impl Plan {
    /// Plans attempt number `attempt` at `derived`, known to the ledger's API as `trace`. `resolve` gives a coin that is
    /// final on the ledger, `group` the group's address of a generation.
    ///
    /// # Errors
    /// [`PlanError::Unresolved`] for a coin that is not final yet: try again later. Everything else contradicts the rules
    /// that made `derived`.
    pub fn new(
        derived: &Derived,
        (trace, attempt): (Uuid, u32),
        resolve: impl Fn(&CoinRef) -> Option<ResolvedCoin>,
        group: impl Fn(u32) -> Option<Mix>,
    ) -> Result<Self, PlanError> {
        let resolved = |reference: &CoinRef| resolve(reference).ok_or(PlanError::Unresolved(*reference));
        let coins = derived.inputs.iter().map(resolved).collect::<Result<Vec<_>, _>>()?;
        let mut outputs = Vec::new();
        for (payee, amount) in &derived.outputs {
            let receivers = match payee {
                Payee::Mix(mix) => mix.clone(),
                Payee::Group(generation) => group(*generation).ok_or(PlanError::Generation(*generation))?,
            };
            outputs.push(PlannedOutput { receivers, amount: *amount });
        }
        Self::of_parts((trace, attempt), derived.asset, &coins, outputs, derived.extra().ok_or(PlanError::Memo)?)
    }

    /// Plans any payment out of parts that are known already, with the same checks.
    ///
    /// # Errors
    /// [`PlanError`] for parts that make no payment.
    pub fn of_parts(
        (trace, attempt): (Uuid, u32),
        asset: AssetId,
        coins: &[ResolvedCoin],
        outputs: Vec<PlannedOutput>,
        extra: Vec<u8>,
    ) -> Result<Self, PlanError> {
        if coins.is_empty() || coins.iter().map(|coin| coin.id).collect::<BTreeSet<_>>().len() != coins.len() {
            return Err(PlanError::Coins);
        }
        let payable = |output: &PlannedOutput| output.receivers.is_legal() || output.is_storage();
        let bad = |output: &PlannedOutput| output.amount.is_zero() || !payable(output);
        if let Some(output) = outputs.iter().position(bad) {
            return Err(PlanError::Output(output));
        }
        let total_in = total(coins.iter().map(|coin| coin.amount));
        if total_in.is_none() || total_in != total(outputs.iter().map(|output| output.amount)) {
            return Err(PlanError::Unbalanced);
        }
        let storage =
            outputs.iter().filter(|output| output.is_storage()).map(|output| storage_room(output.amount)).max();
        let room = storage.filter(|_| asset == AssetId::from_uuid(XIN)).map_or(EXTRA_MAX, |room| room.max(EXTRA_MAX));
        if extra.len() > room {
            return Err(PlanError::Extra { bytes: extra.len(), room });
        }
        let coins = coins.iter().map(|coin| coin.id).collect();
        Ok(Self { trace, attempt, asset, coins, outputs, references: Vec::new(), extra })
    }

    /// The same with references to final transactions, at most 16. The group's own payments have none.
    #[must_use]
    pub fn with_references(self, references: Vec<B256>) -> Self {
        Self { references, ..self }
    }

    /// The coins it spends, in the order of the inputs.
    pub fn coins(&self) -> &[CoinId] {
        &self.coins
    }

    /// What it pays, in the order of the outputs.
    pub fn outputs(&self) -> &[PlannedOutput] {
        &self.outputs
    }

    /// True if `transaction` is this payment under whatever keys: the same coins in the same order, amounts, thresholds,
    /// numbers of keys, references and extra. Whose keys they are, only their owners can tell.
    pub fn is_paid_by(&self, transaction: &Transaction) -> bool {
        let same = |(planned, output): (&PlannedOutput, &Output)| {
            let script = Script::of_threshold(planned.receivers.threshold());
            output.amount == planned.amount
                && output.keys.len() == planned.receivers.members().len()
                && output.script == script
        };
        transaction.asset() == self.asset
            && transaction.coins().is_some_and(|coins| coins == self.coins)
            && transaction.extra() == self.extra
            && transaction.references() == self.references
            && transaction.outputs().len() == self.outputs.len()
            && self.outputs.iter().zip(transaction.outputs()).all(same)
    }

    /// What to ask the key service: one request for each output to ledger users, under hints that only `seed` gives. Keys of
    /// bare addresses are derived here.
    pub fn key_requests(&self, seed: &Seed) -> Vec<GhostRequest> {
        let mut requests = Vec::new();
        for (index, output) in (0_u16..).zip(&self.outputs) {
            if let Some(receivers) = output.receivers.users() {
                let hint = seed.hint(self.trace, self.attempt, index, &output.receivers);
                requests.push(GhostRequest { receivers, index, hint });
            }
        }
        requests
    }

    /// The transaction, from the answers to [`Self::key_requests`] under the same seed, in the same order.
    ///
    /// # Errors
    /// [`PlanError::Keys`] for answers that do not fit: another number of answers or keys, a key or mask that the kernel
    /// would refuse, a key twice.
    pub fn build(&self, seed: &Seed, answers: &[GhostKeys]) -> Result<Transaction, PlanError> {
        let mut answers = answers.iter();
        let mut outputs = Vec::new();
        for (index, output) in (0_u16..).zip(&self.outputs) {
            let users = output.receivers.users().map(|users| users.len());
            outputs.push(match users {
                Some(count) => {
                    let keys = answers.next().ok_or(PlanError::Keys(index))?;
                    of_answer(output, keys, count).ok_or(PlanError::Keys(index))?
                }
                None => self.of_addresses(output, index, seed)?,
            });
        }
        let count = outputs.iter().map(|output| output.keys.len()).sum::<usize>();
        let distinct = outputs.iter().flat_map(|output| &output.keys).collect::<BTreeSet<_>>();
        if distinct.len() != count || answers.next().is_some() {
            return Err(PlanError::Keys(u16::try_from(outputs.len()).unwrap_or(u16::MAX)));
        }
        let inputs = self.coins.iter().copied().map(Input::of_coin).collect();
        Ok(Transaction::new(self.asset, inputs, outputs, self.references.clone(), self.extra.clone())?)
    }

    /// An output to bare addresses; its mask secret comes from the seed, so nobody can know the keys before the group does.
    fn of_addresses(&self, output: &PlannedOutput, index: u16, seed: &Seed) -> Result<Output, PlanError> {
        let address = |member: &MixMember| match member {
            MixMember::Address(spend, view) => {
                XinAddress::from_bytes(*spend, *view).map_err(|_| PlanError::Keys(index))
            }
            MixMember::User(_) => Err(PlanError::Output(usize::from(index))),
        };
        let receivers = output.receivers.members().iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let r = seed.mask_secret(self.trace, index, &output.receivers)?;
        Ok(Output::of_addresses(output.amount, &receivers, output.receivers.threshold(), &r, index)?)
    }
}

fn total(mut amounts: impl Iterator<Item = Amount>) -> Option<Amount> {
    amounts.try_fold(Amount::ZERO, Amount::checked_add)
}

/// The answer as an output, if it has `count` keys that the kernel accepts.
fn of_answer(output: &PlannedOutput, answer: &GhostKeys, count: usize) -> Option<Output> {
    let valid = answer.keys.iter().chain([&answer.mask]).all(|key| key.check().is_ok());
    (valid && answer.keys.len() == count)
        .then(|| Output::of_keys(output.amount, answer.keys.clone(), answer.mask, output.receivers.threshold()))
}

/// Why no transaction can be built.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// A coin is not final on the ledger yet.
    #[error("the coin {0:?} is not final yet")]
    Unresolved(CoinRef),
    /// No coin, or one twice.
    #[error("the inputs are not distinct coins")]
    Coins,
    /// A generation that the group never had.
    #[error("the group has no generation {0}")]
    Generation(u32),
    /// An output of nothing, or to a set that the ledger cannot pay.
    #[error("output {0} cannot be paid")]
    Output(usize),
    /// Inputs and outputs do not sum up to the same.
    #[error("inputs and outputs do not sum up to the same")]
    Unbalanced,
    /// More than the kernel takes.
    #[error("an extra of {bytes} bytes, at most {room}")]
    Extra {
        /// Its length.
        bytes: usize,
        /// What fits: what was paid for storage in XIN, or [`EXTRA_MAX`].
        room: usize,
    },
    /// A refund mark without a refunded output.
    #[error("a refund names no output")]
    Memo,
    /// The key service's answer for an output cannot be used; the number of outputs stands for all of them together.
    #[error("the keys of output {0} cannot be used")]
    Keys(u16),
    /// A mask or key that arithmetic excludes.
    #[error("a derived key is invalid")]
    Derived(#[from] KeyError),
    /// Above the kernel's bounds.
    #[error("the transaction is too large")]
    Transaction(#[from] TransactionError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::DerivedMemo;
    use crate::mixin::PrivateKey;
    use crate::trace::Trace;

    const TRACE: Uuid = Uuid::from_u128(0xaaaa);

    fn seed() -> Seed {
        Seed::new([5; 32])
    }

    fn group() -> Mix {
        Mix::of_users((1..=4).map(Uuid::from_u128), 3)
    }

    fn bob() -> Mix {
        Mix::of_users([Uuid::from_u128(77)], 1)
    }

    fn coin(index: u16) -> CoinId {
        CoinId { transaction: B256::repeat_byte(9), index }
    }

    /// A payout of 30 to bob out of two coins of 20.
    fn derived() -> Derived {
        let trace = Trace::Pay { chain: 1, k: 7 };
        let units = Amount::from_units;
        let (first, second) = (CoinRef::Output(Uuid::from_u128(0)), CoinRef::Virtual { trace, index: 1 });
        let outputs = vec![(Payee::Mix(bob()), units(30)), (Payee::Group(0), units(10))];
        let memo = DerivedMemo::Pay(vec![0, 1, 2]);
        Derived { trace, asset: AssetId([3; 32]), inputs: vec![first, second], outputs, memo, key: None }
    }

    fn resolve(reference: &CoinRef) -> Option<ResolvedCoin> {
        let index = match reference {
            CoinRef::Output(id) => u16::try_from(id.as_u128()).ok()?,
            CoinRef::Virtual { index, .. } => *index,
        };
        (index < 100).then(|| ResolvedCoin { id: coin(index), amount: Amount::from_units(20) })
    }

    fn plan(derived: &Derived) -> Result<Plan, PlanError> {
        Plan::new(derived, (TRACE, 2), resolve, |generation| (generation == 0).then(group))
    }

    fn keys(count: u8, first: u8) -> GhostKeys {
        let key = |i: u8| PrivateKey::from_ed25519_seed(&[i; 32]).public().raw();
        GhostKeys { mask: key(255), keys: (first..).take(usize::from(count)).map(key).collect() }
    }

    #[test]
    fn what_breaks_the_rules_should_not_be_planned() {
        let late = Derived { inputs: vec![CoinRef::Output(Uuid::from_u128(100))], ..derived() };
        assert_eq!(plan(&late), Err(PlanError::Unresolved(late.inputs[0])));
        let twice = Derived { inputs: vec![derived().inputs[0]; 2], ..derived() };
        assert_eq!(plan(&twice), Err(PlanError::Coins));
        let mut changed = derived();
        changed.outputs[1].1 = Amount::from_units(11);
        assert_eq!(plan(&changed), Err(PlanError::Unbalanced));
        changed.outputs[1] = (Payee::Group(1), Amount::from_units(10));
        assert_eq!(plan(&changed), Err(PlanError::Generation(1)));
        changed.outputs[1] = (Payee::Mix(Mix::of_users([], 1)), Amount::from_units(10));
        assert_eq!(plan(&changed), Err(PlanError::Output(1)));
        changed.outputs[1] = (Payee::Group(0), Amount::ZERO);
        assert_eq!(plan(&changed), Err(PlanError::Output(1)));
        assert_eq!(plan(&Derived { memo: DerivedMemo::Refund, ..derived() }), Err(PlanError::Memo));
        let long = plan(&Derived { memo: DerivedMemo::Pay(vec![0; 257]), ..derived() });
        assert_eq!(long, Err(PlanError::Extra { bytes: 257, room: 256 }));
    }

    #[test]
    fn a_long_extra_should_be_paid_for_in_xin() {
        let xin = AssetId::from_uuid(XIN);
        let planned = |asset, storage: PlannedOutput, extra: usize| {
            let paid = PlannedOutput { receivers: bob(), amount: Amount::from_units(1) };
            let total = storage.amount.units() + 1;
            let coins = [ResolvedCoin { id: coin(0), amount: Amount::from_units(total) }];
            Plan::of_parts((TRACE, 0), asset, &coins, vec![paid, storage], vec![7; extra])
        };
        let storage = |bytes| PlannedOutput::storage(bytes).expect("an address");
        let refused = |room, bytes| Err(PlanError::Extra { bytes, room });
        assert_eq!(planned(derived().asset, storage(257), 257), refused(256, 257), "another asset buys nothing");
        assert_eq!(planned(xin, storage(1_023), 1_025), refused(1_024, 1_025));
        let cheap = PlannedOutput { amount: Amount::from_units(9_999), ..storage(257) };
        assert_eq!(planned(xin, cheap, 257), refused(256, 257));
        let spendable =
            PlannedOutput { receivers: Mix::new(storage(1).receivers.members().to_vec(), 1), ..storage(257) };
        assert_eq!(planned(xin, spendable, 257), refused(256, 257), "money of somebody is not burnt");

        let plan = planned(xin, storage(1_500), 1_500).expect("paid for");
        assert_eq!(plan.key_requests(&seed()).len(), 1, "nobody is asked for the keys of nobody");
        let transaction = plan.build(&seed(), &[keys(1, 1)]).expect("a transaction");
        let burnt = &transaction.outputs()[1];
        assert_eq!((burnt.keys.len(), burnt.script.0.as_slice()), (1, &[0xff, 0xfe, 64][..]));
        assert_eq!(crate::mixin::structure::extra_limit(&transaction), 2_048);
        assert_eq!(crate::mixin::structure::validate(&transaction), Ok(crate::mixin::TransactionKind::Script));
    }

    #[test]
    fn keys_that_do_not_fit_should_not_be_used() {
        let plan = plan(&derived()).expect("a plan");
        let refused = |answers: &[GhostKeys]| matches!(plan.build(&seed(), answers), Err(PlanError::Keys(_)));
        assert!(refused(&[]) && refused(&[keys(1, 1)]) && refused(&[keys(2, 1), keys(4, 5)]));
        assert!(refused(&[keys(1, 1), keys(4, 2), keys(1, 9)]), "more than asked for");
        assert!(refused(&[keys(1, 1), keys(4, 1)]), "a key twice");
        let zero = GhostKeys { mask: RawKey::ZERO, ..keys(1, 1) };
        assert!(refused(&[zero, keys(4, 2)]));
    }

    #[test]
    fn the_key_service_should_be_asked_in_these_words() {
        let requests = plan(&derived()).expect("a plan").key_requests(&seed());
        let text: Vec<_> = requests.iter().map(|request| request.hint.to_string()).collect();
        assert_eq!((requests[0].index, requests[1].index), (0, 1));
        assert_eq!(requests[0].receivers, [Uuid::from_u128(77)]);
        assert_eq!(requests[1].receivers, (1..=4).map(Uuid::from_u128).collect::<Vec<_>>());
        assert_eq!(text, ["31e56539-6189-5cbb-915f-526840ab0bfe", "7bb55809-a35b-56b7-af57-d3a7c84620d9"]);
    }

    #[test]
    fn the_bytes_of_a_payout_should_stay() {
        let transaction =
            plan(&derived()).expect("a plan").build(&seed(), &[keys(1, 1), keys(4, 2)]).expect("a payout");
        assert_eq!(transaction.coins(), Some(vec![coin(0), coin(1)]));
        let outputs: Vec<_> =
            transaction.outputs().iter().map(|out| (out.amount.units(), out.script.to_string())).collect();
        assert_eq!(outputs, [(30, "fffe01".to_owned()), (10, "fffe03".to_owned())]);
        assert_eq!(transaction.extra(), [0, 1, 2]);
        let frozen = [
            "77770005",
            "0303030303030303030303030303030303030303030303030303030303030303",
            "0002",
            "0909090909090909090909090909090909090909090909090909090909090909",
            "0000000000000000",
            "0909090909090909090909090909090909090909090909090909090909090909",
            "0001000000000000",
            "0002",
            "000000011e0001",
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            "76a1592044a6e4f511265bca73a604d90b0529d1df602be30a19a9257660d1f5",
            "0003fffe010000",
            "000000010a0004",
            "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
            "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c",
            "6e7a1cdd29b0b78fd13af4c5598feff4ef2a97166e3ca6f2e4fbfccd80505bf1",
            "76a1592044a6e4f511265bca73a604d90b0529d1df602be30a19a9257660d1f5",
            "0003fffe030000",
            "0000",
            "00000003000102",
            "0000",
        ];
        assert_eq!(hex::encode(transaction.payload()), frozen.concat());
        assert_eq!(hex::encode(transaction.hash()), "bc2066bbf4da34f8f3cb1a84063ef0b95dd7f8c61c58dc48d4b8c79937543fd3");
    }

    #[test]
    fn the_groups_own_memos_should_be_raw_operations() {
        let output = Uuid::from_u128(0x1122);
        let outputs = vec![(Payee::Mix(bob()), Amount::from_units(40))];
        let refund = Derived { trace: Trace::Refund { output }, memo: DerivedMemo::Refund, outputs, ..derived() };
        let plain = format!("000d{}000000000010{}", "00".repeat(16), output.simple());
        assert_eq!(hex::encode(&plan(&refund).expect("a plan").extra), plain);
        let bounce = Derived { memo: DerivedMemo::Bounce(output), ..derived() };
        assert_eq!(hex::encode(&plan(&bounce).expect("a plan").extra), format!("000e{}000000000000", output.simple()));
        assert!(plan(&Derived { memo: DerivedMemo::Internal, ..derived() }).expect("a plan").extra.is_empty());
    }

    #[test]
    fn bare_addresses_should_get_keys_that_only_the_seed_gives() {
        let (spend, view) = (PrivateKey::from_ed25519_seed(&[1; 32]), PrivateKey::from_ed25519_seed(&[2; 32]));
        let address = MixMember::Address(spend.public().to_bytes(), view.public().to_bytes());
        let mut derived = derived();
        derived.outputs[0].0 = Payee::Mix(Mix::new(vec![address], 1));
        let built = |seed: Seed| {
            let plan = Plan::new(&derived, (TRACE, 2), resolve, |_| Some(group())).expect("a plan");
            assert_eq!(plan.key_requests(&seed).len(), 1, "for the change alone");
            plan.build(&seed, &[keys(4, 2)]).expect("a payout").outputs()[0].clone()
        };
        let output = built(seed());
        let mask = output.mask.check().expect("a valid mask");
        let private = crate::mixin::ghost::derive_private(&mask, &view, &spend, 0).expect("a key");
        assert_eq!(output.keys, [private.public().raw()]);
        assert_ne!(built(Seed::new([0; 32])).mask, output.mask);
    }

    #[test]
    fn a_set_of_users_and_addresses_should_not_be_planned_into_keys() {
        let mut derived = derived();
        let address = MixMember::Address([1; 32], [2; 32]);
        derived.outputs[0].0 = Payee::Mix(Mix::new(vec![MixMember::User(Uuid::nil()), address], 1));
        let plan = plan(&derived).expect("a plan");
        assert!(plan.build(&seed(), &[keys(4, 2)]).is_err());
    }
}
