//! The secrets of a key file as bytes, before they are encrypted: fixed places, so that nothing is parsed and no copies are
//! made on the way.
//!
//! ```text
//! identity seed 32 ‖ EVM key 32 ‖ ledger user 16 ‖ ledger session 16 ‖ session seed 32 ‖ server key 32 ‖ spend key 32
//! ‖ one share of 32 for each that the header lists, in its order
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use ed25519_dalek::SigningKey;
use lockstep_core::bls::{PublicKey, SecretKey, SecretShare};
use lockstep_core::{B256, Uuid};
use zeroize::Zeroizing;

use super::{HeldShare, MemberKeys, PublicKeys};
use crate::ledger::wire::Hex32;
use crate::ledger::{Keystore, Seed};

/// Bytes before the shares.
const FIXED_BYTES: usize = 192;

/// All secrets of `keys`.
pub(super) fn encode(keys: &MemberKeys) -> Zeroizing<Vec<u8>> {
    let length = keys.shares.len().saturating_mul(32).saturating_add(FIXED_BYTES);
    // Exactly the room that is needed: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    // Whether the spend key is a seed or a scalar, its public key says, which stands in the header.
    let Keystore { app_id, session_id, session_private_key, server_public_key, spend_private_key, .. } = &keys.ledger;
    bytes.extend_from_slice(Zeroizing::new(keys.identity.to_bytes()).as_slice());
    bytes.extend_from_slice(Zeroizing::new(keys.evm.to_bytes().0).as_slice());
    bytes.extend_from_slice(app_id.as_bytes());
    bytes.extend_from_slice(session_id.as_bytes());
    bytes.extend_from_slice(session_private_key.expose());
    bytes.extend_from_slice(&server_public_key.0);
    bytes.extend_from_slice(spend_private_key.expose());
    for share in keys.shares.values() {
        bytes.extend_from_slice(share.secret.secret().to_bytes().as_slice());
    }
    bytes
}

/// The keys whose public parts are `public`. `None` where the two do not belong together, down to each public share.
pub(super) fn decode(public: &PublicKeys, mut bytes: &[u8]) -> Option<MemberKeys> {
    let rest = &mut bytes;
    let identity = SigningKey::from_bytes(&*take::<32>(rest)?);
    let evm = PrivateKeySigner::from_slice(take::<32>(rest)?.as_slice()).ok()?;
    let mut ledger = Keystore {
        app_id: Uuid::from_bytes(*take(rest)?),
        session_id: Uuid::from_bytes(*take(rest)?),
        session_private_key: Seed::new(*take(rest)?),
        server_public_key: Hex32(*take(rest)?),
        spend_private_key: Seed::new(*take(rest)?),
        is_spend_private_sum: false,
    };
    let is_listed = |key: [u8; 32]| hex::encode(key) == public.spend_public_key;
    ledger.is_spend_private_sum = ledger.other_spend_public_key().is_some_and(is_listed);
    let mut shares = BTreeMap::new();
    for listed in &public.shares {
        let secret = SecretKey::from_bytes(take::<32>(rest)?.as_slice()).ok()?;
        let share = HeldShare {
            group_id: B256::from(listed.group_id),
            generation: listed.generation,
            threshold: listed.threshold,
            group_key: PublicKey::from_bytes(&listed.group_key).ok()?,
            secret: Arc::new(SecretShare::new(listed.index, secret).ok()?),
        };
        shares.insert(listed.generation, share);
    }
    let keys = MemberKeys { name: public.name.clone(), identity, evm, ledger, shares };
    (rest.is_empty() && keys.public() == *public).then_some(keys)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(Zeroizing::new(*taken))
}
