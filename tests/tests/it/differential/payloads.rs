//! Smart accounts and tokens, the orders that accounts obey, and recipients of payouts.

use alloy::primitives::{Address, B256, Bytes};
use alloy::sol_types::{SolCall as _, SolInterface as _};
use anyhow::{Context as _, Result, ensure};
use lockstep_core::smart_account::{Call, Order, OrderError, Payload, Registry, StoredOrder};
use lockstep_core::{Account, AssetId, Mix, Uuid};
use rand::RngExt as _;

use super::harness::{AccountContract, Accounts, Differential, Harness, salted};
use super::random::Random;

/// Cases of one call.
const BATCH: usize = 100;
/// Most members of a set that can be paid.
const MEMBERS_MAX: usize = 64;

#[tokio::test]
async fn addresses_of_accounts_and_tokens_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("addresses (account, token)").await?;
    while let Some(size) = harness.batch(BATCH) {
        let (_, contract) = harness.somewhere().await?;
        let random = &mut harness.random;
        let (process, payloads) = (random.uuid(), random.address());
        let users: Vec<B256> = (0..size).map(|_| random.account().0).collect();
        let assets: Vec<B256> = (0..size).map(|_| random.word()).collect();
        let process = B256::left_padding_from(process.as_bytes());
        let code = Accounts::deploy_builder(&harness.provider, *contract.address(), process, payloads);
        let code = code.calldata().clone();
        let registry = Registry(salted(*contract.address(), &code));
        let rust: Vec<(Address, Address)> = users
            .iter()
            .zip(&assets)
            .map(|(user, asset)| (registry.account(Account(*user)), registry.token(AssetId(asset.0))))
            .collect();
        let found = contract.addresses(code, users, assets).call().await?;
        let solidity: Vec<_> = found.accounts.into_iter().zip(found.tokens).collect();
        harness.compare(&rust, &solidity);
    }
    harness.finish().await
}

/// What a payload says, or why it says nothing.
#[derive(Debug, PartialEq)]
enum Reading {
    Stored { storage: Address, key: B256 },
    Order { keep: bool, spender: Address, calls: Vec<(Address, Vec<u8>)> },
    Malformed { offset: usize, length: usize },
    Flags(u8),
    Count(usize),
}

#[tokio::test]
async fn orders_should_be_read_alike() -> Result<()> {
    let mut harness = Harness::start("orders, good and bad").await?;
    let (_, contract) = harness.somewhere().await?;
    let mut kinds = [0_usize; 5];
    while let Some(size) = harness.batch(BATCH) {
        let process = harness.random.uuid();
        let payloads: Vec<Vec<u8>> = (0..size).map(|_| payload(&mut harness.random, process)).collect::<Result<_>>()?;
        let rust: Vec<Reading> = payloads.iter().map(|payload| in_rust(payload, process)).collect::<Result<_>>()?;
        for reading in &rust {
            kinds[match reading {
                Reading::Stored { .. } => 0,
                Reading::Order { .. } => 1,
                Reading::Malformed { .. } => 2,
                Reading::Flags(_) => 3,
                Reading::Count(_) => 4,
            }] += 1;
        }
        let payloads = payloads.into_iter().map(Bytes::from).collect();
        let answers = contract.orders(payloads, B256::left_padding_from(process.as_bytes())).call().await?;
        let solidity: Vec<Reading> = answers.iter().map(|answer| in_solidity(answer)).collect::<Result<_>>()?;
        harness.compare(&rust, &solidity);
    }
    ensure!(kinds.iter().all(|count| *count > 0), "cases of each kind: {kinds:?}");
    harness.finish().await
}

/// An order, a pointer to one, or bytes that are neither; not empty, for that is a deposit.
fn payload(random: &mut Random, process: Uuid) -> Result<Vec<u8>> {
    let mut bytes = match random.below(6) {
        0 => {
            let process = if random.percent(50) { process } else { random.uuid() };
            StoredOrder { process, storage: random.address(), key: random.word() }.encode()
        }
        1 => random.bytes(150),
        _ => order(random).encode()?,
    };
    if random.percent(40) {
        random.damage(&mut bytes);
    }
    // The first two bytes decide nearly everything, and are rarely hit.
    if random.percent(10) && bytes.len() > 1 {
        bytes[random.below(2)] = u8::try_from(random.below(20))?;
    }
    Ok(if bytes.is_empty() { vec![0] } else { bytes })
}

fn order(random: &mut Random) -> Order {
    let calls = (0..=random.below(16)).map(|_| Call { target: random.address(), data: random.bytes(120) }).collect();
    let spender = random.percent(40).then(|| random.address());
    Order { keep: random.percent(50), spender, calls }
}

fn in_rust(payload: &[u8], process: Uuid) -> Result<Reading> {
    Ok(match Payload::decode(payload, process) {
        Ok(Payload::Stored(stored)) => Reading::Stored { storage: stored.storage, key: stored.key },
        Ok(Payload::Order(order)) => {
            let first = order.calls.first().context("an order has calls")?.target;
            let spender = order.spender.unwrap_or(first);
            let calls = order.calls.into_iter().map(|call| (call.target, call.data)).collect();
            Reading::Order { keep: order.keep, spender, calls }
        }
        Ok(Payload::Deposit) => anyhow::bail!("nothing is no case"),
        Err(OrderError::Malformed { offset, length }) => Reading::Malformed { offset, length },
        Err(OrderError::Flags(flags)) => Reading::Flags(flags),
        Err(OrderError::Count(count)) => Reading::Count(count),
        Err(error @ OrderError::DataTooLong { .. }) => return Err(error.into()),
    })
}

fn in_solidity(answer: &[u8]) -> Result<Reading> {
    use AccountContract::AccountErrors as Errors;
    let (taken, answer) = answer.split_first().context("an answer")?;
    if *taken == 1 {
        let read = Differential::orderCall::abi_decode_returns(answer)?;
        let calls = read.targets.into_iter().zip(read.datas).map(|(target, data)| (target, data.to_vec())).collect();
        return Ok(if read.isStored {
            Reading::Stored { storage: read.place, key: read.key }
        } else {
            Reading::Order { keep: read.keep, spender: read.spender, calls }
        });
    }
    let error = Errors::abi_decode(answer)?;
    if let Errors::MalformedOrder(error) = &error {
        return Ok(Reading::Malformed { offset: error.offset.try_into()?, length: error.length.try_into()? });
    }
    if let Errors::UnknownFlags(error) = &error {
        return Ok(Reading::Flags(error.flags));
    }
    if let Errors::InvalidCount(error) = &error {
        return Ok(Reading::Count(error.count.try_into()?));
    }
    anyhow::bail!("an account refuses an order by {error:?}")
}

#[tokio::test]
async fn recipients_should_be_taken_alike() -> Result<()> {
    let mut harness = Harness::start("recipients, good and bad").await?;
    let (_, contract) = harness.somewhere().await?;
    let mut verdicts = [0_usize; 2];
    while let Some(size) = harness.batch(BATCH) {
        let given: Vec<Vec<u8>> = (0..size).map(|_| recipient(&mut harness.random)).collect();
        let rust: Vec<bool> = given.iter().map(|bytes| is_taken(bytes)).collect();
        rust.iter().for_each(|taken| verdicts[usize::from(*taken)] += 1);
        let given = given.into_iter().map(Bytes::from).collect();
        harness.compare(&rust, &contract.recipients(given).call().await?);
    }
    ensure!(verdicts.iter().all(|count| *count > 0), "good and bad recipients: {verdicts:?}");
    harness.finish().await
}

fn recipient(random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.below(6) {
        0 => random.account().0.to_vec(),
        1 => random.bytes(100),
        // Perhaps too many members, and a threshold that nobody reaches.
        2 => {
            let members: Vec<Uuid> = (0..random.below(70)).map(|_| random.uuid()).collect();
            Mix::of_users(members, random.rng.random_range(0..70)).to_payload()
        }
        _ => random.mix().to_payload(),
    };
    if random.percent(50) {
        random.damage(&mut bytes);
    }
    bytes
}

/// An account, or a set that could sign. The contract does not look for equal members; the group does, and bounces.
fn is_taken(bytes: &[u8]) -> bool {
    if let Ok(account) = <[u8; 32]>::try_from(bytes) {
        return account != [0; 32];
    }
    Mix::from_payload(bytes).is_ok_and(|mix| {
        let members = mix.members().len();
        let could_sign = (1..=members).contains(&usize::from(mix.threshold())) && members <= MEMBERS_MAX;
        assert!(could_sign || !mix.is_legal(), "the group pays whom the contract refuses");
        could_sign
    })
}
