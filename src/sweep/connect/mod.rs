//! The connect sweep: TCP without privileges.
//!
//! A few threads, each with an epoll set and a pool of sockets of its own (`slots`, [`socket`]), share the hosts among them
//! by address ([`worker`]); `feed` says what is next, `ending` what each end means, [`refused`] what this machine did not
//! send, and [`check`] whether hosts that answered still do. Threads instead of tokio tasks: a probe is four system calls,
//! and a task, a timer and a registration for each would cost as much again. Hosts on the link are held back until the
//! neighbour table knows them ([`link`](super::link)), so that absent ones cannot overflow it.

mod check;
mod ending;
mod feed;
pub mod refused;
mod slots;
pub mod socket;
pub mod worker;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::fallen;
use super::recall;
use super::tally::Tally;
use super::{SweepEvent, SweepResult};
use crate::model::report::{Gap, Sweep};
use crate::model::{PortRanges, PortState, ProbeSpace, Reason, Transport};
use crate::net::OwnAddress;
use crate::net::pressure::Pressure;
use worker::{Round, Worker, WorkerSettings};

/// How to sweep.
#[derive(Clone, Debug)]
pub struct ConnectSettings {
    /// Connection attempts under way at once; capped by the descriptors there are.
    pub parallel: usize,
    /// Attempts per second in all and to one host (on average: the order spreads them evenly); `None` is no limit.
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub max_rounds: u32,
    /// The own addresses: their networks are on the link, and their ICMP errors are our own.
    pub own: Vec<OwnAddress>,
    /// Everything leaves by this interface; `None`: by the routes.
    pub device: Option<String>,
    /// Hosts that are remembered while nothing on them is open: a box that refuses in the name of a whole network is no
    /// reason to run out of memory. What is open is told of any number.
    pub most_hosts: usize,
}

/// What is under way at once unless told otherwise: more gains nothing, and fits the ephemeral ports.
pub const DEFAULT_PARALLEL: usize = 16_384;

/// Descriptors that the rest of the program needs: standard streams, epoll sets, probes.
const RESERVED_DESCRIPTORS: usize = 64;

/// Asked first of every host, when it is to be asked many: an answer tells its round-trip time, and so how long silence
/// of its other ports has to be waited for. They are asked with all the others again if they stay silent.
const SCOUT_PORTS: [u16; 8] = [22, 80, 111, 443, 445, 2379, 3389, 10250];
const SCOUT_MIN_PORTS: u64 = 100;
const SCOUT_MAX_ADDRESSES: u64 = 1 << 16;

/// Silent hosts are asked again in later rounds while their endpoints are no more than these.
const RECHECK_SILENT: u64 = 1 << 20;

/// Sweeps `space` on the calling thread and a few of its own. Found endpoints go to `events` as they come; `cancel`
/// stops the sweep, which then returns what it has.
pub fn sweep(
    space: &dyn ProbeSpace,
    settings: &ConnectSettings,
    descriptors: usize,
    events: &mpsc::Sender<SweepEvent>,
    cancel: &Arc<AtomicBool>,
) -> SweepResult {
    let before = Pressure::now();
    let started = clock::now();
    let addresses = space.addresses();
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4)
        .min(usize::try_from(addresses).unwrap_or(4))
        .max(1);
    let parallel = settings.parallel.min(descriptors.saturating_sub(RESERVED_DESCRIPTORS)).max(workers);
    let own: HashSet<IpAddr> = settings.own.iter().map(|own| own.address).collect();
    let neighbour_limit = if before.neighbour_limit == 0 { 1024 } else { before.neighbour_limit };
    let mut crew: Vec<Worker> = (0..workers)
        .map(|number| {
            Worker::new(WorkerSettings {
                number,
                workers,
                parallel: (parallel / workers).max(1),
                // Half of what the table holds; failed entries linger for a while.
                unresolved: usize::try_from(neighbour_limit / 2).unwrap_or(512).max(2) / workers,
                own: settings.own.clone(),
                own_set: own.clone(),
                device: settings.device.clone(),
                most_hosts: settings.most_hosts.div_ceil(workers),
            })
        })
        .collect();

    let mut rounds = 0;
    let mut scouted: &'static [u16] = &[];
    let mut gaps = Vec::new();
    let mut interrupted = false;
    if addresses <= SCOUT_MAX_ADDRESSES && space.len() / addresses.max(1) >= SCOUT_MIN_PORTS {
        let scouts = space.restricted(&PortRanges::from_ports(SCOUT_PORTS));
        let rate = rate_of(settings, addresses) / workers as f64;
        let round = Round { number: 0, rate, recheck_silent: false, scouted };
        run_round(&mut crew, scouts.as_ref(), round, events, cancel);
        scouted = &SCOUT_PORTS;
    }
    for number in 0..settings.max_rounds {
        let living: u64 = crew.iter().map(|worker| worker.tally.len() as u64).sum();
        let silent_endpoints = (addresses - living.min(addresses)).saturating_mul(space.len() / addresses.max(1));
        let round = Round {
            number,
            rate: rate_of(settings, if number == 0 { addresses } else { living.max(1) }) / workers as f64,
            // Where hosts that answered are not remembered, those that did not are not known.
            recheck_silent: number == 1
                && silent_endpoints <= RECHECK_SILENT
                && crew.iter().all(|worker| worker.tally.is_whole()),
            scouted,
        };
        run_round(&mut crew, space, round, events, cancel);
        rounds = number + 1;
        if cancel.load(Ordering::SeqCst) {
            interrupted = true;
            break;
        }
        let open: u64 = crew.iter().map(|worker| worker.tally.open.len() as u64).sum();
        if !recall::wants_another_round(&found_by_ask(&crew, rounds), open, settings.max_rounds) {
            break;
        }
    }
    // What the neighbour table spoiled is asked once more, now that most of it is known.
    let overflowed = Pressure::now().neighbour_overflows > before.neighbour_overflows;
    if overflowed && !interrupted {
        let round = Round {
            number: settings.max_rounds,
            rate: rate_of(settings, addresses) / workers as f64,
            recheck_silent: true,
            scouted,
        };
        for worker in &mut crew {
            worker.forget_absent();
        }
        run_round(&mut crew, space, round, events, cancel);
    }

    let elapsed = clock::now().duration_since(started).max(Duration::from_millis(1));
    gaps.extend(pressure_gaps(before, Pressure::now()));
    let mut stats = Sweep {
        engine: "connect".to_owned(),
        transmit: "kernel".to_owned(),
        probes_sent: 0,
        replies: 0,
        rounds,
        packets_per_second: 0.0,
        dropped_replies: 0,
        recall: None,
    };
    let found = found_by_ask(&crew, rounds);
    let mut tally = Tally::default();
    let mut refused = refused::Refused::default();
    for worker in crew {
        stats.probes_sent += worker.sent;
        stats.replies += worker.replies;
        refused.add(&worker.refused);
        tally.merge(worker.tally);
    }
    stats.packets_per_second = stats.probes_sent as f64 / elapsed.as_secs_f64();
    stats.recall = recall::estimate(recall::whole_rounds(&found, interrupted), tally.open.len() as u64);
    if let Some(recall) = stats.recall
        && recall.expected_missing >= recall::ENOUGH
        && !interrupted
    {
        gaps.push(Gap {
            what: format!("about {:.1} open TCP ports are expected to be missing", recall.expected_missing),
            cause: format!("answers were lost in all of {} rounds", stats.rounds),
            settled_by: "a lower --rate, or another run".to_owned(),
            incomplete: true,
        });
    }
    gaps.extend(refused.gaps());
    gaps.extend(tally.gap(settings.most_hosts));
    if !interrupted {
        let rate = rate_of(settings, tally.len().max(1) as u64);
        let fallen = check::fallen_silent(tally.answering(), parallel, rate, settings.device.as_deref(), cancel);
        tally.note_fallen(&fallen);
        gaps.extend(fallen::gap(fallen.into_iter().collect()));
    }
    let silence =
        if interrupted { (PortState::Unknown, Reason::Interrupted) } else { (PortState::Filtered, Reason::NoAnswer) };
    SweepResult { gaps, interrupted, ..SweepResult::of(tally, Transport::Tcp, silence, &space.ports(), stats) }
}

/// Answering endpoints by how often they had been asked, for `rounds` rounds. Scouted ports were asked once more than
/// there were rounds; what only that found counts for the last one.
fn found_by_ask(crew: &[Worker], rounds: u32) -> Vec<u64> {
    let mut found = vec![0; rounds as usize];
    for worker in crew {
        for (ask, count) in worker.found_by_ask().iter().enumerate() {
            if let Some(last) = found.len().checked_sub(1) {
                found[ask.min(last)] += count;
            }
        }
    }
    found
}

fn run_round(
    crew: &mut [Worker],
    space: &dyn ProbeSpace,
    round: Round,
    events: &mpsc::Sender<SweepEvent>,
    cancel: &Arc<AtomicBool>,
) {
    std::thread::scope(|scope| {
        for worker in crew {
            scope.spawn(|| worker.run(space, round, events, cancel));
        }
    });
}

/// Attempts per second in all, for `hosts` hosts that are asked evenly.
fn rate_of(settings: &ConnectSettings, hosts: u64) -> f64 {
    let by_host = settings.host_rate.map(|rate| u64::from(rate).saturating_mul(hosts));
    match (settings.rate, by_host) {
        (Some(rate), Some(by_host)) => rate.min(by_host) as f64,
        (Some(rate), None) | (None, Some(rate)) => rate as f64,
        (None, None) => 1e9,
    }
}

fn pressure_gaps(before: Pressure, after: Pressure) -> Vec<Gap> {
    let mut gaps = Vec::new();
    if !after.neighbours_known {
        gaps.push(Gap {
            what: "whether this machine's neighbour table overflowed".to_owned(),
            cause: "its counters are not shown in this network namespace".to_owned(),
            settled_by: "a run outside of namespaces, or as root".to_owned(),
            incomplete: false,
        });
    }
    if let Some(overflowed) = after.overflowed_since(&before) {
        gaps.push(Gap {
            what: "hosts on the link may have been missed".to_owned(),
            cause: format!("{overflowed}; what was silent was asked again afterwards"),
            settled_by: "a larger net.ipv4.neigh.default.gc_thresh3, or fewer absent addresses at once".to_owned(),
            incomplete: true,
        });
    }
    if after.conntrack_limit > 0 && after.conntrack * 20 >= after.conntrack_limit * 19 {
        gaps.push(Gap {
            what: "answers may have been dropped by this machine".to_owned(),
            cause: format!("its conntrack table is full ({} of {})", after.conntrack, after.conntrack_limit),
            settled_by: "a lower --rate, or a larger net.netfilter.nf_conntrack_max".to_owned(),
            incomplete: true,
        });
    }
    gaps
}

/// The clock of the driver.
mod clock {
    #![expect(clippy::disallowed_methods, reason = "the connect sweep is a driver")]

    pub(super) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }
}
