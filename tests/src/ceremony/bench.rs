//! A ceremony and two reshares in one process without a network: what they cost each member.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use lockstep_core::dkg::{Ceremony, Effect, Kind, Receivers, Setup};
use lockstep_core::group::default_threshold;
use lockstep_core::group::roster::Marks;

use super::people::copy;
use super::{Holder, Person, group_of, proposal};

/// What one ceremony cost.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub what: &'static str,
    /// New members and threshold.
    pub members: (usize, u8),
    /// All members together, in one thread.
    pub wall: Duration,
    /// Time of the processor for a member, on average and most.
    pub cpu: (Duration, Duration),
    /// Bytes that a member shows, on average and most.
    pub sent: (usize, usize),
    /// Bytes that a member reads, on average and most.
    pub read: (usize, usize),
    /// Bytes of records that a member keeps, on average and most.
    pub kept: (usize, usize),
    /// The group key, to compare.
    pub key: [u8; 96],
}

struct Seat {
    person: Person,
    ceremony: Ceremony,
    busy: Duration,
    sent: usize,
    read: usize,
    kept: usize,
    done: Option<Holder>,
}

/// Makes a key for `count` members, then replaces one, then adds two (as far as 64 allow).
///
/// # Errors
/// A ceremony that ends without a key, or a reshare with another key.
pub fn bench(count: u8) -> Result<Vec<Row>, String> {
    let people: Vec<Person> = (1..=count.saturating_add(3)).map(Person::new).collect();
    let size = usize::from(count);
    let first = people[..size].to_vec();
    let replaced = people[1..=size].to_vec();
    let added = people[1..(size + 3).min(65)].to_vec();
    let mut holders = BTreeMap::new();
    let mut rows: Vec<Row> = Vec::new();
    let steps = [
        ("first key", Kind::First, first),
        ("one replaced", Kind::Reshare, replaced),
        ("two added", Kind::Reshare, added),
    ];
    for (round, (what, kind, members)) in (1..).zip(steps) {
        let row;
        (row, holders) = once(what, kind, round, &members, &people, &holders)?;
        if rows.first().is_some_and(|first| first.key != row.key) {
            return Err(format!("{what}: the group key changed"));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn once(
    what: &'static str,
    kind: Kind,
    round: u32,
    members: &[Person],
    people: &[Person],
    holders: &BTreeMap<u8, Holder>,
) -> Result<(Row, BTreeMap<u8, Holder>), String> {
    let threshold = default_threshold(u8::try_from(members.len()).unwrap_or(u8::MAX));
    let proposal = proposal(kind, round, members, threshold, holders);
    let begin = Instant::now();
    let mut shown: Vec<(Receivers, Vec<u8>)> = Vec::new();
    let mut seats: Vec<Seat> = Vec::new();
    for person in people {
        let plays = members.iter().any(|member| member.number == person.number);
        let holder = holders.get(&person.number);
        if !plays && holder.is_none() {
            continue;
        }
        let setup = Setup {
            proposal: proposal.clone(),
            previous: holders.values().next().map(|holder| holder.roster.clone()),
            identity: person.identity.clone(),
            share: holder.map(|holder| copy(&holder.share)),
            marks: Marks::default(),
        };
        let start = cpu()?;
        let seed = [person.number ^ u8::try_from(round).unwrap_or_default() << 7; 32];
        let (ceremony, effects) = Ceremony::start(setup, &seed).map_err(|error| error.to_string())?;
        let person = person.clone();
        let mut seat = Seat { person, ceremony, busy: since(start)?, sent: 0, read: 0, kept: 0, done: None };
        seat.act(effects, &mut shown);
        seats.push(seat);
    }
    let mut next = 0;
    while let Some((to, item)) = shown.get(next).cloned() {
        next += 1;
        for seat in &mut seats {
            if to == Receivers::All || to == Receivers::One(seat.person.public()) {
                seat.read += item.len();
                let start = cpu()?;
                let effects = seat.ceremony.receive(&item).map_err(|error| error.to_string())?;
                seat.busy += since(start)?;
                seat.act(effects, &mut shown);
            }
        }
    }
    let wall = begin.elapsed();
    let spread = |of: &dyn Fn(&Seat) -> usize| {
        let sum: usize = seats.iter().map(of).sum();
        (sum / seats.len(), seats.iter().map(of).max().unwrap_or_default())
    };
    let (sent, read, kept) = (spread(&|seat| seat.sent), spread(&|seat| seat.read), spread(&|seat| seat.kept));
    let busiest = seats.iter().map(|seat| seat.busy).max().unwrap_or_default();
    let busy: Duration = seats.iter().map(|seat| seat.busy).sum();
    let cpu = (busy / u32::try_from(seats.len()).unwrap_or(1), busiest);
    let done = seats.into_iter().filter_map(|seat| Some((seat.person.number, seat.done?)));
    let done: BTreeMap<_, _> = done.collect();
    if done.len() != members.len() {
        return Err(format!("{what}: {} of {} members have a share", done.len(), members.len()));
    }
    let key = group_of(&done).key().key().compress();
    let members = (members.len(), threshold);
    Ok((Row { what, members, wall, cpu, sent, read, kept, key }, done))
}

/// Time that this thread has had on a processor, which a busy machine does not change (Linux, proc(5)).
fn cpu() -> Result<Duration, String> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").map_err(|error| error.to_string())?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| "schedstat holds no time".to_owned())
}

fn since(start: Duration) -> Result<Duration, String> {
    Ok(cpu()?.saturating_sub(start))
}

impl Seat {
    fn act(&mut self, effects: Vec<Effect>, shown: &mut Vec<(Receivers, Vec<u8>)>) {
        for effect in effects {
            match effect {
                Effect::Persist(record) => self.kept += record.as_bytes().len(),
                Effect::Publish { to, item } => {
                    self.sent += item.len();
                    shown.push((to, item));
                }
                Effect::Done { roster, share: Some(share) } => self.done = Some(Holder { roster: *roster, share }),
                Effect::Begun | Effect::Done { share: None, .. } | Effect::Failed(_) => {}
            }
        }
    }
}
