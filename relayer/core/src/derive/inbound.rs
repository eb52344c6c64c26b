//! DERIVATION.md A: one output, first match of A1 to A7. One function per rule.

use uuid::Uuid;

use super::config::{AMOUNT_MAX, AssetRule};
use super::effect::{Applied, Class, CoinRef, DeriveError, Derived, DerivedMemo, Payee, Registered};
use super::ledger::{Ledger, Process};
use super::outbound::Credit;
use crate::mask::MaskPair;
use crate::message::{Message, MessageKind, Posted, register_payload, update_payload};
use crate::operation::{Decision, DecisionBody, GAS_MAX, GAS_MIN, Memo, MemoKind, Policy, Registration};
use crate::output::Output;
use crate::trace::{ChainId, Trace};
use crate::{Account, Amount, AssetId, Mix};

/// An output with the place at which it is applied.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) output: &'a Output,
    pub(super) memo: &'a Memo,
    /// Its own sequence, or that of the decision that admitted it.
    pub(super) place: u64,
}

impl Arrival<'_> {
    /// Who paid. The API's empty list says the same as none.
    fn senders(&self) -> Option<&Mix> {
        self.output.senders.as_ref().filter(|senders| !senders.members().is_empty())
    }
}

/// What an output leads to, for the core to hand on.
pub(super) struct Arrived {
    pub(super) applied: Applied,
    /// What B1 will credit to a chain.
    pub(super) credit: Option<(ChainId, Credit)>,
    /// The late output whose place is right after this decision.
    pub(super) admits: Option<Uuid>,
}

type Rule = fn(&mut Ledger, Arrival<'_>, &mut Arrived) -> Result<Option<Class>, DeriveError>;

/// The rules before A7, in order.
const RULES: [Rule; 6] = [
    Ledger::a1_internal,
    Ledger::a2_collectible,
    Ledger::a3_decision,
    Ledger::a4_mark,
    Ledger::a5_dust,
    Ledger::a6_refund,
];

impl Ledger {
    /// Applies one output at its place.
    pub(super) fn arrive(&mut self, arrival: Arrival<'_>) -> Result<Arrived, DeriveError> {
        let Arrival { output, place, .. } = arrival;
        self.applied = place;
        let applied = Applied {
            output: output.id,
            sequence: place,
            class: Class::Internal,
            posted: Vec::new(),
            derived: Vec::new(),
            registered: None,
        };
        let mut arrived = Arrived { applied, credit: None, admits: None };
        let class = self.first_match(arrival, &mut arrived)?;
        arrived.applied.class = class;
        if class == Class::Unclaimed {
            self.unclaimed.insert(output.id, (output.asset, output.amount));
        }
        if let Some(senders) = arrival.senders().filter(|_| class != Class::Internal) {
            self.known.entry(Account::of(senders)).or_insert(place);
        }
        self.held.insert(output.coin);
        if self.times.last().is_none_or(|(latest, _)| output.created_at > *latest) {
            self.times.push((output.created_at, place));
        }
        Ok(arrived)
    }

    fn first_match(&mut self, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<Class, DeriveError> {
        for rule in RULES {
            if let Some(class) = rule(self, arrival, arrived)? {
                return Ok(class);
            }
        }
        self.a7_message(arrival, arrived)
    }

    /// Its transaction spends a coin that the group ever held: never decoded, except output 0 with a BOUNCE memo, which
    /// credits the named process. "A transaction that I have derived" would depend on progress.
    fn a1_internal(&mut self, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<Option<Class>, DeriveError> {
        let output = arrival.output;
        if !self.is_internal(output) {
            return Ok(None);
        }
        let MemoKind::Bounce { process } = &arrival.memo.kind else {
            return Ok(Some(Class::Internal));
        };
        if output.coin.index != 0 {
            return Ok(Some(Class::Internal));
        }
        if self.processes.get(process).is_none_or(|process| process.closed) {
            return Ok(Some(Class::Unclaimed));
        }
        self.post(MessageKind::Bounce, *process, Content::of_coin(None, output, Vec::new()), arrival, arrived)?;
        Ok(Some(Class::Bounce))
    }

    fn is_internal(&self, output: &Output) -> bool {
        output.spends.iter().any(|coin| self.held.contains(coin))
    }

    /// Internal or a collectible (A1, A2): its memo asks for nothing.
    pub(super) fn is_passed_over(&self, output: &Output) -> bool {
        self.is_internal(output) || output.inscription.is_some()
    }

    /// Returned one in, one out, before the floor is looked at; never pooled. With a refund mark it is A4's: two groups
    /// would send it to and fro for ever.
    fn a2_collectible(&mut self, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<Option<Class>, DeriveError> {
        if arrival.output.inscription.is_none() {
            return Ok(None);
        }
        match self.a4_mark(arrival, arrived)? {
            Some(class) => Ok(Some(class)),
            None => Ok(Some(self.give_back(Class::Return, arrival, arrived))),
        }
    }

    /// A valid decision whose number has not acted yet acts from this sequence on; its coin enters nothing. A copy of an
    /// old one is an ordinary output.
    fn a3_decision(&mut self, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<Option<Class>, DeriveError> {
        let MemoKind::Decision(Decision { number, valid: true, body }) = &arrival.memo.kind else {
            return Ok(None);
        };
        if !self.numbers.insert(*number) {
            return Ok(None);
        }
        self.act(body, arrival, arrived)?;
        Ok(Some(Class::Decision))
    }

    /// What a decision changes. One that names what is not there, or not open any more, changes nothing.
    fn act(&mut self, body: &DecisionBody, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<(), DeriveError> {
        let place = arrival.place;
        match body {
            DecisionBody::Bounce { chain, k } | DecisionBody::Refused { chain, k } => {
                self.verdicts.entry((*chain, *k)).or_insert(place);
            }
            // Coins at an address that nobody can be paid at, or that nobody can list, would be lost.
            DecisionBody::Switch { group } => {
                if group.is_legal() && group.users().is_some() {
                    self.switches.push(place);
                    self.groups.push(group.clone());
                }
            }
            DecisionBody::Limits { chain, asset, caps } => {
                self.caps.entry((*chain, *asset)).or_default().push((place, *caps));
            }
            DecisionBody::Minimum { asset, minimum, floor } => {
                self.rules.insert(*asset, AssetRule { minimum: *minimum, floor: *floor });
            }
            DecisionBody::Update { process, assets } => {
                let assets = assets.clone();
                self.update(process, arrival, arrived, |open| open.assets = assets)?;
            }
            DecisionBody::Policy { process, policy, gas } => {
                self.decide_policy(process, *policy, *gas, arrival, arrived)?
            }
            DecisionBody::Close { process } => {
                if let Some(open) = self.processes.get_mut(process).filter(|process| !process.closed) {
                    open.closed = true;
                    self.post(MessageKind::Close, *process, Content::of_nothing(None, Vec::new()), arrival, arrived)?;
                }
            }
            DecisionBody::Admit { output } => arrived.admits = Some(*output),
            DecisionBody::Release { output, to } => self.release(*output, to, arrival, arrived),
            DecisionBody::Key { generation, key, .. } => {
                if *generation > self.keys.last().map_or(0, |(_, (generation, _))| *generation) {
                    self.keys.push((place, (*generation, key.into())));
                }
            }
        }
        Ok(())
    }

    /// Changes an open process and tells its contract.
    fn update(
        &mut self,
        process: &Uuid,
        arrival: Arrival<'_>,
        arrived: &mut Arrived,
        change: impl FnOnce(&mut Process),
    ) -> Result<(), DeriveError> {
        let Some(open) = self.processes.get_mut(process).filter(|process| !process.closed) else { return Ok(()) };
        change(open);
        let payload = update_payload(open.private, open.policy, open.gas);
        self.post(MessageKind::Update, *process, Content::of_nothing(None, payload), arrival, arrived)
    }

    /// A gas limit above the maximum of the process's chain changes nothing: its calls would never fit a transaction.
    fn decide_policy(
        &mut self,
        process: &Uuid,
        policy: Policy,
        gas: u32,
        arrival: Arrival<'_>,
        arrived: &mut Arrived,
    ) -> Result<(), DeriveError> {
        let chain = self.processes.get(process).and_then(|process| self.config.chains.get(&process.chain));
        if gas > chain.map_or(0, |chain| chain.gas_max.min(GAS_MAX)) {
            return Ok(());
        }
        self.update(process, arrival, arrived, |open| {
            open.policy = policy;
            open.gas = if gas == 0 { open.gas } else { gas };
        })
    }

    /// Pays exactly that unclaimed coin out, once: to nobody illegal, and never to the group itself.
    fn release(&mut self, output: Uuid, to: &Mix, arrival: Arrival<'_>, arrived: &mut Arrived) {
        if !to.is_legal() || self.is_group(to) {
            return;
        }
        let Some((asset, amount)) = self.unclaimed.get(&output).copied().filter(|(_, amount)| *amount < Amount::MAX)
        else {
            return;
        };
        self.unclaimed.remove(&output);
        arrived.applied.derived.push(Derived {
            trace: Trace::Release { output },
            asset,
            inputs: vec![CoinRef::Output(output)],
            outputs: vec![(Payee::Mix(to.clone()), amount)],
            memo: DerivedMemo::Refund,
            key: self.key_at(arrival.place),
        });
    }

    /// A refund mark, or paid by the group of any generation so far: never refund a refund.
    fn a4_mark(&mut self, arrival: Arrival<'_>, _: &mut Arrived) -> Result<Option<Class>, DeriveError> {
        Ok(self.is_mark(arrival).then_some(Class::Unclaimed))
    }

    fn is_mark(&self, arrival: Arrival<'_>) -> bool {
        let ours = arrival.senders().is_some_and(|senders| self.is_group(senders));
        ours || arrival.memo.kind == MemoKind::RefundMark
    }

    /// Below the refund floor, or a tick of any amount.
    fn a5_dust(&mut self, arrival: Arrival<'_>, _: &mut Arrived) -> Result<Option<Class>, DeriveError> {
        let tick = arrival.memo.kind == MemoKind::Tick;
        Ok((tick || self.is_dust(arrival.output)).then_some(Class::Unclaimed))
    }

    fn is_dust(&self, output: &Output) -> bool {
        output.amount < self.rule(&output.asset).floor
    }

    /// What cannot become a message goes back in full, from exactly that coin.
    fn a6_refund(&mut self, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<Option<Class>, DeriveError> {
        let fits = match &arrival.memo.kind {
            MemoKind::Register(registration) => self.may_register(arrival, registration).is_some(),
            MemoKind::Call { process, payload } => self.may_call(arrival.output, process, payload),
            MemoKind::Undecodable
            | MemoKind::StoredCall { .. }
            | MemoKind::RefundMark
            | MemoKind::Bounce { .. }
            | MemoKind::Decision(_)
            | MemoKind::Tick
            | MemoKind::Other(_) => false,
        };
        Ok((!fits).then(|| self.give_back(Class::Refund, arrival, arrived)))
    }

    /// The process that the output may register: one sender, not registered before; a known chain, a free address, gas
    /// within its maximum; the fee.
    fn may_register(&self, arrival: Arrival<'_>, registration: &Registration) -> Option<Uuid> {
        let users = arrival.senders()?.users()?;
        let [process] = users.as_slice() else {
            return None;
        };
        let Registration { chain, address, gas, .. } = registration;
        let gas_max = self.config.chains.get(chain)?.gas_max.min(GAS_MAX);
        let (output, fee) = (arrival.output, &self.config.fee);
        let free = !self.processes.contains_key(process) && !self.addresses.contains(&(*chain, *address));
        let paid = output.asset == fee.asset && output.amount >= fee.amount;
        (free && paid && (GAS_MIN..=gas_max).contains(gas)).then_some(*process)
    }

    /// An open process, the asset on its list, not below the minimum of the asset or of the process, no more than can be
    /// counted, and a payload that fits its chain.
    fn may_call(&self, output: &Output, process: &Uuid, payload: &[u8]) -> bool {
        let Some(process) = self.processes.get(process).filter(|process| !process.closed) else {
            return false;
        };
        let own = match &process.assets {
            None => Some(Amount::ZERO),
            Some(assets) => assets.get(&output.asset).copied(),
        };
        let enough = own.is_some_and(|own| output.amount >= own.max(self.rule(&output.asset).minimum));
        let countable = output.amount <= AMOUNT_MAX;
        let longest = self.config.chains.get(&process.chain).map_or(0, |chain| chain.payload_max);
        enough && countable && payload.len() <= longest
    }

    /// To the senders, without senders to the memo's return address. To nobody illegal, and never to the group itself:
    /// the coin would come back as internal and belong to no list.
    fn give_back(&self, class: Class, arrival: Arrival<'_>, arrived: &mut Arrived) -> Class {
        let to = match (arrival.senders(), &arrival.memo.return_address) {
            (Some(senders), _) => Some(senders.clone()),
            (None, Some(payload)) => Mix::from_payload(payload).ok(),
            (None, None) => None,
        };
        let Some(to) = to.filter(|to| to.is_legal() && !self.is_group(to)) else {
            return Class::Unclaimed;
        };
        // It may be even more, which no transaction of ours can carry.
        if arrival.output.amount == Amount::MAX {
            return Class::Unclaimed;
        }
        let output = arrival.output.id;
        let trace = if class == Class::Return { Trace::Return { output } } else { Trace::Refund { output } };
        arrived.applied.derived.push(Derived {
            trace,
            asset: arrival.output.asset,
            inputs: vec![CoinRef::Output(output)],
            outputs: vec![(Payee::Mix(to), arrival.output.amount)],
            memo: DerivedMemo::Refund,
            key: self.key_at(arrival.place),
        });
        class
    }

    /// Register: message 0 of a new mailbox; the fee is no custody. Call: a message with its coin.
    fn a7_message(&mut self, arrival: Arrival<'_>, arrived: &mut Arrived) -> Result<Class, DeriveError> {
        match &arrival.memo.kind {
            MemoKind::Register(registration) => match self.may_register(arrival, registration) {
                Some(process) => self.register(process, registration, arrival, arrived),
                None => Ok(self.give_back(Class::Refund, arrival, arrived)),
            },
            MemoKind::Call { process, payload } => {
                let content = Content::of_coin(arrival.senders(), arrival.output, payload.clone());
                self.post(MessageKind::Call, *process, content, arrival, arrived)?;
                Ok(Class::Call)
            }
            // A6 took these.
            MemoKind::Undecodable
            | MemoKind::StoredCall { .. }
            | MemoKind::RefundMark
            | MemoKind::Bounce { .. }
            | MemoKind::Decision(_)
            | MemoKind::Tick
            | MemoKind::Other(_) => Ok(self.give_back(Class::Refund, arrival, arrived)),
        }
    }

    fn register(
        &mut self,
        id: Uuid,
        registration: &Registration,
        arrival: Arrival<'_>,
        arrived: &mut Arrived,
    ) -> Result<Class, DeriveError> {
        let Registration { chain, address, private, policy, gas, assets } = registration.clone();
        let payload = register_payload(address, private, policy, gas);
        let process = Process { chain, address, private, policy, gas, assets, closed: false, next_nonce: 0 };
        self.addresses.insert((chain, address));
        self.processes.insert(id, process);
        arrived.applied.registered = Some(Registered { process: id, chain, address });
        self.post(MessageKind::Register, id, Content::of_nothing(arrival.senders(), payload), arrival, arrived)?;
        Ok(Class::Register)
    }

    /// The sender that a message of this output would show to a private process, where the mask is still to be made. `None`
    /// too where the output becomes no message (A1 to A6): nobody is to be masked for nothing.
    pub(super) fn unmasked(&self, arrival: Arrival<'_>) -> Option<MaskPair> {
        let Arrival { output, memo, .. } = arrival;
        let account = Account::of(arrival.senders()?);
        let process = match &memo.kind {
            MemoKind::Register(registration) => {
                registration.private.then(|| self.may_register(arrival, registration)).flatten()?
            }
            MemoKind::Call { process, payload } => {
                let is_private = self.processes.get(process).is_some_and(|process| process.private);
                (is_private && self.may_call(output, process, payload)).then_some(*process)?
            }
            MemoKind::Undecodable
            | MemoKind::StoredCall { .. }
            | MemoKind::RefundMark
            | MemoKind::Bounce { .. }
            | MemoKind::Decision(_)
            | MemoKind::Tick
            | MemoKind::Other(_) => return None,
        };
        let pair = MaskPair { process, account };
        let settled = self.is_passed_over(output)
            || self.is_mark(arrival)
            || self.is_dust(output)
            || self.masks.contains_key(&pair);
        (!settled).then_some(pair)
    }

    /// Appends to the mailbox. What carries a coin (Call, Bounce) is also credited later, by B1.
    fn post(
        &mut self,
        kind: MessageKind,
        id: Uuid,
        content: Content<'_>,
        arrival: Arrival<'_>,
        arrived: &mut Arrived,
    ) -> Result<(), DeriveError> {
        let Arrival { output, place, .. } = arrival;
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(());
        };
        let nonce = process.next_nonce;
        process.next_nonce = nonce.checked_add(1).ok_or(DeriveError::Overflow("a mailbox"))?;
        let (chain, private) = (process.chain, process.private);
        let Content { sender, coin, payload } = content;
        let sender = match sender {
            None => Account::ZERO,
            Some(sender) => self.see(id, private, sender, place)?,
        };
        let (asset, amount) = coin.unwrap_or((AssetId::NONE, Amount::ZERO));
        let message =
            Message { kind, nonce, sequence: place, timestamp: output.created_at, sender, asset, amount, payload };
        arrived.applied.posted.push(Posted { process: id, message });
        if coin.is_some() {
            let generation = output.generation;
            let credit = Credit { sequence: place, process: id, asset, amount, output: output.id, generation };
            arrived.credit = Some((chain, credit));
        }
        Ok(())
    }

    /// The account under which a contract sees a sender, a mask if its process is private; it may be paid by it from now on.
    fn see(&mut self, process: Uuid, private: bool, sender: &Mix, place: u64) -> Result<Account, DeriveError> {
        let mut account = Account::of(sender);
        if private {
            let pair = MaskPair { process, account };
            account = *self.masks.get(&pair).ok_or(DeriveError::Unmasked(pair))?;
        }
        self.seen.entry((process, account)).or_insert(place);
        if private || account.0.iter().take(16).any(|byte| *byte != 0) {
            self.sets.entry(account).or_insert_with(|| sender.clone());
        }
        Ok(account)
    }
}

/// What differs between the messages of a mailbox.
struct Content<'a> {
    /// `None` where nobody is named, and where the group posts.
    sender: Option<&'a Mix>,
    coin: Option<(AssetId, Amount)>,
    payload: Vec<u8>,
}

impl<'a> Content<'a> {
    fn of_coin(sender: Option<&'a Mix>, output: &Output, payload: Vec<u8>) -> Self {
        Self { sender, coin: Some((output.asset, output.amount)), payload }
    }

    fn of_nothing(sender: Option<&'a Mix>, payload: Vec<u8>) -> Self {
        Self { sender, coin: None, payload }
    }
}
