//! Members that lie: in their answers, at the ledger's API, on the kernel and on the chains.

use lockstep_core::bls::PartialSignature;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::mask::MASK_DST;
use lockstep_core::mixin::{Output, Signature, Signatures, SignedTransaction, Transaction};
use lockstep_core::payout::{self, GhostRequest, Plan, SEED_DST, Seed};
use lockstep_core::{B256, Uuid};
use rand::RngExt as _;

use super::Checked;
use super::chain::Delivery;
use super::ledger::Payment;
use super::member::{Member, Outside, delivery, payouts_resolve, request_ids};
use super::network::{Ask, Partial, Said, SecretPart};
use super::setup::{
    CHAINS, FLOOR, GENERATIONS, GROUP_ID, UserKeys, group_of, group_signature, member_user, share, single,
};

/// The lie in place of an answer, different each time and for each peer; one time in four it is the truth.
pub(super) fn twist(said: Said, ask: Ask, liar: u8, out: &mut Outside<'_>) -> Said {
    let lie = out.random.random_range(0..4);
    if lie == 0 {
        return said;
    }
    out.tally.count("lies told");
    let noise = B256::new(out.random.random());
    match (ask, said) {
        (Ask::Partial(sequence), Said::Partial(Some(partial))) => {
            Said::Partial(lie_about(sequence, partial, lie, noise, liar))
        }
        (Ask::Seed(..), Said::Seed(Some(part))) => Said::Seed(lie_about_secret(part, SEED_DST, lie, noise, liar)),
        (Ask::Mask(..), Said::Mask(Some(part))) => Said::Mask(lie_about_secret(part, MASK_DST, lie, noise, liar)),
        (Ask::Hash(..), _) => Said::Hash((lie > 1).then_some(noise)),
        (Ask::Signatures(..), Said::Signatures(Some(mut part))) => {
            match lie {
                1 => part.iter_mut().for_each(|signed| {
                    signed.signature = Signature::sign(&UserKeys::of(member_user(liar)).spend, &noise);
                }),
                2 => part.iter_mut().for_each(|signed| signed.key = signed.key.wrapping_add(1)),
                _ => part.clear(),
            }
            Said::Signatures(Some(part))
        }
        (_, said) => said,
    }
}

fn lie_about_secret(truth: SecretPart, dst: &[u8], lie: u32, noise: B256, liar: u8) -> Option<SecretPart> {
    let share = (0..GENERATIONS.len() as u32).rev().find_map(|generation| share(generation, liar))?;
    match (lie, truth) {
        (1, _) => Some(SecretPart::Whole(share.secret().sign(noise.as_slice(), dst))),
        (2, SecretPart::Part { roster, signature }) => {
            let signature = PartialSignature { index: signature.index, ..share.sign(noise.as_slice(), dst) };
            Some(SecretPart::Part { roster, signature })
        }
        _ => None,
    }
}

fn lie_about(sequence: u64, truth: Partial, lie: u32, noise: B256, liar: u8) -> Option<Partial> {
    let generations = 0..GENERATIONS.len() as u32;
    let Some(share) = generations.rev().find_map(|generation| share(generation, liar)) else { return Some(truth) };
    match lie {
        1 => Some(Partial { signature: share.sign_digest(&noise), ..truth }),
        2 => {
            let mut signature = [0xaa; 48];
            signature[16..].copy_from_slice(noise.as_slice());
            Some(Partial { signature: PartialSignature { index: liar, signature }, ..truth })
        }
        _ => {
            let other = Checkpoint { sequence, history: noise, root: truth.root };
            Some(Partial { history: noise, signature: share.sign_digest(&other.digest(&GROUP_ID)), ..truth })
        }
    }
}

/// One active trick of the liars, who share their keys.
pub(super) fn mischief(liar: &Member, liars: &[u8], out: &mut Outside<'_>) -> Checked {
    match out.random.random_range(0..8) {
        0 => forge_checkpoint(liar, liars, out),
        1..4 => old_or_wrong_delivery(liar, out),
        4 => take_requests(liar, out),
        5 => grab_key(liar, out),
        _ => return steal(liar, liars, out),
    }
    Ok(())
}

/// Signs a checkpoint of another history with all the shares they have, and hands it to a chain.
fn forge_checkpoint(liar: &Member, liars: &[u8], out: &mut Outside<'_>) {
    let Some(truth) = liar.disk.steps.values().next_back() else { return };
    let forged = Checkpoint { history: B256::new(out.random.random()), ..*truth };
    out.tally.count("tricks: checkpoint forged");
    let signature = group_signature(&forged.digest(&GROUP_ID), liars);
    // Too few of them: the signature is one of something else.
    let signature = signature.or_else(|| liar.disk.certificates.values().next().copied());
    if let Some(signature) = signature {
        let chain = CHAINS[out.random.random_range(0..CHAINS.len())];
        let delivery = Delivery { checkpoint: forged, signature, batches: Vec::new() };
        if let Some(chain) = out.chains.get_mut(&chain) {
            chain.submit(delivery.into());
        }
    }
}

/// Delivers under an old checkpoint, to the wrong chain, or with a byte changed.
fn old_or_wrong_delivery(liar: &Member, out: &mut Outside<'_>) {
    let certified: Vec<_> = liar.disk.certificates.iter().collect();
    if certified.is_empty() {
        return;
    }
    let (sequence, signature) = certified[out.random.random_range(0..certified.len())];
    let checkpoint = liar.disk.steps[sequence];
    let source = CHAINS[out.random.random_range(0..CHAINS.len())];
    // From the first message on, as if the chain had run nothing.
    let fresh = super::chain::Chain::new(source);
    let Some(mut delivery) = delivery(&liar.disk, fresh.head(), checkpoint, *signature) else { return };
    let target = match out.random.random_range(0..4) {
        0 => source,
        1 => CHAINS[usize::from(source == CHAINS[0])],
        2 => {
            let batch = &mut delivery.batches[0];
            let place = out.random.random_range(0..batch.records.len());
            batch.records[place] ^= 1;
            source
        }
        _ => {
            delivery.batches[0].first += 1;
            source
        }
    };
    out.tally.count("tricks: old or wrong delivery");
    if let Some(chain) = out.chains.get_mut(&target) {
        chain.submit(delivery.into());
    }
}

/// Of an open payout, what pays `to` instead of whom it should.
fn other_payload(liar: &Member, out: &mut Outside<'_>) -> Option<(Uuid, Transaction)> {
    let open: Vec<_> = liar.disk.payouts.iter().filter(|(_, payout)| payout.final_hash.is_none()).collect();
    let (id, payout) = *open.get(out.random.random_range(0..open.len().max(1)))?;
    let coins: Option<Vec<_>> = payout.derived.inputs.iter().map(|coin| payouts_resolve(&liar.disk, coin)).collect();
    let coins = coins?;
    let amount = coins.iter().try_fold(lockstep_core::Amount::ZERO, |sum, coin| sum.checked_add(coin.amount))?;
    let receivers = single(u128::from(liar.index));
    let outputs = vec![payout::PlannedOutput { receivers: receivers.clone(), amount }];
    let plan = Plan::of_parts((*id, 0), payout.derived.asset, &coins, outputs, Vec::new()).ok()?;
    let hint = Uuid::new_v5(id, b"theft");
    let keys = out.ledger.issue_keys(&[GhostRequest { receivers: receivers.users()?, index: 0, hint }])?;
    Some((*id, plan.build(&Seed::new([liar.index; 32]), &keys).ok()?))
}

/// Registers another payload under each request id that it can compute.
fn take_requests(liar: &Member, out: &mut Outside<'_>) {
    let Some((id, other)) = other_payload(liar, out) else { return };
    out.tally.count("tricks: requests taken");
    for request in request_ids(id, 0, None) {
        // Whether it came first shows elsewhere.
        let _ = out.ledger.register(member_user(liar.index), request, &other);
    }
}

/// Asks the key service for a payout's keys before the group does, for as a member it knows the seed, and spends dust to them.
fn grab_key(liar: &Member, out: &mut Outside<'_>) {
    let mut open: Vec<_> = liar.disk.payouts.iter().filter(|(_, payout)| payout.final_hash.is_none()).collect();
    open.retain(|(id, payout)| liar.disk.seeds.contains_key(&(**id, payout.attempts.number())));
    let Some((id, payout)) = open.get(out.random.random_range(0..open.len().max(1))) else { return };
    let names = (**id, payout.attempts.number());
    let Some(seed) = liar.disk.seeds.get(&names).map(Seed::of_signature) else { return };
    let resolve = |coin: &_| payouts_resolve(&liar.disk, coin);
    let group = |generation| Some(group_of(generation as usize));
    let Ok(plan) = Plan::new(&payout.derived, names, resolve, group) else { return };
    let Some(keys) = out.ledger.issue_keys(&plan.key_requests(&seed)) else { return };
    let Ok(transaction) = plan.build(&seed, &keys) else { return };
    let Some(first) = transaction.outputs().first() else { return };
    let amount = FLOOR - 1;
    let output = Output { amount: lockstep_core::Amount::from_units(amount), ..first.clone() };
    let senders = Some(single(u128::from(liar.index)));
    let payment = Payment { asset: payout.derived.asset, amount, senders, extra: Vec::new(), inscription: None };
    if out.ledger.pay_to(payment, output).is_some() {
        out.tally.count("tricks: keys grabbed");
    }
}

/// Signs a payment to itself with all the keys they have, and gives it to the kernel.
fn steal(liar: &Member, liars: &[u8], out: &mut Outside<'_>) -> Checked {
    let Some((_, theft)) = other_payload(liar, out) else { return Ok(()) };
    let Some(coins) = out.ledger.coin_keys(&theft) else { return Ok(()) };
    let mut maps = vec![std::collections::BTreeMap::new(); coins.len()];
    for member in liars {
        let user = member_user(*member);
        let views = out.ledger.views(user, &theft);
        let Ok(part) = payout::sign(&theft, &coins, &views, &UserKeys::of(user).spend) else { continue };
        out.watch.one_signed_payload_per_coin(*member, &theft, out.ledger)?;
        for (map, signed) in maps.iter_mut().zip(part) {
            map.insert(signed.key, signed.signature);
        }
    }
    out.tally.count("tricks: theft tried");
    if let Ok(signed) = SignedTransaction::new(theft, Signatures::Map(maps))
        && out.ledger.admit(&signed).is_ok()
    {
        out.tally.count("tricks: theft admitted");
    }
    Ok(())
}
