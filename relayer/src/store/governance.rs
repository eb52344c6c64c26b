//! Proposals, their operators' approvals, and what this member signed of them; and the member's own switch.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::B256;
use lockstep_core::govern::{Slot, Subject};
use lockstep_core::operation::{DecisionBody, Memo, MemoKind, MemoRules};
use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Pledge, Store, StoreError, body, hash, signed, text, unsigned};

/// Most proposals that are kept without an approval of this member's operator: peers can make up any number of them.
const UNAPPROVED_MAX: i64 = 256;

const BY_DIGEST: &str = "select digest, subject, approved_at, signature, signed_with, submission from proposals \
                         where digest = $1";
const ALL: &str = "select digest, subject, approved_at, signature, signed_with, submission from proposals \
                   order by seen_at, digest";

/// A proposal as this member knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalRow {
    /// What is proposed.
    pub subject: Subject,
    /// What the group signs.
    pub digest: B256,
    /// When this member's operator approved it, in seconds since 1970.
    pub approved_at: Option<u64>,
    /// Members that said they approve.
    pub approvals: BTreeSet<u8>,
    /// The group's signature, recovered and verified, with the key it verifies with.
    pub signature: Option<GroupSigned>,
    /// How it was submitted last.
    pub submission: Option<String>,
}

/// A signature of the group with its key, both compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSigned {
    /// In G1.
    pub signature: [u8; 48],
    /// In G2.
    pub key: [u8; 96],
}

/// A decision that acted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActedDecision {
    /// The ledger sequence from which it acts.
    pub sequence: u64,
    /// Its number.
    pub number: u64,
    /// What it decided.
    pub body: DecisionBody,
}

/// One turn of the member's own switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSwitch {
    /// Whether it signs nothing since then.
    pub stopped: bool,
    /// Seconds since 1970.
    pub at: u64,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Store {
    /// Keeps a proposal that this member was shown. False where it is known, or too many wait without approval.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn keep_proposal(&self, subject: &Subject, now: u64) -> Result<bool, StoreError> {
        let mut tx = self.writing().await?;
        let row = sqlx::query("select count(*) from proposals where approved_at is null").fetch_one(&mut *tx).await?;
        let kept = row.try_get::<i64, _>(0)? < UNAPPROVED_MAX && insert_proposal(&mut tx, subject, now).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// The operator approves exactly this. The signature comes later, from the service.
    ///
    /// # Errors
    /// [`StoreError::Taken`] where another proposal for the same number or nonce is approved or signed already.
    pub async fn approve_proposal(&self, subject: &Subject, now: u64) -> Result<(), StoreError> {
        let (digest, slot) = (digest_of(subject)?, subject.slot());
        let mut tx = self.writing().await?;
        let query = "select digest from governance_guards where slot = $1 \
                     union all select digest from proposals where slot = $1 and approved_at is not null";
        for row in sqlx::query(query).bind(slot.to_string()).fetch_all(&mut *tx).await? {
            let held = hash(&row.try_get::<Vec<u8>, _>(0)?, "governance digest")?;
            if held != digest {
                return Err(StoreError::Taken { slot: slot.to_string(), held, refused: digest });
            }
        }
        insert_proposal(&mut tx, subject, now).await?;
        sqlx::query("update proposals set approved_at = $2 where digest = $1 and approved_at is null")
            .bind(digest.as_slice())
            .bind(signed(now, "time")?)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Promises `digest` for `slot`, durably, before a partial signature over it may exist.
    ///
    /// # Errors
    /// [`StoreError::Taken`] where another digest is promised; [`StoreError::Stopped`] while this member signs nothing.
    pub async fn guard_governance(&self, slot: Slot, digest: B256) -> Result<(), StoreError> {
        let mut promise = self.promise().await?;
        let insert = "insert into governance_guards (slot, digest) values ($1, $2) on conflict do nothing";
        let inserted = sqlx::query(insert).bind(slot.to_string()).bind(digest.as_slice());
        if inserted.execute(&mut **promise.tx()).await?.rows_affected() == 1 {
            promise.pledge(pledge(slot, digest));
            return promise.commit().await;
        }
        let row = sqlx::query("select digest from governance_guards where slot = $1")
            .bind(slot.to_string())
            .fetch_one(&mut **promise.tx())
            .await?;
        let held = hash(&row.try_get::<Vec<u8>, _>(0)?, "governance digest")?;
        if held == digest { Ok(()) } else { Err(StoreError::Taken { slot: slot.to_string(), held, refused: digest }) }
    }

    /// The digest that this member promised for `slot`.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn promised_governance(&self, slot: Slot) -> Result<Option<B256>, StoreError> {
        let query = sqlx::query("select digest from governance_guards where slot = $1").bind(slot.to_string());
        let row = query.fetch_optional(&self.reader).await?;
        row.map(|row| hash(&row.try_get::<Vec<u8>, _>(0)?, "governance digest")).transpose()
    }

    /// The highest number of a decision that this member promised or saw act; 0 before the first.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn highest_decision(&self) -> Result<u64, StoreError> {
        let acted = self.acted_decisions().await?.into_iter().map(|decision| decision.number).max();
        let query = "select slot from governance_guards where slot like 'decision/%'";
        let mut highest = acted.unwrap_or_default();
        for row in sqlx::query(query).fetch_all(&self.reader).await? {
            let slot: String = row.try_get(0)?;
            let number = slot.strip_prefix("decision/").and_then(|number| number.parse().ok());
            highest = highest.max(number.ok_or(StoreError::Corrupt { what: "governance slot" })?);
        }
        Ok(highest)
    }

    /// For each chain the nonces that the group signed an action for, as far as this member gathered it.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn signed_nonces(&self) -> Result<BTreeMap<ChainId, BTreeSet<u64>>, StoreError> {
        let mut signed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for row in self.proposals().await?.into_iter().filter(|row| row.signature.is_some()) {
            if let Slot::Nonce { chain, nonce, .. } = row.subject.slot() {
                signed.entry(chain).or_default().insert(nonce);
            }
        }
        Ok(signed)
    }

    /// A proposal by its digest.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn proposal(&self, digest: B256) -> Result<Option<ProposalRow>, StoreError> {
        let row = sqlx::query(BY_DIGEST).bind(digest.as_slice()).fetch_optional(&self.reader).await?;
        match row {
            Some(row) => self.proposal_row(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// All proposals, as they were seen.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn proposals(&self) -> Result<Vec<ProposalRow>, StoreError> {
        let rows = sqlx::query(ALL).fetch_all(&self.reader).await?;
        let mut proposals = Vec::with_capacity(rows.len());
        for row in &rows {
            proposals.push(self.proposal_row(row).await?);
        }
        Ok(proposals)
    }

    async fn proposal_row(&self, row: &SqliteRow) -> Result<ProposalRow, StoreError> {
        let digest = hash(&row.try_get::<Vec<u8>, _>(0)?, "governance digest")?;
        let approved_at: Option<i64> = row.try_get(2)?;
        let (signature, key): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.try_get(3)?, row.try_get(4)?);
        let whole = |(signature, key): (Vec<u8>, Vec<u8>)| {
            let parts = signature.try_into().ok().zip(key.try_into().ok());
            let (signature, key) = parts.ok_or(StoreError::Corrupt { what: "group signature" })?;
            Ok::<_, StoreError>(GroupSigned { signature, key })
        };
        let approvals = sqlx::query("select member from proposal_approvals where digest = $1")
            .bind(digest.as_slice())
            .fetch_all(&self.reader)
            .await?;
        Ok(ProposalRow {
            subject: body(&row.try_get::<String, _>(1)?, "proposal")?,
            digest,
            approved_at: approved_at.map(|at| unsigned(at, "time")).transpose()?,
            approvals: approvals.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
            signature: signature.zip(key).map(whole).transpose()?,
            submission: row.try_get(5)?,
        })
    }

    /// A member said that it approves.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn note_approval(&self, digest: B256, member: u8) -> Result<(), StoreError> {
        sqlx::query("insert into proposal_approvals (digest, member) values ($1, $2) on conflict do nothing")
            .bind(digest.as_slice())
            .bind(member)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Keeps the group's signature over a proposal, which was verified.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_group_signature(&self, digest: B256, signed: &GroupSigned) -> Result<(), StoreError> {
        sqlx::query("update proposals set signature = $2, signed_with = $3 where digest = $1")
            .bind(digest.as_slice())
            .bind(signed.signature.as_slice())
            .bind(signed.key.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Notes how a proposal was submitted.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn note_submission(&self, digest: B256, how: &str) -> Result<(), StoreError> {
        sqlx::query("update proposals set submission = $2 where digest = $1")
            .bind(digest.as_slice())
            .bind(how)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The decisions that acted, in the order of the ledger.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn acted_decisions(&self) -> Result<Vec<ActedDecision>, StoreError> {
        let query = "select classes.sequence, outputs.body from classes join outputs on outputs.id = classes.output \
                     where classes.class = 'decision' order by classes.sequence, outputs.position";
        let mut acted = Vec::new();
        for row in sqlx::query(query).fetch_all(&self.reader).await? {
            let output: Output = body(&row.try_get::<String, _>(1)?, "output")?;
            // That it is valid is said by its class.
            if let MemoKind::Decision(decision) = Memo::decode(&output.extra, &MemoRules::default()).kind {
                let sequence = unsigned(row.try_get(0)?, "sequence")?;
                acted.push(ActedDecision { sequence, number: decision.number, body: decision.body });
            }
        }
        Ok(acted)
    }

    /// Turns the member's own switch.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn switch_signing(&self, switch: &SigningSwitch) -> Result<(), StoreError> {
        sqlx::query("insert into signing_switch (at, stopped, reason) values ($1, $2, $3)")
            .bind(signed(switch.at, "time")?)
            .bind(i64::from(switch.stopped))
            .bind(&switch.reason)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Each turn of the member's own switch, oldest first.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn signing_switches(&self) -> Result<Vec<SigningSwitch>, StoreError> {
        let query = "select at, stopped, reason from signing_switch order by position";
        let rows = sqlx::query(query).fetch_all(&self.reader).await?;
        rows.iter().map(switch_row).collect()
    }

    /// Why this member signs nothing now.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn signing_stopped(&self) -> Result<Option<SigningSwitch>, StoreError> {
        let query = "select at, stopped, reason from signing_switch order by position desc limit 1";
        let row = sqlx::query(query).fetch_optional(&self.reader).await?;
        Ok(row.as_ref().map(switch_row).transpose()?.filter(|switch| switch.stopped))
    }
}

/// Refuses while the operator wants nothing signed. Part of every promise's transaction.
pub(super) async fn check_signing(tx: &mut Transaction<'_, Sqlite>) -> Result<(), StoreError> {
    let query = "select at, stopped, reason from signing_switch order by position desc limit 1";
    let row = sqlx::query(query).fetch_optional(&mut **tx).await?;
    match row.as_ref().map(switch_row).transpose()?.filter(|switch| switch.stopped) {
        Some(SigningSwitch { reason, .. }) => Err(StoreError::Stopped { reason }),
        None => Ok(()),
    }
}

/// The promise as the guard log keeps it.
fn pledge(slot: Slot, value: B256) -> Pledge {
    match slot {
        Slot::Number(number) => Pledge::Other { kind: "decision", scope: "ledger".to_owned(), number, value },
        Slot::Nonce { chain, contract, instance, nonce } => {
            let scope = format!("eip155:{chain}/0x{}/{instance}", hex::encode(contract));
            Pledge::Other { kind: "action", scope, number: nonce, value }
        }
    }
}

fn switch_row(row: &SqliteRow) -> Result<SigningSwitch, StoreError> {
    let (at, stopped): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(SigningSwitch { at: unsigned(at, "time")?, stopped: stopped != 0, reason: row.try_get(2)? })
}

fn digest_of(subject: &Subject) -> Result<B256, StoreError> {
    subject.digest().map_err(|_| StoreError::Corrupt { what: "proposal" })
}

async fn insert_proposal(tx: &mut Transaction<'_, Sqlite>, subject: &Subject, now: u64) -> Result<bool, StoreError> {
    let insert =
        "insert into proposals (digest, slot, subject, seen_at) values ($1, $2, $3, $4) on conflict do nothing";
    let done = sqlx::query(insert)
        .bind(digest_of(subject)?.as_slice())
        .bind(subject.slot().to_string())
        .bind(text(subject, "proposal")?)
        .bind(signed(now, "time")?)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}
