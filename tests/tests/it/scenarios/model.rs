//! A scenario file as the core's types, and a member's state in the file's words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lockstep_core::derive::{
    AssetRule, ChainRule, Class, CoinRef, Config, Derived, DerivedMemo, Fee, Outbound, Payee, Record,
};
use lockstep_core::message::{Message, MessageKind};
use lockstep_core::operation::{Caps, Decision, DecisionBody, Memo, MemoKind, Operation, Policy, Registration};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::trace::{ChainId, Trace};
use lockstep_core::{Account, Amount, AssetId, Mix, Uuid};
use serde_json::{Map, Value, json};

use super::Member;
use super::names::{address, asset, asset_name, chain, chain_name, hash, mix, mix_name, recipient, user, user_name};

/// A file of `tests/scenarios`.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) about: String,
    pub(crate) config: Config,
    pub(crate) ledger: Vec<(Output, Memo)>,
    pub(crate) records: BTreeMap<ChainId, Vec<Record>>,
    pub(crate) expected: Value,
    /// What the memos of outbounds look like in the file.
    memos: BTreeMap<Vec<u8>, Value>,
    /// What accounts stand for.
    accounts: BTreeMap<Account, String>,
}

impl Scenario {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let json: Value = serde_json::from_str(&text)?;
        let rows = list(&json["ledger"])?;
        let mut coins = BTreeMap::new();
        for row in rows {
            coins.insert(string(&row["id"])?, coin(row)?);
        }
        let mut scenario = Self {
            about: string(&json["about"]).unwrap_or_default().to_owned(),
            config: config(&json["config"]).context("config")?,
            ledger: Vec::new(),
            records: BTreeMap::new(),
            expected: json["expected"].clone(),
            memos: BTreeMap::new(),
            accounts: BTreeMap::new(),
        };
        for row in rows {
            let (output, memo) = row_of(row, &coins).with_context(|| format!("row {}", row["id"]))?;
            if let Some(senders) = &output.senders {
                scenario.accounts.insert(Account::of(senders), mix_name(senders));
            }
            scenario.ledger.push((output, memo));
        }
        for (name, records) in entries(&json["records"])? {
            for json in list(records)? {
                let record = record(json).with_context(|| format!("record {json}"))?;
                if let Record::Outbound(outbound) = &record {
                    scenario.memos.insert(outbound.memo.clone(), json["memo"].clone());
                }
                scenario.records.entry(chain(name)?).or_default().push(record);
            }
        }
        Ok(scenario)
    }
}

fn string(json: &Value) -> Result<&str> {
    json.as_str().with_context(|| format!("{json} is no text"))
}

fn number(json: &Value) -> Result<u64> {
    json.as_u64().with_context(|| format!("{json} is no number"))
}

fn amount(json: &Value) -> Result<Amount> {
    Ok(Amount::from_units(number(json)?.into()))
}

fn list(json: &Value) -> Result<&Vec<Value>> {
    json.as_array().with_context(|| format!("{json} is no list"))
}

fn entries(json: &Value) -> Result<&Map<String, Value>> {
    json.as_object().with_context(|| format!("{json} has no fields"))
}

/// Seconds of the file as nanoseconds.
fn time(json: &Value) -> Result<u64> {
    number(json)?.checked_mul(1_000_000_000).context("a time")
}

fn names(json: &Value) -> Result<Vec<Uuid>> {
    list(json)?.iter().map(|name| user(string(name)?)).collect()
}

fn set(json: &Value) -> Result<Mix> {
    Ok(Mix::of_users(names(&json["members"])?, u8::try_from(number(&json["threshold"])?)?))
}

fn rule(json: &Value) -> Result<AssetRule> {
    Ok(AssetRule { minimum: amount(&json["minimum"])?, floor: amount(&json["floor"])? })
}

fn caps(json: &Value) -> Result<Caps> {
    Ok(Caps { payout: amount(&json["payout"])?, hour: amount(&json["hour"])?, day: amount(&json["day"])? })
}

fn config(json: &Value) -> Result<Config> {
    let chain_rule = |json: &Value| -> Result<ChainRule> {
        let (payload_max, gas_max) = (number(&json["payload"])?, number(&json["gas"])?);
        Ok(ChainRule { payload_max: usize::try_from(payload_max)?, gas_max: u32::try_from(gas_max)? })
    };
    let of_chain = |json: &Value| -> Result<BTreeMap<AssetId, Caps>> {
        entries(json)?.iter().map(|(name, json)| Ok((asset(name)?, caps(json)?))).collect()
    };
    let (assets, chains) = (entries(&json["assets"])?, entries(&json["chains"])?);
    Ok(Config {
        group: set(&json["group"])?,
        fee: Fee { asset: asset(string(&json["fee"]["asset"])?)?, amount: amount(&json["fee"]["amount"])? },
        default: rule(&json["default"])?,
        assets: assets.iter().map(|(name, json)| Ok((asset(name)?, rule(json)?))).collect::<Result<_>>()?,
        chains: chains.iter().map(|(name, json)| Ok((chain(name)?, chain_rule(json)?))).collect::<Result<_>>()?,
        caps: entries(&json["limits"])?
            .iter()
            .map(|(name, json)| Ok((chain(name)?, of_chain(json)?)))
            .collect::<Result<_>>()?,
        delay_unknown_ns: time(&json["delays"]["unknown"])?,
        delay_over_ns: time(&json["delays"]["over"])?,
        window_hour_ns: time(&json["windows"]["hour"])?,
        window_day_ns: time(&json["windows"]["day"])?,
        inputs_max: usize::try_from(number(&json["inputs"])?)?,
        sweep_max: usize::try_from(number(&json["sweep"])?)?,
        memo_max: usize::try_from(number(&json["memo"])?)?,
    })
}

fn coin(row: &Value) -> Result<CoinId> {
    Ok(CoinId { transaction: hash(string(&row["tx"])?), index: u16::try_from(number(&row["index"])?)? })
}

fn row_of(row: &Value, coins: &BTreeMap<&str, CoinId>) -> Result<(Output, Memo)> {
    let senders = Mix::of_users(names(&row["senders"])?, u8::try_from(number(&row["threshold"])?)?);
    let spent = |id: &Value| coins.get(string(id)?).copied().with_context(|| format!("{id} is no coin"));
    let output = Output {
        id: user(string(&row["id"])?)?,
        sequence: number(&row["sequence"])?,
        created_at: time(&row["time"])?,
        coin: coin(row)?,
        asset: asset(string(&row["asset"])?)?,
        amount: amount(&row["amount"])?,
        senders: (!senders.members().is_empty()).then_some(senders),
        extra: Vec::new(),
        stored: None,
        inscription: row["inscription"].as_str().map(hash),
        spends: list(&row["spends"])?.iter().map(spent).collect::<Result<_>>()?,
        generation: u32::try_from(number(&row["generation"])?)?,
        late: row["late"].as_bool().unwrap_or(false),
    };
    Ok((output, memo(&row["memo"])?))
}

fn memo(json: &Value) -> Result<Memo> {
    if json.is_null() {
        return Ok(Memo { kind: MemoKind::Undecodable, return_address: None });
    }
    let process = || user(string(&json["process"])?);
    let kind = match number(&json["purpose"])? {
        1 => {
            let payload = json["payload"].as_str().unwrap_or_default().as_bytes().to_vec();
            MemoKind::Call { process: process()?, payload }
        }
        11 => MemoKind::Register(Registration {
            chain: chain(string(&json["chain"])?)?,
            address: address(string(&json["address"])?)?,
            private: false,
            policy: Policy::Refund,
            gas: u32::try_from(json["gas"].as_u64().unwrap_or(300_000))?,
            assets: assets(&json["assets"])?,
        }),
        13 => MemoKind::RefundMark,
        14 => MemoKind::Bounce { process: process()? },
        20 => MemoKind::Decision(Decision {
            number: number(&json["number"])?,
            valid: json["valid"].as_bool().context("valid")?,
            body: body(&json["body"])?,
        }),
        21 => MemoKind::Tick,
        other => MemoKind::Other(u16::try_from(other)?),
    };
    let return_address =
        json["return"].as_str().map(|set| Ok::<_, anyhow::Error>(mix(set)?.to_payload())).transpose()?;
    Ok(Memo { kind, return_address })
}

fn assets(json: &Value) -> Result<Option<BTreeMap<AssetId, Amount>>> {
    if json.is_null() {
        return Ok(None);
    }
    entries(json)?.iter().map(|(name, least)| Ok((asset(name)?, amount(least)?))).collect::<Result<_>>().map(Some)
}

fn body(json: &Value) -> Result<DecisionBody> {
    let place = || Ok::<_, anyhow::Error>((chain(string(&json["chain"])?)?, number(&json["k"])?));
    let process = || user(string(&json["process"])?);
    Ok(match string(&json["kind"])? {
        "bounce" => {
            let (chain, k) = place()?;
            DecisionBody::Bounce { chain, k }
        }
        "refused" => {
            let (chain, k) = place()?;
            DecisionBody::Refused { chain, k }
        }
        "switch" => DecisionBody::Switch { group: set(json)? },
        "limits" => DecisionBody::Limits {
            chain: chain(string(&json["chain"])?)?,
            asset: asset(string(&json["asset"])?)?,
            caps: caps(&json["values"])?,
        },
        "minimum" => {
            let AssetRule { minimum, floor } = rule(&json["values"])?;
            DecisionBody::Minimum { asset: asset(string(&json["asset"])?)?, minimum, floor }
        }
        "update" => DecisionBody::Update { process: process()?, assets: assets(&json["assets"])? },
        "close" => DecisionBody::Close { process: process()? },
        "admit" => DecisionBody::Admit { output: user(string(&json["output"])?)? },
        "policy" => {
            let (policy, gas) =
                (serde_json::from_value(json["policy"].clone())?, serde_json::from_value(json["gas"].clone())?);
            DecisionBody::Policy { process: process()?, policy, gas }
        }
        "release" => DecisionBody::Release { output: user(string(&json["output"])?)?, to: set(json)? },
        other => bail!("`{other}` is no decision"),
    })
}

fn record(json: &Value) -> Result<Record> {
    let (s, time) = (number(&json["s"])?, time(&json["time"])?);
    Ok(match string(&json["type"])? {
        "accepted" => Record::Accepted { s, time },
        "outbound" => Record::Outbound(Outbound {
            k: number(&json["k"])?,
            process: user(string(&json["process"])?)?,
            asset: asset(string(&json["asset"])?)?,
            amount: amount(&json["amount"])?,
            recipient: recipient(string(&json["to"])?)?,
            memo: outbound_memo(&json["memo"])?,
            s,
            time,
        }),
        other => bail!("`{other}` is no record"),
    })
}

/// Text as it is; an operation as its raw bytes.
fn outbound_memo(json: &Value) -> Result<Vec<u8>> {
    if let Some(text) = json.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let (purpose, process) = (u16::try_from(number(&json["purpose"])?)?, user(string(&json["process"])?)?);
    Ok(Operation { purpose, process, ..Operation::default() }.encode()?)
}

/// A member's state as `expected` has it.
impl Scenario {
    pub(crate) fn state(&self, member: &Member) -> Result<Value> {
        let core = &member.core;
        let classes: Map<String, Value> =
            member.applied.iter().map(|one| (user_name(&one.output), json!(class_name(one.class)))).collect();
        let unclaimed = member.applied.iter().filter(|one| one.class == Class::Unclaimed);
        let mailboxes: Map<String, Value> = member
            .mailboxes
            .iter()
            .map(|(process, mailbox)| {
                let messages: Vec<Value> = mailbox.iter().map(|message| self.message(message)).collect();
                (user_name(process), json!(messages))
            })
            .collect();
        let transactions =
            |list: &[Derived]| list.iter().map(|derived| self.transaction(derived)).collect::<Result<Vec<Value>>>();
        let mut derived = Map::new();
        for (chain, list) in &member.of_chains {
            derived.insert(chain_name(*chain), json!(transactions(list)?));
        }
        derived.insert("ledger".to_owned(), json!(transactions(&member.of_ledger)?));
        let escrows: Vec<Derived> = member.of_escrows.values().flatten().cloned().collect();
        derived.insert("settle".to_owned(), json!(transactions(&escrows)?));

        let (mut books, mut coins) = (json!({}), json!({}));
        let (mut parked, mut waiting, mut generation) = (json!({}), json!({}), json!({}));
        for chain in core.chains() {
            let name = chain_name(chain);
            for (process, asset, amount) in core.books(chain) {
                books[&name][user_name(&process)][asset_name(&asset)] = units(amount)?;
            }
            coins[&name] = json!({});
            for (asset, coin, amount) in core.coins(chain) {
                let list = &mut coins[&name][asset_name(&asset)];
                if list.is_null() {
                    *list = json!([]);
                }
                list.as_array_mut().context("a list")?.push(json!([coin_name(&coin), units(amount)?]));
            }
            parked[&name] = json!(core.parked(chain));
            waiting[&name] = json!(core.waiting(chain).map(|(k, _)| k).collect::<Vec<_>>());
            generation[&name] = json!(core.generation(chain));
        }
        Ok(json!({
            "classes": classes,
            "unclaimed": unclaimed.map(|one| user_name(&one.output)).collect::<Vec<_>>(),
            "mailboxes": mailboxes,
            "derived": derived,
            "books": books,
            "coins": coins,
            "parked": parked,
            "waiting": waiting,
            "generation": generation,
        }))
    }

    fn message(&self, message: &Message) -> Value {
        let (kind, of_group) = match message.kind {
            MessageKind::Register => ("register", false),
            MessageKind::Call => ("call", false),
            MessageKind::Bounce => ("bounce", true),
            MessageKind::Update => ("update", true),
            MessageKind::Close => ("close", true),
        };
        let sender = match self.accounts.get(&message.sender) {
            Some(sender) => sender.clone(),
            None if message.sender != Account::ZERO => message.sender.0.to_string(),
            None => if of_group { "group" } else { "none" }.to_owned(),
        };
        let amount = units(message.amount).unwrap_or(Value::Null);
        json!([kind, message.nonce, message.sequence, sender, asset_name(&message.asset), amount])
    }

    fn transaction(&self, derived: &Derived) -> Result<Value> {
        let payee = |payee: &Payee| match payee {
            Payee::Mix(mix) => format!("mix:{}", mix_name(mix)),
            Payee::Group(generation) => format!("group/{generation}"),
        };
        let outputs = derived.outputs.iter().map(|(to, amount)| Ok(json!([payee(to), units(*amount)?])));
        let memo = match &derived.memo {
            DerivedMemo::Internal => json!({"kind": "internal"}),
            DerivedMemo::Refund => json!({"kind": "refund"}),
            DerivedMemo::Bounce(process) => json!({"kind": "bounce", "process": user_name(process)}),
            DerivedMemo::Pay(memo) => json!({"kind": "pay", "text": self.memos.get(memo).context("a foreign memo")?}),
        };
        Ok(json!({
            "trace": trace_name(&derived.trace),
            "asset": asset_name(&derived.asset),
            "inputs": derived.inputs.iter().map(coin_name).collect::<Vec<_>>(),
            "outputs": outputs.collect::<Result<Vec<_>>>()?,
            "memo": memo,
        }))
    }
}

fn units(amount: Amount) -> Result<Value> {
    Ok(json!(u64::try_from(amount.units())?))
}

fn coin_name(coin: &CoinRef) -> Value {
    match coin {
        CoinRef::Output(output) => json!(user_name(output)),
        CoinRef::Virtual { trace, index } => json!([trace_name(trace), index]),
    }
}

fn trace_name(trace: &Trace) -> Value {
    match trace {
        Trace::Refund { output } => json!(["refund", user_name(output)]),
        Trace::Return { output } => json!(["return", user_name(output)]),
        Trace::Forward { output } => json!(["forward", user_name(output)]),
        Trace::Release { output } => json!(["release", user_name(output)]),
        Trace::Pay { chain, k } => json!(["pay", chain_name(*chain), k]),
        Trace::Escrow { chain, k } => json!(["escrow", chain_name(*chain), k]),
        Trace::Settle { chain, k } => json!(["settle", chain_name(*chain), k]),
        Trace::Move { chain, k, generation } => json!(["move", chain_name(*chain), k, generation]),
        Trace::Consolidate { chain, k, j } => json!(["consolidate", chain_name(*chain), k, j]),
        Trace::Migrate { chain, generation, asset, j } => {
            json!(["migrate", chain_name(*chain), generation, asset_name(asset), j])
        }
    }
}

const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Internal => "internal",
        Class::Bounce => "bounce",
        Class::Return => "return",
        Class::Decision => "decision",
        Class::Unclaimed => "unclaimed",
        Class::Refund => "refund",
        Class::Register => "register",
        Class::Call => "call",
    }
}
