//! Runs the named tasks of a service as one: when any of them ends, all end.
//!
//! A half-running member is worse than a stopped one: it could sign without watching, or watch without paying. So the first
//! task to leave, whether by an error, by a panic or just by returning, cancels the token that all hold; what is still
//! running at the end of the drain time is aborted and reported.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// How long tasks may take to leave after they were told to.
pub const DRAIN: Duration = Duration::from_secs(10);

/// What a task ends with.
pub type TaskResult = Result<(), TaskError>;
/// Any error of a task. What [`SupervisorError::find`] must find is boxed as itself.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// Named tasks with a common end.
#[derive(Debug, Default)]
pub struct Supervisor {
    stop: CancellationToken,
    tasks: JoinSet<TaskResult>,
    names: BTreeMap<tokio::task::Id, (String, AbortHandle)>,
}

impl Supervisor {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelling it stops all tasks; a clone can be kept outside, as a way to ask for the end.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It gets a child token, and must return soon after that is cancelled.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let name = name.into();
        let span = info_span!("task", name);
        let handle = self.tasks.spawn(task(self.stop.child_token()).instrument(span));
        self.names.insert(handle.id(), (name, handle));
    }

    /// Waits until `asked_to_stop` resolves, the token is cancelled or a task ends; then stops all, for at most `drain`.
    /// Returns what `asked_to_stop` gave, or `None` where the token was cancelled.
    ///
    /// # Errors
    /// Every task that failed, panicked, left without being told to, or did not leave in time; the cause comes first.
    pub async fn run<S>(
        mut self,
        asked_to_stop: impl Future<Output = S>,
        drain: Duration,
    ) -> Result<Option<S>, SupervisorError> {
        let mut failures = Vec::new();
        let asked = tokio::select! {
            biased;
            asked = asked_to_stop => Some(asked),
            () = self.stop.cancelled() => None,
            Some(ended) = self.tasks.join_next_with_id() => {
                // The token may have been cancelled by the very task that ended.
                let told = self.stop.is_cancelled();
                self.note(ended, told, &mut failures);
                None
            }
        };
        self.stop.cancel();
        let all_left = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.note(ended, true, &mut failures);
            }
        };
        if tokio::time::timeout(drain, all_left).await.is_err() {
            self.abort(&mut failures).await;
        }
        if failures.is_empty() { Ok(asked) } else { Err(SupervisorError { failures }) }
    }

    fn note(
        &mut self,
        ended: Result<(tokio::task::Id, TaskResult), JoinError>,
        told: bool,
        failures: &mut Vec<TaskFailure>,
    ) {
        let (id, reason) = match ended {
            Ok((id, Ok(()))) if told => (id, None),
            Ok((id, Ok(()))) => (id, Some(Reason::Ended)),
            Ok((id, Err(source))) => (id, Some(Reason::Failed(source))),
            Err(error) => (error.id(), Some(Reason::Panicked(panic_text(error)))),
        };
        let task = self.names.remove(&id).map(|(name, _)| name).unwrap_or_default();
        match reason {
            None => info!(task, "task stopped"),
            Some(reason) => {
                let failure = TaskFailure { task, reason };
                error!(task = failure.task, reason = %failure, cause = failure.source().map(ToString::to_string), "task failed");
                failures.push(failure);
            }
        }
    }

    async fn abort(&mut self, failures: &mut Vec<TaskFailure>) {
        for (task, handle) in std::mem::take(&mut self.names).into_values() {
            warn!(task, "task did not stop in time and is aborted");
            handle.abort();
            failures.push(TaskFailure { task, reason: Reason::Stuck });
        }
        self.tasks.shutdown().await;
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "aborted".into();
    };
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Resolves at the first SIGINT or SIGTERM, with its name. The handlers are in place when this returns.
///
/// # Errors
/// When the system refuses a handler.
pub fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

/// Why a service stopped that nobody had stopped.
#[derive(Debug)]
pub struct SupervisorError {
    failures: Vec<TaskFailure>,
}

impl SupervisorError {
    /// All failures, the first one first.
    pub fn failures(&self) -> &[TaskFailure] {
        &self.failures
    }

    /// The first failure that is, or was caused by, an error of type `E`.
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.failures.iter().find_map(|failure| {
            std::iter::successors(failure.source(), |error: &&(dyn Error + 'static)| (**error).source())
                .find_map(|error| error.downcast_ref())
        })
    }
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.as_slice() {
            [] => f.write_str("no task failed"),
            [only] => only.fmt(f),
            [first, rest @ ..] => write!(f, "{first}, then {} more", rest.len()),
        }
    }
}

impl Error for SupervisorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failures.first()?.source()
    }
}

/// How one task ended.
#[derive(Debug, Error)]
#[error("task `{task}` {reason}")]
pub struct TaskFailure {
    /// Its name.
    pub task: String,
    /// What went wrong.
    #[source]
    pub reason: Reason,
}

/// What went wrong with a task.
#[derive(Debug, Error)]
pub enum Reason {
    /// It returned an error.
    #[error("failed")]
    Failed(#[source] TaskError),
    /// It panicked: a programmer's error.
    #[error("panicked: {0}")]
    Panicked(String),
    /// It returned while the service was to go on.
    #[error("ended although nobody stopped it")]
    Ended,
    /// It was told to stop and did not.
    #[error("did not stop in time")]
    Stuck,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[derive(Debug, Error)]
    #[error("the ledger contradicts itself")]
    struct Halted;

    async fn until_stopped(stop: CancellationToken) -> TaskResult {
        stop.cancelled().await;
        Ok(())
    }

    fn reasons(error: &SupervisorError) -> Vec<String> {
        error.failures().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn first_failure_should_stop_all_and_keep_its_cause() {
        let mut tasks = Supervisor::new();
        tasks.spawn("steady", until_stopped);
        tasks.spawn("driver", |_| async { Err(Halted.into()) });
        let error = tasks.run(pending::<()>(), DRAIN).await.expect_err("a task failed");
        assert_eq!(reasons(&error), ["task `driver` failed"]);
        assert!(error.find::<Halted>().is_some());
        assert!(error.find::<io::Error>().is_none());
    }

    #[tokio::test]
    async fn panic_should_be_a_failure() {
        let mut tasks = Supervisor::new();
        tasks.spawn("steady", until_stopped);
        tasks.spawn("watcher", |_| async { panic!("row {} vanished", 7) });
        let error = tasks.run(pending::<()>(), DRAIN).await.expect_err("a task panicked");
        assert_eq!(reasons(&error), ["task `watcher` panicked: row 7 vanished"]);
    }

    #[tokio::test]
    async fn leaving_early_should_be_a_failure() {
        let mut tasks = Supervisor::new();
        tasks.spawn("steady", until_stopped);
        tasks.spawn("server", |_| async { Ok(()) });
        let error = tasks.run(pending::<()>(), DRAIN).await.expect_err("a task left");
        assert_eq!(reasons(&error), ["task `server` ended although nobody stopped it"]);
    }

    #[tokio::test]
    async fn failures_while_stopping_should_be_collected() {
        let mut tasks = Supervisor::new();
        tasks.spawn("first", |_| async { Err(Halted.into()) });
        tasks.spawn("second", |stop| async move {
            stop.cancelled().await;
            Err("the socket is gone".into())
        });
        let error = tasks.run(pending::<()>(), DRAIN).await.expect_err("both failed");
        assert_eq!(reasons(&error), ["task `first` failed", "task `second` failed"]);
        assert_eq!(error.to_string(), "task `first` failed, then 1 more");
    }

    #[tokio::test]
    async fn deaf_task_should_be_aborted_at_the_deadline() {
        let mut tasks = Supervisor::new();
        tasks.spawn("deaf", |_| pending());
        let error = tasks.run(async { "SIGTERM" }, Duration::from_millis(10)).await.expect_err("it never leaves");
        assert_eq!(reasons(&error), ["task `deaf` did not stop in time"]);
    }

    #[tokio::test]
    async fn being_asked_should_stop_all_without_a_failure() {
        let mut tasks = Supervisor::new();
        tasks.spawn("steady", until_stopped);
        assert_eq!(tasks.run(async { "SIGTERM" }, DRAIN).await.expect("all left"), Some("SIGTERM"));
    }

    #[tokio::test]
    async fn cancelled_token_should_stop_all_without_a_failure() {
        let mut tasks = Supervisor::new();
        tasks.spawn("steady", until_stopped);
        let stop = tasks.stop_token();
        tasks.spawn("quitter", |_| async move {
            stop.cancel();
            Ok(())
        });
        assert_eq!(tasks.run(pending::<()>(), DRAIN).await.expect("all left"), None);
    }
}
