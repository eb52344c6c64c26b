//! What a proposal does, in plain words: what an operator reads before approving.

use lockstep_core::govern::{Action, Subject};
use lockstep_core::group::Group;
use lockstep_core::mixin::MixAddress;
use lockstep_core::operation::{Caps, DecisionBody, Policy};
use lockstep_core::{AssetId, Mix, Uuid};

/// One sentence about what happens, then what else must be known.
pub fn words(subject: &Subject, group: &Group) -> Vec<String> {
    match subject {
        Subject::Decision { number, body, .. } => {
            let mut lines = vec![format!("Decision {number}: {}", decision(body, group))];
            lines.push("It acts from the ledger sequence at which it arrives, at most once.".to_owned());
            lines
        }
        Subject::Action { place, nonce, action } => {
            let (chain, contract) = (place.chain, place.contract);
            let what = self::action(action, group);
            vec![
                format!("To the contract {contract} on chain {chain}, with its governance nonce {nonce}: {what}"),
                "It acts when anybody sends it there, and nowhere else.".to_owned(),
            ]
        }
    }
}

fn decision(body: &DecisionBody, group: &Group) -> String {
    match body {
        DecisionBody::Bounce { chain, k } => {
            format!("outbound {k} of chain {chain}, if it still waits, goes back to its process.")
        }
        DecisionBody::Refused { chain, k } => {
            format!("outbound {k} of chain {chain} cannot be paid to its recipient and goes back to its process.")
        }
        DecisionBody::Switch { group: members } => format!(
            "the group's members on the ledger become {}; its coins move to their address.",
            set(members, group)
        ),
        DecisionBody::Limits { chain, asset, caps: Caps { payout, hour, day } } => format!(
            "payouts of {} on chain {chain} wait in escrow above {payout} each, {hour} an hour or {day} a day.",
            symbol(asset, group)
        ),
        DecisionBody::Minimum { asset, minimum, floor } => format!(
            "payments of {} below {minimum} become no message; below {floor} they are not even refunded.",
            symbol(asset, group)
        ),
        DecisionBody::Update { process, assets: None } => format!("process {process} accepts every asset."),
        DecisionBody::Update { process, assets: Some(assets) } => {
            let list = assets.iter().map(|(asset, minimum)| format!("{} from {minimum}", symbol(asset, group)));
            format!("process {process} accepts only: {}.", list.collect::<Vec<_>>().join(", "))
        }
        DecisionBody::Close { process } => format!("process {process} takes no more calls, for ever."),
        DecisionBody::Admit { output } => format!("the late output {output} gets its place right after this decision."),
        DecisionBody::Policy { process, policy, gas } => {
            let what = match policy {
                Policy::Refund => "are refunded",
                Policy::Park => "are parked",
                Policy::Strict => "make the others behind them wait",
            };
            let gas = if *gas == 0 { "stays".to_owned() } else { format!("becomes {gas}") };
            format!("failing calls of process {process} {what}; its gas limit {gas}.")
        }
        DecisionBody::Release { output, to } => {
            format!("the unclaimed coin {output} is paid out in full to {}.", set(to, group))
        }
        DecisionBody::Key { generation, key, .. } => {
            format!("later decisions are verified with the group key of generation {generation}: {}.", hex::encode(key))
        }
    }
}

fn action(action: &Action, group: &Group) -> String {
    match action {
        Action::Halt => "HALT: no more deliveries and no more payouts, until a resume.".to_owned(),
        Action::Resume => "RESUME: deliveries and payouts go on.".to_owned(),
        Action::Rotate { generation, key, .. } => format!(
            "the group key is replaced by that of generation {generation}, and the old one is worth nothing there: {}.",
            hex::encode(key)
        ),
        Action::Asset { asset, name, symbol: short } => {
            format!("the token of {} is called `{name}`, in short `{short}`.", symbol(asset, group))
        }
        Action::Repay { tip_wei, gas_per_byte } => {
            format!("tanks repay deliverers a tip of at most {tip_wei} wei and {gas_per_byte} gas for each byte.")
        }
    }
}

/// The group file's symbol with the id, for symbols are only names.
pub fn symbol(asset: &AssetId, group: &Group) -> String {
    let known = group.assets().values().find(|known| AssetId::from_uuid(known.uuid) == *asset);
    known.map_or_else(|| format!("asset {asset}"), |known| format!("{} (asset {asset})", known.symbol))
}

/// Who they are, with the names of members, and how many of them must sign.
pub fn set(mix: &Mix, group: &Group) -> String {
    let named = |user: &Uuid| {
        let member = group.members().iter().find(|member| member.user == *user);
        member.map_or_else(|| user.to_string(), |member| format!("{} ({user})", member.name))
    };
    match mix.users() {
        Some(users) => {
            let users: Vec<_> = users.iter().map(named).collect();
            format!("{} of {}: {}", mix.threshold(), users.len(), users.join(", "))
        }
        None => MixAddress::from(mix).to_string(),
    }
}
