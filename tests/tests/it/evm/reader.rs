//! The reader: gap-free pages, and the alarm when a final block changes.

use anyhow::{Result, bail};
use lockstep::evm::watcher::ChainReader;
use lockstep::world::chain::{ChainError, Contradiction, Cursor, ReadChain as _};
use lockstep_core::derive::Record;
use lockstep_core::group::Finality;
use lockstep_core::{Account, Uuid};

use super::chain::Chain;
use super::members::{Ledger, Rows};
use super::submitter::{deliver_all, submitter};

const PROCESS: Uuid = Uuid::from_u128(7);

/// A chain on which a vault paid out three times in three deliveries.
async fn chain_with_outbounds() -> Result<Chain> {
    let chain = Chain::start().await?;
    let ledger = Ledger::of(&chain)?;
    ledger.register(PROCESS, chain.vault(PROCESS).await?);
    let mut submitter = submitter(&chain, &ledger, &Rows::default(), 0);
    for units in [10, 20, 30] {
        ledger.withdraw(PROCESS, units);
        deliver_all(&mut submitter).await?;
    }
    Ok(chain)
}

/// Reads pages of `blocks` until the newest final block.
async fn read_all(reader: &ChainReader, blocks: u64) -> Result<(Vec<Record>, Cursor)> {
    let (mut records, mut cursor) = (Vec::new(), Cursor::before(0));
    loop {
        let page = reader.records(cursor, blocks).await?;
        records.extend(page.records);
        cursor = page.cursor;
        if cursor.block == page.final_block {
            return Ok((records, cursor));
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_should_hold_the_same_records() -> Result<()> {
    let chain = chain_with_outbounds().await?;
    let reader = ChainReader::new(chain.provider.clone(), chain.contract, Finality::Finalized);
    let (early, _) = read_all(&reader, 100).await?;
    assert!(early.len() < 6, "what is not final was read: {early:?}");
    chain.mine(3).await?;

    let (records, cursor) = read_all(&reader, 100).await?;
    assert_eq!(read_all(&reader, 1).await?, (records.clone(), cursor));
    let depth = ChainReader::new(chain.provider.clone(), chain.contract, Finality::Depth(2));
    assert_eq!(read_all(&depth, 2).await?, (records.clone(), cursor));

    assert_eq!((records.len(), cursor.next_outbound), (6, 3));
    let mut accepted = 0;
    let mut outbounds = Vec::new();
    for record in &records {
        match record {
            Record::Accepted { s, .. } => accepted = *s,
            Record::Outbound(outbound) => {
                assert_eq!((outbound.s, outbound.process), (accepted, PROCESS));
                assert_eq!(outbound.recipient, Account::of_user(Uuid::from_u128(0xa11ce)).0.to_vec());
                outbounds.push((outbound.k, outbound.amount.units()));
            }
        }
    }
    assert_eq!(outbounds, [(0, 10), (1, 20), (2, 30)]);
    assert_eq!(cursor.accepted, accepted);
    for reader in [reader, depth] {
        assert_eq!(reader.key().await?, chain.group_key.public_key());
    }
    Ok(())
}

#[tokio::test]
async fn a_final_block_that_changed_should_halt() -> Result<()> {
    let chain = chain_with_outbounds().await?;
    chain.mine(5).await?;
    let reader = ChainReader::new(chain.provider.clone(), chain.contract, Finality::Finalized);
    let (_, cursor) = read_all(&reader, 100).await?;
    let again = reader.records(cursor, 100).await?;
    assert_eq!((again.records.len(), again.cursor), (0, cursor));

    let nothing: [[u64; 0]; 0] = [];
    chain.rpc::<()>("anvil_reorg", (6_u64, nothing)).await?;
    match reader.records(cursor, 100).await {
        Err(error @ ChainError::Contradiction(Contradiction::BlockChanged { block, was, is })) => {
            assert!(error.is_contradiction());
            assert_eq!((block, Some(was)), (cursor.block, cursor.hash));
            assert_ne!(was, is);
            Ok(())
        }
        other => bail!("no contradiction: {other:?}"),
    }
}

#[tokio::test]
async fn an_endpoint_that_is_behind_should_be_waited_for() -> Result<()> {
    let chain = chain_with_outbounds().await?;
    chain.mine(5).await?;
    let reader = ChainReader::new(chain.provider.clone(), chain.contract, Finality::Finalized);
    let (_, cursor) = read_all(&reader, 100).await?;
    chain.rpc::<()>("anvil_rollback", (3_u64,)).await?;
    let found = reader.records(cursor, 100).await;
    assert!(matches!(&found, Err(error) if !error.is_contradiction()), "{found:?}");
    Ok(())
}
