//! The ledger addresses that the group has had: a set of users with a threshold is an address, so each change of members
//! is a new one, and all of them are watched for ever (DERIVATION.md B2).
//!
//! A generation here counts the switches that acted, in ledger order. Two generations may have the same address: members
//! can come back, or share their key anew without anybody's leaving.

use crate::{Mix, derive};

/// The group's address by generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    first: Mix,
    /// Sequence of the switch and the address since then, for generations from 1 on.
    later: Vec<(u64, Mix)>,
}

/// How an output at one of the group's addresses is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The generation whose address it came to.
    pub generation: u32,
    /// It came before the switch that made this an address of the group.
    pub is_early: bool,
}

impl Addresses {
    /// The addresses of a group that never changed.
    pub const fn new(first: Mix) -> Self {
        Self::from_parts(first, Vec::new())
    }

    /// The first address, and each later one with the sequence of its switch, ascending.
    pub const fn from_parts(first: Mix, later: Vec<(u64, Mix)>) -> Self {
        Self { first, later }
    }

    /// What the applied decisions of `core` made of the group's address.
    pub fn of(core: &derive::Core) -> Self {
        let mut groups = core.groups().iter().cloned();
        let first = groups.next().unwrap_or_else(|| Mix::new(Vec::new(), 0));
        Self::from_parts(first, core.switches().iter().copied().zip(groups).collect())
    }

    /// The addresses after one more switch.
    pub fn then(&self, since: u64, group: Mix) -> Self {
        let switch = std::iter::once((since, group));
        Self::from_parts(self.first.clone(), self.later.iter().cloned().chain(switch).collect())
    }

    /// The newest generation.
    pub fn newest(&self) -> u32 {
        u32::try_from(self.later.len()).unwrap_or(u32::MAX)
    }

    /// The address of the newest generation: where new coins go.
    pub fn current(&self) -> &Mix {
        self.later.last().map_or(&self.first, |(_, group)| group)
    }

    /// The address of a generation.
    pub fn group(&self, generation: u32) -> Option<&Mix> {
        match usize::try_from(generation).ok()?.checked_sub(1) {
            None => Some(&self.first),
            Some(place) => self.later.get(place).map(|(_, group)| group),
        }
    }

    /// The sequence of the switch to a generation; 0 for the first.
    pub fn since(&self, generation: u32) -> Option<u64> {
        match usize::try_from(generation).ok()?.checked_sub(1) {
            None => Some(0),
            Some(place) => self.later.get(place).map(|(since, _)| *since),
        }
    }

    /// All generations: number, sequence of the switch, address.
    pub fn all(&self) -> impl Iterator<Item = (u32, u64, &Mix)> {
        let later = self.later.iter().map(|(since, group)| (*since, group));
        (0_u32..)
            .zip(std::iter::once((0, &self.first)).chain(later))
            .map(|(generation, (since, group))| (generation, since, group))
    }

    /// Each address once, by the generation that had it first.
    pub fn distinct(&self) -> impl Iterator<Item = (u32, u64, &Mix)> {
        let is_first = |(generation, _, group): &(u32, u64, &Mix)| {
            let before = self.all().take_while(|(other, ..)| other < generation);
            before.fold(true, |first, (_, _, other)| first && other != *group)
        };
        self.all().filter(is_first)
    }

    /// How an output that came to `group` at `sequence` is to be taken: it belongs to the newest generation with that
    /// address whose switch lies before it, and is early where there is none. `None` for what was never an address of
    /// the group.
    pub fn arrival(&self, group: &Mix, sequence: u64) -> Option<Arrival> {
        let mut arrival = None;
        for (generation, since, _) in self.all().filter(|(_, _, at)| *at == group) {
            if since < sequence || generation == 0 {
                arrival = Some(Arrival { generation, is_early: false });
            } else if arrival.is_none() {
                arrival = Some(Arrival { generation, is_early: true });
            }
        }
        arrival
    }

    /// How many members left from one generation to the next, summed up over all generations after `since`: the shares
    /// of the group's key that people hold who are no members any more. Who left twice counts twice, for he had two.
    pub fn turnover(&self, since: u32) -> usize {
        let groups: Vec<&Mix> = self.all().map(|(_, _, group)| group).collect();
        let pairs = groups.windows(2).skip(usize::try_from(since).unwrap_or(usize::MAX));
        let left = |pair: &[&Mix]| match pair {
            [old, new] => old.members().iter().filter(|member| !new.members().contains(member)).count(),
            _ => 0,
        };
        pairs.map(left).fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn of(users: &[u128]) -> Mix {
        Mix::of_users(users.iter().copied().map(Uuid::from_u128), 2)
    }

    /// 1 2 3 → 1 2 4 at 100 → 1 2 3 at 200 → 1 2 3 again at 300.
    fn addresses() -> Addresses {
        let later = vec![(100, of(&[1, 2, 4])), (200, of(&[1, 2, 3])), (300, of(&[1, 2, 3]))];
        Addresses::from_parts(of(&[1, 2, 3]), later)
    }

    #[test]
    fn what_comes_before_its_switch_should_be_early_and_what_is_foreign_nothing() {
        let (addresses, new) = (addresses(), of(&[1, 2, 4]));
        assert_eq!(addresses.arrival(&of(&[1, 2, 5]), 7), None);
        let early = Some(Arrival { generation: 1, is_early: true });
        let there = Some(Arrival { generation: 1, is_early: false });
        assert_eq!([1, 99, 100, 101, 500].map(|at| addresses.arrival(&new, at)), [early, early, early, there, there]);
    }

    #[test]
    fn an_address_that_comes_back_should_count_from_its_newest_switch() {
        let (addresses, old) = (addresses(), of(&[1, 2, 3]));
        let generations = [1, 199, 200, 201, 300, 301].map(|at| addresses.arrival(&old, at).map(|at| at.generation));
        assert_eq!(generations, [Some(0), Some(0), Some(0), Some(2), Some(2), Some(3)]);
        assert!((1..400).all(|at| addresses.arrival(&old, at).is_some_and(|at| !at.is_early)));
        let watched: Vec<_> = addresses.distinct().map(|(generation, since, _)| (generation, since)).collect();
        assert_eq!(watched, [(0, 0), (1, 100)]);
    }

    #[test]
    fn generations_should_be_found_by_number() {
        let addresses = addresses();
        assert_eq!((addresses.newest(), addresses.current()), (3, &of(&[1, 2, 3])));
        assert_eq!((addresses.group(1), addresses.since(1)), (Some(&of(&[1, 2, 4])), Some(100)));
        assert_eq!((addresses.group(0), addresses.since(0)), (Some(&of(&[1, 2, 3])), Some(0)));
        assert_eq!((addresses.group(4), addresses.since(4)), (None, None));
    }

    #[test]
    fn everybody_who_left_should_count_towards_the_turnover() {
        let addresses = addresses();
        assert_eq!([0, 1, 2, 3, 9].map(|since| addresses.turnover(since)), [2, 1, 0, 0, 0]);
        assert_eq!(Addresses::new(of(&[1])).turnover(0), 0);
    }
}
