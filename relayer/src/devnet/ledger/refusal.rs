//! Why the ledger says no, and how that looks on the wire (`reference/mixin.md` 1.2).

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;
use uuid::Uuid;

use super::kernel::KernelRefusal;

/// A call that ends without effect.
#[derive(Debug, Error)]
pub enum CallError {
    /// The caller asked for something that the rules refuse.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed, or holds what this program never writes. The caller may try again.
    #[error("the ledger's database failed")]
    Store(#[from] sqlx::Error),
    /// A stored value cannot be read back.
    #[error("the ledger's database holds an unreadable {0}")]
    Corrupt(&'static str),
}

/// A refusal by the rules, with the code that the API names it by.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Refusal {
    /// The body is not what this call takes.
    #[error("bad request: {0}")]
    Malformed(String),
    /// The token proves nothing: unknown, stale, reused, or signed over another request.
    #[error("unauthorized: {0}")]
    Unauthorized(&'static str),
    /// The caller is known, and may not do this.
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// No such thing.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// A field holds what it must not hold.
    #[error("invalid field: {0}")]
    Field(String),
    /// A coin is promised to another transaction.
    #[error("output {0} is locked by another transaction")]
    CoinTaken(String),
    /// A receiver that has no account here.
    #[error("user {0} is not registered with the Sequencer")]
    UnknownUser(Uuid),
    /// The request id belongs to another user.
    #[error("trace {0} belongs to another user")]
    TraceTaken(Uuid),
    /// The kernel would not admit the transaction.
    #[error("{0}")]
    Kernel(KernelRefusal),
}

impl Refusal {
    /// The API's code (`sdkgo error.go`; `bot-api-go-client`).
    pub const fn code(&self) -> u32 {
        match self {
            Self::Malformed(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::Field(_) => 10_002,
            Self::CoinTaken(_) => 10_105,
            Self::UnknownUser(_) => 10_404,
            Self::TraceTaken(_) => 20_125,
            Self::Kernel(refusal) => refusal.api_code(),
        }
    }
}

impl From<KernelRefusal> for CallError {
    fn from(refusal: KernelRefusal) -> Self {
        Self::Refused(Refusal::Kernel(refusal))
    }
}

/// API errors travel with HTTP 202; only failures of the server itself are 500, which clients retry.
impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        let (status, code, description) = match &self {
            Self::Refused(refusal) => {
                tracing::debug!(code = refusal.code(), %refusal, "call refused");
                (StatusCode::ACCEPTED, refusal.code(), refusal.to_string())
            }
            Self::Store(_) | Self::Corrupt(_) => {
                tracing::error!(error = ?self, "call failed");
                (StatusCode::INTERNAL_SERVER_ERROR, 500, self.to_string())
            }
        };
        let error = json!({ "status": status.as_u16(), "code": code, "description": description });
        (status, Json(json!({ "error": error }))).into_response()
    }
}
