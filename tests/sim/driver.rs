//! The driver of the raw sweep on a link in memory: what it tells while it runs, how it is stopped, and what becomes of
//! frames that do not leave.
#![expect(clippy::disallowed_methods, reason = "the driver asks the clock; the link waits as a real one does")]

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use postern::model::{Endpoint, Icmp, PortRanges, PortState, Reason, Transport};
use postern::net::link::{Drops, Packet};
use postern::sweep::SweepResult;
use postern::sweep::raw::driver::Driver;
use postern::sweep::raw::exits::{Exit, Exits, Outlet, Reach};
use postern::sweep::raw::link::{Failure, Link, Load};
use postern::sweep::raw::messages::{Event, Job, STOP, SpaceJob};
use postern::sweep::syn::{Batch, Hop, Machine, SynSettings, Unsent, Way, Ways};
use postern::targets::{Space, TargetSet};
use postern::wire::{IcmpError, QuotedProbe, Reply, ReplyKind, Syn, TcpOptions, TcpReply};

const SOURCE: [u8; 4] = [198, 18, 0, 1];
const TARGET: [u8; 4] = [198, 18, 0, 2];
const PORTS: &str = "1-200";
const PORTS_ASKED: usize = 200;

/// One host whose ports are open or closed.
struct MemoryLink {
    open: BTreeSet<u16>,
    fault: Fault,
    arrived: VecDeque<Vec<u8>>,
    sent: Vec<Load>,
    drops: Drops,
    frames: usize,
    /// How often answers are to be fetched before there is room again.
    full: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// No frame leaves.
    Device,
    /// None does after so many, and ports above 100 are silent.
    After(usize),
    /// Every answer of a port above 100 finds no room.
    NoRoom,
    /// The way out is full after each load.
    Full,
}

impl Link for MemoryLink {
    fn load(&mut self, outlet: usize) -> Load {
        Load { outlet, ..Load::default() }
    }

    fn has_room(&mut self) -> bool {
        self.full == 0
    }

    fn send(&mut self, mut load: Load) {
        assert!(self.full == 0, "nobody fetches answers while a load waits for room");
        self.full = if self.fault == Fault::Full { 3 } else { 0 };
        for number in 0..load.frames.len() {
            self.frames += 1;
            match self.fault {
                Fault::After(frames) if self.frames > frames => {
                    load.failed.push(Failure { probe: load.probes[number], why: Unsent::Device });
                }
                Fault::Device => load.failed.push(Failure { probe: load.probes[number], why: Unsent::Device }),
                Fault::None | Fault::NoRoom | Fault::Full | Fault::After(_) => self.answer(load.frames.frame(number)),
            }
        }
        self.sent.push(load);
    }

    fn collect(&mut self, failed: &mut dyn FnMut(&Failure)) {
        self.sent.drain(..).for_each(|load| load.failed.iter().for_each(&mut *failed));
    }

    fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    fn receive(&mut self, sink: &mut dyn FnMut(&Packet<'_>)) {
        self.full = self.full.saturating_sub(1);
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        for bytes in self.arrived.drain(..) {
            sink(&Packet { protocol: 0x0800, interface: 1, sender: [0; 6], at, bytes: &bytes });
        }
    }

    fn wait(&mut self, longest: Duration) {
        if self.arrived.is_empty() {
            std::thread::sleep(longest.min(Duration::from_millis(1)));
        }
    }

    fn drops(&mut self) -> Drops {
        self.drops
    }
}

impl MemoryLink {
    fn new(open: &[u16], fault: Fault) -> Self {
        let open = open.iter().copied().collect();
        Self { open, fault, arrived: VecDeque::new(), sent: Vec::new(), drops: Drops::default(), frames: 0, full: 0 }
    }

    /// SYN-ACK or reset (RFC 9293 section 3.10.7), with checksums that nobody looks at.
    fn answer(&mut self, syn: &[u8]) {
        assert_eq!((syn[0], &syn[16..20], syn[33]), (0x45, &TARGET[..], 0x02), "no SYN to the target: {syn:?}");
        let port = u16::from_be_bytes([syn[22], syn[23]]);
        self.drops.received += 1;
        if self.fault == Fault::NoRoom && port > 100 {
            self.drops.dropped += 1;
            return;
        }
        if matches!(self.fault, Fault::After(_)) && port > 100 {
            return;
        }
        let acknowledged = u32::from_be_bytes(syn[24..28].try_into().unwrap()).wrapping_add(1);
        let flags = if self.open.contains(&port) { 0x12 } else { 0x14 };
        let mut reply = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
        reply.extend([&TARGET[..], &SOURCE, &syn[22..24], &syn[20..22], &[0, 0, 0, 9]].concat());
        reply.extend(acknowledged.to_be_bytes());
        reply.extend([0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        self.arrived.push_back(reply);
    }
}

fn ports() -> PortRanges {
    PORTS.parse().unwrap()
}

pub fn settings(rate: Option<u64>) -> SynSettings {
    SynSettings {
        sources: vec![SOURCE.into()],
        ways: Ways::new([("0.0.0.0/0".parse().unwrap(), Some(Way { source: 0, hop: Hop::Routed }))]),
        source_ports: (25_000..25_014).collect(),
        rate,
        host_rate: None,
        recall: None,
        resolve_rate: 2000,
        most_hosts: 1 << 19,
        own: vec![SOURCE.into()],
        key: [7; 16],
    }
}

/// Sweeps; gives the other end of the stream to `meanwhile`, which runs beside.
fn sweep<T: Send>(
    link: MemoryLink,
    rate: Option<u64>,
    meanwhile: impl FnOnce(UnixStream) -> T + Send,
) -> (Option<SweepResult>, T) {
    let (source, target): (IpAddr, IpAddr) = (SOURCE.into(), TARGET.into());
    let exits = Exits {
        outlets: vec![Outlet::Packets],
        exits: vec![Exit { outlet: 0, source, router: None }],
        reaches: vec![Reach { first: target, last: target, exit: Some(0), hop: Hop::Routed }],
    };
    let job = Job {
        space: SpaceJob::default(),
        exits,
        descriptors: Vec::new(),
        names: Vec::new(),
        closed: Vec::new(),
        lower: Vec::new(),
        lanes: 1,
        source_ports: settings(rate).source_ports,
        own: vec![source],
        key: [7; 16],
        rate,
        host_rate: None,
        recall: None,
        xdp_only: false,
        known: Vec::new(),
    };
    let space = Space::new(TargetSet::from_ranges([(target, target)]), &ports(), Transport::Tcp, 3);
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| meanwhile(there));
        let machine = Machine::new(&space, settings(rate), Instant::now());
        let result = Driver::new(&here, link, &job).run(machine);
        here.shutdown(std::net::Shutdown::Both).unwrap();
        (result, beside.join().unwrap())
    })
}

/// Endpoints that were told as found until the stream ended.
fn told(mut stream: UnixStream) -> Vec<Endpoint> {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let seen = text.lines().filter_map(|line| match serde_json::from_str(line).unwrap() {
        Event::Found(seen) => seen.observation(),
        _ => None,
    });
    seen.map(|open| open.endpoint).collect()
}

fn group(result: &SweepResult, reason: Reason) -> usize {
    let of = result.groups.iter().filter(|group| group.reason == reason);
    of.map(|group| group.ports.parse::<PortRanges>().unwrap().len()).sum()
}

#[test]
fn what_is_open_is_told_at_once_and_stands_in_the_result() {
    let (result, told) = sweep(MemoryLink::new(&[22, 80], Fault::None), None, told);
    let result = result.unwrap();
    let mut ports: Vec<u16> = told.iter().map(|endpoint| endpoint.port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [22, 80]);
    assert_eq!((result.open().count(), group(&result, Reason::Refused)), (2, 198));
    assert_eq!((result.stats.dropped_replies, result.gaps.len(), result.interrupted), (0, 0, false));
}

#[test]
fn that_it_sums_up_is_said_after_all_that_is_found() {
    let (_, last) = sweep(MemoryLink::new(&[22, 80], Fault::None), None, |mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().last().map(|line| serde_json::from_str(line).unwrap())
    });
    assert!(matches!(last, Some(Event::SummingUp)), "{last:?}");
}

#[test]
fn it_stops_when_it_is_asked_to_and_says_what_was_not_asked() {
    let began = Instant::now();
    let (result, ()) = sweep(MemoryLink::new(&[22], Fault::None), Some(20), |mut stream| {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(&[STOP]).unwrap();
        drop(told(stream));
    });
    let result = result.unwrap();
    assert!(result.interrupted && began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(group(&result, Reason::Interrupted) > 150, "{:?}", result.groups);
}

#[test]
fn nobody_who_waits_is_no_reason_to_go_on() {
    let began = Instant::now();
    let (result, ()) = sweep(MemoryLink::new(&[22], Fault::None), Some(20), drop);
    assert!(result.is_none() && began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn frames_that_do_not_leave_are_no_silence_of_the_target() {
    let (result, told) = sweep(MemoryLink::new(&[22], Fault::Device), None, told);
    let result = result.unwrap();
    assert_eq!((told, result.open().count()), (vec![], 0));
    let not_asked = result.gaps.iter().find(|gap| gap.incomplete).unwrap();
    assert!(not_asked.what.starts_with("200 endpoints were not asked (198.18.0.2:"), "{not_asked:?}");
    assert!(result.groups.iter().all(|group| group.state == PortState::Unknown), "{:?}", result.groups);
}

#[test]
fn endpoints_that_were_asked_once_are_not_counted_as_not_asked() {
    let (result, _) = sweep(MemoryLink::new(&[22], Fault::After(PORTS_ASKED)), None, told);
    let result = result.unwrap();
    assert_eq!(result.open().count(), 1);
    let unsent = result.gaps.iter().find(|gap| gap.what.contains("repeated probes did not leave (198.18.0.2:"));
    assert!(unsent.is_some_and(|gap| gap.incomplete && !gap.what.contains("not asked")), "{:?}", result.gaps);
    assert_eq!(group(&result, Reason::NoAnswer), 100);
    assert_eq!(result.stats.recall, None, "nothing was measured");
}

#[test]
fn what_was_not_asked_of_a_living_host_is_unknown_and_in_no_estimate() {
    let (result, _) = sweep(MemoryLink::new(&[22], Fault::After(60)), None, told);
    let result = result.unwrap();
    assert_eq!(result.living.len(), 1);
    assert_eq!((group(&result, Reason::NoAnswer), result.stats.recall), (0, None));
    assert!(group(&result, Reason::LocalLimit) >= 140, "{:?}", result.groups);
    let unsent = result.gaps.iter().find(|gap| gap.what.contains("endpoints were not asked"));
    assert!(unsent.is_some_and(|gap| gap.incomplete), "{:?}", result.gaps);
}

#[test]
fn answers_are_fetched_while_the_way_out_is_full() {
    let (result, _) = sweep(MemoryLink::new(&[22, 150], Fault::Full), None, told);
    let result = result.unwrap();
    assert_eq!((result.open().count(), group(&result, Reason::Refused), result.gaps.len()), (2, 198, 0));
}

#[test]
fn answers_that_found_no_room_are_counted_and_not_taken_for_silence() {
    let (result, _) = sweep(MemoryLink::new(&[22, 150], Fault::NoRoom), None, told);
    let result = result.unwrap();
    assert!(result.stats.dropped_replies >= 100, "{:?}", result.stats);
    let missed: Endpoint = "198.18.0.2:150/tcp".parse().unwrap();
    assert!(result.open().all(|open| open.endpoint != missed));
    assert!(result.gaps.iter().any(|gap| gap.incomplete), "{:?}", result.gaps);
}

#[test]
fn an_answer_proves_itself_and_what_was_translated_does_not() {
    let space = Space::new(TargetSet::from_ranges([(TARGET.into(), TARGET.into())]), &ports(), Transport::Tcp, 3);
    let now = Instant::now();
    let mut machine = Machine::new(&space, settings(None), now);
    let mut batch = Batch::new(1);
    while batch.probes.is_empty() {
        let _ = machine.poll_transmit(now + Duration::from_secs(1), &mut batch);
    }
    let Syn { port, source_port, sequence, .. } = batch.probes[0].syn;
    let segment = |flags, acknowledgement| {
        let options = TcpOptions::default();
        let tcp = TcpReply { port, our_port: source_port, sequence: 9, acknowledgement, flags, window: 0, options };
        Reply { from: TARGET.into(), to: SOURCE.into(), ttl: 64, kind: ReplyKind::Tcp(tcp) }
    };
    let answer = segment(0x12, sequence.wrapping_add(1));
    assert!(machine.is_proven(&answer) && machine.is_proven(&segment(0x14, sequence.wrapping_add(1))));
    assert!(!machine.is_proven(&segment(0x12, sequence)) && !machine.is_proven(&segment(0x10, 7)));
    assert!(!machine.is_proven(&Reply { from: [172, 17, 0, 2].into(), ..answer }));
    let error = |sequence| {
        let quoted = QuotedProbe { from: SOURCE.into(), to: TARGET.into(), our_port: source_port, port, sequence };
        let kind = ReplyKind::Icmp(IcmpError { icmp: Icmp { kind: 3, code: 13 }, quoted });
        Reply { from: [198, 18, 0, 3].into(), to: SOURCE.into(), ttl: 64, kind }
    };
    assert!(machine.is_proven(&error(sequence)) && !machine.is_proven(&error(sequence ^ 1)));
}
