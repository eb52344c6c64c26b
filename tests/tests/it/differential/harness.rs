//! A chain with the contract that computes cases, and how many of them there are.

use std::time::Duration;

use alloy::network::TransactionBuilder as _;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider as _;
use alloy::rpc::json_rpc::{RpcRecv, RpcSend};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::anvil::{Anvil, AnvilConfig, DEVELOPER};
use lockstep::evm::provider::{EvmProvider, provider};
use rand::RngExt as _;

use super::random::{Random, seed};

/// Cases of each kind where nothing else is said.
const CASES: usize = 1_000;
/// A chain id of development, until a case wants another.
pub(super) const CHAIN_ID: u64 = 31_337;
/// Below the 2²⁴ that a transaction may have (EIP-7825).
const GAS_LIMIT: u64 = 16_000_000;
/// A local chain mines a transaction in milliseconds.
const MINED_TIMEOUT: Duration = Duration::from_secs(60);

mod generated {
    alloy::sol!(
        #[sol(rpc)]
        Differential,
        "../contracts/abi/Differential.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        Accounts,
        "../contracts/abi/Accounts.json"
    );
    alloy::sol!(
        #[sol(all_derives)]
        Account,
        "../contracts/abi/Account.json"
    );
}
pub(super) use self::generated::{Account as AccountContract, Accounts, Differential};
pub(super) type Harnessed = Differential::DifferentialInstance<EvmProvider>;

/// Cases of one kind, computed on a chain.
pub(super) struct Harness {
    what: &'static str,
    anvil: Anvil,
    pub(super) provider: EvmProvider,
    /// The contract's code, to be put anywhere.
    code: Bytes,
    /// Of this kind of case alone, so that one kind does not change another.
    pub(super) random: Random,
    left: usize,
    equal: usize,
}

impl Harness {
    pub(super) async fn start(what: &'static str) -> Result<Self> {
        let anvil = Anvil::start(&AnvilConfig { block_time_s: None, ..AnvilConfig::new(CHAIN_ID) }).await?;
        let provider = provider(&anvil.url())?;
        provider.client().set_poll_interval(Duration::from_millis(5));
        let random = Random::of(what)?;
        let mut harness = Self { what, anvil, provider, code: Bytes::new(), random, left: cases()?, equal: 0 };
        let deployed = harness.deploy(TransactionRequest::default().with_deploy_code(creation()?)).await?;
        harness.code = harness.provider.get_code_at(deployed).await?;
        Ok(harness)
    }

    /// How many cases the next call takes, at most `most`; `None` when all are done.
    pub(super) fn batch(&mut self, most: usize) -> Option<usize> {
        let size = self.left.min(most);
        self.left -= size;
        (size != 0).then_some(size)
    }

    /// The contract at an address and on a chain that nobody has been before.
    pub(super) async fn somewhere(&mut self) -> Result<(u64, Harnessed)> {
        let (chain, address) = (self.random.number().max(1), Address::new(self.random.rng.random()));
        self.rpc::<()>("anvil_setChainId", (chain,)).await?;
        self.rpc::<()>("anvil_setCode", (address, self.code.clone())).await?;
        Ok((chain, Differential::new(address, self.provider.clone())))
    }

    /// Holds the answers against each other and counts them.
    pub(super) fn compare<T: PartialEq + std::fmt::Debug>(&mut self, rust: &[T], solidity: &[T]) {
        assert_eq!(rust.len(), solidity.len(), "{}: answers", self.what);
        for (rust, solidity) in rust.iter().zip(solidity) {
            assert_eq!(rust, solidity, "{}: case {} (left: Rust, right: Solidity)", self.what, self.equal);
            self.equal += 1;
        }
    }

    pub(super) async fn rpc<T: RpcRecv>(&self, method: &'static str, params: impl RpcSend) -> Result<T> {
        Ok(self.provider.raw_request(method.into(), params).await?)
    }

    pub(super) async fn deploy(&self, request: TransactionRequest) -> Result<Address> {
        self.mine(request.from(DEVELOPER)).await?.contract_address.context("a deployment has an address")
    }

    /// Sends a transaction from an account whose key the chain holds, and waits for its receipt.
    pub(super) async fn mine(&self, request: TransactionRequest) -> Result<TransactionReceipt> {
        let sent = self.provider.send_transaction(request.gas_limit(GAS_LIMIT)).await?;
        let receipt = sent.with_timeout(Some(MINED_TIMEOUT)).get_receipt().await?;
        ensure!(receipt.status(), "a transaction of {} reverted", self.what);
        Ok(receipt)
    }

    /// Says how many cases were equal, and stops the chain.
    pub(super) async fn finish(self) -> Result<()> {
        ensure!(self.equal != 0 && self.left == 0, "{}: nothing was compared", self.what);
        println!(
            "differential: {:<28} {:>6} cases equal in Rust and Solidity (seed {})",
            self.what,
            self.equal,
            seed()?
        );
        Ok(self.anvil.stop().await?)
    }
}

fn cases() -> Result<usize> {
    match std::env::var("LOCKSTEP_DIFFERENTIAL_CASES") {
        Ok(text) => text.parse().with_context(|| format!("LOCKSTEP_DIFFERENTIAL_CASES={text} is no number of cases")),
        Err(_) => Ok(CASES),
    }
}

/// What makes the contract. Read when the test runs, so that a changed contract needs no build of the tests.
fn creation() -> Result<Bytes> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/abi/Differential.json");
    let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    Ok(artifact["bytecode"]["object"].as_str().context("the export has a bytecode")?.parse()?)
}

/// Where a contract comes to stand that the harness creates.
pub(super) fn salted(creator: Address, code: &Bytes) -> Address {
    creator.create2_from_code(B256::ZERO, code)
}
