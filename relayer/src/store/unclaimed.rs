//! Coins that nobody could or may get back, and what became of them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use lockstep_core::derive::{Derived, Payee};
use lockstep_core::output::Output;
use lockstep_core::trace::Trace;
use lockstep_core::{Mix, Uuid};
use sqlx::Row;

use super::{Store, StoreError, body, unsigned};

/// A decision's payment of an unclaimed coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Who gets it.
    pub to: Mix,
    /// True once the payment is final on the ledger.
    pub is_final: bool,
}

impl Store {
    /// Shows each output that ended as unclaimed, released or not, with the sequence of its place in the order. One by one,
    /// for there may be many, and what they say may be long.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn each_unclaimed(&self, mut see: impl FnMut(u64, Output)) -> Result<(), StoreError> {
        let query = "select classes.sequence, body from classes join outputs on outputs.id = classes.output \
                     where class = 'unclaimed' order by classes.sequence";
        let mut rows = sqlx::query(query).fetch(&self.reader);
        while let Some(row) = rows.try_next().await? {
            see(unsigned(row.try_get(0)?, "sequence")?, body(row.try_get(1)?, "output")?);
        }
        Ok(())
    }

    /// The unclaimed coins that decisions have released, by output.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn releases(&self) -> Result<BTreeMap<Uuid, Release>, StoreError> {
        let query = "select body, final_hash is not null from derived \
                     where json_extract(body, '$.trace.Release') is not null";
        let mut releases = BTreeMap::new();
        for row in sqlx::query(query).fetch_all(&self.reader).await? {
            let Derived { trace, outputs, .. } = body(row.try_get(0)?, "derived transaction")?;
            let payee = outputs.into_iter().next().map(|(payee, _)| payee);
            let (Trace::Release { output }, Some(Payee::Mix(to))) = (trace, payee) else {
                return Err(StoreError::Corrupt { what: "release of an unclaimed coin" });
            };
            releases.insert(output, Release { to, is_final: row.try_get(1)? });
        }
        Ok(releases)
    }
}
