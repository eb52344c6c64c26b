//! Servers that are no service: they answer without end, or speak no TLS.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use futures_util::stream;
use lockstep::ledger::LedgerError;
use lockstep_core::B256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::scene::Scene;

/// What both clients read of one reply: a row with the largest extra as hex, and as much again.
const REPLY_BYTES_MAX: usize = 20 << 20;
const CHUNK: usize = 1 << 20;

/// What a client says of a server that gives `body` to every request.
async fn said(body: fn() -> Body) -> [LedgerError; 2] {
    let answer = move |headers: HeaderMap| async move {
        let response = Response::builder().header("content-type", "application/json");
        match headers.get("x-request-id") {
            Some(id) => response.header("x-request-id", id),
            None => response,
        }
        .body(body())
        .expect("a response")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(answer);
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
    let service = Scene::new().service(&url, &url);
    let api = service.alice.me().await.expect_err("no user");
    let node = service.kernel.transaction(B256::ZERO).await.expect_err("no transaction");
    server.abort();
    [api, node]
}

/// An object of so many bytes that is the answer to no call.
fn json(bytes: usize) -> Body {
    let (start, end) = (br#"{"data":1,"padding":""#.as_slice(), br#""}"#.as_slice());
    let mut body = start.to_vec();
    body.resize(bytes.saturating_sub(end.len()), b'x');
    body.extend_from_slice(end);
    Body::from(body)
}

/// Without its length: nobody knows how much comes.
fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; CHUNK]))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_beyond_the_limit_should_not_be_read() {
    let bodies: [fn() -> Body; 2] = [|| json(REPLY_BYTES_MAX + 1), endless];
    for body in bodies {
        for error in said(body).await {
            assert!(error.is_too_long() && !error.retryable(), "{error:?}");
            let chain = format!("{:#}", anyhow::Error::from(error));
            assert!(chain.ends_with(&format!(": the reply is longer than {REPLY_BYTES_MAX} bytes")), "{chain}");
        }
    }
}

/// The largest one is read to its end, and then judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_at_the_limit_should_be_read() {
    let service = said(|| json(REPLY_BYTES_MAX)).await;
    assert!(!service.iter().any(LedgerError::is_too_long), "{service:?}");
}

/// A server that answers what is no TLS with what is none.
async fn plain() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    (url, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_tls_should_be_named_as_such() {
    let (url, server) = plain().await;
    let service = Scene::new().service(&url, &url);
    let api = service.alice.me().await.expect_err("no TLS");
    let node = service.kernel.transaction(B256::ZERO).await.expect_err("no TLS");
    for (call, error) in [("GET /safe/me", api), ("gettransaction", node)] {
        assert!(error.retryable() && error.refusal().is_none(), "{error:?}");
        let chain = format!("{:#}", anyhow::Error::from(error));
        assert!(chain.starts_with(&format!("{call}: no secure connection: what answers speaks no TLS")), "{chain}");
    }
    server.abort();
}
