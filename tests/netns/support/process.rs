//! Processes: short ones that must succeed, and background ones that end with their value.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How long a server may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);

/// Runs a program to its end and returns its standard output; a failure fails the test.
pub fn run(program: &str, arguments: &[&str]) -> String {
    finish(Command::new(program).args(arguments))
}

/// The same for a command that is already put together.
pub fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks until `ready` says yes, at most `limit`; then `what` was not there in time.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let from = Instant::now();
    while !ready() {
        assert!(from.elapsed() < limit, "{what}: not after {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server: its process group is ended (SIGTERM, then SIGKILL) and waited for when the value goes.
#[derive(Debug)]
pub struct Background {
    child: Child,
    name: String,
    log: PathBuf,
    grace: Duration,
}

impl Background {
    /// Starts it with its output in `DIRECTORY/NAME.log`.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, name: name.to_owned(), log, grace: GRACE }
    }

    /// For processes that need no farewell, or heed none.
    pub const fn killed_at_once(mut self) -> Self {
        self.grace = Duration::ZERO;
        self
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it is `ready`; fails at once, with its output, when it ends before.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut(&str) -> bool) {
        let from = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status} before {what}:\n{}", self.name, self.output());
            }
            if ready(&self.output()) {
                return;
            }
            assert!(from.elapsed() < Duration::from_secs(60), "{}: no {what}:\n{}", self.name, self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        // The group: an nsenter that waits for the server does not hand signals on.
        let _ = kill_process_group(group, Signal::TERM);
        let from = Instant::now();
        let lives = |child: &mut Child| matches!(child.try_wait(), Ok(None)) || test_kill_process_group(group).is_ok();
        while lives(&mut self.child) && from.elapsed() < self.grace {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}
