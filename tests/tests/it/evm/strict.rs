//! A strict process that fails lets its own mailbox wait: it neither burns the submitter's gas nor stops others.

use alloy::primitives::{Address, Bytes};
use alloy::providers::Provider as _;
use anyhow::Result;
use lockstep::evm::submitter::{Step, Submitter};
use lockstep_core::Uuid;
use lockstep_core::message::Message;
use lockstep_core::operation::Policy;

use super::chain::Chain;
use super::members::{Ledger, Rows};
use super::submitter::{START, deliver_all, settled, submitter};

const A: Uuid = Uuid::from_u128(0xa);
const S: Uuid = Uuid::from_u128(0x5);
/// Reverts.
const REVERTS: &str = "0x5f5ffd";
/// More than the first wait of a mailbox.
const LATER: u64 = 11_000;

/// A calm process, and a strict one beside it, both alive.
struct Town {
    chain: Chain,
    ledger: Ledger,
    vault: Address,
    strict: Address,
    good: Bytes,
    submitter: Submitter<Rows, Ledger>,
}

impl Town {
    async fn start() -> Result<Self> {
        let chain = Chain::start().await?;
        let ledger = Ledger::of(&chain)?;
        let (vault, strict) = (chain.vault(A).await?, chain.vault(S).await?);
        ledger.register(A, vault);
        ledger.register_with(S, strict, Policy::Strict);
        let good = chain.provider.get_code_at(strict).await?;
        let mut submitter = submitter(&chain, &ledger, &Rows::default(), 0);
        deliver_all(&mut submitter).await?;
        Ok(Self { chain, ledger, vault, strict, good, submitter })
    }

    async fn turn(&self, code: &str) -> Result<()> {
        self.chain.rpc::<()>("anvil_setCode", (self.strict, code)).await
    }

    async fn automine(&self, on: bool) -> Result<()> {
        self.chain.rpc::<()>("evm_setAutomine", (on,)).await
    }

    /// Transactions that the submitter has paid for.
    async fn sent(&self) -> Result<u64> {
        Ok(self.chain.provider.get_transaction_count(self.submitter.address()).await?)
    }

    async fn held(&self, contract: Address, message: &Message) -> Result<u128> {
        self.chain.balance_of(contract, message).await
    }

    /// Estimates while the strict process is good, and turns it before the delivery is in a block.
    async fn deliver_to_a_liar(&mut self, now: u64) -> Result<()> {
        self.turn(&self.good.to_string()).await?;
        self.automine(false).await?;
        let step = settled(&mut self.submitter, now).await?;
        assert!(matches!(step, Step::Sent { .. }), "{step:?}");
        self.turn(REVERTS).await?;
        self.chain.mine(1).await?;
        self.automine(true).await
    }
}

#[tokio::test]
async fn a_strict_process_that_fails_should_cost_nothing_and_stop_nobody() -> Result<()> {
    let mut town = Town::start().await?;
    town.turn(REVERTS).await?;
    let before = town.sent().await?;
    let stuck = town.ledger.pay(S, 7, vec![]);
    let paid = town.ledger.pay(A, 5, vec![]);
    assert_eq!(settled(&mut town.submitter, START).await?, Step::Refused, "the contract names the mailbox that waits");
    assert_eq!(deliver_all(&mut town.submitter).await?, 1);
    assert_eq!(town.held(town.vault, &paid).await?, 5);

    // However often it is asked again, an estimate costs nothing; each time it waits longer.
    let mut now = START;
    for wait in [LATER, 2 * LATER, 4 * LATER, 8 * LATER] {
        now += wait;
        assert_eq!(settled(&mut town.submitter, now).await?, Step::Refused);
        assert_eq!(settled(&mut town.submitter, now + 1).await?, Step::Idle);
    }
    assert_eq!(town.sent().await?, before + 1, "one transaction, for the other mailbox");

    town.turn(&town.good.to_string()).await?;
    assert!(matches!(settled(&mut town.submitter, now + 16 * LATER).await?, Step::Sent { .. }));
    assert_eq!(settled(&mut town.submitter, now + 16 * LATER).await?, Step::Idle);
    assert_eq!(town.held(town.strict, &stuck).await?, 7, "it goes on where it waited");
    Ok(())
}

#[tokio::test]
async fn a_strict_process_that_fails_in_blocks_only_should_end_up_alone() -> Result<()> {
    let mut town = Town::start().await?;
    town.ledger.pay(S, 7, vec![]);
    let paid = town.ledger.pay(A, 5, vec![]);
    // Once for want of gas, as far as anybody can tell, and once for a reason that is nobody's yet.
    for _ in 0..2 {
        town.deliver_to_a_liar(START).await?;
        assert_eq!(town.held(town.vault, &paid).await?, 0, "the delivery of both reverted");
    }
    // From now on each goes alone, so the other is delivered, and the liar alone fails, once, and waits.
    for _ in 0..2 {
        town.deliver_to_a_liar(START).await?;
    }
    assert_eq!(town.held(town.vault, &paid).await?, 5);
    let before = town.sent().await?;
    town.turn(&town.good.to_string()).await?;
    assert_eq!(settled(&mut town.submitter, START).await?, Step::Idle, "its turn comes later");

    // Others do not wait for it, and what it burns takes twice as long each time.
    let more = town.ledger.pay(A, 6, vec![]);
    assert_eq!(deliver_all(&mut town.submitter).await?, 1);
    assert_eq!(town.held(town.vault, &more).await?, 11);
    let mut now = START;
    for wait in [LATER, 2 * LATER, 4 * LATER] {
        now += wait;
        town.deliver_to_a_liar(now).await?;
        town.turn(&town.good.to_string()).await?;
        assert_eq!(settled(&mut town.submitter, now).await?, Step::Idle);
        assert_eq!(settled(&mut town.submitter, now + wait).await?, Step::Idle);
    }
    assert_eq!(town.sent().await?, before + 4);
    Ok(())
}
