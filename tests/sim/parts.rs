//! A result of the raw sweep on its way from one process to the other: in parts, of which what was not asked is not taken.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;

use postern::model::report::{PortGroup, Sweep};
use postern::model::{Endpoint, Evidence, Improbable, Observation, PortRanges, PortState, Reason, Transport};
use postern::sweep::SweepResult;
use postern::sweep::raw::child::{tell, tell_result};
use postern::sweep::raw::collect::Collected;
use postern::sweep::raw::messages::{Done, Event, Seen};
use postern::sweep::raw::parts::{Part, Parts, events_of};
use postern::targets::{Space, TargetSet};
use tokio::sync::mpsc;

/// 198.18.0.0/20 with all ports.
fn space() -> Space {
    let range = (address(0), address(4095));
    Space::new(TargetSet::from_ranges([range]), &"1-65535".parse().unwrap(), Transport::Tcp, 3)
}

/// Below 4096 in the space, above outside of it.
fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xc612_0000 + number).into()
}

fn observation(number: u32, port: u16) -> Observation {
    Observation {
        endpoint: Endpoint::tcp(address(number), port),
        state: PortState::Open,
        reason: Reason::Accepted,
        evidence: Evidence { ttl: Some(64), options: Some("mss 1460,sack".to_owned()), ..Evidence::default() },
    }
}

fn group(number: u32) -> PortGroup {
    PortGroup {
        address: address(number),
        transport: Transport::Tcp,
        state: PortState::Closed,
        reason: Reason::Refused,
        offender: None,
        ports: PortRanges::from_ports((1..60_000).step_by(2)).to_string(),
        seen_from: Vec::new(),
    }
}

/// Every list longer than a part, and more than 16 MiB of ports.
fn large() -> SweepResult {
    let hosts = 0..4096;
    SweepResult {
        observations: hosts.clone().flat_map(|host| [observation(host, 22), observation(host, 80)]).collect(),
        groups: (0..120).map(group).collect(),
        living: hosts.clone().map(address).collect(),
        macs: hosts
            .clone()
            .map(|host| (address(host), format!("02:00:00:00:{:02x}:{:02x}", host >> 8, host & 255)))
            .collect(),
        improbable: hosts
            .map(|host| (address(host), Improbable { ports: vec![7, 9], open: 1, ..Improbable::default() }))
            .collect(),
        stats: stats(),
        gaps: Vec::new(),
        interrupted: true,
    }
}

fn stats() -> Sweep {
    Sweep {
        engine: "syn".to_owned(),
        transmit: "AF_XDP".to_owned(),
        probes_sent: 7,
        replies: 5,
        rounds: 2,
        packets_per_second: 1.5,
        dropped_replies: 1,
        recall: None,
    }
}

fn assert_same(came: &SweepResult, went: &SweepResult) {
    // Debug shows every field; assert_eq! would print megabytes.
    assert!(format!("{came:?}") == format!("{went:?}"), "{} observations", came.observations.len());
}

#[test]
fn a_large_result_goes_in_small_lines_and_is_the_same_again() {
    let (space, large) = (space(), large());
    let lines: Vec<_> = events_of(large.clone()).map(|event| serde_json::to_string(&event).unwrap()).collect();
    assert!(lines.iter().map(String::len).sum::<usize>() > 16 << 20);
    let longest = lines.iter().map(String::len).max().unwrap();
    assert!(longest < 2 << 20, "{longest}");
    let (mut parts, mut ends) = (Parts::default(), Vec::new());
    for line in lines {
        match serde_json::from_str(&line).unwrap() {
            Event::Part(part) => parts.take(part, &space),
            Event::Done(done) => ends.push(*done),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends.len(), 1);
    assert_same(&parts.with(ends.remove(0)), &large);
}

#[test]
fn what_is_said_of_others_is_not_taken() {
    let mut parts = Parts::default();
    for part in [
        Part::Observations(vec![Seen::from(&observation(4096, 22)), Seen::from(&observation(1, 22))]),
        Part::Groups(vec![group(4096), group(1)]),
        Part::Living(vec![address(4096), address(1)]),
        Part::Macs(vec![(address(4096), String::new()), (address(1), String::new())]),
        Part::Improbable(vec![(address(4096), Improbable::default()), (address(1), Improbable::default())]),
    ] {
        parts.take(part, &space());
    }
    let result = parts.with(Done { stats: stats(), gaps: Vec::new(), interrupted: false });
    let one = address(1);
    assert_eq!(result.observations, [observation(1, 22)]);
    assert_eq!(result.groups, [group(1)]);
    assert_eq!(result.living, BTreeSet::from([one]));
    assert_eq!(result.macs.into_keys().collect::<Vec<_>>(), [one]);
    assert_eq!(result.improbable.into_keys().collect::<Vec<_>>(), [one]);
}

/// What comes of what `child` says, and what was collected.
fn collect(child: impl FnOnce(&UnixStream) + Send) -> (Result<Option<Done>, String>, Collected) {
    let (here, there) = UnixStream::pair().unwrap();
    let (events, _unheard) = mpsc::channel(1);
    let mut collected = Collected::default();
    let end = std::thread::scope(|scope| {
        scope.spawn(move || child(&there));
        let end = collected.until_the_end(&here, &space(), &events, &AtomicBool::new(false));
        here.shutdown(std::net::Shutdown::Both).unwrap();
        end
    });
    (end, collected)
}

#[test]
fn a_result_larger_than_the_longest_line_comes_whole() {
    let (end, collected) = collect(|stream| tell_result(stream, large()).unwrap());
    assert_same(&collected.parts.with(end.unwrap().unwrap()), &large());
}

#[test]
fn without_the_last_part_what_was_found_before_is_left() {
    let (end, collected) = collect(|stream| {
        tell(stream, &Event::Found(Box::new(Seen::from(&large().observations[5])))).unwrap();
        for event in events_of(large()).take(3) {
            tell(stream, &event).unwrap();
        }
    });
    assert!(end.unwrap().is_none() && collected.began);
    let result = collected.without_end("killed", &space());
    assert_eq!(result.observations, [large().observations[5].clone()]);
    assert!(result.gaps[0].incomplete && result.gaps[0].cause.contains("killed"), "{:?}", result.gaps);
}

#[test]
fn an_endless_line_is_not_read_to_its_end() {
    let (end, _) = collect(|mut stream| {
        // Until nobody reads it.
        while stream.write_all(&[b' '; 1 << 16]).is_ok() {
            std::thread::yield_now();
        }
    });
    assert!(end.unwrap_err().contains("too much at once"));
}
