//! Secrets of the group, from what members gave of one (`relayer/src/secrets.rs`), and the masks of the senders of a private
//! process (`relayer/src/masks.rs`). Each call of [`Member::seek_mask`] is one effect.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::B256;
use lockstep_core::bls::{RecoverError, Signature};
use lockstep_core::mask::{MASK_DST, MaskPair};

use super::super::network::{Ask, SecretPart};
use super::super::setup::{GENERATIONS, GROUP_ID, dealing, index_in};
use super::super::{Checked, Fault, broken};
use super::{Member, Outside};

/// A mask that an output waits for.
#[derive(Debug)]
pub(super) struct Masking {
    pub(super) pair: MaskPair,
    /// By person.
    pub(super) parts: BTreeMap<u8, SecretPart>,
    /// Who has not answered yet. All members wait for the same mask, and would drown each other in questions.
    pub(super) asked: BTreeSet<u8>,
}

impl Masking {
    pub(super) const fn of(pair: MaskPair) -> Self {
        Self { pair, parts: BTreeMap::new(), asked: BTreeSet::new() }
    }
}

impl Member {
    /// This member's part of a secret, under the generation that signs.
    pub(super) fn own_part(&self, digest: &B256, dst: &[u8]) -> Checked<Option<SecretPart>> {
        let Some(roster) = self.active() else { return Ok(None) };
        let Some(share) = self.share_of(&roster)? else { return Ok(None) };
        Ok(Some(SecretPart::Part { roster: roster.digest(), signature: share.sign(digest.as_slice(), dst) }))
    }

    /// The group's signature, told whole or made of parts. Who gave a bad part is forgotten, to be asked again.
    pub(super) fn assemble(
        &self,
        digest: &B256,
        dst: &[u8],
        heard: &mut BTreeMap<u8, SecretPart>,
        out: &mut Outside<'_>,
    ) -> Checked<Option<Signature>> {
        let Some(roster) = self.active() else { return Ok(None) };
        let mut parts = Vec::new();
        for (person, said) in heard.iter() {
            match said {
                SecretPart::Whole(signature) if dealing(0).group.key().verify(digest.as_slice(), dst, signature) => {
                    out.tally.count("secrets told");
                    return Ok(Some(*signature));
                }
                SecretPart::Part { roster: of, signature }
                    if *of == roster.digest() && index_in(roster.generation(), *person) == Some(signature.index) =>
                {
                    parts.push(*signature);
                }
                SecretPart::Whole(_) | SecretPart::Part { .. } => {}
            }
        }
        let need = usize::from(roster.key().threshold());
        if parts.len() + 1 >= need
            && let Some(SecretPart::Part { signature, .. }) = self.own_part(digest, dst)?
        {
            parts.push(signature);
        }
        if parts.len() < need {
            return Ok(None);
        }
        match roster.key().recover(digest.as_slice(), dst, &parts, &BTreeSet::new()) {
            Ok(recovered) => {
                out.tally.count("secrets made");
                Ok(Some(recovered.signature))
            }
            Err(RecoverError::TooFew { culprits, .. }) => {
                out.tally.count("bad parts of secrets named");
                let is_good =
                    |person: &u8| index_in(roster.generation(), *person).is_none_or(|index| !culprits.contains(&index));
                heard.retain(|person, _| is_good(person));
                Ok(None)
            }
            Err(error @ RecoverError::Inconsistent) => broken("contradiction", error.to_string()),
        }
    }

    /// What is given of a mask: only of a sender that was met here, in its place.
    pub(super) fn mask_part(&self, pair: &MaskPair) -> Checked<Option<SecretPart>> {
        match self.disk.masks.get(pair) {
            None if self.fault != Some(Fault::GivesMasksAhead) => Ok(None),
            Some(Some(signature)) => Ok(Some(SecretPart::Whole(*signature))),
            None | Some(None) => self.own_part(&pair.digest(&GROUP_ID), MASK_DST),
        }
    }

    /// Asks all for the mask that an output waits for, or makes it of what was heard.
    pub(super) fn seek_mask(&mut self, out: &mut Outside<'_>) -> Checked {
        let Some(mut masking) = self.alive.as_mut().and_then(|alive| alive.masking.take()) else { return Ok(()) };
        let digest = masking.pair.digest(&GROUP_ID);
        if let Some(signature) = self.assemble(&digest, MASK_DST, &mut masking.parts, out)? {
            self.disk.masks.insert(masking.pair, Some(signature));
            return Ok(());
        }
        if let Some(roster) = self.active() {
            // Questions and answers get lost.
            if out.chance(5) {
                masking.asked.clear();
                masking.parts.clear();
            }
            for person in GENERATIONS[roster.generation() as usize] {
                if !masking.parts.contains_key(person) && !masking.asked.contains(person) {
                    masking.asked.extend(self.ask(Ask::Mask(masking.pair), &[*person], &BTreeSet::new(), out));
                }
            }
        }
        if let Some(alive) = &mut self.alive {
            alive.masking = Some(masking);
        }
        Ok(())
    }
}
