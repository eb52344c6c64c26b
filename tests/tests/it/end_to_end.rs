//! The whole thing as it runs in the world, on one machine: a chain, a ledger, four members as processes of their own, and
//! contracts that behave badly. `lockstep demo` shows the main job; here is what it must survive.

#![expect(clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

mod governance;
mod knobs;
mod safety;
mod secrets;
mod town;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use lockstep_core::operation::Operation;
use lockstep_core::{Account, Amount};

use town::{PATIENCE, Place, Plan, Temper, Town, until};

/// Hundredths of BTC.
const fn btc(hundredths: u128) -> Amount {
    Amount::from_units(hundredths * 1_000_000)
}

/// The processes of the test.
struct Places {
    /// Two that keep what they get; the second sees no user, only masks.
    calm: [Place; 2],
    /// Four that fail in each way there is; the first pays masks back.
    failing: [Place; 4],
    /// One that has the gas to return a megabyte: its call succeeds.
    verbose: Place,
    /// One that never agreed to be registered.
    unbound: Place,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_do_their_job_whatever_contracts_and_machines_do() -> Result<()> {
    let mut town = Box::pin(Town::start()).await?;
    let settled = town.settle([
        Plan::new(Temper::Keeps),
        Plan::new(Temper::Keeps).private(),
        Plan::new(Temper::Reverts).private(),
        Plan::new(Temper::BurnsGas),
        Plan::new(Temper::ReturnsMegabyte),
        Plan::new(Temper::RevertsMegabyte).with_gas(),
        Plan::new(Temper::ReturnsMegabyte).with_gas(),
        Plan::new(Temper::Keeps).unbound(),
    ]);
    let [first, second, reverts, burns, bulky, bomb, verbose, unbound] = settled.await?;
    let places = Places { calm: [first, second], failing: [reverts, burns, bulky, bomb], verbose, unbound };

    interleaved_messages_should_arrive_in_order_whatever_others_do(&town, &places).await?;
    an_unbound_registration_should_come_to_nothing(&town, &places).await?;
    change_under_an_operation_should_be_nobodys(&town, &places).await?;
    a_private_process_should_pay_whom_it_cannot_name(&town, &places).await?;
    a_restart_of_all_should_go_on(&mut town, &places).await?;
    a_member_without_its_database_should_sign_the_same_history(&mut town, &places).await?;
    books_should_equal_coins(&town, &places).await?;
    town.network.stop().await
}

/// Alice's payments go to two calm processes in turn; bob's go to all that fail, in between.
async fn interleaved_messages_should_arrive_in_order_whatever_others_do(town: &Town, places: &Places) -> Result<()> {
    let (alice_had, bob_had) = (town.balance(&town.alice).await?, town.balance(&town.bob).await?);
    let alice = async {
        for index in 0..8_u8 {
            let place = places.calm[usize::from(index % 2)];
            town.call(&town.alice, place, btc(1 + u128::from(index)), &[index]).await?;
        }
        anyhow::Ok(())
    };
    let bob = async {
        for (index, place) in places.failing.iter().chain([&places.verbose]).chain(&places.failing).enumerate() {
            town.call(&town.bob, *place, btc(3), &[0xb0, u8::try_from(index)?]).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(alice, bob)?;

    for (place, expected) in places.calm.into_iter().zip([[0, 2, 4, 6], [1, 3, 5, 7]]) {
        until("all messages of a calm process", async || Ok(town.received(place).await?.len()), |n| *n >= 4).await?;
        let messages = town.received(place).await?;
        let payloads: Vec<_> = messages.iter().map(|message| message.payload.to_vec()).collect();
        assert_eq!(payloads, expected.map(|index| vec![index]), "each once, in the order of the ledger");
        assert_eq!(messages.iter().map(|message| message.nonce).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(messages.is_sorted_by_key(|message| message.sequence), "in ledger order");
    }
    assert_eq!(town.balance(&town.alice).await?, less(alice_had, btc(1 + 2 + 3 + 4 + 5 + 6 + 7 + 8))?);

    // Eight came back in full; the ninth met a process whose call succeeded, which is known when its message has run.
    until("the long-winded call", async || town.custody(places.verbose).await, |held| *held == btc(3)).await?;
    let kept = less(bob_had, btc(3))?;
    until("bob's refunds", async || town.balance(&town.bob).await, |found| *found == kept).await?;
    for place in places.failing {
        assert_eq!((town.received(place).await?.len(), town.custody(place).await?), (0, Amount::ZERO));
    }
    Ok(())
}

async fn an_unbound_registration_should_come_to_nothing(town: &Town, places: &Places) -> Result<()> {
    assert_eq!(town.standing(places.unbound).await?, 2, "rejected");
    assert_eq!(town.standing(places.calm[0]).await?, 1, "alive");
    let had = town.balance(&town.bob).await?;
    town.call(&town.bob, places.unbound, btc(2), b"hello").await?;
    until("the refund of a payment to nobody", async || town.balance(&town.bob).await, |found| *found == had).await?;
    assert_eq!((town.received(places.unbound).await?.len(), town.custody(places.unbound).await?), (0, Amount::ZERO));
    Ok(())
}

/// The payout's memo is the very operation that a payment to the second process carries, and its change comes back to the
/// group with that memo.
async fn change_under_an_operation_should_be_nobodys(town: &Town, places: &Places) -> Result<()> {
    let [from, named] = places.calm;
    let memo = Operation::call(named.process, b"mine now".to_vec()).encode()?;
    let (had, held) = (town.balance(&town.alice).await?, town.custody(named).await?);
    let seen = town.payloads(named).await?;
    let paid = Amount::from_units(11_234_567);
    town.pay_out(from, paid, &town.alice, memo.clone()).await?;
    let expected = had.checked_add(paid).context("too much money")?;
    until("the payout", async || town.balance(&town.alice).await, |found| *found == expected).await?;

    let of_memo =
        async || Ok(town.group_outputs().await?.into_iter().filter(|row| row.extra.0 == memo).collect::<Vec<_>>());
    let change = until("the change", of_memo, |rows| !rows.is_empty()).await?;
    assert!(change.len() == 1 && change[0].amount > Amount::ZERO, "{change:?}");

    // What is paid after it was derived after it: had the change been a call, it would stand before this one.
    town.call(&town.alice, named, btc(1), b"after").await?;
    let after = [seen.clone(), vec![b"after".to_vec()]].concat();
    until("the next message", async || town.payloads(named).await, |found| found.len() > seen.len()).await?;
    assert_eq!(town.payloads(named).await?, after, "the change is no message");
    assert_eq!(town.custody(named).await?, held.checked_add(btc(1)).context("too much")?, "and no money of anyone");
    Ok(())
}

/// The contract sees one account for each user, which is nobody's elsewhere, and pays them by it.
async fn a_private_process_should_pay_whom_it_cannot_name(town: &Town, places: &Places) -> Result<()> {
    let [public, private] = places.calm;
    let (seen, bob_had) = (town.received(private).await?, town.balance(&town.bob).await?);
    town.call(&town.bob, private, btc(2), b"from bob").await?;
    let met = until("bob's call", async || town.received(private).await, |found| found.len() > seen.len()).await?;
    let [.., last] = &met[..] else { unreachable!("at least one") };
    let alices: BTreeSet<_> = seen.iter().map(|message| message.sender).collect();
    let own = [&town.alice, &town.bob].map(|user| Account::of_user(user.user()).0);
    assert_eq!(alices.len(), 1, "one account for alice, whatever she pays: {alices:?}");
    assert!(!alices.contains(&last.sender) && own.iter().all(|own| *own != last.sender && !alices.contains(own)));
    let of_public: Vec<_> = town.received(public).await?.into_iter().map(|message| message.sender).collect();
    assert!(of_public.iter().all(|sender| *sender == own[0]), "a public process sees alice: {of_public:?}");

    // By the mask it reaches bob; by his account, which this process has never seen, it comes back.
    let mask = Account(last.sender);
    town.pay_account(private, btc(2), mask, b"back to whom?".to_vec()).await?;
    until("the payout to a mask", async || town.balance(&town.bob).await, |found| *found == bob_had).await?;
    let held = town.custody(private).await?;
    for (from, to) in [(private, Account::of_user(town.bob.user())), (public, mask)] {
        let held = town.custody(from).await?;
        town.pay_account(from, btc(1), to, Vec::new()).await?;
        until("what nobody here is to come back", async || town.custody(from).await, |found| *found == held).await?;
    }
    assert_eq!((town.custody(private).await?, town.balance(&town.bob).await?), (held, bob_had));
    Ok(())
}

async fn a_restart_of_all_should_go_on(town: &mut Town, places: &Places) -> Result<()> {
    let [calm, _] = places.calm;
    let (before, had) = (town.payloads(calm).await?, town.balance(&town.bob).await?);
    // Work is under way when the power fails, and more comes in while nobody is there.
    town.call(&town.bob, places.failing[0], btc(4), b"under way").await?;
    for member in &mut town.network.members {
        member.kill().await?;
    }
    town.call(&town.alice, calm, btc(5), b"nobody there").await?;
    for member in &mut town.network.members {
        member.restart(PATIENCE).await?;
    }
    let expected = [before, vec![b"nobody there".to_vec()]].concat();
    until("what came meanwhile", async || town.payloads(calm).await, |found| *found == expected).await?;
    until("what was under way", async || town.balance(&town.bob).await, |found| *found == had).await?;
    Ok(())
}

/// Three of four sign. With one of the others gone, nothing moves unless the one that lost everything signs what they do.
async fn a_member_without_its_database_should_sign_the_same_history(town: &mut Town, places: &Places) -> Result<()> {
    const LOST: usize = 1;
    const GONE: usize = 3;
    let before = town.agreed().await?;
    for index in [LOST, GONE] {
        town.network.members[index].kill().await?;
    }
    let mut removed = 0;
    for entry in std::fs::read_dir(town.network.folder.join(format!("member-{}", LOST + 1)))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("lockstep.db") {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    ensure!(removed > 0, "the member had no database");
    // It knows that it has signed more than its database says, and waits for a person.
    let refused = town.network.members[LOST].restart(PATIENCE).await.expect_err("it has lost its promises");
    let refused = format!("{refused:#}");
    assert!(refused.contains("it lacks") && refused.contains("checkpoints between"), "{refused}");
    town.network.members[LOST].accept_restore("the disk of the second member died").await?;
    town.network.members[LOST].restart(PATIENCE).await?;

    let [_, calm] = places.calm;
    let (seen, had) = (town.payloads(calm).await?, town.balance(&town.bob).await?);
    town.call(&town.alice, calm, btc(6), b"by three").await?;
    town.call(&town.bob, places.failing[1], btc(7), b"back by three").await?;
    let expected = [seen, vec![b"by three".to_vec()]].concat();
    until("a message that it signed", async || town.payloads(calm).await, |found| *found == expected).await?;
    until("a refund that it signed", async || town.balance(&town.bob).await, |found| *found == had).await?;

    town.network.members[GONE].restart(PATIENCE).await?;
    let after = town.agreed().await?;
    assert!(after.sequence > before.sequence && after.history != before.history);
    assert_eq!(after.parked, [], "nothing waits for a person");
    Ok(())
}

/// To the last unit, what the group holds on the ledger is what its books say on the chain.
async fn books_should_equal_coins(town: &Town, places: &Places) -> Result<()> {
    let mut books = Amount::ZERO;
    for place in places.calm.iter().chain(&places.failing).chain([&places.verbose, &places.unbound]) {
        books = books.checked_add(town.custody(*place).await?).context("too much money")?;
    }
    let coins = town.unspent().await?;
    assert_eq!(coins, books, "coins on the ledger, books on the chain");
    Ok(())
}

fn less(amount: Amount, taken: Amount) -> Result<Amount> {
    amount.checked_sub(taken).context("too little money")
}
