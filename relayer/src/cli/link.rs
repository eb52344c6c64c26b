//! A payment as a link or a QR code: a wallet that opens it shows receiver, asset, amount and memo, and only asks whether to
//! pay.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lockstep_core::group::Group;
use lockstep_core::mixin::MixAddress;
use lockstep_core::{Amount, Mix, Uuid};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};
use url::Url;

use super::pay::receivers;
use crate::config::read_group;

/// Where the ledger's wallets take payment links (`mixin://` opens the same; every kit of the network makes this form).
const WALLET: &str = "https://mixin.one/pay/";
/// Most bytes of a memo: it becomes the extra of one kernel transaction.
const MEMO_MAX: usize = 256;

/// Which group is paid, and how the link is shown.
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// The group file: adds a payment link for wallets to the memo
    #[arg(long, value_name = "FILE")]
    pub group: Option<PathBuf>,
    /// The group's newest roster, `generation-<g>.toml`, once its members have changed
    #[arg(long, value_name = "FILE", requires = "group")]
    pub roster: Option<PathBuf>,
    /// Names the payment for ever: a wallet does not pay one twice. Made up where none is given
    #[arg(long, value_name = "UUID", requires = "group")]
    pub trace: Option<Uuid>,
    /// Print a QR code of the link, instead of JSON
    #[arg(long, requires = "group")]
    pub qr: bool,
}

/// A payment that a wallet is to make.
#[derive(Debug)]
pub(super) struct Link {
    receivers: Mix,
    asset: Uuid,
    amount: Amount,
    memo: String,
    trace: Uuid,
    url: Url,
}

impl LinkArgs {
    /// The group to pay, if one is named.
    pub(super) fn group(&self) -> Result<Option<Group>> {
        Ok(self.group.as_deref().map(read_group).transpose()?)
    }

    /// The link that pays `group` with the memo.
    pub(super) fn link(&self, group: &Group, (asset, amount): (Uuid, Amount), memo: &str) -> Result<Link> {
        ensure!(amount != Amount::ZERO, "a payment of nothing cannot be made");
        ensure!(memo.len() <= MEMO_MAX, "the memo has {} bytes; a ledger transaction carries {MEMO_MAX}", memo.len());
        let receivers = receivers(group, self.roster.as_deref())?;
        let trace = self.trace.unwrap_or_else(Uuid::new_v4);
        let mut url = Url::parse(WALLET)?.join(&MixAddress::from(&receivers).to_string())?;
        url.query_pairs_mut()
            .append_pair("asset", &asset.to_string())
            .append_pair("amount", &amount.to_string())
            .append_pair("memo", memo)
            .append_pair("trace", &trace.to_string());
        Ok(Link { receivers, asset, amount, memo: memo.to_owned(), trace, url })
    }
}

impl Link {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "bytes": self.memo.len(),
            "memo": self.memo,
            "receivers": MixAddress::from(&self.receivers).to_string(),
            "asset": self.asset,
            "amount": self.amount,
            "trace": self.trace,
            "link": self.url.as_str(),
        })
    }

    /// The code in block characters, two rows of it to a line, with the link below.
    pub(super) fn to_qr(&self) -> Result<String> {
        let code = QrCode::with_error_correction_level(self.url.as_str(), EcLevel::L);
        let code = code.context("the link is too long for a QR code")?;
        Ok(format!("{}\n{}", code.render::<Dense1x2>().build(), self.url))
    }
}
