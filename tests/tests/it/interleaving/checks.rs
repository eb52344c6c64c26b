//! What must hold when a world has come to rest.

use std::collections::BTreeMap;

use lockstep_core::AssetId;
use lockstep_core::derive::{Class, DerivedMemo, Outbound, Record};
use lockstep_core::trace::{ChainId, Trace};

use super::world::{ASSETS, CHAINS, DELAY_UNKNOWN, Member, World};
use super::{Checked, broken};

impl World {
    pub(crate) fn check(&self) -> Checked {
        self.check_members()?;
        for chain in CHAINS {
            self.check_coins(chain)?;
            self.check_answers(chain)?;
        }
        self.check_credits()?;
        self.check_verdicts()?;
        self.check_conservation()
    }

    /// D: the same state everywhere. S: nothing waits, everything is final.
    fn check_members(&self) -> Checked {
        let first = &self.members[0];
        for member in &self.members {
            if let Some(part) = differs(first, member) {
                return broken('D', format!("{part} differ at the end"));
            }
            for chain in CHAINS {
                if member.core.pending(chain) > 0 || member.core.waiting(chain).next().is_some() {
                    return broken('S', format!("chain {chain} is stuck"));
                }
            }
        }
        match self.by_trace.keys().find(|trace| !self.ledger.finals.contains_key(trace) && !self.is_held(trace)) {
            Some(trace) => broken('S', format!("{trace:?} never became final")),
            None => Ok(()),
        }
    }

    /// V: coins = books. C, S: a list holds unspent coins of the ledger, and nothing else.
    fn check_coins(&self, chain: ChainId) -> Checked {
        let core = &self.members[0].core;
        let mut balance = BTreeMap::<AssetId, (u128, u128)>::new();
        for (_, asset, amount) in core.books(chain) {
            balance.entry(asset).or_default().0 += amount.units();
        }
        for (asset, coin, amount) in core.coins(chain) {
            balance.entry(asset).or_default().1 += amount.units();
            let coin = self.ledger.coin(&coin);
            if let Some(spender) = self.ledger.spent.get(&coin) {
                return broken('C', format!("the list of chain {chain} holds a coin that {spender:?} spent"));
            }
            if self.ledger.coins.get(&coin) != Some(&amount) {
                return broken('S', format!("the list of chain {chain} holds a coin that does not exist"));
            }
        }
        match balance.iter().find(|(_, (books, coins))| books != coins) {
            Some((asset, (books, coins))) => broken('V', format!("{asset}: books of {books}, coins of {coins}")),
            None => Ok(()),
        }
    }

    /// S: each outbound is answered exactly once.
    fn check_answers(&self, chain: ChainId) -> Checked {
        for record in &self.contracts[&chain].records {
            if let Record::Outbound(Outbound { k, .. }) = record {
                let k = *k;
                let traces = [Trace::Pay { chain, k }, Trace::Settle { chain, k }];
                let paid = traces.iter().filter(|trace| self.by_trace.contains_key(trace)).count();
                if paid + usize::from(self.members[0].core.parked(chain).contains(&k)) != 1 {
                    return broken('S', format!("outbound {k} of chain {chain} is not answered once"));
                }
            }
        }
        Ok(())
    }

    /// T: only deposits and bounces are credited.
    fn check_credits(&self) -> Checked {
        let rows: BTreeMap<_, _> = self.ledger.rows.iter().map(|(output, _)| (output.id, output)).collect();
        for applied in &self.members[0].applied {
            let coin = rows[&applied.output].coin;
            let Some(parent) = self.ledger.parent(&coin) else {
                continue;
            };
            let bounces = matches!(parent.memo, DerivedMemo::Bounce(_) | DerivedMemo::Pay(_)) && coin.index == 0;
            if matches!(applied.class, Class::Call | Class::Bounce) && !bounces {
                return broken('T', format!("output {} of {:?} is credited", coin.index, parent.trace));
            }
        }
        Ok(())
    }

    /// W: decided before the payment was due → bounced.
    fn check_verdicts(&self) -> Checked {
        for ((chain, k), verdict) in &self.verdicts {
            let (chain, k) = (*chain, *k);
            let ends = [Trace::Settle { chain, k }, Trace::Pay { chain, k }];
            let end = ends.iter().find_map(|trace| self.by_trace.get(trace));
            let time = self.contracts[&chain].records.iter().find_map(|record| match record {
                Record::Outbound(outbound) if outbound.k == k => Some(outbound.time),
                Record::Outbound(_) | Record::Accepted { .. } => None,
            });
            let (Some(end), Some(time)) = (end, time) else {
                return broken('S', format!("outbound {k} of chain {chain} has a verdict and no end"));
            };
            let mut before = self.ledger.rows.iter().filter(|(output, _)| output.sequence <= *verdict);
            let in_time = before.all(|(output, _)| output.created_at < time + DELAY_UNKNOWN);
            if in_time && !matches!(end.memo, DerivedMemo::Bounce(_)) {
                return broken('W', format!("outbound {k} of chain {chain} was paid against a decision"));
            }
        }
        Ok(())
    }

    /// V: what came in is what lies there and what left.
    fn check_conservation(&self) -> Checked {
        for asset in ASSETS {
            let foreign = self.ledger.rows.iter().map(|(output, _)| output).filter(|output| output.asset == asset);
            let (mut paid, mut kept) = (0, 0);
            for output in foreign {
                if self.ledger.parent(&output.coin).is_none() {
                    paid += output.amount.units();
                }
                if !self.ledger.spent.contains_key(&output.coin) {
                    kept += output.amount.units();
                }
            }
            let gone = self.ledger.gone.get(&asset).copied().unwrap_or_default();
            if paid != kept + gone {
                return broken('V', format!("{asset}: {paid} came, {kept} lie there, {gone} left"));
            }
        }
        Ok(())
    }
}

/// The first part of two members' states that is not equal.
fn differs(left: &Member, right: &Member) -> Option<&'static str> {
    let (one, other) = (&left.core, &right.core);
    let checks = [
        ("state digests", one.state_digest() == other.state_digest()),
        ("classes", left.applied == right.applied),
        ("mailboxes", left.mailboxes == right.mailboxes),
        ("unclaimed outputs", one.unclaimed().eq(other.unclaimed())),
        ("refunds", left.of_ledger == right.of_ledger),
        ("transactions of chains", left.of_chains == right.of_chains),
        ("transactions of escrows", left.of_escrows == right.of_escrows),
        ("processes", one.processes().eq(other.processes())),
        ("groups", one.groups() == other.groups()),
        ("books", CHAINS.iter().all(|chain| one.books(*chain).eq(other.books(*chain)))),
        ("coins", CHAINS.iter().all(|chain| one.coins(*chain).eq(other.coins(*chain)))),
        ("parked outbounds", CHAINS.iter().all(|chain| one.parked(*chain) == other.parked(*chain))),
        ("waiting outbounds", CHAINS.iter().all(|chain| one.waiting(*chain).eq(other.waiting(*chain)))),
        ("generations", CHAINS.iter().all(|chain| one.generation(*chain) == other.generation(*chain))),
    ];
    checks.into_iter().find(|(_, equal)| !equal).map(|(part, _)| part)
}
