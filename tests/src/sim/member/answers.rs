//! What a member tells its peers: only what is a row of its own already (`relayer/src/answers.rs`).

use lockstep_core::checkpoint::Checkpoint;

use super::super::liar;
use super::super::network::{Ask, Packet, Partial, Said};
use super::super::setup::GROUP_ID;
use super::super::{Checked, Fault};
use super::{Member, Outside};

impl Member {
    /// The next question: its promise becomes durable in one effect, the answer leaves in another.
    pub(super) fn answer(&mut self, out: &mut Outside<'_>) -> Checked {
        let Some((peer, ask, promised)) = self.alive.as_mut().and_then(|alive| alive.asked.pop_front()) else {
            return Ok(());
        };
        if let (Ask::Partial(sequence), false) = (ask, promised) {
            let Some(checkpoint) = self.disk.steps.get(&sequence).copied() else { return Ok(()) };
            let Some(roster) = self.active() else { return Ok(()) };
            if self.share_of(&roster)?.is_none() {
                return Ok(());
            }
            if self.fault != Some(Fault::SpeaksFirst) {
                self.disk.guard_checkpoint(sequence, checkpoint.digest(&GROUP_ID))?;
            }
            if let Some(alive) = &mut self.alive {
                alive.asked.push_front((peer, ask, true));
            }
            return Ok(());
        }
        let mut said = match ask {
            Ask::Partial(sequence) => Said::Partial(self.partial(sequence)?),
            Ask::Seed(id, attempt) => Said::Seed(self.seed_part(peer, id, attempt)?),
            Ask::Mask(pair) => Said::Mask(self.mask_part(&pair)?),
            Ask::Hash(id, attempt) => Said::Hash(self.disk.payloads.get(&(id, attempt)).map(|payload| payload.hash())),
            Ask::Signatures(id, attempt) => Said::Signatures(self.disk.signatures.get(&(id, attempt)).cloned()),
        };
        if self.is_liar {
            said = liar::twist(said, ask, self.index, out);
        } else {
            out.watch.writes_before_it_speaks(self.index, ask, &said, &self.disk)?;
            if let (Ask::Seed(id, attempt), Said::Seed(Some(_))) = (ask, &said) {
                out.watch.gives_seeds_of_open_attempts(self, id, attempt)?;
            }
            out.watch.signs_in_its_own_generation(self, &said)?;
            if let (Some(Fault::SpeaksFirst), Ask::Partial(sequence)) = (self.fault, ask) {
                let checkpoint = self.disk.steps[&sequence];
                self.disk.guard_checkpoint(sequence, checkpoint.digest(&GROUP_ID))?;
            }
        }
        out.network.send(Packet { from: self.index, to: peer, ask, said: Some(said) });
        Ok(())
    }

    fn partial(&self, sequence: u64) -> Checked<Option<Partial>> {
        let (Some(checkpoint), Some(roster)) = (self.disk.steps.get(&sequence), self.active()) else { return Ok(None) };
        let Checkpoint { history, root, .. } = *checkpoint;
        let Some(share) = self.share_of(&roster)? else { return Ok(None) };
        let signature = share.sign_digest(&checkpoint.digest(&GROUP_ID));
        Ok(Some(Partial { roster: roster.digest(), history, root, signature }))
    }
}
