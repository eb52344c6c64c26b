//! A local chain: finds Foundry's tools, starts anvil and stops it again, runs forge scripts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, io};

use alloy::primitives::{Address, address};
use alloy::providers::Provider;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tracing::debug;

use crate::evm::provider::provider;

/// Anvil answers within a tenth of a second; a loaded machine takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time to write its state after it was told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most output of a failed tool that an error repeats, in bytes.
const OUTPUT_MAX: usize = 4_096;
/// Runs anvil and ends it when standard input closes, which the system does for us however this process ends: killed
/// members leave no chain behind. The reader gets the pipe by number 3, since a shell gives its background jobs /dev/null.
const WATCHDOG: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -TERM "$child"; } 2>/dev/null &
reader=$!
wait "$child"
status=$?
kill "$reader" 2>/dev/null
exit "$status"
"#;

/// A tool of Foundry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The local chain.
    Anvil,
    /// Build, test and deploy.
    Forge,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Anvil => "anvil",
            Self::Forge => "forge",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Anvil => "LOCKSTEP_TOOL_ANVIL",
            Self::Forge => "LOCKSTEP_TOOL_FORGE",
        }
    }
}

/// Why a tool could not do its work.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is nowhere.
    #[error(
        "{tool} was not found: run `make` once to install it, or install Foundry (https://getfoundry.sh, `foundryup`), or \
         set {variable} to its path"
    )]
    Missing {
        /// The tool's name.
        tool: &'static str,
        /// The variable that names its path.
        variable: &'static str,
    },
    /// The variable names something else.
    #[error("{variable} names {path}, which is no file")]
    NoFile {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// It could not be started.
    #[error("{tool} could not be started")]
    Start {
        /// The tool's name.
        tool: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended before it answered, or answered nothing in time.
    #[error("anvil did not come up: {0}")]
    NotUp(String),
    /// It ended with an error.
    #[error("{tool} {task} failed with {status}:\n{output}")]
    Failed {
        /// The tool's name.
        tool: &'static str,
        /// What it was to do.
        task: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        output: String,
    },
    /// It did not end in time.
    #[error("{tool} {task} did not end within {seconds} seconds")]
    TooSlow {
        /// The tool's name.
        tool: &'static str,
        /// What it was to do.
        task: String,
        /// The time it had.
        seconds: u64,
    },
}

/// Finds a tool: its variable, then the npm package in `node_modules` of the working directory, of one above it or of the
/// source tree, then `PATH`, then where `foundryup` puts it.
///
/// # Errors
/// Says how to get it.
pub fn find_tool(tool: Tool) -> Result<PathBuf, ToolError> {
    let variable = tool.variable();
    if let Some(path) = env::var_os(variable).map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(ToolError::NoFile { variable, path }) };
    }
    let packaged = Path::new("node_modules/@foundry-rs").join(format!("{}-linux-amd64/bin/{0}", tool.name()));
    let roots = [env::current_dir().ok(), Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")))];
    let installed = roots.iter().flatten().flat_map(|root| root.ancestors()).map(|folder| folder.join(&packaged));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&on_path).map(|folder| folder.join(tool.name())).filter(|path| !is_script(path));
    let foundryup = env::home_dir().map(|home| home.join(".foundry/bin").join(tool.name()));
    let found = installed.chain(on_path).chain(foundryup).find(|path| path.is_file());
    found.ok_or(ToolError::Missing { tool: tool.name(), variable })
}

/// npm's wrapper is a script that starts the real tool as a child, which then outlives it.
fn is_script(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 2];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| start == *b"#!")
}

/// How to start a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnvilConfig {
    /// EIP-155 id.
    pub chain_id: u64,
    /// Port on loopback; 0 lets the system choose.
    pub port: u16,
    /// Keeps the chain's state in this file between runs.
    pub state: Option<PathBuf>,
    /// Seconds between blocks; transactions are mined at once besides. `None` mines only when there are transactions.
    pub block_time_s: Option<u64>,
    /// EVM rules, `osaka` unless a test wants others.
    pub hardfork: String,
}

impl AnvilConfig {
    /// A chain with blocks of a second on a port that the system chooses.
    pub fn new(chain_id: u64) -> Self {
        Self { chain_id, port: 0, state: None, block_time_s: Some(1), hardfork: "osaka".to_owned() }
    }

    fn arguments(&self) -> Vec<OsString> {
        // A block is final two after it; the gas limit of a transaction is held, as real chains do (EIP-7825).
        let mut arguments: Vec<OsString> = [
            "--host",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
            "--chain-id",
            &self.chain_id.to_string(),
            "--hardfork",
            &self.hardfork,
            "--slots-in-an-epoch",
            "1",
            "--enable-tx-gas-limit",
        ]
        .map(OsString::from)
        .to_vec();
        if let Some(seconds) = self.block_time_s {
            arguments.extend(["--block-time", &seconds.to_string(), "--mixed-mining"].map(OsString::from));
        }
        if let Some(state) = &self.state {
            arguments.extend([OsString::from("--state"), state.into()]);
        }
        arguments
    }
}

/// A running anvil. Dropping it stops it; [`Anvil::stop`] also waits until its state is written.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    // Closing it stops anvil.
    lifeline: Option<ChildStdin>,
    port: u16,
}

impl Anvil {
    /// Starts a chain and waits until it listens.
    ///
    /// # Errors
    /// Where anvil is missing, the port is in use, or it does not come up.
    pub async fn start(config: &AnvilConfig) -> Result<Self, ToolError> {
        let path = find_tool(Tool::Anvil)?;
        let started = |source| ToolError::Start { tool: "anvil", source };
        let mut child = Command::new("sh")
            .args(["-c", WATCHDOG, "anvil"])
            .arg(path)
            .args(config.arguments())
            // An interrupt from the terminal goes to our process alone, which then stops everything in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(started)?;
        let lifeline = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = stdout.ok_or_else(|| started(io::Error::other("no standard output")))?;
        let mut stderr = stderr.ok_or_else(|| started(io::Error::other("no standard error")))?;
        let port = match tokio::time::timeout(START_TIMEOUT, listening_port(stdout)).await {
            Ok(Some(port)) => port,
            Ok(None) => {
                let mut said = Vec::new();
                let read = tokio::io::AsyncReadExt::read_to_end(&mut stderr, &mut said);
                let _ = tokio::time::timeout(Duration::from_secs(1), read).await;
                return Err(ToolError::NotUp(tail(&said).trim().to_owned()));
            }
            Err(_) => return Err(ToolError::NotUp(format!("no answer within {} seconds", START_TIMEOUT.as_secs()))),
        };
        drain("anvil", stderr);
        let anvil = Self { child, lifeline, port };
        anvil.answer(config.chain_id).await?;
        Ok(anvil)
    }

    /// It prints its port a moment before it serves, and before it knows how to end in order.
    async fn answer(&self, chain_id: u64) -> Result<(), ToolError> {
        let not_up = |error: &dyn std::error::Error| ToolError::NotUp(error.to_string());
        let provider = provider(&self.url()).map_err(|error| not_up(&error))?;
        let answer = provider.get_chain_id().await.map_err(|error| not_up(&error))?;
        if answer == chain_id { Ok(()) } else { Err(ToolError::NotUp(format!("it has chain id {answer}"))) }
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where its RPC answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Resolves when anvil has ended by itself.
    ///
    /// # Errors
    /// Where the system cannot say.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the chain and waits until it has written its state.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub async fn stop(mut self) -> Result<(), ToolError> {
        drop(self.lifeline.take());
        let seconds = STOP_TIMEOUT.as_secs();
        let slow = |_| ToolError::TooSlow { tool: "anvil", task: "shutting down".to_owned(), seconds };
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.map_err(slow)?;
        ended.map(|_| ()).map_err(|source| ToolError::Start { tool: "anvil", source })
    }
}

/// Reads until anvil says where it listens, then keeps the pipe empty. `None` where it ends before.
async fn listening_port(stdout: ChildStdout) -> Option<u16> {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let port = line.strip_prefix("Listening on ").and_then(|address| address.trim().rsplit(':').next());
        if let Some(port) = port.and_then(|port| port.parse().ok()) {
            drain("anvil", lines.into_inner());
            return Some(port);
        }
    }
    None
}

/// Keeps a pipe empty, or its writer would stand still.
fn drain(tool: &'static str, pipe: impl tokio::io::AsyncRead + Unpin + Send + 'static) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            debug!(tool, line = %String::from_utf8_lossy(&line), "output");
        }
    });
}

/// A forge script to run against a chain.
#[derive(Clone, Debug)]
pub struct ForgeScript<'a> {
    /// The foundry project.
    pub project: &'a Path,
    /// `script/File.s.sol:Contract`, relative to the project.
    pub script: &'a str,
    /// The chain's RPC.
    pub rpc_url: &'a str,
    /// An account that the chain itself holds the key of, as anvil does ([`DEVELOPER`]): no key goes anywhere.
    pub sender: Address,
    /// More variables that the script reads.
    pub variables: &'a [(&'a str, String)],
    /// Time it has.
    pub timeout: Duration,
}

/// The first account that anvil funds and holds the key of.
pub const DEVELOPER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");

/// Runs a forge script under the profile `deploy` and broadcasts what it does; returns what it wrote to standard output.
///
/// # Errors
/// With the end of forge's own words where it fails.
pub async fn run_forge_script(script: &ForgeScript<'_>) -> Result<String, ToolError> {
    let path = find_tool(Tool::Forge)?;
    let (tool, task) = ("forge", format!("script {}", script.script));
    let run = Command::new(path)
        .current_dir(script.project)
        .args(["script", script.script, "--rpc-url", script.rpc_url, "--broadcast", "--slow", "--non-interactive"])
        .args(["--unlocked", "--sender", &script.sender.to_string()])
        .env("FOUNDRY_PROFILE", "deploy")
        .envs(script.variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let seconds = script.timeout.as_secs();
    let ended = tokio::time::timeout(script.timeout, run).await;
    let ended = ended.map_err(|_| ToolError::TooSlow { tool, task: task.clone(), seconds })?;
    let output = ended.map_err(|source| ToolError::Start { tool, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout.as_slice(), b"\n", output.stderr.as_slice()].concat();
    Err(ToolError::Failed { tool, task, status: output.status, output: tail(&said) })
}

/// The end of what a tool wrote.
fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(OUTPUT_MAX);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}
