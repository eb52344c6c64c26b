//! A change of members between two payouts: the old ones move their coin to the new address, the new ones pay from there,
//! and who cannot sign sees both become final.

use lockstep_core::bls::Dealing;
use lockstep_core::dkg::{Binding, Body, Item};
use lockstep_core::group::Member;
use lockstep_core::group::roster::{Certificate, Marks, Roster};

use super::*;

/// The switch's place in the ledger's order: behind the coin.
const SWITCH: u64 = 1_000_000;

/// Members 1 to 4, then 1, 2, 3 and 5; three sign.
struct Change {
    _bench: Bench,
    _folder: TempDir,
    bob: User,
    lines: Vec<Line>,
    kernel: Arc<KernelNodes>,
    group: Arc<Group>,
    next: Roster,
    neighbours: Neighbours,
    coin: Output,
    /// The coin to the new address, and from there 2 XIN to bob.
    migrate: Named,
    pay: Named,
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
    let key = Dealing::from_seed(&[1; 32], 3, 4).expect("a dealing").group;
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
        let keys: Vec<_> = lines.iter().map(keys_of).collect();
        let group = Arc::new(deal_to(&keys[..4]));
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
        let derived = Derived { trace, asset: xin(), inputs, outputs, memo: DerivedMemo::Internal };
        let migrate = Named { id: trace.id(&group.id(), |_| Address::ZERO), derived };
        let mut pay = named(&group, 0, &CoinRef::Virtual { trace, index: 0 }, (bob.id(), "2"), coin.amount);
        pay.derived.outputs[1].0 = Payee::Group(1);
        let folder = tempfile::tempdir().expect("a folder");
        let mut stores = Vec::new();
        for member in 1..=5 {
            let store = open(&path(&folder, member), &group, member).await;
            let (steps, derived) = (vec![(coin.clone(), None)], vec![migrate.clone(), pay.clone()]);
            store.commit(&Commit { steps, derived, ..Commit::default() }).await.expect("a turn");
            stores.push(store);
        }
        let neighbours = Neighbours(Arc::new(stores));
        Self { _bench: bench, _folder: folder, bob, lines, kernel, group, next, neighbours, coin, migrate, pay }
    }

    fn member(&self, number: u8) -> Driver {
        let place = if number == 5 { 4 } else { number };
        let roster = if number == 5 { self.next.clone() } else { self.group.roster() };
        let identity = roster.member(place).expect("a member").identity.to_bytes();
        let mut known = Generations::new(self.group.roster());
        known.learn(self.next.clone()).expect("an outcome");
        let addresses = Addresses::from_parts(self.group.mix(), vec![(SWITCH, self.next.mix())]);
        let addresses = watch::channel(Arc::new(addresses)).1;
        let rosters = Rosters::new(identity, known, addresses, Directory::of_group(&self.group));
        let line = of(&self.lines, number).clone();
        let owner = Owner { group: Arc::clone(&self.group), rosters, spend: spend_key(&line), takeover: TAKEOVER };
        let store = self.neighbours.store(number).clone();
        let kernel = Nodes { kernel: Arc::clone(&self.kernel), unheard: None };
        Payouts::new(owner, line, kernel, self.neighbours.clone(), store)
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
    // What is left lies at the new address, and its new owners can list it there.
    let addresses = Addresses::from_parts(change.group.mix(), vec![(1, change.next.mix())]);
    let watcher = Watcher::new(Arc::clone(&change.lines[4].api), Arc::clone(&change.kernel));
    let outputs = watcher.next_outputs(&addresses, 0).await.expect("outputs");
    let found: Vec<_> = outputs.iter().map(|output| (output.generation, output.amount)).collect();
    assert_eq!(found, [(0, units("5")), (1, units("5")), (1, units("3"))]);
}

/// Three old members send their coin somewhere else: who only looks on must halt as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_spend_should_halt_who_only_looks_on() {
    let change = Change::start().await;
    let plan = Plan::of_parts(
        (Uuid::new_v4(), 0, B256::ZERO),
        xin(),
        &[ResolvedCoin { id: change.coin.coin, amount: change.coin.amount }],
        vec![payout::PlannedOutput { receivers: Mix::of_users([change.bob.id()], 1), amount: change.coin.amount }],
        Vec::new(),
    )
    .expect("a plan");
    let senders = change.group.mix().users().expect("users");
    let keys = change.lines[0].api.issue_keys(&senders, &plan.key_requests()).await.expect("keys");
    let theft = plan.build(&keys).expect("a theft");
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
