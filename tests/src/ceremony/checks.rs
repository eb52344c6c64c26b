//! What must hold when a ceremony is over.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other faults are done, not left undone")]

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, U256};
use lockstep_core::bls::{SecretKey, SecretShare};
use lockstep_core::dkg::{Fault, FaultKind, Kind, tolerated};
use lockstep_core::group::Member;

use super::bad::{Effect, ORDER, Role};
use super::people::{Holder, group_of};
use super::world::{Ending, World};
use super::{Plan, Tally};

const DIGEST: B256 = B256::repeat_byte(0xd1);

/// One key or a clean retry; who misbehaved is named, and nobody else is.
pub(super) fn ending(plan: &Plan<'_>, world: &World, ending: &Ending, tally: &mut Tally) -> Result<(), String> {
    let effects: BTreeMap<_, _> =
        plan.bad.iter().map(|(number, bad)| (*number, bad.effect(&role(plan, *number)))).collect();
    let named = named(world)?;
    check_honest(plan, world, &named)?;
    let is_named =
        |number: u8| named.iter().any(|fault| fault.identity == plan.people[usize::from(number) - 1].public());
    let made = matches!(ending, Ending::Key(_));
    for (number, bad) in &plan.bad {
        tally.misbehaved(bad, made, is_named(*number));
    }
    for fell in world.nodes.values().flat_map(|node| &node.fell) {
        tally.count(format!("crash {fell}"));
    }
    let cut = !plan.cuts.is_empty();
    if cut {
        tally.count(format!("lines cut, {}", if made { "made" } else { "to be repeated" }));
    }
    let is_blamed = |number: u8| {
        let own = |fault: &&Fault| fault.identity == plan.people[usize::from(number) - 1].public();
        named.iter().filter(own).any(|fault| plan.bad[&number].is_blamed_for(&fault.kind))
    };
    let must_name = |effect: &Effect| match effect {
        // What is held back of an honest member's words may be just those.
        _ if cut => false,
        Effect::KeyAndNamed => made,
        Effect::Named => true,
        Effect::Key | Effect::RetryNamed => false,
    };
    if let Some((number, _)) = effects.iter().find(|(number, effect)| must_name(effect) && !is_blamed(**number)) {
        return Err(format!("nobody names m{number} for what it did, of {:?}{}", plan.bad, told(world)));
    }
    match ending {
        Ending::Key(holders) => {
            tally.count(format!("{:?} made", plan.proposal.kind()));
            one_outcome(holders)?;
            world.observed(plan, group_of(holders))
        }
        Ending::Retry => {
            tally.count(format!("{:?} to be repeated", plan.proposal.kind()));
            let mut culprits =
                effects.iter().filter(|(_, effect)| matches!(effect, Effect::Named | Effect::RetryNamed));
            if !cut && !culprits.any(|(number, _)| is_named(*number)) {
                let told = told(world);
                return Err(format!("no key although nothing prevented it; bad are {:?}{told}", plan.bad));
            }
            Ok(())
        }
    }
}

/// What a misbehaving member is in this ceremony.
fn role(plan: &Plan<'_>, number: u8) -> Role {
    let person = &plan.people[usize::from(number) - 1];
    let members = plan.proposal.members();
    let place = usize::try_from(plan.proposal.round()).unwrap_or_default() % members.len();
    let player = |member: &&Member| *member.identity.as_bytes() == person.public();
    let bad: BTreeSet<_> = plan.bad.keys().map(|bad| plan.people[usize::from(*bad) - 1].public()).collect();
    let harmed = |member: &&Member| plan.bad[&number].harms(&plan.proposal, &person.public(), member.index);
    let honest = |member: &&Member| !bad.contains(member.identity.as_bytes());
    let victims = members.iter().filter(harmed);
    Role {
        deals: plan.proposal.kind() != Kind::Reshare || plan.holders.contains_key(&number),
        plays: members.iter().any(|member| player(&member)),
        leads: player(&&members[place]),
        victims: (victims.clone().count(), victims.filter(honest).count()),
        bad_players: tolerated(members.len(), plan.proposal.threshold()),
    }
}

/// Nobody is blamed who did nothing wrong.
fn check_honest(plan: &Plan<'_>, world: &World, named: &BTreeSet<Fault>) -> Result<(), String> {
    for fault in named {
        let number = plan.people.iter().find(|person| person.public() == fault.identity).map(|person| person.number);
        let is_bad = number.is_some_and(|number| plan.bad.contains_key(&number));
        let crashed = number.and_then(|number| world.nodes.get(&number)).is_some_and(|node| node.crashes > 0);
        let missed = may_miss_honest(&fault.kind, crashed || !plan.cuts.is_empty());
        let withheld =
            !plan.cuts.is_empty() && matches!(fault.kind, FaultKind::Revealed { .. } | FaultKind::UnseenLog { .. });
        if !(is_bad || missed || withheld) {
            let told = told(world);
            return Err(format!("an honest member is blamed: {fault}; bad are {:?}{told}", plan.bad));
        }
    }
    Ok(())
}

/// Where everybody stands, for people.
fn told(world: &World) -> String {
    let tell = |node: &super::node::Node| {
        let Some(ceremony) = &node.ceremony else { return format!("\n  {:?} is down", node.person) };
        let progress = ceremony.progress();
        let faults: Vec<_> = progress.faults.iter().map(ToString::to_string).collect();
        let failures: Vec<_> = node.failures.iter().map(ToString::to_string).collect();
        let (person, phase, missing) = (&node.person, progress.phase, progress.missing);
        format!("\n  {person:?} in {phase:?}, misses {missing:?}, faults {faults:?}, failures {failures:?}")
    };
    let sizes = format!("\n  {} nodes", world.nodes.len());
    std::iter::once(sizes).chain(world.nodes.values().map(tell)).collect()
}

/// Faults that honest members report. Every one that has no roster must have said so, and why.
fn named(world: &World) -> Result<BTreeSet<Fault>, String> {
    let mut named = BTreeSet::new();
    for node in world.nodes.values().filter(|node| node.bad.is_none()) {
        named.extend(node.faults());
        if node.done.is_some() {
            continue;
        }
        let last = node.failures.last().ok_or(format!("{:?} neither ends nor fails{}", node.person, told(world)))?;
        if last.faults.is_empty() {
            return Err(format!("{:?} fails and names nobody{}", node.person, told(world)));
        }
    }
    Ok(named)
}

/// Whoever waits for a set that some voted for and others could not is missed without being bad. Whoever crashed may be late
/// with what is due once, and so may those whose words are held back, but that is no excuse for saying something wrong, or
/// something else than before.
const fn may_miss_honest(kind: &FaultKind, late: bool) -> bool {
    match kind {
        FaultKind::NoVote | FaultKind::NotReady => true,
        FaultKind::NotJoined | FaultKind::NoAck | FaultKind::NoLog | FaultKind::NoSet => late,
        _ => false,
    }
}

/// All have the same roster, and each has its share of it.
fn one_outcome(holders: &BTreeMap<u8, Holder>) -> Result<(), String> {
    let roster = group_of(holders);
    for (number, holder) in holders {
        if holder.roster.digest() != roster.digest() {
            return Err(format!("m{number} has another roster"));
        }
        if roster.key().share(holder.share.index()) != Some(&holder.share.public_key()) {
            return Err(format!("m{number} has a share that is not its own"));
        }
    }
    Ok(())
}

/// Any t shares sign for the group; no t − 1 do.
pub(super) fn thresholds(holders: &BTreeMap<u8, Holder>) -> Result<(), String> {
    let key = group_of(holders).key();
    let shares: Vec<&SecretShare> = holders.values().map(|holder| &holder.share).collect();
    let threshold = usize::from(key.threshold());
    for subset in subsets(shares.len(), threshold) {
        let partials: Vec<_> = subset.iter().map(|place| shares[*place].sign_digest(&DIGEST)).collect();
        let recovered = key.recover_digest(&DIGEST, &partials, &BTreeSet::new()).map_err(|error| error.to_string())?;
        if !key.key().verify_digest(&DIGEST, &recovered.signature) {
            return Err(format!("shares {subset:?} do not sign for the group"));
        }
    }
    for subset in subsets(shares.len(), threshold - 1) {
        if signs(&subset.iter().map(|place| shares[*place]).collect::<Vec<_>>(), key.key()) {
            return Err(format!("{} shares {subset:?} sign, {threshold} should be needed", threshold - 1));
        }
    }
    Ok(())
}

/// Old shares do not help new ones out.
pub(super) fn generations_do_not_mix(old: &BTreeMap<u8, Holder>, new: &BTreeMap<u8, Holder>) -> Result<(), String> {
    let key = group_of(new).key();
    let threshold = usize::from(key.threshold());
    for stranger in old.values() {
        let own = new.values().filter(|holder| holder.share.index() != stranger.share.index()).take(threshold - 1);
        let mut shares: Vec<_> = own.map(|holder| &holder.share).collect();
        shares.push(&stranger.share);
        // A single share is the key itself.
        if threshold > 1 && signs(&shares, key.key()) {
            return Err("a share of the old generation completes new ones".into());
        }
    }
    Ok(())
}

/// True if what these shares interpolate to signs for the group. Parts of signatures combine in the same way.
fn signs(shares: &[&SecretShare], key: &lockstep_core::bls::PublicKey) -> bool {
    let places: Vec<_> = shares.iter().map(|share| U256::from(share.index())).collect();
    let mut sum = U256::ZERO;
    for (share, place) in shares.iter().zip(&places) {
        let (mut above, mut below) = (U256::ONE, U256::ONE);
        for other in places.iter().filter(|other| *other != place) {
            above = above.mul_mod(*other, ORDER);
            below = below.mul_mod(other.add_mod(ORDER - place, ORDER), ORDER);
        }
        let weight = above.mul_mod(below.inv_mod(ORDER).expect("different places"), ORDER);
        let secret = U256::from_be_bytes(*share.secret().to_bytes());
        sum = sum.add_mod(weight.mul_mod(secret, ORDER), ORDER);
    }
    let secret = SecretKey::from_bytes(&sum.to_be_bytes::<32>());
    secret.is_ok_and(|secret| key.verify_digest(&DIGEST, &secret.sign_digest(&DIGEST)))
}

/// All choices of `size` of the first `count` numbers.
fn subsets(count: usize, size: usize) -> Vec<Vec<usize>> {
    let chosen = |mask: &u32| usize::try_from(mask.count_ones()) == Ok(size);
    let members = |mask: u32| (0..count).filter(|place| mask & (1 << place) != 0).collect();
    (0..1_u32 << count).filter(chosen).map(members).collect()
}
