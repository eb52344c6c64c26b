//! The submitter's own transactions: saved before they are sent.

use sqlx::Row;

use super::{Store, StoreError, body, signed, text};
use crate::world::chain::{Cause, Outcome, SaveSubmission, Submission};

impl Store {
    async fn pending(&self, chain: u64) -> Result<Vec<Submission>, StoreError> {
        let query = "select body from submissions where chain = $1 and outcome is null order by account_nonce";
        let rows = sqlx::query(query).bind(signed(chain, "chain id")?).fetch_all(&self.reader).await?;
        rows.iter().map(|row| body(row.try_get(0)?, "submission")).collect()
    }

    async fn keep(&self, chain: u64, submission: &Submission) -> Result<(), StoreError> {
        let upsert = "insert into submissions (chain, account_nonce, body) values ($1, $2, $3) \
                      on conflict (chain, account_nonce) do update set body = $3";
        let mut tx = self.writing().await?;
        sqlx::query(upsert)
            .bind(signed(chain, "chain id")?)
            .bind(signed(submission.account_nonce, "account nonce")?)
            .bind(text(submission, "submission")?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn settle(&self, chain: u64, account_nonce: u64, outcome: Outcome) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        sqlx::query("update submissions set outcome = $3 where chain = $1 and account_nonce = $2")
            .bind(signed(chain, "chain id")?)
            .bind(signed(account_nonce, "account nonce")?)
            .bind(text(&outcome, "outcome")?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

impl SaveSubmission for Store {
    async fn load_submissions(&self, chain: u64) -> Result<Vec<Submission>, Cause> {
        Ok(self.pending(chain).await?)
    }

    async fn save_submission(&self, chain: u64, submission: &Submission) -> Result<(), Cause> {
        Ok(self.keep(chain, submission).await?)
    }

    async fn settle_submission(&self, chain: u64, account_nonce: u64, outcome: Outcome) -> Result<(), Cause> {
        Ok(self.settle(chain, account_nonce, outcome).await?)
    }
}
