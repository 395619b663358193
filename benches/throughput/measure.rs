//! Runs a peer and watches it: wall time, memory, and how fast its probes reach the target's interface.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{TARGETS, end, namespace};

/// A peer that hangs is ended after this long.
pub const LIMIT: Duration = Duration::from_secs(400);

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    pub wall: Duration,
    /// Peak of the peer and of what it has started, each by itself, added up.
    pub memory_kib: u64,
    pub output: String,
    /// Times and frames that had reached the target by then.
    pub arrived: Vec<(Duration, u64)>,
}

impl Run {
    /// Frames per second from the first to number `count`; to the last one where there are fewer.
    pub fn rate(&self, count: u64) -> f64 {
        let last = self.arrived.last().map_or(0, |(_, frames)| *frames);
        let (from, to) = (last.min(count) / 20, last.min(count));
        let at = |wanted: u64| self.arrived.iter().find(|(_, frames)| *frames >= wanted.max(1));
        match (at(from), at(to)) {
            (Some((start, first)), Some((stop, all))) if stop > start => {
                (all - first) as f64 / (*stop - *start).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    pub fn report(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_default()
    }
}

/// `None` when it hung.
pub fn run(mut command: Command, limit: Duration) -> Option<Run> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&stop));
        let ended = run_to_end(&mut command, limit);
        stop.store(true, Ordering::Release);
        let arrived = watcher.join().unwrap_or_default();
        ended.map(|(wall, memory_kib, output)| Run { wall, memory_kib, output, arrived })
    })
}

fn run_to_end(command: &mut Command, limit: Duration) -> Option<(Duration, u64, String)> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        // What cannot be read was not found, which the table shows.
        let _ = stdout.read_to_string(&mut output);
        output
    });
    let mut peaks = std::collections::BTreeMap::new();
    let wall = loop {
        for pid in family(child.id()) {
            let peak = peak_of(pid);
            let known: &mut u64 = peaks.entry(pid).or_default();
            *known = peak.max(*known);
        }
        if child.try_wait().ok()?.is_some() {
            break started.elapsed();
        }
        if started.elapsed() > limit {
            end(&mut child);
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Some((wall, peaks.values().sum(), reader.join().ok()?))
}

/// The process and those that it has started, and so on.
fn family(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>());
    std::iter::once(pid).chain(children.flat_map(family)).collect()
}

fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    field.and_then(|field| field.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Frames received by the target's interfaces, every two milliseconds.
fn watch(stop: &AtomicBool) -> Vec<(Duration, u64)> {
    let Ok(targets) = namespace(TARGETS) else { return Vec::new() };
    let looked = targets.inside(|| {
        let frames = || {
            let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
            // The third word is the number of packets; `lo` is within the target.
            let devices = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
            devices.filter_map(|(_, counts)| counts.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
        };
        let (started, before) = (Instant::now(), frames());
        let mut seen = vec![(Duration::ZERO, 0)];
        while !stop.load(Ordering::Acquire) {
            let now = frames() - before;
            if seen.last().is_none_or(|(_, last)| *last != now) {
                seen.push((started.elapsed(), now));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        seen
    });
    looked.unwrap_or_default()
}
