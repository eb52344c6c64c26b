//! This member's seat in the sharing of a group key.

use std::sync::Arc;

use lockstep_core::B256;
use lockstep_core::bls::{GroupKey, PartialSignature, PublicKey, SecretShare};
use lockstep_core::group::roster::{Marks, Roster};

use crate::signer::Signer;
use crate::store::StoreError;

/// A roster with this member's share in it.
#[derive(Clone, Debug)]
pub struct Seat {
    roster: Arc<Roster>,
    share: Arc<SecretShare>,
}

impl Seat {
    /// This member's seat among those who sign with a group key, given compressed, now ([`Rosters::signing`]). `None` where it
    /// is not one of them, or may not sign.
    ///
    /// # Errors
    /// As [`Signer::share_of`].
    ///
    /// [`Rosters::signing`]: crate::rosters::Rosters::signing
    pub async fn of_key(signer: &Signer, key: &[u8; 96]) -> Result<Option<Self>, StoreError> {
        let roster = PublicKey::from_bytes(key).ok().and_then(|key| signer.rosters().signing(&key));
        let Some(roster) = roster else { return Ok(None) };
        let share = signer.share_of(&roster).await?;
        Ok(share.map(|share| Self { roster, share }))
    }

    /// Names the sharing: only parts of one fit together.
    pub fn roster(&self) -> B256 {
        self.roster.digest()
    }

    /// What the group may have signed before this sharing.
    pub fn marks(&self) -> Marks {
        self.roster.marks()
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
