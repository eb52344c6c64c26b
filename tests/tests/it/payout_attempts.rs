//! Payouts of four members over the embedded ledger, while somebody works against them: thieves of output keys, hostile
//! members, an API that is down, crashes between any two promises.

mod neighbours;
mod nodes;
mod seeds;
mod switch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockstep::keys::{self, Cost, DealMember, DealTerms, HeldShare, Keyring, MemberKeys, Passphrase, PublicKeys};
use lockstep::ledger::{
    KernelNodes, Payment, REVOCATIONS_MAX, SafeApi, Watcher, balance, final_coins, pay, request_id,
};
use lockstep::payouts::{Owner, PayoutError, Payouts, Seeds};
use lockstep::peer::Directory;
use lockstep::rosters::Rosters;
use lockstep::secrets::Refusal;
use lockstep::signer::Signer;
use lockstep::store::{Commit, Identity, Store};
use lockstep::world::chain::Cause;
use lockstep::world::ledger::{
    IssueKeys, KernelView, LedgerFault, ReadKernel, ReadLedger, Registered, SendTransaction, SubmitPayout,
};
use lockstep::world::peer::{PullPayouts, Seat, SecretPart, SeedQuestion};
use lockstep_core::derive::{CoinRef, Derived, DerivedMemo, Payee};
use lockstep_core::group::{Addresses, Generations, Group};
use lockstep_core::machine::Named;
use lockstep_core::mixin::{GhostScalar, Output as KernelOutput, PrivateKey, SignedTransaction, Transaction};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{
    self, AttemptError, GhostKeys, GhostRequest, InputSignature, Plan, ResolvedCoin, SEED_DST, Seed, seed_digest,
};
use lockstep_core::trace::Trace;
use lockstep_core::{Address, Amount, AssetId, B256, Mix, Uuid};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::ledger_rules::bench::{Bench, User, XIN, spend};

use neighbours::{Neighbour, Neighbours};

const CHAIN: u64 = 31_337;
const PATIENCE: Duration = Duration::from_secs(30);
const TAKEOVER: Duration = Duration::from_millis(100);

fn units(text: &str) -> Amount {
    text.parse().expect("an amount")
}

fn xin() -> AssetId {
    AssetId::from_uuid(XIN)
}

/// The ledger's API as a member reaches it, or not.
#[derive(Clone)]
struct Line {
    api: Arc<SafeApi>,
    registers: Arc<AtomicBool>,
    takes_signatures: Arc<AtomicBool>,
}

impl Line {
    fn new(api: &Arc<SafeApi>) -> Self {
        let up = || Arc::new(AtomicBool::new(true));
        Self { api: Arc::clone(api), registers: up(), takes_signatures: up() }
    }

    fn set(&self, registers: bool, takes_signatures: bool) {
        self.registers.store(registers, Ordering::Relaxed);
        self.takes_signatures.store(takes_signatures, Ordering::Relaxed);
    }
}

fn check(is_up: &AtomicBool) -> Result<(), LedgerFault> {
    let down = || LedgerFault::Transport { doing: "test", retryable: true, source: "the line is down".into() };
    if is_up.load(Ordering::Relaxed) { Ok(()) } else { Err(down()) }
}

impl IssueKeys for Line {
    async fn issue_keys(&self, senders: &[Uuid], requests: &[GhostRequest]) -> Result<Vec<GhostKeys>, LedgerFault> {
        self.api.issue_keys(senders, requests).await
    }
}

impl SubmitPayout for Line {
    async fn register(&self, request: Uuid, transaction: &Transaction) -> Result<Registered, LedgerFault> {
        check(&self.registers)?;
        self.api.register(request, transaction).await
    }

    async fn views(&self, transaction: &Transaction) -> Result<Vec<GhostScalar>, LedgerFault> {
        check(&self.registers)?;
        SubmitPayout::views(&*self.api, transaction).await
    }

    async fn add_signatures(&self, request: Uuid, signed: &SignedTransaction) -> Result<Registered, LedgerFault> {
        check(&self.takes_signatures)?;
        self.api.add_signatures(request, signed).await
    }
}

/// That of member number `member`, from 1.
fn of<T>(all: &[T], member: u8) -> &T {
    all.get(usize::from(member).saturating_sub(1)).expect("a member")
}

/// The kernel by nodes that may not have heard of a transaction yet.
#[derive(Clone)]
struct Nodes {
    kernel: Arc<KernelNodes>,
    unheard: Option<B256>,
}

impl ReadKernel for Nodes {
    async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerFault> {
        if self.unheard == Some(hash) { Ok(None) } else { ReadKernel::transaction(&*self.kernel, hash).await }
    }

    async fn key_holders(&self, key: [u8; 32]) -> Result<Vec<B256>, LedgerFault> {
        let holders = ReadKernel::key_holders(&*self.kernel, key).await?;
        Ok(holders.into_iter().filter(|holder| self.unheard != Some(*holder)).collect())
    }

    async fn coin_holders(&self, coin: CoinId) -> Result<Vec<B256>, LedgerFault> {
        ReadKernel::coin_holders(&*self.kernel, coin).await
    }
}

impl SendTransaction for Nodes {
    async fn send_transaction(&self, turn: usize, signed: &SignedTransaction) -> Result<(), LedgerFault> {
        self.kernel.send_transaction(turn, signed).await
    }
}

type Driver = Payouts<Line, Nodes, Neighbours>;

/// A 3-of-4 group that owes bob 2 of the 5 XIN that alice paid it, and four members that know.
struct Scene {
    /// Serves until it is dropped.
    bench: Bench,
    _folder: TempDir,
    alice: User,
    bob: User,
    lines: Vec<Line>,
    kernel: Arc<KernelNodes>,
    group: Arc<Group>,
    neighbours: Neighbours,
    keys: Vec<MemberKeys>,
    shares: Vec<HeldShare>,
    coin: Output,
    payout: Named,
}

impl Scene {
    async fn start() -> Self {
        let bench = Bench::start(Duration::ZERO).await;
        let [alice, bob, a, b, c, d] = bench.users().await;
        bench.coin(XIN, "10", &[&alice], 1).await;
        let lines: Vec<_> = [a, b, c, d].into_iter().map(|member| Line::new(&Arc::new(member.api))).collect();
        let mut keys: Vec<_> = lines.iter().map(keys_of).collect();
        let (group, shares) = deal_to(&keys);
        let group = Arc::new(group);
        for (keys, share) in keys.iter_mut().zip(&shares) {
            keys.hold(share.clone()).expect("its share");
        }
        let kernel = KernelNodes::new(&bench.running.kernel_urls(), 2).expect("three nodes");
        let kernel = Arc::new(kernel);
        let to_group = Payment {
            receivers: group.mix(),
            asset: xin(),
            amount: units("5"),
            extra: b"fund".to_vec(),
            references: Vec::new(),
            trace: Uuid::new_v4(),
        };
        pay(&alice.api, &to_group, PATIENCE).await.expect("a payment");
        let watcher = Watcher::new(Arc::clone(&lines[0].api), Arc::clone(&kernel));
        let coin = watcher.next_outputs(&Addresses::new(group.mix()), 0).await.expect("outputs").remove(0);
        let folder = tempfile::tempdir().expect("a folder");
        let payout = named(&group, 0, &CoinRef::Output(coin.id), (bob.id(), "2"), coin.amount);
        let (addresses, known) = (Addresses::new(group.mix()), Generations::new(group.roster()));
        let mut members = Vec::new();
        for member in 1..=4 {
            let store = open(&path(&folder, member), &group, member).await;
            let steps = vec![(coin.clone(), None)];
            let commit = Commit { steps, derived: vec![payout.clone()], ..Commit::default() };
            store.commit(&commit).await.expect("a turn");
            let ring = ring(&folder, member, of(&keys, member));
            members.push(Neighbour::new(&group, (known.clone(), addresses.clone()), ring, store));
        }
        let neighbours = Neighbours::new(members);
        Self { bench, _folder: folder, alice, bob, lines, kernel, group, neighbours, keys, shares, coin, payout }
    }

    /// Member number `member` as it is after a start: nothing but its rows. A process has one store, so all of its starts share it.
    fn member(&self, member: u8) -> Driver {
        self.member_without(member, None)
    }

    fn member_without(&self, member: u8, unheard: Option<B256>) -> Driver {
        let line = of(&self.lines, member).clone();
        let spend = spend_key(&line);
        let seeds = self.neighbours.seeds(member).clone();
        let rosters = of(&self.neighbours.members, member).rosters.clone();
        let owner = Owner { group: Arc::clone(&self.group), rosters, seeds, spend, takeover: TAKEOVER };
        let store = self.neighbours.store(member).clone();
        let kernel = Nodes { kernel: Arc::clone(&self.kernel), unheard };
        Payouts::new(owner, line, kernel, self.neighbours.asked_by(self.identity(member)), store)
    }

    fn identity(&self, member: u8) -> [u8; 32] {
        of(&self.keys, member).identity.verifying_key().to_bytes()
    }

    /// The seed of an attempt, by three members outside of their services.
    fn seed(&self, attempt: u32) -> Seed {
        let digest = seed_digest(&self.group.id(), self.payout.id, attempt);
        let sign = |share: &HeldShare| share.secret.sign(digest.as_slice(), SEED_DST);
        let parts: Vec<_> = self.shares[1..].iter().map(sign).collect();
        let recovered = self.group.key().recover(digest.as_slice(), SEED_DST, &parts, &BTreeSet::new());
        Seed::of_signature(&recovered.expect("three good parts").signature)
    }

    fn members<const N: usize>(&self, numbers: [u8; N]) -> Vec<Driver> {
        let mut members = Vec::new();
        for number in numbers {
            members.push(self.member(number));
        }
        members
    }

    /// The payload hash that a member has fixed for an attempt.
    async fn hash(&self, member: u8, attempt: u32) -> Option<B256> {
        let store = self.neighbours.store(member);
        store.payload(self.payout.id, attempt).await.expect("rows").map(|payload| payload.hash)
    }

    async fn is_final(&self, member: u8, id: Uuid) -> bool {
        self.neighbours.store(member).final_hash(id).await.expect("a row").is_some()
    }

    /// Rounds of `members` (numbers `numbers`) until all of them know that payout `id` is final.
    async fn until_final(&self, members: &mut [Driver], numbers: &[u8], id: Uuid) {
        let start = Instant::now();
        loop {
            let mut missing = BTreeSet::new();
            for (driver, number) in members.iter_mut().zip(numbers) {
                driver.round().await.expect("no contradiction");
                if !self.is_final(*number, id).await {
                    missing.insert(*number);
                }
            }
            if missing.is_empty() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "not final for members {missing:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Rounds of members 1, 2 and so on until each has signed the first attempt.
    async fn until_signed(&self, members: &mut [Driver]) {
        let start = Instant::now();
        loop {
            let mut missing = BTreeSet::new();
            for (member, number) in members.iter_mut().zip(1..) {
                member.round().await.expect("no contradiction");
                let rows = self.neighbours.store(number).payload_signatures(self.payout.id, 0).await.expect("rows");
                if rows.is_empty() {
                    missing.insert(number);
                }
            }
            if missing.is_empty() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "members {missing:?} have not signed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Bob has his 2 XIN, once, and every one of `numbers` saw the same transaction pay it.
    async fn assert_paid(&self, numbers: &[u8], attempt: u32) {
        let coins = self.bob.coins(&[self.bob.id()], 1).await;
        assert_eq!(coins.iter().filter(|coin| coin.amount == units("2")).count(), 1);
        let mut hashes = BTreeSet::new();
        for number in numbers {
            let store = self.neighbours.store(*number);
            hashes.insert(store.final_hash(self.payout.id).await.expect("a row").expect("final"));
            assert_eq!(self.hash(*number, attempt).await, hashes.first().copied());
        }
        assert_eq!(hashes.len(), 1);
    }

    /// The transaction of an attempt, as three members who conspire can build it.
    async fn build(&self, attempt: u32) -> Transaction {
        self.build_of(attempt, &self.seed(attempt)).await
    }

    async fn build_of(&self, attempt: u32, seed: &Seed) -> Transaction {
        let resolved = |_: &CoinRef| Some(ResolvedCoin { id: self.coin.coin, amount: self.coin.amount });
        let plan = Plan::new(&self.payout.derived, (self.payout.id, attempt), resolved, |_| Some(self.group.mix()))
            .expect("a plan");
        let senders = self.group.mix().users().expect("users");
        let keys = self.lines[3].api.issue_keys(&senders, &plan.key_requests(seed)).await.expect("keys");
        plan.build(seed, &keys).expect("a payout")
    }

    /// Alice pays her own change to an output key of `payload`, final at once.
    async fn steal_key(&self, payload: &Transaction) -> B256 {
        let own = self.alice.coins(&[self.alice.id()], 1).await.into_iter().rev().find(|row| row.amount == units("5"));
        let own = own.expect("alice's change");
        let stolen = &payload.outputs()[0];
        let theft = KernelOutput::of_keys(own.amount, stolen.keys.clone(), stolen.mask, 1);
        let theft = spend(&[&own], vec![theft]);
        self.alice.pay(Uuid::new_v4(), &own, theft).await.hash()
    }

    /// Signatures of a member outside of its service.
    async fn part(&self, member: u8, transaction: &Transaction) -> Vec<InputSignature> {
        let line = of(&self.lines, member);
        let views = SubmitPayout::views(&*line.api, transaction).await.expect("views");
        let coins = final_coins(&*self.kernel, &[self.coin.coin]).await.expect("read").expect("final");
        let coins: Vec<_> = coins.into_iter().map(|coin| coin.keys).collect();
        payout::sign(transaction, &coins, &views, &spend_key(line)).expect("views that fit")
    }

    async fn with_parts(&self, transaction: &Transaction, members: &[u8]) -> SignedTransaction {
        let coins = final_coins(&*self.kernel, &[self.coin.coin]).await.expect("read").expect("final");
        let coins: Vec<_> = coins.into_iter().map(|coin| coin.keys).collect();
        let mut parts = Vec::new();
        for member in members {
            parts.push(self.part(*member, transaction).await);
        }
        match parts.as_slice() {
            [one] => payout::with_part(transaction, &coins, one).expect("a part"),
            parts => payout::merge(transaction, &coins, parts).expect("enough parts"),
        }
    }
}

fn ring(folder: &TempDir, member: u8, keys: &MemberKeys) -> Keyring {
    let path = folder.path().join(format!("member{member}.keys"));
    Keyring::create(&path, &Passphrase::new("correct horse"), Cost::QUICK, keys.clone()).expect("a key file")
}

fn keys_of(line: &Line) -> MemberKeys {
    let keystore = line.api.keystore().clone();
    MemberKeys::generate("member", Some(keystore), &mut keys::system_entropy).expect("keys")
}

fn deal_to(keys: &[MemberKeys]) -> (Group, Vec<HeldShare>) {
    let member = |(port, keys): (u16, &MemberKeys)| {
        let public = PublicKeys { name: format!("m{port}"), ..keys.public() };
        DealMember { keys: public, peer: format!("http://127.0.0.1:{port}") }
    };
    let members: Vec<_> = (7701..).zip(keys).map(member).collect();
    let terms = DealTerms { threshold: None, chains: vec![CHAIN], fee_asset: XIN, fee_amount: units("0.01") };
    let dealt = keys::deal(&members, &terms, &mut keys::system_entropy).expect("a group");
    (Group::parse(&dealt.file).expect("a group file"), dealt.shares)
}

fn named(group: &Group, k: u64, coin: &CoinRef, (to, amount): (Uuid, &str), of: Amount) -> Named {
    let change = of.checked_sub(units(amount)).expect("enough");
    let trace = Trace::Pay { chain: CHAIN, k };
    let outputs = vec![(Payee::Mix(Mix::of_users([to], 1)), units(amount)), (Payee::Group(0), change)];
    let memo = DerivedMemo::Pay(b"out".to_vec());
    let derived = Derived { trace, asset: xin(), inputs: vec![*coin], outputs, memo, key: None };
    Named { id: trace.id(&group.id(), |_| Address::ZERO), derived }
}

fn path(folder: &TempDir, member: u8) -> PathBuf {
    folder.path().join(format!("member{member}.db"))
}

async fn open(path: &std::path::Path, group: &Group, member: u8) -> Store {
    let identity = Identity { group_digest: group.digest().0, member: member.into() };
    Store::open(path, identity).await.expect("a database")
}

fn spend_key(line: &Line) -> PrivateKey {
    PrivateKey::from_ed25519_seed(line.api.keystore().spend_private_key.expose())
}

/// t members spend the coin with a transaction that no rule derives: nobody honest may go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_spend_of_an_input_should_be_a_contradiction() {
    let scene = Scene::start().await;
    let mut members = scene.members([1, 2, 3]);
    members[0].round().await.expect("built");
    let foreign = scene.build(99).await;
    let signed = scene.with_parts(&foreign, &[2, 3, 4]).await;
    scene.kernel.send_transaction(0, &signed).await.expect("admitted");
    members[1].round().await.expect("built");
    // Who has promised nothing takes a payment of the same amounts for the payout.
    scene.promise(3).await;
    let refused = members[2].round().await.expect_err("foreign");
    assert!(refused.is_contradiction(), "{refused}");
    let PayoutError::Attempt { attempt: 0, source: AttemptError::ForeignSpend { coin, by }, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((coin, by), (scene.coin.coin, foreign.hash()));
}

/// Somebody takes an output key before anybody signed: all four members prove it, build the same second payload, and pay.
/// The fourth sleeps meanwhile: it waits for the proof and finds it by itself, though the second payload has spent the coin.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_should_cost_one_attempt_also_for_a_member_that_lags() {
    let scene = Scene::start().await;
    let mut members = scene.members([1, 2, 3]);
    for member in &mut members[..2] {
        member.round().await.expect("built");
    }
    let first = scene.build(0).await;
    assert_eq!((scene.hash(1, 0).await, scene.hash(2, 0).await), (Some(first.hash()), Some(first.hash())));
    let theft = scene.steal_key(&first).await;
    scene.until_final(&mut members, &[1, 2, 3], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3], 1).await;
    // Its nodes show that the coin is spent, and not yet why: it waits, for that is what it would build next itself.
    let mut lagging = scene.member_without(4, Some(theft));
    for _ in 0..20 {
        lagging.round().await.expect("no contradiction");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!scene.is_final(4, scene.payout.id).await && scene.hash(4, 1).await.is_none());
    let mut late = scene.members([4]);
    scene.until_final(&mut late, &[4], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3, 4], 1).await;
    assert_eq!(scene.hash(4, 2).await, None);
}

/// The key is taken after a member signed at the ledger's API, which locks the coin there for the dead payload.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_stolen_between_two_signatures_should_cost_one_attempt() {
    let scene = Scene::start().await;
    let mut members = scene.members([1, 2, 3, 4]);
    for member in &mut members[..3] {
        member.round().await.expect("built, and signed by the third");
    }
    let signed = scene.neighbours.store(3).payload_signatures(scene.payout.id, 0).await.expect("rows");
    assert_eq!(signed.len(), 1);
    let _theft = scene.steal_key(&scene.build(0).await).await;
    scene.until_final(&mut members, &[1, 2, 3, 4], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3, 4], 1).await;
    let silent = scene.neighbours.store(3).payload_signatures(scene.payout.id, 0).await.expect("rows");
    assert!(silent.is_empty(), "the coin belongs to the second payload now");
}

/// A hostile member registers another payload under every request id, and in the worse case signs it, which locks the coin
/// at the ledger's API.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_should_not_stop_a_payout() {
    for locks in [false, true] {
        let scene = Scene::start().await;
        let hostile = &scene.lines[3].api;
        let other = scene.build(99).await;
        for revocations in 0..=REVOCATIONS_MAX {
            let request = request_id(scene.payout.id, 0, revocations);
            hostile.register(request, &other).await.expect("a request");
            if locks {
                let signed = scene.with_parts(&other, &[4]).await;
                hostile.add_signatures(request, &signed).await.expect("signed");
            }
        }
        let mut members = scene.members([1, 2, 3]);
        scene.until_final(&mut members, &[1, 2, 3], scene.payout.id).await;
        scene.assert_paid(&[1, 2, 3], 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_after_signing_should_not_stop_a_payout() {
    let scene = Scene::start().await;
    scene.lines.iter().for_each(|line| line.set(true, false));
    let mut members = scene.members([1, 2, 3]);
    scene.until_signed(&mut members).await;
    scene.lines.iter().for_each(|line| line.set(false, false));
    scene.until_final(&mut members, &[1, 2, 3], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3], 0).await;
}

/// A crash after the guard rows (no view, so no signature), then one after the signatures are rows: each start goes on.
#[tokio::test(flavor = "multi_thread")]
async fn crashes_between_promise_signature_and_submission_should_pay_once() {
    let scene = Scene::start().await;
    scene.lines.iter().for_each(|line| line.set(false, false));
    for number in [1, 2, 3, 1, 2, 3] {
        scene.member(number).round().await.expect("guarded");
        let rows = scene.neighbours.store(number).payload_signatures(scene.payout.id, 0).await.expect("rows");
        assert!(rows.is_empty(), "no view, no signature");
    }
    scene.lines.iter().for_each(|line| line.set(true, false));
    for number in [1, 2, 3] {
        scene.member(number).round().await.expect("signed");
        let rows = scene.neighbours.store(number).payload_signatures(scene.payout.id, 0).await.expect("rows");
        assert_eq!(rows.len(), 1, "saved before it is handed in");
    }
    assert_eq!(balance(&scene.bob.api, xin()).await.expect("a balance"), Amount::ZERO);
    scene.lines.iter().for_each(|line| line.set(true, true));
    let mut members = scene.members([1, 2, 3, 4]);
    scene.until_final(&mut members, &[1, 2, 3, 4], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3, 4], 0).await;
}

/// What waits blocks nothing else: a payout to nobody and one out of its change are held, the next one is paid.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_to_an_unknown_recipient_should_be_held_alone() {
    let scene = Scene::start().await;
    let (nobody, of) = (Uuid::from_u128(1), units("9"));
    let elsewhere = Output { id: Uuid::from_u128(2), sequence: scene.coin.sequence + 1, ..scene.coin.clone() };
    let held = named(&scene.group, 1, &CoinRef::Output(elsewhere.id), (nobody, "2"), of);
    let held = Named { derived: Derived { inputs: vec![CoinRef::Output(elsewhere.id)], ..held.derived }, ..held };
    let change = CoinRef::Virtual { trace: held.derived.trace, index: 1 };
    let behind = named(&scene.group, 2, &change, (scene.bob.id(), "1"), units("7"));
    for number in 1..=4 {
        let elsewhere = Output { amount: of, ..elsewhere.clone() };
        let derived = vec![held.clone(), behind.clone()];
        let commit = Commit { steps: vec![(elsewhere, None)], derived, ..Commit::default() };
        scene.neighbours.store(number).commit(&commit).await.expect("a turn");
    }
    let mut members = scene.members([1, 2, 3, 4]);
    scene.until_final(&mut members, &[1, 2, 3, 4], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3, 4], 0).await;
    let open = scene.neighbours.store(1).open_payouts(0, 10).await.expect("rows");
    assert_eq!(open.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [held.id, behind.id]);
}
