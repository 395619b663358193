//! The process that was called: opens what the sweep needs, starts the sweeping process, and has what it finds collected.
#![expect(clippy::disallowed_methods, reason = "a driver: starts a process and waits for it")]

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::collect::Collected;
use super::loss::Loss;
use super::messages::SpaceJob;
use super::prepare::{Prepared, prepare};
use crate::model::ProbeSpace;
use crate::model::report::Gap;
use crate::net::handover::send_descriptors;
use crate::net::pressure::Pressure;
use crate::net::source_ports::SourcePorts;
use crate::net::{NetlinkError, OwnAddress};
use crate::sweep::{SweepEvent, SweepResult};

/// How to sweep.
#[derive(Clone, Debug)]
pub struct RawSettings {
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub recall: Option<f64>,
    pub own: Vec<OwnAddress>,
    /// Everything leaves by this interface; `None`: by the routes.
    pub device: Option<String>,
    pub transmit: Transmit,
}

/// How frames leave Ethernet interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transmit {
    /// AF_XDP where it works, else packet sockets.
    #[default]
    Best,
    /// AF_XDP or nothing.
    Xdp,
    /// Packet sockets: queueing disciplines and captures of this machine see everything.
    Kernel,
}

/// Why there was no raw sweep.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    #[error("{what}: {error}")]
    Io { what: &'static str, error: io::Error },
    #[error("sending by AF_XDP: {error}; hint: {hint}; `--transmit auto` does without")]
    Xdp { error: io::Error, hint: String },
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("the sweeping process: {0}")]
    Child(#[source] Loss),
}

impl RawError {
    /// What would make it possible.
    pub fn settled_by(&self) -> &'static str {
        match self {
            Self::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => MAY_SEND_RAW,
            Self::Io { .. } | Self::Netlink(_) => "another run",
            Self::Xdp { .. } => "what the cause hints at",
            Self::Child(loss) => loss.settled_by(),
        }
    }
}

/// Sweeps `space`, which `job` describes, from the calling thread's network namespace. Found endpoints go to `events` as
/// they come; `cancel` stops the sweep, which then returns what it has.
///
/// # Errors
/// It could not begin: without CAP_NET_RAW, or without what it needs of this machine. A sweeping process that ends
/// half-way is no error but a gap.
pub fn sweep(
    space: &dyn ProbeSpace,
    job: SpaceJob,
    settings: &RawSettings,
    events: &mpsc::Sender<SweepEvent>,
    cancel: &AtomicBool,
) -> Result<SweepResult, RawError> {
    let before = Pressure::now();
    let ports = SourcePorts::hold(SOURCE_PORTS, job.seed).map_err(failed("source ports of its own"))?;
    let from: Vec<String> = ports.ports().iter().map(u16::to_string).collect();
    tracing::info!(source_ports = from.join(","), "raw sweep starts");
    let prepared = prepare(job, settings, ports.ports())?;
    let mut running = Running::start(&prepared)?;
    let mut collected = Collected::new(space);
    let outcome = collected.until_the_end(&running.stream, events, cancel);
    let outcome = outcome.and_then(|end| end.ok_or_else(|| running.death()));
    running.end();
    let fullest = collected.fullest;
    let mut result = match outcome {
        Ok(end) => collected.kept.with(end),
        Err(loss) if collected.began => collected.without_end(&loss, cancel.load(Ordering::Relaxed)),
        Err(loss) => return Err(RawError::Child(loss)),
    };
    result.gaps.extend(pressure_gaps(before, fullest, Pressure::now()));
    Ok(result)
}

/// The sweeping process.
struct Running {
    child: Child,
    stream: UnixStream,
}

impl Running {
    fn start(prepared: &Prepared) -> Result<Self, RawError> {
        let (here, there) = UnixStream::pair().map_err(failed("a socket pair"))?;
        // The program that runs, whatever its path has become since.
        let child = Command::new("/proc/self/exe")
            .arg0("postern")
            .arg(COMMAND)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::null())
            // Ctrl-C is for this process, which asks the other one to end.
            .process_group(0)
            .spawn()
            .map_err(failed("starting /proc/self/exe"))?;
        let mut running = Self { child, stream: here };
        if let Err(error) = running.hand_over(prepared) {
            running.end();
            return Err(failed("handing the job over")(error));
        }
        Ok(running)
    }

    fn hand_over(&mut self, prepared: &Prepared) -> io::Result<()> {
        let text = serde_json::to_vec(&prepared.job)?;
        self.stream.write_all(&(text.len() as u64).to_ne_bytes())?;
        self.stream.write_all(&text)?;
        send_descriptors(&self.stream, &prepared.descriptors)
    }

    /// How it ended without having said so.
    fn death(&mut self) -> Loss {
        Loss::Ended(match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        })
    }

    /// It has nothing more to say, or is not to.
    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this machine's own tables may have spoiled.
fn pressure_gaps(before: Pressure, fullest: Pressure, after: Pressure) -> Vec<Gap> {
    let mut gaps = Vec::new();
    if let Some(overflowed) = after.overflowed_since(&before) {
        gaps.push(Gap {
            what: "connections to hosts on the link may have failed on this machine".to_owned(),
            cause: format!("{overflowed}; the sweep itself asks for neighbours without it"),
            settled_by: "a larger net.ipv4.neigh.default.gc_thresh3".to_owned(),
            incomplete: false,
        });
    }
    let full = [before, fullest, after]
        .into_iter()
        .find(|one| one.conntrack_limit > 0 && one.conntrack * 20 >= one.conntrack_limit * 19);
    if let Some(full) = full {
        gaps.push(Gap {
            what: "answers may have been dropped by this machine".to_owned(),
            cause: format!("its conntrack table was full ({} of {})", full.conntrack, full.conntrack_limit),
            settled_by: "a lower --rate, or a larger net.netfilter.nf_conntrack_max".to_owned(),
            incomplete: true,
        });
    }
    gaps
}

pub(super) fn failed(what: &'static str) -> impl Fn(io::Error) -> RawError {
    move |error| RawError::Io { what, error }
}

/// The command by which the program becomes the sweeping process.
pub const COMMAND: &str = "sweeping";

/// What gives the privilege that raw sockets take.
pub const MAY_SEND_RAW: &str = "root, or `setcap cap_net_raw+ep` on the program";

/// One for each round that there may be, and one beside.
pub const SOURCE_PORTS: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_is_told_whenever_it_was_full() {
        let quiet = Pressure { conntrack: 10, conntrack_limit: 100, ..Pressure::default() };
        let full = Pressure { conntrack: 96, ..quiet };
        assert_eq!(pressure_gaps(quiet, quiet, quiet), []);
        for (before, fullest, after) in [(full, quiet, quiet), (quiet, full, quiet), (quiet, quiet, full)] {
            let gaps = pressure_gaps(before, fullest, after);
            assert!(gaps[0].incomplete && gaps[0].cause.contains("96 of 100"), "{gaps:?}");
        }
        let overflowed = Pressure { neighbour_overflows: 7, ..quiet };
        assert!(pressure_gaps(quiet, quiet, overflowed)[0].cause.contains("7 times"));
    }
}
