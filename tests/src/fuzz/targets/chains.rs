//! What an EVM chain's endpoint answers: the envelope, logs, and what contracts return.

use std::collections::BTreeMap;

use alloy::primitives::{Bytes, Log as EventLog, LogData, U256};
use alloy::rpc::json_rpc::ResponsePacket;
use alloy::rpc::types::{Block, FeeHistory, Log, TransactionReceipt};
use alloy::sol_types::{SolCall, SolError as _, SolEvent as _};
use lockstep::evm::abi::Group;
use lockstep::evm::governance::governed;
use lockstep::evm::watcher::read_logs;
use lockstep::world::chain::Cursor;
use lockstep_core::bls::PublicKey;
use lockstep_core::derive::Record;
use lockstep_core::govern::Action;
use lockstep_core::{Address, B256};
use serde_json::{Value, json};

use super::{Target, Verdict, dealing, json as bytes_of, same, target};

const CONTRACT: Address = Address::repeat_byte(7);
const FROM: Cursor = Cursor { block: 10, hash: None, next_outbound: 3, accepted: 5 };
const LAST: u64 = 20;

pub(super) fn targets() -> Vec<Target> {
    vec![
        target(
            "chain records",
            vec![bytes_of(&[accepted(), outbound(9, 1)]), bytes_of(&[outbound(5, 0)])],
            read_records,
        ),
        target("chain governed logs", vec![bytes_of(&[accepted(), governed_log()])], |bytes| {
            let Ok(logs) = serde_json::from_slice::<Vec<Log>>(bytes) else { return Verdict::Refused };
            let Some((kind, data)) = governed(&logs) else { return Verdict::Refused };
            // The contract may know more actions than this program: then its bytes are shown as they are.
            let Ok(action) = Action::decode(kind, &data) else { return Verdict::Refused };
            same(action.data().is_ok_and(|again| again == data))
        }),
        target("chain RPC envelope", envelopes(), |bytes| {
            let Ok(packet) = serde_json::from_slice::<ResponsePacket>(bytes) else { return Verdict::Refused };
            for response in packet.responses() {
                // Why a call would fail, in the contract's words.
                let error = response.payload.as_error();
                let _ = error.and_then(|error| error.as_decoded_interface_error::<Group::GroupErrors>());
                let Some(result) = response.payload.as_success().map(|result| result.get()) else { continue };
                let _ = serde_json::from_str::<Vec<Log>>(result);
                let _ = serde_json::from_str::<Option<Block>>(result);
                let _ = serde_json::from_str::<Option<TransactionReceipt>>(result);
                let _ = serde_json::from_str::<FeeHistory>(result);
                let _ = (serde_json::from_str::<Bytes>(result), serde_json::from_str::<U256>(result));
            }
            Verdict::Taken
        }),
        target("chain calls", calls(), read_call),
    ]
}

/// Records say all of what an outbound's log says; of an accepted checkpoint they keep the sequence.
fn read_records(bytes: &[u8]) -> Verdict {
    let Ok(logs) = serde_json::from_slice::<Vec<Log>>(bytes) else { return Verdict::Refused };
    let times: BTreeMap<u64, u64> = (0..=LAST).map(|block| (block, 1_700_000_000 + block)).collect();
    let (records, cursor) = match read_logs(CONTRACT, FROM, LAST, &logs, &times) {
        Ok(read) => read,
        Err(error) => {
            let _ = (error.is_contradiction(), error.to_string());
            return Verdict::Refused;
        }
    };
    let outbounds = records.iter().filter(|record| matches!(record, Record::Outbound(_))).count();
    let counted = cursor.next_outbound.checked_sub(FROM.next_outbound) == u64::try_from(outbounds).ok();
    let written = records.iter().zip(&logs).all(|(record, log)| match record {
        Record::Outbound(outbound) => {
            let event = Group::Outbound {
                nonce: outbound.k,
                process: B256::left_padding_from(outbound.process.as_bytes()),
                sequence: outbound.s,
                asset: B256::from(outbound.asset.0),
                amount: U256::from(outbound.amount.units()),
                recipient: outbound.recipient.clone().into(),
                memo: outbound.memo.clone().into(),
            };
            event.encode_log_data() == log.inner.data
        }
        Record::Accepted { s: sequence, .. } => {
            let event = Group::Accepted::decode_log_data(&log.inner.data);
            event.is_ok_and(|event| event.sequence == *sequence && event.encode_log_data() == log.inner.data)
        }
    });
    same(counted && records.len() == logs.len() && written)
}

fn log(block: u64, index: u64, data: LogData) -> Log {
    let (block_number, log_index) = (Some(block), Some(index));
    let inner = EventLog { address: CONTRACT, data };
    Log { inner, block_hash: Some(B256::repeat_byte(1)), block_number, log_index, ..Log::default() }
}

fn accepted() -> Log {
    let event = Group::Accepted { sequence: 9, history: B256::repeat_byte(2), root: B256::repeat_byte(3) };
    log(11, 0, event.encode_log_data())
}

/// The first outbound behind the cursor, at the sequence that the cursor or [`accepted`] has.
fn outbound(sequence: u64, index: u64) -> Log {
    let event = Group::Outbound {
        nonce: 3,
        process: B256::left_padding_from(&[9]),
        sequence,
        asset: B256::repeat_byte(1),
        amount: U256::from(50),
        recipient: Bytes::from_static(&[2; 32]),
        memo: Bytes::from_static(b"memo"),
    };
    log(11, index, event.encode_log_data())
}

fn governed_log() -> Log {
    let action = Action::Repay { tip_wei: 1_000, gas_per_byte: 16 };
    let data = action.data().expect("it has bytes").into();
    log(12, 3, Group::Governed { nonce: 4, kind: action.kind(), data }.encode_log_data())
}

fn envelopes() -> Vec<Vec<u8>> {
    let reply = |result: Value| json!({ "jsonrpc": "2.0", "id": 3, "result": result });
    let block = serde_json::to_value(Block::<()>::default()).expect("JSON");
    let revert = Bytes::from(Group::InvalidProof { process: B256::left_padding_from(&[9]) }.abi_encode());
    let error = json!({ "jsonrpc": "2.0", "id": 3, "error": { "code": 3, "message": "reverted", "data": revert } });
    let values = [
        reply(json!([accepted(), governed_log()])),
        reply(block),
        reply(json!("0x2a")),
        reply(Value::Null),
        json!([reply(json!("0x2a")), error]),
        error,
    ];
    values.iter().map(bytes_of).collect()
}

/// One of the views that members read, behind its number.
fn calls() -> Vec<Vec<u8>> {
    let key = Bytes::copy_from_slice(&dealing().group.key().to_eip2537());
    let answers = [
        Group::keyCall::abi_encode_returns(&key),
        Group::groupIdCall::abi_encode_returns(&B256::repeat_byte(1)),
        Group::instanceCall::abi_encode_returns(&B256::repeat_byte(2)),
        Group::recoveryCall::abi_encode_returns(&CONTRACT),
        Group::silenceDaysCall::abi_encode_returns(&30),
        Group::keyGenerationCall::abi_encode_returns(&2),
        Group::outboundNonceCall::abi_encode_returns(&3),
        Group::sequenceCall::abi_encode_returns(&4),
        Group::governanceNonceCall::abi_encode_returns(&5),
        Group::haltedCall::abi_encode_returns(&true),
    ];
    (0..).zip(answers).map(|(number, answer)| [vec![number], answer].concat()).collect()
}

fn read_call(bytes: &[u8]) -> Verdict {
    let Some((number, answer)) = bytes.split_first() else { return Verdict::Refused };
    match number {
        0 => match Group::keyCall::abi_decode_returns(answer) {
            Ok(key) => PublicKey::from_bytes(&key).map_or(Verdict::Refused, |read| {
                // The contract keeps one of the forms.
                same(key.len() != 256 || read.to_eip2537() == **key)
            }),
            Err(_) => Verdict::Refused,
        },
        1 => returned::<Group::groupIdCall>(answer),
        2 => returned::<Group::instanceCall>(answer),
        3 => returned::<Group::recoveryCall>(answer),
        4 => returned::<Group::silenceDaysCall>(answer),
        5 => returned::<Group::keyGenerationCall>(answer),
        6 => returned::<Group::outboundNonceCall>(answer),
        7 => returned::<Group::sequenceCall>(answer),
        8 => returned::<Group::governanceNonceCall>(answer),
        9 => returned::<Group::haltedCall>(answer),
        _ => Verdict::Refused,
    }
}

/// The library's decoder takes words with other padding: what was read must be stable from then on.
fn returned<C: SolCall<Return: PartialEq>>(answer: &[u8]) -> Verdict {
    let Ok(read) = C::abi_decode_returns(answer) else { return Verdict::Refused };
    same(C::abi_decode_returns(&C::abi_encode_returns(&read)).is_ok_and(|again| again == read))
}
