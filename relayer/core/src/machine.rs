//! One member's whole derived state: what a ledger output or a chain record changes, and the checkpoint it leaves.
//!
//! [`Machine`] joins the derivation ([`crate::derive`]), the mailboxes' heads, the frontier and the history. The order of
//! outputs matters, and so does the order of each chain's records; how they interleave does not. The shell feeds it, persists
//! what it answers in one transaction, and only then acts.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use thiserror::Error;
use uuid::Uuid;

use crate::Account;
use crate::bls::{BlsError, PublicKey};
use crate::checkpoint::Checkpoint;
use crate::derive::{Applied, Class, Config, ConfigError, Core, DeriveError, Derived, Effect, Record, Registered};
use crate::frontier::{Frontier, FrontierError, NodeChange, NodePlace, state_leaf};
use crate::history;
use crate::mailbox::{Mailbox, MailboxError, MailboxPlace};
use crate::mask::MaskPair;
use crate::message::{MessageKind, Posted};
use crate::operation::{Memo, MemoRules};
use crate::output::Output;
use crate::trace::ChainId;

/// Where a chain's group contract lives: part of every mailbox leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractPlace {
    /// The group contract.
    pub contract: Address,
    /// The deployment's own 32 bytes, so that a chain started anew under its old id is another place.
    pub instance: B256,
}

/// Everything fixed that the machine reads.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The derivation's rules.
    pub derive: Config,
    /// How memos are read.
    pub memo: MemoRules,
    /// Group contracts.
    pub places: BTreeMap<ChainId, ContractPlace>,
    /// Fixed for ever.
    pub group_id: B256,
    /// Digest of the group file: the history begins with it.
    pub group_digest: B256,
}

/// What one applied ledger output did, ready to be persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The checkpoint it leaves.
    pub checkpoint: Checkpoint,
    /// Number of the frontier's leaves.
    pub leaves: u32,
    /// How each output ended: the one applied, and a late one that it admitted.
    pub classes: Vec<(Uuid, Class)>,
    /// The mailboxes that it opened.
    pub opened: Vec<Opened>,
    /// Gas limits of one call that changed, by process.
    pub gas: Vec<(Uuid, u32)>,
    /// Messages, each with the head after it.
    pub posted: Vec<(Posted, B256)>,
    /// Frontier nodes that changed.
    pub nodes: Vec<NodeChange>,
    /// Refunds and returns.
    pub derived: Vec<Named>,
}

/// A derived transaction with the id that the ledger's API knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// [`crate::trace::Trace::id`] of its trace.
    pub id: Uuid,
    /// The transaction.
    pub derived: Derived,
}

/// A mailbox that a registration opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The process.
    pub process: Uuid,
    /// Its leaf.
    pub leaf: u32,
    /// Its chain.
    pub chain: ChainId,
    /// Its contract.
    pub address: Address,
    /// Gas limit of one call.
    pub gas: u32,
}

/// What records and the passing of ledger time led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Transactions to build and sign.
    pub derived: Vec<Named>,
    /// Outbounds that can never be paid: chain and nonce. Somebody should look.
    pub parked: Vec<(ChainId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    leaf: u32,
    place: MailboxPlace,
    mailbox: Mailbox,
}

/// The state of one member, as far as it is derived.
///
/// Feed it with [`Machine::apply`] (outputs, ascending) and [`Machine::feed`] (records, in each chain's order), then take
/// what follows with [`Machine::advance`].
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    core: Core,
    slots: BTreeMap<Uuid, Slot>,
    late: BTreeMap<Uuid, Output>,
    frontier: Frontier,
    history: B256,
}

impl Machine {
    /// A machine that has applied nothing.
    ///
    /// # Errors
    /// Refuses rules that no derivation can start from.
    pub fn new(rules: Rules) -> Result<Self, ConfigError> {
        let core = Core::new(rules.derive.clone())?;
        let frontier = Frontier::new(state_leaf(&core.state_digest()));
        let history = history::genesis(&rules.group_id, &rules.group_digest);
        Ok(Self { rules, core, slots: BTreeMap::new(), late: BTreeMap::new(), frontier, history })
    }

    /// The fixed rules.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The derivation's state, to look at.
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// The history after the last applied output.
    pub const fn history(&self) -> B256 {
        self.history
    }

    /// What the next output asks for, with the group's key in force.
    pub fn read(&self, output: &Output) -> Memo {
        Memo::of(output, &self.rules.memo)
    }

    /// The sender whose mask [`Machine::mask`] has to be told before `output` can be applied ([`Core::unmasked`]).
    pub fn unmasked(&self, output: &Output, memo: &Memo) -> Option<MaskPair> {
        self.core.unmasked(output, memo)
    }

    /// The group's key in force at the next output; `None` for rules without one.
    pub const fn key(&self) -> Option<&PublicKey> {
        self.rules.memo.group_key.as_ref()
    }

    /// The account that a private process sees for a sender.
    pub fn mask(&mut self, pair: MaskPair, masked: Account) {
        self.core.mask(pair, masked);
    }

    /// Applies one output. `None`: it is a late one that waits for a decision, and nothing changed that is signed.
    ///
    /// # Errors
    /// Each is a contradiction: the caller halts.
    pub fn apply(&mut self, output: &Output) -> Result<Option<Step>, MachineError> {
        self.apply_read(output, &self.read(output))
    }

    /// The same, with what [`Machine::read`] made of the output right before.
    ///
    /// # Errors
    /// As [`Machine::apply`].
    pub fn apply_read(&mut self, output: &Output, memo: &Memo) -> Result<Option<Step>, MachineError> {
        let applied = self.core.apply(output, memo)?;
        let Some(sequence) = applied.first().map(|first| first.sequence) else {
            self.late.insert(output.id, output.clone());
            return Ok(None);
        };
        self.take_key()?;
        self.history = history::extend(&self.history, output);
        for late in applied.iter().filter_map(|applied| self.late.remove(&applied.output)) {
            self.history = history::extend(&self.history, &late);
        }
        let mut step = Step {
            checkpoint: Checkpoint { sequence, history: B256::ZERO, root: B256::ZERO },
            leaves: 0,
            classes: Vec::new(),
            opened: Vec::new(),
            gas: Vec::new(),
            posted: Vec::new(),
            nodes: Vec::new(),
            derived: Vec::new(),
        };
        let mut changed = BTreeMap::new();
        for applied in applied {
            self.take(applied, &mut step, &mut changed)?;
        }
        note(&mut changed, self.frontier.update(0, state_leaf(&self.core.state_digest()))?);
        step.checkpoint.history = self.history;
        step.checkpoint.root = self.frontier.root();
        step.leaves = self.frontier.leaves();
        step.nodes = changed.into_iter().map(|(place, hash)| NodeChange { place, hash }).collect();
        Ok(Some(step))
    }

    /// Verifies decisions with the key that a decision made the group's, the late ones that wait included.
    fn take_key(&mut self) -> Result<(), MachineError> {
        let Some((_, key)) = self.core.decided_key() else { return Ok(()) };
        let key = PublicKey::from_bytes(key.as_slice()).map_err(MachineError::Key)?;
        if self.rules.memo.group_key != Some(key) {
            self.rules.memo.group_key = Some(key);
            let rules = &self.rules.memo;
            self.core.read_late_again(|output| Memo::of(output, rules));
        }
        Ok(())
    }

    /// Takes note of the next final record of `chain`. It acts in [`Machine::advance`].
    ///
    /// # Errors
    /// Each is a contradiction: the caller halts.
    pub fn feed(&mut self, chain: ChainId, record: Record) -> Result<(), MachineError> {
        Ok(self.core.feed(chain, record)?)
    }

    /// Everything that the applied outputs and the fed records allow.
    ///
    /// # Errors
    /// Each is a contradiction: the caller halts.
    pub fn advance(&mut self) -> Result<Advance, MachineError> {
        let mut advance = Advance::default();
        for effect in self.core.advance()? {
            match effect {
                Effect::Derived(derived) => advance.derived.push(self.named(derived)),
                Effect::Parked { chain, k } => advance.parked.push((chain, k)),
            }
        }
        Ok(advance)
    }

    fn take(
        &mut self,
        applied: Applied,
        step: &mut Step,
        changed: &mut BTreeMap<NodePlace, B256>,
    ) -> Result<(), MachineError> {
        step.classes.push((applied.output, applied.class));
        if let Some(registered) = applied.registered {
            let opened = self.open(registered, &applied.posted, changed)?;
            step.opened.push(opened);
        }
        for posted in applied.posted {
            if posted.message.kind == MessageKind::Update {
                step.gas.extend(gas_of(&posted).map(|gas| (posted.process, gas)));
            }
            let slot = self.slots.get_mut(&posted.process).ok_or(MachineError::NoMailbox(posted.process))?;
            slot.mailbox = slot.mailbox.after(&posted.message)?;
            note(changed, self.frontier.update(slot.leaf, slot.place.leaf(&slot.mailbox))?);
            step.posted.push((posted, slot.mailbox.head));
        }
        for derived in applied.derived {
            step.derived.push(self.named(derived));
        }
        Ok(())
    }

    fn open(
        &mut self,
        registered: Registered,
        posted: &[Posted],
        changed: &mut BTreeMap<NodePlace, B256>,
    ) -> Result<Opened, MachineError> {
        let Registered { process, chain, address } = registered;
        let at = self.rules.places.get(&chain).ok_or(MachineError::NoContract(chain))?;
        let place = MailboxPlace { chain, contract: at.contract, instance: at.instance, process };
        let (leaf, nodes) = self.frontier.append(place.leaf(&Mailbox::EMPTY))?;
        note(changed, nodes);
        self.slots.insert(process, Slot { leaf, place, mailbox: Mailbox::EMPTY });
        let gas = posted.first().and_then(gas_of).unwrap_or_default();
        Ok(Opened { process, leaf, chain, address, gas })
    }

    fn named(&self, derived: Derived) -> Named {
        let contract = |chain: ChainId| self.rules.places.get(&chain).map_or(Address::ZERO, |place| place.contract);
        Named { id: derived.trace.id(&self.rules.group_id, contract), derived }
    }
}

/// The payload of a registration and of an update ends with the gas limit (message.rs).
fn gas_of(posted: &Posted) -> Option<u32> {
    posted.message.payload.last_chunk::<4>().map(|gas| u32::from_be_bytes(*gas))
}

/// A node that changes twice in one step is kept as it ends.
fn note(changed: &mut BTreeMap<NodePlace, B256>, nodes: Vec<NodeChange>) {
    changed.extend(nodes.into_iter().map(|node| (node.place, node.hash)));
}

/// Why a machine stops. None of these can be waited out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MachineError {
    /// The inputs contradict what was applied before.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// A message for a mailbox that was never opened.
    #[error("a message for process {0}, which has no mailbox")]
    NoMailbox(Uuid),
    /// A registration on a chain that has no contract in the group file.
    #[error("chain {0} has no group contract in the group file")]
    NoContract(ChainId),
    /// A decided key that is none; its decision would not have been read.
    #[error("the decided group key is not a key")]
    Key(#[source] BlsError),
    /// A message out of its order.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// The frontier refused a leaf.
    #[error(transparent)]
    Frontier(#[from] FrontierError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bls::SecretKey;
    use crate::derive::{AssetRule, ChainRule, DAY_NS, Fee, HOUR_NS, INPUTS_MAX, MEMO_MAX, SWEEP_MAX};
    use crate::frontier::{VersionedNodes, verify_proof};
    use crate::operation::{
        DecisionBody, Operation, Policy, SignedDecision, decision_digest, group_key_digest, purpose,
    };
    use crate::output::CoinId;
    use crate::{Amount, AssetId, Mix};

    const CHAIN: ChainId = 31_337;
    const XIN: AssetId = AssetId([1; 32]);
    const GROUP_ID: B256 = B256::repeat_byte(7);

    fn rules() -> Rules {
        let least = AssetRule { minimum: Amount::from_units(100), floor: Amount::from_units(20) };
        let derive = Config {
            group: Mix::of_users((1..=4).map(Uuid::from_u128), 3),
            fee: Fee { asset: XIN, amount: Amount::from_units(1_000) },
            default: least,
            assets: BTreeMap::new(),
            chains: BTreeMap::from([(CHAIN, ChainRule { payload_max: 1_024, gas_max: 5_000_000 })]),
            caps: BTreeMap::new(),
            delay_unknown_ns: 60,
            delay_over_ns: 600,
            window_hour_ns: HOUR_NS,
            window_day_ns: DAY_NS,
            inputs_max: INPUTS_MAX,
            sweep_max: SWEEP_MAX,
            memo_max: MEMO_MAX,
        };
        let place = ContractPlace { contract: Address::repeat_byte(0xcc), instance: B256::repeat_byte(0xdd) };
        Rules {
            derive,
            memo: MemoRules { group_id: GROUP_ID, group_key: None, aliases: BTreeMap::new() },
            places: BTreeMap::from([(CHAIN, place)]),
            group_id: GROUP_ID,
            group_digest: B256::repeat_byte(8),
        }
    }

    fn output(sequence: u64, sender: u128, amount: u128, extra: Vec<u8>) -> Output {
        Output {
            id: Uuid::from_u128(u128::from(sequence)),
            sequence,
            created_at: sequence,
            coin: CoinId { transaction: B256::left_padding_from(&sequence.to_be_bytes()), index: 0 },
            asset: XIN,
            amount: Amount::from_units(amount),
            senders: Some(Mix::of_users([Uuid::from_u128(sender)], 1)),
            extra,
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        }
    }

    fn operation(purpose: u16, process: u128, extra: &[u8]) -> Vec<u8> {
        let register = purpose == purpose::REGISTER;
        Operation {
            purpose,
            process: Uuid::from_u128(process),
            platform: if register { format!("eip155:{CHAIN}").into_bytes() } else { Vec::new() },
            address: if register { format!("0x{}", "ab".repeat(20)).into_bytes() } else { Vec::new() },
            extra: extra.to_vec(),
            ..Operation::default()
        }
        .encode()
        .expect("a small operation")
    }

    fn outputs() -> Vec<Output> {
        vec![
            output(3, 50, 1_000, operation(purpose::REGISTER, 0, &[])),
            output(5, 60, 500, operation(purpose::CALL, 50, b"act")),
            output(9, 61, 700, b"no operation".to_vec()),
            output(11, 60, 300, operation(purpose::CALL, 50, b"again")),
        ]
    }

    #[test]
    fn every_mailbox_should_be_provable_at_every_applied_sequence() {
        let mut machine = Machine::new(rules()).expect("rules");
        let mut nodes = VersionedNodes::default();
        let mut mailboxes = Vec::new();
        let mut mailbox = Mailbox::EMPTY;
        let place = rules().places[&CHAIN];
        for output in outputs() {
            let step = machine.apply(&output).expect("in order").expect("not late");
            assert_eq!(step.checkpoint.sequence, output.sequence);
            nodes.record(output.sequence, step.leaves, step.nodes);
            for (posted, head) in &step.posted {
                mailbox = mailbox.after(&posted.message).expect("gap-free");
                assert_eq!(mailbox.head, *head);
            }
            mailboxes.push((step.checkpoint, mailbox));
        }
        assert_eq!(mailbox.next_nonce, 3);
        for (checkpoint, mailbox) in mailboxes {
            let place = MailboxPlace {
                chain: CHAIN,
                contract: place.contract,
                instance: place.instance,
                process: Uuid::from_u128(50),
            };
            let proof = nodes.proof(1, checkpoint.sequence).expect("a leaf");
            assert!(verify_proof(&place.leaf(&mailbox), 1, &proof, &checkpoint.root));
        }
    }

    /// What each of four payments to process 50 becomes: its class, and the payload that the contract gets.
    #[test]
    fn a_stored_payload_should_be_called_with_or_be_refunded() {
        let mut machine = Machine::new(rules()).expect("rules");
        machine.apply(&outputs()[0]).expect("in order");
        let payload = vec![7; 1_024];
        let longer = vec![7; 1_025];
        let memo = |payload: &[u8]| {
            Operation::stored_call(Uuid::from_u128(50), 0, payload).encode().expect("a small operation")
        };
        let cases = [
            (memo(&payload), Some(payload.clone()), Class::Call),
            (memo(&payload), None, Class::Refund),
            (memo(&payload), Some(longer.clone()), Class::Refund),
            (memo(&longer), Some(longer), Class::Refund),
            (operation(purpose::CALL, 50, b"own"), Some(payload.clone()), Class::Call),
        ];
        let mut called = Vec::new();
        for (sequence, (extra, stored, class)) in (5..).zip(cases) {
            let paid = Output { stored: stored.map(Into::into), ..output(sequence, 60, 500, extra) };
            let step = machine.apply(&paid).expect("in order").expect("not late");
            assert_eq!(step.classes, [(paid.id, class)], "{sequence}");
            called.extend(step.posted.into_iter().map(|(posted, _)| posted.message.payload));
        }
        assert_eq!(called, [payload, b"own".to_vec()]);
    }

    fn decided(signer: &SecretKey, number: u64, body: DecisionBody) -> Vec<u8> {
        let signature = signer.sign_digest(&decision_digest(&GROUP_ID, number, &body.encode())).compress();
        let signed = SignedDecision { number, body, signature };
        Operation::decision(&signed).and_then(|operation| Ok(operation.encode()?)).expect("a small operation")
    }

    #[test]
    fn a_decided_key_should_verify_what_comes_after_it_and_the_old_one_nothing() {
        let [old, new] = [1, 2].map(|seed| SecretKey::derive(&[seed; 32], b"test").expect("a key"));
        let mut rules = rules();
        rules.memo.group_key = Some(old.public_key());
        let mut machine = Machine::new(rules).expect("rules");
        let class = |machine: &mut Machine, output: &Output| {
            let step = machine.apply(output).expect("in order");
            step.map(|step| step.classes.iter().map(|(_, class)| *class).collect::<Vec<_>>())
        };
        let close = DecisionBody::Close { process: Uuid::from_u128(9) };
        // Both wait while the old key is in force; what counts is the key at the place that they are given.
        let by_old = Output { late: true, ..output(1, 60, 500, decided(&old, 20, close.clone())) };
        let by_new = Output { late: true, ..output(2, 60, 500, decided(&new, 21, close.clone())) };
        assert_eq!(class(&mut machine, &by_old), None);
        assert_eq!(class(&mut machine, &by_new), None);
        assert_eq!(
            class(&mut machine, &output(3, 60, 500, decided(&new, 1, close.clone()))),
            Some(vec![Class::Refund])
        );

        let key = new.public_key().compress();
        let possession = new.sign_digest(&group_key_digest(&GROUP_ID, 1, &key)).compress();
        let change = DecisionBody::Key { generation: 1, key, possession };
        assert_eq!(class(&mut machine, &output(4, 60, 500, decided(&old, 2, change))), Some(vec![Class::Decision]));
        assert_eq!(
            class(&mut machine, &output(5, 60, 500, decided(&old, 3, close.clone()))),
            Some(vec![Class::Refund])
        );
        assert_eq!(class(&mut machine, &output(6, 60, 500, decided(&new, 4, close))), Some(vec![Class::Decision]));
        let admit = |late: &Output| DecisionBody::Admit { output: late.id };
        let admitted = class(&mut machine, &output(7, 60, 500, decided(&new, 5, admit(&by_old))));
        assert_eq!(admitted, Some(vec![Class::Decision, Class::Refund]));
        let admitted = class(&mut machine, &output(8, 60, 500, decided(&new, 6, admit(&by_new))));
        assert_eq!(admitted, Some(vec![Class::Decision, Class::Decision]));
    }

    #[test]
    fn a_decided_gas_limit_should_be_told() {
        let signer = SecretKey::derive(&[1; 32], b"test").expect("a key");
        let mut rules = rules();
        rules.memo.group_key = Some(signer.public_key());
        let mut machine = Machine::new(rules).expect("rules");
        machine.apply(&outputs()[0]).expect("in order");
        let process = Uuid::from_u128(50);
        let body = DecisionBody::Policy { process, policy: Policy::Park, gas: 60_000 };
        let step = machine.apply(&output(4, 60, 500, decided(&signer, 1, body))).expect("in order").expect("a step");
        assert_eq!((step.gas, step.opened.len()), (vec![(process, 60_000)], 0));
    }

    #[test]
    fn a_step_should_say_what_became_of_the_output() {
        let mut machine = Machine::new(rules()).expect("rules");
        let steps: Vec<_> = outputs().iter().map(|output| machine.apply(output).expect("ok").expect("step")).collect();
        assert_eq!(steps[0].opened[0].gas, 300_000);
        assert_eq!(steps[0].posted[0].0.message.kind, MessageKind::Register);
        assert_eq!(steps[1].posted[0].0.message.payload, b"act");
        assert_eq!(steps[2].classes[0].1, Class::Refund);
        assert_eq!(steps[2].derived.len(), 1);
        assert!(steps[2].posted.is_empty());
    }

    #[test]
    fn another_group_file_should_give_another_history() {
        let mut other = rules();
        other.group_digest = B256::repeat_byte(9);
        let (mut ours, mut theirs) = (Machine::new(rules()).expect("ok"), Machine::new(other).expect("ok"));
        let ours = ours.apply(&outputs()[0]).expect("ok").expect("step");
        let theirs = theirs.apply(&outputs()[0]).expect("ok").expect("step");
        assert_ne!(ours.checkpoint.history, theirs.checkpoint.history);
        assert_eq!(ours.checkpoint.root, theirs.checkpoint.root);
    }

    #[test]
    fn an_output_out_of_order_should_be_a_contradiction() {
        let mut machine = Machine::new(rules()).expect("rules");
        machine.apply(&outputs()[1]).expect("first");
        assert!(matches!(machine.apply(&outputs()[0]), Err(MachineError::Derive(_))));
    }
}
