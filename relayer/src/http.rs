//! The one way to make an HTTP client, and to read what comes back.
//!
//! The TLS provider has to be installed before the first client is built, or the builder panics; and a reply has to be
//! read with a limit, or a hostile server fills the memory. Both are easy to forget, so nothing else builds a client.

use std::error::Error;
use std::io;
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
    /// A connection, and no TLS over it.
    #[error(
        "no secure connection: what answers speaks no TLS, or shows a certificate that this machine does not trust"
    )]
    Tls(#[source] reqwest::Error),
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
            Self::Timeout(_) | Self::Connect(_) | Self::Tls(_) | Self::Broken(_) => true,
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
            if is_of_tls(&error) { Self::Tls(error) } else { Self::Connect(error) }
        } else {
            Self::Broken(error)
        }
    }
}

/// True where TLS failed, not the way there.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        // What an `io::Error` is made of is not its source: it has that one's source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = inner.map_or_else(|| error.source(), |inner| Some(inner));
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::{Signer, SigningKey};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
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

    /// One DER value: tag, length, content (X.690, 8.1).
    fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = u16::try_from(content.len()).expect("a short value").to_be_bytes();
        let length: &[u8] = match length {
            [0, short] if short < 0x80 => &[short],
            [0, long] => &[0x81, long],
            [high, low] => &[0x82, high, low],
        };
        [&[tag], length, &content].concat()
    }

    /// A certificate for 127.0.0.1 that its own Ed25519 key signed (RFC 5280, RFC 8410), and that key.
    fn self_signed() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let (seed, algorithm) = ([7; 32], der(0x30, &[&[0x06, 3, 0x2b, 0x65, 0x70]]));
        let key = SigningKey::from_bytes(&seed);
        let bits = |bytes: &[u8]| der(0x03, &[&[0], bytes]);
        let years = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"490101000000Z"])]);
        let public = der(0x30, &[&algorithm, &bits(key.verifying_key().as_bytes())]);
        let name = der(0x04, &[&der(0x30, &[&der(0x87, &[&[127, 0, 0, 1]])])]);
        let names = der(0x30, &[&der(0x30, &[&[0x06, 3, 0x55, 0x1d, 0x11], &name])]);
        let (version, nobody) = (der(0xa0, &[&[0x02, 1, 2]]), der(0x30, &[]));
        let parts: [&[u8]; 8] =
            [&version, &[0x02, 1, 1], &algorithm, &nobody, &years, &nobody, &public, &der(0xa3, &[&names])];
        let signed = der(0x30, &parts);
        let certificate = der(0x30, &[&signed, &algorithm, &bits(&key.sign(&signed).to_bytes())]);
        let key = der(0x30, &[&[0x02, 1, 0], &algorithm, &der(0x04, &[&der(0x04, &[&seed])])]);
        (certificate.into(), PrivatePkcs8KeyDer::from(key).into())
    }

    /// A server that speaks TLS with that certificate.
    fn untrusted() -> String {
        install_tls_provider();
        let (certificate, key) = self_signed();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let config = Arc::new(config.expect("a certificate and its key"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("https://{}/", listener.local_addr().expect("an address"));
        // On its own: a runtime would wait for it at its end, also where nobody connects.
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut session = rustls::ServerConnection::new(config).expect("a session");
            // It fails where the client does not go on.
            let _ = session.complete_io(&mut stream);
        });
        url
    }

    #[tokio::test]
    async fn a_server_without_trusted_tls_should_be_named_as_such() {
        let plain = answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", true).await;
        for (url, why) in [(plain.replace("http", "https"), "InvalidContentType"), (untrusted(), "UnknownIssuer")] {
            let error = fetch(&url).await.expect_err("no TLS to trust");
            assert!(matches!(error, HttpError::Tls(_)) && error.retryable(), "{error:?}");
            let said = format!("{:#}", anyhow::Error::from(error));
            assert!(said.starts_with("no secure connection: ") && said.contains(why), "{said}");
        }
    }
}
