//! Which payments are made: so many of each kind, in an order and with amounts that a seed decides.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Single users who pay.
pub(super) const USERS: usize = 32;
/// Sets of three of them, two of whom must sign.
pub(super) const SETS: usize = 6;
/// The party behind them: a set of so many that its address does not fit a memo. Any one of them may sign.
pub(super) const CLUB_SIZE: usize = 16;
/// Its place among the parties.
pub(super) const CLUB: usize = USERS + SETS;
/// Behind it: users who never pay, and so are not known to the group.
pub(super) const STRANGERS: usize = 4;
/// All parties.
pub(super) const PARTIES: usize = CLUB + 1 + STRANGERS;
/// Assets that are paid with.
pub(super) const ASSETS: usize = 6;

/// Where XIN is among them.
pub(super) const XIN_PLACE: usize = 1;

/// Least and most of a payment, in units: 0.0001 is the refund floor.
const AMOUNT: (u128, u128) = (10_000, 100_000_000);
/// Least and most bytes of a payload that does not fit a memo; the most is what a contract takes.
const PAYLOAD: (usize, usize) = (300, 65_536);
/// The least payload doubles so often until it is beyond the half of the most.
const DOUBLINGS: u32 = 8;
/// Outputs of a payment of several.
pub(super) const SEVERAL: usize = 3;

/// How an output of the group ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// A message of a process.
    Message,
    /// Given back, from exactly that coin.
    Refund,
    /// Kept, in nobody's book.
    Unclaimed,
}

/// What is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the labels say it")]
pub enum Kind {
    Deposit,
    Withdrawal,
    ToStranger,
    BadText,
    BadProcess,
    BadPurpose,
    BadReference,
    SetDeposit,
    SetWithdrawal,
    SetBadMemo,
    LargeToClub,
    LargeUnknown,
    Collectible,
    Dust,
    NobodyCall,
    NobodyReturn,
    NobodyBare,
    Several,
    Marked,
    Reverting,
}

/// Each kind and how many of 1,000 payments are of it; the rest are deposits. The issue asks for 10 % bad memos, 5 %
/// multisig senders, 5 % large payloads, 2 % collectibles and 2 % dust.
const SHARES: [(Kind, usize); 19] = [
    (Kind::BadText, 40),
    (Kind::BadProcess, 30),
    (Kind::BadPurpose, 20),
    (Kind::BadReference, 10),
    (Kind::SetDeposit, 25),
    (Kind::SetWithdrawal, 15),
    (Kind::SetBadMemo, 10),
    (Kind::LargeToClub, 25),
    (Kind::LargeUnknown, 25),
    (Kind::Collectible, 20),
    (Kind::Dust, 20),
    (Kind::Withdrawal, 80),
    (Kind::ToStranger, 2),
    (Kind::NobodyCall, 5),
    (Kind::NobodyReturn, 5),
    (Kind::NobodyBare, 5),
    (Kind::Several, 10),
    (Kind::Marked, 5),
    (Kind::Reverting, 10),
];

impl Kind {
    /// For the table.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal to oneself",
            Self::ToStranger => "withdrawal to a stranger",
            Self::BadText => "bad memo: no operation",
            Self::BadProcess => "bad memo: no such process",
            Self::BadPurpose => "bad memo: unknown purpose",
            Self::BadReference => "bad memo: payload not there",
            Self::SetDeposit => "2 of 3: deposit",
            Self::SetWithdrawal => "2 of 3: withdrawal",
            Self::SetBadMemo => "2 of 3: bad memo",
            Self::LargeToClub => "large: to 16 users",
            Self::LargeUnknown => "large: contract refuses",
            Self::Collectible => "collectible",
            Self::Dust => "dust",
            Self::NobodyCall => "no sender: call",
            Self::NobodyReturn => "no sender: return address",
            Self::NobodyBare => "no sender: no memo",
            Self::Several => "three outputs",
            Self::Marked => "marked as a refund",
            Self::Reverting => "contract reverts",
        }
    }

    /// How its outputs must end.
    pub const fn ending(self) -> Ending {
        match self {
            Self::BadText
            | Self::BadProcess
            | Self::BadPurpose
            | Self::BadReference
            | Self::SetBadMemo
            | Self::Collectible
            | Self::NobodyReturn => Ending::Refund,
            Self::Dust | Self::NobodyBare | Self::Marked => Ending::Unclaimed,
            Self::Deposit
            | Self::Withdrawal
            | Self::ToStranger
            | Self::SetDeposit
            | Self::SetWithdrawal
            | Self::LargeToClub
            | Self::LargeUnknown
            | Self::NobodyCall
            | Self::Several
            | Self::Reverting => Ending::Message,
        }
    }

    /// The payment is a message that the contract refuses, so that the group pays it back.
    pub const fn is_refused_by_contract(self) -> bool {
        matches!(self, Self::LargeUnknown | Self::Reverting)
    }

    /// Its message has the contract pay something out.
    pub const fn withdraws(self) -> bool {
        matches!(self, Self::Withdrawal | Self::ToStranger | Self::SetWithdrawal | Self::LargeToClub)
    }

    /// It comes from the faucet, which is nobody.
    pub const fn has_no_sender(self) -> bool {
        matches!(self, Self::NobodyCall | Self::NobodyReturn | Self::NobodyBare)
    }

    /// Its coin is made for it: the payer had none before.
    pub const fn is_given(self) -> bool {
        self.has_no_sender() || matches!(self, Self::Collectible)
    }

    const fn is_large(self) -> bool {
        matches!(self, Self::LargeToClub | Self::LargeUnknown)
    }

    const fn is_of_set(self) -> bool {
        matches!(self, Self::SetDeposit | Self::SetWithdrawal | Self::SetBadMemo)
    }
}

/// One payment to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// Its place.
    pub(super) number: usize,
    pub(super) kind: Kind,
    /// Who pays, or to whom it returns where nobody pays.
    pub(super) party: usize,
    /// Who gets what a contract pays out.
    pub(super) to: usize,
    pub(super) asset: usize,
    /// Of each of its outputs.
    pub(super) units: u128,
    /// What a contract is told to pay out of it.
    pub(super) part: u128,
    /// Bytes of a payload that the contract does not understand.
    pub(super) bytes: usize,
}

/// Which parties need which assets: what they pay with, and XIN for storage.
pub(super) fn grants(orders: &[Order]) -> BTreeSet<(usize, usize)> {
    let own = orders.iter().filter(|order| !order.kind.is_given());
    let stores = orders.iter().filter(|order| order.kind.is_large()).map(|order| (order.party, XIN_PLACE));
    own.map(|order| (order.party, order.asset)).chain(stores).collect()
}

/// So many payments, each kind at least once. The first one is the club's, which is known to the group from then on.
pub(super) fn orders(payments: usize, seed: u64) -> Vec<Order> {
    let mut random = StdRng::seed_from_u64(seed);
    let count = |share: usize| (payments.saturating_mul(share) / 1_000).max(1);
    let mut kinds: Vec<_> = SHARES.iter().flat_map(|(kind, share)| vec![*kind; count(*share)]).collect();
    kinds.resize(payments.max(kinds.len()), Kind::Deposit);
    for last in (1..kinds.len()).rev() {
        kinds.swap(last, random.random_range(0..=last));
    }
    if let Some(first) = kinds.iter().position(|kind| *kind == Kind::SetDeposit) {
        kinds.swap(0, first);
    }
    let mut orders: Vec<_> =
        kinds.into_iter().enumerate().map(|(number, kind)| order(number, kind, &mut random)).collect();
    (orders[0].party, orders[0].to) = (CLUB, CLUB);
    orders
}

fn order(number: usize, kind: Kind, random: &mut StdRng) -> Order {
    let party = if kind.is_of_set() { USERS + random.random_range(0..SETS) } else { random.random_range(0..USERS) };
    let to = match kind {
        Kind::ToStranger => CLUB + 1 + random.random_range(0..STRANGERS),
        Kind::LargeToClub => CLUB,
        _ => party,
    };
    // A marked payment and one of nobody must not be dust, which would end the same way.
    let units = if kind == Kind::Dust { 1..=AMOUNT.0 - 1 } else { AMOUNT.0..=AMOUNT.1 };
    let units = random.random_range(units);
    // Most payloads are short, some are as long as they may be: each doubling is as likely.
    let least = PAYLOAD.0 << random.random_range(0..DOUBLINGS);
    let bytes = random.random_range(least..=(least * 2).min(PAYLOAD.1));
    let part = random.random_range(1..=units);
    Order { number, kind, party, to, asset: random.random_range(0..ASSETS), units, part, bytes }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_mix_should_be_the_one_that_is_asked_for() {
        let orders = orders(10_000, 1);
        assert_eq!(orders.len(), 10_000);
        let mut counts = BTreeMap::<Kind, usize>::new();
        for order in &orders {
            *counts.entry(order.kind).or_default() += 1;
            assert!((order.kind == Kind::Dust) == (order.units < AMOUNT.0) && order.part <= order.units);
            assert!((PAYLOAD.0..=PAYLOAD.1).contains(&order.bytes));
        }
        let of = |kinds: &[Kind]| kinds.iter().map(|kind| counts[kind]).sum::<usize>();
        assert_eq!(of(&[Kind::BadText, Kind::BadProcess, Kind::BadPurpose, Kind::BadReference]), 1_000);
        assert_eq!(of(&[Kind::SetDeposit, Kind::SetWithdrawal, Kind::SetBadMemo]), 500);
        assert_eq!(of(&[Kind::LargeToClub, Kind::LargeUnknown]), 500);
        assert_eq!((of(&[Kind::Collectible]), of(&[Kind::Dust])), (200, 200));
    }

    #[test]
    fn one_seed_should_give_one_mix_with_each_kind() {
        let few = orders(60, 7);
        assert_eq!(few.len(), 60);
        assert!(SHARES.iter().all(|(kind, _)| few.iter().any(|order| order.kind == *kind)));
        let again = orders(60, 7);
        assert!(few.iter().zip(&again).all(|(one, other)| format!("{one:?}") == format!("{other:?}")));
    }
}
