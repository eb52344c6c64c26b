//! A group that makes its key and hands it on, as real processes on one machine, while payments flow both ways: a member is
//! replaced, others join, the ledger side moves to the new members' addresses.

mod books;
mod payments;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockstep::api::Status;
use lockstep::devnet::ceremony::Cost;
use lockstep::devnet::examples::Examples;
use lockstep::devnet::home::Home;
use lockstep::devnet::network::{Network, NetworkConfig, Ports};
use lockstep::devnet::process::MemberProcess;
use lockstep::keys::{KEY_FILE, Keyring};
use lockstep::store::Store;
use lockstep_core::Mix;
use lockstep_core::group::roster::Roster;
use tokio::sync::watch;

use self::payments::{Early, Payments};

/// No payment may take longer, where a machine has nothing else to do.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// How long anything else may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(50);
/// A member is killed when it has written so many records of a ceremony: before shares are acknowledged, and behind its vote.
const KILLED_AT: [usize; 2] = [2, 7];

/// How large, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members at first.
    pub members: u8,
    /// How many join in the second handover; none leaves it out.
    pub added: u8,
    /// Whether members die meanwhile, and somebody pays the new members too early.
    pub kill: bool,
    /// No payment may take longer.
    pub delay_max: Duration,
    /// Where everything is kept; empty or new.
    pub folder: PathBuf,
    /// The `lockstep` binary.
    pub binary: PathBuf,
}

/// What it took.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each ceremony's name with what it cost each participant.
    pub ceremonies: Vec<(String, Vec<Cost>)>,
    /// Payments in and out that flowed meanwhile.
    pub payments: u32,
    /// Those to an address that the group had left: forwarded, one coin in and one out.
    pub late: usize,
    /// The slowest of them.
    pub slowest: Duration,
}

/// Runs it all, and checks it all.
///
/// # Errors
/// A ceremony that does not end, a key that changes, a payment that is lost, doubled or late, a share that is not erased, books
/// that do not equal coins.
pub async fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report> {
    let Options { members, folder, binary, .. } = options.clone();
    let config = NetworkConfig { folder, binary, ports: Ports::Free, members };
    let mut network = Box::pin(Network::start(config, say)).await?;
    let Examples { vault, .. } = network.deploy_examples().await?;
    network.register("vault", vault).await?;
    let (to, receivers) = watch::channel(network.group.mix());
    let payments = Payments::new(&network, vault, receivers, options.delay_max)?;
    payments.deposit().await?;

    let flow = payments.clone();
    let over = flow.over();
    let handed = async {
        let handed = Box::pin(Handover { network: &mut network, options, payments: &payments, to, say }.run()).await;
        over.cancel();
        handed
    };
    let ((ceremonies, late), slowest) = tokio::try_join!(handed, flow.run())?;
    network.stop().await?;
    Ok(Report { ceremonies, payments: payments.count(), late, slowest })
}

/// Members that come and go.
struct Handover<'a> {
    network: &'a mut Network,
    options: &'a Options,
    payments: &'a Payments,
    /// Where payments go.
    to: watch::Sender<Mix>,
    say: &'a mut dyn FnMut(&str),
}

/// Who holds the key, before or after a handover.
#[derive(Clone)]
struct Holders {
    roster: Roster,
    homes: Vec<Home>,
}

impl Holders {
    /// As many as must sign, from the last one on: who leaves and who came last are among them.
    fn voters(&self) -> Vec<Home> {
        self.homes.iter().rev().take(self.roster.key().threshold().into()).cloned().collect()
    }
}

impl Handover<'_> {
    /// The last member is replaced; then others join.
    async fn run(mut self) -> Result<(Vec<(String, Vec<Cost>)>, usize)> {
        let mut ceremonies = vec![(format!("first, {} members", self.options.members), self.network.costs.clone())];
        let genesis = Holders { roster: self.network.group.roster(), homes: self.network.homes.clone() };
        let mut homes = genesis.homes.clone();
        let left = homes.pop().context("somebody leaves")?;
        homes.push(self.newcomer(&homes, 1).await?);
        let (costs, first, mut late) = Box::pin(self.hand_over(&genesis, homes)).await?;
        ceremonies.push(("one replaced".to_owned(), costs));
        if self.options.kill {
            self.newcomer_should_sign(&first).await?;
        }
        if self.options.added > 0 {
            // Whoever left may go when nothing is left to be moved from the address before.
            self.network.release(&left)?.stop().await?;
            let mut homes = first.homes.clone();
            for number in 1..=self.options.added {
                homes.push(self.newcomer(&homes, number.saturating_add(1)).await?);
            }
            let (costs, _, more) = Box::pin(self.hand_over(&first, homes)).await?;
            ceremonies.push((format!("{} added", self.options.added), costs));
            late = late.saturating_add(more);
        }
        Ok((ceremonies, late))
    }

    /// The `number`th one that comes, to sit behind `homes`.
    async fn newcomer(&self, homes: &[Home], number: u8) -> Result<Home> {
        let seat = u8::try_from(homes.len())?.checked_add(1).context("too many members")?;
        let number = self.options.members.checked_add(number).context("too many members")?;
        self.network.newcomer(number, seat).await
    }

    /// A ceremony, the switch on the ledger, and all that follows from it.
    async fn hand_over(&mut self, old: &Holders, homes: Vec<Home>) -> Result<(Vec<Cost>, Holders, usize)> {
        let binary = &self.options.binary;
        let handed = if self.options.kill {
            self.hand_on_and_kill(old, &homes).await?
        } else {
            self.network.hand_on(&old.roster, &old.homes, &homes, binary).await?
        };
        let new = Holders { roster: handed.roster, homes };
        let generation = new.roster.generation();
        (self.say)(&format!("generation {generation}: {} members hold the same key", new.homes.len()));
        let mark = new.roster.marks().checkpoint;
        ensure!(mark.is_some_and(|mark| mark.checkpoint.sequence > 0), "the roster names no checkpoint to meet");

        let begun = Instant::now();
        for home in newcomers(old, &new.homes) {
            self.network.take_in(home, binary).await?;
            ensure!(
                self.network.service(home)?.status().await?.role == "joining",
                "a new member signs before the switch"
            );
        }
        let early = if self.options.kill { Some(self.payments.too_early(&new.roster.mix()).await?) } else { None };
        // Those who sign until then decide it; one that only comes has no voice yet.
        self.network.switch(&new.roster, &old.voters(), binary).await?;
        let switched = self.all_sign(&new).await?;
        let took = begun.elapsed().as_secs_f32();
        (self.say)(&format!("generation {generation}: signs from the decision on, {took:.1} s after it was proposed"));

        let late = self.late_payments_should_arrive(&old.roster, &new.roster, switched).await?;
        if let Some(early) = early {
            self.early_payment_should_be_admitted(&new, &early).await?;
        }
        self.old_shares_should_go(old, &new).await?;
        newcomers_should_have_met_the_mark(old, &new).await?;
        self.payments.books(&[old.roster.mix(), new.roster.mix()], self.network).await?;
        (self.say)(&format!(
            "generation {generation}: old shares erased, old coins moved, {late} late payments forwarded"
        ));
        Ok((handed.costs, new, late))
    }

    /// A member that stays is killed in the middle of the ceremony, twice, and goes on.
    async fn hand_on_and_kill(
        &mut self,
        old: &Holders,
        homes: &[Home],
    ) -> Result<lockstep::devnet::ceremony::HandedOn> {
        const VICTIM: usize = 1;
        let home = old.homes.get(VICTIM).context("a second member")?;
        let mut victim = self.network.release(home)?;
        let round = old.roster.round().saturating_add(1).max(2);
        let killed = async {
            for records in KILLED_AT {
                kill_at(&mut victim, home, round, records).await?;
            }
            anyhow::Ok(())
        };
        let handed = self.network.hand_on(&old.roster, &old.homes, homes, &self.options.binary);
        let (handed, ()) = tokio::try_join!(handed, killed)?;
        self.network.members.push(victim);
        Ok(handed)
    }

    /// Waits until every member of a roster signs in its generation; the sequence that the slowest had applied by then.
    async fn all_sign(&self, new: &Holders) -> Result<u64> {
        let generation = new.roster.generation();
        let mut applied = 0;
        for home in &new.homes {
            let service = self.network.service(home)?;
            let look = async || service.status().await;
            let good = |status: &Status| status.generation == generation && status.role == "active";
            applied = applied.max(until("a member to sign in the new generation", look, good).await?.sequence);
        }
        Ok(applied)
    }

    /// People go on paying the old address, then learn of the new one.
    async fn late_payments_should_arrive(&self, old: &Roster, new: &Roster, switched: u64) -> Result<usize> {
        let before = self.payments.count();
        // One may be under way since before the switch.
        let more = before.saturating_add(3);
        until("late payments", async || Ok(self.payments.count()), |count| *count >= more).await?;
        self.to.send_replace(new.mix());
        self.payments.forwarded(&old.mix(), &new.mix(), switched, &self.network.kernel_urls()).await
    }

    /// Somebody paid the new members before the switch: it is set aside until a decision gives it a place in the order, and then
    /// it is taken like any other payment. This one says nothing and goes back.
    async fn early_payment_should_be_admitted(&self, new: &Holders, early: &Early) -> Result<()> {
        ensure!(self.payments.bobs().await? < early.had, "nobody has decided about it");
        let [admit, option] = ["admit", "--output"].map(OsStr::new);
        let what = [admit, option, OsStr::new(&early.output)];
        self.network.govern("admit", &what, &new.voters(), &self.options.binary).await?;
        until("the early payment to go back", async || self.payments.bobs().await, |has| *has == early.had).await?;
        Ok(())
    }

    /// Who stays has the new share only, and who leaves has none.
    async fn old_shares_should_go(&self, old: &Holders, new: &Holders) -> Result<()> {
        let generation = new.roster.generation();
        for home in old.homes.iter().chain(&new.homes) {
            let stays = new.homes.iter().any(|other| other.folder == home.folder);
            let expected = BTreeSet::from_iter(stays.then_some(generation));
            until("a share to be erased", async || shares(home), |found| *found == expected).await?;
        }
        Ok(())
    }

    /// Without one of the others, nothing moves unless the newcomer signs.
    async fn newcomer_should_sign(&mut self, new: &Holders) -> Result<()> {
        let spare = new.roster.members().len().saturating_sub(usize::from(new.roster.key().threshold()));
        for home in new.homes.iter().take(spare) {
            self.network.service_mut(home)?.kill().await?;
        }
        let more = self.payments.count().saturating_add(3);
        until("payments that the new member signs", async || Ok(self.payments.count()), |count| *count >= more).await?;
        // Nobody waits for them at the end.
        for home in new.homes.iter().take(spare).filter(|_| self.options.added > 0) {
            self.network.service_mut(home)?.restart(PATIENCE).await?;
        }
        Ok(())
    }
}

/// Their logs say that they met the checkpoint that the group had signed.
async fn newcomers_should_have_met_the_mark(old: &Holders, new: &Holders) -> Result<()> {
    for home in newcomers(old, &new.homes) {
        let log = home.folder.join("member.log");
        let met = async || Ok(std::fs::read_to_string(&log)?.contains("history meets the checkpoint"));
        until("a new member to meet the group's history", met, |met| *met).await?;
    }
    Ok(())
}

/// Those of `homes` that `old` has not.
fn newcomers<'a>(old: &'a Holders, homes: &'a [Home]) -> impl Iterator<Item = &'a Home> {
    homes.iter().filter(|home| !old.homes.iter().any(|other| other.folder == home.folder))
}

/// Kills a member when it has written so many records of a ceremony, and starts it again.
async fn kill_at(member: &mut MemberProcess, home: &Home, round: u32, records: usize) -> Result<()> {
    let store = Store::open_unclaimed(&home.folder.join("lockstep.db")).await?;
    let written = async || {
        let ceremony = store.ceremonies().await?.into_iter().find(|row| row.round == round);
        let Some(row) = ceremony else { return Ok(0) };
        Ok(store.ceremony_records(row.digest).await?.len())
    };
    until("a member to come so far in the ceremony", written, |count| *count >= records).await?;
    store.close().await;
    member.kill().await?;
    member.restart(PATIENCE).await
}

/// Generations of the shares in a member's key file.
fn shares(home: &Home) -> Result<BTreeSet<u32>> {
    let keys = Keyring::peek(&home.folder.join("keys").join(KEY_FILE))?;
    Ok(keys.shares.iter().map(|share| share.generation).collect())
}

/// Looks until what is found is `good`.
async fn until<T: std::fmt::Debug>(
    what: &str,
    look: impl AsyncFn() -> Result<T>,
    good: impl Fn(&T) -> bool,
) -> Result<T> {
    until_in(PATIENCE, what, look, good).await
}

/// The same within a time. A look that fails is no answer: on a busy machine a service may not be heard for seconds, and one
/// that starts again is not there yet.
async fn until_in<T: std::fmt::Debug>(
    patience: Duration,
    what: &str,
    look: impl AsyncFn() -> Result<T>,
    good: impl Fn(&T) -> bool,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let found = look().await;
        match found {
            Ok(found) if good(&found) => return Ok(found),
            found => ensure!(begun.elapsed() < patience, "waited {} s for {what}, found {found:?}", patience.as_secs()),
        }
        tokio::time::sleep(LOOK).await;
    }
}
