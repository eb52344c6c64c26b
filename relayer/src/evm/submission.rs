//! What to do with a submission, as a pure function of its row, the chain and the time.
//!
//! An account nonce is this member's own counter and has nothing to do with the nonces of messages. A submission leaves
//! only when it is final, so a reorganisation needs no undoing: what was mined and is not any more is pending again.

use lockstep_core::B256;
use serde::{Deserialize, Serialize};

use crate::evm::fees::{FeePolicy, Market, Price};
use crate::world::chain::{Outcome, Purpose, Submission};

/// Most prices that one submission is sent with: at an eighth more each, the last is thousands of times the first.
pub const ATTEMPTS_MAX: usize = 64;

/// When a submission is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// A transaction that the endpoint has forgotten is sent again after so many milliseconds.
    pub resend_ms: u64,
    /// A transaction that was not mined for so many milliseconds gets a higher price.
    pub bump_ms: u64,
}

/// What the chain shows of one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainView {
    /// Transactions of the account in the newest block's state.
    pub latest_count: u64,
    /// Transactions of the account in the newest final block's state.
    pub final_count: u64,
    /// Receipt of one of its hashes: the hash and whether it succeeded.
    pub receipt: Option<(B256, bool)>,
    /// The endpoint knows the transaction that was sent last.
    pub known: bool,
    /// A mailbox still stands where a batch of it begins.
    pub useful: bool,
    /// What the chain asks for gas.
    pub market: Market,
}

/// What to do next with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing now.
    Wait,
    /// Send the same bytes again.
    Send,
    /// Send the same call at this price.
    Bump(Price),
    /// Put an empty transfer in its place at this price: others have delivered.
    Cancel(Price),
    /// Final: forget it.
    Done(Outcome),
}

/// What to do with `submission` at `now` (milliseconds since 1970).
pub fn decide(submission: &Submission, now: u64, view: &ChainView, patience: Patience, fees: &FeePolicy) -> Decision {
    if view.final_count > submission.account_nonce {
        return Decision::Done(match view.receipt {
            Some((hash, true)) => Outcome::Mined(hash),
            Some((hash, false)) => Outcome::Reverted(hash),
            None => Outcome::Foreign,
        });
    }
    if view.latest_count > submission.account_nonce {
        return Decision::Wait;
    }
    let old = Price { max_fee: submission.max_fee, tip: submission.tip };
    let higher = match submission.hashes.len() < ATTEMPTS_MAX {
        true => fees.bumped(old, view.market),
        false => None,
    };
    let delivers = matches!(submission.purpose, Purpose::Deliver { .. });
    let idle_ms = now.saturating_sub(submission.last_sent_at);
    match higher {
        Some(price) if delivers && !view.useful => Decision::Cancel(price),
        Some(price) if idle_ms >= patience.bump_ms => Decision::Bump(price),
        Some(_) | None if !view.known && idle_ms >= patience.resend_ms => Decision::Send,
        Some(_) | None => Decision::Wait,
    }
}

/// The account nonce of the next submission: the lowest that neither the chain nor a row of ours has used. A gap, left by
/// a lost row, is filled first, since nothing behind it could be mined.
pub fn next_account_nonce(latest_count: u64, pending: &[Submission]) -> u64 {
    let mut used: Vec<u64> = pending.iter().map(|submission| submission.account_nonce).collect();
    used.sort_unstable();
    let step = |next: u64, used: u64| if used == next { next.saturating_add(1) } else { next };
    used.into_iter().fold(latest_count, step)
}

/// Which member submits first, and how long the others wait (DESIGN.md section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    /// This member's index, 1 to n.
    pub member: u16,
    /// n.
    pub members: u16,
    /// Milliseconds that a rank waits for the one before it.
    pub step_ms: u64,
}

impl Turns {
    /// This member's rank for the mailbox state whose oldest undelivered message has the ledger sequence `sequence`: all
    /// members see the same one, and it stays until somebody delivers.
    pub fn rank(&self, sequence: u64) -> u64 {
        let sum = u128::from(sequence).saturating_add(u128::from(self.member));
        let rank = sum.checked_rem(u128::from(self.members)).unwrap_or(0);
        u64::try_from(rank).unwrap_or(0)
    }

    /// When this member may submit what it has seen undelivered since `since` (milliseconds since 1970).
    pub fn due_at(&self, sequence: u64, since: u64) -> u64 {
        since.saturating_add(self.rank(sequence).saturating_mul(self.step_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { resend_ms: 100, bump_ms: 1_000 };
    const FEES: FeePolicy = FeePolicy { max_fee_max: 1_000, tip_min: 1, tip_max: 10 };
    const MARKET: Market = Market { base_fee: 10, tip: 1 };
    const BUMPED: Price = Price { max_fee: 114, tip: 13 };

    fn submission() -> Submission {
        Submission {
            account_nonce: 5,
            purpose: Purpose::Deliver { calldata: vec![1], heads: std::collections::BTreeMap::new() },
            gas_limit: 100_000,
            max_fee: 100,
            tip: 10,
            first_sent_at: 10_000,
            last_sent_at: 10_000,
            hashes: vec![B256::repeat_byte(1)],
        }
    }

    fn view() -> ChainView {
        ChainView { latest_count: 5, final_count: 5, receipt: None, known: true, useful: true, market: MARKET }
    }

    fn decided(submission: &Submission, now: u64, view: &ChainView) -> Decision {
        decide(submission, now, view, PATIENCE, &FEES)
    }

    #[test]
    fn a_fresh_submission_should_be_left_alone() {
        assert_eq!(decided(&submission(), 10_999, &view()), Decision::Wait);
        assert_eq!(decided(&submission(), 0, &view()), Decision::Wait, "a clock that went back");
    }

    #[test]
    fn a_forgotten_submission_should_be_sent_again_unchanged() {
        let view = ChainView { known: false, ..view() };
        assert_eq!(decided(&submission(), 10_099, &view), Decision::Wait);
        assert_eq!(decided(&submission(), 10_100, &view), Decision::Send);
    }

    #[test]
    fn a_stuck_submission_should_be_bumped_up_to_the_bound_only() {
        assert_eq!(decided(&submission(), 11_000, &view()), Decision::Bump(BUMPED));
        let dear = Submission { max_fee: 999, ..submission() };
        assert_eq!(decided(&dear, 99_000, &view()), Decision::Wait);
        assert_eq!(decided(&dear, 99_000, &ChainView { known: false, ..view() }), Decision::Send);
        let tried = Submission { hashes: vec![B256::ZERO; ATTEMPTS_MAX], ..submission() };
        assert_eq!(decided(&tried, 99_000, &view()), Decision::Wait);
    }

    #[test]
    fn what_others_delivered_should_be_cancelled_once() {
        let late = ChainView { useful: false, ..view() };
        assert_eq!(decided(&submission(), 10_001, &late), Decision::Cancel(BUMPED));
        let cancelled = Submission { purpose: Purpose::Cancel, ..submission() };
        assert_eq!(decided(&cancelled, 10_001, &late), Decision::Wait);
        assert_eq!(decided(&cancelled, 11_000, &late), Decision::Bump(BUMPED));
    }

    #[test]
    fn only_what_is_final_should_be_done() {
        let hash = B256::repeat_byte(1);
        let mined = ChainView { latest_count: 6, receipt: Some((hash, true)), useful: false, ..view() };
        assert_eq!(decided(&submission(), 99_000, &mined), Decision::Wait);
        let done = ChainView { final_count: 6, ..mined };
        assert_eq!(decided(&submission(), 99_000, &done), Decision::Done(Outcome::Mined(hash)));
        let reverted = ChainView { receipt: Some((hash, false)), ..done };
        assert_eq!(decided(&submission(), 99_000, &reverted), Decision::Done(Outcome::Reverted(hash)));
        let foreign = ChainView { receipt: None, ..done };
        assert_eq!(decided(&submission(), 99_000, &foreign), Decision::Done(Outcome::Foreign));
    }

    #[test]
    fn a_reorganisation_should_make_a_mined_submission_pending_again() {
        let dropped = ChainView { latest_count: 5, known: false, ..view() };
        assert_eq!(decided(&submission(), 10_500, &dropped), Decision::Send);
    }

    #[test]
    fn account_nonces_should_follow_the_chain_and_fill_gaps() {
        let row = |account_nonce| Submission { account_nonce, ..submission() };
        assert_eq!(next_account_nonce(3, &[]), 3);
        assert_eq!(next_account_nonce(3, &[row(4), row(3)]), 5);
        assert_eq!(next_account_nonce(3, &[row(4)]), 3);
        assert_eq!(next_account_nonce(7, &[row(5), row(6)]), 7);
    }

    #[test]
    fn every_rank_should_be_taken_once() {
        for sequence in [0, 1, 7, u64::MAX] {
            let mut ranks: Vec<u64> =
                (1..=4).map(|member| Turns { member, members: 4, step_ms: 12 }.rank(sequence)).collect();
            ranks.sort_unstable();
            assert_eq!(ranks, [0, 1, 2, 3], "{sequence}");
        }
        let turns = Turns { member: 2, members: 4, step_ms: 12_000 };
        assert_eq!(turns.due_at(5, 1_000), 37_000);
        assert_eq!(Turns { members: 0, ..turns }.due_at(5, 1_000), 1_000);
    }
}
