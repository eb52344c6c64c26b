//! The client of the Safe API: one ledger user, one base URL.
//!
//! Every call is one signed request with a fresh id and a deadline. It is either answered, refused by the service with a
//! code, or failed; nothing is retried here, because only the caller knows what a repetition means.

use std::time::Duration;

use lockstep_core::{AssetId, B256};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use uuid::Uuid;

use super::auth::{Signed, token};
use super::error::LedgerError;
use super::keystore::Keystore;
use super::wire::{
    AssetRow, DepositRow, Envelope, GhostKeyRow, KeysBody, LedgerTime, MultisigRow, OutputRow, OutputState,
    PAGE_ROWS_MAX, RawRequest, SignBody, SnapshotRow, TransactionRow, UserRow,
};
use crate::clock::unix_seconds;
use crate::http::{HttpError, http_client, patient_http_client, read_body};

/// A call that takes longer is given up; the real service answers within a second.
const TIMEOUT: Duration = Duration::from_secs(15);
/// One row with the largest possible extra (4 MiB, as hex) and as much again must fit, or a hostile payment would stop
/// the watcher for ever.
const REPLY_BYTES_MAX: usize = 20 * 1024 * 1024;
const REQUEST_ID: &str = "x-request-id";

/// What to list. Rows come by ascending sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputQuery {
    /// Members hash of the owners, as hex.
    pub members: String,
    /// Their threshold.
    pub threshold: u8,
    /// From this sequence on; whether it is itself included is not certain.
    pub offset: u64,
    /// Rows wanted, at most [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Kernel asset id as hex, or all assets.
    pub asset: Option<String>,
    /// Only outputs that stand there, or all.
    pub state: Option<OutputState>,
}

/// Which rows of the user's own statement to list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// What they have in common.
    pub of: Statement,
    /// Rows from before this time only; without it from the newest on.
    pub before: Option<LedgerTime>,
    /// Rows wanted, at most [`PAGE_ROWS_MAX`].
    pub limit: usize,
}

/// What the rows of a statement have in common; the service takes one of these at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Nothing: all of them.
    Whole,
    /// The asset.
    OfAsset(Uuid),
    /// The other side.
    WithUser(Uuid),
}

/// A ledger user's access to the Safe API.
#[derive(Debug)]
pub struct SafeApi {
    http: Client,
    base: Url,
    keystore: Keystore,
}

impl SafeApi {
    /// The API at `base_url` (for example `https://api.mixin.one`) for the user of `keystore`.
    ///
    /// # Errors
    /// A text that is no HTTP address, or a TLS set-up that cannot be loaded.
    pub fn new(base_url: &str, keystore: Keystore) -> Result<Self, ClientError> {
        Ok(Self { http: http_client(TIMEOUT).map_err(ClientError::Http)?, base: parse_base(base_url)?, keystore })
    }

    /// The same, which gives a request up where nothing comes for as long as `silence`.
    ///
    /// # Errors
    /// A TLS set-up that cannot be loaded.
    pub fn within(self, silence: Duration) -> Result<Self, ClientError> {
        let http = patient_http_client(silence, TIMEOUT.max(silence)).map_err(ClientError::Http)?;
        Ok(Self { http, ..self })
    }

    /// The user that this client acts for.
    pub const fn user(&self) -> Uuid {
        self.keystore.app_id
    }

    /// The user's credentials.
    pub const fn keystore(&self) -> &Keystore {
        &self.keystore
    }

    /// Who the server thinks this user is.
    ///
    /// # Errors
    /// See [`LedgerError`], as for every call below.
    pub async fn me(&self) -> Result<UserRow, LedgerError> {
        self.read("/safe/me").await
    }

    /// One page of outputs.
    ///
    /// # Errors
    /// More rows than asked for, and those of every call.
    pub async fn outputs(&self, query: &OutputQuery) -> Result<Vec<OutputRow>, LedgerError> {
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        let mut uri = format!(
            "/safe/outputs?members={}&threshold={}&offset={}&limit={limit}&order=ASC",
            query.members, query.threshold, query.offset
        );
        if let Some(asset) = &query.asset {
            uri.push_str("&asset=");
            uri.push_str(asset);
        }
        if let Some(state) = query.state {
            uri.push_str("&state=");
            uri.push_str(state.as_str());
        }
        let rows: Vec<OutputRow> = self.read(&uri).await?;
        if rows.len() > limit {
            return Err(LedgerError::malformed("outputs", format!("{} rows, asked for {limit}", rows.len())));
        }
        Ok(rows)
    }

    /// One output by its id.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn output(&self, id: Uuid) -> Result<OutputRow, LedgerError> {
        self.read(&format!("/safe/outputs/{id}")).await
    }

    /// Where an output without senders came from, if it was a deposit.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn deposit(&self, output: Uuid) -> Result<DepositRow, LedgerError> {
        self.read(&format!("/safe/outputs/{output}/deposit")).await
    }

    /// One-time keys for outputs; the same hints give the same keys.
    ///
    /// # Errors
    /// A reply with another number of rows or keys than asked for, and those of every call.
    pub async fn keys(&self, body: &KeysBody) -> Result<Vec<GhostKeyRow>, LedgerError> {
        let requests = match body {
            KeysBody::Own(keys) | KeysBody::Senders { keys, .. } => keys,
        };
        let rows: Vec<GhostKeyRow> = self.post("/safe/keys", body).await?;
        let fits = |(request, row): (&super::wire::KeyRequest, &GhostKeyRow)| request.receivers.len() == row.keys.len();
        if rows.len() != requests.len() || !requests.iter().zip(&rows).all(fits) {
            return Err(LedgerError::malformed("keys", "not one key for each receiver of each output"));
        }
        Ok(rows)
    }

    /// Registers a payment by this user; the reply holds the views to sign with.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn request_transaction(&self, request: &RawRequest) -> Result<TransactionRow, LedgerError> {
        self.post_one("/safe/transaction/requests", request).await
    }

    /// Sends a signed payment by this user.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn send_transaction(&self, request: &RawRequest) -> Result<TransactionRow, LedgerError> {
        self.post_one("/safe/transactions", request).await
    }

    /// A request of either kind, by its id.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn transaction(&self, request_id: Uuid) -> Result<TransactionRow, LedgerError> {
        self.read(&format!("/safe/transactions/{request_id}")).await
    }

    /// Registers a payment by a group of which this user is a member.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn create_multisig(&self, request: &RawRequest) -> Result<MultisigRow, LedgerError> {
        self.post_one("/safe/multisigs", request).await
    }

    /// A group's request, by its id.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn multisig(&self, request_id: Uuid) -> Result<MultisigRow, LedgerError> {
        self.read(&format!("/safe/multisigs/{request_id}")).await
    }

    /// A request of a group for the transaction with this payload hash, whoever made it.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn multisig_of(&self, payload: B256) -> Result<MultisigRow, LedgerError> {
        self.read(&format!("/safe/multisigs/{}", hex::encode(payload))).await
    }

    /// Adds this member's signatures to a group's request.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn sign_multisig(&self, request: &RawRequest) -> Result<MultisigRow, LedgerError> {
        let body = SignBody { request_id: Some(request.request_id), raw: request.raw.clone() };
        self.post(&format!("/safe/multisigs/{}/sign", request.request_id), &body).await
    }

    /// Takes this member's signatures back, which is possible below the threshold.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn unlock_multisig(&self, request_id: Uuid) -> Result<MultisigRow, LedgerError> {
        self.call(Method::POST, &format!("/safe/multisigs/{request_id}/unlock"), String::new()).await
    }

    /// One page of the user's own statement: single users' payments, newest first. Unlike outputs it is ordered by time.
    ///
    /// # Errors
    /// More rows than asked for, and those of every call.
    pub async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<SnapshotRow>, LedgerError> {
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        let mut uri = format!("/safe/snapshots?limit={limit}&order=DESC");
        match query.of {
            Statement::Whole => {}
            Statement::OfAsset(asset) => uri.push_str(&format!("&asset={asset}")),
            Statement::WithUser(user) => uri.push_str(&format!("&opponent={user}")),
        }
        if let Some(before) = query.before {
            uri.push_str(&format!("&offset={before}"));
        }
        let rows: Vec<SnapshotRow> = self.read(&uri).await?;
        if rows.len() > limit {
            return Err(LedgerError::malformed("snapshots", format!("{} rows, asked for {limit}", rows.len())));
        }
        Ok(rows)
    }

    /// One row of the user's own statement.
    ///
    /// # Errors
    /// A row of another id, and those of every call.
    pub async fn snapshot(&self, id: Uuid) -> Result<SnapshotRow, LedgerError> {
        let row: SnapshotRow = self.read(&format!("/safe/snapshots/{id}")).await?;
        match row.snapshot_id == id {
            true => Ok(row),
            false => Err(LedgerError::malformed("snapshot", format!("it is {}, asked for {id}", row.snapshot_id))),
        }
    }

    /// What the ledger calls an asset.
    ///
    /// # Errors
    /// Another asset than asked for, and those of every call.
    pub async fn asset(&self, id: Uuid) -> Result<AssetRow, LedgerError> {
        let row: AssetRow = self.read(&format!("/safe/assets/{id}")).await?;
        match row.asset_id == id && row.kernel_asset_id == AssetId::from_uuid(id) {
            true => Ok(row),
            false => Err(LedgerError::malformed("asset", format!("it is {}, asked for {id}", row.asset_id))),
        }
    }

    async fn read<T: DeserializeOwned>(&self, uri: &str) -> Result<T, LedgerError> {
        self.call(Method::GET, uri, String::new()).await
    }

    async fn post<T: DeserializeOwned>(&self, uri: &str, body: &impl Serialize) -> Result<T, LedgerError> {
        let body = serde_json::to_string(body).map_err(|error| LedgerError::malformed(uri, error))?;
        self.call(Method::POST, uri, body).await
    }

    /// Posts a list of one and takes the only row of the reply.
    async fn post_one<T: DeserializeOwned>(&self, uri: &str, request: &RawRequest) -> Result<T, LedgerError> {
        let rows: Vec<T> = self.post(uri, &[request]).await?;
        let count = rows.len();
        match <[T; 1]>::try_from(rows) {
            Ok([row]) => Ok(row),
            Err(_) => Err(LedgerError::malformed(uri, format!("{count} rows for one request"))),
        }
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, uri: &str, body: String) -> Result<T, LedgerError> {
        let call = format!("{method} {}", uri.split('?').next().unwrap_or(uri));
        let failed = |source: HttpError| LedgerError::Http { call: call.clone(), source };
        let request_id = Uuid::new_v4();
        // The path is appended as text: it is signed exactly as it is sent.
        let url = format!("{}{uri}", self.base.as_str().trim_end_matches('/'));
        let signed = Signed { method: method.as_str(), uri, body: &body };
        let token = token(&self.keystore, signed, request_id, unix_seconds());
        let request = self
            .http
            .request(method.clone(), url)
            .bearer_auth(token)
            .header(REQUEST_ID, request_id.to_string())
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body);
        let response = request.send().await.map_err(|error| failed(error.into()))?;
        let status = response.status();
        let echo = response.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read_body(response, REPLY_BYTES_MAX).await.map_err(failed)?;
        decode_reply(&call, status, (request_id, echo.as_deref()), &body)
    }
}

/// Judges a reply: its status, whether it echoes our request's id, its envelope.
///
/// # Errors
/// A status that is no success, another request's id, a body that is none of the API's, and the API's own refusal.
pub fn decode_reply<T: DeserializeOwned>(
    call: &str,
    status: StatusCode,
    (request_id, echo): (Uuid, Option<&str>),
    body: &[u8],
) -> Result<T, LedgerError> {
    if !status.is_success() {
        return Err(LedgerError::Status { call: call.to_owned(), status: status.as_u16() });
    }
    if echo.and_then(|echo| Uuid::parse_str(echo).ok()) != Some(request_id) {
        return Err(LedgerError::Echo { call: call.to_owned() });
    }
    match serde_json::from_slice(body) {
        Ok(Envelope::Data(data)) => Ok(data),
        Ok(Envelope::Error(error)) => Err(LedgerError::refused(call, &error)),
        Err(error) => Err(LedgerError::malformed(call, error)),
    }
}

/// An HTTP address without query, from configuration.
pub(super) fn parse_base(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.filter(|url| url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| ClientError::Address(text.chars().take(100).collect()))
}

/// Why a client cannot be made.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Not an address.
    #[error("`{0}` is not an HTTP address")]
    Address(String),
    /// No kernel node is configured, or fewer than have to agree.
    #[error("{nodes} kernel nodes cannot give {quorum} equal answers")]
    Quorum {
        /// Nodes configured.
        nodes: usize,
        /// Nodes that have to agree.
        quorum: usize,
    },
    /// No HTTP client.
    #[error("cannot set up HTTP")]
    Http(#[source] HttpError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::error::Refusal;

    const OURS: Uuid = Uuid::from_u128(7);

    fn reply(status: u16, echo: Option<&str>, body: &str) -> Result<u64, LedgerError> {
        let status = StatusCode::from_u16(status).expect("a status");
        decode_reply("GET /x", status, (OURS, echo), body.as_bytes())
    }

    #[test]
    fn a_reply_to_another_request_should_be_refused() {
        for echo in [None, Some(""), Some("00000000-0000-0000-0000-000000000008")] {
            let error = reply(200, echo, r#"{"data":1}"#).expect_err("not ours");
            assert!(matches!(error, LedgerError::Echo { .. }) && error.retryable());
        }
    }

    #[test]
    fn refusals_should_keep_their_code_and_words() {
        let body = r#"{"error":{"status":202,"code":10105,"description":"locked by another transaction"}}"#;
        let error = reply(202, Some(&OURS.to_string()), body).expect_err("refused");
        assert_eq!(error.refusal(), Some(Refusal::InputLocked));
        assert_eq!(error.to_string(), "GET /x: refused with code 10105: locked by another transaction");
    }

    #[test]
    fn what_is_no_envelope_should_be_told_apart() {
        let echo = OURS.to_string();
        for body in ["", "<html>", "{}", r#"{"data":"one"}"#, r#"{"data":null}"#, r#"{"data":1}x"#] {
            let error = reply(200, Some(&echo), body).expect_err(body);
            assert!(matches!(error, LedgerError::Malformed { .. }) && !error.retryable(), "{body}");
        }
        let error = reply(502, None, "<html>").expect_err("a proxy");
        assert!(matches!(error, LedgerError::Status { status: 502, .. }) && error.retryable());
        assert!(matches!(reply(302, None, ""), Err(error) if !error.retryable()));
        assert_eq!(reply(200, Some(&echo), r#"{"data":1}"#).expect("data"), 1);
    }

    #[test]
    fn only_plain_http_addresses_should_be_taken() {
        for text in ["", "ledger", "ftp://a", "http://", "http://a/?x=1", "http://a/#x", "127.0.0.1:7700"] {
            assert!(matches!(parse_base(text), Err(ClientError::Address(_))), "{text}");
        }
        assert!(parse_base("http://127.0.0.1:7700").is_ok() && parse_base("https://api.mixin.one/").is_ok());
    }
}
