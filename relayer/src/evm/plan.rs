//! Which messages go into the next delivery: fair by gas, within what one transaction carries.
//!
//! A checkpoint at sequence s proves, for each mailbox, the head after all its messages with a sequence of at most s. So a
//! batch holds all of them or the mailbox stays out, and the planner picks s where the batches end.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::Uuid;

use crate::evm::calldata::{CALL_LEN, batch_len};
use crate::world::chain::{Backlog, Waiting};

/// Gas of a delivery without any batch: the transaction, the pairing, sequence and digest written (`reference` figures
/// are 160k; more is planned).
const DELIVERY_GAS: u64 = 190_000;
/// Gas of a batch: cold slots of its process, the first booking of an asset, the event.
const BATCH_GAS: u64 = 60_000;
/// Gas of one level of its proof.
const LEVEL_GAS: u64 = 700;
/// Gas of a message before its call: hashing, booking, and the record of a failure.
const MESSAGE_GAS: u64 = 25_000;
/// Gas of a byte of payload: the calldata floor of EIP-7623 and its way through memory.
const BYTE_GAS: u64 = 45;
/// Bytes of a packed message before its payload.
const RECORD_HEADER: u64 = 101;
/// A call is never planned for less.
const CALL_GAS_MIN: u64 = 10_000;

/// What one transaction may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of calldata. Pools of common nodes take 128 KiB for a whole transaction.
    pub calldata_max: usize,
    /// Planned gas. Chains take 2²⁴ (EIP-7825); the rest is for what estimates miss.
    pub gas_max: u64,
    /// Siblings of a mailbox proof.
    pub depth: u8,
}

impl Limits {
    /// 100 KiB and 12 million gas.
    pub const fn of_depth(depth: u8) -> Self {
        Self { calldata_max: 100 * 1024, gas_max: 12_000_000, depth }
    }
}

/// What one mailbox contributes to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The mailbox.
    pub process: Uuid,
    /// Its first so many waiting messages.
    pub messages: usize,
    /// Gas planned for them.
    pub gas: u64,
}

/// A delivery to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Sequence of the checkpoint.
    pub sequence: u64,
    /// At least one, by least gas served.
    pub shares: Vec<Share>,
    /// Gas of the whole.
    pub gas: u64,
    /// Bytes of its calldata, from above.
    pub calldata: usize,
}

/// The next delivery, if any, and the mailboxes whose next message fits no transaction under these limits: they are set
/// aside until limits change, and delay nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// `None` when nothing waits that fits.
    pub plan: Option<Plan>,
    /// For the operator's eyes.
    pub set_aside: Vec<Uuid>,
}

/// Gas served to each mailbox, and what its calls are known to need.
#[derive(Clone, Debug, Default)]
pub struct Fairness {
    served: BTreeMap<Uuid, u64>,
    weights: BTreeMap<Uuid, u32>,
    call_gas: BTreeMap<Uuid, u64>,
    distrusted: BTreeSet<Uuid>,
    alone: BTreeMap<Uuid, Sentence>,
}

/// How long a mailbox goes alone: it was in a delivery that reverted.
#[derive(Clone, Copy, Debug)]
struct Sentence {
    /// Deliveries that the last one came to.
    length: u32,
    /// Deliveries until it may go with others again.
    left: u32,
}

impl Fairness {
    /// Nothing served yet. A mailbox counts with its weight; without one, or with zero, with 1.
    pub const fn new(weights: BTreeMap<Uuid, u32>) -> Self {
        Self {
            served: BTreeMap::new(),
            weights,
            call_gas: BTreeMap::new(),
            distrusted: BTreeSet::new(),
            alone: BTreeMap::new(),
        }
    }

    /// Plans the next delivery out of `backlogs`.
    pub fn plan(&mut self, backlogs: &[Backlog], limits: &Limits) -> Planned {
        self.admit(backlogs);
        let mut order: Vec<&Backlog> = backlogs.iter().filter(|backlog| !backlog.waiting.is_empty()).collect();
        order.sort_by_key(|backlog| (self.served(backlog.process), backlog.process));
        let mut set_aside = Vec::new();
        let mut builder = Builder::new(*limits);
        for backlog in order {
            let (call_gas, alone) = (self.expected_call_gas(backlog), self.goes_alone(backlog.process));
            if alone && !builder.is_empty() {
                continue;
            }
            let added = builder.add(backlog, call_gas);
            if !added && !fits_alone(backlog, call_gas, limits) {
                set_aside.push(backlog.process);
            }
            if alone && added {
                break;
            }
        }
        Planned { plan: builder.finish(), set_aside }
    }

    /// Counts a plan that was sent.
    pub fn serve(&mut self, plan: &Plan) {
        for share in &plan.shares {
            let weight = u64::from(self.weights.get(&share.process).copied().unwrap_or(1).max(1));
            let served = self.served.entry(share.process).or_insert(0);
            *served = served.saturating_add(share.gas.div_ceil(weight));
        }
    }

    /// Learns from an estimate what calls need: a registered limit is mostly far above it. A quarter is added, and never
    /// more than the registered limit is planned. Of a mailbox in a delivery that reverted nothing is learned any more.
    pub fn learn(&mut self, plan: &Plan, backlogs: &[Backlog], estimate: u64) {
        let planned = |backlog: &&Backlog| plan.shares.iter().any(|share| share.process == backlog.process);
        for backlog in backlogs.iter().filter(planned) {
            if self.distrusted.contains(&backlog.process) {
                continue;
            }
            let expected = u128::from(self.expected_call_gas(backlog));
            let scaled = expected.saturating_mul(u128::from(estimate)).saturating_mul(5);
            let scaled = scaled.div_ceil(u128::from(plan.gas.max(1)).saturating_mul(4));
            self.call_gas.insert(backlog.process, u64::try_from(scaled).unwrap_or(u64::MAX));
        }
    }

    /// Plans the registered limits again for everything in a plan that the contract refuses.
    pub fn forget(&mut self, plan: &Plan) {
        for share in &plan.shares {
            self.call_gas.remove(&share.process);
        }
    }

    /// Plans the registered limits from now on for everything in a plan that reverted although its estimate ran: one of its
    /// contracts takes more gas in a block than in an estimate, perhaps in order to make the others wait. False where
    /// all of it was planned so already: then gas is not the reason.
    pub fn distrust(&mut self, plan: &Plan) -> bool {
        self.forget(plan);
        let before = self.distrusted.len();
        self.distrusted.extend(plan.shares.iter().map(|share| share.process));
        self.distrusted.len() > before
    }

    /// Lets the mailboxes of a plan that reverted, although its estimate ran and had all the gas that was registered, go
    /// alone: one of them is at fault, and whoever it is must not make the others wait. Each time for twice as many
    /// deliveries, for it may fail in company only. False where the plan has one mailbox: then it is known who it is.
    pub fn separate(&mut self, plan: &Plan) -> bool {
        if let [_] = plan.shares.as_slice() {
            return false;
        }
        for share in &plan.shares {
            let sentence = self.alone.entry(share.process).or_insert(Sentence { length: 0, left: 0 });
            sentence.length = sentence.length.saturating_mul(2).max(1);
            sentence.left = sentence.length;
        }
        true
    }

    /// Counts a plan that was delivered.
    pub fn delivered(&mut self, plan: &Plan) {
        for share in &plan.shares {
            if let Some(sentence) = self.alone.get_mut(&share.process) {
                sentence.left = sentence.left.saturating_sub(1);
            }
        }
    }

    fn goes_alone(&self, process: Uuid) -> bool {
        self.alone.get(&process).is_some_and(|sentence| sentence.left != 0)
    }

    /// A mailbox that comes anew begins where the least served one stands: it neither waits behind the past of others nor
    /// makes them wait for its own. What nobody waits for any more is forgotten.
    fn admit(&mut self, backlogs: &[Backlog]) {
        let waiting: Vec<Uuid> = backlogs.iter().map(|backlog| backlog.process).collect();
        self.served.retain(|process, _| waiting.contains(process));
        let least = self.served.values().min().copied().unwrap_or(0);
        for process in waiting {
            self.served.entry(process).or_insert(least);
        }
    }

    fn served(&self, process: Uuid) -> u64 {
        self.served.get(&process).copied().unwrap_or(0)
    }

    fn expected_call_gas(&self, backlog: &Backlog) -> u64 {
        let known = self.call_gas.get(&backlog.process).copied().unwrap_or(backlog.call_gas);
        known.max(CALL_GAS_MIN).min(backlog.call_gas)
    }
}

/// True when at least the first message of a mailbox, with all of the same sequence, fits a transaction of its own.
fn fits_alone(backlog: &Backlog, call_gas: u64, limits: &Limits) -> bool {
    Builder::new(*limits).add(backlog, call_gas)
}

/// A plan as it grows. All batches are proved at one sequence, which lies from `low` up to, and not with, `high`.
struct Builder {
    limits: Limits,
    shares: Vec<Share>,
    gas: u64,
    calldata: usize,
    low: u64,
    high: u64,
}

impl Builder {
    const fn new(limits: Limits) -> Self {
        Self { limits, shares: Vec::new(), gas: DELIVERY_GAS, calldata: CALL_LEN, low: 0, high: u64::MAX }
    }

    /// Adds as much of a mailbox as fits; false when that is nothing.
    fn add(&mut self, backlog: &Backlog, call_gas: u64) -> bool {
        let mut best = None;
        let (mut gas, mut payload) = (self.batch_gas(), 0_usize);
        let mut rest = backlog.waiting.iter().enumerate().peekable();
        while let Some((place, waiting)) = rest.next() {
            gas = gas.saturating_add(message_gas(waiting, call_gas));
            payload = payload.saturating_add(usize::try_from(waiting.payload_len).unwrap_or(usize::MAX));
            let messages = place.saturating_add(1);
            let bytes = batch_len(messages, payload, usize::from(self.limits.depth));
            if waiting.sequence >= self.high || !self.has_room(gas, bytes) {
                break;
            }
            // Where the next message begins: behind the end of a list that was cut off nothing is known.
            let next = match rest.peek() {
                Some((_, next)) => next.sequence,
                None if backlog.more => break,
                None => u64::MAX,
            };
            if next > waiting.sequence && next > self.low {
                best = Some((Share { process: backlog.process, messages, gas }, bytes, waiting.sequence, next));
            }
        }
        let Some((share, bytes, last, next)) = best else { return false };
        self.shares.push(share);
        self.gas = self.gas.saturating_add(share.gas);
        self.calldata = self.calldata.saturating_add(bytes);
        (self.low, self.high) = (self.low.max(last), self.high.min(next));
        true
    }

    const fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    fn batch_gas(&self) -> u64 {
        BATCH_GAS.saturating_add(LEVEL_GAS.saturating_mul(u64::from(self.limits.depth)))
    }

    const fn has_room(&self, gas: u64, bytes: usize) -> bool {
        self.gas.saturating_add(gas) <= self.limits.gas_max
            && self.calldata.saturating_add(bytes) <= self.limits.calldata_max
    }

    fn finish(self) -> Option<Plan> {
        let Self { shares, gas, calldata, low: sequence, .. } = self;
        (!shares.is_empty()).then_some(Plan { sequence, shares, gas, calldata })
    }
}

fn message_gas(waiting: &Waiting, call_gas: u64) -> u64 {
    let bytes = u64::from(waiting.payload_len).saturating_add(RECORD_HEADER);
    MESSAGE_GAS.saturating_add(bytes.saturating_mul(BYTE_GAS)).saturating_add(call_gas)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const LIMITS: Limits = Limits { calldata_max: 100 * 1024, gas_max: 12_000_000, depth: 3 };

    fn backlog(process: Uuid, sequences: impl IntoIterator<Item = u64>) -> Backlog {
        let waiting = sequences.into_iter().map(|sequence| Waiting { sequence, payload_len: 64 }).collect();
        Backlog { process, call_gas: 100_000, waiting, more: false }
    }

    fn counts(plan: &Plan) -> Vec<(Uuid, usize)> {
        plan.shares.iter().map(|share| (share.process, share.messages)).collect()
    }

    #[test]
    fn nothing_should_be_planned_out_of_nothing() {
        assert_eq!(Fairness::default().plan(&[], &LIMITS), Planned::default());
        assert_eq!(Fairness::default().plan(&[backlog(A, [])], &LIMITS), Planned::default());
    }

    #[test]
    fn what_fits_no_transaction_should_be_set_aside_alone() {
        let huge = Backlog { call_gas: 12_000_000, ..backlog(A, [1, 2]) };
        let planned = Fairness::default().plan(&[huge, backlog(B, [3])], &LIMITS);
        assert_eq!(planned.set_aside, [A]);
        assert_eq!(counts(&planned.plan.expect("the other")), [(B, 1)]);
    }

    #[test]
    fn all_should_go_together_where_it_fits() {
        let planned = Fairness::default().plan(&[backlog(A, [1, 4]), backlog(B, [2, 9])], &LIMITS);
        let plan = planned.plan.expect("a plan");
        assert_eq!((counts(&plan), plan.sequence), (vec![(A, 2), (B, 2)], 9));
        assert!(planned.set_aside.is_empty());
    }

    #[test]
    fn a_batch_should_end_where_its_checkpoint_does() {
        // A fills the transaction up to sequence 86 or so; B's messages beyond that would need a later checkpoint.
        let flood = backlog(A, 1..10_000);
        let planned = Fairness::default().plan(&[flood, backlog(B, [3, 9_999])], &LIMITS);
        let plan = planned.plan.expect("a plan");
        let taken = counts(&plan)[0].1;
        assert!(taken > 50 && plan.sequence == u64::try_from(taken).expect("small"), "{plan:?}");
        assert!(plan.gas <= LIMITS.gas_max && plan.calldata <= LIMITS.calldata_max);
        // B's first message did not fit any more: it is not set aside, it is next.
        assert!(planned.set_aside.is_empty());
    }

    #[test]
    fn a_flood_should_not_starve_another_mailbox() {
        let mut fairness = Fairness::default();
        let (mut flood, mut late) = (backlog(A, 1..5_000), backlog(B, [6_000]));
        let mut turns = 0;
        while !late.waiting.is_empty() {
            let backlogs = [flood.clone(), late.clone()];
            let plan = fairness.plan(&backlogs, &LIMITS).plan.expect("a plan");
            fairness.serve(&plan);
            for share in &plan.shares {
                let of = if share.process == A { &mut flood } else { &mut late };
                of.waiting.drain(..share.messages);
            }
            turns += 1;
        }
        assert!(turns <= 2, "{turns}");
    }

    #[test]
    fn messages_of_one_sequence_should_not_be_parted() {
        let limits = Limits { gas_max: 600_000, ..LIMITS };
        let plan = Fairness::default().plan(&[backlog(A, [1, 2, 2, 2])], &limits).plan.expect("a plan");
        assert_eq!((counts(&plan), plan.sequence), (vec![(A, 1)], 1));
        let parted = Fairness::default().plan(&[backlog(A, [2, 2, 2, 2])], &limits);
        assert_eq!(parted, Planned { plan: None, set_aside: vec![A] });
    }

    #[test]
    fn the_unseen_end_of_a_long_mailbox_should_not_be_passed() {
        let cut = Backlog { more: true, ..backlog(A, [1, 2, 3]) };
        let plan = Fairness::default().plan(&[cut.clone(), backlog(B, [9])], &LIMITS).plan.expect("a plan");
        // B at 9 would need all of A up to 9, of which the end is not known; so the checkpoint stays below 3.
        assert_eq!((counts(&plan), plan.sequence), (vec![(A, 2)], 2));
    }

    #[test]
    fn estimates_should_make_room_and_failures_take_it_back() {
        let mut fairness = Fairness::default();
        let backlogs = [backlog(A, 1..1_000)];
        let first = fairness.plan(&backlogs, &LIMITS).plan.expect("a plan");
        fairness.learn(&first, &backlogs, first.gas / 10);
        let second = fairness.plan(&backlogs, &LIMITS).plan.expect("a plan");
        assert!(second.shares[0].messages > 2 * first.shares[0].messages);
        fairness.forget(&second);
        assert_eq!(fairness.plan(&backlogs, &LIMITS).plan.as_ref(), Some(&first));
        assert!(fairness.distrust(&first), "perhaps it took more gas than planned");
        fairness.learn(&first, &backlogs, first.gas / 10);
        assert_eq!(fairness.plan(&backlogs, &LIMITS).plan.as_ref(), Some(&first), "nothing is learned of it any more");
        assert!(!fairness.distrust(&first), "no gas would have been enough");
    }

    #[test]
    fn who_was_in_a_delivery_that_reverted_should_go_alone_for_a_while() {
        let mut fairness = Fairness::default();
        let backlogs = [backlog(A, [1, 2]), backlog(B, [3])];
        let plan = |fairness: &mut Fairness| {
            let plan = fairness.plan(&backlogs, &LIMITS).plan.expect("a plan");
            fairness.serve(&plan);
            plan
        };
        let mut both = plan(&mut fairness);
        for length in [1, 2, 4] {
            assert_eq!(both.shares.len(), 2);
            assert!(fairness.separate(&both));
            let mut turns = BTreeMap::from([(A, 0), (B, 0)]);
            both = loop {
                let next = plan(&mut fairness);
                if next.shares.len() != 1 {
                    break next;
                }
                assert!(!fairness.separate(&next), "a mailbox alone is at fault itself");
                fairness.delivered(&next);
                *turns.entry(next.shares[0].process).or_insert(0) += 1;
            };
            assert!(turns.values().all(|turns| *turns >= length), "{length}: {turns:?}");
        }
        assert_eq!(both.shares.len(), 2, "both have served their time");
    }

    #[test]
    fn who_goes_alone_should_not_keep_others_waiting() {
        let mut fairness = Fairness::default();
        let both = fairness.plan(&[backlog(A, [1]), backlog(B, [2])], &LIMITS).plan.expect("a plan");
        assert!(fairness.separate(&both));
        // The one at fault waits elsewhere, and one that fits no transaction takes none.
        assert_eq!(counts(&fairness.plan(&[backlog(B, [2])], &LIMITS).plan.expect("a plan")), [(B, 1)]);
        let huge = Backlog { call_gas: 12_000_000, ..backlog(A, [1]) };
        let planned = fairness.plan(&[huge, backlog(B, [2])], &LIMITS);
        assert_eq!((planned.set_aside, counts(&planned.plan.expect("a plan"))), (vec![A], vec![(B, 1)]));
    }

    #[test]
    fn weights_should_share_the_gas() {
        let mut fairness = Fairness::new(BTreeMap::from([(A, 3)]));
        let backlogs = [backlog(A, 1..1_000), backlog(B, 1_001..2_000)];
        let mut turns = BTreeMap::new();
        for _ in 0..40 {
            let plan = fairness.plan(&backlogs, &LIMITS).plan.expect("a plan");
            fairness.serve(&plan);
            *turns.entry(plan.shares[0].process).or_insert(0) += 1;
        }
        assert_eq!((turns[&A], turns[&B]), (30, 10));
    }
}
