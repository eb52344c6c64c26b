//! Every fault of the embedded ledger (docs/embedded-ledger.md) before four members as processes of their own. After each, no
//! two members have promised different things, the money adds up to the last unit, all have one history, and nobody waits for
//! anything.

mod paying;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use lockstep::api::Status;
use lockstep::devnet::ledger::{Fault, FaultOrder, FaultRow};
use lockstep::keys::{Floor, KEY_FILE, Keyring, Source};
use lockstep::ledger::SafeApi;
use lockstep::ledger::pay::{Paid, Payment, pay};
use lockstep::world::doubt::LedgerDoubts;
use lockstep_core::operation::Operation;
use lockstep_core::{Amount, Uuid};

use super::btc;
use super::town::{PATIENCE, Place, Plan, Temper, Town, until};

/// The member that is lied to, from 0.
const LIED: usize = 3;
/// One that is not.
const HONEST: usize = 0;

/// A kind of fault, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Disturb,
    Equivocate,
    Omit,
    Delay,
    LateRow,
    UnlistedChange,
    FreshKeys,
    StealKeys,
    WrongViews,
    LockAtCreate,
    Revoke,
    UnlockRevokes,
    AnyoneRevokes,
    LoseBroadcast,
    Stall,
    SplitLocks,
    Lie,
    OwnSnapshots,
    ReuseTokens,
}

/// The network that a kind is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    Paying,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Disturb,
        Self::Equivocate,
        Self::Omit,
        Self::Delay,
        Self::LateRow,
        Self::UnlistedChange,
        Self::FreshKeys,
        Self::StealKeys,
        Self::WrongViews,
        Self::LockAtCreate,
        Self::Revoke,
        Self::UnlockRevokes,
        Self::AnyoneRevokes,
        Self::LoseBroadcast,
        Self::Stall,
        Self::SplitLocks,
        Self::Lie,
        Self::OwnSnapshots,
        Self::ReuseTokens,
    ];

    /// A new fault does not compile before it has a kind here.
    const fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Disturb(_) => Self::Disturb,
            Fault::Equivocate(_) => Self::Equivocate,
            Fault::Omit { .. } => Self::Omit,
            Fault::Delay { .. } => Self::Delay,
            Fault::LateRow { .. } => Self::LateRow,
            Fault::UnlistedChange => Self::UnlistedChange,
            Fault::FreshKeys => Self::FreshKeys,
            Fault::StealKeys { .. } => Self::StealKeys,
            Fault::WrongViews => Self::WrongViews,
            Fault::LockAtCreate => Self::LockAtCreate,
            Fault::Revoke => Self::Revoke,
            Fault::UnlockRevokes => Self::UnlockRevokes,
            Fault::AnyoneRevokes => Self::AnyoneRevokes,
            Fault::LoseBroadcast => Self::LoseBroadcast,
            Fault::Stall => Self::Stall,
            Fault::SplitLocks => Self::SplitLocks,
            Fault::Lie { .. } => Self::Lie,
            Fault::OwnSnapshots => Self::OwnSnapshots,
            Fault::ReuseTokens => Self::ReuseTokens,
        }
    }

    /// A kind does not compile before it has a stage, and a stage fails that did not show all of its kinds.
    const fn stage(self) -> Stage {
        match self {
            Self::Disturb
            | Self::Equivocate
            | Self::Omit
            | Self::Delay
            | Self::LateRow
            | Self::UnlistedChange
            | Self::Stall
            | Self::Lie
            | Self::OwnSnapshots
            | Self::ReuseTokens => Stage::Reading,
            Self::FreshKeys
            | Self::StealKeys
            | Self::WrongViews
            | Self::LockAtCreate
            | Self::Revoke
            | Self::UnlockRevokes
            | Self::AnyoneRevokes
            | Self::LoseBroadcast
            | Self::SplitLocks => Stage::Paying,
        }
    }

    /// These last, and do nothing that could be counted.
    const fn is_counted(self) -> bool {
        !matches!(self, Self::Stall | Self::SplitLocks)
    }
}

/// A network, and what was done to it.
struct Knobs {
    town: Town,
    place: Place,
    /// What users and group have together.
    money: Amount,
    /// How often faults of each kind acted.
    acted: BTreeMap<Kind, u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_see_one_order_whatever_the_ledger_shows_one_of_them() -> Result<()> {
    let mut knobs = Box::pin(Knobs::start()).await?;
    reading::failing_calls_should_stop_one_member_and_nobody_else(&mut knobs).await?;
    reading::what_is_not_final_should_be_waited_for_and_named(&mut knobs).await?;
    reading::lying_nodes_should_move_nobody(&mut knobs).await?;
    reading::own_snapshots_and_used_tokens_should_not_matter(&mut knobs).await?;
    reading::unlisted_change_should_hold_what_spends_it_and_nothing_else(&mut knobs).await?;
    reading::a_contradicted_row_should_be_waited_for_and_named(&mut knobs).await?;
    reading::a_row_that_reads_otherwise_once_should_be_read_again(&mut knobs).await?;
    reading::a_hidden_row_should_be_found_and_taken_in(&mut knobs).await?;
    reading::a_row_that_comes_late_should_wait_for_a_decision(&mut knobs).await?;
    reading::a_false_row_that_was_applied_should_halt_the_member(&mut knobs).await?;
    knobs.end(Stage::Reading).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_pay_once_whatever_the_ledgers_api_does() -> Result<()> {
    let mut knobs = Box::pin(Knobs::start()).await?;
    paying::other_keys_should_hold_the_payout_at_one_member(&mut knobs).await?;
    paying::stolen_keys_should_cost_one_attempt(&mut knobs).await?;
    paying::wrong_views_should_sign_nothing(&mut knobs).await?;
    paying::locks_revocations_and_lost_broadcasts_should_be_survived(&mut knobs).await?;
    paying::a_hostile_member_should_not_stop_a_payout(&mut knobs).await?;
    paying::split_nodes_should_hold_a_payout_until_they_meet_again(&mut knobs).await?;
    knobs.end(Stage::Paying).await
}

impl Knobs {
    async fn start() -> Result<Self> {
        let town = Box::pin(Town::start()).await?;
        let [place] = town.settle([Plan::new(Temper::Keeps)]).await?;
        let money = sum([town.balance(&town.alice).await?, town.balance(&town.bob).await?])?;
        let knobs = Self { town, place, money, acted: BTreeMap::new() };
        knobs.town.call(&knobs.town.alice, place, btc(100), b"what is paid out").await?;
        knobs.arrives(b"what is paid out").await?;
        knobs.goes_out().await?;
        knobs.settled().await?;
        Ok(knobs)
    }

    /// Sets a fault.
    async fn set(&self, order: FaultOrder) -> Result<FaultRow> {
        Ok(self.town.network.operator.set_fault(&order).await?)
    }

    /// How often it acted so far.
    async fn acted(&self, fault: &FaultRow) -> Result<u64> {
        let rows = self.town.network.operator.faults().await?;
        Ok(rows.iter().find(|row| row.id == fault.id).context("the fault is set")?.acted)
    }

    /// Ends all faults, and counts what they did.
    async fn clear(&mut self) -> Result<()> {
        let rows = self.town.network.operator.clear_faults().await?;
        self.count(rows);
        Ok(())
    }

    fn count(&mut self, rows: Vec<FaultRow>) {
        for row in rows {
            let acted = self.acted.entry(Kind::of(&row.order.fault)).or_default();
            *acted += row.acted;
        }
    }

    /// Ledger user of a member.
    fn user(&self, member: usize) -> Result<Uuid> {
        Ok(self.town.network.group.members().get(member).context("a member")?.user)
    }

    fn folder(&self, member: usize) -> PathBuf {
        self.town.network.folder.join(format!("member-{}", member + 1))
    }

    /// What a member has logged.
    fn log(&self, member: usize) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder(member).join("member.log"))?)
    }

    /// The ledger's API as a member that does what it likes.
    fn as_member(&self, member: usize) -> Result<SafeApi> {
        let keys = self.folder(member).join("keys");
        let passphrase = Source { file: Some(keys.join("passphrase")), ..Source::default() }.read()?;
        let ring = Keyring::open(&keys.join(KEY_FILE), &passphrase, Floor::Development)?;
        Ok(SafeApi::new(&self.town.network.ledger_url(), ring.keys().ledger.clone())?)
    }

    async fn status(&self, member: usize) -> Result<Status> {
        self.town.network.members[member].status().await
    }

    /// Waits until a member says something about the ledger.
    async fn doubts(&self, what: &str, member: usize, good: impl Fn(&LedgerDoubts) -> bool) -> Result<LedgerDoubts> {
        until(what, async || Ok(self.status(member).await?.ledger), good).await
    }

    /// Bob pays the process, which must be final to be known.
    async fn pay(&self, hundredths: u128, payload: &[u8]) -> Result<Paid> {
        let extra = Operation::call(self.place.process, payload.to_vec()).encode()?;
        let receivers = self.town.network.group.mix();
        let (asset, amount, references) = (self.town.btc, btc(hundredths), Vec::new());
        let payment = Payment { receivers, asset, amount, extra, references, trace: Uuid::new_v4() };
        Ok(pay(&self.town.bob, &payment, PATIENCE).await?)
    }

    /// The message is delivered.
    async fn arrives(&self, payload: &[u8]) -> Result<()> {
        let found = async || Ok(self.town.payloads(self.place).await?.iter().any(|found| found == payload));
        until(&format!("message {:?}", String::from_utf8_lossy(payload)), found, |found| *found).await?;
        Ok(())
    }

    /// A payment that t members must sign the message of.
    async fn goes_in(&self, payload: &[u8]) -> Result<()> {
        self.town.call(&self.town.alice, self.place, btc(1), payload).await?;
        self.arrives(payload).await
    }

    /// A payout that t members must sign.
    async fn goes_out(&self) -> Result<()> {
        let expected = sum([self.town.balance(&self.town.alice).await?, btc(1)])?;
        self.town.pay_out(self.place, btc(1), &self.town.alice, Vec::new()).await?;
        let balance = async || self.town.balance(&self.town.alice).await;
        until("a payout", balance, |found| *found == expected).await?;
        Ok(())
    }

    /// All members have one history, nothing to pay and no doubts; no two have promised different things; and the money adds
    /// up.
    async fn settled(&self) -> Result<()> {
        self.town.agreed().await?;
        for member in 0..self.town.network.members.len() {
            self.doubts("a member without doubts", member, |doubts| *doubts == LedgerDoubts::default()).await?;
        }
        let (coins, books) = (self.town.unspent().await?, self.town.custody(self.place).await?);
        assert_eq!(coins, books, "coins of the group on the ledger, books on the chain");
        let users = [self.town.balance(&self.town.alice).await?, self.town.balance(&self.town.bob).await?];
        assert_eq!(sum(users.into_iter().chain([coins]))?, self.money, "all the money that there is");
        self.promises_should_agree()
    }

    /// Each member's guard log names what it has signed: one digest for a checkpoint, one payload for a coin.
    fn promises_should_agree(&self) -> Result<()> {
        let mut promised = BTreeMap::<String, BTreeMap<String, BTreeSet<usize>>>::new();
        for member in 0..self.town.network.members.len() {
            let log = std::fs::read_to_string(self.folder(member).join("lockstep.guards.log"))?;
            for line in log.lines().skip(1) {
                let words: Vec<_> = line.split(' ').collect();
                let [_, kind @ ("checkpoint" | "coin"), what, value, _] = words.as_slice() else { continue };
                let of = promised.entry(format!("{kind} {what}")).or_default();
                of.entry((*value).to_owned()).or_default().insert(member);
            }
        }
        // A coin passes to the next payload where a stranger has killed the one before.
        let stolen = self.acted.contains_key(&Kind::StealKeys);
        for (what, values) in &promised {
            ensure!(values.len() == 1 || stolen && what.starts_with("coin"), "members signed {what} as {values:?}");
        }
        let all = |kind: &str| {
            let mut of = promised.iter().filter(|(what, _)| what.starts_with(kind));
            of.any(|(_, values)| values.values().any(|by| by.len() >= 3))
        };
        ensure!(all("checkpoint") && all("coin"), "three members have signed some of both");
        Ok(())
    }

    /// Everything that this stage has to show has acted.
    async fn end(mut self, stage: Stage) -> Result<()> {
        self.clear().await?;
        self.settled().await?;
        for kind in Kind::ALL.into_iter().filter(|kind| kind.stage() == stage) {
            let acted = self.acted.get(&kind);
            ensure!(acted.is_some_and(|acted| *acted > 0 || !kind.is_counted()), "{kind:?} was not shown: {acted:?}");
        }
        self.town.network.stop().await
    }
}

fn sum(amounts: impl IntoIterator<Item = Amount>) -> Result<Amount> {
    amounts.into_iter().try_fold(Amount::ZERO, Amount::checked_add).context("too much money")
}
