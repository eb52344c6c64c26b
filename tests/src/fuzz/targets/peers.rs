//! What comes from whoever reaches a member's peer interface: headers before anything is known of the sender, then JSON that
//! a member signed.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use lockstep::peer::secret::Subject as Sealing;
use lockstep::peer::signature::{RequestParts, SIGNATURE_INPUT, Signed, sign_answer, sign_request, single};
use lockstep::peer::wire::{
    AskCeremony, AskHistory, AskMask, AskPartial, AskPayout, AskSeed, AskStatus, PayoutHash, PayoutSignatures, Refusal,
    SealedPart,
};
use lockstep::peer::{
    AskGovernance, CeremonyPage, ChainStatus, GovernanceAnswer, HexBytes, InputSignature, Partial, Status,
};
use lockstep::world::doubt::{HistoryAt, Seen};
use lockstep::world::peer::SecretPart;
use lockstep::world::witness::{GuardHead, Reach};
use lockstep_core::output::CoinId;
use lockstep_core::{Account, Amount, AssetId, B256, Uuid};

use super::operations::subjects;
use super::{Target, Verdict, json, json_target, mixes, same, target};
use crate::ceremony::Person;

const BODY: &[u8] = br#"{"sequence":7}"#;
const PARTS: RequestParts<'_> = RequestParts { method: "POST", path: "/v1/peer/partial", group: "00ff", to: &[2; 32] };
/// What an answer refers to.
const ASKED: &str = "lockstep=:one:";

pub(super) fn targets() -> Vec<Target> {
    [headers(), questions(), answers()].into_iter().flatten().collect()
}

fn headers() -> Vec<Target> {
    let person = Person::new(1);
    let request = sign_request(&person.identity, 1_700_000_000, [9; 16], PARTS, BODY);
    let answer = sign_answer(&person.identity, 1_700_000_000, 200, ASKED, BODY);
    vec![
        target("peer request headers", vec![lines(&request)], |bytes| {
            let Some(headers) = parse(bytes) else { return Verdict::Refused };
            let Ok(signed) = Signed::request(&headers) else { return Verdict::Refused };
            let own = Person::new(1).identity;
            let Some(nonce) = signed.parameters.nonce else { return Verdict::Broken("a request without a nonce") };
            let verified = signed.verify_request(&own.verifying_key(), PARTS, BODY).is_ok();
            let again = sign_request(&own, signed.parameters.created, nonce, PARTS, BODY);
            same(is_written(&headers, &signed) && (!verified || holds(&headers, &again)))
        }),
        target("peer answer headers", vec![lines(&answer)], |bytes| {
            let Some(headers) = parse(bytes) else { return Verdict::Refused };
            let Ok(signed) = Signed::answer(&headers) else { return Verdict::Refused };
            let own = Person::new(1).identity;
            let verified = signed.verify_answer(&own.verifying_key(), 200, ASKED, BODY).is_ok();
            let again = sign_answer(&own, signed.parameters.created, 200, ASKED, BODY);
            same(is_written(&headers, &signed) && (!verified || holds(&headers, &again)))
        }),
    ]
}

fn lines(headers: &[(HeaderName, String)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| format!("{name}: {value}\n").into_bytes()).collect()
}

/// Headers as a server takes them out of a request.
fn parse(bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii();
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

/// The parameters that were read have the text that was read.
fn is_written(headers: &HeaderMap, signed: &Signed) -> bool {
    let text = format!("lockstep={}", signed.parameters.serialize());
    single(headers, &SIGNATURE_INPUT).is_ok_and(|found| found == text)
}

/// What verifies is what its signer would write, in each of these headers.
fn holds(headers: &HeaderMap, written: &[(HeaderName, String)]) -> bool {
    let signed = written.iter().filter(|(name, _)| !name.as_str().starts_with("lockstep-"));
    signed.map(|(name, value)| (single(headers, name), value)).all(|(found, value)| found.is_ok_and(|it| it == value))
}

fn questions() -> Vec<Target> {
    let (trace, roster) = (Uuid::from_u128(3), B256::repeat_byte(4));
    let governance = vec![
        AskGovernance::Approved { after: None },
        AskGovernance::Approved { after: Some(roster) },
        AskGovernance::Partial { digest: B256::repeat_byte(5), roster, key: [6; 96] },
        AskGovernance::Possession { chain: Some(31_337), roster, key: [6; 96] },
    ];
    let account = Account::of_user(trace);
    vec![
        json_target("peer asks partial", vec![AskPartial { sequence: 7 }]),
        json_target("peer asks history", vec![AskHistory { at: 7 }]),
        json_target("peer asks payout", vec![AskPayout { trace, attempt: 1 }]),
        json_target("peer asks seed", vec![AskSeed { trace, attempt: 1, is_open: true, roster }]),
        json_target("peer asks mask", vec![AskMask { process: trace, account, key: [6; 96], roster }]),
        json_target("peer asks status", vec![AskStatus {}]),
        json_target("peer asks ceremony", vec![AskCeremony { ceremony: roster, after: 2, wait_ms: 900 }]),
        json_target("peer asks governance", governance),
    ]
}

fn answers() -> Vec<Target> {
    let (trace, hash) = (Uuid::from_u128(3), B256::repeat_byte(4));
    let partial = Partial { sequence: 7, generation: 1, roster: hash, history: hash, root: hash, signature: [8; 48] };
    let signatures = vec![InputSignature { input: 0, key: 2, signature: [9; 64] }; 2];
    let page = CeremonyPage { ceremony: hash, items: vec![HexBytes(vec![1; 40]), HexBytes(Vec::new())], next: 9 };
    let governance = vec![
        GovernanceAnswer::Approved { proposals: subjects() },
        GovernanceAnswer::Approved { proposals: Vec::new() },
        GovernanceAnswer::Part { signature: [3; 48] },
    ];
    vec![
        json_target("peer partial", vec![partial]),
        json_target("peer payout hash", vec![PayoutHash { trace, attempt: 1, hash }]),
        json_target("peer payout parts", vec![PayoutSignatures { trace, attempt: 1, signatures }]),
        json_target("peer status", vec![status()]),
        json_target("peer history", histories()),
        json_target("peer ceremony page", vec![page]),
        json_target("peer governance", governance),
        json_target("peer refusal", vec![Refusal { error: "not yet".to_owned() }]),
        target("peer secret part", secret_parts().iter().map(json).collect(), |bytes| {
            let own = Person::new(1).identity;
            let Ok(part) = serde_json::from_slice::<SealedPart>(bytes) else { return Verdict::Refused };
            let Some(opened) = SEALING.open(&part, &own) else { return Verdict::Refused };
            same(SEALING.seal(&opened, &own.verifying_key(), &[5; 32]) == part)
        }),
    ]
}

const SEALING: Sealing = Sealing { digest: B256::repeat_byte(7), roster: B256::repeat_byte(3) };

fn secret_parts() -> Vec<SealedPart> {
    let parts = [SecretPart::Whole { signature: [9; 48] }, SecretPart::Part { signature: [8; 48] }];
    parts.iter().map(|part| SEALING.seal(part, &Person::new(1).identity.verifying_key(), &[5; 32])).collect()
}

fn status() -> Status {
    let hash = B256::repeat_byte(4);
    let reach = Reach { count: 5, hash, checkpoint: 130, coins: 2 };
    let head = |number| GuardHead::sign(hash, reach, &Person::new(number).identity);
    let chain = ChainStatus { block: 5, accepted: 6, next_outbound: 7 };
    let chains = BTreeMap::from([(1, chain), (31_337, chain)]);
    Status { sequence: 7, history: hash, halted: false, chains, guard: Some(head(1)), seen: vec![head(2), head(3)] }
}

fn histories() -> Vec<HistoryAt> {
    let hash = B256::repeat_byte(4);
    let seen = |senders| Seen {
        id: Uuid::from_u128(1),
        sequence: 9,
        created_at: 1,
        coin: CoinId { transaction: hash, index: 2 },
        asset: AssetId([1; 32]),
        amount: Amount::from_units(1),
        senders,
        extra: hash,
        inscription: Some(hash),
    };
    let with = |next| HistoryAt { at: 8, applied: 9, sequence: 8, history: hash, next };
    let mixes = mixes().into_iter().map(Some).chain([None]);
    mixes.map(|senders| with(Some(seen(senders)))).chain([with(None)]).collect()
}
