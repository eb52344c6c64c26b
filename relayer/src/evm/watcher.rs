//! Reads the records of one chain in their final order.
//!
//! It believes one endpoint, whose operator could invent a chain that fits; a quorum with receipt proofs has its place
//! behind [`ReadChain`] (DESIGN.md section 4). What the endpoint says must fit together: the block of the cursor keeps
//! its hash, every log lies in a block of the hash that the endpoint itself names, outbounds are numbered without gaps,
//! accepted sequences only grow, and at the newest final block the contract's own counters equal what the logs showed.

use std::collections::BTreeMap;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, LogData};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Header, Log};
use alloy::sol_types::SolEvent;
use alloy::transports::TransportError;
use lockstep_core::bls::PublicKey;
use lockstep_core::derive::{Outbound, Record};
use lockstep_core::group::Finality;
use lockstep_core::{Amount, AssetId, Uuid};

use crate::evm::abi::Group;
use crate::evm::provider::{EvmProvider, wants_less};
use crate::world::chain::{ChainError, Contradiction, Cursor, ReadChain, RecordPage};

/// Most blocks of one page: endpoints commonly refuse log queries over more than a few thousand.
pub const BLOCKS_MAX: u64 = 2_000;
/// Most bytes of a recipient or memo in a log. The contract's own limits are far lower; more was not written by it.
pub const FIELD_MAX: usize = 8 * 1024;
/// Nanoseconds in a second: block times count seconds, ledger times nanoseconds.
const NANOS: u64 = 1_000_000_000;

/// Reads one chain through one endpoint.
#[derive(Clone, Debug)]
pub struct ChainReader {
    provider: EvmProvider,
    contract: Address,
    finality: Finality,
}

impl ChainReader {
    /// A reader of the group contract at `contract`.
    pub const fn new(provider: EvmProvider, contract: Address, finality: Finality) -> Self {
        Self { provider, contract, finality }
    }

    /// The group key that the contract had in the newest final block.
    ///
    /// # Errors
    /// Where the endpoint fails, or answers with what is no key.
    pub async fn key(&self) -> Result<PublicKey, ChainError> {
        const DOING: &str = "reading the contract's key";
        let block = BlockId::hash(self.final_header().await?.hash);
        let key = Group::new(self.contract, &self.provider).key().block(block).call().await;
        let key = key.map_err(|source| ChainError::Endpoint { doing: DOING, source: Box::new(source) })?;
        PublicKey::from_bytes(&key).map_err(|error| ChainError::Incomplete { doing: DOING, what: error.to_string() })
    }

    /// The newest final block: number, hash and time.
    async fn final_header(&self) -> Result<Header, ChainError> {
        const DOING: &str = "reading the newest final block";
        match self.finality {
            Finality::Finalized => self.header(BlockNumberOrTag::Finalized, DOING).await,
            Finality::Depth(depth) => {
                let latest = self.provider.get_block_number().await.map_err(endpoint(DOING))?;
                self.header(BlockNumberOrTag::Number(latest.saturating_sub(depth)), DOING).await
            }
        }
    }

    async fn header(&self, number: BlockNumberOrTag, doing: &'static str) -> Result<Header, ChainError> {
        let block = self.provider.get_block_by_number(number).await.map_err(endpoint(doing))?;
        let missing = || ChainError::Incomplete { doing, what: format!("block {number} is missing") };
        let header = block.ok_or_else(missing)?.header;
        if let BlockNumberOrTag::Number(number) = number
            && header.number != number
        {
            let what = format!("asked for block {number}, got {}", header.number);
            return Err(ChainError::Incomplete { doing, what });
        }
        Ok(header)
    }

    /// The block that ends the cursor must be what it was.
    async fn check_cursor(&self, from: &Cursor) -> Result<(), ChainError> {
        let Some(was) = from.hash else { return Ok(()) };
        let header = self.header(BlockNumberOrTag::Number(from.block), "reading the cursor's block again").await?;
        if header.hash == was {
            return Ok(());
        }
        Err(Contradiction::BlockChanged { block: from.block, was, is: header.hash }.into())
    }

    /// The logs of a range, of the two events that are records.
    async fn logs(&self, first: u64, last: u64) -> Result<Vec<Log>, TransportError> {
        let events = vec![Group::Accepted::SIGNATURE_HASH, Group::Outbound::SIGNATURE_HASH];
        let filter = Filter::new().address(self.contract).from_block(first).to_block(last).event_signature(events);
        self.provider.get_logs(&filter).await
    }

    /// The logs behind `from`, and the last block they cover. A range that the endpoint finds too large, or whose logs are
    /// more than we read, is halved: anybody can fill blocks with outbounds of their own, and must not stop the reader.
    async fn logs_after(&self, from: u64, last: u64) -> Result<(Vec<Log>, u64), ChainError> {
        let first = from.saturating_add(1);
        let mut last = last;
        loop {
            match self.logs(first, last).await {
                Ok(logs) => return Ok((logs, last)),
                Err(error) if wants_less(&error) && last > first => {
                    last = first.saturating_add(last.saturating_sub(first).div_euclid(2));
                }
                Err(error) => return Err(endpoint("reading logs")(error)),
            }
        }
    }

    /// The times of all blocks that hold a log, whose hashes must be those that the logs name.
    async fn times(&self, logs: &[Log]) -> Result<BTreeMap<u64, u64>, ChainError> {
        const DOING: &str = "reading the block of a log";
        let mut times = BTreeMap::new();
        for log in logs {
            let (Some(number), Some(hash)) = (log.block_number, log.block_hash) else {
                return Err(ChainError::Incomplete {
                    doing: DOING,
                    what: "a log of a final block has no block".to_owned(),
                });
            };
            if times.contains_key(&number) {
                continue;
            }
            let header = self.header(BlockNumberOrTag::Number(number), DOING).await?;
            if header.hash != hash {
                let what = format!("a log of block {number} names the hash {hash}, the block has {}", header.hash);
                return Err(ChainError::Incomplete { doing: DOING, what });
            }
            times.insert(number, header.timestamp);
        }
        Ok(times)
    }

    /// At the newest final block, by hash, the contract must have counted what the logs showed.
    async fn check_counters(&self, cursor: &Cursor, hash: B256) -> Result<(), ChainError> {
        const DOING: &str = "comparing with the contract's counters";
        let group = Group::new(self.contract, &self.provider);
        let at = BlockId::hash(hash);
        let failed = |error: alloy::contract::Error| ChainError::Endpoint { doing: DOING, source: Box::new(error) };
        let counted = group.outboundNonce().block(at).call().await.map_err(failed)?;
        let accepted = group.sequence().block(at).call().await.map_err(failed)?;
        if counted < cursor.next_outbound {
            return Err(Contradiction::Counter { block: cursor.block, counted, seen: cursor.next_outbound }.into());
        }
        if accepted < cursor.accepted {
            let (block, found) = (cursor.block, accepted);
            return Err(Contradiction::Sequence { block, accepted: cursor.accepted, found }.into());
        }
        if counted > cursor.next_outbound || accepted > cursor.accepted {
            let what = format!(
                "the logs up to block {} show outbounds below {} and ledger sequence {}, the contract has {counted} and {accepted}",
                cursor.block, cursor.next_outbound, cursor.accepted
            );
            return Err(ChainError::Incomplete { doing: DOING, what });
        }
        Ok(())
    }
}

impl ReadChain for ChainReader {
    async fn records(&self, from: Cursor, blocks: u64) -> Result<RecordPage, ChainError> {
        let final_header = self.final_header().await?;
        if final_header.number < from.block && from.hash.is_some() {
            let what = format!("block {} was final, now only {} is", from.block, final_header.number);
            return Err(ChainError::Incomplete { doing: "reading the newest final block", what });
        }
        self.check_cursor(&from).await?;
        let final_block = final_header.number;
        if final_block <= from.block {
            return Ok(RecordPage { records: Vec::new(), cursor: from, final_block });
        }
        let last = from.block.saturating_add(blocks.clamp(1, BLOCKS_MAX)).min(final_block);
        let (logs, last) = self.logs_after(from.block, last).await?;
        let times = self.times(&logs).await?;
        let (records, mut cursor) = read_logs(self.contract, from, last, &logs, &times)?;
        let end = match last == final_block {
            true => final_header,
            false => self.header(BlockNumberOrTag::Number(last), "reading the last block of a page").await?,
        };
        cursor.hash = Some(end.hash);
        if last == final_block {
            self.check_counters(&cursor, end.hash).await?;
        }
        Ok(RecordPage { records, cursor, final_block })
    }
}

/// Reads the logs of the blocks behind `from` up to `last`; `times` has the time of each block that holds one, in seconds
/// since 1970. Pure: every doubt about the numbering is an error.
///
/// # Errors
/// [`ChainError::Incomplete`] where the endpoint gives other logs than were asked for, [`ChainError::Contradiction`] for what
/// the contract cannot have written.
pub fn read_logs(
    contract: Address,
    from: Cursor,
    last: u64,
    logs: &[Log],
    times: &BTreeMap<u64, u64>,
) -> Result<(Vec<Record>, Cursor), ChainError> {
    let mut cursor = Cursor { block: last, hash: None, ..from };
    let mut place = (from.block, u64::MAX);
    let mut records = Vec::with_capacity(logs.len());
    for log in logs {
        let incomplete = |what: &str| ChainError::Incomplete { doing: "reading logs", what: what.to_owned() };
        let (Some(block), Some(index)) = (log.block_number, log.log_index) else {
            return Err(incomplete("a log of a final block has no place"));
        };
        if log.removed || log.address() != contract || block > last {
            return Err(incomplete("a log that was not asked for"));
        }
        if (block, index) <= place {
            return Err(incomplete("the logs are not in order"));
        }
        place = (block, index);
        let seconds = *times.get(&block).ok_or_else(|| incomplete("the block of a log is missing"))?;
        let malformed = |what| Contradiction::Log { block, index, what };
        let time = seconds.checked_mul(NANOS).ok_or_else(|| malformed("its block time does not fit"))?;
        let record = read_log(log, time).map_err(malformed)?;
        follow(&mut cursor, &record, block)?;
        records.push(record);
    }
    Ok((records, cursor))
}

/// Advances the cursor over one record, which must follow what it has seen.
const fn follow(cursor: &mut Cursor, record: &Record, block: u64) -> Result<(), Contradiction> {
    match record {
        Record::Accepted { s: sequence, .. } => {
            if *sequence <= cursor.accepted {
                return Err(Contradiction::Sequence { block, accepted: cursor.accepted, found: *sequence });
            }
            cursor.accepted = *sequence;
        }
        Record::Outbound(outbound) => {
            if outbound.k != cursor.next_outbound {
                let (expected, found) = (cursor.next_outbound, outbound.k);
                return Err(Contradiction::OutboundGap { block, expected, found });
            }
            if outbound.s != cursor.accepted {
                return Err(Contradiction::Sequence { block, accepted: cursor.accepted, found: outbound.s });
            }
            cursor.next_outbound = cursor.next_outbound.saturating_add(1);
        }
    }
    Ok(())
}

/// One log of the group contract. Anything that its code cannot write is named.
fn read_log(log: &Log, time: u64) -> Result<Record, &'static str> {
    let data = &log.inner.data;
    match data.topics().first() {
        Some(&Group::Accepted::SIGNATURE_HASH) => {
            let event = written::<Group::Accepted>(data).ok_or("a malformed Accepted event")?;
            Ok(Record::Accepted { s: event.sequence, time })
        }
        Some(&Group::Outbound::SIGNATURE_HASH) => {
            let event = written::<Group::Outbound>(data).ok_or("a malformed Outbound event")?;
            outbound(event, time).map(Record::Outbound)
        }
        _ => Err("an event that was not asked for"),
    }
}

/// An event in the one form that a contract writes. The decoder alone takes others too, such as bytes behind the last field.
fn written<E: SolEvent>(data: &LogData) -> Option<E> {
    E::decode_log_data_validate(data).ok().filter(|event| event.encode_log_data() == *data)
}

fn outbound(event: Group::Outbound, time: u64) -> Result<Outbound, &'static str> {
    if event.recipient.len() > FIELD_MAX || event.memo.len() > FIELD_MAX {
        return Err("an Outbound event with an oversized recipient or memo");
    }
    let amount = u128::try_from(event.amount).map_err(|_| "an Outbound event with an amount above 2^128")?;
    Ok(Outbound {
        k: event.nonce,
        process: process_id(event.process).ok_or("an Outbound event of something that is no process id")?,
        asset: AssetId(event.asset.0),
        amount: Amount::from_units(amount),
        recipient: event.recipient.to_vec(),
        memo: event.memo.to_vec(),
        s: event.sequence,
        time,
    })
}

/// A process id on chain is the UUID, right-aligned in 32 bytes.
fn process_id(word: B256) -> Option<Uuid> {
    let (padding, id) = word.0.split_at_checked(16)?;
    padding.iter().all(|byte| *byte == 0).then_some(())?;
    Uuid::from_slice(id).ok()
}

fn endpoint(doing: &'static str) -> impl Fn(TransportError) -> ChainError {
    move |error| ChainError::Endpoint { doing, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Bytes, U256};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::evm::provider::provider;

    const CONTRACT: Address = Address::repeat_byte(7);
    const FROM: Cursor = Cursor { block: 10, hash: None, next_outbound: 3, accepted: 5 };

    fn log(block: u64, index: u64, data: LogData) -> Log {
        let inner = alloy::primitives::Log { address: CONTRACT, data };
        Log { inner, block_number: Some(block), log_index: Some(index), ..Log::default() }
    }

    fn event(nonce: u64, sequence: u64) -> Group::Outbound {
        Group::Outbound {
            nonce,
            process: B256::left_padding_from(&[9]),
            sequence,
            asset: B256::repeat_byte(1),
            amount: U256::from(50),
            recipient: Bytes::from_static(&[2; 32]),
            memo: Bytes::from_static(b"memo"),
        }
    }

    fn accepted(sequence: u64) -> LogData {
        Group::Accepted { sequence, history: B256::ZERO, root: B256::ZERO }.encode_log_data()
    }

    fn read(logs: &[Log]) -> Result<(Vec<Record>, Cursor), ChainError> {
        let times = (0..=20).map(|block| (block, block)).collect();
        read_logs(CONTRACT, FROM, 20, logs, &times)
    }

    fn contradiction(logs: &[Log]) -> Contradiction {
        match read(logs) {
            Err(ChainError::Contradiction(contradiction)) => contradiction,
            other => panic!("no contradiction: {other:?}"),
        }
    }

    /// An endpoint whose answer to a question about more than `blocks` blocks is longer than we read.
    async fn endpoint_with_many_logs(blocks: u64) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let bound = |name: &str| {
                    let digits = asked.split(&format!("\"{name}\":\"0x")).nth(1)?.split('"').next()?;
                    u64::from_str_radix(digits, 16).ok()
                };
                let (first, last) = (bound("fromBlock").expect("a range"), bound("toBlock").expect("a range"));
                let reply = if last.saturating_sub(first) >= blocks {
                    "HTTP/1.1 200 OK\r\ncontent-length: 99000000\r\nconnection: close\r\n\r\n".to_owned()
                } else {
                    let body = r#"{"jsonrpc":"2.0","id":0,"result":[]}"#;
                    let id =
                        asked.split("\"id\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).unwrap_or("0");
                    let body = body.replace("\"id\":0", &format!("\"id\":{id}"));
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
                };
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        url
    }

    #[tokio::test]
    async fn more_logs_than_are_read_should_be_asked_for_in_parts() {
        let endpoint = endpoint_with_many_logs(3).await;
        let reader = ChainReader::new(provider(&endpoint).expect("a provider"), CONTRACT, Finality::Finalized);
        let (logs, last) = reader.logs_after(10, 510).await.expect("parts that fit");
        assert!(logs.is_empty() && (11..=13).contains(&last), "{last}");
        let hopeless = endpoint_with_many_logs(0).await;
        let reader = ChainReader::new(provider(&hopeless).expect("a provider"), CONTRACT, Finality::Finalized);
        assert!(matches!(reader.logs_after(10, 510).await, Err(ChainError::Endpoint { .. })));
    }

    #[test]
    fn a_gap_or_a_copy_of_an_outbound_should_contradict() {
        for found in [2, 4] {
            let gap = contradiction(&[log(11, 0, event(found, 5).encode_log_data())]);
            assert_eq!(gap, Contradiction::OutboundGap { block: 11, expected: 3, found });
        }
    }

    #[test]
    fn sequences_that_fall_or_jump_should_contradict() {
        for logs in [
            vec![log(11, 0, accepted(5))],
            vec![log(11, 0, accepted(4))],
            vec![log(11, 0, event(3, 4).encode_log_data())],
            vec![log(11, 0, event(3, 6).encode_log_data())],
            vec![log(11, 0, accepted(8)), log(11, 1, event(3, 5).encode_log_data())],
        ] {
            assert!(matches!(contradiction(&logs), Contradiction::Sequence { block: 11, .. }));
        }
    }

    #[test]
    fn logs_that_the_contract_cannot_write_should_contradict() {
        let good = event(3, 5).encode_log_data();
        let topics = good.topics().to_vec();
        let oversized = Group::Outbound { memo: vec![0; FIELD_MAX + 1].into(), ..event(3, 5) };
        let too_much = Group::Outbound { amount: U256::from(1) << 128, ..event(3, 5) };
        let no_process = Group::Outbound { process: B256::repeat_byte(9), ..event(3, 5) };
        let mut wide_topic = topics.clone();
        wide_topic[1] = B256::repeat_byte(0xff);
        let behind = [&good.data[..], &[0; 32]].concat().into();
        let mut padded = good.data.to_vec();
        *padded.last_mut().expect("behind the memo") = 1;
        let padded = padded.into();
        for data in [
            LogData::new_unchecked(topics[..2].to_vec(), good.data.clone()),
            LogData::new_unchecked([&topics[..], &topics[..1]].concat(), good.data.clone()),
            LogData::new_unchecked(wide_topic, good.data.clone()),
            LogData::new_unchecked(topics.clone(), good.data.slice(..good.data.len() - 32)),
            LogData::new_unchecked(topics.clone(), Bytes::new()),
            LogData::new_unchecked(topics.clone(), behind),
            LogData::new_unchecked(topics.clone(), padded),
            LogData::new_unchecked(vec![], good.data.clone()),
            LogData::new_unchecked(vec![B256::ZERO], good.data.clone()),
            oversized.encode_log_data(),
            too_much.encode_log_data(),
            no_process.encode_log_data(),
        ] {
            assert!(matches!(contradiction(&[log(11, 4, data)]), Contradiction::Log { block: 11, index: 4, .. }));
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_the_question_should_be_asked_again() {
        let data = event(3, 5).encode_log_data();
        let good = log(11, 0, data.clone());
        let other = alloy::primitives::Log { address: Address::ZERO, data: data.clone() };
        for logs in [
            vec![log(21, 0, data.clone())],
            vec![log(10, 0, data.clone())],
            vec![log(12, 0, data.clone()), good.clone()],
            vec![good.clone(), good.clone()],
            vec![Log { removed: true, ..good.clone() }],
            vec![Log { inner: other, ..good.clone() }],
            vec![Log { block_number: None, ..good.clone() }],
            vec![Log { log_index: None, ..good }],
        ] {
            assert!(matches!(read(&logs), Err(ChainError::Incomplete { .. })), "{logs:?}");
        }
    }

    #[test]
    fn records_should_come_in_order_with_their_times() {
        let logs = [
            log(11, 3, event(3, 5).encode_log_data()),
            log(12, 0, accepted(9)),
            log(12, 1, event(4, 9).encode_log_data()),
        ];
        let (records, cursor) = read(&logs).expect("good logs");
        assert_eq!(cursor, Cursor { block: 20, hash: None, next_outbound: 5, accepted: 9 });
        assert_eq!(records[1], Record::Accepted { s: 9, time: 12 * NANOS });
        let last = Outbound {
            k: 4,
            process: Uuid::from_u128(9),
            asset: AssetId([1; 32]),
            amount: Amount::from_units(50),
            recipient: vec![2; 32],
            memo: b"memo".to_vec(),
            s: 9,
            time: 12 * NANOS,
        };
        assert_eq!(records[2], Record::Outbound(last));
    }
}
