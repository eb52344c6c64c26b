//! `govern unclaimed`: the coins that the group keeps because nobody could or may get them back, for those who may release them.

use std::collections::BTreeMap;

use clap::Args;
use lockstep_core::group::Addresses;
use lockstep_core::operation::{Memo, MemoKind, MemoRules};
use lockstep_core::output::Output;
use lockstep_core::{Amount, AssetId, Mix, Uuid};
use serde_json::{Value, json};

use super::super::pay::asset_uuid;
use super::super::service::MemberArgs;
use super::super::{Exit, Failure, print_json, print_line};
use super::desk::Desk;
use super::store;
use crate::govern::words;
use crate::store::Release;

/// Which unclaimed coins to list.
#[derive(Debug, Args)]
pub struct UnclaimedArgs {
    /// Those of one asset: a symbol of the group file, or the asset's UUID
    #[arg(long, value_name = "ASSET")]
    pub asset: Option<String>,
    /// Also those that a decision has released already
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which member.
    #[command(flatten)]
    pub member: MemberArgs,
}

/// A coin, without what its memo says, which may be long.
struct Coin {
    output: Uuid,
    sequence: u64,
    asset: AssetId,
    amount: Amount,
    senders: Option<Mix>,
    why: Why,
    release: Option<Release>,
}

/// Why nobody gets it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Refund,
    Bounce,
    OwnPayment,
    Tick,
    Nobody,
    TooMuch,
    Dust,
}

impl Why {
    /// What of the derivation's reasons (A1, A4 to A6) applies, found out anew from what is kept.
    fn of(output: &Output, rules: &MemoRules, group: &Addresses) -> Self {
        let is_group = |mix: &Mix| group.all().any(|(_, _, at)| at == mix);
        let Memo { kind, return_address } = Memo::decode(&output.extra, rules);
        let is_own = output.senders.as_ref().is_some_and(is_group);
        let named = return_address.and_then(|payload| Mix::from_payload(&payload).ok());
        let payee = output.senders.clone().or(named).filter(|to| to.is_legal() && !is_group(to));
        let reasons = [
            (is_own && matches!(kind, MemoKind::Bounce { .. }), Self::Bounce),
            (kind == MemoKind::RefundMark, Self::Refund),
            (is_own, Self::OwnPayment),
            (kind == MemoKind::Tick, Self::Tick),
            (payee.is_none(), Self::Nobody),
            (output.amount == Amount::MAX, Self::TooMuch),
        ];
        reasons.into_iter().find(|(applies, _)| *applies).map_or(Self::Dust, |(_, why)| why)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Refund => "carries the mark of a refund, which is never refunded",
            Self::Bounce => "came back from a payout of a process that is closed",
            Self::OwnPayment => "was paid by the group itself",
            Self::Tick => "is a tick, with which a member moved ledger time",
            Self::Nobody => "says nobody who could get it back",
            Self::TooMuch => "is more than a transaction of the group can carry",
            Self::Dust => "is below the refund floor of its asset",
        }
    }
}

pub(super) async fn unclaimed(args: &UnclaimedArgs) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.member).await?;
    let asset = args.asset.as_deref().map(|text| asset_uuid(&desk.group, text)).transpose();
    let asset = asset.map_err(Failure::bad_input)?.map(AssetId::from_uuid);
    let (rules, addresses) = (desk.group.memo_rules(), desk.addresses().await?);
    let mut releases = desk.store.releases().await.map_err(store)?;
    let mut coins = Vec::new();
    let see = |sequence, output: Output| {
        let release = releases.remove(&output.id);
        if asset.is_none_or(|asset| asset == output.asset) && (args.all || release.is_none()) {
            let why = Why::of(&output, &rules, &addresses);
            let Output { id, asset, amount, senders, .. } = output;
            coins.push(Coin { output: id, sequence, asset, amount, senders, why, release });
        }
    };
    desk.store.each_unclaimed(see).await.map_err(store)?;
    let sums = sums(&coins);
    if args.json {
        let coins: Vec<Value> = coins.iter().map(|coin| json_coin(&desk, coin)).collect();
        let sums: BTreeMap<_, _> = sums.iter().map(|(asset, (_, sum))| (asset.to_string(), sum)).collect();
        print_json(&json!({ "coins": coins, "sums": sums }))?;
        return Ok(Exit::Done);
    }
    if sums.is_empty() {
        print_line("nothing is unclaimed")?;
    }
    for (asset, (count, sum)) in &sums {
        print_line(&format!("{count} unclaimed: {sum} of {}", words::symbol(asset, &desk.group)))?;
    }
    for coin in &coins {
        for line in lines(&desk, coin) {
            print_line(&line)?;
        }
    }
    if !sums.is_empty() {
        print_line("To pay one out: `lockstep govern propose --out FILE release --output OUTPUT --to USER`")?;
    }
    Ok(Exit::Done)
}

/// How many coins of each asset wait, and what they hold together.
fn sums(coins: &[Coin]) -> BTreeMap<AssetId, (u64, Amount)> {
    let mut sums = BTreeMap::<_, (u64, Amount)>::new();
    for coin in coins.iter().filter(|coin| coin.release.is_none()) {
        let (count, sum) = sums.entry(coin.asset).or_default();
        *count = count.saturating_add(1);
        *sum = sum.checked_add(coin.amount).unwrap_or(Amount::MAX);
    }
    sums
}

fn lines(desk: &Desk, coin: &Coin) -> Vec<String> {
    let Coin { output, sequence, asset, amount, senders, why, release } = coin;
    let from = senders.as_ref().map_or_else(|| "somebody unknown".to_owned(), |mix| words::set(mix, &desk.group));
    let mut lines = vec![
        format!("output {output}  sequence {sequence}  {amount} of {}", words::symbol(asset, &desk.group)),
        format!("  {}; from {from}", why.words()),
    ];
    lines.extend(release.as_ref().map(|release| {
        let Release { to, is_final } = release;
        let state = if *is_final { "paid out" } else { "released, and not paid out yet," };
        format!("  {state} to {}", words::set(to, &desk.group))
    }));
    lines
}

fn json_coin(desk: &Desk, coin: &Coin) -> Value {
    let Coin { output, sequence, asset, amount, senders, why, release } = coin;
    let state = match release {
        None => "unclaimed",
        Some(Release { is_final: false, .. }) => "released",
        Some(Release { is_final: true, .. }) => "paid",
    };
    json!({
        "output": output,
        "sequence": sequence,
        "asset": asset,
        "symbol": desk.group.assets().get(asset).map(|known| &known.symbol),
        "amount": amount,
        "senders": senders,
        "why": why.words(),
        "state": state,
        "released_to": release.as_ref().map(|release| &release.to),
    })
}

#[cfg(test)]
mod tests {
    use lockstep_core::B256;
    use lockstep_core::operation::{Operation, tick_memo};
    use lockstep_core::output::CoinId;

    use super::*;

    fn mix(users: &[u128]) -> Mix {
        Mix::of_users(users.iter().map(|user| Uuid::from_u128(*user)), 1)
    }

    fn paid(senders: Option<Mix>, extra: Vec<u8>, amount: Amount) -> Output {
        Output {
            id: Uuid::from_u128(9),
            sequence: 9,
            created_at: 9,
            coin: CoinId { transaction: B256::ZERO, index: 0 },
            asset: AssetId([1; 32]),
            amount,
            senders,
            extra,
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        }
    }

    #[test]
    fn a_reason_should_be_one_that_the_derivation_has() {
        let (old, new) = (mix(&[1, 2, 3]), mix(&[2, 3, 4]));
        let group = Addresses::from_parts(old.clone(), vec![(5, new)]);
        let rules = MemoRules::default();
        let operation = Operation::call(Uuid::from_u128(7), Vec::new());
        let call = operation.encode().expect("short");
        let returned = |to: &Mix| {
            let return_address = Some(to.to_payload());
            Operation { return_address, ..operation.clone() }.encode().expect("short")
        };
        let bounce = Operation::bounce(Uuid::from_u128(7)).encode().expect("short");
        let mark = Operation::refund(Uuid::from_u128(7)).encode().expect("short");
        let (alice, cent) = (Some(mix(&[8])), Amount::from_units(1));
        for (senders, extra, amount, expected) in [
            (alice.clone(), call.clone(), cent, Why::Dust),
            (alice.clone(), b"no operation".to_vec(), cent, Why::Dust),
            (alice.clone(), bounce.clone(), cent, Why::Dust),
            (alice.clone(), call.clone(), Amount::MAX, Why::TooMuch),
            (alice.clone(), tick_memo(), cent, Why::Tick),
            (alice, mark, cent, Why::Refund),
            (Some(old.clone()), bounce, cent, Why::Bounce),
            (Some(old.clone()), call.clone(), cent, Why::OwnPayment),
            (None, call, cent, Why::Nobody),
            (None, returned(&mix(&[8])), cent, Why::Dust),
            (None, returned(&old), cent, Why::Nobody),
        ] {
            assert_eq!(
                Why::of(&paid(senders.clone(), extra, amount), &rules, &group),
                expected,
                "{senders:?} {amount}"
            );
        }
    }
}
