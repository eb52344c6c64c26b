//! The answering end.
//!
//! Checks go from cheap to dear: form and addressee, member, time, then the body (bounded in size and time), its digest
//! and the signature. Only what passed all of them touches the books of a peer, or the store.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::guard::{Guard, Refused};
use super::signature::{self, GROUP, RequestParts, SIGNATURE, Signed, TO};
use super::wire::{
    AskCeremony, AskHistory, AskMask, AskPartial, AskPayout, AskSeed, AskStatus, CEREMONY, GOVERNANCE, HISTORY, MASK,
    PARTIAL, PAYOUT_HASH, PAYOUT_SEED, PAYOUT_SIGNATURE, PayoutHash, PayoutSignatures, Refusal, STATUS,
};
use super::{AnswerCeremony, AnswerError, AnswerPeers, AskGovernance, BODY_MAX, Local, Peer, WINDOW_S};

/// Requests in work at once: with 64 KiB each, at most 16 MiB of bodies.
const AT_ONCE_MAX: usize = 256;
/// Longest time that a body may take to arrive. It is at most 64 KiB, mostly 100 bytes.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time that the answer about a ceremony may wait for news, whatever the asker wants.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The routes that members call. Serve it on an address of its own.
pub fn router<A: AnswerPeers>(local: Local, answers: Arc<A>) -> Router {
    let server = Server::new(local, answers, Admitted::Members);
    Router::new()
        .route(PARTIAL, post(partial::<A>))
        .route(PAYOUT_HASH, post(payout_hash::<A>))
        .route(PAYOUT_SIGNATURE, post(payout_signature::<A>))
        .route(PAYOUT_SEED, post(payout_seed::<A>))
        .route(MASK, post(mask::<A>))
        .route(GOVERNANCE, post(governance::<A>))
        .route(HISTORY, post(history::<A>))
        .route(STATUS, post(status::<A>))
        .with_state(server)
}

/// The route that participants of a ceremony call. It has books and limits of its own, so that neither a guest nor a request
/// that waits takes anything from the members.
pub fn ceremony_router<A: AnswerCeremony>(local: Local, answers: Arc<A>) -> Router {
    Router::new().route(CEREMONY, post(ceremony::<A>)).with_state(Server::new(local, answers, Admitted::Everybody))
}

/// Serves that route alone, until it is dropped: for a member whose service does not run.
///
/// # Errors
/// Whatever stops the listener.
pub async fn serve_ceremony<A: AnswerCeremony>(
    listener: TcpListener,
    local: Local,
    answers: Arc<A>,
) -> std::io::Result<()> {
    axum::serve(listener, ceremony_router(local, answers)).await
}

/// Whose questions are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    /// Who has a seat in some generation.
    Members,
    /// All in the directory.
    Everybody,
}

struct Server<A> {
    local: Local,
    answers: Arc<A>,
    admitted: Admitted,
    guard: Guard,
    at_once: Semaphore,
}

type Shared<A> = State<Arc<Server<A>>>;

async fn partial<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    server.handle(request, |ask: AskPartial| server.answers.partial(ask.sequence)).await
}

async fn payout_hash<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    let answers = &server.answers;
    let answer = |AskPayout { trace, attempt }| async move {
        let hash = answers.payout_hash(trace, attempt).await?;
        Ok(hash.map(|hash| PayoutHash { trace, attempt, hash }))
    };
    server.handle(request, answer).await
}

async fn payout_signature<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    let answers = &server.answers;
    let answer = |AskPayout { trace, attempt }| async move {
        let signatures = answers.payout_signature(trace, attempt).await?;
        Ok(signatures.map(|signatures| PayoutSignatures { trace, attempt, signatures }))
    };
    server.handle(request, answer).await
}

async fn payout_seed<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    let (answers, group_id) = (&server.answers, server.local.directory.group_id());
    let answer = async |from: Peer, ask: AskSeed| {
        let part = answers.payout_seed(from.key(), ask.question()).await?;
        Ok(part.map(|part| ask.subject(&group_id).seal(&part, &from.identity, &rand::random())))
    };
    server.handle_from(request, answer).await
}

async fn mask<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    let (answers, group_id) = (&server.answers, server.local.directory.group_id());
    let answer = async |from: Peer, ask: AskMask| {
        let part = answers.mask(ask.question()).await?;
        Ok(part.map(|part| ask.subject(&group_id).seal(&part, &from.identity, &rand::random())))
    };
    server.handle_from(request, answer).await
}

async fn status<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    let answers = &server.answers;
    server.handle(request, |AskStatus {}| async move { answers.status().await.map(Some) }).await
}

async fn history<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    let answers = &server.answers;
    server.handle(request, |AskHistory { at }| async move { answers.history(at).await.map(Some) }).await
}

async fn governance<A: AnswerPeers>(State(server): Shared<A>, request: Request) -> Response {
    server.handle(request, |ask: AskGovernance| server.answers.governance(ask)).await
}

async fn ceremony<A: AnswerCeremony>(State(server): Shared<A>, request: Request) -> Response {
    let answers = &server.answers;
    let answer = async |from: Peer, AskCeremony { ceremony, after, wait_ms }| {
        answers.page(&from, ceremony, after, Duration::from_millis(wait_ms).min(WAIT_MAX)).await
    };
    server.handle_from(request, answer).await
}

/// A question whose sender is known.
struct Authentic {
    from: Peer,
    /// The `signature` header: what the answer refers to.
    signature: String,
    body: Bytes,
}

/// Why a question is not answered. Before its sender is known, the refusal is not signed: a stranger gets no signature.
struct Unanswered {
    status: StatusCode,
    reason: String,
}

impl Unanswered {
    fn new(status: StatusCode, reason: impl ToString) -> Self {
        Self { status, reason: reason.to_string() }
    }
}

impl<A> Server<A> {
    fn new(local: Local, answers: Arc<A>, admitted: Admitted) -> Arc<Self> {
        Arc::new(Self { local, answers, admitted, guard: Guard::default(), at_once: Semaphore::new(AT_ONCE_MAX) })
    }

    async fn handle<Q, T, F>(&self, request: Request, answer: impl FnOnce(Q) -> F + Send) -> Response
    where
        Q: DeserializeOwned + Send,
        T: Serialize,
        F: Future<Output = Result<Option<T>, AnswerError>> + Send,
    {
        self.handle_from(request, |_, question| answer(question)).await
    }

    async fn handle_from<Q, T, F>(&self, request: Request, answer: impl FnOnce(Peer, Q) -> F + Send) -> Response
    where
        Q: DeserializeOwned + Send,
        T: Serialize,
        F: Future<Output = Result<Option<T>, AnswerError>> + Send,
    {
        let Ok(_permit) = self.at_once.try_acquire() else {
            return unsigned(&Unanswered::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once"));
        };
        let path = request.uri().path().to_owned();
        let asked = match self.authenticate(request).await {
            Ok(asked) => asked,
            Err(refused) => {
                debug!(path, status = refused.status.as_u16(), reason = refused.reason, "request refused");
                return unsigned(&refused);
            }
        };
        let (status, body) = match serde_json::from_slice(&asked.body) {
            Err(error) => refusal(StatusCode::BAD_REQUEST, &format!("not the expected JSON: {error}")),
            Ok(question) => self.reply(&asked, answer(asked.from.clone(), question).await),
        };
        debug!(path, from = asked.from.name, status = status.as_u16(), "request answered");
        self.signed(&asked, status, body)
    }

    fn reply<T: Serialize>(&self, asked: &Authentic, answer: Result<Option<T>, AnswerError>) -> (StatusCode, Vec<u8>) {
        match answer {
            Ok(Some(answer)) => match serde_json::to_vec(&answer) {
                Ok(body) if body.len() <= BODY_MAX => (StatusCode::OK, body),
                Ok(body) => {
                    warn!(from = asked.from.name, bytes = body.len(), "answer is larger than any may be");
                    refusal(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too large")
                }
                Err(error) => {
                    warn!(from = asked.from.name, %error, "answer cannot be written");
                    refusal(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written")
                }
            },
            Ok(None) => refusal(StatusCode::NOT_FOUND, "not yet"),
            Err(error @ (AnswerError::Halted | AnswerError::Stopped)) => {
                refusal(StatusCode::CONFLICT, &error.to_string())
            }
            Err(AnswerError::Unavailable(cause)) => {
                warn!(from = asked.from.name, %cause, "peer cannot be answered");
                refusal(StatusCode::SERVICE_UNAVAILABLE, "this member cannot answer now")
            }
        }
    }

    async fn authenticate(&self, request: Request) -> Result<Authentic, Unanswered> {
        let (head, body) = request.into_parts();
        let unauthorized = |error| Unanswered::new(StatusCode::UNAUTHORIZED, error);
        let bad = |error: signature::SignatureError| Unanswered::new(StatusCode::BAD_REQUEST, error);

        let group = signature::single(&head.headers, &GROUP).map_err(bad)?;
        if group != hex::encode(self.local.directory.group_id()) {
            return Err(Unanswered::new(StatusCode::MISDIRECTED_REQUEST, "another group's request"));
        }
        let own = self.local.key();
        if signature::single(&head.headers, &TO).map_err(bad)? != hex::encode(own) {
            return Err(Unanswered::new(StatusCode::MISDIRECTED_REQUEST, "a request to another member"));
        }
        let signed = Signed::request(&head.headers).map_err(bad)?;
        let from = self.sender(&signed)?;
        let now = (self.local.clock)();
        signed.check_time(now, WINDOW_S).map_err(unauthorized)?;

        let body = read(&head.headers, body).await?;
        let parts = RequestParts { method: Method::POST.as_str(), path: head.uri.path(), group, to: &own };
        signed.verify_request(&from.identity, parts, &body).map_err(unauthorized)?;
        let nonce = signed.parameters.nonce.unwrap_or_default();
        match self.guard.admit(from.key(), signed.parameters.created, nonce, now) {
            Ok(()) => {}
            Err(Refused::TooMany) => return Err(Unanswered::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")),
            Err(Refused::Replayed) => {
                return Err(Unanswered::new(StatusCode::UNAUTHORIZED, "this request was made before"));
            }
        }
        let signature = signature::single(&head.headers, &SIGNATURE).map_err(bad)?.to_owned();
        Ok(Authentic { from, signature, body })
    }

    fn sender(&self, signed: &Signed) -> Result<Peer, Unanswered> {
        let peer = self.local.directory.by_identity(&signed.parameters.key);
        let heard = |peer: &Peer| self.admitted == Admitted::Everybody || peer.is_member();
        peer.filter(heard)
            .ok_or_else(|| Unanswered::new(StatusCode::FORBIDDEN, "the key belongs to no member of the group"))
    }

    fn signed(&self, asked: &Authentic, status: StatusCode, body: Vec<u8>) -> Response {
        let now = (self.local.clock)();
        let headers = signature::sign_answer(&self.local.identity, now, status.as_u16(), &asked.signature, &body);
        let mut response = json(status, body);
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Unanswered> {
    let too_large = || Unanswered::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB");
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > BODY_MAX as u64) {
        return Err(too_large());
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_MAX)).await;
    let body = body.map_err(|_| Unanswered::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?;
    body.map_err(|_| too_large())
}

fn refusal(status: StatusCode, error: &str) -> (StatusCode, Vec<u8>) {
    (status, serde_json::to_vec(&Refusal { error: error.into() }).unwrap_or_default())
}

fn unsigned(refused: &Unanswered) -> Response {
    let (status, body) = refusal(refused.status, &refused.reason);
    json(status, body)
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
