//! A member as a process of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::{Child, Command};

use crate::api::Status;
use crate::http::{http_client, read_body};

/// How long a member may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two looks at a member that is starting.
const LOOK: Duration = Duration::from_millis(50);
/// Largest status that is read.
const STATUS_BYTES_MAX: usize = 64 * 1024;

/// A running member. Dropping it kills it.
#[derive(Debug)]
pub struct MemberProcess {
    index: u8,
    peer: SocketAddr,
    api: SocketAddr,
    binary: PathBuf,
    config: PathBuf,
    child: Child,
}

impl MemberProcess {
    /// Starts `lockstep run --config …`; its log goes to `member.log` beside the configuration.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(index: u8, binary: &Path, config: &Path, peer: SocketAddr, api: SocketAddr) -> Result<Self> {
        let log = config.with_file_name("member.log");
        let log = File::options().create(true).append(true).open(&log).with_context(|| format!("{}", log.display()))?;
        let child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(config)
            // An interrupt from the terminal goes to us alone, and we stop members in order.
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start a member")?;
        Ok(Self { index, peer, api, binary: binary.to_path_buf(), config: config.to_path_buf(), child })
    }

    /// Its index.
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where its peers reach it.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where its status is.
    pub const fn api(&self) -> SocketAddr {
        self.api
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it ended instead, with the end of its log, or does not answer in time.
    pub async fn ready(&mut self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        while self.status().await.is_err() {
            if let Some(status) = self.ended()? {
                bail!("member {} ended with {status}: {}", self.index, self.log_tail());
            }
            ensure!(begun.elapsed() < patience, "member {} does not answer: {}", self.index, self.log_tail());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// How far it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Status> {
        let client = http_client(Duration::from_secs(5))?;
        let response = client.get(format!("http://{}/status", self.api)).send().await?;
        Ok(serde_json::from_slice(&read_body(response, STATUS_BYTES_MAX).await?)?)
    }

    /// Kills it at once, as a power failure would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill a member")
    }

    /// Starts it again from its configuration.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Self::ready`].
    pub async fn restart(&mut self, patience: Duration) -> Result<()> {
        *self = Self::start(self.index, &self.binary, &self.config, self.peer, self.api)?;
        self.ready(patience).await
    }

    /// Lets it sign again after it lost its database, as its operator would. It must not run.
    ///
    /// # Errors
    /// When there is nothing to accept, with what it says.
    pub async fn accept_restore(&self, reason: &str) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(["keys", "accept-restore", "--reason", reason, "--config"]).arg(&self.config);
        let said = command.stdin(Stdio::null()).output().await.context("cannot run lockstep keys")?;
        let error = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "member {} is not let sign: {error}", self.index);
        Ok(String::from_utf8(said.stdout)?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("cannot wait for a member")
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot look at a member")
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it does not stop in time, or not cleanly.
    pub async fn stop(mut self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid.to_string()]).status().await?;
        ensure!(asked.success(), "cannot ask member {} to stop", self.index);
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ended.with_context(|| format!("member {} does not stop", self.index))??;
        ensure!(status.success(), "member {} stopped with {status}: {}", self.index, self.log_tail());
        Ok(())
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.config.with_file_name("member.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}
