use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use ed25519_dalek::SigningKey;
use lockstep_core::Account;
use lockstep_core::group::{Group, GroupFile};
use lockstep_core::mask::MaskPair;

use super::signature::{RequestParts, sign_request};
use super::*;
use crate::keys::tests::dealt;
use crate::world::peer::Seat;

const NOW: u64 = 1_700_000_000;

struct Fixed;

/// Says one item for each position up to 3, and waits where there is none.
impl AnswerCeremony for Fixed {
    async fn page(
        &self,
        from: &Peer,
        ceremony: B256,
        after: u64,
        wait: Duration,
    ) -> Result<Option<CeremonyPage>, AnswerError> {
        if ceremony.is_zero() || from.name != "guest" {
            return Ok(None);
        }
        if after >= 3 {
            tokio::time::sleep(wait).await;
            return Ok(Some(CeremonyPage { ceremony, items: Vec::new(), next: after }));
        }
        Ok(Some(CeremonyPage { ceremony, items: vec![HexBytes(vec![7; PAGE_MAX])], next: after.saturating_add(1) }))
    }
}

fn partial_of(sequence: u64) -> Partial {
    let (history, root, roster) = (B256::repeat_byte(1), B256::repeat_byte(2), B256::repeat_byte(3));
    Partial { sequence, generation: 1, roster, history, root, signature: [3; 48] }
}

fn signatures() -> Vec<InputSignature> {
    (0..255).map(|input| InputSignature { input, key: 1, signature: [7; 64] }).collect()
}

impl AnswerPeers for Fixed {
    async fn partial(&self, sequence: u64) -> Result<Option<Partial>, AnswerError> {
        match sequence {
            404 => Ok(None),
            409 => Err(AnswerError::Halted),
            503 => Err(AnswerError::Unavailable("the disk is full".into())),
            // A member that answers something else than what it was asked.
            666 => Ok(Some(partial_of(667))),
            _ => Ok(Some(partial_of(sequence))),
        }
    }

    async fn payout_hash(&self, trace: Uuid, attempt: u32) -> Result<Option<B256>, AnswerError> {
        Ok((!trace.is_nil()).then(|| B256::left_padding_from(&attempt.to_be_bytes())))
    }

    async fn payout_signature(&self, _: Uuid, attempt: u32) -> Result<Option<Vec<InputSignature>>, AnswerError> {
        let too_many = || signatures().into_iter().cycle().take(1_000).collect();
        Ok(Some(if attempt == 0 { signatures() } else { too_many() }))
    }

    async fn payout_seed(
        &self,
        from: &IdentityKey,
        SeedQuestion { trace, attempt, roster, .. }: SeedQuestion,
    ) -> Result<Option<SecretPart>, AnswerError> {
        // The second member's, as everybody's who asks here.
        assert_eq!(from, dealt(4).members[1].identity.verifying_key().as_bytes());
        let signature = [u8::try_from(attempt).expect("small"); 48];
        Ok((!trace.is_nil()).then_some(match roster.is_zero() {
            true => SecretPart::Whole { signature },
            false => SecretPart::Part { signature },
        }))
    }

    async fn mask(&self, MaskQuestion { pair, roster, .. }: MaskQuestion) -> Result<Option<SecretPart>, AnswerError> {
        let signature = [pair.account.0[31]; 48];
        Ok((!pair.process.is_nil()).then_some(match roster.is_zero() {
            true => SecretPart::Whole { signature },
            false => SecretPart::Part { signature },
        }))
    }

    async fn governance(&self, ask: AskGovernance) -> Result<Option<GovernanceAnswer>, AnswerError> {
        // Answers a list where a part is asked for, and the other way round, when the digest says so.
        let wrong = B256::repeat_byte(6);
        Ok(Some(match ask {
            AskGovernance::Approved { after } if after != Some(wrong) => {
                GovernanceAnswer::Approved { proposals: Vec::new() }
            }
            AskGovernance::Partial { digest, .. } if digest == wrong => {
                GovernanceAnswer::Approved { proposals: Vec::new() }
            }
            AskGovernance::Possession { chain: None, .. } => return Ok(None),
            AskGovernance::Approved { .. } | AskGovernance::Partial { .. } | AskGovernance::Possession { .. } => {
                GovernanceAnswer::Part { signature: [9; 48] }
            }
        }))
    }

    async fn history(&self, at: u64) -> Result<HistoryAt, AnswerError> {
        // A member that answers about another place, and one that claims to have applied what is behind its end.
        let (at, applied) = match at {
            666 => (667, 700),
            667 => (667, 5),
            at => (at, 700),
        };
        Ok(HistoryAt { at, applied, sequence: at.min(650), history: B256::repeat_byte(3), next: None })
    }

    async fn status(&self) -> Result<Status, AnswerError> {
        let chain = ChainStatus { block: 9, accepted: 7, next_outbound: 2 };
        let chains = BTreeMap::from([(31_337, chain)]);
        Ok(Status { sequence: 7, history: B256::repeat_byte(1), halted: false, chains, guard: None, seen: Vec::new() })
    }
}

/// Member 1 serves on loopback; `clock` is that of both ends.
struct Pair {
    group: Arc<Group>,
    keys: Vec<SigningKey>,
    address: SocketAddr,
    clock: Arc<AtomicU64>,
    /// Whom the serving member knows.
    served: Directory,
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn time(clock: &Arc<AtomicU64>) -> Clock {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.load(Ordering::Relaxed))
}

fn group_at(address: SocketAddr, change: impl FnOnce(&mut GroupFile)) -> (Arc<Group>, Vec<SigningKey>) {
    let mut sample = dealt(4);
    sample.file.members[0].peer = format!("http://{address}");
    change(&mut sample.file);
    let keys = sample.members.into_iter().map(|member| member.identity).collect();
    (Arc::new(Group::parse(&sample.file).expect("a group")), keys)
}

async fn pair() -> Pair {
    let clock = Arc::new(AtomicU64::new(NOW));
    let (group, keys) = group_at("127.0.0.1:1".parse().expect("an address"), |_| ());
    let server = Local::new(Directory::of_group(&group), keys[0].clone(), time(&clock)).expect("a member");
    let served = server.directory().clone();
    let address = serve(router(server, Arc::new(Fixed))).await;
    let (group, keys) = group_at(address, |_| ());
    Pair { group, keys, address, clock, served }
}

impl Pair {
    fn client(&self) -> PeerClient {
        let local =
            Local::new(Directory::of_group(&self.group), self.keys[1].clone(), time(&self.clock)).expect("a member");
        PeerClient::new(local, &PeerConfig::default()).expect("a client")
    }

    /// A request that is right in all parts but those that a test changes.
    fn request(&self) -> Hostile {
        Hostile {
            key: self.keys[1].clone(),
            created: NOW,
            nonce: [1; 16],
            path: wire::PARTIAL,
            group: hex::encode(self.group.id()),
            to: *self.group.members()[0].identity.as_bytes(),
            signed_body: br#"{"sequence":7}"#.to_vec(),
            sent_body: br#"{"sequence":7}"#.to_vec(),
            url: format!("http://{}", self.address),
        }
    }
}

struct Hostile {
    key: SigningKey,
    created: u64,
    nonce: [u8; 16],
    path: &'static str,
    group: String,
    to: IdentityKey,
    signed_body: Vec<u8>,
    sent_body: Vec<u8>,
    url: String,
}

impl Hostile {
    async fn send(self) -> (StatusCode, HeaderMap, String) {
        let parts = RequestParts { method: "POST", path: wire::PARTIAL, group: &self.group, to: &self.to };
        let client = crate::http::http_client(std::time::Duration::from_secs(5)).expect("a client");
        let mut request = client.post(format!("{}{}", self.url, self.path)).body(self.sent_body);
        for (name, value) in sign_request(&self.key, self.created, self.nonce, parts, &self.signed_body) {
            request = request.header(name, value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.text().await.expect("text"))
    }

    async fn refusal(self) -> (u16, String) {
        let (status, headers, body) = self.send().await;
        assert!(!headers.contains_key(signature::SIGNATURE), "a stranger gets no signature");
        let refusal: wire::Refusal = serde_json::from_str(&body).expect("a refusal");
        (status.as_u16(), refusal.error)
    }
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn strangers_and_misdirected_requests_should_be_refused() {
    let pair = pair().await;
    let stranger = Hostile { key: SigningKey::from_bytes(&[99; 32]), ..pair.request() };
    assert_eq!(stranger.refusal().await, refused(403, "the key belongs to no member of the group"));
    let misdirected = Hostile { to: [2; 32], ..pair.request() };
    assert_eq!(misdirected.refusal().await, refused(421, "a request to another member"));
    let foreign = Hostile { group: "00".repeat(32), ..pair.request() };
    assert_eq!(foreign.refusal().await, refused(421, "another group's request"));
    let elsewhere = Hostile { path: wire::STATUS, ..pair.request() };
    assert_eq!(elsewhere.refusal().await, refused(401, "the signature is wrong"));
}

#[tokio::test]
async fn guest_of_a_ceremony_should_not_be_told_what_members_are_told() {
    let pair = pair().await;
    let guest = SigningKey::from_bytes(&[99; 32]);
    let listing = Listing { name: "guest".into(), identity: guest.verifying_key(), url: "http://127.0.0.1:1".into() };
    pair.served.admit(B256::ZERO, [listing.clone()]);
    let ask = |nonce| Hostile { key: guest.clone(), nonce: [nonce; 16], ..pair.request() };
    assert_eq!(ask(1).refusal().await, refused(403, "the key belongs to no member of the group"));
    pair.served.seat(1, [(5, listing)]);
    assert_eq!(ask(2).send().await.0, StatusCode::OK, "a member of any generation is one");
}

#[tokio::test]
async fn guest_should_hear_of_its_ceremony_page_by_page() {
    let pair = pair().await;
    let server = Local::new(pair.served.clone(), pair.keys[0].clone(), Arc::new(|| NOW)).expect("a member");
    let address = serve(ceremony_router(server, Arc::new(Fixed))).await;
    let guest = SigningKey::from_bytes(&[99; 32]);
    let listing =
        |name: &str, key: &SigningKey, url: String| Listing { name: name.into(), identity: key.verifying_key(), url };
    let (ceremony, wait) = (B256::repeat_byte(5), Duration::from_millis(1));
    let directory = Directory::new(pair.group.id());
    let asked = *pair.keys[0].verifying_key().as_bytes();
    directory.admit(
        ceremony,
        [
            listing("guest", &guest, "http://127.0.0.1:1".into()),
            listing("m1", &pair.keys[0], format!("http://{address}")),
        ],
    );
    let local = Local::new(directory, guest.clone(), Arc::new(|| NOW)).expect("a guest");
    let client = PeerClient::new(local, &PeerConfig::default()).expect("a client");
    let stranger = client.pull_ceremony(&asked, ceremony, 0, wait).await.expect_err("not known there");
    let expected = "member m1 refused with status 403: the key belongs to no member of the group";
    assert_eq!(stranger.to_string(), expected);

    pair.served.admit(ceremony, [listing("guest", &guest, "http://127.0.0.1:1".into())]);
    assert_eq!(client.pull_ceremony(&asked, B256::ZERO, 0, wait).await.expect("an answer"), None, "no such ceremony");
    let mut after = 0;
    while let Some(page) = client.pull_ceremony(&asked, ceremony, after, wait).await.expect("the largest page fits") {
        if page.items.is_empty() {
            break;
        }
        after = page.next;
    }
    assert_eq!(after, 3);
    let unknown = client.pull_ceremony(&[1; 32], ceremony, 0, wait).await.expect_err("nobody");
    assert_eq!(unknown.fault(), Fault::Us);
}

#[tokio::test]
async fn client_of_a_generation_should_ask_the_members_of_it() {
    let pair = pair().await;
    let client = pair.client();
    let listing = Listing::from(&pair.group.members()[0]);
    client.directory().seat(1, [(3, listing)]);
    assert_eq!(client.of_generation(1).pull_partial(3, 7).await.expect("an answer"), Some(partial_of(7)));
    let nobody = client.of_generation(1).pull_partial(1, 7).await.expect_err("no such seat");
    assert_eq!(nobody.to_string(), "generation 1 has no member 1");
    client.directory().turn_to(1);
    assert_eq!(client.pull_partial(3, 7).await.expect("an answer"), Some(partial_of(7)), "the current one by itself");
    assert_eq!(client.of_generation(0).pull_partial(1, 7).await.expect("an answer"), Some(partial_of(7)));
}

#[tokio::test]
async fn a_seed_should_be_told_to_whom_the_request_names_and_never_shown() {
    let pair = pair().await;
    let ask = async |trace, roster| {
        let question = SeedQuestion { trace, attempt: 5, is_open: true, roster };
        pair.client().pull_payout_seed(1, question).await.expect("an answer")
    };
    let (trace, roster) = (Uuid::from_u128(1), B256::repeat_byte(3));
    let part = ask(trace, roster).await;
    assert_eq!(part, Some(SecretPart::Part { signature: [5; 48] }));
    assert_eq!(ask(trace, B256::ZERO).await, Some(SecretPart::Whole { signature: [5; 48] }));
    assert_eq!(ask(Uuid::nil(), roster).await, None);
    assert_eq!(format!("{part:?}"), "Some(Part(hidden))");
}

#[tokio::test]
async fn a_mask_should_be_told_to_members_and_never_shown() {
    let pair = pair().await;
    let ask = async |process, roster| {
        let pair_of = MaskPair { process, account: Account::of_user(Uuid::from_u128(5)) };
        let question = MaskQuestion { pair: pair_of, key: [6; 96], roster };
        pair.client().pull_mask(Seat { generation: 0, index: 1 }, question).await.expect("an answer")
    };
    let (process, roster) = (Uuid::from_u128(1), B256::repeat_byte(3));
    assert_eq!(ask(process, roster).await, Some(SecretPart::Part { signature: [5; 48] }));
    assert_eq!(ask(process, B256::ZERO).await, Some(SecretPart::Whole { signature: [5; 48] }));
    assert_eq!(ask(Uuid::nil(), roster).await, None);
}

#[tokio::test]
async fn answer_about_governance_should_be_of_the_kind_that_was_asked_for() {
    let pair = pair().await;
    let client = pair.client();
    let (wrong, right) = (B256::repeat_byte(6), B256::repeat_byte(7));
    let partial = |digest| AskGovernance::Partial { digest, roster: B256::ZERO, key: [1; 96] };
    for ask in [AskGovernance::Approved { after: Some(wrong) }, partial(wrong)] {
        let error = client.pull_governance(1, &ask).await.expect_err("another kind of answer");
        assert!(matches!(error, PeerError::WrongAnswer { .. }), "{error}");
    }
    let part = Some(GovernanceAnswer::Part { signature: [9; 48] });
    assert_eq!(client.pull_governance(1, &partial(right)).await.expect("an answer"), part);
    let possession = |chain| AskGovernance::Possession { chain, roster: B256::ZERO, key: [1; 96] };
    assert_eq!(client.pull_governance(1, &possession(Some(1))).await.expect("an answer"), part);
    assert_eq!(client.pull_governance(1, &possession(None)).await.expect("an answer"), None, "not yet");
    let empty = Some(GovernanceAnswer::Approved { proposals: Vec::new() });
    assert_eq!(client.pull_governance(1, &AskGovernance::Approved { after: None }).await.expect("an answer"), empty);
}

#[tokio::test]
async fn tampered_stale_and_replayed_requests_should_be_refused() {
    let pair = pair().await;
    let tampered = Hostile { sent_body: br#"{"sequence":8}"#.to_vec(), ..pair.request() };
    assert_eq!(tampered.refusal().await, refused(401, "the body does not match its digest"));
    let stale = Hostile { created: NOW - 61, ..pair.request() };
    assert_eq!(stale.refusal().await, refused(401, "the signature's time is 61 s off"));
    let early = Hostile { created: NOW + 61, ..pair.request() };
    assert_eq!(early.refusal().await, refused(401, "the signature's time is 61 s off"));

    assert_eq!(pair.request().send().await.0, StatusCode::OK);
    assert_eq!(pair.request().refusal().await, refused(401, "this request was made before"));
    pair.clock.store(NOW + 61, Ordering::Relaxed);
    assert_eq!(pair.request().refusal().await, refused(401, "the signature's time is 61 s off"));
}

#[tokio::test]
async fn oversized_and_malformed_bodies_should_be_refused() {
    let pair = pair().await;
    let large = vec![b' '; BODY_MAX + 1];
    let oversized = Hostile { sent_body: large.clone(), signed_body: large, ..pair.request() };
    assert_eq!(oversized.refusal().await, refused(413, "the body is larger than 64 KiB"));
    for (n, body) in ["", "{}", "[]", r#"{"sequence":-1}"#, r#"{"sequence":7,"from":3}"#].into_iter().enumerate() {
        let nonce = [u8::try_from(n).expect("few") + 10; 16];
        let body = body.as_bytes().to_vec();
        let (status, headers, _) =
            Hostile { nonce, sent_body: body.clone(), signed_body: body, ..pair.request() }.send().await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(headers.contains_key(signature::SIGNATURE), "a member gets a signed refusal");
    }
}

#[tokio::test]
async fn unsigned_requests_should_be_refused() {
    let pair = pair().await;
    let client = crate::http::http_client(std::time::Duration::from_secs(5)).expect("a client");
    let url = format!("http://{}{}", pair.address, wire::STATUS);
    assert_eq!(client.post(&url).body("{}").send().await.expect("an answer").status(), StatusCode::BAD_REQUEST);
    assert_eq!(client.get(&url).send().await.expect("an answer").status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn client_should_say_whose_fault_it_is() {
    let pair = pair().await;
    let client = pair.client();
    let fault = |error: PeerError| (error.fault(), error.to_string());
    let halted = client.pull_partial(1, 409).await.map_err(fault);
    assert_eq!(halted, Err((Fault::Nobody, "member m1 has halted".into())));
    let unavailable = client.pull_partial(1, 503).await.map_err(fault);
    let expected = "member m1 refused with status 503: this member cannot answer now";
    assert_eq!(unavailable, Err((Fault::Nobody, expected.into())), "the cause stays at home");
    let wrong = client.pull_partial(1, 666).await.map_err(fault);
    assert_eq!(wrong, Err((Fault::Peer, "member m1 answered another question".into())));
    let history = client.pull_history(1, 640).await.expect("an answer");
    assert_eq!((history.sequence, history.applied, history.next), (640, 700, None));
    for at in [666, 667] {
        let wrong = client.pull_history(1, at).await.map_err(fault);
        assert_eq!(wrong, Err((Fault::Peer, "member m1 answered another question".into())));
    }
    let nobody = client.pull_partial(5, 7).await.map_err(fault);
    assert_eq!(nobody, Err((Fault::Us, "generation 0 has no member 5".into())));
    let (group, keys) = group_at("127.0.0.1:1".parse().expect("an address"), |_| ());
    let local = Local::new(Directory::of_group(&group), keys[1].clone(), time(&pair.clock)).expect("a member");
    let unreachable =
        PeerClient::new(local, &PeerConfig::default()).expect("a client").pull_status(1).await.map_err(fault);
    assert_eq!(unreachable, Err((Fault::Nobody, "member m1 cannot be reached".into())));
}

#[tokio::test]
async fn answers_that_cannot_be_the_members_should_be_blamed() {
    let ask = async |router: Router| {
        let address = serve(router).await;
        let (group, keys) = group_at(address, |_| ());
        let local = Local::new(Directory::of_group(&group), keys[1].clone(), Arc::new(|| NOW)).expect("a member");
        let client = PeerClient::new(local, &PeerConfig::default()).expect("a client");
        let error = client.pull_partial(1, 7).await.expect_err("not to be believed");
        (error.fault(), error.to_string())
    };
    let answering = |answer: fn() -> Vec<u8>| Router::new().route(wire::PARTIAL, post(move || async move { answer() }));
    let unsigned = ask(answering(|| b"{}".to_vec())).await;
    assert_eq!(unsigned, (Fault::Peer, "the answer of member m1 cannot be believed".into()));
    let endless = ask(answering(|| vec![b' '; BODY_MAX + 1])).await;
    assert_eq!(endless, (Fault::Peer, "the answer of member m1 is larger than 64 KiB".into()));

    // Another member at that address: authentic, and not the one that was asked.
    let (group, keys) = group_at("127.0.0.1:1".parse().expect("an address"), |_| ());
    let other = Local::new(Directory::of_group(&group), keys[2].clone(), Arc::new(|| NOW)).expect("a member");
    let other = ask(router(other, Arc::new(Fixed))).await;
    assert_eq!(other, (Fault::Nobody, "member m1 refused with status 421: a request to another member".into()));

    // A clock far away: its answers could be old ones.
    let (group, keys) = group_at("127.0.0.1:1".parse().expect("an address"), |_| ());
    let late = Local::new(Directory::of_group(&group), keys[0].clone(), Arc::new(|| NOW + 61)).expect("a member");
    let late = ask(router(late, Arc::new(Fixed))).await;
    assert_eq!(late, (Fault::Nobody, "member m1 refused with status 401: the signature's time is 61 s off".into()));
}

#[tokio::test]
async fn answers_larger_than_the_limit_should_not_be_sent() {
    let pair = pair().await;
    let error = pair.client().pull_payout_signature(1, Uuid::from_u128(1), 1).await.expect_err("too large");
    assert_eq!(error.to_string(), "member m1 refused with status 500: the answer is too large");
}

#[tokio::test]
async fn members_should_understand_each_other() {
    let pair = pair().await;
    let client = pair.client();
    assert_eq!(client.pull_partial(1, 7).await.expect("an answer"), Some(partial_of(7)));
    assert_eq!(client.pull_partial(1, 404).await.expect("an answer"), None);
    let trace = Uuid::from_u128(1);
    let hash = client.pull_payout_hash(1, trace, 3).await.expect("an answer");
    assert_eq!(hash, Some(B256::left_padding_from(&[3])));
    assert_eq!(client.pull_payout_hash(1, Uuid::nil(), 3).await.expect("an answer"), None);
    let all = client.pull_payout_signature(1, trace, 0).await.expect("the largest answer fits");
    assert_eq!(all, Some(signatures()));
    let status = client.pull_status(1).await.expect("an answer");
    assert_eq!((status.sequence, status.chains[&31_337].next_outbound), (7, 2));
}

#[test]
fn key_of_nobody_should_make_no_local_end() {
    let (group, _) = group_at("127.0.0.1:1".parse().expect("an address"), |_| ());
    let stranger = Local::new(Directory::of_group(&group), SigningKey::from_bytes(&[99; 32]), Arc::new(|| NOW));
    assert_eq!(stranger.err(), Some(NotAMember));
}
