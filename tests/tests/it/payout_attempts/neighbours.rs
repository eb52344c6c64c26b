//! The members as they answer each other.

use super::*;

/// Whose seat it is: in generation 1 the fifth member has the place of the fourth.
fn number(seat: Seat) -> u8 {
    if seat == (Seat { generation: 1, index: 4 }) { 5 } else { seat.index }
}

/// The members' answers to each other: what their stores hold, and their parts of seeds.
#[derive(Clone)]
pub(super) struct Neighbours {
    pub(super) members: Arc<Vec<Neighbour>>,
    /// Who asks.
    asker: [u8; 32],
}

pub(super) struct Neighbour {
    store: Store,
    pub(super) rosters: Rosters,
    seeds: Seeds,
    /// False where its machine is down.
    is_up: AtomicBool,
}

impl Neighbours {
    pub(super) fn new(members: Vec<Neighbour>) -> Self {
        Self { members: Arc::new(members), asker: [0; 32] }
    }

    /// As member with this identity asks them.
    pub(super) fn asked_by(&self, asker: [u8; 32]) -> Self {
        Self { asker, ..self.clone() }
    }

    pub(super) fn store(&self, member: u8) -> &Store {
        &of(&self.members, member).store
    }

    pub(super) fn seeds(&self, member: u8) -> &Seeds {
        &of(&self.members, member).seeds
    }

    pub(super) fn set_up(&self, member: u8, is_up: bool) {
        of(&self.members, member).is_up.store(is_up, Ordering::Relaxed);
    }
}

impl PullPayouts for Neighbours {
    async fn pull_seed(&self, member: Seat, question: SeedQuestion) -> Result<Option<SecretPart>, Cause> {
        check(&of(&self.members, number(member)).is_up)?;
        Ok(self.seeds(number(member)).answer(&self.asker, question).await?)
    }

    async fn pull_payout_hash(&self, member: Seat, trace: Uuid, attempt: u32) -> Result<Option<B256>, Cause> {
        Ok(self.store(number(member)).payload(trace, attempt).await?.map(|payload| payload.hash))
    }

    async fn pull_payout_signatures(
        &self,
        member: Seat,
        trace: Uuid,
        attempt: u32,
    ) -> Result<Option<Vec<InputSignature>>, Cause> {
        let signatures = self.store(number(member)).payload_signatures(trace, attempt).await?;
        Ok((!signatures.is_empty()).then_some(signatures))
    }
}

impl Neighbour {
    pub(super) fn new(
        group: &Arc<Group>,
        (known, addresses): (Generations, Addresses),
        ring: Keyring,
        store: Store,
    ) -> Self {
        let addresses = watch::channel(Arc::new(addresses)).1;
        let identity = ring.keys().identity.verifying_key().to_bytes();
        let rosters = Rosters::new(identity, known, addresses, Directory::of_group(group));
        let signer = Signer::new(rosters.clone(), ring, store.clone());
        let seeds = Seeds::new(Arc::clone(group), signer, store.clone());
        Self { store, rosters, seeds, is_up: AtomicBool::new(true) }
    }
}
