//! Routers of a raw sweep, on a link in memory: one that comes late, one that moves to another machine, and somebody who
//! claims to be it.
#![expect(clippy::disallowed_methods, reason = "the driver asks the clock; the link waits as a real one does")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use postern::model::{PortRanges, Transport};
use postern::net::link::{Drops, Packet};
use postern::sweep::SweepResult;
use postern::sweep::raw::driver::Driver;
use postern::sweep::raw::exits::{Exit, Exits, Outlet};
use postern::sweep::raw::link::{Failure, Link, Load};
use postern::sweep::raw::messages::Job;
use postern::sweep::syn::{Hop, Machine, SynSettings, Way, Ways};
use postern::targets::{Space, TargetSet};

const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The first one is always there.
const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 0, 253), Ipv4Addr::new(198, 18, 0, 254)];
/// One behind each router; all ports are open.
const TARGETS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 19, 0, 0), Ipv4Addr::new(198, 19, 0, 1)];
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 9];
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x53], [2, 0, 0, 0, 0, 0x54]];
const ELSEWHERE: [u8; 6] = [2, 0, 0, 0, 0, 0x66];

/// What happens to the second router, from when on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It is not there before.
    Comes,
    /// Another machine has taken over.
    Moves,
    /// Another machine says so, and it is not true.
    IsClaimed,
}

struct RouterLink {
    turn: Turn,
    at: Instant,
    said: bool,
    arrived: VecDeque<(u16, [u8; 6], Vec<u8>)>,
    sent: Vec<Load>,
    /// Probes to the second target by the frame's receiver.
    to: BTreeMap<[u8; 6], usize>,
}

impl RouterLink {
    fn new(turn: Turn, after: Duration) -> Self {
        let at = Instant::now() + after;
        Self { turn, at, said: false, arrived: VecDeque::new(), sent: Vec::new(), to: BTreeMap::new() }
    }

    /// Where the second router is.
    fn second(&self) -> Option<[u8; 6]> {
        match (self.turn, Instant::now() >= self.at) {
            (Turn::Comes, false) => None,
            (Turn::Moves, true) => Some(ELSEWHERE),
            _ => Some(MACS[1]),
        }
    }

    fn says(&mut self, address: Ipv4Addr, mac: [u8; 6]) {
        let mut reply = vec![0, 1, 8, 0, 6, 4, 0, 2];
        reply.extend([&mac[..], &address.octets(), &OURS, &SOURCE.octets()].concat());
        self.arrived.push_back((0x0806, mac, reply));
    }

    fn frame(&mut self, frame: &[u8]) {
        if frame[12..14] == [0x08, 0x06] {
            let asked = Ipv4Addr::from(<[u8; 4]>::try_from(&frame[38..42]).unwrap());
            let at = if asked == ROUTERS[0] { Some(MACS[0]) } else { self.second() };
            if let Some(mac) = at {
                self.says(asked, mac);
            }
            return;
        }
        let (to, syn) = (<[u8; 6]>::try_from(&frame[..6]).unwrap(), &frame[14..]);
        let is_second = syn[16..20] == TARGETS[1].octets();
        if is_second {
            *self.to.entry(to).or_default() += 1;
        }
        let router = if is_second { self.second() } else { Some(MACS[0]) };
        if router != Some(to) {
            return;
        }
        let acknowledged = u32::from_be_bytes(syn[24..28].try_into().unwrap()).wrapping_add(1);
        let mut reply = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 63, 6, 0, 0];
        reply.extend([&syn[16..20], &SOURCE.octets(), &syn[22..24], &syn[20..22], &[0, 0, 0, 9]].concat());
        reply.extend(acknowledged.to_be_bytes());
        reply.extend([0x50, 0x12, 0xfa, 0xf0, 0, 0, 0, 0]);
        self.arrived.push_back((0x0800, to, reply));
    }
}

impl Link for &mut RouterLink {
    fn load(&mut self, outlet: usize) -> Load {
        Load { outlet, ..Load::default() }
    }

    fn has_room(&mut self) -> bool {
        true
    }

    fn send(&mut self, load: Load) {
        (0..load.frames.len()).for_each(|number| self.frame(load.frames.frame(number)));
        self.sent.push(load);
    }

    fn collect(&mut self, failed: &mut dyn FnMut(&Failure)) {
        self.sent.drain(..).for_each(|load| load.failed.iter().for_each(&mut *failed));
    }

    fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    fn receive(&mut self, sink: &mut dyn FnMut(&Packet<'_>)) {
        if !self.said && self.turn != Turn::Comes && Instant::now() >= self.at {
            self.said = true;
            self.says(ROUTERS[1], ELSEWHERE);
        }
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        for (protocol, sender, bytes) in self.arrived.drain(..) {
            sink(&Packet { protocol, interface: 2, sender, at, bytes: &bytes });
        }
    }

    fn wait(&mut self, longest: Duration) {
        if self.arrived.is_empty() {
            std::thread::sleep(longest.min(Duration::from_millis(1)));
        }
    }

    fn drops(&mut self) -> Drops {
        Drops::default()
    }
}

/// Two targets of 200 ports behind two routers, in two seconds and a half.
fn sweep(link: &mut RouterLink) -> SweepResult {
    let exit = |router: Ipv4Addr| Exit { outlet: 0, source: SOURCE.into(), router: Some(router.into()) };
    let exits = Exits {
        outlets: vec![Outlet::Ethernet { interface: 2, mac: OURS }],
        exits: ROUTERS.map(exit).to_vec(),
        reaches: Vec::new(),
    };
    let job = Job { exits, lanes: 1, ..Job::default() };
    let way = |source: u16| {
        let target = IpAddr::from(TARGETS[usize::from(source)]);
        (target, target, Some(Way { source, hop: Hop::Routed }))
    };
    let settings = SynSettings {
        sources: vec![SOURCE.into(); 2],
        ways: Ways::from_ranges([way(0), way(1)]),
        ..super::driver::settings(Some(160))
    };
    let ports: PortRanges = "1-200".parse().unwrap();
    let targets = TargetSet::from_ranges([(TARGETS[0].into(), TARGETS[1].into())]);
    let space = Space::new(targets, &ports, Transport::Tcp, 3);
    let (here, mut there) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        // Somebody waits for the result.
        scope.spawn(move || std::io::copy(&mut there, &mut std::io::sink()).unwrap());
        let mut driver = Driver::new(&here, link, &job);
        driver.find_routers();
        let machine = Machine::new(&space, settings, Instant::now());
        let result = driver.run(machine).unwrap();
        here.shutdown(std::net::Shutdown::Both).unwrap();
        result
    })
}

#[test]
fn what_is_behind_a_router_that_comes_late_is_asked_in_another_round() {
    let mut link = RouterLink::new(Turn::Comes, Duration::from_millis(2500));
    let result = sweep(&mut link);
    assert_eq!(result.open().count(), 400, "{:?}", result.gaps);
    assert!(result.gaps.iter().all(|gap| !gap.what.contains("not asked")), "{:?}", result.gaps);
}

#[test]
fn a_router_that_does_not_come_is_a_gap_with_its_cause() {
    let mut link = RouterLink::new(Turn::Comes, Duration::from_secs(3600));
    let result = sweep(&mut link);
    assert_eq!(result.open().count(), 200);
    let gap = result.gaps.iter().find(|gap| gap.what.starts_with("200 endpoints were not asked (198.19.0.1:")).unwrap();
    assert!(gap.cause.contains("router does not say") && gap.incomplete, "{gap:?}");
}

#[test]
fn a_router_that_moves_is_followed() {
    let mut link = RouterLink::new(Turn::Moves, Duration::from_millis(1200));
    let result = sweep(&mut link);
    assert_eq!(result.open().count(), 400, "{:?}", result.gaps);
    assert!(link.to[&ELSEWHERE] > 20 && link.to[&MACS[1]] > 20, "{:?}", link.to);
}

#[test]
fn a_claim_to_be_the_router_is_not_taken_at_its_word() {
    let mut link = RouterLink::new(Turn::IsClaimed, Duration::from_millis(1200));
    let result = sweep(&mut link);
    assert_eq!(result.open().count(), 400, "{:?}", result.gaps);
    assert_eq!(link.to.keys().collect::<Vec<_>>(), [&MACS[1]], "nothing went elsewhere");
}
