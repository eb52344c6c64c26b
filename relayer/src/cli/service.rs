//! Commands of a member's service.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, print_json};
use crate::config::{ConfigError, MemberConfig, Setting};
use crate::member;
use crate::startup::{self, Ready, StartError};
use crate::telemetry::{self, LogFormat};

/// Which member, and what differs from its file.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// The member's configuration
    #[arg(long, global = true, value_name = "FILE", default_value = "member.toml")]
    pub config: PathBuf,
    /// A setting that wins over the file and over LOCKSTEP__SECTION__KEY, such as ledger.settle_ms=0; may be repeated
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub settings: Vec<String>,
    /// How log lines look; the same as --set log.format=…
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Which lines are logged, such as info,lockstep::payouts=debug; the same as --set log.filter=…
    #[arg(long, global = true, value_name = "DIRECTIVES")]
    pub log_filter: Option<String>,
}

impl MemberArgs {
    /// The configuration from file, environment and these flags.
    ///
    /// # Errors
    /// As [`MemberConfig::load`].
    pub fn load(&self) -> Result<MemberConfig, ConfigError> {
        let mut flags: Vec<Setting> = self.settings.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        });
        flags.extend(format.map(|format| Setting::new("log.format", format)));
        flags.extend(self.log_filter.as_deref().map(|filter| Setting::new("log.filter", filter)));
        let variables = std::env::vars_os();
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        MemberConfig::load(&self.config, variables.map(|(name, value)| (text(name), text(value))), &flags)
    }

    /// Loads the configuration, starts logging, and checks everything that can be wrong before a member starts. Ports are
    /// bound and nothing else has happened when this returns.
    ///
    /// # Errors
    /// The first thing that is wrong, with its exit code.
    pub async fn prepare(&self) -> Result<Ready, Failure> {
        let config = self.load().map_err(Failure::configuration)?;
        telemetry::init(&config.log).map_err(Failure::configuration)?;
        startup::prepare(config).await.map_err(|error: StartError| Failure::new(error.exit(), error))
    }
}

pub(super) async fn run(args: &MemberArgs) -> Result<Exit, Failure> {
    let ready = args.prepare().await?;
    // The wiring of all tasks is a large future, and there is only one of it.
    Box::pin(member::run(ready)).await.map_err(|error| Failure::new(error.exit(), error))?;
    Ok(Exit::Done)
}

/// Also shows what the ledger calls the asset of the group's fee: a running member need not know, and who is about to start a group
/// with a wrong id in its file must.
pub(super) async fn check(args: &MemberArgs) -> Result<Exit, Failure> {
    let ready = args.prepare().await?;
    let fee = ready.group.fee();
    let asset = ready.ledger.asset(fee.asset).await.map_err(|error| {
        let exit = if error.retryable() { Exit::TryAgain } else { Exit::Configuration };
        let unknown =
            format!("the ledger does not say what the asset {} is, in which the group file asks its fee", fee.asset);
        Failure::new(exit, anyhow::Error::new(error).context(unknown))
    })?;
    let chain = |chain: &startup::ReadyChain| {
        let identity = &chain.identity;
        json!({
            "id": identity.chain_id,
            "contract": identity.contract,
            "latest_block": identity.latest_block,
            "accepted": identity.accepted,
            "endpoints": chain.providers.len(),
        })
    };
    print_json(&json!({
        "member": ready.config.member,
        "group_id": ready.group.id(),
        "group_digest": ready.group.digest(),
        "ledger_user": ready.ledger.user(),
        "evm_address": ready.secrets.evm.address(),
        "fee": { "amount": fee.amount, "asset": asset },
        "chains": ready.chains.values().map(chain).collect::<Vec<_>>(),
    }))?;
    Ok(Exit::Done)
}
