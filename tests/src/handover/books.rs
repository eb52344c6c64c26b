//! What the group has on the ledger, at all its addresses, against its books on the chain.

use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::network::Network;
use lockstep::ledger::wire::{OutputRow, OutputState, PAGE_ROWS_MAX};
use lockstep::ledger::{KernelNodes, OutputQuery};
use lockstep_core::mixin::ids::members_hash;
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, B256, Mix};

use super::payments::{KEPT, Payments, btc};
use super::until;

impl Payments {
    /// Outputs of an address, oldest first.
    async fn outputs(&self, of: &Mix, state: Option<OutputState>) -> Result<Vec<OutputRow>> {
        let query = OutputQuery {
            members: hex::encode(members_hash(&of.users().context("members are users")?)),
            threshold: of.threshold(),
            offset: 0,
            limit: PAGE_ROWS_MAX,
            asset: Some(btc().to_string()),
            state,
        };
        Ok(self.alice.outputs(&query).await?)
    }

    /// Each of alice's payments to the old address behind sequence `switched` was moved to the new one by a transaction of its
    /// own: one coin in, one out, of the same amount. How many.
    pub(super) async fn forwarded(&self, old: &Mix, new: &Mix, switched: u64, kernel: &[String]) -> Result<usize> {
        let late = self.outputs(old, None).await?.into_iter().filter(|row| row.sequence > switched);
        let late: Vec<_> = late.filter(|row| row.senders.contains(&self.alice.user())).collect();
        ensure!(!late.is_empty(), "nobody paid the old address");
        let kernel = KernelNodes::new(kernel, 1)?;
        for row in &late {
            let coin = CoinId { transaction: B256::from(row.transaction_hash.0), index: row.output_index };
            let look = async || {
                for found in self.outputs(new, None).await? {
                    let view =
                        kernel.transaction(B256::from(found.transaction_hash.0)).await?.context("a final one")?;
                    let moved = view.transaction.transaction().clone();
                    if moved.inputs().iter().any(|input| input.coin == coin) {
                        return Ok(Some((moved.inputs().len(), moved.outputs().len(), found.amount)));
                    }
                }
                Ok(None)
            };
            let moved = until("a late payment to be forwarded", look, Option::is_some).await?;
            ensure!(moved == Some((1, 1, row.amount)), "a late payment of {} moved as {moved:?}", row.amount);
        }
        Ok(late.len())
    }

    /// To the last unit: nothing is left at the addresses before, and what the newest has is what the books say.
    pub(super) async fn books(&self, addresses: &[Mix], network: &Network) -> Result<()> {
        let (newest, before) = addresses.split_last().context("an address")?;
        let look = async || {
            let mut left = Vec::new();
            for address in before {
                left.extend(self.outputs(address, Some(OutputState::Unspent)).await?);
            }
            Ok(left.len())
        };
        until("old coins to move", look, |left| *left == 0).await?;
        let pause = self.pause().await;
        let look = async || {
            let rows = self.outputs(newest, Some(OutputState::Unspent)).await?;
            let coins = rows.iter().try_fold(Amount::ZERO, |sum, row| sum.checked_add(row.amount));
            Ok((coins.context("too much money")?, self.custody().await?, open(network).await?))
        };
        until("books and coins to be equal", look, |found| *found == (KEPT, KEPT, 0)).await?;
        drop(pause);
        Ok(())
    }
}

/// Payments of the group that are not final.
async fn open(network: &Network) -> Result<u64> {
    let mut open = 0;
    for member in &network.members {
        open = open.max(member.status().await?.open_payouts);
    }
    Ok(open)
}
