//! A change of members between two payouts: the old ones move their coin to the new address, the new ones pay from there,
//! and who cannot sign sees both become final.

use lockstep_core::bls::{Dealing, SecretKey, SecretShare};
use lockstep_core::dkg::{Binding, Body, Item};
use lockstep_core::group::Member;
use lockstep_core::group::roster::{Certificate, Marks, Roster};

use super::*;

/// The switch's place in the ledger's order: behind the coin.
const SWITCH: u64 = 1_000_000;

/// Members 1 to 4, then 1, 2, 3 and 5 under a fresh key, which is decided before the coin is moved; three sign.
struct Change {
    _bench: Bench,
    _folder: TempDir,
    bob: User,
    lines: Vec<Line>,
    kernel: Arc<KernelNodes>,
    group: Arc<Group>,
    next: Roster,
    neighbours: Neighbours,
    /// Identities.
    keys: Vec<[u8; 32]>,
    coin: Output,
    /// The coin to the new address, and from there 2 XIN to bob.
    migrate: Named,
    pay: Named,
}

/// The key of generation 1, made anew: it is not that of generation 0.
fn dealing() -> Dealing {
    Dealing::from_seed(&[1; 32], 3, 4).expect("a dealing")
}

/// Generation 1, vouched for by all its members.
fn roster(group: &Group, keys: &[MemberKeys]) -> Roster {
    let signers = [0, 1, 2, 4].map(|place| &keys[place]);
    let member = |(index, keys): (u8, &MemberKeys)| Member {
        index,
        name: format!("n{index}"),
        user: keys.ledger.app_id,
        identity: keys.identity.verifying_key(),
        peer: format!("http://127.0.0.1:{}", 7_800_u16 + u16::from(index)),
    };
    let members: Vec<_> = (1..).zip(signers).map(member).collect();
    let key = dealing().group;
    let roster = Roster::uncertified(group.id(), 1, members, key);
    let (round, proposal, set, marks) = (1, B256::repeat_byte(1), B256::repeat_byte(2), Marks::default());
    let binding = Binding { group_id: group.id(), round, generation: 1, proposal };
    let ready = Body::Ready { set, roster: roster.digest(), marks: marks.digest() };
    let sign = |keys: &MemberKeys| Item::sign(&binding, ready.clone(), &keys.identity).signature;
    let ready = (1..).zip(signers).map(|(index, keys)| (index, sign(keys))).collect();
    roster.certified(Certificate { round, proposal, set, marks, ready }).expect("all of them vouch")
}

impl Change {
    async fn start() -> Self {
        let bench = Bench::start(Duration::ZERO).await;
        let [alice, bob, a, b, c, d, e] = bench.users().await;
        bench.coin(XIN, "5", &[&alice], 1).await;
        let lines: Vec<_> = [a, b, c, d, e].into_iter().map(|member| Line::new(&Arc::new(member.api))).collect();
        let mut keys: Vec<_> = lines.iter().map(keys_of).collect();
        let (group, shares) = deal_to(&keys[..4]);
        let group = Arc::new(group);
        for (keys, share) in keys.iter_mut().zip(shares) {
            keys.hold(share).expect("its share");
        }
        for (place, share) in [0, 1, 2, 4].into_iter().zip(dealing().shares) {
            let secret = SecretKey::from_bytes(share.secret().to_bytes().as_slice()).expect("a scalar");
            let secret = Arc::new(SecretShare::new(share.index(), secret).expect("a share"));
            let group_key = *dealing().group.key();
            let held = HeldShare { group_id: group.id(), generation: 1, threshold: 3, group_key, secret };
            keys[place].hold(held).expect("its share");
        }
        let next = roster(&group, &keys);
        let kernel = KernelNodes::new(&bench.running.kernel_urls(), 2).expect("three nodes");
        let kernel = Arc::new(kernel);
        let (receivers, extra, trace) = (group.mix(), b"fund".to_vec(), Uuid::new_v4());
        let to_group = Payment { receivers, asset: xin(), amount: units("5"), extra, references: Vec::new(), trace };
        pay(&alice.api, &to_group, PATIENCE).await.expect("a payment");
        let watcher = Watcher::new(Arc::clone(&lines[4].api), Arc::clone(&kernel));
        let coin = watcher.next_outputs(&Addresses::new(group.mix()), 0).await.expect("outputs").remove(0);

        let trace = Trace::Migrate { chain: CHAIN, generation: 1, asset: xin(), j: 0 };
        let (inputs, outputs) = (vec![CoinRef::Output(coin.id)], vec![(Payee::Group(1), coin.amount)]);
        let key = Some(Box::new(next.key().key().compress().into()));
        let derived = Derived { trace, asset: xin(), inputs, outputs, memo: DerivedMemo::Internal, key: key.clone() };
        let migrate = Named { id: trace.id(&group.id(), |_| Address::ZERO), derived };
        let mut pay = named(&group, 0, &CoinRef::Virtual { trace, index: 0 }, (bob.id(), "2"), coin.amount);
        pay.derived.outputs[1].0 = Payee::Group(1);
        pay.derived.key = key;
        let folder = tempfile::tempdir().expect("a folder");
        let mut known = Generations::new(group.roster());
        known.learn(next.clone()).expect("an outcome");
        let addresses = Addresses::from_parts(group.mix(), vec![(SWITCH, next.mix())]);
        let mut members = Vec::new();
        for member in 1..=5 {
            let store = open(&path(&folder, member), &group, member).await;
            let (steps, derived) = (vec![(coin.clone(), None)], vec![migrate.clone(), pay.clone()]);
            store.commit(&Commit { steps, derived, ..Commit::default() }).await.expect("a turn");
            let ring = ring(&folder, member, of(&keys, member));
            // Who leaves has no part in the ceremony of a fresh key, and never hears what came of it.
            let known = if member == 4 { Generations::new(group.roster()) } else { known.clone() };
            members.push(Neighbour::new(&group, (known, addresses.clone()), ring, store));
        }
        let neighbours = Neighbours::new(members);
        let keys = keys.iter().map(|keys| keys.identity.verifying_key().to_bytes()).collect();
        Self { _bench: bench, _folder: folder, bob, lines, kernel, group, next, neighbours, keys, coin, migrate, pay }
    }

    fn member(&self, number: u8) -> Driver {
        let (rosters, line) = (of(&self.neighbours.members, number).rosters.clone(), of(&self.lines, number).clone());
        let (spend, seeds) = (spend_key(&line), self.neighbours.seeds(number).clone());
        let owner = Owner { group: Arc::clone(&self.group), rosters, seeds, spend, takeover: TAKEOVER };
        let store = self.neighbours.store(number).clone();
        let kernel = Nodes { kernel: Arc::clone(&self.kernel), unheard: None };
        Payouts::new(owner, line, kernel, self.neighbours.asked_by(*of(&self.keys, number)), store)
    }

    async fn is_final(&self, number: u8, payout: &Named) -> bool {
        self.neighbours.store(number).final_hash(payout.id).await.expect("a row").is_some()
    }

    /// Rounds of these members until all of them know that `payout` is final.
    async fn until_final(&self, members: &mut [(u8, Driver)], payout: &Named) {
        let start = Instant::now();
        loop {
            let mut missing = Vec::new();
            for (number, driver) in members.iter_mut() {
                driver.round().await.expect("no contradiction");
                if !self.is_final(*number, payout).await {
                    missing.push(*number);
                }
            }
            if missing.is_empty() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{:?} is not final for {missing:?}", payout.derived.trace);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn has_signed(&self, number: u8, payout: &Named) -> bool {
        !self.neighbours.store(number).payload_signatures(payout.id, 0).await.expect("rows").is_empty()
    }
}

/// Member 1 is away, so every other member of a generation is needed: the one who leaves for the old coin, the one who came
/// for the new one.
#[tokio::test(flavor = "multi_thread")]
async fn old_members_should_move_their_coins_and_new_ones_pay_from_there() {
    let change = Change::start().await;
    let mut members = Vec::new();
    for number in 2..=5 {
        members.push((number, change.member(number)));
    }
    change.until_final(&mut members, &change.migrate).await;
    change.until_final(&mut members, &change.pay).await;

    let coins = change.bob.coins(&[change.bob.id()], 1).await;
    assert_eq!(coins.iter().filter(|coin| coin.amount == units("2")).count(), 1, "paid once");
    for (payout, signers, stranger) in [(&change.migrate, [2, 3, 4], 5), (&change.pay, [2, 3, 5], 4)] {
        for number in signers {
            assert!(change.has_signed(number, payout).await, "{number} signs {:?}", payout.derived.trace);
        }
        let store = change.neighbours.store(stranger);
        assert_eq!(store.payload(payout.id, 0).await.expect("rows"), None, "{stranger} has no bytes of it");
    }
    let hash = async |number| {
        let payload = change.neighbours.store(number).payload(change.migrate.id, 0).await.expect("rows");
        payload.map(|payload| payload.hash)
    };
    assert_eq!(hash(4).await, hash(2).await, "the keys are the same for who does not know the new members");
    // What is left lies at the new address, and its new owners can list it there.
    let addresses = Addresses::from_parts(change.group.mix(), vec![(1, change.next.mix())]);
    let watcher = Watcher::new(Arc::clone(&change.lines[4].api), Arc::clone(&change.kernel));
    let outputs = watcher.next_outputs(&addresses, 0).await.expect("outputs");
    let found: Vec<_> = outputs.iter().map(|output| (output.generation, output.amount)).collect();
    assert_eq!(found, [(0, units("5")), (1, units("5")), (1, units("3"))]);
}

/// Member 4 does not know who holds the key that was decided. It makes nothing of its own of the key that it has, and goes on
/// when another that can spend the coin has asked them.
#[tokio::test(flavor = "multi_thread")]
async fn who_left_should_wait_for_the_keys_of_those_who_stayed() {
    let change = Change::start().await;
    let payload = async |number| change.neighbours.store(number).payload(change.migrate.id, 0).await.expect("rows");
    let mut left = change.member(4);
    for _ in 0..3 {
        left.round().await.expect("no contradiction");
    }
    assert_eq!(payload(4).await, None);
    change.member(2).round().await.expect("no contradiction");
    let built = payload(2).await.expect("built");
    let start = Instant::now();
    while payload(4).await.as_ref() != Some(&built) {
        left.round().await.expect("no contradiction");
        assert!(start.elapsed() < PATIENCE, "{:?}", payload(4).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Three old members send their coin somewhere else: who only looks on must halt as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_spend_should_halt_who_only_looks_on() {
    let change = Change::start().await;
    let plan = Plan::of_parts(
        (Uuid::new_v4(), 0),
        xin(),
        &[ResolvedCoin { id: change.coin.coin, amount: change.coin.amount }],
        vec![payout::PlannedOutput { receivers: Mix::of_users([change.bob.id()], 1), amount: change.coin.amount }],
        Vec::new(),
    )
    .expect("a plan");
    let senders = change.group.mix().users().expect("users");
    let keys = change.lines[0].api.issue_keys(&senders, &plan.key_requests(&Seed::new([0; 32]))).await.expect("keys");
    let theft = plan.build(&Seed::new([0; 32]), &keys).expect("a theft");
    let coins = final_coins(&*change.kernel, &[change.coin.coin]).await.expect("read").expect("final");
    let coins: Vec<_> = coins.into_iter().map(|coin| coin.keys).collect();
    let mut parts = Vec::new();
    for line in &change.lines[..3] {
        let views = SubmitPayout::views(&*line.api, &theft).await.expect("views");
        parts.push(payout::sign(&theft, &coins, &views, &spend_key(line)).expect("views that fit"));
    }
    let signed = payout::merge(&theft, &coins, &parts).expect("enough parts");
    change.kernel.send_transaction(0, &signed).await.expect("admitted");

    let refused = change.member(5).round().await.expect_err("foreign");
    let PayoutError::Attempt { source: AttemptError::ForeignSpend { coin, by }, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((coin, by), (change.coin.coin, theft.hash()));
}

/// Member 5 came after the old coin's address: it never has a payload that spends it, and so no proof that one is dead. It
/// helps with the next attempt when more of those who have it ask than may be faulty.
#[tokio::test(flavor = "multi_thread")]
async fn newcomers_should_help_with_a_later_attempt_for_which_enough_vouch() {
    let change = Change::start().await;
    let given = async |number: u8, attempt, is_open| {
        let question = SeedQuestion { trace: change.migrate.id, attempt, is_open, roster: change.next.digest() };
        let asker = of(&change.keys, number);
        change.neighbours.seeds(5).answer(asker, question).await.expect("rows").is_some()
    };
    assert!(given(1, 0, true).await && !given(5, 0, true).await, "the first attempt, to who can spend the coin");
    assert!(!given(1, 1, true).await && !given(1, 1, true).await, "one may be a liar");
    assert!(!given(2, 1, false).await, "it only wants to know whether others have the proof");
    assert!(!given(5, 1, true).await, "it cannot have it");
    assert!(given(2, 1, true).await && given(1, 1, true).await, "two are not");
    assert!(!given(2, 2, true).await);
}
