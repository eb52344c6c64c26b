//! The one way to make an HTTP client, and to read what comes back.
//!
//! The TLS provider has to be installed before the first client is built, or the builder panics; and a reply has to be
//! read with a limit, or a hostile server fills the memory. Both are easy to forget, so nothing else builds a client.

use std::time::Duration;

use reqwest::Response;
use reqwest::redirect::Policy;
use thiserror::Error;

pub use reqwest::{Client, Method, Url};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept per host: one task asks a host at a time, a few more while a group signs.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// A client whose requests end within `timeout`, body included. It follows no redirects and reads no proxy from the
/// environment: requests go where the configuration says.
///
/// # Errors
/// Where the TLS roots of the system cannot be loaded.
pub fn http_client(timeout: Duration) -> Result<Client, HttpError> {
    patient_http_client(timeout, timeout)
}

/// As [`http_client`], for large bodies over slow lines: a request also ends where nothing comes for `silence`, so that
/// `timeout` can leave a body the time that it needs.
///
/// # Errors
/// As [`http_client`].
pub fn patient_http_client(silence: Duration, timeout: Duration) -> Result<Client, HttpError> {
    install_tls_provider();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(silence))
        .read_timeout(silence)
        .timeout(timeout)
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(HttpError::from)
}

/// Makes *ring* the TLS provider of this process. A second call changes nothing.
pub fn install_tls_provider() {
    // It fails only where a provider stands already, and this function is the only one that installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The body of `response`, of at most `bytes_max` bytes.
///
/// # Errors
/// A longer body, announced or not, and a connection that breaks.
pub async fn read_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |bytes| bytes > bytes_max) {
        return Err(HttpError::BodyTooLong { bytes_max });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(HttpError::BodyTooLong { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why no reply was read.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No reply in time.
    #[error("no reply in time")]
    Timeout(#[source] reqwest::Error),
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] reqwest::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// A request that cannot be sent at all, or a client that cannot be built: the configuration is wrong.
    #[error("the request cannot be made")]
    Unsendable(#[source] reqwest::Error),
    /// More than the caller is ready to read.
    #[error("the reply is longer than {bytes_max} bytes")]
    BodyTooLong {
        /// The caller's limit.
        bytes_max: usize,
    },
}

impl HttpError {
    /// True where the same request may succeed later.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Connect(_) | Self::Broken(_) => true,
            Self::Unsendable(_) | Self::BodyTooLong { .. } => false,
        }
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        // The address can hold identifiers of a member; who asks knows it anyway.
        let error = error.without_url();
        if error.is_builder() {
            Self::Unsendable(error)
        } else if error.is_timeout() {
            Self::Timeout(error)
        } else if error.is_connect() {
            Self::Connect(error)
        } else {
            Self::Broken(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with `reply` and then keeps the connection open, or closes it.
    async fn answering(reply: &'static str, keep_open: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(reply.as_bytes()).await;
            if keep_open {
                std::future::pending::<()>().await;
            }
        });
        url
    }

    async fn fetch(url: &str) -> Result<Vec<u8>, HttpError> {
        let client = http_client(Duration::from_millis(300)).expect("a client");
        read_body(client.get(url).send().await?, 8).await
    }

    #[tokio::test]
    async fn a_long_body_should_be_refused_announced_or_not() {
        let announced = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789", true).await;
        assert!(matches!(fetch(&announced).await, Err(HttpError::BodyTooLong { bytes_max: 8 })));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n";
        assert!(matches!(fetch(&answering(chunked, true).await).await, Err(HttpError::BodyTooLong { .. })));
    }

    #[tokio::test]
    async fn silence_and_broken_replies_should_be_retryable() {
        let silent = fetch(&answering("", true).await).await.expect_err("silence");
        assert!(matches!(silent, HttpError::Timeout(_)) && silent.retryable());
        let half = answering("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n1234", false).await;
        assert!(matches!(fetch(&half).await, Err(error) if error.retryable()));
        assert!(matches!(fetch("http://127.0.0.1:1/").await, Err(HttpError::Connect(_))));
        assert!(matches!(fetch("no url").await, Err(error) if !error.retryable()));
    }

    #[tokio::test]
    async fn a_slow_body_should_be_read_and_a_silent_one_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n").await;
            for byte in b"12345678" {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let _ = stream.write_all(&[*byte]).await;
            }
        });
        let (silence, long) = (Duration::from_secs(3), Duration::from_secs(600));
        let client = patient_http_client(silence, long).expect("a client");
        let slow = client.get(&url).send().await.expect("a reply");
        assert_eq!(read_body(slow, 8).await.expect("eight bytes in more than the silence"), b"12345678");

        let client = patient_http_client(Duration::from_millis(300), long).expect("a client");
        let half = answering("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n1234", true).await;
        let half = client.get(&half).send().await.expect("a reply");
        assert!(matches!(read_body(half, 8).await, Err(HttpError::Timeout(_))), "long before ten minutes are over");
    }

    #[tokio::test]
    async fn a_redirect_should_not_be_followed() {
        let url =
            answering("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nno", true).await;
        assert_eq!(fetch(&url).await.expect("the reply itself"), b"no");
    }
}
