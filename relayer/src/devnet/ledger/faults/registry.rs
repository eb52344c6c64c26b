//! The faults that are set now.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lockstep_core::Uuid;

use super::{Fault, FaultOrder, FaultRow};
use crate::devnet::ledger::refusal::Refusal;

/// Most faults in the list, those that act no more included.
const FAULTS_MAX: usize = 64;

/// The faults. A lock that is held for a few comparisons only, never while anything waits.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    rows: Vec<FaultRow>,
    last: u64,
}

/// Where something is about to happen: which users it concerns, and which kernel node does it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    pub(crate) users: &'a [Uuid],
    pub(crate) node: Option<u16>,
}

impl<'a> Place<'a> {
    /// At the API, for these users.
    pub(crate) const fn of(users: &'a [Uuid]) -> Self {
        Self { users, node: None }
    }
}

impl Place<'static> {
    /// At a kernel node.
    pub(crate) const fn at(node: u16) -> Self {
        Self { users: &[], node: Some(node) }
    }
}

/// What a fault does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Act<T> {
    /// The fault.
    pub(crate) id: u64,
    /// Whom it was set for.
    pub(crate) user: Option<Uuid>,
    /// What was picked from it.
    pub(crate) what: T,
}

impl FaultRow {
    fn meets(&self, place: Place<'_>) -> bool {
        let order = &self.order;
        let here = match order.node {
            Some(node) => place.node == Some(node),
            // The API's calls are disturbed, and not the nodes', unless one is named.
            None => place.node.is_none() || !matches!(order.fault, Fault::Disturb(_)),
        };
        here && order.next != Some(0) && order.user.is_none_or(|user| place.users.contains(&user))
    }
}

impl Faults {
    fn rows(&self) -> MutexGuard<'_, Registry> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a fault that was checked.
    pub(crate) fn set(&self, order: FaultOrder) -> Result<FaultRow, Refusal> {
        let mut registry = self.rows();
        if registry.rows.len() >= FAULTS_MAX {
            return Err(Refusal::Field(format!("at most {FAULTS_MAX} faults are set at a time")));
        }
        registry.last = registry.last.saturating_add(1);
        let row = FaultRow { id: registry.last, order, acted: 0 };
        registry.rows.push(row.clone());
        Ok(row)
    }

    /// All faults, the oldest first.
    pub(crate) fn list(&self) -> Vec<FaultRow> {
        self.rows().rows.clone()
    }

    /// Clears one fault, or all; gives what was cleared.
    pub(crate) fn clear(&self, id: Option<u64>) -> Vec<FaultRow> {
        let mut registry = self.rows();
        let (cleared, kept) = registry.rows.drain(..).partition(|row| id.is_none_or(|id| row.id == id));
        registry.rows = kept;
        cleared
    }

    /// True while the fault with this id is in the list, whether it still acts or not.
    pub(crate) fn knows(&self, id: u64) -> bool {
        self.rows().rows.iter().any(|row| row.id == id)
    }

    /// What the oldest fault that is meant here would do; nothing is counted.
    pub(crate) fn peek<T>(&self, place: Place<'_>, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.rows().rows.iter().filter(|row| row.meets(place)).find_map(|row| pick(&row.order.fault))
    }

    /// True while such a fault is on.
    pub(crate) fn is_on(&self, fault: &Fault) -> bool {
        self.peek(Place::default(), |set| (set == fault).then_some(())).is_some()
    }

    /// Lets the oldest fault that is meant here act, and counts it.
    pub(crate) fn act<T>(&self, place: Place<'_>, pick: impl Fn(&Fault) -> Option<T>) -> Option<Act<T>> {
        let mut registry = self.rows();
        let rows = registry.rows.iter_mut().filter(|row| row.meets(place));
        rows.map(|row| (pick(&row.order.fault), row)).find_map(|(picked, row)| {
            let what = picked?;
            row.acted = row.acted.saturating_add(1);
            row.order.next = row.order.next.map(|next| next.saturating_sub(1));
            Some(Act { id: row.id, user: row.order.user, what })
        })
    }

    /// Lets the oldest `fault` that is meant here act, and counts it.
    pub(crate) fn acts(&self, place: Place<'_>, fault: &Fault) -> Option<Act<()>> {
        self.act(place, |set| (set == fault).then_some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uuid = Uuid::from_u128(1);
    const BOB: Uuid = Uuid::from_u128(2);

    #[test]
    fn a_fault_should_meet_only_whom_it_was_set_for() {
        let faults = Faults::default();
        faults.set(FaultOrder::new(Fault::WrongViews).for_user(ALICE)).expect("room");
        for place in [Place::of(&[BOB]), Place::of(&[]), Place::at(1)] {
            assert_eq!(faults.acts(place, &Fault::WrongViews), None);
        }
        assert_eq!(faults.acts(Place::of(&[ALICE]), &Fault::FreshKeys), None);
        let act = faults.acts(Place::of(&[BOB, ALICE]), &Fault::WrongViews).expect("one of them");
        assert_eq!((act.id, act.user), (1, Some(ALICE)));
        faults.set(FaultOrder::new(Fault::OwnSnapshots).at_node(2)).expect("room");
        assert_eq!(faults.acts(Place::at(1), &Fault::OwnSnapshots), None);
        assert!(faults.acts(Place::at(2), &Fault::OwnSnapshots).is_some());
    }

    #[test]
    fn a_counted_fault_should_act_so_often_and_stay_in_the_list() {
        let faults = Faults::default();
        faults.set(FaultOrder::new(Fault::FreshKeys).times(2)).expect("room");
        faults.set(FaultOrder::new(Fault::FreshKeys).times(1)).expect("room");
        let place = Place::of(&[ALICE]);
        let by: Vec<_> = (0..4).map(|_| faults.acts(place, &Fault::FreshKeys).map(|act| act.id)).collect();
        assert_eq!(by, [Some(1), Some(1), Some(2), None]);
        assert!(faults.peek(place, |_| Some(())).is_none() && faults.knows(2));
        let counts: Vec<_> = faults.list().iter().map(|row| (row.acted, row.order.next)).collect();
        assert_eq!(counts, [(2, Some(0)), (1, Some(0))]);
    }

    #[test]
    fn faults_should_be_cleared_one_by_one_or_all() {
        let faults = Faults::default();
        for _ in 0..3 {
            faults.set(FaultOrder::new(Fault::Stall)).expect("room");
        }
        assert_eq!(faults.clear(Some(9)), []);
        assert_eq!(faults.clear(Some(2)).len(), 1);
        assert!(faults.is_on(&Fault::Stall) && !faults.knows(2));
        assert_eq!(faults.clear(None).len(), 2);
        assert!(!faults.is_on(&Fault::Stall));
        assert_eq!(faults.set(FaultOrder::new(Fault::Stall)).expect("room").id, 4, "ids are not used again");
    }

    #[test]
    fn the_list_should_be_bounded() {
        let faults = Faults::default();
        for _ in 0..FAULTS_MAX {
            faults.set(FaultOrder::new(Fault::Stall)).expect("room");
        }
        assert!(faults.set(FaultOrder::new(Fault::Stall)).is_err());
    }
}
