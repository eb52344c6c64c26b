//! A server that gives recorded answers, and keeps what it was asked.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use lockstep_core::mixin::SignedTransaction;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::scene::Names;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One call and its answers.
#[derive(Debug)]
struct Exchange {
    call: String,
    query: Option<String>,
    replies: Vec<(u16, Value)>,
    played: usize,
}

#[derive(Debug)]
struct Tape {
    names: Names,
    exchanges: Vec<Exchange>,
    seen: Vec<Seen>,
}

/// A player; it stops when it is dropped.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) url: String,
    tape: Arc<Mutex<Tape>>,
    server: JoinHandle<()>,
}

impl Drop for Player {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Player {
    /// Plays a list of exchanges (see `tests/recorded`).
    pub(super) async fn start(exchanges: &Value, names: Names) -> Self {
        let text = |value: &Value| fill(value.as_str().expect("text"), &names);
        let exchange = |one: &Value| Exchange {
            call: text(&one["call"]),
            query: one.get("query").map(text),
            replies: one["replies"].as_array().expect("replies").iter().map(reply).collect(),
            played: 0,
        };
        let exchanges = exchanges.as_array().expect("a list").iter().map(exchange).collect();
        let tape = Arc::new(Mutex::new(Tape { names, exchanges, seen: Vec::new() }));
        let router = Router::new().fallback(play).with_state(Arc::clone(&tape));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, tape, server }
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().expect("no panic")
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.tape().seen.clone()
    }

    /// Calls of which some answers were never given.
    pub(super) fn unplayed(&self) -> Vec<String> {
        let tape = self.tape();
        let left = tape.exchanges.iter().filter(|exchange| exchange.played < exchange.replies.len());
        left.map(|exchange| exchange.call.clone()).collect()
    }
}

fn reply(value: &Value) -> (u16, Value) {
    (u16::try_from(value["status"].as_u64().expect("a status")).expect("a status"), value["body"].clone())
}

async fn play(
    State(tape): State<Arc<Mutex<Tape>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut tape = tape.lock().expect("no panic");
    let posted = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    tape.remember(&uri, &posted);
    let (status, reply) = tape.answer(&method, &uri, &posted);
    tape.seen.push(Seen { method: method.to_string(), uri: uri.to_string(), headers: headers.clone(), body });
    let mut response = Response::builder().status(status);
    if let Some(id) = headers.get("x-request-id") {
        response = response.header("x-request-id", id);
    }
    response.body(Body::from(reply)).expect("a response")
}

impl Tape {
    /// Takes the values that this request brings.
    fn remember(&mut self, uri: &Uri, posted: &Value) {
        let body = posted.get(0).unwrap_or(posted);
        let Some(raw) = body["raw"].as_str() else { return };
        let bytes = hex::decode(raw).expect("hex");
        let hash = SignedTransaction::decode(&bytes).expect("a transaction").hash();
        self.names.insert("raw".into(), raw.to_owned());
        self.names.insert("hash".into(), hex::encode(hash));
        match uri.path() {
            "/safe/transactions" => self.names.insert("sent".into(), hex::encode(hash)),
            "/safe/multisigs" => self.names.insert("unsigned".into(), raw.to_owned()),
            path if path.ends_with("/sign") => self.names.insert("signed".into(), raw.to_owned()),
            _ => None,
        };
    }

    /// The most specific exchange for the call, and its next answer.
    fn answer(&mut self, method: &Method, uri: &Uri, posted: &Value) -> (u16, String) {
        let first = match &posted["params"][0] {
            Value::String(text) => text.as_str(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => "",
        };
        // A kernel node has one path, and the method in the body.
        let call = match posted["method"].as_str() {
            Some(rpc) => format!("{rpc} {first}"),
            None => format!("{method} {}", uri.path()),
        };
        let query = uri.query().unwrap_or_default();
        let fits = |exchange: &&mut Exchange| {
            let exact = call == exchange.call;
            let general = exchange.call.ends_with('/') || posted["method"] == exchange.call.as_str();
            (exact || general && call.starts_with(&exchange.call))
                && exchange.query.as_deref().is_none_or(|part| query.contains(part))
        };
        let found = self.exchanges.iter_mut().filter(fits).max_by_key(|exchange| exchange.call.len());
        let exchange = found.unwrap_or_else(|| panic!("nothing is recorded for {call}?{query}"));
        let at = exchange.played.min(exchange.replies.len().saturating_sub(1));
        exchange.played = exchange.played.saturating_add(1);
        let (status, body) = &exchange.replies[at];
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        (*status, fill(&text, &self.names))
    }
}

/// Puts values in the places of `{{names}}`.
fn fill(text: &str, names: &Names) -> String {
    let mut parts = text.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").expect("an end of the name");
        filled.push_str(names.get(name).unwrap_or_else(|| panic!("nothing is called {name}")));
        filled.push_str(rest);
    }
    filled
}
