//! A ledger user's credentials, in the form in which the ledger's dashboard hands them out.

use std::fmt;

use lockstep_core::mixin::PrivateKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use uuid::Uuid;
use zeroize::{ZeroizeOnDrop, Zeroizing};

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
    /// True where `spend_private_key` is the scalar itself: some old keys have no seed (`bot-api-go-client`,
    /// `IsSpendPrivateSum`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_spend_private_sum: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Keystore {
    /// Reads a keystore file. No message shows anything of what it holds.
    ///
    /// # Errors
    /// Names the field that is wrong, and how.
    pub fn parse(text: &str) -> Result<Self, KeystoreError> {
        let fields: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| KeystoreError::NotJson { line: error.line(), column: error.column() })?;
        let string = |name| match fields.get(name) {
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(KeystoreError::NotText(name)),
            None => Err(KeystoreError::Missing(name)),
        };
        let uuid = |name| Uuid::parse_str(string(name)?).map_err(|_| KeystoreError::NotUuid(name));
        let bytes = |name| -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
            let (text, mut bytes) = (string(name)?, Zeroizing::new([0; 32]));
            match hex::decode_to_slice(text, bytes.as_mut_slice()) {
                Ok(()) => Ok(bytes),
                Err(_) if text.len() == 64 => Err(KeystoreError::NotHex(name)),
                Err(_) => Err(KeystoreError::Length { field: name, found: text.len() }),
            }
        };
        let is_spend_private_sum = match fields.get("is_spend_private_sum") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(KeystoreError::NotBool("is_spend_private_sum")),
        };
        if !fields.contains_key(SPEND) {
            return Err(KeystoreError::NoSpendKey);
        }
        let spend = bytes(SPEND)?;
        if is_spend_private_sum && PrivateKey::from_bytes(*spend).is_err() {
            return Err(KeystoreError::NotScalar);
        }
        Ok(Self {
            app_id: uuid("app_id")?,
            session_id: uuid("session_id")?,
            session_private_key: Seed::new(*bytes("session_private_key")?),
            server_public_key: Hex32(*bytes("server_public_key")?),
            spend_private_key: Seed::new(*spend),
            is_spend_private_sum,
        })
    }

    /// What this user spends with.
    pub fn spend_key(&self) -> PrivateKey {
        let seed = self.spend_private_key.expose();
        // `parse` lets no other scalar in.
        let scalar = self.is_spend_private_sum.then(|| PrivateKey::from_bytes(*seed).ok()).flatten();
        scalar.unwrap_or_else(|| PrivateKey::from_ed25519_seed(seed))
    }

    /// The public key of the other reading of `spend_private_key`: as a scalar where it is held as a seed, and the other way
    /// round. `None` where it can be no scalar.
    pub fn other_spend_public_key(&self) -> Option<[u8; 32]> {
        let seed = self.spend_private_key.expose();
        let other = if self.is_spend_private_sum {
            PrivateKey::from_ed25519_seed(seed)
        } else {
            PrivateKey::from_bytes(*seed).ok()?
        };
        Some(other.public().to_bytes())
    }
}

/// The field of the spend key.
const SPEND: &str = "spend_private_key";

/// Why a file is no keystore. It quotes nothing: most of the file is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeystoreError {
    /// Not a JSON object.
    #[error("it is no JSON object: line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A field that the dashboard writes.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// The dashboard writes none: it is registered once, by the operator.
    #[error(
        "`spend_private_key` is missing: register a spend key first, and add it to the file (deploy/ledger.md, step 4)"
    )]
    NoSpendKey,
    /// A number, a list, or the like.
    #[error("`{0}` is no text")]
    NotText(&'static str),
    /// Something else than true or false.
    #[error("`{0}` is neither true nor false")]
    NotBool(&'static str),
    /// Not an id.
    #[error("`{0}` is no UUID")]
    NotUuid(&'static str),
    /// Too short or too long.
    #[error("`{field}` has {found} characters, and must have 64: 32 bytes in hex")]
    Length {
        /// The field.
        field: &'static str,
        /// Its length.
        found: usize,
    },
    /// As long as it should be, and no hex.
    #[error("`{0}` is not in hex")]
    NotHex(&'static str),
    /// Called a scalar, and none.
    #[error(
        "`spend_private_key` is no scalar, as `is_spend_private_sum` says: it is zero, or not below the group order"
    )]
    NotScalar,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keystores_should_read_back(users: (u128, u128), session: [u8; 32], server: [u8; 32], spend: [u8; 32], is_sum: bool) {
            // A scalar is below the order of the group, which has 253 bits.
            let mut scalar = spend;
            (scalar[0], scalar[31]) = (scalar[0] | 1, scalar[31] & 0x0f);
            let keystore = Keystore {
                app_id: Uuid::from_u128(users.0),
                session_id: Uuid::from_u128(users.1),
                session_private_key: Seed::new(session),
                server_public_key: Hex32(server),
                spend_private_key: Seed::new(if is_sum { scalar } else { spend }),
                is_spend_private_sum: is_sum,
            };
            let written = serde_json::to_string(&keystore).expect("JSON");
            prop_assert_eq!(Keystore::parse(&written), Ok(keystore));
        }
    }

    fn public(key: &PrivateKey) -> [u8; 32] {
        key.public().to_bytes()
    }

    fn text(spend: &str, more: &str) -> String {
        let key = |byte: &str| byte.repeat(32);
        format!(
            r#"{{"app_id":"c94ac88f-4671-3976-b60a-09064f1811e8","session_id":"00000000-0000-0000-0000-000000000001",
            "session_private_key":"{}","server_public_key":"{}","spend_private_key":"{spend}"{more}}}"#,
            key("a1"),
            key("b2"),
        )
    }

    #[test]
    fn a_keystore_should_read_as_the_dashboard_writes_it_and_show_no_secret() {
        let keystore = Keystore::parse(&text(&"C3".repeat(32), r#","oauth":null"#)).expect("a keystore");
        assert_eq!(keystore.spend_private_key, Seed::new([0xc3; 32]));
        assert_eq!(public(&keystore.spend_key()), public(&PrivateKey::from_ed25519_seed(&[0xc3; 32])));
        let shown = format!("{keystore:?}");
        assert!(!shown.contains("a1a1") && !shown.contains("c3c3"), "{shown}");
        let written = serde_json::to_string(&keystore).expect("JSON");
        assert_eq!(
            (Keystore::parse(&written), serde_json::from_str(&written).ok()),
            (Ok(keystore.clone()), Some(keystore))
        );
        assert!(!written.contains("is_spend_private_sum"), "as the dashboard writes it");
    }

    #[test]
    fn an_old_spend_key_should_be_taken_as_the_scalar_that_it_is() {
        let scalar = PrivateKey::from_ed25519_seed(&[7; 32]);
        let hex = hex::encode(*scalar.to_bytes());
        let keystore = Keystore::parse(&text(&hex, r#","is_spend_private_sum":true"#)).expect("a keystore");
        assert_eq!(public(&keystore.spend_key()), public(&scalar));
        let as_seed = Keystore::parse(&text(&hex, "")).expect("any 32 bytes are a seed");
        assert_ne!(public(&as_seed.spend_key()), public(&scalar));
        assert_eq!(as_seed.other_spend_public_key(), Some(public(&scalar)));
        assert_eq!(keystore.other_spend_public_key(), Some(public(&as_seed.spend_key())));
        let no_scalar = Keystore { is_spend_private_sum: false, spend_private_key: Seed::new([255; 32]), ..as_seed };
        assert_eq!(no_scalar.other_spend_public_key(), None);
        let written = serde_json::to_string(&keystore).expect("JSON");
        assert_eq!(Keystore::parse(&written), Ok(keystore));
    }

    #[test]
    fn a_wrong_field_should_be_named_and_not_shown() {
        let good = text(&"c3".repeat(32), "");
        let (seed, session) = ("c3".repeat(32), "a1".repeat(32));
        let cases = [
            ("[]".to_owned(), "it is no JSON object"),
            (good.replace('}', ""), "it is no JSON object: line 2"),
            (good.replace("app_id", "client_id"), "`app_id` is missing"),
            (good.replace("c94ac88f-", "c94ac88f"), "`app_id` is no UUID"),
            (good.replace("spend_private_key", "spend"), "`spend_private_key` is missing: register a spend key first"),
            (good.replace(&seed, &seed[..62]), "`spend_private_key` has 62 characters, and must have 64"),
            (good.replace(&seed, &format!("0x{seed}")), "`spend_private_key` has 66 characters"),
            (good.replace(&seed, &format!("zz{}", &seed[..62])), "`spend_private_key` is not in hex"),
            (good.replace(&format!("\"{session}\""), "7"), "`session_private_key` is no text"),
            (text(&seed, r#","is_spend_private_sum":true"#).replace(&seed, &"ff".repeat(32)), "is no scalar"),
            (text(&seed, r#","is_spend_private_sum":1"#), "`is_spend_private_sum` is neither true nor false"),
        ];
        for (text, words) in cases {
            let said = Keystore::parse(&text).expect_err(words).to_string();
            assert!(said.contains(words), "{said} lacks {words}");
            assert!(!said.contains("c3c3") && !said.contains("a1a1"), "{said}");
        }
    }
}
