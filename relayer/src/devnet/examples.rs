//! The example contracts on a development network: deployed, bound, registered.

use std::time::{Duration, Instant};

use alloy::primitives::Address;
use anyhow::{Context, Result, ensure};
use lockstep_core::operation::{Operation, Policy, Registration};
use lockstep_core::{Amount, AssetId, B256, Uuid};
use serde::Deserialize;

use super::network::{CHAIN, Network, run_script};
use crate::evm::abi::Group;
use crate::evm::calldata::process_word;
use crate::keys::XIN;
use crate::ledger::SafeApi;
use crate::ledger::pay::{Paid, Payment, pay};

/// How long a single step may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is awaited.
pub const LOOK: Duration = Duration::from_millis(50);
/// Gas limit of a call of the example contracts.
const CALL_GAS: u32 = 300_000;

/// Where the examples are.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Examples {
    /// Keeps deposits and pays them out.
    pub vault: Address,
    /// Refuses everything.
    pub reverter: Address,
}

impl Network {
    /// Deploys the examples for the processes of the users `vault` and `reverter`. The contracts bind themselves.
    ///
    /// # Errors
    /// With forge's own words.
    pub async fn deploy_examples(&self) -> Result<Examples> {
        let contract = self.group.contract(CHAIN).context("no group contract")?;
        let out = self.folder.join("examples.json");
        let process = |user: &str| anyhow::Ok(B256::left_padding_from(self.user(user)?.as_bytes()).to_string());
        let variables = [
            ("LOCKSTEP_GROUP_CONTRACT", contract.to_string()),
            ("LOCKSTEP_VAULT_PROCESS", process("vault")?),
            ("LOCKSTEP_REVERTER_PROCESS", process("reverter")?),
            ("LOCKSTEP_DEPLOY_OUT", out.display().to_string()),
        ];
        run_script("script/DeployExamples.s.sol:DeployExamples", &variables, &self.chain_url(), &out).await
    }

    /// Registers a contract by a payment of the user who owns its process, and waits until it is alive.
    ///
    /// # Errors
    /// When the payment fails or the registration does not come alive in time.
    pub async fn register(&self, owner: &str, address: Address) -> Result<Paid> {
        self.register_as(owner, address, false).await
    }

    /// The same, for a process that sees masks in the place of its users.
    ///
    /// # Errors
    /// As [`Network::register`].
    pub async fn register_private(&self, owner: &str, address: Address) -> Result<Paid> {
        self.register_as(owner, address, true).await
    }

    async fn register_as(&self, owner: &str, address: Address, private: bool) -> Result<Paid> {
        let process = self.user(owner)?;
        let registration =
            Registration { chain: CHAIN, address, private, policy: Policy::Refund, gas: CALL_GAS, assets: None };
        let memo = Operation::register(process, &registration)?.encode()?;
        let fee = self.group.fee().amount;
        let paid = self.pay(&self.as_user(owner)?, AssetId::from_uuid(XIN), fee, memo).await?;
        let contract = Group::new(self.group.contract(CHAIN).context("no group contract")?, &self.chain);
        let begun = Instant::now();
        while contract.processInfo(process_word(process)).call().await?.target != address {
            ensure!(begun.elapsed() < PATIENCE, "the registration of {process} does not come alive");
            tokio::time::sleep(LOOK).await;
        }
        Ok(paid)
    }

    /// Pays the group as a user, and waits until that is final on the ledger.
    ///
    /// # Errors
    /// Why the ledger did not take it.
    pub async fn pay(&self, user: &SafeApi, asset: AssetId, amount: Amount, extra: Vec<u8>) -> Result<Paid> {
        let payment = Payment {
            receivers: self.group.mix(),
            asset,
            amount,
            extra,
            references: Vec::new(),
            trace: Uuid::new_v4(),
        };
        Ok(pay(user, &payment, PATIENCE).await?)
    }
}
