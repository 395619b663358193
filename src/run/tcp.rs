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
use crate::sweep::raw::loss::UNINTERRUPTED;
use crate::sweep::raw::process::{MAY_SEND_RAW, Transmit};
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
            result.gaps.push(gap("it takes CAP_NET_RAW", MAY_SEND_RAW, Instead::Connected));
            return result;
        }
        let job = space_job(of.targets, of.ports, of.seed, self.shard);
        let error = match raw::sweep(&space, job, &self.raw, of.events, of.cancel) {
            Ok(result) => return result,
            Err(error) => error,
        };
        // Who has asked the run to stop does not want another sweep.
        let interrupted = of.cancel.load(Ordering::Relaxed);
        let instead = match by_any {
            _ if interrupted => Instead::Interrupted,
            true => Instead::Connected,
            false => Instead::Nothing,
        };
        let insists = instead == Instead::Nothing && self.raw.transmit == Transmit::Xdp;
        let settled_by = if insists { WITHOUT_XDP } else { error.settled_by() };
        let gap = gap(&error.to_string(), settled_by, instead);
        if instead == Instead::Connected {
            tracing::warn!("no raw sweep: {error}; connecting instead");
            let mut result = by_connect();
            result.gaps.push(gap);
            return result;
        }
        SweepResult { interrupted, ..nothing(gap) }
    }
}

/// What was done when there was no raw sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    Connected,
    /// Nothing, as the run was asked to stop meanwhile.
    Interrupted,
    Nothing,
}

/// Why there was no raw sweep, and what settles it.
fn gap(cause: &str, settled_by: &str, instead: Instead) -> Gap {
    let (what, cause, settled_by) = match instead {
        Instead::Connected => (
            "what only a raw sweep sees: hop counts and TCP options of answers",
            format!("no raw sweep: {cause}"),
            settled_by.to_owned(),
        ),
        Instead::Interrupted => {
            ("the TCP sweep", format!("interrupted, and no raw sweep until then: {cause}"), UNINTERRUPTED.to_owned())
        }
        Instead::Nothing => {
            ("the TCP sweep", format!("no raw sweep: {cause}"), format!("{settled_by}, or --engine connect"))
        }
    };
    Gap { what: what.to_owned(), cause, settled_by, incomplete: instead != Instead::Connected }
}

/// For whoever insists on AF_XDP: the cause says what keeps it away.
const WITHOUT_XDP: &str = "what the cause hints at, or a run without --transmit xdp";

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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sweep::raw::RawError;
    use crate::sweep::raw::loss::Loss;

    fn gap_of(error: &RawError, instead: Instead) -> Gap {
        gap(&error.to_string(), error.settled_by(), instead)
    }

    #[test]
    fn what_settles_it_depends_on_why_and_on_what_was_done_instead() {
        let forbidden = RawError::Io { what: "raw sockets", error: io::ErrorKind::PermissionDenied.into() };
        let killed = RawError::Child(Loss::Ended("signal: 9 (SIGKILL)".to_owned()));
        let late = RawError::Child(Loss::Late(10));
        for (error, instead, settled_by, incomplete) in [
            (&forbidden, Instead::Connected, "root, or `setcap cap_net_raw+ep` on the program", false),
            (
                &forbidden,
                Instead::Nothing,
                "root, or `setcap cap_net_raw+ep` on the program, or --engine connect",
                true,
            ),
            // No privilege would have made a difference.
            (&killed, Instead::Connected, "another run", false),
            (&killed, Instead::Nothing, "another run, or --engine connect", true),
            (&forbidden, Instead::Interrupted, "another run that is not interrupted", true),
            (&killed, Instead::Interrupted, "another run that is not interrupted", true),
            (&late, Instead::Interrupted, "another run that is not interrupted", true),
        ] {
            let gap = gap_of(error, instead);
            assert_eq!((gap.settled_by.as_str(), gap.incomplete), (settled_by, incomplete), "{gap:?}");
            assert!(gap.cause.contains(&error.to_string()), "{gap:?}");
            assert_eq!(gap.cause.contains("interrupted"), instead == Instead::Interrupted, "{gap:?}");
            assert_eq!(gap.what == "the TCP sweep", incomplete, "{gap:?}");
        }
    }
}
