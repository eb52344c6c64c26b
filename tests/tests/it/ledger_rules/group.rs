//! A group's coins through `/safe/multisigs`.

use std::collections::BTreeSet;
use std::time::Duration;

use lockstep::ledger::Refusal;
use lockstep::ledger::wire::{MultisigRow, OutputRow, OutputState, RawRequest};
use lockstep_core::Uuid;
use lockstep_core::mixin::{Signatures, SignedTransaction, Transaction};

use super::bench::{Bench, User, XIN, raw, spend};
use super::payment::refusal;

/// A payment of 4 XIN from a fresh coin of `members` to `payee`, three of whom must sign.
async fn payment(bench: &Bench, members: &[&User], payee: &User) -> (OutputRow, Transaction) {
    let coin = bench.coin(XIN, "10", members, 3).await;
    let first = members.first().expect("a member");
    let transaction = first.payment(&coin, &[payee.id()], 1, "4").await;
    (coin, transaction)
}

/// What `user` posts: its own signatures and nobody else's.
fn own(user: &User, id: Uuid, transaction: &Transaction, coin: &OutputRow, row: &MultisigRow) -> RawRequest {
    let mut signed = transaction.clone().unsigned();
    user.sign(&mut signed, &[coin], &row.views);
    raw(id, &signed)
}

fn signatures(row: &MultisigRow) -> usize {
    let signed = SignedTransaction::decode(&row.raw_transaction.0).expect("a transaction");
    signed.input_signatures(0).map_or(0, std::collections::BTreeMap::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_members_signature_should_be_refused_and_change_nothing() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let (coin, transaction) = payment(&bench, &[&a, &b, &c, &d], &bob).await;
    let (id, unsigned) = (Uuid::new_v4(), transaction.clone().unsigned());

    assert_eq!(refusal(bob.api.create_multisig(&raw(id, &unsigned)).await), Refusal::Unauthorized);
    assert_eq!(refusal(a.api.request_transaction(&raw(id, &unsigned)).await), Refusal::Invalid);
    let row = a.api.create_multisig(&raw(id, &unsigned)).await.expect("a request");
    assert_eq!(refusal(bob.api.sign_multisig(&raw(id, &unsigned)).await), Refusal::Unauthorized);
    assert_eq!(refusal(bob.api.unlock_multisig(id).await), Refusal::Unauthorized);
    assert_eq!(refusal(a.api.sign_multisig(&raw(id, &unsigned)).await), Refusal::BadSignature);
    assert!(bob.api.multisig(id).await.expect("anyone may look").views.is_empty());

    // Another's signature in the place of one's own.
    let mine = own(&a, id, &transaction, &coin, &row);
    assert_eq!(refusal(b.api.sign_multisig(&mine).await), Refusal::BadSignature);
    // A signature over another transaction, and another transaction.
    let other = a.payment(&coin, &[bob.id()], 1, "5").await;
    let forged = own(&a, id, &other, &coin, &row);
    assert_eq!(refusal(a.api.sign_multisig(&forged).await), Refusal::Invalid);
    let wrong = SignedTransaction::decode(&forged.raw.0).expect("a transaction").signatures().clone();
    let wrong = SignedTransaction::new(transaction.clone(), wrong).expect("a transaction");
    assert_eq!(refusal(a.api.sign_multisig(&raw(id, &wrong)).await), Refusal::BadSignature);
    assert_eq!(refusal(b.api.create_multisig(&raw(id, &other.unsigned())).await), Refusal::Invalid);

    let stored = a.api.multisig(id).await.expect("the request");
    assert_eq!((stored.signers.len(), signatures(&stored), stored.views), (0, 0, row.views));
    assert_eq!(a.api.output(coin.output_id).await.expect("the coin").state, OutputState::Unspent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_that_somebody_signed_for_should_be_closed_to_other_payments_until_unlocked() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let (coin, transaction) = payment(&bench, &[&a, &b, &c, &d], &bob).await;
    let rival = b.payment(&coin, &[bob.id()], 1, "7").await;
    let (id, rival_id) = (Uuid::new_v4(), Uuid::new_v4());
    let row = a.api.create_multisig(&raw(id, &transaction.clone().unsigned())).await.expect("a request");
    // Without a signature nothing is promised: unlocking changes nothing, and a rival may be made.
    a.api.unlock_multisig(id).await.expect("nothing to unlock");
    let rival_row = b.api.create_multisig(&raw(rival_id, &rival.clone().unsigned())).await.expect("a rival");

    let signed = a.api.sign_multisig(&own(&a, id, &transaction, &coin, &row)).await.expect("a signature");
    assert_eq!((signed.signers.as_slice(), signed.views.len()), ([a.id()].as_slice(), 0));
    let held = a.api.output(coin.output_id).await.expect("the coin");
    assert_eq!(
        (held.state, held.signed_by, held.signers),
        (OutputState::Signed, Some(row.transaction_hash), signed.signers)
    );
    let late = own(&b, rival_id, &rival, &coin, &rival_row);
    assert_eq!(refusal(b.api.sign_multisig(&late).await), Refusal::InputLocked);
    let third = c.payment(&coin, &[bob.id()], 1, "1").await.unsigned();
    assert_eq!(refusal(c.api.create_multisig(&raw(Uuid::new_v4(), &third)).await), Refusal::InputLocked);

    let unlocked = a.api.unlock_multisig(id).await.expect("unlocked");
    assert_eq!((unlocked.signers.len(), signatures(&unlocked), unlocked.views), (0, 0, row.views));
    assert_eq!(a.api.output(coin.output_id).await.expect("the coin").signed_by, None);
    b.api.sign_multisig(&late).await.expect("the coin is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_signature_of_another_should_not_enter_the_request() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let (coin, transaction) = payment(&bench, &[&a, &b, &c, &d], &bob).await;
    let id = Uuid::new_v4();
    let unsigned = raw(id, &transaction.clone().unsigned());
    a.api.create_multisig(&unsigned).await.expect("a request");
    let views = b.api.create_multisig(&unsigned).await.expect("the same request").views;
    let mut signed = transaction.clone().unsigned();
    b.sign(&mut signed, &[&coin], &views);
    let Signatures::Map(mut maps) = signed.signatures().clone() else { panic!("single signatures") };
    let own = *maps[0].values().next().expect("a signature");
    for index in 0..4 {
        maps[0].entry(index).or_insert(own);
    }
    let spoiled = SignedTransaction::new(transaction, Signatures::Map(maps)).expect("a transaction");
    let row = b.api.sign_multisig(&raw(id, &spoiled)).await.expect("one good signature");
    assert_eq!((row.signers.as_slice(), signatures(&row)), ([b.id()].as_slice(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_post_only_their_own_signatures_should_pay_together() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let members = [&a, &b, &c, &d];
    let (coin, transaction) = payment(&bench, &members, &bob).await;
    let id = Uuid::new_v4();
    let unsigned = raw(id, &transaction.clone().unsigned());
    // All create before anyone signs, so that nobody sees another's signature.
    let mut posts = Vec::new();
    for member in members {
        let row = member.api.create_multisig(&unsigned).await.expect("the request");
        assert_eq!((row.signers.len(), row.senders_threshold), (0, 3));
        posts.push(own(member, id, &transaction, &coin, &row));
    }
    let views: BTreeSet<Vec<u8>> = posts.iter().map(|post| post.raw.0.clone()).collect();
    assert_eq!(views.len(), 4, "each member has views of its own");

    for (count, (member, post)) in members.iter().zip(&posts).take(2).enumerate() {
        let row = member.api.sign_multisig(post).await.expect("a signature");
        assert_eq!((row.signers.len(), signatures(&row)), (count + 1, count + 1));
        assert_eq!(member.api.sign_multisig(post).await.expect("again").signers, row.signers);
        assert_eq!(member.api.transaction(id).await.expect("the request").state, OutputState::Unspent);
    }
    let row = c.api.sign_multisig(&posts[2]).await.expect("the last signature");
    assert_eq!((row.signers.len(), signatures(&row)), (3, 3));
    let late = d.api.sign_multisig(&posts[3]).await.expect("too late is no error");
    assert_eq!((late.signers, late.views.len()), (row.signers, 0));
    assert_eq!(refusal(a.api.unlock_multisig(id).await), Refusal::Unauthorized);

    let done = d.api.transaction(id).await.expect("the request");
    assert_eq!(done.state, OutputState::Spent);
    assert!(bench.transaction(transaction.hash()).await.expect("a transaction").snapshot.is_some());
    let mut ids: Vec<Uuid> = members.iter().map(|member| member.id()).collect();
    ids.sort_unstable();
    let received = bob.coins(&[bob.id()], 1).await;
    let [received] = received.as_slice() else { panic!("one coin") };
    assert_eq!((&received.senders, received.senders_threshold), (&ids, 3));
    assert_eq!((received.amount.to_string().as_str(), received.request_id), ("4.00000000", Some(id)));
    let coins = a.coins(&ids, 3).await;
    let states: Vec<_> = coins.iter().map(|coin| (coin.state, coin.amount.to_string())).collect();
    assert_eq!(states, [(OutputState::Spent, "10.00000000".into()), (OutputState::Unspent, "6.00000000".into())]);
    assert_eq!(coins.last().expect("the change").senders, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_posts_all_signatures_at_creation_should_need_no_more_calls() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let members = [&a, &b, &c, &d];
    let coins = [bench.coin(XIN, "1", &members, 3).await, bench.coin(XIN, "2", &members, 3).await];
    let coins = [&coins[0], &coins[1]];
    let transaction = spend(&coins, vec![a.output(0, &[bob.id()], 1, "3").await]);
    // The views do not depend on the request, so a first one only serves to get them.
    let first = raw(Uuid::new_v4(), &transaction.clone().unsigned());
    let mut signed = transaction.unsigned();
    for member in [&b, &c, &d] {
        let row = member.api.create_multisig(&first).await.expect("the request");
        assert_eq!(row.views.len(), 2);
        member.sign(&mut signed, &coins, &row.views);
    }
    let id = Uuid::new_v4();
    let row = a.api.create_multisig(&raw(id, &signed)).await.expect("a complete request");
    assert_eq!(row.signers.len(), 3);
    // The one that is older and had none takes them as well, and knows that its payment is done.
    let row = a.api.create_multisig(&RawRequest { request_id: first.request_id, ..raw(id, &signed) }).await;
    assert_eq!(row.expect("the first request").signers.len(), 3);
    assert_eq!(a.api.transaction(first.request_id).await.expect("the request").state, OutputState::Spent);
    assert_eq!(a.api.transaction(id).await.expect("the request").state, OutputState::Spent);
    assert_eq!(bob.coins(&[bob.id()], 1).await.len(), 1);
}
