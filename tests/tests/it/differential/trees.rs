//! Leaves of messages, heads of mailboxes, leaves and proofs of the frontier.

use alloy::primitives::{B256, U256};
use anyhow::{Result, ensure};
use lockstep_core::frontier::{Frontier, node, verify_proof};
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{Message, chain_head, pack};
use rand::RngExt as _;

use super::harness::Harness;
use super::random::Random;

/// Cases of one call.
const BATCH: usize = 100;
/// Most messages of a batch whose head is computed.
const CHAIN_MAX: usize = 4;

#[tokio::test]
async fn leaves_of_messages_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("leaves of messages").await?;
    let (_, contract) = harness.somewhere().await?;
    while let Some(size) = harness.batch(BATCH) {
        let random = &mut harness.random;
        let messages: Vec<Message> = (0..size)
            .map(|_| {
                let nonce = random.number();
                random.any_message(nonce)
            })
            .collect();
        let records = messages.iter().map(|message| pack(std::slice::from_ref(message)).into()).collect();
        let nonces = messages.iter().map(|message| message.nonce).collect();
        let rust: Vec<B256> = messages.iter().map(Message::leaf).collect();
        harness.compare(&rust, &contract.leaves(records, nonces).call().await?);
    }
    harness.finish().await
}

#[tokio::test]
async fn heads_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("heads").await?;
    let (_, contract) = harness.somewhere().await?;
    while let Some(size) = harness.batch(BATCH) {
        let (mut records, mut nonces, mut before, mut rust) = (vec![], vec![], vec![], vec![]);
        for _ in 0..size {
            let (messages, head) = (chain(&mut harness.random), harness.random.word());
            nonces.push(messages[0].nonce);
            records.push(pack(&messages).into());
            before.push(head);
            rust.push(messages.iter().fold(head, |head, message| chain_head(head, message.leaf())));
        }
        harness.compare(&rust, &contract.heads(records, nonces, before).call().await?);
    }
    harness.finish().await
}

fn chain(random: &mut Random) -> Vec<Message> {
    let first = random.number() >> 1;
    (first..).take(1 + random.below(CHAIN_MAX)).map(|nonce| random.any_message(nonce)).collect()
}

#[tokio::test]
async fn leaves_of_mailboxes_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("leaves of mailboxes").await?;
    while let Some(size) = harness.batch(BATCH) {
        let (chain, contract) = harness.somewhere().await?;
        let random = &mut harness.random;
        let (mut instances, mut processes, mut nexts, mut heads, mut rust) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..size {
            let mailbox = Mailbox { next_nonce: random.number(), head: random.word() };
            let (instance, process) = (random.word(), random.uuid());
            let place = MailboxPlace { chain, contract: *contract.address(), instance, process };
            rust.push(place.leaf(&mailbox));
            instances.push(instance);
            processes.push(B256::left_padding_from(process.as_bytes()));
            nexts.push(U256::from(mailbox.next_nonce));
            heads.push(mailbox.head);
        }
        harness.compare(&rust, &contract.mailboxes(instances, processes, nexts, heads).call().await?);
    }
    harness.finish().await
}

/// A leaf and what is to prove it.
struct Case {
    root: B256,
    leaf: B256,
    index: u32,
    siblings: Vec<B256>,
}

#[tokio::test]
async fn proofs_should_hold_alike() -> Result<()> {
    let mut harness = Harness::start("proofs, good and bad").await?;
    let (_, contract) = harness.somewhere().await?;
    let mut verdicts = [0_usize; 2];
    while let Some(size) = harness.batch(BATCH) {
        let frontier = tree(&mut harness.random)?;
        let (mut cases, mut rust) = (vec![], vec![]);
        for number in 0..size {
            let mut case = proved(&mut harness.random, &frontier)?;
            if number % 2 == 0 {
                ensure!(verify_proof(&case.leaf, case.index, &case.siblings, &case.root), "a proof of the frontier");
            } else {
                damage(&mut harness.random, &mut case);
            }
            let holds = verify_proof(&case.leaf, case.index, &case.siblings, &case.root);
            verdicts[usize::from(holds)] += 1;
            rust.push(holds);
            cases.push(case);
        }
        let roots = cases.iter().map(|case| case.root).collect();
        let leaves = cases.iter().map(|case| case.leaf).collect();
        let indices = cases.iter().map(|case| U256::from(case.index)).collect();
        let siblings = cases.into_iter().map(|case| case.siblings).collect();
        harness.compare(&rust, &contract.proofs(roots, leaves, indices, siblings).call().await?);
    }
    ensure!(verdicts.iter().all(|count| *count > 0), "good and bad proofs: {verdicts:?}");
    harness.finish().await
}

/// Of 1 to 4,096 leaves, small trees as often as large ones.
fn tree(random: &mut Random) -> Result<Frontier> {
    let most = 1_usize << random.below(13);
    let leaves: Vec<B256> = (0..=random.below(most)).map(|_| B256::new(random.rng.random())).collect();
    Frontier::from_leaves(leaves).ok_or_else(|| anyhow::anyhow!("a tree has leaves"))
}

fn proved(random: &mut Random, frontier: &Frontier) -> Result<Case> {
    let index = u32::try_from(random.below(usize::try_from(frontier.leaves())?))?;
    let leaf = frontier.node(lockstep_core::frontier::NodePlace { level: 0, index });
    let leaf = leaf.ok_or_else(|| anyhow::anyhow!("the tree has leaf {index}"))?;
    Ok(Case { root: frontier.root(), leaf, index, siblings: frontier.proof(index)? })
}

/// Most of what comes out proves nothing; a deeper tree is right again, up to the deepest.
fn damage(random: &mut Random, case: &mut Case) {
    let flip = |random: &mut Random, word: &mut B256| word[random.below(32)] ^= 1 << random.below(8);
    match random.below(6) {
        0 => flip(random, &mut case.root),
        1 => flip(random, &mut case.leaf),
        2 => case.index ^= 1 << random.below(32),
        3 if !case.siblings.is_empty() => {
            let place = random.below(case.siblings.len());
            flip(random, &mut case.siblings[place]);
        }
        4 => {
            let cut = random.below(case.siblings.len() + 1);
            case.siblings.truncate(cut);
        }
        _ => {
            let depth = 30 + random.below(5);
            while case.siblings.len() < depth {
                let sibling = random.word();
                case.root = node(&case.root, &sibling);
                case.siblings.push(sibling);
            }
        }
    }
}
