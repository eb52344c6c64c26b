//! What a member has promised about each of the group's coins (DERIVATION.md C2).
//!
//! Two different transactions over one coin would lock it on the ledger for ever, so before a member signs it writes down
//! *coin → payload hash* for every input. The key is the coin, so refunds, consolidations, escrow and migration are all
//! covered by the one rule.

use alloy_primitives::B256;
use thiserror::Error;

use super::attempts::DeadPayload;
use crate::output::CoinId;

/// Checks that signing `payload` over `coins` breaks no promise. `promised` gives the payload that this member has bound a
/// coin to. The returned coins are to be bound to `payload` durably *before* the first signature; it is empty where all
/// are bound already.
///
/// A coin may pass from a dead payload of the same payout to the next attempt: `dead` holds what is proven dead.
///
/// # Errors
/// [`GuardConflict`] for the first coin that is bound to another payload. Nobody may sign then, and somebody must look.
pub fn guard(
    coins: &[CoinId],
    payload: B256,
    dead: &[DeadPayload],
    promised: impl Fn(&CoinId) -> Option<B256>,
) -> Result<Vec<CoinId>, GuardConflict> {
    let mut unbound = Vec::new();
    for coin in coins {
        match promised(coin) {
            Some(bound) if bound == payload => {}
            Some(bound) if !dead.iter().any(|dead| dead.payload() == bound) => {
                return Err(GuardConflict { coin: *coin, bound, wanted: payload });
            }
            Some(_) | None => unbound.push(*coin),
        }
    }
    Ok(unbound)
}

/// A coin that is promised to another transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("coin {}:{} is bound to {bound}, so {wanted} is not signed", coin.transaction, coin.index)]
pub struct GuardConflict {
    /// The coin.
    pub coin: CoinId,
    /// The payload that it is bound to.
    pub bound: B256,
    /// The payload that was to be signed.
    pub wanted: B256,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn coin(index: u16) -> CoinId {
        CoinId { transaction: B256::ZERO, index }
    }

    const OLD: B256 = B256::repeat_byte(1);
    const NEW: B256 = B256::repeat_byte(2);

    #[test]
    fn a_coin_bound_to_another_payload_should_stop_everything() {
        let rows = BTreeMap::from([(coin(1), OLD)]);
        let refused = guard(&[coin(0), coin(1)], NEW, &[], |coin| rows.get(coin).copied());
        assert_eq!(refused, Err(GuardConflict { coin: coin(1), bound: OLD, wanted: NEW }));
        let other = DeadPayload::for_test(B256::repeat_byte(3));
        assert!(guard(&[coin(1)], NEW, &[other], |coin| rows.get(coin).copied()).is_err());
    }

    #[test]
    fn the_same_payload_should_pass_again_and_bind_only_what_is_free() {
        let rows = BTreeMap::from([(coin(1), NEW)]);
        let bound = guard(&[coin(0), coin(1)], NEW, &[], |coin| rows.get(coin).copied());
        assert_eq!(bound, Ok(vec![coin(0)]));
    }

    #[test]
    fn a_dead_payload_should_free_its_coins_for_the_next_attempt() {
        let dead = DeadPayload::for_test(OLD);
        assert_eq!(guard(&[coin(0)], NEW, &[dead], |_| Some(OLD)), Ok(vec![coin(0)]));
    }
}
