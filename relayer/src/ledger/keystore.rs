//! A ledger user's credentials, in the form in which the ledger's dashboard hands them out.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::ZeroizeOnDrop;

use super::wire::Hex32;

/// 32 secret bytes: an Ed25519 seed. Erased when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Seed(#[serde(with = "hex::serde")] [u8; 32]);

impl Seed {
    /// Takes the bytes of a seed.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that signs.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// What one ledger user needs to call the API and to spend (`bot-api-go-client`'s keystore file).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keystore {
    /// The ledger user.
    pub app_id: Uuid,
    /// The API session.
    pub session_id: Uuid,
    /// Signs API requests.
    pub session_private_key: Seed,
    /// The server's side of the session; kept for completeness, nothing here needs it.
    pub server_public_key: Hex32,
    /// Signs transactions, together with the view of each coin.
    pub spend_private_key: Seed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keystore_should_read_as_the_dashboard_writes_it_and_show_no_secret() {
        let key = |byte: &str| byte.repeat(32);
        let text = format!(
            r#"{{"app_id":"c94ac88f-4671-3976-b60a-09064f1811e8","session_id":"00000000-0000-0000-0000-000000000001",
            "session_private_key":"{}","server_public_key":"{}","spend_private_key":"{}"}}"#,
            key("a1"),
            key("b2"),
            key("c3")
        );
        let keystore: Keystore = serde_json::from_str(&text).expect("a keystore");
        assert_eq!(keystore.spend_private_key, Seed::new([0xc3; 32]));
        let shown = format!("{keystore:?}");
        assert!(!shown.contains("a1a1") && !shown.contains("c3c3"), "{shown}");
        assert!(serde_json::from_str::<Keystore>(&text.replace(&key("c3"), "c3")).is_err());
    }
}
