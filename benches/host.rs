//! `postern host` beside `ss`, `netstat` and `lsof`, in the same run, on sockets of this bench's own making.
//!
//! `cargo bench --bench host` starts, in a network namespace of its own, 20 processes with 500 TCP listeners each, and 200
//! processes in further namespaces with three listeners each: 10,600 in all. The peers run in turn; wall time is the best of
//! five runs (a machine with other work shows it: the processor time is beside it), memory the peak of the process (wait4(2),
//! ru_maxrss; a small process starts it, as the peak begins with the starter's). Needs root; says so and skips otherwise. `-- --quick` is
//! a small run that only checks that everything is found.
#![expect(clippy::disallowed_methods, reason = "runs and times programs, opens sockets")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "prints its table")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let quick = words.contains(&"--quick");
    let case = if quick { Case::QUICK } else { Case::FULL };
    match words.as_slice() {
        [_, "--hold", count, base] => hold(count.parse().unwrap_or(0), base.parse().unwrap_or(0)),
        [_, "--inside", ..] => inside(case),
        [_, "--measure", program, rest @ ..] => measure(Command::new(program).args(rest)),
        _ => outside(quick),
    }
}

#[derive(Clone, Copy)]
struct Case {
    processes: usize,
    listeners: usize,
    namespaces: usize,
    runs: usize,
}

impl Case {
    const FULL: Self = Self { processes: 20, listeners: 500, namespaces: 200, runs: 5 };
    const QUICK: Self = Self { processes: 2, listeners: 50, namespaces: 10, runs: 1 };

    const fn own(self) -> usize {
        self.processes * self.listeners
    }

    const fn all(self) -> usize {
        self.own() + self.namespaces * IN_EACH
    }
}

/// Starts itself again in a network namespace, which is gone with it.
fn outside(quick: bool) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: host needs root for its network namespaces");
        return ExitCode::SUCCESS;
    }
    let Ok(own) = std::env::current_exe() else { return ExitCode::FAILURE };
    let mut command = Command::new("unshare");
    command.arg("--net").arg(own).arg("--inside").args(quick.then_some("--quick"));
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Listens until its input ends: with the bench that started it.
fn hold(count: u16, base: u16) -> ExitCode {
    let listeners: io::Result<Vec<_>> = (base..base + count).map(|port| TcpListener::bind(("0.0.0.0", port))).collect();
    let Ok(_listeners) = listeners else { return ExitCode::FAILURE };
    let ready = io::stdout().write_all(b"ready\n").and_then(|()| io::stdout().flush());
    let ended = ready.and_then(|()| io::stdin().read_to_end(&mut Vec::new()));
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inside(case: Case) -> ExitCode {
    let holders = match Holders::start(case) {
        Ok(holders) => holders,
        Err(error) => {
            println!("FAILED: cannot start what listens: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{} listeners in {} processes, {} namespaces with {IN_EACH} each, {cores} cores",
        case.own(),
        case.processes,
        case.namespaces
    );
    println!("{:24} {:>9} {:>9} {:>9} {:>8} {:>8}", "", "wall ms", "cpu ms", "peak MB", "found", "of");
    let mut best: Option<Row> = None;
    for peer in PEERS {
        let rows: Option<Vec<Row>> = (0..case.runs).map(|_| peer.run()).collect();
        let Some(row) = rows.and_then(|rows| rows.into_iter().min_by_key(|row| row.wall)) else {
            println!("{:24} not installed", peer.name());
            continue;
        };
        let (wall, cpu) = (row.wall.as_secs_f64() * 1000.0, row.cpu.as_secs_f64() * 1000.0);
        println!("{:24} {wall:9.0} {cpu:9.0} {:9.1} {:8} {:8}", peer.name(), row.megabytes, row.found, case.all());
        if *peer == Peer::Postern {
            best = Some(row);
        }
    }
    drop(holders);
    let Some(row) = best else { return ExitCode::FAILURE };
    if row.found < case.all() {
        println!("FAIL: Postern lost {} listeners or their owners", case.all() - row.found);
        return ExitCode::FAILURE;
    }
    println!("PASS: Postern found every listener with its owner");
    let met = row.wall <= GOAL && row.megabytes <= GOAL_MEGABYTES;
    println!("goal {GOAL:?}, {GOAL_MEGABYTES} MB: {}", if met { "met" } else { "missed" });
    ExitCode::SUCCESS
}

/// Listeners in each further namespace.
const IN_EACH: usize = 3;
const GOAL: Duration = Duration::from_millis(500);
const GOAL_MEGABYTES: f64 = 60.0;

/// The processes that listen; they end with this value.
struct Holders(Vec<Child>);

impl Holders {
    fn start(case: Case) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let mut holders = Self(Vec::new());
        for number in 0..case.processes {
            let base = 1024 + number * case.listeners;
            let mut command = Command::new(&own);
            holders.hold(&mut command, case.listeners, base)?;
        }
        for _ in 0..case.namespaces {
            let mut command = Command::new("unshare");
            command.arg("--net").arg(&own);
            holders.hold(&mut command, IN_EACH, 8000)?;
        }
        for child in &mut holders.0 {
            let mut line = [0; 6];
            child.stdout.as_mut().map_or(Ok(()), |output| output.read_exact(&mut line))?;
        }
        Ok(holders)
    }

    fn hold(&mut self, command: &mut Command, count: usize, base: usize) -> io::Result<()> {
        let command = command.args(["--hold", &count.to_string(), &base.to_string()]);
        self.0.push(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        Ok(())
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Postern,
    Ss,
    Netstat,
    Lsof,
}

const PEERS: &[Peer] = &[Peer::Postern, Peer::Ss, Peer::Netstat, Peer::Lsof];

struct Row {
    wall: Duration,
    cpu: Duration,
    megabytes: f64,
    found: usize,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Postern => "postern host -o json",
            Self::Ss => "ss -tulpnH",
            Self::Netstat => "netstat -tulpn",
            Self::Lsof => "lsof -i -P -n",
        }
    }

    fn command(self) -> Command {
        let (program, arguments): (&str, &[&str]) = match self {
            Self::Postern => (env!("CARGO_BIN_EXE_postern"), &["host", "-o", "json"]),
            Self::Ss => ("ss", &["-tulpnH"]),
            Self::Netstat => ("netstat", &["-tulpn"]),
            Self::Lsof => ("lsof", &["-i", "-P", "-n"]),
        };
        let own = std::env::current_exe().unwrap_or_default();
        let mut command = Command::new(own);
        command.arg("--measure").arg(program).args(arguments);
        command
    }

    /// One run. `None`: it is not installed.
    fn run(self) -> Option<Row> {
        let mut output = tempfile::tempfile().ok()?;
        let measured = self
            .command()
            .stdin(Stdio::null())
            .stdout(output.try_clone().ok()?)
            .stderr(Stdio::piped())
            .output()
            .ok()?;
        let text = String::from_utf8(measured.stderr).ok()?;
        let mut numbers = text.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        let (wall, cpu, kilobytes) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Row {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            megabytes: kilobytes as f64 / 1024.0,
            found: self.found(&mut output),
        })
    }

    /// Listeners of the holders that the output shows with their owner.
    fn found(self, output: &mut File) -> usize {
        let mut text = String::new();
        if io::Seek::rewind(output).and_then(|()| output.read_to_string(&mut text).map(|_| ())).is_err() {
            return 0;
        }
        match self {
            Self::Postern => {
                let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let listeners = report["listeners"].as_array().cloned().unwrap_or_default();
                listeners.iter().filter(|one| one["process"].as_str().is_some_and(is_holder)).count()
            }
            Self::Ss | Self::Netstat | Self::Lsof => text
                .lines()
                .filter(|line| line.contains("LISTEN") && line.split(['"', '/', ' ']).any(is_holder))
                .count(),
        }
    }
}

/// The bench's own processes: `host-` and a hash, which some tools cut.
fn is_holder(name: &str) -> bool {
    name.starts_with("host-")
}

/// Runs a program with this process's output and tells on stderr its wall time and processor time in microseconds, and its
/// peak memory in KiB.
fn measure(command: &mut Command) -> ExitCode {
    let from = Instant::now();
    let Ok(child) = command.stderr(Stdio::null()).spawn() else { return ExitCode::FAILURE };
    let Some(usage) = wait(&child) else { return ExitCode::FAILURE };
    let wall = from.elapsed().as_micros();
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    eprintln!("{wall} {} {}", micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss);
    ExitCode::SUCCESS
}

/// Waits for a process; what it used.
#[expect(unsafe_code, reason = "std has no wait4")]
fn wait(child: &Child) -> Option<libc::rusage> {
    let pid = i32::try_from(child.id()).ok()?;
    // SAFETY: rusage is plain numbers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers lead to values that live for the call; the child is this process's own and nobody else waits
    // for it.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    (ended == pid).then_some(usage)
}
