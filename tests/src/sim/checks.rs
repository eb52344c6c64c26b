//! The invariants: what must hold after every step ([`Watch`]), and what must hold when everything has drained
//! ([`everything_drained`]). One function each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::{Class, Derived, DerivedMemo, Outbound, Record};
use lockstep_core::group::roster::{Mark, Marks, Roster};
use lockstep_core::mixin::Transaction;
use lockstep_core::output::CoinId;
use lockstep_core::trace::Trace;
use lockstep_core::{AssetId, B256, Uuid};

use super::chain::{Chain, State, Status};
use super::disk::{Commit, Disk};
use super::ledger::Ledger;
use super::member::{Member, payouts_resolve};
use super::network::{Ask, Said};
use super::setup::{ASSETS, CHAINS, GENERATIONS, GROUP_ID, group_signature, roster, trace_id};
use super::{Checked, broken};

/// What everybody together has seen so far.
#[derive(Default)]
pub(super) struct Watch {
    /// Digests with a valid group signature, by sequence.
    certified: BTreeMap<u64, B256>,
    /// What the first honest member derived: history and root by sequence, class by output, transaction by trace.
    views: BTreeMap<u64, (B256, B256)>,
    classes: BTreeMap<Uuid, Class>,
    derived: BTreeMap<Uuid, Derived>,
    /// Who signed which payload over a coin.
    signed: BTreeMap<CoinId, BTreeMap<B256, BTreeSet<u8>>>,
    payloads: BTreeMap<B256, Transaction>,
    /// The final payload of each trace, and the trace of each payload that an honest member signed.
    finals: BTreeMap<Uuid, B256>,
    traces: BTreeMap<B256, Uuid>,
    /// What honest members have said: (member, sequence) → digest, (member, payout, attempt) → payload hash, and the
    /// coins that they signed for: (member, coin) → payload hash.
    partials: BTreeMap<(u8, u64), B256>,
    hashes: BTreeMap<(u8, Uuid, u32), B256>,
    coins: BTreeMap<(u8, CoinId), B256>,
    /// Records that were final, by chain.
    records: BTreeMap<u64, Vec<Record>>,
}

impl Watch {
    /// No two checkpoints with a valid group signature for one sequence, and none that honest members do not derive.
    pub(super) fn one_checkpoint_per_sequence(&mut self, sequence: u64, digest: B256) -> Checked {
        const NAME: &str = "one_checkpoint_per_sequence";
        let first = *self.certified.entry(sequence).or_insert(digest);
        if first != digest {
            return broken(NAME, format!("sequence {sequence} has {first} and {digest}"));
        }
        match self.views.get(&sequence) {
            Some((history, root)) => {
                let checkpoint = Checkpoint { sequence, history: *history, root: *root };
                if checkpoint.digest(&GROUP_ID) == digest {
                    return Ok(());
                }
                broken(NAME, format!("sequence {sequence} was signed with another view than honest members have"))
            }
            None => broken(NAME, format!("sequence {sequence} was signed before an honest member applied it")),
        }
    }

    /// Honest members are prefixes of each other: the same history, root and classes by sequence, the same transaction by
    /// trace, whenever each of them gets there. Checked at each commit.
    pub(super) fn members_derive_alike(&mut self, member: u8, commit: &Commit) -> Checked {
        const NAME: &str = "members_derive_alike";
        let mut derived: Vec<_> = commit.derived.iter().collect();
        for step in commit.steps.iter().filter_map(|(_, step)| step.as_ref()) {
            let view = (step.checkpoint.history, step.checkpoint.root);
            let sequence = step.checkpoint.sequence;
            if *self.views.entry(sequence).or_insert(view) != view {
                return broken(NAME, format!("member {member} sees another history or root at sequence {sequence}"));
            }
            for (output, class) in &step.classes {
                if self.classes.entry(*output).or_insert(*class) != class {
                    return broken(NAME, format!("member {member} ends output {output} as {class:?}"));
                }
            }
            derived.extend(&step.derived);
        }
        for named in derived {
            if *self.derived.entry(named.id).or_insert_with(|| named.derived.clone()) != named.derived {
                return broken(NAME, format!("member {member} derives {:?} otherwise", named.derived.trace));
            }
        }
        Ok(())
    }

    /// Who can see the proof that an attempt is dead gives nothing of the next one's seed before it has it.
    pub(super) fn gives_seeds_of_open_attempts(&self, member: &Member, id: Uuid, attempt: u32) -> Checked {
        const NAME: &str = "gives_seeds_of_open_attempts";
        let open = member.disk.payouts.get(&id).map(|payout| payout.attempts.number());
        if member.can_spend(&id) && open.is_none_or(|open| attempt > open) {
            return broken(NAME, format!("member {} gave of the seed of {id}, attempt {attempt}", member.index));
        }
        Ok(())
    }

    /// Write, then speak: a partial signature or payload hash leaves a member only when its row is on the disk, and never
    /// differs from what it said before.
    pub(super) fn writes_before_it_speaks(&mut self, member: u8, ask: Ask, said: &Said, disk: &Disk) -> Checked {
        const NAME: &str = "writes_before_it_speaks";
        match (ask, said) {
            (Ask::Partial(sequence), Said::Partial(Some(_))) => {
                let Some(digest) = disk.checkpoint_guards.get(&sequence).copied() else {
                    return broken(NAME, format!("member {member} spoke of {sequence} without a guard"));
                };
                if *self.partials.entry((member, sequence)).or_insert(digest) != digest {
                    return broken(NAME, format!("member {member} spoke of {sequence} twice, differently"));
                }
            }
            (Ask::Mask(pair), Said::Mask(Some(_))) if !disk.masks.contains_key(&pair) => {
                return broken(NAME, format!("member {member} gave of the mask of {pair:?}, which it never met"));
            }
            (Ask::Hash(id, attempt), Said::Hash(Some(hash))) => {
                let stored = disk.payloads.get(&(id, attempt)).map(|payload| payload.hash());
                if stored != Some(*hash) || *self.hashes.entry((member, id, attempt)).or_insert(*hash) != *hash {
                    return broken(NAME, format!("member {member} spoke of payout {id} without or against its row"));
                }
            }
            (Ask::Signatures(id, attempt), Said::Signatures(Some(part)))
                if disk.signatures.get(&(id, attempt)) != Some(part) =>
            {
                return broken(NAME, format!("member {member} gave signatures that it has no rows of"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A member signs a payload only when each coin of it is promised to this payload on its disk.
    pub(super) fn guards_coins_before_it_signs(&mut self, member: u8, payload: &Transaction, disk: &Disk) -> Checked {
        const NAME: &str = "guards_coins_before_it_signs";
        let hash = payload.hash();
        for coin in payload.coins().unwrap_or_default() {
            if disk.coin_guards.get(&coin) != Some(&hash) {
                return broken(NAME, format!("member {member} signs {hash} without a guard for {coin:?}"));
            }
            self.coins.insert((member, coin), hash);
        }
        let id = disk.payloads.iter().find(|(_, stored)| stored.hash() == hash).map(|((id, _), _)| *id);
        self.traces.extend(id.map(|id| (hash, id)));
        Ok(())
    }

    /// What the newest certified checkpoint obliges the next generation to.
    pub(super) fn marks(&self) -> Marks {
        let newest =
            self.certified.keys().next_back().and_then(|sequence| Some((*sequence, *self.views.get(sequence)?)));
        let mark = newest.and_then(|(sequence, (history, root))| {
            let checkpoint = Checkpoint { sequence, history, root };
            let signature = group_signature(&checkpoint.digest(&GROUP_ID), GENERATIONS[0])?;
            Some(Mark { checkpoint, signature: signature.compress() })
        });
        Marks { checkpoint: mark, ..Marks::default() }
    }

    /// A part of a checkpoint's signature is of a generation whose switch is on the member's disk, and not of one that the
    /// member knows to be over.
    pub(super) fn signs_in_its_own_generation(&self, member: &Member, said: &Said) -> Checked {
        const NAME: &str = "signs_in_its_own_generation";
        let Said::Partial(Some(partial)) = said else { return Ok(()) };
        let switches = member.alive.as_ref().map_or(0, |alive| alive.addresses.newest() as usize);
        let name = |generation: usize| {
            let roster = member.disk.rosters.iter().find(|roster| roster.generation() as usize == generation);
            roster.map_or_else(|| roster_of_opening().digest(), |roster| roster.digest())
        };
        let learnt = member.disk.rosters.iter().map(|roster| roster.generation() as usize);
        let newest = learnt.filter(|generation| *generation <= switches).max().unwrap_or(0);
        if partial.roster == name(newest) {
            return Ok(());
        }
        broken(
            NAME,
            format!("member {} signs in another generation than {newest}, after {switches} switches", member.index),
        )
    }

    /// What a member has promised is still on its disk after a crash.
    pub(super) fn promises_outlive_crashes(&self, member: u8, disk: &Disk) -> Checked {
        const NAME: &str = "promises_outlive_crashes";
        let mine = |index: u8| index == member;
        for ((_, sequence), digest) in self.partials.iter().filter(|((index, _), _)| mine(*index)) {
            if disk.checkpoint_guards.get(sequence) != Some(digest) {
                return broken(NAME, format!("member {member} forgot what it said of sequence {sequence}"));
            }
        }
        for ((_, id, attempt), hash) in self.hashes.iter().filter(|((index, ..), _)| mine(*index)) {
            if disk.payloads.get(&(*id, *attempt)).map(|payload| payload.hash()) != Some(*hash) {
                return broken(NAME, format!("member {member} forgot the bytes of payout {id}"));
            }
        }
        for ((_, coin), hash) in self.coins.iter().filter(|((index, _), _)| mine(*index)) {
            if disk.coin_guards.get(coin) != Some(hash) {
                return broken(NAME, format!("member {member} forgot its promise of {coin:?}"));
            }
        }
        Ok(())
    }

    /// Never t signatures on two payloads over one coin, unless all but one of those payloads are provably dead.
    pub(super) fn one_signed_payload_per_coin(
        &mut self,
        member: u8,
        payload: &Transaction,
        ledger: &Ledger,
    ) -> Checked {
        const NAME: &str = "one_signed_payload_per_coin";
        let hash = payload.hash();
        self.payloads.insert(hash, payload.clone());
        for coin in payload.coins().unwrap_or_default() {
            let signed = self.signed.entry(coin).or_default();
            signed.entry(hash).or_default().insert(member);
            let need = ledger.coin_keys(payload).and_then(|keys| keys.first()?.script.threshold().ok());
            let need = need.map_or(usize::MAX, usize::from);
            let full = signed.iter().filter(|(_, who)| who.len() >= need);
            let live: Vec<_> = full.filter(|(hash, _)| !ledger.is_dead(&self.payloads[*hash])).collect();
            if live.len() > 1 {
                return broken(NAME, format!("{coin:?}: {live:?}"));
            }
        }
        Ok(())
    }

    /// What is final and spends the group's coins is a payload that an honest member signed, the only one of its trace;
    /// and of one outbound at most one payment (`pay` or `settle`) is final.
    pub(super) fn one_final_payout_per_outbound(&mut self, transaction: &Transaction, ledger: &Ledger) -> Checked {
        const NAME: &str = "one_final_payout_per_outbound";
        let hash = transaction.hash();
        let listed = |coin: &CoinId| ledger.locks.get(coin) == Some(&hash);
        if !transaction.coins().unwrap_or_default().iter().any(listed) {
            return Ok(());
        }
        let Some(id) = self.traces.get(&hash).copied() else {
            return broken(NAME, format!("{hash} spends coins of the group and no honest member signed it"));
        };
        let first = *self.finals.entry(id).or_insert(hash);
        if first != hash {
            return broken(NAME, format!("payout {id} is final as {first} and as {hash}"));
        }
        if let Some(Derived { trace: Trace::Pay { chain, k } | Trace::Settle { chain, k }, .. }) = self.derived.get(&id)
        {
            let (chain, k) = (*chain, *k);
            let both = [Trace::Pay { chain, k }, Trace::Settle { chain, k }];
            if both.iter().all(|trace| self.finals.contains_key(&trace_id(trace))) {
                return broken(NAME, format!("outbound {k} of chain {chain} is paid twice"));
            }
        }
        Ok(())
    }

    /// The contract is a prefix of what the members derive: each mailbox has run its messages in order, each once, and
    /// what it holds is what it was brought minus what it sent. Final records never change.
    pub(super) fn custody_is_what_was_delivered(&mut self, chain: &Chain, members: &[Member]) -> Checked {
        const NAME: &str = "custody_is_what_was_delivered";
        let state = chain.final_state();
        let ahead = members.iter().filter(|member| !member.is_liar).max_by_key(|member| member.disk.outputs.len());
        let Some(ahead) = ahead else { return Ok(()) };
        let mut brought = BTreeMap::<(Uuid, AssetId), u128>::new();
        for (id, process) in &state.processes {
            let derived = ahead.disk.messages.get(id).map_or(&[][..], Vec::as_slice);
            let same = derived.iter().zip(&process.ran).all(|((derived, _), ran)| derived == ran);
            if !same || process.ran.len() > derived.len() {
                return broken(NAME, format!("chain {} ran messages of {id} that no member derived", state.chain));
            }
            for message in &process.ran {
                *brought.entry((*id, message.asset)).or_default() += message.amount.units();
            }
        }
        for (key, held) in &state.custody {
            let (booked, debited) = state.booked.get(key).copied().unwrap_or_default();
            if *held != booked - debited || booked > brought.get(key).copied().unwrap_or_default() {
                return broken(NAME, format!("{key:?}: holds {held}, booked {booked}, debited {debited}"));
            }
        }
        let before = self.records.entry(state.chain).or_default();
        if !state.records.starts_with(before) {
            return broken(NAME, format!("final records of chain {} changed", state.chain));
        }
        before.clone_from(&state.records);
        Ok(())
    }
}

/// Why the world is not at rest yet; `None` when it is.
pub(super) fn unrest(members: &[Member], ledger: &Ledger, chains: &BTreeMap<u64, Chain>) -> Option<String> {
    if !ledger.is_quiet() {
        return Some("the ledger has not finished".into());
    }
    for member in members.iter().filter(|member| !member.is_liar && member.is_enrolled) {
        let name = member.index;
        if let Some(newest) = switched_to(ledger).filter(|newest| !has_followed(member, *newest)) {
            return Some(format!("member {name} has not followed to generation {newest}"));
        }
        if !member.has_read_all(ledger, chains) {
            return Some(format!("member {name} has not read all"));
        }
        if let Some((id, payout)) = member.disk.payouts.iter().find(|(_, payout)| payout.final_hash.is_none()) {
            let state: String = members.iter().map(|member| member.payout_state(id)).collect();
            return Some(format!("member {name} waits for {:?} ({id}):{state}", payout.derived.trace));
        }
        if let Some((chain, k)) = member.waiting().first() {
            return Some(format!("outbound {k} of chain {chain} waits in escrow"));
        }
        for opened in member.disk.mailboxes.values() {
            let state = chains.get(&opened.chain).map(Chain::final_state);
            let ran =
                state.and_then(|state| state.processes.get(&opened.process)).map_or(0, |process| process.ran.len());
            if ran < member.disk.messages.get(&opened.process).map_or(0, Vec::len) {
                return Some(format!("messages of {} are not delivered", opened.process));
            }
        }
    }
    let open = chains.iter().find(|(_, chain)| !chain.is_quiet());
    open.map(|(id, _)| format!("chain {id} has not finished"))
}

/// All of the end's invariants, for a world at rest.
pub(super) fn everything_drained(members: &[Member], ledger: &Ledger, chains: &BTreeMap<u64, Chain>) -> Checked {
    let honest: Vec<_> = members.iter().filter(|member| !member.is_liar && member.is_enrolled).collect();
    members_end_equal(&honest)?;
    shares_of_old_generations_are_gone(&honest, ledger)?;
    let Some(member) = honest.first() else { return Ok(()) };
    payments_end_once(member, ledger, chains)?;
    outbounds_end_once(member, ledger, chains)?;
    books_are_coins_and_custody(member, chains)?;
    coins_are_accounted_for(member, ledger)?;
    nothing_is_lost(ledger)
}

fn roster_of_opening() -> &'static Roster {
    static OPENING: OnceLock<Roster> = OnceLock::new();
    OPENING.get_or_init(|| roster(0, Default::default()))
}

/// The newest generation, where there was a switch.
fn switched_to(ledger: &Ledger) -> Option<u32> {
    u32::try_from(ledger.generation).ok().filter(|newest| *newest > 0)
}

/// Who has a seat in the newest generation knows its roster, and once it signed holds no older share.
fn has_followed(member: &Member, newest: u32) -> bool {
    let has_seat = GENERATIONS[newest as usize].contains(&member.index);
    let knows = member.disk.rosters.iter().any(|roster| roster.generation() == newest);
    !has_seat || knows
}

/// A member of the newest generation that made a signature holds the share of that one alone.
fn shares_of_old_generations_are_gone(honest: &[&Member], ledger: &Ledger) -> Checked {
    let Some(newest) = switched_to(ledger) else { return Ok(()) };
    for member in honest.iter().filter(|member| member.has_proved == Some(newest)) {
        if member.disk.shares.iter().any(|generation| *generation < newest) {
            return broken("shares_of_old_generations_are_gone", format!("member {} kept one", member.index));
        }
    }
    Ok(())
}

/// Honest members hold the same rows and the same derived state.
fn members_end_equal(honest: &[&Member]) -> Checked {
    const NAME: &str = "members_end_equal";
    let Some((first, rest)) = honest.split_first() else { return Ok(()) };
    for member in rest {
        let (one, other) = (&first.disk, &member.disk);
        let finals = |disk: &Disk| -> BTreeMap<Uuid, Option<B256>> {
            disk.payouts.iter().map(|(id, payout)| (*id, payout.final_hash)).collect()
        };
        let same = one.outputs == other.outputs
            && one.steps == other.steps
            && one.classes == other.classes
            && one.messages == other.messages
            && one.records == other.records
            && one.parked == other.parked
            && one.nodes == other.nodes
            && finals(one) == finals(other);
        let digest = |member: &Member| member.alive.as_ref().map(|alive| alive.machine.core().state_digest());
        if !same || digest(first) != digest(member) {
            return broken(NAME, format!("members {} and {} differ", first.index, member.index));
        }
    }
    Ok(())
}

/// Each payment from outside ended as exactly one of: message that ran, refund that is final, unclaimed, registration,
/// decision.
fn payments_end_once(member: &Member, ledger: &Ledger, chains: &BTreeMap<u64, Chain>) -> Checked {
    const NAME: &str = "payments_end_once";
    let disk = &member.disk;
    for output in &ledger.listed {
        let is_late = disk.outputs.iter().any(|applied| applied.id == output.id && applied.late);
        let Some(class) = disk.classes.get(&output.id).copied() else {
            // It came to an address before that was the group's, and nobody admitted it: it lies there.
            if is_late {
                continue;
            }
            return broken(NAME, format!("output {} was never applied", output.id));
        };
        let refund = [Trace::Refund { output: output.id }, Trace::Return { output: output.id }];
        let refunds = refund.iter().filter(|trace| disk.payouts.contains_key(&trace_id(trace))).count();
        let ran = ran_at(chains, output.sequence);
        // An update or a closing is a message where the process was open.
        let posts = if class == Class::Decision {
            ran.min(1)
        } else {
            usize::from(matches!(class, Class::Call | Class::Register | Class::Bounce))
        };
        let refunded = usize::from(matches!(class, Class::Refund | Class::Return));
        // The message of an admitted one has its decision's place.
        if (ran != posts && !is_late) || refunds != refunded {
            return broken(NAME, format!("{class:?} {}: {ran} messages, {refunds} refunds", output.id));
        }
    }
    Ok(())
}

fn ran_at(chains: &BTreeMap<u64, Chain>, sequence: u64) -> usize {
    let processes = chains.values().flat_map(|chain| chain.final_state().processes.values());
    processes.flat_map(|process| &process.ran).filter(|message| message.sequence == sequence).count()
}

/// Each outbound ended as exactly one of: paid, bounced, parked.
fn outbounds_end_once(member: &Member, ledger: &Ledger, chains: &BTreeMap<u64, Chain>) -> Checked {
    const NAME: &str = "outbounds_end_once";
    for chain in CHAINS {
        for record in chains[&chain].final_records() {
            let Record::Outbound(Outbound { k, amount, asset, .. }) = record else { continue };
            let k = *k;
            let ends = [Trace::Pay { chain, k }, Trace::Settle { chain, k }];
            let ends: Vec<_> = ends.iter().filter_map(|trace| member.disk.payouts.get(&trace_id(trace))).collect();
            let parked = member.disk.parked.iter().filter(|parked| **parked == (chain, k)).count();
            if ends.len() + parked != 1 {
                return broken(NAME, format!("outbound {k} of chain {chain} has {} ends", ends.len() + parked));
            }
            for end in ends {
                let paid = end.final_hash.and_then(|hash| ledger.transactions.get(&hash));
                let paid = paid.and_then(|admitted| admitted.transaction.outputs().first());
                if end.derived.asset != *asset || paid.map(|paid| paid.amount) != Some(*amount) {
                    return broken(NAME, format!("outbound {k} of chain {chain} did not pay what it asked for"));
                }
            }
        }
    }
    Ok(())
}

/// What each process holds on its chain is what the members' book says, and a chain's books are what its coins hold.
fn books_are_coins_and_custody(member: &Member, chains: &BTreeMap<u64, Chain>) -> Checked {
    const NAME: &str = "books_are_coins_and_custody";
    let Some(alive) = &member.alive else { return broken(NAME, "a member is down") };
    let core = alive.machine.core();
    for chain in CHAINS {
        let state: &State = chains[&chain].final_state();
        let mut totals = BTreeMap::<AssetId, (u128, u128)>::new();
        for (_, asset, amount) in core.books(chain) {
            totals.entry(asset).or_default().0 += amount.units();
        }
        for (asset, _, amount) in core.coins(chain) {
            totals.entry(asset).or_default().1 += amount.units();
        }
        if let Some((asset, (books, coins))) = totals.iter().find(|(_, (books, coins))| books != coins) {
            return broken(NAME, format!("chain {chain}, {asset}: books of {books}, coins of {coins}"));
        }
        for (id, process) in &state.processes {
            for asset in ASSETS {
                let book = core.book(chain, *id, asset).units();
                let custody = state.custody.get(&(*id, asset)).copied().unwrap_or_default();
                if book != custody || (process.status == Status::Rejected && custody > 0 && has_senders(process)) {
                    return broken(NAME, format!("chain {chain}, {id}: book {book}, custody {custody}"));
                }
            }
        }
    }
    Ok(())
}

/// Whether everything that was paid to a process could be paid back.
fn has_senders(process: &super::chain::Process) -> bool {
    process.ran.iter().all(|message| message.sender != lockstep_core::Account::ZERO || message.amount.is_zero())
}

/// The group's unspent coins are those of the coin lists, of fees, of decisions and of what is unclaimed; none else.
fn coins_are_accounted_for(member: &Member, ledger: &Ledger) -> Checked {
    const NAME: &str = "coins_are_accounted_for";
    let Some(alive) = &member.alive else { return broken(NAME, "a member is down") };
    let mut known = BTreeSet::new();
    for (_, coin, _) in CHAINS.iter().flat_map(|chain| alive.machine.core().coins(*chain)) {
        let Some(coin) = payouts_resolve(&member.disk, &coin) else {
            return broken(NAME, format!("the list holds {coin:?}, which does not exist"));
        };
        known.insert(coin.id);
    }
    for output in &ledger.listed {
        let released = member.disk.payouts.contains_key(&trace_id(&Trace::Release { output: output.id }));
        let class = member.disk.classes.get(&output.id);
        let kept = class.is_none_or(|class| matches!(class, Class::Unclaimed | Class::Register | Class::Decision));
        if kept && !released {
            known.insert(output.coin);
        }
    }
    let unspent: BTreeSet<CoinId> = ledger.unspent().into_keys().collect();
    match unspent.symmetric_difference(&known).next() {
        Some(coin) => broken(NAME, format!("{coin:?} is unspent or known, and not both")),
        None => Ok(()),
    }
}

/// To the last unit: what came is what lies there and what was paid out.
fn nothing_is_lost(ledger: &Ledger) -> Checked {
    for asset in ASSETS {
        let came = ledger.came.get(&asset).copied().unwrap_or_default();
        let gone = ledger.gone.get(&asset).copied().unwrap_or_default();
        let kept: u128 = ledger.unspent().values().filter(|(of, _)| *of == asset).map(|(_, amount)| amount).sum();
        if came != kept + gone {
            return broken("nothing_is_lost", format!("{asset}: {came} came, {kept} lie there, {gone} left"));
        }
    }
    Ok(())
}

/// What kinds of transactions there were, for the table.
pub(super) fn kind(derived: &Derived) -> &'static str {
    match (&derived.trace, &derived.memo) {
        (_, DerivedMemo::Bounce(_)) => "final: bounce",
        (Trace::Refund { .. }, _) => "final: refund",
        (Trace::Return { .. }, _) => "final: return",
        (Trace::Release { .. }, _) => "final: release",
        (Trace::Pay { .. }, _) => "final: pay",
        (Trace::Escrow { .. }, _) => "final: escrow",
        (Trace::Settle { .. }, _) => "final: settle",
        (Trace::Consolidate { .. }, _) => "final: consolidate",
        (Trace::Forward { .. }, _) => "final: forward",
        (Trace::Move { .. }, _) => "final: move",
        (Trace::Migrate { .. }, _) => "final: migrate",
    }
}
