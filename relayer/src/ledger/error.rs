//! Why the ledger did not answer as asked, by cause.

use std::fmt;

use thiserror::Error;

use super::wire::{ErrorBody, code};
use crate::http::HttpError;
use crate::world::ledger::LedgerFault;

/// Characters of a foreign text that an error repeats: enough to recognise it, too few to fill a log.
const SHOWN_CHARS: usize = 200;

/// What the Safe API means by a code (`mixin-sdk-go error.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400 or 10002: the request is wrong in itself, or names an id that stands for something else.
    Invalid,
    /// 401 or 403: not with these credentials.
    Unauthorized,
    /// 404.
    NotFound,
    /// 429: later, and less often.
    TooMany,
    /// 500.
    Server,
    /// 10105 or 2000002: another transaction holds an input.
    InputLocked,
    /// 10404: a receiver is not registered with the Sequencer.
    NotRegistered,
    /// 20117: the inputs do not cover it.
    Insufficient,
    /// 20125: somebody else's request has this id.
    TraceTaken,
    /// 20150: receivers that cannot be paid.
    BadReceivers,
    /// 2000001: an output key belongs to another transaction.
    OutputKeyUsed,
    /// 2000003: a signature is wrong or missing.
    BadSignature,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads a code.
    pub const fn of(code: u32) -> Self {
        match code {
            code::BAD_REQUEST | code::INVALID_FIELD => Self::Invalid,
            code::UNAUTHORIZED | code::FORBIDDEN => Self::Unauthorized,
            code::NOT_FOUND => Self::NotFound,
            code::TOO_MANY_REQUESTS => Self::TooMany,
            code::SERVER => Self::Server,
            code::OUTPUT_LOCKED | code::INPUT_LOCKED => Self::InputLocked,
            code::NOT_REGISTERED => Self::NotRegistered,
            code::INSUFFICIENT => Self::Insufficient,
            code::TRACE_TAKEN => Self::TraceTaken,
            code::BAD_RECEIVERS => Self::BadReceivers,
            code::OUTPUT_KEY_USED => Self::OutputKeyUsed,
            code::BAD_SIGNATURE => Self::BadSignature,
            _ => Self::Other,
        }
    }

    /// True where the same request may succeed later without anybody's doing.
    pub const fn retryable(self) -> bool {
        match self {
            Self::TooMany | Self::Server => true,
            Self::Invalid
            | Self::Unauthorized
            | Self::NotFound
            | Self::InputLocked
            | Self::NotRegistered
            | Self::Insufficient
            | Self::TraceTaken
            | Self::BadReceivers
            | Self::OutputKeyUsed
            | Self::BadSignature
            | Self::Other => false,
        }
    }
}

/// Why a call of the ledger's API or of a kernel node failed.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// No reply.
    #[error("{call}")]
    Http {
        /// What was asked.
        call: String,
        /// Why there is none.
        #[source]
        source: HttpError,
    },
    /// A status that is none of the service's own: a proxy, an overload, a wrong address.
    #[error("{call}: HTTP status {status}")]
    Status {
        /// What was asked.
        call: String,
        /// What came.
        status: u16,
    },
    /// The reply does not name our request: it may be the answer to another one.
    #[error("{call}: the reply does not carry the id of the request")]
    Echo {
        /// What was asked.
        call: String,
    },
    /// The reply is not what this call returns.
    #[error("{call}: {reason}")]
    Malformed {
        /// What was asked.
        call: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The API understood and refused.
    #[error("{call}: refused with code {code}: {description}")]
    Refused {
        /// What was asked.
        call: String,
        /// What the code means.
        refusal: Refusal,
        /// The code.
        code: u32,
        /// The server's own words.
        description: String,
    },
    /// A kernel node understood and refused.
    #[error("{call}: the kernel refused: {text}")]
    Kernel {
        /// What was asked.
        call: String,
        /// The node's own words.
        text: String,
    },
}

impl LedgerError {
    pub(super) fn malformed(call: &str, reason: impl fmt::Display) -> Self {
        Self::Malformed { call: call.to_owned(), reason: shown(&reason.to_string()) }
    }

    pub(super) fn refused(call: &str, body: &ErrorBody) -> Self {
        Self::Refused {
            call: call.to_owned(),
            refusal: Refusal::of(body.code),
            code: body.code,
            description: shown(&body.description),
        }
    }

    /// A kernel node refused `call` with `text`.
    pub fn kernel(call: &str, text: &str) -> Self {
        Self::Kernel { call: call.to_owned(), text: shown(text) }
    }

    /// True where the same call may succeed later without anybody's doing.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Http { source, .. } => source.retryable(),
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Echo { .. } => true,
            Self::Malformed { .. } | Self::Kernel { .. } => false,
            Self::Refused { refusal, .. } => refusal.retryable(),
        }
    }

    /// What the API refused for, where it did.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Http { .. }
            | Self::Status { .. }
            | Self::Echo { .. }
            | Self::Malformed { .. }
            | Self::Kernel { .. } => None,
        }
    }

    /// The same, as the rest of the member sees it.
    pub fn during(self, doing: &'static str) -> LedgerFault {
        let retryable = self.retryable();
        match self.refusal() {
            Some(Refusal::NotRegistered) => LedgerFault::NotRegistered { doing },
            Some(Refusal::InputLocked) => LedgerFault::InputLocked { doing },
            Some(Refusal::OutputKeyUsed) => LedgerFault::KeyUsed { doing },
            Some(_) if !retryable => LedgerFault::Refused { doing, source: Box::new(self) },
            Some(_) | None if matches!(self, Self::Kernel { .. }) => {
                LedgerFault::Refused { doing, source: Box::new(self) }
            }
            Some(_) | None => LedgerFault::Transport { doing, retryable, source: Box::new(self) },
        }
    }

    /// True where the reply was longer than the caller reads: a smaller page may fit.
    pub const fn is_too_long(&self) -> bool {
        matches!(self, Self::Http { source: HttpError::BodyTooLong { .. }, .. })
    }
}

/// The start of a foreign text, without control characters.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_should_be_cut_and_cleaned() {
        let error = LedgerError::kernel("sendrawtransaction", &format!("a\n\x1b[31m{}", "x".repeat(1000)));
        let text = error.to_string();
        assert!(text.len() < 300 && !text.contains('\n') && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn only_what_may_change_by_itself_should_be_retryable() {
        let status = |status| LedgerError::Status { call: "me".to_owned(), status };
        assert!(status(502).retryable() && status(429).retryable() && !status(404).retryable());
        assert!(Refusal::of(429).retryable() && Refusal::of(500).retryable());
        for code in [400, 401, 403, 404, 10002, 10105, 10404, 20117, 20125, 20150, 2_000_001, 2_000_002, 2_000_003, 7] {
            assert!(!Refusal::of(code).retryable(), "{code}");
        }
        assert!(!LedgerError::kernel("x", "y").retryable());
    }
}
