//! The asking end of a ceremony: pulls what each participant has said, again and again, and hands it on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockstep_core::B256;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::speak::Speaker;
use crate::backoff::Backoff;
use crate::peer::{Fault, IdentityKey, PeerClient};

/// First and longest wait before a participant that does not answer is asked again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Between two questions that were answered: what is said in one breath comes in one answer.
const BREATH: Duration = Duration::from_millis(10);

/// Something that a participant said; nothing about it is verified but who said it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) from: IdentityKey,
    pub(super) item: Vec<u8>,
}

/// How the connection to each participant is.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<BTreeMap<IdentityKey, (Line, u64)>>>);

/// How the connection to one participant is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Line {
    /// Not answered yet.
    #[default]
    Silent,
    /// Answers, and takes part.
    Open,
    /// Answers, and does not take part (yet).
    Absent,
    /// Answered once, and does not any more.
    Lost,
}

impl Lines {
    pub(super) fn of(&self, participant: &IdentityKey) -> Line {
        self.place(participant).0
    }

    /// The connection, and the position up to which the participant was heard.
    fn place(&self, participant: &IdentityKey) -> (Line, u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(participant).copied().unwrap_or_default()
    }

    fn set(&self, participant: &IdentityKey, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(*participant).or_default().0 = line;
    }

    fn heard(&self, participant: &IdentityKey, position: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*participant, (Line::Open, position));
    }
}

/// Listens to one participant until nobody listens to us. What it said before a restart is heard again: the protocol
/// takes everything any number of times.
pub(super) async fn listen(
    peers: PeerClient,
    ceremony: B256,
    from: IdentityKey,
    wait: Duration,
    lines: Lines,
    speaker: Speaker,
    heard: mpsc::Sender<Heard>,
) {
    let (mut after, mut retry) = (0, Backoff::new(RETRY.0, RETRY.1));
    loop {
        match peers.pull_ceremony(&from, ceremony, after, wait).await {
            Ok(Some(page)) => {
                retry.reset();
                speaker.traffic().received(&page);
                after = page.next;
                let is_news = !page.items.is_empty();
                for item in page.items {
                    if heard.send(Heard { from, item: item.0 }).await.is_err() {
                        return;
                    }
                }
                lines.heard(&from, after);
                if is_news {
                    sleep(BREATH).await;
                }
                continue;
            }
            Ok(None) => lines.set(&from, Line::Absent),
            Err(error) => {
                debug!(%error, "participant does not answer");
                let was = lines.of(&from);
                if error.fault() == Fault::Nobody && matches!(was, Line::Open | Line::Lost) {
                    lines.set(&from, Line::Lost);
                } else if was != Line::Open {
                    lines.set(&from, Line::Silent);
                }
            }
        }
        tokio::select! {
            () = heard.closed() => return,
            () = sleep(retry.pause()) => {}
        }
    }
}

/// Tells everybody who is there up to where it was heard, so that nobody waits for one that leaves.
pub(super) async fn farewell(peers: &PeerClient, ceremony: B256, to: &[IdentityKey], lines: &Lines) {
    let mut told = JoinSet::new();
    for participant in to {
        let (Line::Open, after) = lines.place(participant) else { continue };
        let (peers, participant) = (peers.clone(), *participant);
        told.spawn(async move { peers.pull_ceremony(&participant, ceremony, after, Duration::ZERO).await });
    }
    while let Some(answer) = told.join_next().await {
        if let Ok(Err(error)) = answer {
            debug!(%error, "participant is gone already");
        }
    }
}
