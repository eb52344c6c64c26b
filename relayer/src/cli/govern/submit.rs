//! `govern submit`: sends what the group has signed. Anybody may; sending twice does nothing more.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use lockstep_core::bls::{PublicKey, Signature};
use lockstep_core::govern::{Action, Place, Subject};
use lockstep_core::operation::{DecisionBody, Operation, SignedDecision};
use lockstep_core::{Amount, AssetId, B256, Uuid};
use serde_json::{Value, json};

use super::super::service::MemberArgs;
use super::super::{Exit, Failure, print_json};
use super::desk::Desk;
use super::store;
use crate::evm::governance::{GovernTxError, SignedAction, send_action};
use crate::keys::XIN;
use crate::ledger::SafeApi;
use crate::ledger::pay::{Payment, pay};
use crate::startup::unlock;
use crate::store::GroupSigned;

/// The smallest coin there is.
const DUST: Amount = Amount::from_units(1);
/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(250);

/// What to submit.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The proposal's file, or its digest (the first 8 digits are enough)
    #[arg(value_name = "FILE|DIGEST")]
    pub proposal: String,
    /// Seconds to wait for the group's signature, and then until it is sent
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Which member: it pays.
    #[command(flatten)]
    pub member: MemberArgs,
}

pub(super) async fn submit(args: &SubmitArgs) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.member).await?;
    let subject = desk.find(&args.proposal).await?;
    let digest = desk.judge(&subject)?;
    let patience = Duration::from_secs(args.wait);
    let signed = signature(&desk, digest, patience).await?;
    let sent = match &subject {
        Subject::Decision { number, body, .. } => decide(&desk, digest, (*number, body), &signed, patience).await?,
        Subject::Action { place, nonce, action } => act(&desk, (place, *nonce, action), &signed, patience).await?,
    };
    desk.store.note_submission(digest, &sent.to_string()).await.map_err(store)?;
    print_json(&sent)?;
    Ok(Exit::Done)
}

/// The group's signature, as soon as the service has gathered it.
async fn signature(desk: &Desk, digest: B256, patience: Duration) -> Result<GroupSigned, Failure> {
    let started = Instant::now();
    loop {
        let row = desk.store.proposal(digest).await.map_err(store)?;
        if let Some(signed) = row.as_ref().and_then(|row| row.signature) {
            return Ok(signed);
        }
        if started.elapsed() >= patience {
            let approved = row.is_some_and(|row| row.approved_at.is_some());
            let why = match approved {
                true => "too few members have approved it yet, or this member's service does not run",
                false => "this member has not approved it; its service gathers what its operator approved",
            };
            return Err(Failure::new(Exit::TryAgain, anyhow!("the group has not signed {digest}: {why}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A payment of dust to the group, whose memo is the decision. Its name makes it one payment, however often it is asked for.
async fn decide(
    desk: &Desk,
    digest: B256,
    (number, body): (u64, &DecisionBody),
    signed: &GroupSigned,
    patience: Duration,
) -> Result<Value, Failure> {
    if signed.key != desk.constitution.decision_key(&desk.acted().await?) {
        let stale = anyhow!("{digest} is signed with a group key that verifies no decisions any more");
        return Err(Failure::new(Exit::Negative, stale));
    }
    let decision = SignedDecision { number, body: body.clone(), signature: signed.signature };
    let extra = Operation::decision(&decision).map_err(Failure::bad_input)?.encode().map_err(Failure::bad_input)?;
    let secrets = unlock(&desk.config, &desk.group).map_err(Failure::configuration)?;
    let api = SafeApi::new(desk.config.ledger.api.expose().as_str(), secrets.keys().ledger.clone());
    let api = api.map_err(Failure::configuration)?;
    let payment = Payment {
        receivers: desk.addresses().await?.current().clone(),
        // A long decision pays the kernel for its length, and only XIN can.
        asset: AssetId::from_uuid(XIN),
        amount: DUST,
        extra,
        references: Vec::new(),
        trace: Uuid::new_v5(&api.user(), format!("decision/{digest}").as_bytes()),
    };
    let paid = pay(&api, &payment, patience).await.map_err(|error| {
        let exit = if error.retryable() { Exit::TryAgain } else { Exit::BadInput };
        Failure::new(exit, error)
    })?;
    Ok(json!({ "decision": number, "transaction_hash": paid.transaction, "trace": payment.trace }))
}

async fn act(
    desk: &Desk,
    (place, nonce, action): (&Place, u64, &Action),
    signed: &GroupSigned,
    patience: Duration,
) -> Result<Value, Failure> {
    let point = Signature::from_bytes(&signed.signature).map_err(Failure::bad_input)?;
    let key = PublicKey::from_bytes(&signed.key).map_err(Failure::bad_input)?;
    let (provider, state) = desk.contract(place.chain).await?;
    if state.key != key.to_eip2537() {
        let stale = anyhow!("the contract has another key than the one that signed; its service signs again");
        return Err(Failure::new(Exit::TryAgain, stale));
    }
    let finality = desk.group.chains().get(&place.chain).map(|chain| chain.finality);
    let finality = finality.ok_or_else(|| Failure::bad_input(anyhow!("chain {} is not known", place.chain)))?;
    let data = action.data().map_err(Failure::bad_input)?;
    let kind = action.kind();
    let call = SignedAction { contract: place.contract, nonce, kind, data, signature: point.to_eip2537() };
    let keys = unlock(&desk.config, &desk.group).map_err(Failure::configuration)?;
    let sent = send_action(&provider, keys.keys().evm.clone(), (place.chain, finality), &call, patience).await;
    let transaction = sent.map_err(|error| {
        let exit = match &error {
            GovernTxError::Refused(_) | GovernTxError::Reverted(_) => Exit::Negative,
            GovernTxError::Endpoint(_) | GovernTxError::TooDear(_) | GovernTxError::NotMined(_) => Exit::TryAgain,
        };
        Failure::new(exit, error)
    })?;
    Ok(json!({ "chain": place.chain, "contract": place.contract, "nonce": nonce, "transaction": transaction }))
}
