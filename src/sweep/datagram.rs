//! The UDP sweep: one unconnected socket a family, whose error queue tells which ports are closed.
//!
//! Unconnected, because services on hosts with several addresses may answer from another one than was asked; and because
//! one socket's error queue serves all targets. Silence stays `open|filtered`: only a reply is open. Hosts answer closed
//! ports by ICMP six times at once and then once a second (icmp(7), icmp_ratelimit), so that the pace per host is slow.
#![expect(clippy::disallowed_methods, reason = "the UDP sweep is a driver: it asks the clock")]

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with};
use tokio::sync::mpsc;

use super::answer::{Outcome, judge};
use super::link::{Gate, Link};
use super::pace::Pace;
use super::queued_error::{self, Look, QueuedError};
use super::tally::Tally;
use super::{Progress, SweepEvent, SweepResult};
use crate::model::report::{Gap, Sweep};
use crate::model::{Endpoint, Evidence, Observation, Payloads, PortState, ProbeSpace, Reason, Transport};
use crate::net::OwnAddress;
use crate::net::addresses::neighbours;

/// How to sweep.
#[derive(Clone, Debug, Default)]
pub struct DatagramSettings {
    pub own: Vec<OwnAddress>,
    /// Everything leaves by this interface; `None`: by the routes.
    pub device: Option<String>,
    /// Datagrams per second in all.
    pub rate: Option<u64>,
    /// `None`, or nothing for an endpoint: an empty datagram.
    pub payloads: Option<Arc<dyn Payloads>>,
    /// Hosts that are known to live: their silent ports are told, too.
    pub living: BTreeSet<IpAddr>,
}

/// Each endpoint is asked so often before silence is believed.
pub const ROUNDS: u32 = 3;
/// After the last datagram of a round.
const WAIT: Duration = Duration::from_millis(1000);
/// Datagrams per second to one host, on average.
pub const HOST_RATE: f64 = 20.0;
/// Rounds two and three ask silent hosts again only while there are no more endpoints than these.
const RECHECK_SILENT: u64 = 1 << 18;
const UNRESOLVED: usize = 256;

/// Sweeps `space` on the calling thread.
pub fn sweep(
    space: &dyn ProbeSpace,
    settings: &DatagramSettings,
    events: &mpsc::Sender<SweepEvent>,
    cancel: &Arc<AtomicBool>,
) -> SweepResult {
    let started = Instant::now();
    let mut sweeper = Sweeper::new(settings);
    let mut interrupted = false;
    for round in 0..ROUNDS {
        sweeper.round(space, round, events, cancel);
        if cancel.load(Ordering::SeqCst) {
            interrupted = true;
            break;
        }
    }
    sweeper.into_result(space, started.elapsed(), interrupted)
}

struct Sweeper<'a> {
    settings: &'a DatagramSettings,
    own: HashSet<IpAddr>,
    sockets: [Option<OwnedFd>; 2],
    tally: Tally,
    link: Link,
    held: VecDeque<Endpoint>,
    sent: u64,
    replies: u64,
    rounds: u32,
    not_sent: u64,
}

impl<'a> Sweeper<'a> {
    fn new(settings: &'a DatagramSettings) -> Self {
        let mut tally = Tally::default();
        for &address in &settings.living {
            tally.living(address);
        }
        Self {
            settings,
            own: settings.own.iter().map(|own| own.address).collect(),
            sockets: [true, false].map(|ipv4| open(ipv4, settings.device.as_deref()).ok()),
            tally,
            link: Link::new(UNRESOLVED),
            held: VecDeque::new(),
            sent: 0,
            replies: 0,
            rounds: 0,
            not_sent: 0,
        }
    }

    fn round(
        &mut self,
        space: &dyn ProbeSpace,
        round: u32,
        events: &mpsc::Sender<SweepEvent>,
        cancel: &Arc<AtomicBool>,
    ) {
        self.rounds = round + 1;
        let start = Instant::now();
        let limit = self.settings.rate.map_or(1e6, |rate| rate as f64);
        let mut pace = Pace::new(limit.min(HOST_RATE * space.addresses() as f64), start);
        let mut position = 0;
        let mut last_sent = start;
        let mut looked = start;
        loop {
            if cancel.load(Ordering::Relaxed) {
                return;
            }
            let now = Instant::now();
            let spent = position == space.len() && self.held.is_empty() && !self.link.is_waiting();
            if spent && now.duration_since(last_sent) >= WAIT {
                return;
            }
            for _ in 0..pace.take(64, now) {
                let Some((endpoint, fresh)) = self.next(space, round, &mut position) else { break };
                if fresh && self.is_on_link(endpoint.address) {
                    match self.link.gate(endpoint.address, endpoint.port, now) {
                        Gate::Send => {}
                        Gate::Held | Gate::Skip => continue,
                        Gate::Stall => {
                            position -= 1;
                            break;
                        }
                    }
                }
                self.send(endpoint, round);
                last_sent = now;
            }
            self.receive(space, round, events);
            if self.link.is_waiting() && now.duration_since(looked) >= Duration::from_millis(100) {
                looked = now;
                if let Ok(table) = neighbours() {
                    let present = self.link.update(&table, now);
                    self.held.extend(present.into_iter().map(|(address, port)| Endpoint::udp(address, port)));
                }
                let _ = events.try_send(SweepEvent::Progress(Progress {
                    round,
                    done: position,
                    total: space.len(),
                    sent: self.sent,
                    open: self.tally.open.len() as u64,
                }));
            }
            self.wait(if spent { Duration::from_millis(20) } else { pace.wait() });
        }
    }

    /// The next endpoint to ask in this round, and whether it comes from the space.
    fn next(&mut self, space: &dyn ProbeSpace, round: u32, position: &mut u64) -> Option<(Endpoint, bool)> {
        if let Some(endpoint) = self.held.pop_front() {
            return Some((endpoint, false));
        }
        while *position < space.len() {
            let endpoint = space.endpoint(round, *position);
            *position += 1;
            if self.settings.own.iter().any(|own| own.is_broadcast(endpoint.address)) {
                continue;
            }
            let wanted = match self.tally.host(endpoint.address) {
                Some(host) => !host.answered.contains(endpoint.port),
                None => round == 0 || (space.len() <= RECHECK_SILENT && !self.link.is_absent(endpoint.address)),
            };
            if wanted {
                return Some((endpoint, true));
            }
        }
        None
    }

    fn send(&mut self, endpoint: Endpoint, round: u32) {
        let payload = self.settings.payloads.as_ref().and_then(|payloads| payloads.payload(endpoint));
        let payload = payload.as_deref().unwrap_or_default();
        let Some(socket) = &self.sockets[usize::from(endpoint.address.is_ipv6())] else {
            self.not_sent += 1;
            return;
        };
        // An ICMP error that waits on the socket is returned once instead of sending: take it off and send again.
        for _ in 0..3 {
            match sendto(socket, payload, SendFlags::DONTWAIT, &endpoint.socket_addr()) {
                Ok(_) => {
                    self.sent += 1;
                    return;
                }
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
                    self.held.push_back(endpoint);
                    return;
                }
                Err(Errno::PERM) => {
                    self.not_sent += 1;
                    return;
                }
                Err(_) => {}
            }
        }
        // No route: the same answer three times.
        if round == 0 {
            self.not_sent += 1;
        }
    }

    /// Takes in everything that has arrived.
    fn receive(&mut self, space: &dyn ProbeSpace, round: u32, events: &mpsc::Sender<SweepEvent>) {
        let mut buffer = [0_u8; 2048];
        for family in 0..2 {
            let Some(socket) = self.sockets[family].take() else { continue };
            loop {
                match recvfrom(&socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                    Ok((_, _, from)) => {
                        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                        let endpoint = from.map(|from| Endpoint::udp(from.ip(), from.port()));
                        // What was not asked did not answer.
                        if let Some(endpoint) = endpoint.filter(|endpoint| space.contains(endpoint)) {
                            self.replied(endpoint, round, events);
                        }
                    }
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    // A pending ICMP error: it is in the queue, too.
                    Err(_) => {}
                }
            }
            loop {
                match queued_error::take(socket.as_fd()) {
                    Look::Empty => break,
                    Look::Other => {}
                    Look::Error(error) => self.refused(error, round),
                }
            }
            self.sockets[family] = Some(socket);
        }
    }

    fn replied(&mut self, endpoint: Endpoint, round: u32, events: &mpsc::Sender<SweepEvent>) {
        self.replies += 1;
        self.release(endpoint.address);
        let evidence = Evidence { asked: u8::try_from(round + 1).ok(), ..Evidence::default() };
        let observation = Observation { endpoint, state: PortState::Open, reason: Reason::UdpReply, evidence };
        if self.tally.record(observation.clone()) {
            let _ = events.blocking_send(SweepEvent::Found(observation));
        }
    }

    fn refused(&mut self, error: QueuedError, round: u32) {
        let Some(about) = error.about else { return };
        let endpoint = Endpoint::udp(about.ip(), about.port());
        self.replies += 1;
        let outcome = Outcome::Icmp { icmp: error.icmp, offender: error.offender };
        let (mut state, reason) = judge(endpoint.address, outcome, |address| self.own.contains(&address));
        if state == PortState::Unreachable {
            self.link.absent(endpoint.address);
            return;
        }
        self.release(endpoint.address);
        // RFC 1122 section 4.1.3.1: this is how a host says that nobody listens.
        if reason == Reason::IcmpPortUnreachable && error.offender == endpoint.address {
            state = PortState::Closed;
        }
        let evidence = Evidence {
            offender: Some(error.offender),
            icmp: Some(error.icmp),
            asked: u8::try_from(round + 1).ok(),
            ..Evidence::default()
        };
        self.tally.record(Observation { endpoint, state, reason, evidence });
    }

    fn release(&mut self, address: IpAddr) {
        for port in self.link.present(address) {
            self.held.push_back(Endpoint::udp(address, port));
        }
    }

    fn wait(&self, longest: Duration) {
        let mut fds: Vec<PollFd<'_>> =
            self.sockets.iter().flatten().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(longest.min(Duration::from_millis(50)).subsec_nanos()) };
        // An interrupted wait is as good as one that is over.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn is_on_link(&self, address: IpAddr) -> bool {
        !self.own.contains(&address)
            && self.settings.own.iter().any(|own| own.interface != "lo" && own.is_on_link(address))
    }

    fn into_result(self, space: &dyn ProbeSpace, elapsed: Duration, interrupted: bool) -> SweepResult {
        let silence = if interrupted {
            (PortState::Unknown, Reason::Interrupted)
        } else {
            (PortState::OpenOrFiltered, Reason::NoAnswer)
        };
        let mut gaps = Vec::new();
        if self.not_sent > 0 {
            gaps.push(Gap {
                what: format!("{} UDP endpoints were not asked", self.not_sent),
                cause: "this machine has no route there, or forbids it".to_owned(),
                settled_by: "a route, or a vantage that has one".to_owned(),
                incomplete: true,
            });
        }
        let stats = Sweep {
            engine: "datagram".to_owned(),
            transmit: "kernel".to_owned(),
            probes_sent: self.sent,
            replies: self.replies,
            rounds: self.rounds,
            packets_per_second: self.sent as f64 / elapsed.as_secs_f64().max(0.001),
            dropped_replies: 0,
            recall: None,
        };
        SweepResult { gaps, interrupted, ..SweepResult::of(self.tally, Transport::Udp, silence, &space.ports(), stats) }
    }
}

fn open(ipv4: bool, device: Option<&str>) -> std::io::Result<OwnedFd> {
    let (family, any) = if ipv4 {
        (AddressFamily::INET, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    } else {
        (AddressFamily::INET6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if ipv4 {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
    } else {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
    }
    if let Some(device) = device {
        setsockopt(&socket, sockopt::BindToDevice, &device.into())?;
    }
    // Replies arrive in bursts; the kernel caps what is asked for.
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 1 << 20)?;
    bind(&socket, &SocketAddr::new(any, 0))?;
    Ok(socket)
}
