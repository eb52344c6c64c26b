//! The other side of `/admin`: makes users and money on a running embedded ledger.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use lockstep_core::{Amount, B256, Uuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use super::faults::{FaultOrder, FaultRow};
use crate::http::{Client, HttpError, Method, http_client, read_body};
use crate::ledger::wire::{Envelope, Hex32, HexBytes};
use crate::ledger::{Keystore, Seed};

const TIMEOUT: Duration = Duration::from_secs(15);
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Whoever runs the development network.
#[derive(Clone, Debug)]
pub struct Operator {
    http: Client,
    base: String,
}

/// A coin from the faucet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    /// Payload hash of the deposit.
    pub transaction_hash: Hex32,
    /// The coin's id at the API.
    pub output_id: Uuid,
}

#[derive(Deserialize)]
struct Registered {
    user_id: Uuid,
    session_id: Uuid,
    server_public_key: Hex32,
}

impl Operator {
    /// The operator of the ledger whose API is at `base_url`, for example `http://127.0.0.1:7700`.
    ///
    /// # Errors
    /// A TLS set-up that cannot be loaded.
    pub fn new(base_url: &str) -> Result<Self, OperatorError> {
        let http = http_client(TIMEOUT).map_err(OperatorError::Http)?;
        Ok(Self { http, base: base_url.trim_end_matches('/').to_owned() })
    }

    /// Registers the user of two Ed25519 seeds and gives its credentials. The same seeds are the same user.
    ///
    /// # Errors
    /// See [`OperatorError`], as for every call below.
    pub async fn add_user(&self, name: &str, session: Seed, spend: Seed) -> Result<Keystore, OperatorError> {
        let public = |seed: &Seed| Hex32(SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes());
        let body = json!({
            "session_public_key": public(&session), "spend_public_key": public(&spend), "full_name": name,
        });
        let user: Registered = self.call("users", &body).await?;
        Ok(Keystore {
            app_id: user.user_id,
            session_id: user.session_id,
            session_private_key: session,
            server_public_key: user.server_public_key,
            spend_private_key: spend,
            is_spend_private_sum: false,
        })
    }

    /// Registers an asset; one that is known stays as it is.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn add_asset(&self, asset_id: Uuid, symbol: &str) -> Result<(), OperatorError> {
        let body = json!({ "asset_id": asset_id, "symbol": symbol });
        self.call::<serde_json::Value>("assets", &body).await.map(|_| ())
    }

    /// Mints a coin of a registered asset for a set of users, as a deposit: it has no senders. The same `request_id` is
    /// the same coin.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn mint(
        &self,
        request_id: Uuid,
        asset: Uuid,
        amount: Amount,
        (receivers, threshold): (&[Uuid], u8),
        extra: &[u8],
    ) -> Result<Minted, OperatorError> {
        let body = json!({
            "request_id": request_id, "asset": asset.to_string(), "amount": amount, "receivers": receivers,
            "threshold": threshold, "extra": HexBytes(extra.to_vec()),
        });
        self.call("faucet", &body).await
    }

    /// Makes an unspent output a collectible.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn inscribe(&self, output: Uuid, inscription: Hex32) -> Result<(), OperatorError> {
        let body = json!({ "inscription_hash": inscription });
        self.call::<Hex32>(&format!("outputs/{output}/inscription"), &body).await.map(|_| ())
    }

    /// Makes everything final that the kernel admitted; says how many transactions that were.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn advance(&self) -> Result<usize, OperatorError> {
        self.call("advance", &json!({})).await
    }

    /// Sets a fault; gives its row, whose id clears it.
    ///
    /// # Errors
    /// Parts that do not fit together, and those of every call.
    pub async fn set_fault(&self, order: &FaultOrder) -> Result<FaultRow, OperatorError> {
        self.send(Method::POST, "faults", Some(order)).await
    }

    /// The faults that are set, those that act no more included, with their counts.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn faults(&self) -> Result<Vec<FaultRow>, OperatorError> {
        self.send::<_, ()>(Method::GET, "faults", None).await
    }

    /// Clears a fault, and lets go on what it held up. Gives its last counts.
    ///
    /// # Errors
    /// An id that is not in the list, and those of every call.
    pub async fn clear_fault(&self, id: u64) -> Result<Vec<FaultRow>, OperatorError> {
        self.send::<_, ()>(Method::DELETE, &format!("faults/{id}"), None).await
    }

    /// Clears all faults.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn clear_faults(&self) -> Result<Vec<FaultRow>, OperatorError> {
        self.send::<_, ()>(Method::DELETE, "faults", None).await
    }

    /// Does what the operators of split kernel nodes do who clear their locks in favour of one transaction.
    ///
    /// # Errors
    /// A transaction that no split node holds, and those of every call.
    pub async fn release(&self, transaction: B256) -> Result<(), OperatorError> {
        let path = format!("transactions/{}/release", hex::encode(transaction));
        self.call::<Hex32>(&path, &json!({})).await.map(|_| ())
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, OperatorError> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send<T: DeserializeOwned, B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, OperatorError> {
        let mut request = self.http.request(method, format!("{}/admin/{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| OperatorError::Http(error.into()))?;
        let reply = read_body(response, REPLY_BYTES_MAX).await.map_err(OperatorError::Http)?;
        match serde_json::from_slice(&reply).map_err(OperatorError::Reply)? {
            Envelope::Data(data) => Ok(data),
            Envelope::Error(error) => Err(OperatorError::Refused { code: error.code, description: error.description }),
        }
    }
}

/// Why the operator's call came to nothing.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// The ledger did not answer.
    #[error("the embedded ledger cannot be reached")]
    Http(#[source] HttpError),
    /// The ledger's answer cannot be read.
    #[error("the embedded ledger's answer cannot be read")]
    Reply(#[source] serde_json::Error),
    /// The ledger said no.
    #[error("the embedded ledger refused ({code}): {description}")]
    Refused {
        /// The API's code.
        code: u32,
        /// For people.
        description: String,
    },
}
