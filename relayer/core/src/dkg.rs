//! Distributed key generation and resharing: no machine ever holds the group's key.
//!
//! Joint-Feldman (Pedersen 1991, as analysed by Gennaro, Jarecki, Krawczyk and Rabin 1999) makes a key, Desmedt-Jajodia
//! 1997 hands it on to other members. Polynomials and secret scalars are those of `commonware-cryptography` (`adapter`);
//! what goes over a wire and what is signed is our own ([`item`]); public results are computed again on `blst`
//! ([`outcome`]).
//!
//! ```text
//! proposal ─► join ─► dealing ─► ack ─► log ─► set ─► vote ─► ready ─► roster
//!             all     dealer to  back   dealer  leader each    each     n − f readys
//!                     player                    one    player  player   certify it
//! ```
//!
//! [`Ceremony`] is one member's part, without IO: items come in, in any order and any number of times; effects ([`report`])
//! come out, and whatever the member promises is a record before it is an item.

mod adapter;
pub(crate) mod bytes;
pub mod ceremony;
pub mod item;
pub mod outcome;
pub mod proposal;
pub mod report;
pub mod seal;
mod terms;
#[cfg(test)]
mod testing;

pub use adapter::check_dealing;
pub use ceremony::{Ceremony, CeremonyError, Setup};
pub use item::{Binding, Body, Commitment, Item, ItemError, Receipt, carries_share};
pub use outcome::{ObserveError, observe};
pub use proposal::{Deadlines, Kind, Proposal, ProposalError, ProposalFile, ProposalMember, tolerated};
pub use report::{Effect, Failure, Fault, FaultKind, MemberProgress, Phase, Progress, Receivers, Record, Step};
