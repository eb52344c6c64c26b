//! What peers, the submitter and the dashboard ask.

use std::collections::BTreeMap;

use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::frontier::NodePlace;
use lockstep_core::message::{self, FIRST_HEAD, Message};
use lockstep_core::output::Output;
use lockstep_core::{Address, B256, Uuid};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, body, hash, signed, unsigned};

/// One applied sequence: what a checkpoint of it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// Leaves of the frontier after it.
    pub leaves: u32,
}

/// A mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxRow {
    /// Its process.
    pub process: Uuid,
    /// Its leaf in the frontier.
    pub leaf: u32,
    /// The developer contract.
    pub address: Address,
    /// Gas limit of one call.
    pub gas: u32,
}

/// A message that a chain has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// The message.
    pub message: Message,
    /// Head after it.
    pub head: B256,
}

impl Store {
    /// The newest checkpoint whose group signature was recovered here, with that signature.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn newest_signed(&self) -> Result<Option<(Checkpoint, [u8; 48])>, StoreError> {
        let query = "select sequence, history, root, leaves, signature from checkpoint_signatures \
                     join steps using (sequence) order by sequence desc limit 1";
        let Some(row) = sqlx::query(query).fetch_optional(&self.reader).await? else { return Ok(None) };
        let signature: Vec<u8> = row.try_get(4)?;
        let signature = signature.try_into().map_err(|_| StoreError::Corrupt { what: "group signature" })?;
        Ok(Some((step_row(&row)?.checkpoint, signature)))
    }

    /// The newest applied sequence.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn last_step(&self) -> Result<Option<StepRow>, StoreError> {
        let query = "select sequence, history, root, leaves from steps order by sequence desc limit 1";
        let row = sqlx::query(query).fetch_optional(&self.reader).await?;
        row.as_ref().map(step_row).transpose()
    }

    /// The step at exactly `sequence`, if an output was applied there.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn step(&self, sequence: u64) -> Result<Option<StepRow>, StoreError> {
        let row = sqlx::query("select sequence, history, root, leaves from steps where sequence = $1")
            .bind(signed(sequence, "sequence")?)
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(step_row).transpose()
    }

    /// The newest step that is not above `sequence`, if there is one.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn step_before(&self, sequence: u64) -> Result<Option<StepRow>, StoreError> {
        let query = "select sequence, history, root, leaves from steps where sequence <= $1 \
                     order by sequence desc limit 1";
        let row = sqlx::query(query).bind(signed(sequence, "sequence")?).fetch_optional(&self.reader).await?;
        row.as_ref().map(step_row).transpose()
    }

    /// The first output behind `sequence` that was applied in its own place.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn output_after(&self, sequence: u64) -> Result<Option<Output>, StoreError> {
        let query = "select body from outputs where sequence > $1 and not json_extract(body, '$.late') \
                     order by sequence limit 1";
        let row = sqlx::query(query).bind(signed(sequence, "sequence")?).fetch_optional(&self.reader).await?;
        row.map(|row| body(row.try_get(0)?, "output")).transpose()
    }

    /// The newest outputs that are not above `to`, applied or set aside, at most `limit`, ascending.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn outputs_up_to(&self, to: u64, limit: u32) -> Result<Vec<Output>, StoreError> {
        let query = "select body from outputs where sequence <= $1 order by sequence desc limit $2";
        let rows = sqlx::query(query).bind(signed(to, "sequence")?).bind(limit).fetch_all(&self.reader).await?;
        rows.iter().rev().map(|row| body(row.try_get(0)?, "output")).collect()
    }

    /// The frontier node at `place` as it was at `sequence`.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn node(&self, place: NodePlace, sequence: u64) -> Result<Option<B256>, StoreError> {
        let query = "select hash from nodes where level = $1 and place = $2 and sequence <= $3 \
                     order by sequence desc limit 1";
        let row = sqlx::query(query)
            .bind(place.level)
            .bind(place.index)
            .bind(signed(sequence, "sequence")?)
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| hash(row.try_get(0)?, "frontier node")).transpose()
    }

    /// The mailboxes of `chain` in leaf order.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn mailboxes(&self, chain: u64) -> Result<Vec<MailboxRow>, StoreError> {
        let rows = sqlx::query("select process, leaf, address, gas from mailboxes where chain = $1 order by leaf")
            .bind(signed(chain, "chain id")?)
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(mailbox_row).collect()
    }

    /// One mailbox.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn mailbox(&self, process: Uuid) -> Result<Option<MailboxRow>, StoreError> {
        let row = sqlx::query("select process, leaf, address, gas from mailboxes where process = $1")
            .bind(process.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(mailbox_row).transpose()
    }

    /// The newest head of each mailbox of `chain`, in leaf order.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn heads(&self, chain: u64) -> Result<Vec<(Uuid, B256)>, StoreError> {
        let query = "select process, (select head from messages where messages.process = mailboxes.process \
                     order by nonce desc limit 1) from mailboxes where chain = $1 order by leaf";
        let rows = sqlx::query(query).bind(signed(chain, "chain id")?).fetch_all(&self.reader).await?;
        rows.iter().map(head_row).collect()
    }

    /// Nonce of the message after which the mailbox of `process` had `head`, plus one: 0 for the first head, `None` for a
    /// head that this member does not know.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn nonce_at(&self, process: Uuid, head: B256) -> Result<Option<u64>, StoreError> {
        if head == FIRST_HEAD {
            return Ok(Some(0));
        }
        let row = sqlx::query("select nonce from messages where process = $1 and head = $2")
            .bind(process.as_bytes().as_slice())
            .bind(head.as_slice())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(unsigned(row.try_get(0)?, "message nonce")?.checked_add(1))
    }

    /// The messages of `process` from `nonce`, at most `limit`.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn queued(&self, process: Uuid, nonce: u64, limit: u32) -> Result<Vec<QueuedMessage>, StoreError> {
        let query = "select nonce, head, record from messages where process = $1 and nonce >= $2 \
                     order by nonce limit $3";
        let rows = sqlx::query(query)
            .bind(process.as_bytes().as_slice())
            .bind(signed(nonce, "message nonce")?)
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(backlog_row).collect()
    }

    /// How an output ended, as the derivation named it.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn class(&self, output: Uuid) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("select class from classes where output = $1")
            .bind(output.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// How each applied output ended, by output: the name of its class in lower case.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn classes(&self) -> Result<BTreeMap<Uuid, String>, StoreError> {
        let rows = sqlx::query("select output, class from classes").fetch_all(&self.reader).await?;
        let read = |row: &SqliteRow| {
            let output: Vec<u8> = row.try_get(0)?;
            let output = Uuid::from_slice(&output).map_err(|_| StoreError::Corrupt { what: "output id" })?;
            Ok((output, row.try_get(1)?))
        };
        rows.iter().map(read).collect()
    }
}

pub(super) fn step_row(row: &SqliteRow) -> Result<StepRow, StoreError> {
    Ok(StepRow {
        checkpoint: Checkpoint {
            sequence: unsigned(row.try_get(0)?, "sequence")?,
            history: hash(row.try_get(1)?, "history")?,
            root: hash(row.try_get(2)?, "root")?,
        },
        leaves: row.try_get(3)?,
    })
}

fn head_row(row: &SqliteRow) -> Result<(Uuid, B256), StoreError> {
    let (process, head): (Vec<u8>, Option<Vec<u8>>) = (row.try_get(0)?, row.try_get(1)?);
    let process = Uuid::from_slice(&process).map_err(|_| StoreError::Corrupt { what: "process" })?;
    Ok((process, head.map_or(Ok(FIRST_HEAD), |head| hash(&head, "head"))?))
}

fn mailbox_row(row: &SqliteRow) -> Result<MailboxRow, StoreError> {
    let (process, address): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(2)?);
    Ok(MailboxRow {
        process: Uuid::from_slice(&process).map_err(|_| StoreError::Corrupt { what: "process" })?,
        leaf: row.try_get(1)?,
        address: Address::try_from(address.as_slice()).map_err(|_| StoreError::Corrupt { what: "address" })?,
        gas: row.try_get(3)?,
    })
}

fn backlog_row(row: &SqliteRow) -> Result<QueuedMessage, StoreError> {
    let (nonce, record): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(2)?);
    let messages = message::unpack(&record, unsigned(nonce, "message nonce")?);
    let message = messages.ok().and_then(|messages| messages.into_iter().next());
    Ok(QueuedMessage {
        message: message.ok_or(StoreError::Corrupt { what: "message" })?,
        head: hash(row.try_get(1)?, "head")?,
    })
}
