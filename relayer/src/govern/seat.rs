//! This member's seat in the sharing of a group key.

use std::sync::Arc;

use lockstep_core::B256;
use lockstep_core::bls::{GroupKey, PartialSignature, SecretShare};
use lockstep_core::group::roster::Roster;

use crate::signer::Signer;
use crate::store::StoreError;

/// A roster with this member's share in it.
#[derive(Clone, Debug)]
pub struct Seat {
    roster: Arc<Roster>,
    share: Arc<SecretShare>,
}

impl Seat {
    /// The newest seat in a sharing of a group key, given compressed: members that stay hold several of one key, and only
    /// parts of one generation fit together. `None` where this member has no share of it that it may sign with.
    ///
    /// # Errors
    /// As [`Signer::share_of`].
    pub async fn of_key(signer: &Signer, key: &[u8; 96]) -> Result<Option<Self>, StoreError> {
        for roster in signer.rosters().all().into_iter().rev() {
            if roster.key().key().compress() != *key {
                continue;
            }
            if let Some(share) = signer.share_of(&roster).await? {
                return Ok(Some(Self { roster, share }));
            }
        }
        Ok(None)
    }

    /// Generation of the sharing: by it and an index a member is asked.
    pub fn generation(&self) -> u32 {
        self.roster.generation()
    }

    /// The group key, its threshold and the public shares.
    pub fn key(&self) -> &GroupKey {
        self.roster.key()
    }

    /// This member's part over a digest.
    pub fn sign(&self, digest: &B256) -> PartialSignature {
        self.share.sign_digest(digest)
    }

    /// The indexes of the other members.
    pub fn others(&self) -> impl Iterator<Item = u8> + '_ {
        self.roster.members().iter().map(|member| member.index).filter(|index| *index != self.share.index())
    }
}
