//! What `lockstep verify-signature` answers.

use super::{BlsError, DST, PublicKey, Signature};

/// Whether `signature` is that of `public_key` over `message` under `dst` ([`DST`] by default). All are hexadecimal, with
/// or without 0x: a G2 key in any of its encodings (96, 192 or 256 bytes), a message of any length, a G1 signature
/// (48, 96 or 128 bytes).
///
/// # Errors
/// Says in one line what is malformed. A well-formed signature that is not the key's is no error but `false`.
pub fn verify_signature(public_key: &str, message: &str, signature: &str, dst: Option<&str>) -> Result<bool, BlsError> {
    let key = PublicKey::from_bytes(&decode(public_key, "the public key")?)?;
    let message = decode(message, "the message")?;
    let signature = Signature::from_bytes(&decode(signature, "the signature")?)?;
    let dst = dst.map_or(DST, str::as_bytes);
    if dst.is_empty() {
        return Err(BlsError::EmptyTag);
    }
    Ok(key.verify(&message, dst, &signature))
}

fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, BlsError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(digits).map_err(|_| BlsError::NotHex { what })
}

#[cfg(test)]
mod tests {
    use super::super::SecretKey;
    use super::*;

    #[test]
    fn malformed_input_should_be_refused_and_wrong_signatures_denied() {
        let key = SecretKey::derive(&[1; 32], b"test").expect("a key");
        let public = hex::encode(key.public_key().compress());
        let signature = key.sign(&[0xab], DST);
        let compressed = hex::encode(signature.compress());
        assert_eq!(verify_signature("zz", "ab", &compressed, None), Err(BlsError::NotHex { what: "the public key" }));
        assert_eq!(verify_signature(&public, "a", &compressed, None), Err(BlsError::NotHex { what: "the message" }));
        assert_eq!(verify_signature(&public, "ab", "0x0", None), Err(BlsError::NotHex { what: "the signature" }));
        assert!(matches!(verify_signature(&public, "ab", "", None), Err(BlsError::Length { got: 0, .. })));
        assert_eq!(verify_signature(&public, "ab", &compressed, Some("")), Err(BlsError::EmptyTag));
        assert_eq!(verify_signature(&public, "ac", &compressed, None), Ok(false));
        assert_eq!(verify_signature(&public, "ab", &compressed, Some("other")), Ok(false));
        for form in [compressed, hex::encode(signature.serialize()), hex::encode_upper(signature.to_eip2537())] {
            assert_eq!(verify_signature(&format!("0x{public}"), "0xab", &form, None), Ok(true));
        }
    }
}
