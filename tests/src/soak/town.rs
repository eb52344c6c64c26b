//! The people who pay, what they hold, and how each kind of payment is made.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use lockstep::devnet::ledger::Operator;
use lockstep::devnet::network::{BTC, Network};
use lockstep::devnet::users;
use lockstep::ledger::pay::{PayError, Payment, pay, store};
use lockstep::ledger::wire::{Hex32, OutputRow, OutputState, PAGE_ROWS_MAX};
use lockstep::ledger::{OutputQuery, SafeApi, Seed};
use lockstep::world::ledger::{IssueKeys as _, SubmitPayout as _};
use lockstep_core::mixin::ids::{XIN, members_hash, output_id, storage_cost};
use lockstep_core::mixin::{CoinKeys, RawKey, Script};
use lockstep_core::operation::Operation;
use lockstep_core::output::CoinId;
use lockstep_core::payout::{self, Plan, PlannedOutput, ResolvedCoin};
use lockstep_core::{Amount, AssetId, B256, Mix, Uuid};
use sha2::{Digest as _, Sha256};

use super::Options;
use super::mix::{ASSETS, CLUB_SIZE, Kind, Order, PARTIES, SETS, SEVERAL, STRANGERS, USERS};

/// What each party that pays is given of each asset: more than all its payments together.
pub(super) const GRANT: u128 = 1_000_000_000_000;
/// How long one payment may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(20);
/// People and coins that are made at the same time.
const MADE_AT_ONCE: usize = 8;

/// Users who own coins together, or one of them alone.
pub(super) struct Party {
    pub(super) mix: Mix,
    members: Vec<Arc<SafeApi>>,
}

/// Everybody, and whom they pay.
pub(super) struct Town {
    pub(super) parties: Vec<Party>,
    pub(super) assets: Vec<Uuid>,
    /// The group's ledger address.
    pub(super) group: Mix,
    pub(super) vault: Uuid,
    reverter: Uuid,
    operator: Operator,
    seed: u64,
    command: PayCommand,
}

/// `lockstep pay`, for the first payment with a large payload: the others are made by what it is made of.
struct PayCommand {
    binary: PathBuf,
    group: PathBuf,
    ledger: String,
    /// Where keystores and payloads are written.
    folder: PathBuf,
    /// Number of the payment.
    pays: Option<usize>,
}

/// A payment that is final.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) order: Order,
    /// The group's outputs of it.
    pub(super) outputs: Vec<Uuid>,
    /// What it burnt for storage, in units of XIN.
    pub(super) burnt: u128,
}

impl Town {
    /// Registers everybody and gives them the money that their payments need.
    pub(super) async fn build(network: &Network, options: &Options, orders: &[Order]) -> Result<Self> {
        let seed = options.seed;
        let operator = network.operator.clone();
        let mut assets = vec![BTC, XIN];
        for number in assets.len()..ASSETS {
            let asset = Uuid::new_v5(&BTC, format!("soak/{number}").as_bytes());
            operator.add_asset(asset, &format!("SOAK{number}")).await?;
            assets.push(asset);
        }
        let url = network.ledger_url();
        let make = async |number: usize| {
            let secret = |what: &str| {
                let text = format!("soak/{seed}/{number}/{what}");
                Seed::new(Sha256::digest(text.as_bytes()).into())
            };
            let keystore = operator.add_user(&format!("payer-{number}"), secret("session"), secret("spend")).await?;
            anyhow::Ok(Arc::new(SafeApi::new(&url, keystore)?))
        };
        let users: Vec<_> = stream::iter((0..USERS + STRANGERS).map(make)).buffered(MADE_AT_ONCE).try_collect().await?;
        let alone = |user: &Arc<SafeApi>| Party::new(vec![Arc::clone(user)], 1);
        let mut parties: Vec<_> = users[..USERS].iter().map(alone).collect();
        parties.extend((0..SETS).map(|set| Party::new(users[set..set + 3].to_vec(), 2)));
        parties.push(Party::new(users[..CLUB_SIZE].to_vec(), 1));
        parties.extend(users[USERS..].iter().map(alone));
        ensure!(parties.len() == PARTIES, "a party is missing");
        let (vault, reverter) = (network.user("vault")?, network.user("reverter")?);
        let command = PayCommand {
            binary: options.binary.clone(),
            group: network.group_path.clone(),
            ledger: url,
            folder: network.folder.join("soak"),
            pays: orders.iter().find(|order| order.kind == Kind::LargeToClub).map(|order| order.number),
        };
        let town = Self { parties, assets, group: network.group.mix(), vault, reverter, operator, seed, command };
        let grants = super::mix::grants(orders).into_iter();
        let grant = async |(party, asset): (usize, usize)| {
            let name = Uuid::new_v5(&XIN, format!("grant/{party}/{asset}").as_bytes());
            town.mint(name, asset, GRANT, &town.parties[party].mix, &[]).await
        };
        stream::iter(grants.map(grant)).buffer_unordered(MADE_AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(town)
    }

    /// Name of a payment, for ever.
    fn trace(&self, order: &Order) -> Uuid {
        Uuid::new_v5(&self.vault, format!("soak/{}/{}", self.seed, order.number).as_bytes())
    }

    pub(super) fn asset(&self, asset: usize) -> AssetId {
        AssetId::from_uuid(self.assets[asset])
    }

    /// Which collectible a payment is of.
    pub(super) fn inscription(&self, order: &Order) -> B256 {
        B256::left_padding_from(self.trace(order).as_bytes())
    }

    async fn mint(&self, name: Uuid, asset: usize, units: u128, to: &Mix, extra: &[u8]) -> Result<Uuid> {
        let receivers = to.users().context("only users have coins")?;
        let to = (receivers.as_slice(), to.threshold());
        let minted = self.operator.mint(name, self.assets[asset], Amount::from_units(units), to, extra).await?;
        Ok(minted.output_id)
    }

    /// Makes a payment and waits until it is final.
    pub(super) async fn make(&self, order: &Order) -> Result<Made> {
        let made = match order.kind {
            Kind::Several => self.make_shared(order, SEVERAL, vec![1]).await,
            Kind::SetDeposit | Kind::SetWithdrawal => self.make_shared(order, 1, self.payload(order)).await,
            Kind::SetBadMemo => self.make_of_set(order, 1, b"no operation".to_vec()).await,
            Kind::Collectible => self.make_collectible(order).await,
            Kind::NobodyCall | Kind::NobodyReturn | Kind::NobodyBare => self.make_of_nobody(order).await,
            Kind::LargeToClub | Kind::LargeUnknown => self.make_large(order).await,
            _ => self.make_plain(order).await,
        };
        made.with_context(|| format!("payment {} ({})", order.number, order.kind.label()))
    }

    /// What the vault is told.
    fn payload(&self, order: &Order) -> Vec<u8> {
        let to = match order.kind {
            Kind::Withdrawal | Kind::SetWithdrawal => Vec::new(),
            Kind::ToStranger | Kind::LargeToClub => self.parties[order.to].mix.to_payload(),
            // Not a command: what the vault cannot read, it refuses.
            Kind::LargeUnknown => {
                return (0..order.bytes)
                    .map(|at| (at.wrapping_mul(31) ^ order.number).to_le_bytes()[0] | 0x80)
                    .collect();
            }
            _ => return vec![1],
        };
        [&[2], order.part.to_be_bytes().as_slice(), &to].concat()
    }

    async fn make_plain(&self, order: &Order) -> Result<Made> {
        let process = Uuid::new_v5(&XIN, b"no such process");
        let operation = match order.kind {
            Kind::BadText => None,
            Kind::BadProcess => Some(Operation::call(process, vec![1])),
            Kind::BadPurpose => Some(Operation { purpose: 12, ..Operation::call(self.vault, vec![1]) }),
            Kind::BadReference => Some(Operation::stored_call(self.vault, 15, b"is not there")),
            Kind::Marked => Some(Operation::refund(process)),
            Kind::Reverting => Some(Operation::call(self.reverter, Vec::new())),
            _ => Some(Operation::call(self.vault, self.payload(order))),
        };
        let extra = operation.map_or_else(|| Ok(b"thank you for the fish".to_vec()), |operation| operation.encode())?;
        self.make_single(order, extra, Vec::new(), 0).await
    }

    async fn make_large(&self, order: &Order) -> Result<Made> {
        let payload = self.payload(order);
        let api = &self.parties[order.party].members[0];
        if self.command.pays == Some(order.number) {
            let output = self.command.pay(self, order, &payload).await?;
            return Ok(Made { order: *order, outputs: vec![output], burnt: storage_cost(payload.len()).units() });
        }
        let stored = again(|| store(api, &payload, self.trace(order), PATIENCE)).await?;
        let extra = Operation::stored_call(self.vault, 0, &payload).encode()?;
        self.make_single(order, extra, vec![stored], storage_cost(payload.len()).units()).await
    }

    async fn make_single(&self, order: &Order, extra: Vec<u8>, references: Vec<B256>, burnt: u128) -> Result<Made> {
        let (asset, amount) = (self.asset(order.asset), Amount::from_units(order.units));
        let trace = self.trace(order);
        let payment = Payment { receivers: self.group.clone(), asset, amount, extra, references, trace };
        let api = &self.parties[order.party].members[0];
        let paid = again(|| pay(api, &payment, PATIENCE)).await?;
        Ok(Made { order: *order, outputs: paid.outputs.into_iter().take(1).collect(), burnt })
    }

    async fn make_shared(&self, order: &Order, outputs: usize, payload: Vec<u8>) -> Result<Made> {
        self.make_of_set(order, outputs, Operation::call(self.vault, payload).encode()?).await
    }

    /// Several outputs to the group, or one by several users: out of the party's largest coin.
    async fn make_of_set(&self, order: &Order, outputs: usize, extra: Vec<u8>) -> Result<Made> {
        let party = &self.parties[order.party];
        let rows = party.coins(Some(self.asset(order.asset))).await?;
        let coin = rows.into_iter().filter(|row| row.inscription_hash.is_none()).max_by_key(|row| row.amount);
        let coin = coin.context("a party without money")?;
        self.make_out_of(order, &coin, outputs, extra).await
    }

    /// A coin that is a collectible, with a memo that would make a message of any other.
    async fn make_collectible(&self, order: &Order) -> Result<Made> {
        let party = &self.parties[order.party];
        let coin = self.mint(self.trace(order), order.asset, order.units, &party.mix, &[]).await?;
        self.operator.inscribe(coin, Hex32(self.inscription(order).0)).await?;
        let coin = party.members[0].output(coin).await?;
        ensure!(coin.inscription_hash.is_some(), "the coin is no collectible");
        self.make_out_of(order, &coin, 1, Operation::call(self.vault, vec![1]).encode()?).await
    }

    async fn make_out_of(&self, order: &Order, coin: &OutputRow, outputs: usize, extra: Vec<u8>) -> Result<Made> {
        let party = &self.parties[order.party];
        let paid = PlannedOutput { receivers: self.group.clone(), amount: Amount::from_units(order.units) };
        let mut planned = vec![paid; outputs];
        let spent = order.units * outputs as u128;
        let change = coin.amount.units().checked_sub(spent).context("too little money")?;
        if change > 0 {
            planned.push(PlannedOutput { receivers: party.mix.clone(), amount: Amount::from_units(change) });
        }
        let transaction = party.spend(self.trace(order), coin, planned, extra).await?;
        let id = |index: usize| anyhow::Ok(output_id(&CoinId { transaction, index: u16::try_from(index)? }));
        Ok(Made { order: *order, outputs: (0..outputs).map(id).collect::<Result<_>>()?, burnt: 0 })
    }

    async fn make_of_nobody(&self, order: &Order) -> Result<Made> {
        let back = self.parties[order.party].mix.to_payload();
        let extra = match order.kind {
            Kind::NobodyCall => Operation::call(self.vault, vec![1]).encode()?,
            Kind::NobodyReturn => {
                let nowhere = Operation::call(Uuid::new_v5(&XIN, b"no such process"), vec![1]);
                Operation { return_address: Some(back), ..nowhere }.encode()?
            }
            _ => Vec::new(),
        };
        let output = self.mint(self.trace(order), order.asset, order.units, &self.group, &extra).await?;
        Ok(Made { order: *order, outputs: vec![output], burnt: 0 })
    }
}

impl PayCommand {
    /// Pays as a user would who types it; the output that the command names.
    async fn pay(&self, town: &Town, order: &Order, payload: &[u8]) -> Result<Uuid> {
        let payer = &town.parties[order.party].members[0];
        users::save(&self.folder, "payer", payer.keystore())?;
        let file = self.folder.join("payload");
        std::fs::write(&file, payload)?;
        let mut command = tokio::process::Command::new(&self.binary);
        command.arg("pay").arg("--user").arg(self.folder.join("payer.json")).arg("--group").arg(&self.group);
        command.arg("--ledger").arg(&self.ledger).arg("--payload-file").arg(&file);
        let (asset, amount) = (town.assets[order.asset].to_string(), Amount::from_units(order.units).to_string());
        command.args(["--asset", &asset, "--amount", &amount, "--process", &town.vault.to_string()]);
        command.args(["--trace", &town.trace(order).to_string()]);
        let said = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        ensure!(said.status.success(), "lockstep pay: {}", String::from_utf8_lossy(&said.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        ensure!(answer["payload_transaction"].is_string(), "nothing was stored: {answer}");
        Ok(answer["output_id"].as_str().context("no output")?.parse()?)
    }
}

impl Party {
    fn new(members: Vec<Arc<SafeApi>>, threshold: u8) -> Self {
        Self { mix: Mix::of_users(members.iter().map(|member| member.user()), threshold), members }
    }

    /// What it can spend.
    pub(super) async fn coins(&self, asset: Option<AssetId>) -> Result<Vec<OutputRow>> {
        let rows = rows(&self.members[0], &self.mix, Some(OutputState::Unspent), 0).await?;
        Ok(rows.into_iter().filter(|row| asset.is_none_or(|asset| row.kernel_asset_id == asset)).collect())
    }

    /// All that it ever got.
    pub(super) async fn received(&self) -> Result<Vec<OutputRow>> {
        rows(&self.members[0], &self.mix, None, 0).await
    }

    /// Spends one coin as a group does: so many of its members sign as it takes.
    async fn spend(&self, trace: Uuid, coin: &OutputRow, outputs: Vec<PlannedOutput>, extra: Vec<u8>) -> Result<B256> {
        let id = CoinId { transaction: B256::new(coin.transaction_hash.0), index: coin.output_index };
        let resolved = ResolvedCoin { id, amount: coin.amount };
        let seed = payout::Seed::new(B256::left_padding_from(trace.as_bytes()).0);
        let plan = Plan::of_parts((trace, 0), coin.kernel_asset_id, &[resolved], outputs, extra)?;
        let senders = self.mix.users().context("only users own coins here")?;
        let keys = self.members[0].issue_keys(&senders, &plan.key_requests(&seed)).await?;
        let transaction = plan.build(&seed, &keys)?;
        let keys = coin.keys.iter().map(|key| RawKey(key.0)).collect();
        let keys = [CoinKeys { keys, script: Script::of_threshold(coin.receivers_threshold) }];
        for member in self.members.iter().take(self.mix.threshold().into()) {
            let registered = member.register(trace, &transaction).await?;
            let spend = member.keystore().spend_key();
            let part = payout::sign(&transaction, &keys, &registered.views, &spend)?;
            member.add_signatures(trace, &payout::with_part(&transaction, &keys, &part)?).await?;
        }
        let begun = Instant::now();
        while self.members[0].transaction(trace).await?.state != OutputState::Spent {
            ensure!(begun.elapsed() < PATIENCE, "a payment of several does not become final");
            tokio::time::sleep(LOOK).await;
        }
        Ok(transaction.hash())
    }
}

/// A payment that is named by its trace may be made again, which a busy ledger makes necessary.
async fn again<T>(make: impl AsyncFn() -> Result<T, PayError>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match make().await {
            Err(error) if error.retryable() && begun.elapsed() < PATIENCE => tokio::time::sleep(LOOK).await,
            made => return Ok(made?),
        }
    }
}

/// Outputs of an address from a sequence on, oldest first, as `api`'s user is told.
pub(super) async fn rows(api: &SafeApi, of: &Mix, state: Option<OutputState>, from: u64) -> Result<Vec<OutputRow>> {
    let members = hex::encode(members_hash(&of.users().context("members are users")?));
    let (threshold, limit) = (of.threshold(), PAGE_ROWS_MAX);
    let mut query = OutputQuery { members, threshold, offset: from, limit, asset: None, state };
    let mut all: Vec<OutputRow> = Vec::new();
    loop {
        let page = api.outputs(&query).await?;
        let whole = page.len() < query.limit;
        all.extend(page);
        match all.last() {
            Some(last) if !whole => query.offset = last.sequence.saturating_add(1),
            Some(_) | None => return Ok(all),
        }
    }
}
