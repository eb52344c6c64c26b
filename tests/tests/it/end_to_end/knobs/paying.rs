//! Faults of what members pay with: keys, views, requests and the nodes that take transactions.

use std::time::Duration;

use anyhow::{Result, ensure};
use lockstep::devnet::ledger::{Answer, Disturbance, Fault, FaultOrder};
use lockstep::http::http_client;
use lockstep::ledger::SafeApi;
use lockstep::store::Store;
use lockstep_core::Uuid;

use super::super::btc;
use super::super::town::until;
use super::{HONEST, Knobs, LIED};
use crate::ledger_rules::caller::{now_s, token};

/// Payouts until a fault has acted: whether a call is the first of its kind depends on who comes first.
const TRIES: usize = 40;

async fn until_acted(knobs: &Knobs, order: FaultOrder) -> Result<()> {
    let fault = knobs.set(order).await?;
    for _ in 0..TRIES {
        knobs.goes_out().await?;
        if knobs.acted(&fault).await? > 0 {
            return Ok(());
        }
    }
    anyhow::bail!("{:?} never acted", fault.order)
}

/// The key service gives one member other keys. It signs nothing, and the others pay.
pub(super) async fn other_keys_should_hold_the_payout_at_one_member(knobs: &mut Knobs) -> Result<()> {
    until_acted(knobs, FaultOrder::new(Fault::FreshKeys).for_user(knobs.user(LIED)?)).await?;
    // The fault is still there: what is paid, is paid, whatever keys this member was given.
    knobs.settled().await?;
    ensure!(knobs.log(LIED)?.contains("with other keys than this member was given"), "it names the payout");
    knobs.clear().await?;
    knobs.goes_out().await?;
    knobs.settled().await
}

/// A stranger's transaction takes the keys of the payout before the group's does.
pub(super) async fn stolen_keys_should_cost_one_attempt(knobs: &mut Knobs) -> Result<()> {
    let order = FaultOrder::new(Fault::StealKeys { index: 0 }).for_user(knobs.user(HONEST)?).times(1);
    until_acted(knobs, order).await?;
    knobs.clear().await?;
    knobs.settled().await?;
    let mut proofs = 0;
    for member in 0..4 {
        proofs += usize::from(knobs.log(member)?.contains("somebody took an output key"));
    }
    ensure!(proofs >= 3, "{proofs} members have proved that the payload is dead, and three must sign the next one");
    Ok(())
}

/// One member gets views that open nothing.
pub(super) async fn wrong_views_should_sign_nothing(knobs: &mut Knobs) -> Result<()> {
    until_acted(knobs, FaultOrder::new(Fault::WrongViews).for_user(knobs.user(LIED)?)).await?;
    knobs.clear().await?;
    knobs.settled().await?;
    ensure!(knobs.log(LIED)?.contains("the payout cannot be signed"), "it says why");
    Ok(())
}

pub(super) async fn locks_revocations_and_lost_broadcasts_should_be_survived(knobs: &mut Knobs) -> Result<()> {
    until_acted(knobs, FaultOrder::new(Fault::LockAtCreate)).await?;
    knobs.clear().await?;
    until_acted(knobs, FaultOrder::new(Fault::Revoke).for_user(knobs.user(LIED)?).times(2)).await?;
    knobs.clear().await?;
    until_acted(knobs, FaultOrder::new(Fault::LoseBroadcast).times(1)).await?;
    knobs.clear().await?;
    knobs.settled().await
}

/// Keeps payouts from being signed at the API by all members but `free`, two at most, and from the kernel.
async fn hold(knobs: &Knobs, free: [usize; 2]) -> Result<()> {
    let fail = |method: &str, path: Option<&str>| {
        let (method, path) = (Some(method.to_owned()), path.map(str::to_owned));
        FaultOrder::new(Fault::Disturb(Disturbance {
            answer: Answer::ServerError,
            pause_ms: 0,
            applied: false,
            method,
            path,
        }))
    };
    for node in 1..=3 {
        knobs.set(fail("sendrawtransaction", None).at_node(node)).await?;
    }
    for member in (0..4).filter(|member| !free.contains(member)) {
        knobs.set(fail("POST", Some("/safe/multisigs/")).for_user(knobs.user(member)?)).await?;
    }
    Ok(())
}

/// A payout with a signature at the API, and too few: its request, by the first id that it has.
async fn held(knobs: &Knobs, hostile: &SafeApi) -> Result<Uuid> {
    knobs.town.pay_out(knobs.place, btc(1), &knobs.town.alice, Vec::new()).await?;
    let store = Store::open_unclaimed(&knobs.folder(HONEST).join("lockstep.db")).await?;
    let open = async || Ok(store.open_payouts(0, 1).await?.first().map(|(_, id)| *id));
    let request = until("the payout to be derived", open, Option::is_some).await;
    store.close().await;
    let request = request?.unwrap_or_default();
    let signed = async || Ok(hostile.multisig(request).await.is_ok_and(|row| !row.signers.is_empty()));
    until("a signature at the API", signed, |signed| *signed).await?;
    Ok(request)
}

/// A member of the group takes its signature back and revokes what it did not make.
pub(super) async fn a_hostile_member_should_not_stop_a_payout(knobs: &mut Knobs) -> Result<()> {
    let hostile = knobs.as_member(LIED)?;
    let before = knobs.town.balance(&knobs.town.alice).await?;
    knobs.set(FaultOrder::new(Fault::UnlockRevokes)).await?;
    hold(knobs, [LIED; 2]).await?;
    let request = held(knobs, &hostile).await?;
    let row = hostile.unlock_multisig(request).await?;
    assert_eq!(row.revoked_by, Some(hostile.user()), "the request is dead");
    let expected = super::sum([before, btc(1)])?;
    knobs.clear().await?;
    let balance = async || knobs.town.balance(&knobs.town.alice).await;
    until("the payout all the same", balance, |found| *found == expected).await?;

    // Whoever made a request may revoke it anyway. Of two members, one at least did not.
    let mut expected = expected;
    for member in [LIED, HONEST].into_iter().cycle().take(TRIES) {
        // The next payout is the only one that is open.
        knobs.settled().await?;
        let fault = knobs.set(FaultOrder::new(Fault::AnyoneRevokes)).await?;
        hold(knobs, [LIED, member]).await?;
        let request = held(knobs, &hostile).await?;
        revoke(knobs, &knobs.as_member(member)?, request).await?;
        assert!(hostile.multisig(request).await?.revoked_by.is_some(), "the request is dead");
        let has_acted = knobs.acted(&fault).await? > 0;
        knobs.clear().await?;
        expected = super::sum([expected, btc(1)])?;
        let balance = async || knobs.town.balance(&knobs.town.alice).await;
        until("the payout all the same", balance, |found| *found == expected).await?;
        if has_acted {
            return knobs.settled().await;
        }
    }
    anyhow::bail!("each time, the one that revokes had made the request")
}

/// A call that our client never makes.
async fn revoke(knobs: &Knobs, hostile: &SafeApi, request: Uuid) -> Result<()> {
    let uri = format!("/safe/multisigs/{request}/revoke");
    let token = token(hostile.keystore(), ("POST", &uri, ""), &Uuid::new_v4().to_string(), now_s());
    let url = format!("{}{uri}", knobs.town.network.ledger_url());
    let http = http_client(Duration::from_secs(20))?;
    http.post(url).bearer_auth(token).header("content-type", "application/json").send().await?;
    Ok(())
}

/// Nodes lock coins each by itself, and nothing becomes final.
pub(super) async fn split_nodes_should_hold_a_payout_until_they_meet_again(knobs: &mut Knobs) -> Result<()> {
    let before = knobs.town.balance(&knobs.town.alice).await?;
    let pushed = async || {
        let logs: Result<Vec<_>> = (0..4).map(|member| knobs.log(member)).collect();
        Ok(logs?.iter().map(|log| log.matches("payout handed to the kernel").count()).sum::<usize>())
    };
    let earlier = pushed().await?;
    knobs.set(FaultOrder::new(Fault::SplitLocks)).await?;
    knobs.town.pay_out(knobs.place, btc(1), &knobs.town.alice, Vec::new()).await?;
    until("members to push it to the kernel", pushed, |count| *count > earlier).await?;
    for member in 0..4 {
        assert_eq!(knobs.status(member).await?.open_payouts, 1, "it is held, and never replaced");
    }
    assert_eq!(knobs.town.balance(&knobs.town.alice).await?, before);
    knobs.clear().await?;
    let expected = super::sum([before, btc(1)])?;
    let balance = async || knobs.town.balance(&knobs.town.alice).await;
    until("the payout", balance, |found| *found == expected).await?;
    knobs.settled().await
}
