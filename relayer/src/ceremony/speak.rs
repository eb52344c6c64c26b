//! The answering end of ceremonies: shows each participant what was durably said to it, and remembers how far it listened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockstep_core::B256;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::peer::{AnswerCeremony, AnswerError, CeremonyPage, Directory, HexBytes, IdentityKey, PAGE_MAX, Peer};
use crate::store::Store;

/// Answers participants from the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Speaker {
    store: Store,
    directory: Directory,
    /// Counts what was said, in any ceremony.
    news: Arc<watch::Sender<u64>>,
    /// Up to where each participant has what was said to it.
    heard: Arc<Mutex<BTreeMap<(B256, IdentityKey), u64>>>,
    bytes: Arc<Traffic>,
}

/// Bytes of items that went in and out, as they are on the wire.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Bytes received and sent so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }

    /// Counts items that came in.
    pub(super) fn received(&self, page: &CeremonyPage) {
        self.received.fetch_add(wire_bytes(page), Ordering::Relaxed);
    }
}

/// Two characters a byte; the JSON around them is not counted.
fn wire_bytes(page: &CeremonyPage) -> u64 {
    let bytes: usize = page.items.iter().map(|item| item.0.len()).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2)
}

impl Speaker {
    /// Answers those whom `directory` lists for a ceremony.
    pub fn new(store: Store, directory: Directory) -> Self {
        let (news, _) = watch::channel(0);
        Self { store, directory, news: Arc::new(news), heard: Arc::default(), bytes: Arc::default() }
    }

    /// Wakes all who wait for something new.
    pub(super) fn announce(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What went in and out.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.bytes
    }

    /// Up to where a participant has what was said to it.
    pub(super) fn heard_by(&self, ceremony: B256, participant: &IdentityKey) -> u64 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&(ceremony, *participant)).copied().unwrap_or(0)
    }

    fn note(&self, ceremony: B256, participant: &IdentityKey, after: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert((ceremony, *participant), after);
    }

    async fn look(&self, from: &Peer, ceremony: B256, after: u64) -> Result<Option<CeremonyPage>, AnswerError> {
        let said = self.store.ceremony_items(ceremony, from.key(), after, PAGE_MAX).await;
        let Some(said) = said.map_err(|error| AnswerError::Unavailable(Box::new(error)))? else { return Ok(None) };
        let next = said.last().map_or(after, |item| item.position);
        let items = said.into_iter().map(|item| HexBytes(item.body)).collect();
        Ok(Some(CeremonyPage { ceremony, items, next }))
    }
}

impl AnswerCeremony for Speaker {
    async fn page(
        &self,
        from: &Peer,
        ceremony: B256,
        after: u64,
        wait: Duration,
    ) -> Result<Option<CeremonyPage>, AnswerError> {
        let stopped = self.store.signing_stopped().await.map_err(|error| AnswerError::Unavailable(Box::new(error)))?;
        if stopped.is_some() || !self.directory.takes_part(ceremony, from.key()) {
            return Ok(None);
        }
        self.note(ceremony, from.key(), after);
        let begun = Instant::now();
        let mut news = self.news.subscribe();
        loop {
            let Some(page) = self.look(from, ceremony, after).await? else { return Ok(None) };
            if !page.items.is_empty() {
                self.bytes.sent.fetch_add(wire_bytes(&page), Ordering::Relaxed);
                return Ok(Some(page));
            }
            match timeout(wait.saturating_sub(begun.elapsed()), news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(Some(page)),
            }
        }
    }
}
