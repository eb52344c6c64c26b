//! What became of each payment, told by four databases, by the ledger and by the contract, which must all say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::network::{CHAIN, Network};
use lockstep::evm::abi::{Group, Vault};
use lockstep::evm::calldata::process_word;
use lockstep::ledger::KernelNodes;
use lockstep::ledger::wire::{Hex32, OutputRow, OutputState};
use lockstep::store::Store;
use lockstep_core::operation::{Operation, purpose};
use lockstep_core::output::CoinId;
use lockstep_core::{Account, Address, B256, Uuid};

use super::mix::{ASSETS, Ending, Kind, XIN_PLACE, grants};
use super::town::{GRANT, Made, Town, rows};

/// Money that one party has of one asset.
type Held = BTreeMap<(usize, usize), u128>;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Payments and how their outputs ended, by kind.
    pub kinds: BTreeMap<Kind, BTreeMap<Ending, usize>>,
    /// Payments of each kind.
    pub payments: BTreeMap<Kind, usize>,
    /// The group's money, by asset.
    pub assets: Vec<AssetBooks>,
    /// What contracts paid out, refunds among them.
    pub outbounds: u64,
    /// How long payers took.
    pub paying: Duration,
    /// How long it took until nothing was open.
    pub settling: Duration,
}

/// Both sides of the group's money in one asset, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssetBooks {
    /// The asset on the ledger's API.
    pub asset: Uuid,
    /// Coins of the group on the ledger.
    pub coins: u128,
    /// What processes have in custody at the contract.
    pub custody: u128,
    /// Unclaimed coins.
    pub unclaimed: u128,
    /// Registration fees.
    pub fees: u128,
}

impl AssetBooks {
    /// Both sides are equal.
    pub const fn agree(&self) -> bool {
        self.coins == self.custody + self.unclaimed + self.fees
    }
}

const fn coin(transaction: Hex32, index: u16) -> CoinId {
    CoinId { transaction: B256::new(transaction.0), index }
}

/// What must have become of all payments, and where to look.
pub(super) struct Books<'a> {
    network: &'a Network,
    town: &'a Town,
    vault: Address,
    made: &'a [Made],
    /// What each party must have in the end.
    expected: Held,
}

impl<'a> Books<'a> {
    pub(super) fn new(network: &'a Network, town: &'a Town, vault: Address, made: &'a [Made]) -> Self {
        Self { network, town, vault, made, expected: expected(made) }
    }

    /// Outbounds that contracts must have sent: what they pay out, and what they give back.
    pub(super) fn expected_outbounds(&self) -> u64 {
        let pays = |made: &&Made| made.order.kind.withdraws() || made.order.kind.is_refused_by_contract();
        self.made.iter().filter(pays).map(|_| 1_u64).sum()
    }

    /// Outbounds that were sent so far.
    pub(super) async fn outbounds(&self) -> Result<u64> {
        Ok(self.contract()?.outboundNonce().call().await?)
    }

    /// Members have applied all there is, each mailbox is delivered, and every party has what it must have.
    pub(super) async fn is_settled(&self, applied: u64) -> Result<bool> {
        let more = rows(&self.network.as_user("alice")?, &self.town.group, None, applied.saturating_add(1)).await?;
        Ok(more.is_empty() && self.delivered().await? && self.held().await? == self.expected)
    }

    /// The whole account.
    pub(super) async fn audit(&self, paying: Duration, settling: Duration) -> Result<Report> {
        ensure!(self.delivered().await?, "a mailbox is not delivered to its end");
        let classes = self.classes().await?;
        let rows = rows(&self.network.as_user("alice")?, &self.town.group, None, 0).await?;
        let found: BTreeMap<_, _> = rows.iter().map(|row| (row.output_id, row)).collect();
        ensure!(found.len() == rows.len(), "the ledger lists an output twice");
        let kinds = self.endings(&classes, &found)?;
        self.ledger_should_say_the_same(&rows).await?;
        self.strangers_should_not_be_there(&rows, &classes)?;
        let held = self.held().await?;
        for (key, expected) in &self.expected {
            let has = held.get(key).copied().unwrap_or_default();
            ensure!(has == *expected, "party {} has {has} units of asset {}, not {expected}", key.0, key.1);
        }
        self.contract_should_credit_everybody().await?;
        let assets = self.assets(&rows, &classes).await?;
        let mut payments = BTreeMap::<Kind, usize>::new();
        self.made.iter().for_each(|made| *payments.entry(made.order.kind).or_default() += 1);
        let outbounds = self.outbounds().await?;
        ensure!(outbounds == self.expected_outbounds(), "{outbounds} outbounds, not {}", self.expected_outbounds());
        Ok(Report { kinds, payments, assets, outbounds, paying, settling })
    }

    /// How each output ended, as all members say.
    async fn classes(&self) -> Result<BTreeMap<Uuid, String>> {
        let mut all = Vec::new();
        for home in &self.network.homes {
            let store = Store::open_unclaimed(&home.folder.join("lockstep.db")).await?;
            all.push(store.classes().await?);
            store.close().await;
        }
        ensure!(all.windows(2).all(|pair| pair[0] == pair[1]), "members say different things of an output");
        all.pop().context("no member")
    }

    /// Each output of each payment ended once and as its kind must.
    fn endings(
        &self,
        classes: &BTreeMap<Uuid, String>,
        found: &BTreeMap<Uuid, &OutputRow>,
    ) -> Result<BTreeMap<Kind, BTreeMap<Ending, usize>>> {
        let mut kinds = BTreeMap::<Kind, BTreeMap<Ending, usize>>::new();
        for made in self.made {
            let kind = made.order.kind;
            for output in &made.outputs {
                let class = classes.get(output).with_context(|| format!("members do not know output {output}"))?;
                let ending = match class.as_str() {
                    "call" => Ending::Message,
                    "refund" | "return" => Ending::Refund,
                    "unclaimed" => Ending::Unclaimed,
                    other => anyhow::bail!("output {output} ({}) ended as {other}", kind.label()),
                };
                ensure!(ending == kind.ending(), "output {output} ({}) ended as {class}", kind.label());
                ensure!((class == "return") == (kind == Kind::Collectible), "output {output} ended as {class}");
                let row = found.get(output).with_context(|| format!("the ledger does not list output {output}"))?;
                ensure!(row.amount.units() == made.order.units, "output {output} is not what was paid");
                let kept = row.state == OutputState::Unspent;
                ensure!(kept || ending != Ending::Unclaimed, "the unclaimed output {output} was spent");
                ensure!(!kept || ending != Ending::Refund, "the refunded output {output} is still there");
                *kinds.entry(kind).or_default().entry(ending).or_default() += 1;
            }
        }
        Ok(kinds)
    }

    /// Without a look at any member: what came back to whom. Each output that must be refunded came back once, in full and
    /// to who paid it, and no other one did; collectibles are what they were.
    async fn ledger_should_say_the_same(&self, of_group: &[OutputRow]) -> Result<()> {
        let coins = of_group.iter().map(|row| coin(row.transaction_hash, row.output_index)).collect();
        let kernel = KernelNodes::new(&self.network.kernel_urls(), 2)?;
        let mut marks = BTreeMap::new();
        let mut refused = 0_usize;
        for (party, owner) in self.town.parties.iter().enumerate() {
            for row in owner.received().await? {
                let Ok((_, operation)) = Operation::from_memo(&row.extra.0) else { continue };
                if operation.purpose != purpose::REFUND || !self.is_of_group(&row, &coins, &kernel).await? {
                    continue;
                }
                match Uuid::from_slice(&operation.extra) {
                    Ok(output) => {
                        let back = (party, row.kernel_asset_id, row.amount.units(), row.inscription_hash);
                        ensure!(marks.insert(output, back).is_none(), "output {output} was refunded twice");
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        for made in self.made.iter().filter(|made| made.order.kind.ending() == Ending::Refund) {
            let order = &made.order;
            let inscription = (order.kind == Kind::Collectible).then(|| self.town.inscription(order).0);
            for output in &made.outputs {
                let back = marks.remove(output).with_context(|| format!("output {output} was not refunded"))?;
                let (party, asset, units, inscribed) = back;
                let right = (party, asset, units) == (order.party, self.town.asset(order.asset), order.units);
                ensure!(right, "output {output} ({}) was refunded as {back:?}", order.kind.label());
                ensure!(inscribed.map(|hash| hash.0) == inscription, "collectible {output} came back as another");
            }
        }
        ensure!(marks.is_empty(), "{} outputs were refunded that should not be", marks.len());
        let expected = self.made.iter().filter(|made| made.order.kind.is_refused_by_contract()).count();
        ensure!(refused == expected, "contracts refunded {refused} payments, not {expected}");
        Ok(())
    }

    /// The group paid it: as the API's senders say, or the coins of a payment that members brought to the kernel themselves, of
    /// which the API knows no senders.
    async fn is_of_group(&self, row: &OutputRow, coins: &BTreeSet<CoinId>, kernel: &KernelNodes) -> Result<bool> {
        let group = self.town.group.users().unwrap_or_default();
        if !row.senders.is_empty() {
            return Ok(row.senders.iter().all(|sender| group.contains(sender)));
        }
        let found = kernel.transaction(B256::new(row.transaction_hash.0)).await?;
        let spent = found.context("the kernel does not know a listed payment")?.transaction.transaction().coins();
        Ok(spent.is_some_and(|spent| spent.iter().all(|coin| coins.contains(coin))))
    }

    /// All other outputs of the group are its own, registrations and ticks of members.
    fn strangers_should_not_be_there(&self, rows: &[OutputRow], classes: &BTreeMap<Uuid, String>) -> Result<()> {
        let ours: BTreeSet<_> = self.made.iter().flat_map(|made| &made.outputs).copied().collect();
        ensure!(
            ours.len() == self.made.iter().map(|made| made.outputs.len()).sum::<usize>(),
            "an output of two payments"
        );
        for row in rows.iter().filter(|row| !ours.contains(&row.output_id)) {
            let class = classes.get(&row.output_id).map(String::as_str);
            let tick =
                Operation::from_memo(&row.extra.0).is_ok_and(|(_, operation)| operation.purpose == purpose::TICK);
            let known = matches!(class, Some("internal" | "register")) || (class == Some("unclaimed") && tick);
            ensure!(known, "nobody paid output {}, which ended as {class:?}", row.output_id);
        }
        ensure!(classes.len() == rows.len(), "members know {} outputs, the ledger {}", classes.len(), rows.len());
        Ok(())
    }

    /// What each party has on the ledger.
    async fn held(&self) -> Result<Held> {
        let mut held = Held::new();
        for (party, owner) in self.town.parties.iter().enumerate() {
            for row in owner.coins(None).await? {
                let asset = self.town.assets.iter().position(|asset| *asset == row.asset_id);
                let asset = asset.context("a coin of another asset")?;
                *held.entry((party, asset)).or_default() += row.amount.units();
            }
        }
        Ok(held)
    }

    /// What the vault owes each party is what it paid in and did not take out.
    async fn contract_should_credit_everybody(&self) -> Result<()> {
        let credits = credits(self.made);
        let vault = Vault::new(self.vault, &self.network.chain);
        for (party, owner) in self.town.parties.iter().enumerate() {
            for asset in 0..ASSETS {
                let expected = credits.get(&(party, asset)).copied().unwrap_or_default();
                let word = B256::from(self.town.asset(asset).0);
                let found = u128::try_from(vault.balanceOf(Account::of(&owner.mix).0, word).call().await?)?;
                ensure!(
                    found == expected,
                    "the vault owes party {party} {found} units of asset {asset}, not {expected}"
                );
            }
        }
        Ok(())
    }

    /// The group's coins against custody, unclaimed coins and fees. Custody itself is what accounts have in the vault, and
    /// what nobody paid.
    async fn assets(&self, rows: &[OutputRow], classes: &BTreeMap<Uuid, String>) -> Result<Vec<AssetBooks>> {
        let contract = self.contract()?;
        let (credits, mut assets) = (credits(self.made), Vec::new());
        for (asset, id) in self.town.assets.iter().enumerate() {
            let of_asset = || rows.iter().filter(|row| row.asset_id == *id && row.state == OutputState::Unspent);
            let sum = |class: &str| {
                let of_class = of_asset().filter(|row| classes.get(&row.output_id).is_some_and(|found| found == class));
                of_class.map(|row| row.amount.units()).sum::<u128>()
            };
            let word = B256::from(self.town.asset(asset).0);
            let mut custody = 0;
            for process in [self.town.vault, self.network.user("reverter")?] {
                custody += u128::try_from(contract.custody(process_word(process), word).call().await?)?;
            }
            let of_nobody =
                self.made.iter().filter(|made| made.order.kind == Kind::NobodyCall && made.order.asset == asset);
            let owed = credits.iter().filter(|((_, of), _)| *of == asset).map(|(_, units)| units).sum::<u128>()
                + of_nobody.map(|made| made.order.units).sum::<u128>();
            ensure!(custody == owed, "custody of asset {id} is {custody}, accounts have {owed}");
            let coins = of_asset().map(|row| row.amount.units()).sum();
            let books = AssetBooks { asset: *id, coins, custody, unclaimed: sum("unclaimed"), fees: sum("register") };
            ensure!(books.agree(), "the two sides of an asset differ: {books:?}");
            assets.push(books);
        }
        Ok(assets)
    }

    /// The heads at the contract are those of the members.
    async fn delivered(&self) -> Result<bool> {
        let contract = self.contract()?;
        let home = self.network.homes.first().context("no member")?;
        let store = Store::open_unclaimed(&home.folder.join("lockstep.db")).await?;
        let heads = store.heads(CHAIN).await?;
        store.close().await;
        for (process, head) in heads {
            if contract.head(process_word(process)).call().await? != head {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn contract(&self) -> Result<Group::GroupInstance<&lockstep::evm::provider::EvmProvider>> {
        let contract = self.network.group.contract(CHAIN).context("no group contract")?;
        Ok(Group::new(contract, &self.network.chain))
    }
}

/// What each party has in the vault when all is done.
fn credits(made: &[Made]) -> Held {
    let mut credits = Held::new();
    for Made { order, outputs, .. } in made {
        let deposits = matches!(order.kind, Kind::Deposit | Kind::SetDeposit | Kind::Several);
        let units = match order.kind {
            _ if deposits => order.units * outputs.len() as u128,
            kind if kind.withdraws() => order.units - order.part,
            _ => 0,
        };
        *credits.entry((order.party, order.asset)).or_default() += units;
    }
    credits
}

/// What each party has on the ledger when all is done.
fn expected(made: &[Made]) -> Held {
    let orders: Vec<_> = made.iter().map(|made| made.order).collect();
    let mut held: Held = grants(&orders).into_iter().map(|grant| (grant, GRANT)).collect();
    for Made { order, outputs, burnt } in made {
        // A collectible was given to its payer for this payment, and comes back.
        let paid = order.units * outputs.len() as u128;
        let comes_back = order.kind.ending() == Ending::Refund || order.kind.is_refused_by_contract();
        let own = held.entry((order.party, order.asset)).or_default();
        *own += if comes_back { paid } else { 0 };
        *own -= if order.kind.is_given() { 0 } else { paid };
        if order.kind.withdraws() {
            *held.entry((order.to, order.asset)).or_default() += order.part;
        }
        if *burnt > 0 {
            *held.entry((order.party, XIN_PLACE)).or_default() -= burnt;
        }
    }
    held.retain(|_, units| *units > 0);
    held
}
