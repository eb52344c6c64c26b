//! `account`: the smart account of a ledger user: where it is, and how to tell it what to call.

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use lockstep_core::mixin::address::MixAddress;
use lockstep_core::operation::Operation;
use lockstep_core::smart_account::{Call, Order, Registry, StoredOrder};
use lockstep_core::{Account, Address, AssetId, B256, Mix, Uuid};
use serde_json::json;

use super::pay::EXTRA_MAX;
use super::{Exit, Failure, print_json};

/// What to know of smart accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Print the address of the smart account of a user or a set of users, and of an asset's token, whether they exist or not
    Address(AddressArgs),
    /// Print an order, the payload of a payment to the accounts process: the account makes all of its calls, or none
    Order(OrderArgs),
}

/// Whose account, and whose token.
#[derive(Debug, Args)]
pub struct AddressArgs {
    /// The contract of the accounts process on the chain in question
    #[arg(long, value_name = "0xADDRESS")]
    pub accounts: Address,
    /// The ledger user
    #[arg(long, value_name = "UUID", required_unless_present = "mix", conflicts_with = "mix")]
    pub user: Option<Uuid>,
    /// A set of users, or bare ledger addresses
    #[arg(long, value_name = "MIX…")]
    pub mix: Option<MixAddress>,
    /// An asset whose token is wanted, too: its UUID, or its kernel id as contracts know it
    #[arg(long, value_name = "ASSET", value_parser = parse_asset)]
    pub asset: Option<AssetId>,
}

/// What the account shall do.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// A call: the contract, and after a colon the calldata; once for each call, in their order
    #[arg(long = "call", value_name = "0xADDRESS[:0xHEX]", required = true, value_parser = parse_call)]
    pub calls: Vec<Call>,
    /// Leave in the account what the calls do not spend of the payment; else it goes back to the ledger
    #[arg(long)]
    pub keep: bool,
    /// Who may spend the payment while the calls run; else the contract of the first call
    #[arg(long, value_name = "0xADDRESS")]
    pub spender: Option<Address>,
    /// The accounts process: prints the memo of the payment as well
    #[arg(long, value_name = "UUID")]
    pub process: Option<Uuid>,
    /// For an order that fits no memo: the storage contract that holds, or will hold, its bytes
    #[arg(long, value_name = "0xADDRESS", requires = "process")]
    pub storage: Option<Address>,
}

pub(super) fn run(command: &AccountCommand) -> Result<Exit, Failure> {
    match command {
        AccountCommand::Address(args) => address(args),
        AccountCommand::Order(args) => order(args),
    }
    .map_err(Failure::bad_input)
    .and_then(|answer| print_json(&answer))?;
    Ok(Exit::Done)
}

fn address(args: &AddressArgs) -> Result<serde_json::Value> {
    let mix = match (&args.mix, args.user) {
        (Some(mix), _) => mix.to_mix(),
        (None, Some(user)) => Mix::of_users([user], 1),
        (None, None) => bail!("name a --user or a --mix"),
    };
    // The ledger never says that such a set has paid, so nobody could ever use its account.
    if !mix.is_legal() {
        bail!("no payment comes from a set with {} members and threshold {}", mix.members().len(), mix.threshold());
    }
    let (registry, user) = (Registry(args.accounts), Account::of(&mix));
    let token = args.asset.map(|asset| registry.token(asset));
    Ok(json!({ "user": user.0, "address": registry.account(user), "token": token }))
}

fn order(args: &OrderArgs) -> Result<serde_json::Value> {
    let order = Order { keep: args.keep, spender: args.spender, calls: args.calls.clone() };
    let bytes = order.encode()?;
    let stored = args.storage.zip(args.process);
    let payload =
        stored.map_or_else(|| bytes.clone(), |(storage, process)| StoredOrder::of(process, storage, &bytes).encode());
    let memo = args.process.map(|process| memo(process, payload.clone())).transpose()?;
    let payload = format!("0x{}", hex::encode(payload));
    let store = stored.map(|_| format!("0x{}", hex::encode(&bytes)));
    Ok(json!({ "payload": payload, "memo": memo, "store": store }))
}

/// The memo of a payment with a payload, as `memo encode call` prints it.
fn memo(process: Uuid, payload: Vec<u8>) -> Result<String> {
    let operation = Operation::call(process, payload);
    let length = operation.encode()?.len();
    if length > EXTRA_MAX {
        bail!(
            "the memo would have {length} bytes and the ledger takes {EXTRA_MAX}: store the order, and name --storage"
        );
    }
    Ok(operation.to_memo_text()?)
}

fn parse_asset(text: &str) -> Result<AssetId> {
    match text.strip_prefix("0x") {
        Some(_) => Ok(AssetId(text.parse::<B256>().context("a kernel id has 32 bytes")?.0)),
        None => Ok(AssetId::from_uuid(text.parse().with_context(|| format!("`{text}` is no UUID"))?)),
    }
}

fn parse_call(text: &str) -> Result<Call> {
    let (target, data) = text.split_once(':').unwrap_or((text, "0x"));
    let target: Address = target.parse().with_context(|| format!("`{target}` is no address"))?;
    let digits = data.strip_prefix("0x").ok_or_else(|| anyhow!("calldata begins with 0x"))?;
    Ok(Call { target, data: hex::decode(digits).context("calldata is hexadecimal")? })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Args as Cli, Command};
    use super::*;

    fn parse(line: &str) -> Result<AccountCommand, clap::Error> {
        let parsed = Cli::try_parse_from(["lockstep", "account"].into_iter().chain(line.split_whitespace()))?;
        let Command::Account(command) = parsed.command else { panic!("another command") };
        Ok(command)
    }

    fn ordered(line: &str) -> Result<serde_json::Value> {
        let AccountCommand::Order(args) = parse(line)? else { panic!("another command") };
        order(&args)
    }

    fn addressed(line: &str) -> Result<serde_json::Value> {
        let AccountCommand::Address(args) = parse(line)? else { panic!("another command") };
        address(&args)
    }

    const TARGET: &str = "0x00000000000000000000000000000000000000aa";
    const PROCESS: &str = "405e0689-33ca-574b-9b98-86f6a64fda80";

    #[test]
    fn what_no_account_obeys_should_be_refused() {
        for line in [
            "order",
            "order --call 0xaa",
            "order --call 0x00000000000000000000000000000000000000aa:00",
            "order --call 0x00000000000000000000000000000000000000aa:0x0",
            "order --call 0x00000000000000000000000000000000000000aa --storage 0x00000000000000000000000000000000000000aa",
            "address --accounts 0x00000000000000000000000000000000000000aa",
            "address --accounts 0x00000000000000000000000000000000000000aa --user x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let seventeen = format!("order {}", format!("--call {TARGET} ").repeat(17));
        assert_eq!(ordered(&seventeen).unwrap_err().to_string(), "an order has 1 to 16 calls, got 17");
        let long = format!("order --process {PROCESS} --call {TARGET}:0x{}", "ab".repeat(250));
        assert!(ordered(&long).unwrap_err().to_string().contains("store the order"));
    }

    #[test]
    fn an_order_should_be_the_payload_that_the_core_writes() {
        let plain = ordered(&format!("order --call {TARGET}:0x0102 --call {TARGET} --process {PROCESS}")).unwrap();
        let target = &TARGET[2..];
        assert_eq!(plain["payload"], format!("0x0002{target}00020102{target}0000"));
        assert!(plain["store"].is_null());
        let memo = plain["memo"].as_str().unwrap();
        assert!(memo.starts_with("AAFAXgaJM8pXS5uYhvamT9qA"), "{memo}");

        let named = ordered(&format!("order --keep --spender {TARGET} --call {TARGET}")).unwrap();
        assert_eq!(named["payload"], format!("0x0301{target}{target}0000"));
        assert!(named["memo"].is_null());
    }

    #[test]
    fn a_stored_order_should_be_paid_for_by_its_pointer() {
        let call = format!("--call {TARGET}:0x{}", "ab".repeat(250));
        let stored = ordered(&format!("order {call} --process {PROCESS} --storage {TARGET}")).unwrap();
        let bytes = hex::decode(&stored["store"].as_str().unwrap()[2..]).unwrap();
        let pointer = StoredOrder::of(PROCESS.parse().unwrap(), TARGET.parse().unwrap(), &bytes).encode();
        assert_eq!(stored["payload"], format!("0x{}", hex::encode(pointer)));
        assert!(stored["memo"].is_string());
    }

    #[test]
    fn addresses_should_be_those_of_the_core() {
        let registry = Registry(TARGET.parse().unwrap());
        let user: Uuid = PROCESS.parse().unwrap();
        let one = addressed(&format!("address --accounts {TARGET} --user {PROCESS} --asset {PROCESS}")).unwrap();
        assert_eq!(one["address"], json!(registry.account(Account::of_user(user))));
        let asset = AssetId::from_uuid(user);
        assert_eq!(one["token"], json!(registry.token(asset)));
        let id = B256::from(asset.0);
        let same = addressed(&format!("address --accounts {TARGET} --user {PROCESS} --asset {id}")).unwrap();
        assert_eq!(one, same);
        let two = Mix::of_users([user, Uuid::from_u128(1)], 2);
        let set = addressed(&format!("address --accounts {TARGET} --mix {}", MixAddress::from(&two))).unwrap();
        assert_eq!((&set["user"], set["token"].is_null()), (&json!(Account::of(&two).0), true));
        let same = Mix::of_users([user, user], 1);
        assert!(addressed(&format!("address --accounts {TARGET} --mix {}", MixAddress::from(&same))).is_err());
    }
}
