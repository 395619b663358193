//! Runs of the real program: bounded in time, all output kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The program with its arguments, about to run in a namespace.
#[derive(Debug)]
pub struct Postern {
    command: Command,
    /// JSON and NDJSON are asked for in files, beside the table on standard output.
    files: Option<(PathBuf, PathBuf)>,
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    ndjson: String,
    json: String,
}

impl Postern {
    /// `timeout` is a command that runs timeout(1) in the right namespaces; its exit code 124, none of ours, means that
    /// the time was up.
    pub fn new(timeout: Command, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = timeout;
        command.args(["--kill-after=5", "240", env!("CARGO_BIN_EXE_postern")]).args(arguments);
        command.current_dir(directory).env("NO_COLOR", "1");
        Self { command, files: None }
    }

    /// Asks for every format at once: the table on standard output, the others in files of `directory`.
    pub fn all_formats(mut self, directory: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (json, ndjson) =
            (directory.join(format!("report-{count}.json")), directory.join(format!("report-{count}.ndjson")));
        self.command.args(["-o", "table"]);
        self.command.arg("-o").arg(format!("json={}", json.display()));
        self.command.arg("-o").arg(format!("ndjson={}", ndjson.display()));
        self.files = Some((json, ndjson));
        self
    }

    pub fn run(mut self) -> Outcome {
        let output = self.command.output().unwrap();
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
        let (json, ndjson) = self.files.as_ref().map(|(json, ndjson)| (read(json), read(ndjson))).unwrap_or_default();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            ndjson,
            json,
        }
    }
}

impl Outcome {
    /// The JSON report, from its file or from standard output.
    pub fn report(&self) -> Value {
        let text = if self.json.is_empty() { &self.stdout } else { &self.json };
        serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON report: {error}\n{}", self.everything()))
    }

    /// All that was written, whatever the format.
    pub fn everything(&self) -> String {
        format!(
            "exit code {}\n--- stdout\n{}\n--- stderr\n{}\n--- json\n{}\n--- ndjson\n{}",
            self.code, self.stdout, self.stderr, self.json, self.ndjson
        )
    }

    /// Code, stdout and stderr, for messages of failures.
    pub fn shown(&self) -> String {
        format!("exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    /// Every format must have been written and none may hold the secret, as it is or in base64.
    pub fn assert_silent_about(&self, secret: &str) {
        for (format, text) in [("table", &self.stdout), ("json", &self.json), ("ndjson", &self.ndjson)] {
            assert!(!text.is_empty(), "nothing was written as {format}\n{}", self.shown());
        }
        let everything = self.everything();
        for form in [secret.to_owned(), base64(secret.as_bytes())] {
            assert!(!everything.contains(&form), "the planted secret {form} is in the output:\n{everything}");
        }
    }
}

/// etcd's gateway shows values in base64.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Without the last, padded group: it would hide a value that continues.
    bytes
        .chunks_exact(3)
        .flat_map(|group| {
            let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            [18, 12, 6, 0].map(|shift| char::from(LETTERS[(bits >> shift) as usize & 0x3f]))
        })
        .collect()
}

#[test]
fn base64_is_as_usual() {
    assert_eq!(base64(b"planted-word"), "cGxhbnRlZC13b3Jk");
}
