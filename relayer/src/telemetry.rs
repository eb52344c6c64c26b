//! Logs: facts as fields, on standard error, readable for people or as JSON.

use std::io::{self, IsTerminal};

use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The section `log`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines: directives as in `RUST_LOG`, such as `info,lockstep::evm=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends all logs of this process to standard error. Standard output is for results.
///
/// # Errors
/// A filter that cannot be read, or logs that go elsewhere already.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter);
    let filter = filter.map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let done = match config.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    done.map_err(TelemetryError::Installed)
}

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// Not directives of a filter.
    #[error("cannot read the log filter `{filter}`")]
    Filter {
        /// What was given.
        filter: String,
        /// Where it goes wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Called twice.
    #[error("logs are set up already")]
    Installed(#[source] TryInitError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_that_cannot_be_read_should_be_refused() {
        let config = LogConfig { filter: "info,lockstep=loud".into(), ..LogConfig::default() };
        let error = init(&config).expect_err("no such level");
        assert_eq!(error.to_string(), "cannot read the log filter `info,lockstep=loud`");
    }
}
