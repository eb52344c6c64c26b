//! What a member says about itself while it cannot go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_core::Uuid;

use crate::world::doubt::{Difference, HeldPayout, LedgerDoubts};

/// What the tasks of a member found out, for its operator. Cheap to clone; clones share. A restart forgets it and finds it
/// again.
#[derive(Clone, Debug, Default)]
pub struct Doubts(Arc<Mutex<LedgerDoubts>>);

impl Doubts {
    /// Everything; outputs that were set aside are the driver's to tell.
    pub fn all(&self) -> LedgerDoubts {
        self.held().clone()
    }

    /// Why the next output cannot be applied, or that it can. True for a reason that is new.
    pub fn wait(&self, reason: Option<String>) -> bool {
        let mut doubts = self.held();
        let is_new = reason.is_some() && doubts.waits != reason;
        doubts.waits = reason;
        is_new
    }

    /// Why a payout is held, or that it is not.
    pub fn hold(&self, payout: Uuid, reason: Option<String>) {
        let mut doubts = self.held();
        doubts.held.retain(|held| held.payout != payout);
        doubts.held.extend(reason.map(|reason| HeldPayout { payout, reason }));
    }

    /// Forgets payouts that are not open any more.
    pub fn keep_held(&self, is_open: impl Fn(&Uuid) -> bool) {
        self.held().held.retain(|held| is_open(&held.payout));
    }

    /// Outputs behind the cursor of which nothing is settled, in words.
    pub fn set_behind(&self, behind: Vec<String>) {
        self.held().behind = behind;
    }

    /// Where others see something else.
    pub fn set_differences(&self, differences: Vec<Difference>) {
        self.held().differences = differences;
    }

    fn held(&self) -> MutexGuard<'_, LedgerDoubts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_should_be_new_once_and_gone_when_it_is_over() {
        let doubts = Doubts::default();
        assert!(doubts.wait(Some("a".into())) && !doubts.wait(Some("a".into())) && doubts.wait(Some("b".into())));
        assert!(!doubts.wait(None) && doubts.wait(Some("b".into())));
        let [first, second] = [1, 2].map(Uuid::from_u128);
        doubts.hold(first, Some("x".into()));
        doubts.hold(second, Some("y".into()));
        doubts.hold(first, Some("z".into()));
        assert_eq!(doubts.all().held.len(), 2);
        doubts.hold(second, None);
        assert_eq!(doubts.all().held, [HeldPayout { payout: first, reason: "z".into() }]);
        doubts.keep_held(|id| *id != first);
        assert_eq!(doubts.all(), LedgerDoubts { waits: Some("b".into()), ..LedgerDoubts::default() });
    }
}
