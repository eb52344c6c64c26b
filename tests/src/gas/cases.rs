//! What is measured.

use alloy::primitives::{Address, U256, address};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall as _, SolEvent as _};
use anyhow::{Context as _, Result, ensure};
use lockstep::evm::abi::Group;
use lockstep::evm::calldata::deliver_calldata;
use lockstep::world::chain::Delivery;
use lockstep_core::bls::Dealing;
use lockstep_core::smart_account::{Call, Order};
use lockstep_core::{B256, Uuid};

use super::chain::{Accounts, Asset, Chain};
use super::members::{Members, PROCESSES, Payment, amount, asset, key_of, sender, value_of};
use super::rows::{BURN, DEPOSIT, MEMBERS, ORDER, PAYMENT, Row, SECOND, TANK};

/// The sizes of batches.
const COUNTS: [u32; 3] = [1, 10, 100];
/// Mailboxes of the main case: with the state leaf 1,024 leaves, 10 levels.
const MAILBOXES: u32 = 1_023;
/// Leaves of the cases that show what a level costs: 1, 11 and 16 levels. The second is 1,024 mailboxes.
const LEAVES: [(u32, &str); 3] =
    [(2, "payment, 2 leaves"), (1_025, "payment, 1,025 leaves"), (65_536, "payment, 65,536 leaves")];
/// Processes that the contract knows in the cases that show that nothing else depends on their number: 1, 10 and 17 levels.
const PROCESS_COUNTS: [(u32, &str); 3] =
    [(1, "payment, 1 process"), (1_000, "payment, 1,000 processes"), (100_000, "payment, 100,000 processes")];
/// Bytes of payload with which the floor price of calldata binds.
const LONG_PAYLOAD: usize = 1_024;
/// What a tank repays of what a transaction took, in percent. Zero bytes cost less than a tank takes them for.
const REPAID_PERCENT: (u64, u64) = (97, 104);
/// Selector of transfer(bytes32 asset, uint256 amount), the attribute of an ERC-7786 message.
const TRANSFER_ATTRIBUTE: [u8; 4] = [0x6a, 0x46, 0x73, 0x94];
/// Who delivers: an account that anvil funds and holds the key of.
const DELIVERER: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
/// One secret, dealt to the smallest group that outvotes a liar and to the largest.
const SEED: [u8; 32] = [7; 32];
const SMALL: (u8, u8) = (3, 4);
const LARGE: (u8, u8) = (43, 64);

/// Measures all cases on a chain of its own.
///
/// # Errors
/// Where anvil is missing, or a transaction does not do exactly what its case is about.
pub async fn measure() -> Result<Vec<Row>> {
    let deal = |(threshold, members)| Dealing::from_seed(&SEED, threshold, members);
    let (small, large) = (deal(SMALL)?, deal(LARGE)?);
    let mut bench = Bench { chain: Chain::start(small.group.key()).await?, rows: Vec::new() };
    for (case, payment) in [(PAYMENT, Payment::Some), ("no asset", Payment::None)] {
        for count in COUNTS {
            let gas = bench.first(&small, MAILBOXES, count, payment).await?;
            bench.add(case, count, gas);
        }
    }
    bench.second(&small).await?;
    for (case, dealing) in MEMBERS.into_iter().zip([&small, &large]) {
        let gas = bench.first(dealing, MAILBOXES, 1, Payment::Some).await?;
        bench.add(case, 1, gas);
    }
    for (leaves, case) in LEAVES {
        let gas = bench.first(&small, leaves.saturating_sub(1), 1, Payment::Some).await?;
        bench.add(case, 1, gas);
    }
    for count in COUNTS {
        bench.lost_race(&small, count).await?;
    }
    for count in COUNTS {
        bench.tank(&small, count).await?;
    }
    bench.tank_of_long_payloads(&small).await?;
    bench.send(&small).await?;
    bench.send_message(&small).await?;
    for count in COUNTS.into_iter().take(2) {
        bench.account(&small, DEPOSIT, count).await?;
        bench.account(&small, ORDER, count).await?;
    }
    bench.burn(&small).await?;
    for (processes, case) in PROCESS_COUNTS {
        bench.among(&small, processes, case).await?;
    }
    bench.chain.stop().await?;
    Ok(bench.rows)
}

/// Events of a delivery.
const ACCEPTED: B256 = Group::Accepted::SIGNATURE_HASH;
const DELIVERED: B256 = Group::Delivered::SIGNATURE_HASH;

struct Bench {
    chain: Chain,
    rows: Vec<Row>,
}

impl Bench {
    fn add(&mut self, case: &str, n: u32, gas: u64) {
        self.rows.push(Row::new(case, n, gas));
    }

    /// A delivery of `count` messages to one process under a checkpoint that is new.
    async fn first(&mut self, dealing: &Dealing, mailboxes: u32, count: u32, payment: Payment) -> Result<u64> {
        let mut members = self.begin(dealing, mailboxes).await?;
        let [process, _] = PROCESSES;
        post(&mut members, process, count, payment)?;
        let delivery = members.delivery(&[process])?;
        let receipt = self.deliver(&delivery, &[ACCEPTED, DELIVERED]).await?;
        self.check(&members, count).await?;
        Ok(receipt.gas_used)
    }

    /// Two mailboxes under one checkpoint, a transaction each: the second finds the checkpoint there.
    async fn second(&mut self, dealing: &Dealing) -> Result<()> {
        let mut members = self.begin(dealing, MAILBOXES).await?;
        let [process, other] = PROCESSES;
        post(&mut members, process, 1, Payment::Some)?;
        post(&mut members, other, 1, Payment::Some)?;
        let checkpoint = members.sign()?;
        let first = Delivery { checkpoint: checkpoint.clone(), batches: vec![members.take(other)?] };
        self.deliver(&first, &[ACCEPTED, DELIVERED]).await?;
        let second = Delivery { checkpoint, batches: vec![members.take(process)?] };
        let receipt = self.deliver(&second, &[DELIVERED]).await?;
        self.check(&members, 1).await?;
        self.add(SECOND, 1, receipt.gas_used);
        Ok(())
    }

    /// The same delivery once more: what the member pays who comes second.
    async fn lost_race(&mut self, dealing: &Dealing, count: u32) -> Result<()> {
        let mut members = self.begin(dealing, MAILBOXES).await?;
        let [process, _] = PROCESSES;
        post(&mut members, process, count, Payment::Some)?;
        let delivery = members.delivery(&[process])?;
        self.deliver(&delivery, &[ACCEPTED, DELIVERED]).await?;
        let receipt = self.deliver(&delivery, &[]).await?;
        self.add("lost race", count, receipt.gas_used);
        Ok(())
    }

    /// The first case with a tank, whose slot is in use as is the credit of the deliverer.
    async fn tank(&mut self, dealing: &Dealing, count: u32) -> Result<()> {
        let mut members = self.begin_with_tank(dealing).await?;
        let [process, _] = PROCESSES;
        post(&mut members, process, count, Payment::Some)?;
        let delivery = members.delivery(&[process])?;
        let gas = self.repaid(&delivery, &[ACCEPTED, DELIVERED]).await?;
        self.check(&members, count).await?;
        self.add(TANK, count, gas);
        Ok(())
    }

    /// Where the floor price of calldata binds, the tank must repay that.
    async fn tank_of_long_payloads(&mut self, dealing: &Dealing) -> Result<()> {
        const COUNT: usize = 50;
        let mut members = self.begin_with_tank(dealing).await?;
        let [process, _] = PROCESSES;
        (0..COUNT).try_for_each(|_| members.call_with(process, LONG_PAYLOAD))?;
        let delivery = members.delivery(&[process])?;
        let failed = [Group::Failed::SIGNATURE_HASH; COUNT];
        self.repaid(&delivery, &[&[ACCEPTED][..], &failed, &[DELIVERED]].concat()).await?;
        Ok(())
    }

    async fn begin_with_tank<'a>(&mut self, dealing: &'a Dealing) -> Result<Members<'a>> {
        let mut members = self.begin(dealing, MAILBOXES).await?;
        let [process, _] = PROCESSES;
        self.chain.fund(process, U256::from(10).pow(U256::from(18))).await?;
        members.call(process, 0, Payment::Some)?;
        let delivery = members.delivery(&[process])?;
        self.deliver(&delivery, &[ACCEPTED, DELIVERED]).await?;
        Ok(members)
    }

    /// Delivers, and wants just about all gas of it repaid.
    async fn repaid(&self, delivery: &Delivery, events: &[B256]) -> Result<u64> {
        let before = self.chain.credit(DELIVERER).await?;
        let receipt = self.deliver(delivery, events).await?;
        let credited = self.chain.credit(DELIVERER).await?.saturating_sub(before);
        let paid = U256::from(receipt.effective_gas_price).saturating_mul(U256::from(receipt.gas_used));
        let percent = credited.saturating_mul(U256::from(100)).checked_div(paid).context("gas has a price")?;
        let percent = percent.saturating_to::<u64>();
        let (least, most) = REPAID_PERCENT;
        ensure!((least..most).contains(&percent), "the tank repays {percent} % of {} gas", receipt.gas_used);
        Ok(receipt.gas_used)
    }

    /// A payout to a 32-byte account without a memo, as a transaction that the process's contract itself sends.
    async fn send(&mut self, dealing: &Dealing) -> Result<()> {
        self.begin(dealing, MAILBOXES).await?;
        let contract = *self.chain.receivers.first().context("a receiver")?;
        self.chain.impersonate(contract).await?;
        let call = Group::sendCall {
            asset: B256::from(asset().0),
            amount: U256::from(12_345_678),
            recipient: sender().0.into(),
            memo: Vec::new().into(),
        };
        let receipt = self.chain.call_group(contract, call.abi_encode()).await?;
        expect_events(&receipt, &[Group::Outbound::SIGNATURE_HASH])?;
        self.add("send", 1, receipt.gas_used);
        Ok(())
    }

    /// The same in the words of ERC-7786.
    async fn send_message(&mut self, dealing: &Dealing) -> Result<()> {
        self.begin(dealing, MAILBOXES).await?;
        let contract = *self.chain.receivers.first().context("a receiver")?;
        self.chain.impersonate(contract).await?;
        // Version 1, chain type "LS", no reference, an address of 32 bytes (ERC-7930).
        let recipient = [&[0, 1, 0x4c, 0x53, 0, 32], sender().0.as_slice()].concat();
        let transfer = [&TRANSFER_ATTRIBUTE[..], &asset().0, &[0; 28], &[1, 2, 3, 4]].concat();
        let call = Group::sendMessageCall {
            recipient: recipient.into(),
            payload: Vec::new().into(),
            attributes: vec![transfer.into()],
        };
        let receipt = self.chain.call_group(contract, call.abi_encode()).await?;
        expect_events(&receipt, &[Group::Outbound::SIGNATURE_HASH, Group::MessageSent::SIGNATURE_HASH])?;
        self.add("sendMessage", 1, receipt.gas_used);
        Ok(())
    }

    /// Payments to the smart account of a user that has one: either they stay there as tokens, or an order sends half of
    /// each on and the rest goes back to the ledger.
    async fn account(&mut self, dealing: &Dealing, case: &str, count: u32) -> Result<()> {
        let mut members = self.begin_with_account(dealing).await?;
        let (payload, event) = match case {
            ORDER => (self.order().await?, Accounts::OrderRan::SIGNATURE_HASH),
            _ => (Vec::new(), Accounts::Deposited::SIGNATURE_HASH),
        };
        let [process, _] = PROCESSES;
        (0..count).try_for_each(|_| members.pay(process, payload.clone()))?;
        let receipt = self.chain.call_group(DELIVERER, deliver_calldata(&members.delivery(&[process])?)?).await?;
        ensure!(count_of(&receipt, event) == usize::try_from(count)?, "not all of `{case}` ran");
        self.add(case, count, receipt.gas_used);
        Ok(())
    }

    /// Tokens that go back to the ledger, as a transaction of who holds them.
    async fn burn(&mut self, dealing: &Dealing) -> Result<()> {
        self.begin_with_account(dealing).await?;
        let token = self.chain.token(B256::from(asset().0)).await?;
        let call = Asset::toLedgerCall {
            recipient: sender().0.into(),
            amount: U256::from(12_345_678),
            memo: Vec::new().into(),
        };
        let receipt = self.chain.call(DELIVERER, token, call.abi_encode()).await?;
        ensure!(count_of(&receipt, Group::Outbound::SIGNATURE_HASH) == 1, "nothing went to the ledger");
        self.add(BURN, 1, receipt.gas_used);
        Ok(())
    }

    /// An order that transfers half of a payment to another holder.
    async fn order(&self) -> Result<Vec<u8>> {
        let target = self.chain.token(B256::from(asset().0)).await?;
        let data = Asset::transferCall { to: DELIVERER, value: U256::from(amount().units() / 2) }.abi_encode();
        Ok(Order { keep: false, spender: None, calls: vec![Call { target, data }] }.encode()?)
    }

    /// The accounts process, registered, with an account and a token in use, and tokens in the hands of the deliverer.
    async fn begin_with_account<'a>(&mut self, dealing: &'a Dealing) -> Result<Members<'a>> {
        self.chain.rewind().await?;
        let mut members = Members::new(dealing, self.chain.group, MAILBOXES)?;
        let [process, _] = PROCESSES;
        members.register(process, self.chain.accounts)?;
        members.pay(process, Vec::new())?;
        members.pay(process, self.order().await?)?;
        let receipt = self.chain.call_group(DELIVERER, deliver_calldata(&members.delivery(&[process])?)?).await?;
        ensure!(count_of(&receipt, Accounts::OrderRan::SIGNATURE_HASH) == 1, "the first order did not run");
        Ok(members)
    }

    /// The main case among so many processes, all of them in the contract's state.
    async fn among(&mut self, dealing: &Dealing, processes: u32, case: &str) -> Result<()> {
        self.chain.rewind().await?;
        self.chain.seed(processes.saturating_sub(2)).await?;
        let mut members = self.begin_here(dealing, processes).await?;
        let [process, _] = PROCESSES;
        post(&mut members, process, 1, Payment::Some)?;
        let delivery = members.delivery(&[process])?;
        let receipt = self.deliver(&delivery, &[ACCEPTED, DELIVERED]).await?;
        self.check(&members, 1).await?;
        self.add(case, 1, receipt.gas_used);
        Ok(())
    }

    /// A chain on which the processes are registered and have had a payment each, so that every slot is in use.
    async fn begin<'a>(&mut self, dealing: &'a Dealing, mailboxes: u32) -> Result<Members<'a>> {
        self.chain.rewind().await?;
        self.begin_here(dealing, mailboxes).await
    }

    async fn begin_here<'a>(&mut self, dealing: &'a Dealing, mailboxes: u32) -> Result<Members<'a>> {
        let mut members = Members::new(dealing, self.chain.group, mailboxes)?;
        let processes: Vec<_> = members.processes().collect();
        for (process, receiver) in processes.iter().zip(&self.chain.receivers) {
            members.register(*process, *receiver)?;
            members.call(*process, 0, Payment::Some)?;
        }
        let delivery = members.delivery(&processes)?;
        let registered = Group::Registered::SIGNATURE_HASH;
        let events: Vec<_> = processes.iter().flat_map(|_| [registered, DELIVERED]).collect();
        self.deliver(&delivery, &[&[ACCEPTED], events.as_slice()].concat()).await?;
        Ok(members)
    }

    async fn deliver(&self, delivery: &Delivery, events: &[B256]) -> Result<TransactionReceipt> {
        let receipt = self.chain.call_group(DELIVERER, deliver_calldata(delivery)?).await?;
        expect_events(&receipt, events)?;
        Ok(receipt)
    }

    /// The last call to the first process, the measured one, has written, and the contract is where the members are.
    async fn check(&self, members: &Members<'_>, last: u32) -> Result<()> {
        let [process, _] = PROCESSES;
        let receiver = *self.chain.receivers.first().context("a receiver")?;
        ensure!(self.chain.value_of(receiver, key_of(last)).await? == value_of(last), "the last call did not write");
        ensure!(Some(self.chain.head(process).await?) == members.head(process), "the contract has another head");
        Ok(())
    }
}

fn post(members: &mut Members<'_>, process: Uuid, count: u32, payment: Payment) -> Result<()> {
    (1..=count).try_for_each(|number| members.call(process, number, payment))
}

/// How often an event was emitted.
fn count_of(receipt: &TransactionReceipt, event: B256) -> usize {
    receipt.inner.logs().iter().filter(|log| log.topic0() == Some(&event)).count()
}

/// A figure counts only for a transaction that did this and nothing else: a failed call would show here.
fn expect_events(receipt: &TransactionReceipt, events: &[B256]) -> Result<()> {
    let found: Vec<_> = receipt.inner.logs().iter().filter_map(|log| log.topic0().copied()).collect();
    ensure!(found == events, "events {found:?} instead of {events:?}");
    Ok(())
}
