//! The one way to an EVM endpoint: bounded in time and in bytes.

use std::task::{Context, Poll};
use std::time::Duration;

use alloy::providers::RootProvider;
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use thiserror::Error;

use crate::http::{Client, HttpError, Url, http_client, read_body};

/// Time for a whole call of a command. Log queries of busy nodes take seconds, not tens of them.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of one answer. A page of logs is far below; a hostile endpoint must not fill our memory.
pub const RESPONSE_MAX: usize = 32 * 1024 * 1024;

/// A provider that only asks: signing and nonces are the submitter's own business.
pub type EvmProvider = RootProvider;

/// True where an answer that is smaller might come: the endpoint refuses, takes too long, or says more than is read.
pub fn wants_less(error: &TransportError) -> bool {
    let cut = match error.as_transport_err() {
        Some(TransportErrorKind::Custom(cause)) => cause.downcast_ref::<HttpError>(),
        Some(_) | None => None,
    };
    error.is_error_resp() || matches!(cut, Some(HttpError::BodyTooLong { .. } | HttpError::Timeout(_)))
}

/// Why no provider could be made.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// Not an http or https address.
    #[error("`{0}` is not an http(s) address of an RPC endpoint")]
    Address(String),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] HttpError),
}

/// A provider for the endpoint at `url`, for commands. Nothing is sent yet.
///
/// # Errors
/// Where `url` is no http address.
pub fn provider(url: &str) -> Result<EvmProvider, ProviderError> {
    provider_within(url, CALL_TIMEOUT)
}

/// A provider whose calls end within `timeout`, body included.
///
/// # Errors
/// As [`provider`].
pub fn provider_within(url: &str, timeout: Duration) -> Result<EvmProvider, ProviderError> {
    let address = || ProviderError::Address(url.chars().take(128).collect());
    let parsed = Url::parse(url).map_err(|_| address())?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(address());
    }
    let client = http_client(timeout).map_err(ProviderError::Client)?;
    Ok(RootProvider::new(RpcClient::new(BoundedHttp { client, url: parsed }, false)))
}

/// HTTP with a bound on the answer, which the stock transport lacks.
#[derive(Clone, Debug)]
struct BoundedHttp {
    client: Client,
    url: Url,
}

impl BoundedHttp {
    async fn exchange(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let sent = self.client.post(self.url).json(&request).send().await;
        let answer = sent.map_err(|error| TransportErrorKind::custom(HttpError::from(error)))?;
        let status = answer.status();
        let body = read_body(answer, RESPONSE_MAX).await.map_err(TransportErrorKind::custom)?;
        // Some endpoints put a JSON-RPC error into an HTTP error; its words say more than the status does.
        serde_json::from_slice(&body).map_err(|error| {
            let text: String = String::from_utf8_lossy(&body).chars().take(256).collect();
            if status.is_success() {
                TransportError::deser_err(error, text)
            } else {
                TransportErrorKind::http_error(status.as_u16(), text)
            }
        })
    }
}

impl tower_service::Service<RequestPacket> for BoundedHttp {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

#[cfg(test)]
mod tests {
    use alloy::providers::Provider as _;
    use tokio::net::TcpListener;

    use super::*;

    /// The listener takes the connection and says nothing, as a hanging node does.
    #[tokio::test]
    async fn a_silent_endpoint_should_be_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let silent = provider_within(&url, Duration::from_millis(50)).expect("a provider");
        let error = silent.get_block_number().await.expect_err("no answer");
        let Some(TransportErrorKind::Custom(cause)) = error.as_transport_err() else { panic!("{error:?}") };
        assert!(matches!(cause.downcast_ref(), Some(HttpError::Timeout(_))), "{cause:?}");
        assert!(wants_less(&error));
    }

    #[test]
    fn other_addresses_should_be_refused() {
        for url in ["", "localhost", "ws://127.0.0.1:1", "file:///etc/passwd"] {
            assert!(matches!(provider(url), Err(ProviderError::Address(_))), "{url}");
        }
        assert!(provider("http://127.0.0.1:1").is_ok());
    }
}
