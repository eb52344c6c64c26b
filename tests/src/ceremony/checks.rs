//! What must hold when a ceremony is over.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, U256};
use lockstep_core::bls::{SecretKey, SecretShare};
use lockstep_core::dkg::{Fault, FaultKind};

use super::bad::{Effect, ORDER};
use super::people::{Holder, group_of};
use super::world::{Ending, World};
use super::{Plan, Tally};

const DIGEST: B256 = B256::repeat_byte(0xd1);

/// One key or a clean retry; who misbehaved is named, and nobody else is.
pub(super) fn ending(plan: &Plan<'_>, world: &World, ending: &Ending, tally: &mut Tally) -> Result<(), String> {
    let leads = |number: u8| {
        let place = usize::try_from(plan.proposal.round()).unwrap_or_default() % plan.proposal.members().len();
        let identity = plan.people[usize::from(number) - 1].public();
        plan.proposal.members()[place].identity.as_bytes() == &identity
    };
    let deals =
        |number: u8| plan.proposal.kind() != lockstep_core::dkg::Kind::Reshare || plan.holders.contains_key(&number);
    let mut effects = BTreeMap::new();
    for (number, bad) in &plan.bad {
        tally.count(format!("  {bad:?}").split('(').next().unwrap_or_default().to_owned());
        effects.insert(*number, bad.effect(deals(*number), leads(*number)));
    }
    for node in world.nodes.values().filter(|node| node.crashes > 0) {
        tally.count("crash and restart");
        let _ = node;
    }
    let named = named(world)?;
    for fault in &named {
        let blamed = plan.people.iter().find(|person| person.public() == fault.identity).map(|person| person.number);
        if blamed.is_none_or(|number| !plan.bad.contains_key(&number)) && !may_name_honest(&fault.kind) {
            let told = told(world);
            return Err(format!("an honest member is blamed: {fault}; bad are {:?}{told}", plan.bad));
        }
    }
    let is_named =
        |number: u8| named.iter().any(|fault| fault.identity == plan.people[usize::from(number) - 1].public());
    match ending {
        Ending::Key(holders) => {
            tally.count(format!("{:?} made", plan.proposal.kind()));
            let unnamed =
                effects.iter().find(|(number, effect)| **effect == Effect::KeyAndNamed && !is_named(**number));
            if let Some((number, _)) = unnamed {
                return Err(format!("nobody names m{number}, which {:?}", plan.bad[number]));
            }
            one_outcome(holders)?;
            world.observed(plan, group_of(holders))
        }
        Ending::Retry => {
            tally.count(format!("{:?} to be repeated", plan.proposal.kind()));
            if effects.values().all(|effect| *effect != Effect::RetryNamed) {
                let told = told(world);
                return Err(format!("no key although nothing prevented it; bad are {:?}{told}", plan.bad));
            }
            let mut culprits = effects.iter().filter(|(_, effect)| **effect == Effect::RetryNamed);
            if !culprits.any(|(number, _)| is_named(*number)) {
                return Err(format!("the round failed and nobody is named of {:?}: {named:?}", plan.bad));
            }
            Ok(())
        }
    }
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
        let progress = node.ceremony.as_ref().map(lockstep_core::dkg::Ceremony::progress);
        named.extend(progress.iter().flat_map(|progress| progress.faults.iter().cloned()));
        if node.done.is_some() {
            continue;
        }
        let last = node.failures.last().ok_or(format!("{:?} neither ends nor fails: {progress:?}", node.person))?;
        if last.faults.is_empty() {
            return Err(format!("{:?} fails and names nobody{}", node.person, told(world)));
        }
    }
    Ok(named)
}

/// Who waits for a set that some voted for and others could not is missed without being bad.
const fn may_name_honest(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::NoVote | FaultKind::NotReady)
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
