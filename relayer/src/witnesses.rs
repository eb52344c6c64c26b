//! Members keep watch over each other's promises: each remembers how far it saw the others', and says so when asked.
//!
//! A member that was restored from a backup with its whole folder cannot know. So after a start it promises nothing until t − 1
//! others have said how far they saw it: with fewer of them there could be no signature of the group anyway.

use std::collections::BTreeSet;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use lockstep_core::B256;
use lockstep_core::group::roster::Roster;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::peer::{PeerClient, Status};
use crate::rosters::Rosters;
use crate::store::{Store, StoreError};
use crate::world::witness::GuardHead;

/// Between two rounds while nothing may be promised.
const EAGER: Duration = Duration::from_millis(200);
/// Between two rounds after that.
const CALM: Duration = Duration::from_secs(5);

/// Asks all other members how far they saw this one, and remembers how far they are.
#[derive(Debug)]
pub struct Witnesses {
    /// The group's id, which heads are signed for.
    pub group_id: B256,
    /// Who signs now.
    pub rosters: Rosters,
    /// This member's identity key, public.
    pub identity: [u8; 32],
    /// How they are asked.
    pub peers: PeerClient,
    /// Where promises are, and what was seen.
    pub store: Store,
}

impl Witnesses {
    /// Asks until told to stop. Promises are held back before the first round that heard enough.
    ///
    /// # Errors
    /// Where a peer has seen more of this member than this member knows: its database is older than what it has signed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut heard = BTreeSet::new();
        loop {
            let roster = self.rosters.active();
            let mut answers = self.ask(&roster);
            let mut own = Vec::new();
            while let Some(answer) = answers.join_next().await {
                let Ok((member, identity, Some(status))) = answer else { continue };
                own.extend(self.take(member, identity, status).await?);
                heard.insert(hex::encode(identity));
            }
            self.store.check_own_heads(&own).await?;
            let need = usize::from(roster.key().threshold()).saturating_sub(1);
            if !self.store.may_promise() && heard.len() >= need {
                info!(members = ?heard, "others have said how far they saw this member");
                self.store.go_ahead();
            }
            let pause = if self.store.may_promise() { CALM } else { EAGER };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn ask(&self, roster: &Roster) -> JoinSet<(u8, [u8; 32], Option<Status>)> {
        let mut asked = JoinSet::new();
        let peers = self.peers.of_generation(roster.generation());
        let members = roster.members().iter().map(|member| (member.index, member.identity.to_bytes()));
        for (member, identity) in members.filter(|(_, identity)| *identity != self.identity) {
            let peers = peers.clone();
            asked.spawn(async move {
                let answer = peers.pull_status(member).await;
                let status = answer.inspect_err(|error| debug!(member, %error, "no status")).ok();
                (member, identity, status)
            });
        }
        asked
    }

    /// Keeps how far a member is, and finds in its answer how far it saw this one.
    async fn take(&self, member: u8, identity: [u8; 32], status: Status) -> Result<Option<GuardHead>, StoreError> {
        if let Some(head) = status.guard.filter(|head| head.identity == identity && head.is_authentic(self.group_id))
            && !self.store.see_head(&head).await?
        {
            error!(
                member,
                promise = head.reach.count,
                "member has said two different things of one promise: it runs twice"
            );
        }
        let mut seen = status.seen.into_iter();
        Ok(seen.find(|head| head.identity == self.identity && head.is_authentic(self.group_id)))
    }
}

/// What a member's identity key is needed for beside its letters: its own word on its promises.
#[derive(Clone)]
pub struct Word {
    group_id: B256,
    identity: SigningKey,
}

impl Word {
    /// The word of a member of a group.
    pub const fn new(group_id: B256, identity: SigningKey) -> Self {
        Self { group_id, identity }
    }

    /// How far its promises go, signed.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn on(&self, store: &Store) -> Result<GuardHead, StoreError> {
        Ok(GuardHead::sign(self.group_id, store.reach().await?, &self.identity))
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Word").field("group_id", &self.group_id).finish_non_exhaustive()
    }
}
