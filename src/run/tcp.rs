//! The TCP sweep of a look: which engine, and what the report says where it is not the one that was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::sweeping::space_job;
use crate::cli::EngineChoice;
use crate::model::report::{Gap, Sweep};
use crate::model::{PortRanges, Shard, Transport};
use crate::net::link::open::may_send_raw;
use crate::sweep::connect::{self, ConnectSettings};
use crate::sweep::raw::process::Transmit;
use crate::sweep::raw::{self, RawSettings};
use crate::sweep::{SweepEvent, SweepResult};
use crate::targets::{Space, TargetSet};

/// How to sweep TCP.
#[derive(Clone, Debug)]
pub struct TcpSweep {
    pub engine: EngineChoice,
    pub connect: ConnectSettings,
    pub raw: RawSettings,
    pub shard: Shard,
}

/// What is swept, and where it is told.
#[derive(Debug)]
pub struct Swept<'a> {
    pub targets: &'a TargetSet,
    pub ports: &'a PortRanges,
    pub seed: u64,
    pub descriptors: usize,
    pub events: &'a mpsc::Sender<SweepEvent>,
    pub cancel: &'a Arc<AtomicBool>,
}

impl TcpSweep {
    /// Sweeps on the calling thread, in its network namespace.
    pub fn run(&self, of: &Swept<'_>) -> SweepResult {
        let space = Space::new(of.targets.clone(), of.ports, Transport::Tcp, of.seed).sharded(self.shard);
        let by_connect = || connect::sweep(&space, &self.connect, of.descriptors, of.events, of.cancel);
        if self.engine == EngineChoice::Connect {
            return by_connect();
        }
        // Who insists on AF_XDP is not served by another way.
        let by_any = self.engine == EngineChoice::Auto && self.raw.transmit != Transmit::Xdp;
        if by_any && !may_send_raw() {
            let mut result = by_connect();
            result.gaps.push(gap("it takes CAP_NET_RAW", false));
            return result;
        }
        let job = space_job(of.targets, of.ports, of.seed, self.shard);
        match raw::sweep(&space, job, &self.raw, of.events, of.cancel) {
            Ok(result) => result,
            // Who has asked the run to stop does not want another sweep.
            Err(error) if of.cancel.load(Ordering::Relaxed) => {
                SweepResult { interrupted: true, ..nothing(gap(&error.to_string(), true)) }
            }
            Err(error) if by_any => {
                tracing::warn!("no raw sweep: {error}; connecting instead");
                let mut result = by_connect();
                result.gaps.push(gap(&error.to_string(), false));
                result
            }
            Err(error) if self.raw.transmit == Transmit::Xdp => {
                let settled_by = "what the cause hints at, or a run without --transmit xdp".to_owned();
                nothing(Gap { settled_by, ..gap(&error.to_string(), true) })
            }
            Err(error) => nothing(gap(&error.to_string(), true)),
        }
    }
}

fn gap(cause: &str, incomplete: bool) -> Gap {
    let (what, settled_by) = if incomplete {
        ("the TCP sweep", "root or CAP_NET_RAW, or --engine connect")
    } else {
        (
            "what only a raw sweep sees: hop counts and TCP options of answers",
            "root, or `setcap cap_net_raw+ep` on the program",
        )
    };
    Gap {
        what: what.to_owned(),
        cause: format!("no raw sweep: {cause}"),
        settled_by: settled_by.to_owned(),
        incomplete,
    }
}

fn nothing(gap: Gap) -> SweepResult {
    SweepResult {
        observations: Vec::new(),
        groups: Vec::new(),
        living: BTreeSet::new(),
        macs: BTreeMap::new(),
        improbable: BTreeMap::new(),
        stats: Sweep::unsent("syn", "none"),
        gaps: vec![gap],
        interrupted: false,
    }
}
