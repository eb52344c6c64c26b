//! From a derived transaction to a final one (`relayer/src/payouts.rs`): fix the bytes, agree with t, promise the coins,
//! sign, hand in. Each call of [`Member::pay`] is one effect on one open payout.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::derive::CoinRef;
use lockstep_core::mixin::{CoinKeys, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::payout::{self, InputSignature, Plan, ResolvedCoin, Seed, Verdict};
use lockstep_core::{B256, Uuid};
use rand::RngExt as _;

use super::super::disk::Disk;
use super::super::network::{Ask, SecretPart};
use super::super::setup::{UserKeys, member_user, trace_id};
use super::super::{Checked, Fault, broken};
use super::generations::spenders;
use super::{Member, Outside};

/// Request ids that everybody can compute, as in the service.
const REQUESTS_MAX: u8 = 3;

/// What a crash forgets of a payout.
#[derive(Debug, Default)]
pub(super) struct Signing {
    pub(super) attempt: u32,
    /// Everybody was asked for a part of the seed once.
    pub(super) has_asked: bool,
    /// By person.
    pub(super) seed_parts: BTreeMap<u8, SecretPart>,
    pub(super) hashes: BTreeMap<u8, B256>,
    pub(super) parts: BTreeMap<u8, Vec<InputSignature>>,
    is_agreed: bool,
    is_guarded: bool,
    is_handed_in: bool,
}

/// The request ids of a payout in the order in which they are tried. The last one only its member can compute (and stands
/// for one attempt), so nobody can take all of them.
pub(crate) fn request_ids(id: Uuid, attempt: u32, member: Option<u8>) -> Vec<Uuid> {
    let public = (1..REQUESTS_MAX).map(|number| Uuid::new_v5(&id, format!("request/{number}").as_bytes()));
    let own =
        member.map(|member| Uuid::new_v5(&id, format!("private request of {member}, attempt {attempt}").as_bytes()));
    [id].into_iter().chain(public).chain(own).collect()
}

impl Member {
    /// How far it has come with a payout, for a person who looks at a failed seed.
    pub(crate) fn payout_state(&self, id: &Uuid) -> String {
        let Some(payout) = self.disk.payouts.get(id) else { return format!("\n  {}: not derived", self.index) };
        let attempt = payout.attempts.number();
        let hash = self.disk.payloads.get(&(*id, attempt)).map(Transaction::hash);
        let is_signed = self.disk.signatures.contains_key(&(*id, attempt));
        let signing = self.alive.as_ref().and_then(|alive| alive.signing.get(id));
        let liar = if self.is_liar { "liar " } else { "" };
        format!(
            "\n  {liar}{}: attempt {attempt}, payload {hash:?}, signed {is_signed}, final {:?}, {signing:?}",
            self.index, payout.final_hash
        )
    }

    pub(super) fn pay(&mut self, out: &mut Outside<'_>) -> Checked {
        let open = self.disk.open_payouts();
        if open.is_empty() {
            return Ok(());
        }
        let id = open[out.random.random_range(0..open.len())];
        let Some(alive) = &self.alive else { return Ok(()) };
        let Some((persons, need)) = spenders(&self.disk, &alive.addresses, &self.disk.payouts[&id].derived) else {
            return broken("contradiction", format!("payout {id} spends what is at no address"));
        };
        if !persons.contains(&self.index) {
            return self.observe(id, out);
        }
        let attempt = self.disk.payouts[&id].attempts.number();
        let Some(payload) = self.disk.payloads.get(&(id, attempt)).cloned() else {
            return self.prepare(id, attempt, &persons, out);
        };
        if out.ledger.transactions.get(&payload.hash()).is_some_and(|admitted| admitted.is_final) {
            out.tally.count("payouts seen final");
            return self.disk.mark_final(id, payload.hash());
        }
        if let Some(holder) =
            payload.outputs().iter().flat_map(|output| &output.keys).find_map(|key| out.ledger.final_holder(key))
        {
            return self.bury(id, &holder.clone(), out);
        }
        let Some(alive) = &mut self.alive else { return Ok(()) };
        let mut signing = alive.signing.remove(&id).filter(|signing| signing.attempt == attempt).unwrap_or_default();
        signing.attempt = attempt;
        let result = match self.disk.signatures.get(&(id, attempt)).cloned() {
            None => self.sign(id, &payload, (&persons, need), &mut signing, out),
            Some(own) => self.push(id, (&payload, &own), (&persons, need), &mut signing, out),
        };
        if let Some(alive) = &mut self.alive {
            alive.signing.insert(id, signing);
        }
        result
    }

    /// The seed of its keys first, then the bytes.
    fn prepare(&mut self, id: Uuid, attempt: u32, persons: &[u8], out: &mut Outside<'_>) -> Checked {
        if let Some(seed) = self.seed(id, attempt) {
            return self.fix(id, attempt, &seed, out);
        }
        let Some(alive) = &mut self.alive else { return Ok(()) };
        let mut signing = alive.signing.remove(&id).filter(|signing| signing.attempt == attempt).unwrap_or_default();
        signing.attempt = attempt;
        let result = self.seek_seed(id, persons, &mut signing, out);
        if let Some(alive) = &mut self.alive {
            alive.signing.insert(id, signing);
        }
        result
    }

    /// Builds the bytes, for all inputs are final, and fixes them.
    fn fix(&mut self, id: Uuid, attempt: u32, seed: &Seed, out: &mut Outside<'_>) -> Checked {
        let plan = self.plan(id, attempt)?;
        // Two effects for the ledger, one for the member: an answer that a crash loses is given again.
        let Some(keys) = out.ledger.issue_keys(&plan.key_requests(seed)) else { return Ok(()) };
        let transaction = plan.build(seed, &keys).or_else(|error| broken("contradiction", error.to_string()))?;
        self.disk.fix_payload(id, transaction)
    }

    fn plan(&self, id: Uuid, attempt: u32) -> Checked<Plan> {
        let derived = &self.disk.payouts[&id].derived;
        let names = (id, attempt);
        let addresses = self.alive.as_ref().map(|alive| alive.addresses.clone());
        let address = |generation| addresses.as_ref()?.group(generation).cloned();
        Plan::new(derived, names, |coin| resolve(&self.disk, coin), address)
            .or_else(|error| broken("contradiction", format!("{:?}: {error}", derived.trace)))
    }

    /// A payout of coins that others sign for: the kernel shows what spent them.
    fn observe(&mut self, id: Uuid, out: &mut Outside<'_>) -> Checked {
        let plan = self.plan(id, 0)?;
        let holder = plan.coins().first().and_then(|coin| out.ledger.locks.get(coin));
        let Some(admitted) = holder.and_then(|hash| out.ledger.transactions.get(hash)).filter(|found| found.is_final)
        else {
            return Ok(());
        };
        if !plan.is_paid_by(&admitted.transaction) {
            return broken("contradiction", format!("payout {id} of others was spent otherwise"));
        }
        out.tally.count("payouts of others seen final");
        self.disk.mark_final(id, admitted.transaction.hash())
    }

    /// A final transaction holds a key of our payload: it is dead, and the next attempt may be built.
    fn bury(&mut self, id: Uuid, holder: &Transaction, out: &mut Outside<'_>) -> Checked {
        let Some(payout) = self.disk.payouts.get_mut(&id) else { return Ok(()) };
        match payout.attempts.observe(holder) {
            Ok(Verdict::Dead) => out.tally.count("attempts proven dead"),
            Ok(Verdict::Paid | Verdict::Unrelated) => {}
            Err(error) => return broken("contradiction", error.to_string()),
        }
        Ok(())
    }

    /// Agreement, promise, signature: an effect each.
    fn sign(
        &mut self,
        id: Uuid,
        payload: &Transaction,
        (persons, need): (&[u8], usize),
        signing: &mut Signing,
        out: &mut Outside<'_>,
    ) -> Checked {
        let hash = payload.hash();
        if !signing.is_agreed {
            signing.hashes.insert(self.index, hash);
            let mut votes = BTreeMap::<B256, BTreeSet<u8>>::new();
            for (member, theirs) in &signing.hashes {
                votes.entry(*theirs).or_default().insert(*member);
            }
            match votes.iter().find(|(_, who)| who.len() >= need) {
                Some((agreed, _)) if *agreed == hash => signing.is_agreed = true,
                Some((other, who)) => return broken("contradiction", format!("{who:?} agree on payload {other}")),
                None => {
                    // A member that answered otherwise is asked again: it may have lied only once.
                    self.ask(Ask::Hash(id, signing.attempt), persons, &votes[&hash].clone(), out);
                }
            }
            return Ok(());
        }
        if !signing.is_guarded && self.fault != Some(Fault::SignsUnguarded) {
            signing.is_guarded = true;
            return self.disk.guard_coins(id, payload);
        }
        let Some(coins) = out.ledger.coin_keys(payload) else { return Ok(()) };
        let user = member_user(self.index);
        let Some((_, views)) = self.register((id, signing.attempt), payload, out) else { return Ok(()) };
        let own = payout::sign(payload, &coins, &views, &UserKeys::of(user).spend)
            .or_else(|error| broken("contradiction", error.to_string()))?;
        if !self.is_liar {
            out.watch.guards_coins_before_it_signs(self.index, payload, &self.disk)?;
        }
        out.watch.one_signed_payload_per_coin(self.index, payload, out.ledger)?;
        self.disk.signatures.insert((id, signing.attempt), own);
        out.tally.count("payouts signed by a member");
        Ok(())
    }

    /// The first request id that stands for our payload.
    fn register(
        &self,
        (id, attempt): (Uuid, u32),
        payload: &Transaction,
        out: &mut Outside<'_>,
    ) -> Option<(Uuid, Vec<lockstep_core::mixin::GhostScalar>)> {
        let own = (self.fault != Some(Fault::PublicRequestsOnly)).then_some(self.index);
        for request in request_ids(id, attempt, own) {
            match out.ledger.register(member_user(self.index), request, payload) {
                Ok(views) if !views.is_empty() => return Some((request, views)),
                Ok(_) => return None,
                Err(_) => out.tally.count("requests found taken"),
            }
        }
        None
    }

    /// Hands the own signatures to the API, pulls those of others, gives the kernel all of them.
    fn push(
        &mut self,
        id: Uuid,
        (payload, own): (&Transaction, &[InputSignature]),
        (persons, need): (&[u8], usize),
        signing: &mut Signing,
        out: &mut Outside<'_>,
    ) -> Checked {
        if out.ledger.transactions.contains_key(&payload.hash()) {
            return Ok(());
        }
        let Some(coins) = out.ledger.coin_keys(payload) else { return Ok(()) };
        let known = signing.parts.keys().copied().collect::<BTreeSet<u8>>();
        match out.random.random_range(0..6) {
            // Again only now and then: the API may have lost it.
            0 if !signing.is_handed_in || out.chance(10) => {
                signing.is_handed_in = true;
                let part = payout::with_part(payload, &coins, own);
                let part = part.or_else(|error| broken("contradiction", error.to_string()))?;
                if let Some((request, _)) = self.register((id, signing.attempt), payload, out) {
                    // A refusal shows in what is final.
                    let _ = out.ledger.add_signatures(request, &part);
                }
            }
            1 if known.len() + 1 >= need => submit(payload, &coins, own, signing, out),
            1..3 => {
                self.ask(Ask::Signatures(id, signing.attempt), persons, &known, out);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Merges the parts that verify and forgets the others.
fn submit(
    payload: &Transaction,
    coins: &[CoinKeys],
    own: &[InputSignature],
    signing: &mut Signing,
    out: &mut Outside<'_>,
) {
    let heard = signing.parts.len();
    signing.parts.retain(|_, part| payout::verify_part(payload, coins, part).is_ok());
    if signing.parts.len() < heard {
        out.tally.count("bad payout signatures refused");
    }
    let parts: Vec<_> = signing.parts.values().cloned().chain([own.to_vec()]).collect();
    if let Ok(signed) = payout::merge(payload, coins, &parts)
        && out.ledger.admit(&signed).is_ok()
    {
        out.tally.count("payouts handed to the kernel");
    }
}

/// Where a coin lies, from own rows alone.
pub(crate) fn resolve(disk: &Disk, coin: &CoinRef) -> Option<ResolvedCoin> {
    match coin {
        CoinRef::Output(id) => {
            let (id, amount, _) = *disk.coins.get(id)?;
            Some(ResolvedCoin { id, amount })
        }
        CoinRef::Virtual { trace, index } => {
            let parent = disk.payouts.get(&trace_id(trace))?;
            let (_, amount) = parent.derived.outputs.get(usize::from(*index))?;
            Some(ResolvedCoin { id: CoinId { transaction: parent.final_hash?, index: *index }, amount: *amount })
        }
    }
}
