//! The seed of a payout's keys: asked for, given, recovered (`relayer/src/payouts/seeds.rs`). Each call of
//! [`Member::seek_seed`] is one effect.

use std::collections::BTreeSet;

use lockstep_core::Uuid;
use lockstep_core::payout::{SEED_DST, Seed, seed_digest};

use super::super::network::{Ask, SecretPart};
use super::super::setup::{GENERATIONS, GROUP_ID};
use super::super::{Checked, Fault};
use super::generations::spenders;
use super::payouts::Signing;
use super::{Member, Outside};

impl Member {
    /// The seed of an attempt, once it is on the disk.
    pub(super) fn seed(&self, id: Uuid, attempt: u32) -> Option<Seed> {
        self.disk.seeds.get(&(id, attempt)).map(Seed::of_signature)
    }

    /// What `asker` is given of a seed: only who can spend the coins, and only for an attempt that is open here, or, where
    /// the coins are none of this member's, to more of their owners than may be faulty.
    pub(super) fn seed_part(&mut self, asker: u8, id: Uuid, attempt: u32) -> Checked<Option<SecretPart>> {
        let (Some(alive), Some(payout)) = (&mut self.alive, self.disk.payouts.get(&id)) else { return Ok(None) };
        let Some((persons, need)) = spenders(&self.disk, &alive.addresses, &payout.derived) else { return Ok(None) };
        if !persons.contains(&asker) {
            return Ok(None);
        }
        let mut is_open = attempt <= payout.attempts.number() || self.fault == Some(Fault::GivesSeedsAhead);
        if !is_open && !persons.contains(&self.index) {
            let vouched = alive.vouchers.entry(id).or_default();
            let latest = vouched.entry(asker).or_default();
            *latest = attempt.max(*latest);
            is_open = vouched.values().filter(|latest| **latest >= attempt).count() > persons.len() - need;
        }
        if !is_open {
            return Ok(None);
        }
        if let Some(signature) = self.disk.seeds.get(&(id, attempt)) {
            return Ok(Some(SecretPart::Whole(*signature)));
        }
        self.own_part(&seed_digest(&GROUP_ID, id, attempt), SEED_DST)
    }

    /// Whether the coins of a payout are this member's to spend.
    pub(crate) fn can_spend(&self, id: &Uuid) -> bool {
        let (Some(alive), Some(payout)) = (&self.alive, self.disk.payouts.get(id)) else { return false };
        spenders(&self.disk, &alive.addresses, &payout.derived)
            .is_some_and(|(persons, _)| persons.contains(&self.index))
    }

    /// Asks somebody, or makes the seed of what was heard.
    pub(super) fn seek_seed(
        &mut self,
        id: Uuid,
        persons: &[u8],
        signing: &mut Signing,
        out: &mut Outside<'_>,
    ) -> Checked {
        let Some(roster) = self.active() else { return Ok(()) };
        let digest = seed_digest(&GROUP_ID, id, signing.attempt);
        if let Some(signature) = self.assemble(&digest, SEED_DST, &mut signing.seed_parts, out)? {
            self.disk.seeds.insert((id, signing.attempt), signature);
            return Ok(());
        }
        // Those who hold shares, and those who may know it already: all at once, and then again who is silent, or lied.
        let mut among = persons.to_vec();
        among.extend(GENERATIONS[roster.generation() as usize].iter().filter(|person| !persons.contains(person)));
        if !std::mem::replace(&mut signing.has_asked, true) {
            for person in among {
                self.ask(Ask::Seed(id, signing.attempt), &[person], &BTreeSet::new(), out);
            }
            return Ok(());
        }
        let heard: BTreeSet<u8> = signing.seed_parts.keys().copied().collect();
        let known = if out.chance(80) { heard } else { BTreeSet::new() };
        self.ask(Ask::Seed(id, signing.attempt), &among, &known, out);
        Ok(())
    }
}
