//! Driver: one `ssh` and the talk with the script at its other end.
#![expect(clippy::disallowed_methods, reason = "driver: runs ssh")]

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::failure::{Failure, shown};
use super::frames::{Frame, FrameReader};
use super::plan::Probe;
use super::{SshDestination, config, script};

/// A log-in under way. Dropping it ends ssh and the ssh of its jump hosts at once.
#[derive(Debug)]
pub(super) struct Session {
    child: Child,
    orders: Option<ChildStdin>,
    answers: ChildStdout,
    frames: FrameReader,
    complaints: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

/// What is at the other end.
#[derive(Debug)]
pub(super) enum Door {
    /// The script, waiting for orders.
    Open(Box<Session>, Probe),
    /// A key with a forced command: what it printed without being asked.
    Forced(String),
}

impl Session {
    /// Logs in and waits for the script's first words.
    pub(super) async fn open(
        config: &std::path::Path,
        destination: &SshDestination,
        mark: &str,
    ) -> Result<Door, Failure> {
        let script = script::text(mark);
        let mut child = Command::new("ssh")
            .args(config::arguments(config, destination, script.len()))
            .env("SSH_ASKPASS_REQUIRE", "never")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Of its own, so that all of it can be ended; and as no foreground group, so that none of it asks the terminal.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::NoSsh(error.to_string()))?;
        let (Some(orders), Some(answers), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Failure::NoSsh("it was started without pipes".to_owned()));
        };
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let listening = tokio::spawn(keep_the_end(errors, Arc::clone(&complaints)));
        let frames = FrameReader::new(mark, MOST_BYTES);
        let mut session = Self { child, orders: Some(orders), answers, frames, complaints, listening };
        match timeout(LOG_IN, session.first_words(script.as_bytes())).await {
            Ok(Ok(Some(frame))) if frame.name == script::PROBE => {
                let probe = Probe::parse(&frame.text());
                tracing::debug!(%destination, ?probe, "logged in");
                Ok(Door::Open(Box::new(session), probe))
            }
            Ok(Ok(_)) => {
                let outside = String::from_utf8_lossy(session.frames.outside()).into_owned();
                let (code, complaints) = session.end().await;
                // Whoever forces `postern host -o json` gets what was forced.
                if outside.trim_start().starts_with('{') && code == Some(0) {
                    return Ok(Door::Forced(outside));
                }
                Err(Failure::of_ssh(code, &complaints))
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::NoLogIn(LOG_IN)),
        }
    }

    async fn first_words(&mut self, script: &[u8]) -> Result<Option<Frame>, Failure> {
        self.order(script).await;
        self.next().await
    }

    /// Says something to the script. Whether it was heard shows in the answer.
    pub(super) async fn order(&mut self, words: &[u8]) {
        if let Some(orders) = &mut self.orders {
            let _ = orders.write_all(words).await;
            let _ = orders.flush().await;
        }
    }

    /// All frames of the answer to an order, up to the one that ends it.
    pub(super) async fn answer(&mut self) -> Result<Vec<Frame>, Failure> {
        let mut frames = Vec::new();
        loop {
            match self.next().await? {
                Some(frame) if frame.name == script::DONE => return Ok(frames),
                Some(frame) => frames.push(frame),
                None => {
                    let (code, complaints) = self.end().await;
                    let last = complaints.lines().rfind(|line| !line.trim().is_empty()).map(shown);
                    let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
                    return Err(Failure::Lost(last.unwrap_or_else(|| format!("ssh ended with {code}"))));
                }
            }
        }
    }

    /// Hands over a program with the `order` for it, which ends the orders, and waits for the answer.
    pub(super) async fn copy(
        &mut self,
        order: Vec<u8>,
        mut program: impl AsyncRead + Unpin,
    ) -> Result<Vec<Frame>, Failure> {
        let Some(mut orders) = self.orders.take() else {
            return Err(Failure::Lost("its input is closed".to_owned()));
        };
        let hand_over = async move {
            // The other side may have stopped listening: its answer says why.
            if orders.write_all(&order).await.is_ok() {
                let _ = tokio::io::copy(&mut program, &mut orders).await;
            }
            let _ = orders.shutdown().await;
        };
        let (answer, ()) = tokio::join!(self.answer(), hand_over);
        answer
    }

    /// A good-bye: the script ends when its input does.
    pub(super) async fn close(mut self: Box<Self>) {
        drop(self.orders.take());
        let _ = timeout(FAREWELL, self.child.wait()).await;
    }

    async fn next(&mut self) -> Result<Option<Frame>, Failure> {
        let mut chunk = vec![0; CHUNK];
        loop {
            if let Some(frame) = self.frames.frame() {
                return Ok(Some(frame));
            }
            match self.answers.read(&mut chunk).await {
                Ok(0) => return Ok(None),
                Ok(length) => self.frames.push(&chunk[..length]).map_err(|_| Failure::TooMuch(MOST_BYTES))?,
                Err(error) => return Err(Failure::Lost(error.to_string())),
            }
        }
    }

    /// Exit code and complaints of an ssh that has closed its output.
    async fn end(&mut self) -> (Option<i32>, String) {
        drop(self.orders.take());
        let status = timeout(FAREWELL, self.child.wait()).await;
        // A process in the background may hold the other end of the pipe.
        let _ = timeout(FAREWELL, &mut self.listening).await;
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        (status.ok().and_then(|status| status.ok()?.code()), String::from_utf8_lossy(&complaints).into_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.listening.abort();
        // The id is there as long as nobody has waited for the process, and so is not another's.
        let group = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads all and keeps the end of it: the last words are those that say what went wrong.
async fn keep_the_end(mut from: impl AsyncRead + Unpin, to: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; 4096];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let mut kept = to.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..length]);
        let surplus = kept.len().saturating_sub(MOST_COMPLAINTS);
        kept.drain(..surplus);
    }
}

/// Until the script speaks, jump hosts included. ssh's own ConnectTimeout does not cover the key exchange.
const LOG_IN: Duration = Duration::from_secs(30);
/// For ssh to end after its session has.
const FAREWELL: Duration = Duration::from_secs(3);
const CHUNK: usize = 64 << 10;
/// A report of 10,600 sockets has some 3 MB.
pub(super) const MOST_BYTES: usize = 64 << 20;
const MOST_COMPLAINTS: usize = 16 << 10;
