//! Calls that fail, hang, or are done without an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::time::sleep;

use super::registry::Place;
use super::{Answer, Disturbance, Fault};
use crate::devnet::ledger::auth::claimed_user;
use crate::devnet::ledger::store::Ledger;
use crate::ledger::wire::{ERROR_STATUS, code};

/// Every call of the API passes here, but those of the administration.
pub(crate) async fn at_api(State(ledger): State<Arc<Ledger>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/admin/") {
        return next.run(request).await;
    }
    let caller = claimed_user(request.headers());
    let meant = |fault: &Fault| {
        let Fault::Disturb(how) = fault else { return None };
        let method = how.method.as_deref().is_none_or(|method| method == request.method().as_str());
        let path = how.path.as_deref().is_none_or(|start| path.starts_with(start));
        (method && path).then(|| how.clone())
    };
    let act = ledger.faults.act(Place::of(caller.as_slice()), meant);
    let Some(how) = act.map(|act| act.what) else { return next.run(request).await };
    sleep(Duration::from_millis(how.pause_ms)).await;
    let too_many = || {
        let error =
            json!({ "status": ERROR_STATUS, "code": code::TOO_MANY_REQUESTS, "description": "Too many requests." });
        (StatusCode::ACCEPTED, Json(json!({ "error": error }))).into_response()
    };
    let Some(other) = answer(how.answer, too_many) else { return next.run(request).await };
    if how.applied {
        next.run(request).await;
    }
    other
}

/// The disturbance of a kernel node's `method`, if one is meant to act now. The pause is over when it is given.
pub(crate) async fn at_node(ledger: &Ledger, node: u16, method: &str) -> Option<Disturbance> {
    let act = ledger.faults.act(Place::at(node), |fault| {
        let Fault::Disturb(how) = fault else { return None };
        how.method.as_deref().is_none_or(|wanted| wanted == method).then(|| how.clone())
    });
    let how = act?.what;
    sleep(Duration::from_millis(how.pause_ms)).await;
    Some(how)
}

/// What comes back in place of the right answer, if anything does.
pub(crate) fn answer(answer: Answer, too_many: impl Fn() -> Response) -> Option<Response> {
    match answer {
        Answer::Right => None,
        Answer::ServerError => {
            let error = json!({ "status": 500, "code": code::SERVER, "description": "Internal Server Error" });
            Some((StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error }))).into_response())
        }
        Answer::BadGateway => {
            Some((StatusCode::BAD_GATEWAY, Html("<html><body>502 Bad Gateway</body></html>")).into_response())
        }
        Answer::TooMany => Some(too_many()),
        Answer::Cut => {
            let broken = io::Error::from(io::ErrorKind::ConnectionReset);
            let parts: [io::Result<&'static [u8]>; 2] = [Ok(b"{\"data\":"), Err(broken)];
            Some(Body::from_stream(stream::iter(parts)).into_response())
        }
    }
}
