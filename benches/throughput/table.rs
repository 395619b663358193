//! Rows, goals, and the file that holds them.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::measure::{LIMIT, Run, run};
use crate::peers::{Peer, Task};

/// Everything that was measured.
#[derive(Default)]
pub struct Results {
    rows: Vec<Value>,
    goals: Vec<Value>,
    pub failed: bool,
}

/// One peer in one case.
pub struct Row {
    pub peer: Peer,
    /// Without what it only waits.
    pub seconds: f64,
    /// Probes per second while they went out.
    pub rate: f64,
    pub memory_kib: u64,
    pub found: usize,
    pub run: Run,
}

/// What a case expects of every peer.
#[derive(Clone, Copy)]
pub struct Expected {
    pub task: Task,
    /// Endpoints in all.
    pub probes: u64,
    pub open: usize,
}

impl Results {
    /// Runs a peer once and prints its row; `None` where it is not installed or hung.
    pub fn measure(&mut self, lab: &Lab, case: &str, peer: Peer, expected: &Expected) -> Option<Row> {
        let name = peer.name();
        if !peer.is_installed() {
            println!("{name:<18} not installed");
            self.rows.push(json!({ "case": case, "peer": name, "installed": false }));
            return None;
        }
        lab.settle();
        let Some(run) = run(peer.command(&expected.task), LIMIT) else {
            println!("{name:<18} ended after {LIMIT:?}");
            self.rows.push(json!({ "case": case, "peer": name, "hung": true }));
            return None;
        };
        let row = Row {
            peer,
            seconds: run.wall.as_secs_f64() - peer.waits(),
            rate: run.rate(expected.probes),
            memory_kib: run.memory_kib,
            found: peer.found(&run.output, &expected.task),
            run,
        };
        let frames = row.run.arrived.last().map_or(0, |(_, frames)| *frames);
        println!(
            "{name:<18} {:>7.2} s {:>9.0} probes/s {:>9} frames {:>5} MiB {:>6}/{}",
            row.seconds,
            row.rate,
            frames,
            row.memory_kib / 1024,
            row.found,
            expected.open
        );
        self.rows.push(json!({
            "case": case, "peer": name, "seconds": row.seconds, "rate": row.rate, "frames": frames,
            "memory_kib": row.memory_kib, "found": row.found, "expected": expected.open,
        }));
        Some(row)
    }

    /// A number beside the peers.
    pub fn note(&mut self, case: &str, what: &str, value: f64) {
        println!("{what:<18} {value:>11.2}");
        self.rows.push(json!({ "case": case, "what": what, "value": value }));
    }

    /// Whether a number reaches what it must.
    pub fn goal(&mut self, case: &str, what: &str, value: f64, holds: bool) {
        println!("{} {what}: {value:.3}", if holds { "PASS" } else { "FAIL" });
        self.failed |= !holds;
        self.goals.push(json!({ "case": case, "goal": what, "value": value, "holds": holds }));
    }

    pub fn finish(self) -> ExitCode {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("throughput.json");
        let text = format!("{:#}\n", json!({ "rows": self.rows, "goals": self.goals }));
        match std::fs::write(&path, text) {
            Ok(()) => println!("\nwritten to {}", path.display()),
            Err(error) => println!("\n{}: {error}", path.display()),
        }
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
