//! A result of the raw sweep on its way from one process to the other: in parts, of which what was not asked is not taken.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use postern::model::report::{PortGroup, Sweep};
use postern::model::{Endpoint, Evidence, Improbable, Observation, PortRanges, PortState, Reason, Transport};
use postern::sweep::SweepResult;
use postern::sweep::raw::child::{tell, tell_result};
use postern::sweep::raw::collect::Collected;
use postern::sweep::raw::kept::Kept;
use postern::sweep::raw::loss::Loss;
use postern::sweep::raw::messages::{Done, Event, STOP, Seen};
use postern::sweep::raw::parts::{Part, events_of};
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
        evidence: Evidence { ttl: Some(64), options: Some("mss 1460,sack".into()), ..Evidence::default() },
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
    let (mut kept, mut ends) = (Kept::new(&space), Vec::new());
    for line in lines {
        match serde_json::from_str(&line).unwrap() {
            Event::Part(part) => kept.take(part),
            Event::Done(done) => ends.push(*done),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends.len(), 1);
    assert_same(&kept.with(ends.remove(0)), &large);
}

#[test]
fn what_is_said_of_others_is_not_taken() {
    let space = space();
    let mut kept = Kept::new(&space);
    for part in [
        Part::Observations(vec![Seen::from(&observation(4096, 22)), Seen::from(&observation(1, 22))]),
        Part::Groups(vec![group(4096), group(1)]),
        Part::Living(vec![address(4096), address(1)]),
        Part::Macs(vec![(address(4096), String::new()), (address(1), String::new())]),
        Part::Improbable(vec![(address(4096), Improbable::default()), (address(1), Improbable::default())]),
    ] {
        kept.take(part);
    }
    let result = kept.with(Done { stats: stats(), gaps: Vec::new(), interrupted: false });
    let one = address(1);
    assert_eq!(result.observations, [observation(1, 22)]);
    assert_eq!(result.groups, [group(1)]);
    assert_eq!(result.living, BTreeSet::from([one]));
    assert_eq!(result.macs.into_keys().collect::<Vec<_>>(), [one]);
    assert_eq!(result.improbable.into_keys().collect::<Vec<_>>(), [one]);
}

/// What comes of what `child` says, and what was collected.
fn collect<'s>(
    collected: Collected<'s>,
    child: impl FnOnce(&UnixStream) + Send,
) -> (Result<Option<Done>, Loss>, Collected<'s>) {
    collect_until(&AtomicBool::new(false), collected, child)
}

fn collect_until<'s>(
    cancel: &AtomicBool,
    mut collected: Collected<'s>,
    child: impl FnOnce(&UnixStream) + Send,
) -> (Result<Option<Done>, Loss>, Collected<'s>) {
    let (here, there) = UnixStream::pair().unwrap();
    // Nobody listens: there is no waiting for room.
    let (events, _) = mpsc::channel(1);
    let end = std::thread::scope(|scope| {
        scope.spawn(move || child(&there));
        let end = collected.until_the_end(&here, &events, cancel);
        here.shutdown(std::net::Shutdown::Both).unwrap();
        end
    });
    (end, collected)
}

#[test]
fn a_result_larger_than_the_longest_line_comes_whole() {
    let space = space();
    let (end, collected) = collect(Collected::new(&space), |stream| tell_result(stream, large()).unwrap());
    assert_same(&collected.kept.with(end.unwrap().unwrap()), &large());
}

/// What is left of `large` when the other process ends after so many of its parts, of which `found` was told before.
fn cut_off(large: &SweepResult, parts: usize) -> SweepResult {
    let space = space();
    let (end, collected) = collect(Collected::new(&space), |stream| {
        for observation in &large.observations {
            tell(stream, &Event::Found(Box::new(Seen::from(observation)))).unwrap();
        }
        for event in events_of(large.clone()).take(parts) {
            tell(stream, &event).unwrap();
        }
    });
    assert!(end.unwrap().is_none() && collected.began);
    collected.without_end(&Loss::Ended("killed".to_owned()), false)
}

/// Ports of a host by what is said of them.
fn said_of(result: &SweepResult, host: u32) -> Vec<(PortState, Reason, usize)> {
    let groups = result.groups.iter().filter(|group| group.address == address(host));
    groups.map(|group| (group.state, group.reason, group.ports.parse::<PortRanges>().unwrap().len())).collect()
}

#[test]
fn what_had_come_is_kept_wherever_the_result_ends() {
    let mut large = large();
    for observation in &mut large.observations {
        observation.evidence.behind = Some(1);
    }
    for group in &mut large.groups {
        group.ports = "23-79,1000-9999".to_owned();
    }
    let kinds: Vec<usize> = events_of(large.clone())
        .map(|event| match event {
            Event::Part(Part::Observations(_)) => 0,
            Event::Part(Part::Groups(_)) => 1,
            Event::Part(Part::Living(_)) => 2,
            Event::Part(Part::Macs(_)) => 3,
            Event::Part(Part::Improbable(_)) => 4,
            _ => 5,
        })
        .collect();
    let lost = (PortState::Unknown, Reason::LocalLimit);
    let closed = (PortState::Closed, Reason::Refused);
    for parts in 0..kinds.len() {
        let result = cut_off(&large, parts);
        let told = |kind| parts > kinds.iter().rposition(|of| *of == kind).unwrap();
        assert_eq!(result.observations.len(), large.observations.len(), "{parts}");
        assert!(!told(0) || result.observations == large.observations, "{parts}");
        // Of 65,535 ports 9057 refused and 2 are open: the rest is not known.
        if told(1) {
            assert_eq!(said_of(&result, 0), [(closed.0, closed.1, 9057), (lost.0, lost.1, 65_535 - 9057 - 2)]);
        }
        if parts == 0 {
            assert_eq!(said_of(&result, 0), [(lost.0, lost.1, 65_533)]);
        }
        assert_eq!(said_of(&result, 130), [(lost.0, lost.1, 65_533)], "nothing but open ports was told of this host");
        assert_eq!(result.living, large.living);
        assert!(!told(3) || result.macs == large.macs, "{parts}");
        assert!(!told(4) || result.improbable == large.improbable, "{parts}");
        let gap = &result.gaps[0];
        assert!(gap.incomplete && gap.cause.contains("killed"), "{gap:?}");
        assert_eq!(gap.settled_by, "another run, or --engine connect");
        for (kind, name) in [(1, "not open"), (3, "link-layer"), (4, "nobody uses")] {
            // The last part of a kind does not say that it is the last one.
            let may_miss = parts > 0 && kinds[parts - 1] <= kind;
            assert_eq!(gap.what.contains(name), may_miss, "{gap:?} after {parts} parts");
        }
    }
}

#[test]
fn a_host_whose_address_came_is_living_without_open_ports() {
    let bare = SweepResult { observations: Vec::new(), groups: Vec::new(), ..large() };
    let result = cut_off(&bare, 1);
    assert!(!result.living.is_empty() && result.living.is_subset(&bare.living));
    assert_eq!(said_of(&result, 0), [(PortState::Unknown, Reason::LocalLimit, 65_535)]);
}

/// What comes of parts, with the end.
fn whole(space: &Space, found: &[Observation], parts: impl IntoIterator<Item = Part>) -> SweepResult {
    let mut kept = Kept::new(space);
    found.iter().for_each(|found| drop(kept.take_found(Seen::from(found)).cloned()));
    parts.into_iter().for_each(|part| kept.take(part));
    kept.with(Done { stats: stats(), gaps: Vec::new(), interrupted: false })
}

#[test]
fn the_same_said_again_and_again_is_there_once() {
    let seen = |port| Seen::from(&observation(1, port));
    let of = |ports: &str, offender: Option<u32>| {
        let offender = offender.map(address);
        PortGroup { ports: ports.to_owned(), offender, seen_from: vec!["x".repeat(999)], ..group(1) }
    };
    let result = whole(
        &space(),
        &[observation(1, 22)],
        (0..50).flat_map(|number| {
            [
                Part::Observations(vec![seen(22), seen(22), seen(80), seen(443)]),
                // Another one each time, so that no key is the same.
                Part::Groups(vec![of("1-21,23-100", Some(number)), of("0,90-110,65535", Some(number))]),
                Part::Groups(vec![of(&"7,".repeat(2000), Some(number)), of(&format!("{}9", "9,".repeat(900)), None)]),
            ]
        }),
    );
    assert_eq!(result.observations, [22, 80, 443].map(|port| observation(1, port)));
    let groups: Vec<&str> = result.groups.iter().map(|group| group.ports.as_str()).collect();
    assert_eq!(groups, ["1-21,23-100", "101-110,65535"]);
    assert!(result.groups.iter().all(|group| group.seen_from.is_empty()));
    // An address that was left does not come again.
    let back = Part::Groups(vec![group(1), group(2), PortGroup { ports: "2-4".to_owned(), ..group(1) }]);
    assert_eq!(whole(&space(), &[], [back]).groups, [group(1), group(2)]);
}

#[test]
fn open_ports_that_were_folded_in_the_end_are_none_of_the_result() {
    let told =
        Observation { evidence: Evidence { behind: Some(1), ..observation(1, 80).evidence }, ..observation(1, 80) };
    let found = [443, 80, 22].map(|port| observation(1, port));
    let part = Part::Observations(vec![Seen::from(&told), Seen::from(&observation(1, 8080))]);
    assert_eq!(whole(&space(), &found, [part]).observations, [told, observation(1, 8080)]);
}

#[test]
fn what_there_is_no_room_for_is_a_gap_and_the_rest_is_kept() {
    let space = space();
    let large = large();
    let (end, collected) = collect(Collected::new(&space).with_room(100_000), |stream| {
        // Until nobody reads it.
        let found = large.observations.iter().map(|open| Event::Found(Box::new(Seen::from(open))));
        assert!(!found.into_iter().all(|event| tell(stream, &event).is_ok()));
    });
    let loss = end.unwrap_err();
    assert!(matches!(loss, Loss::Full), "{loss}");
    let result = collected.without_end(&loss, false);
    assert!((100..1000).contains(&result.observations.len()), "{}", result.observations.len());
    assert!(result.gaps[0].incomplete && result.gaps[0].settled_by.contains("--shard"), "{:?}", result.gaps);
}

/// A child that was asked to stop, and takes a while before the first part of what it has.
fn slow(says_so: bool) -> (Result<Option<Done>, Loss>, bool) {
    let space = space();
    let collected = Collected::new(&space).with_patience(Duration::from_millis(300), Duration::from_secs(60));
    let small = SweepResult { observations: vec![observation(1, 22)], groups: Vec::new(), ..large() };
    let (end, collected) = collect_until(&AtomicBool::new(true), collected, |mut stream| {
        let mut order = [0];
        stream.read_exact(&mut order).unwrap();
        assert_eq!(order, [STOP]);
        tell(stream, &Event::Found(Box::new(Seen::from(&observation(1, 22))))).unwrap();
        if says_so {
            tell(stream, &Event::SummingUp).unwrap();
        }
        std::thread::sleep(Duration::from_secs(1));
        // Nobody may listen any more.
        let _ = tell_result(stream, small.clone());
    });
    let is_kept = match &end {
        Ok(_) => collected.kept.open() == 1,
        Err(loss) => {
            let result = collected.without_end(loss, true);
            assert!(result.interrupted && said_of(&result, 1)[0].1 == Reason::Interrupted, "{:?}", result.groups);
            assert!(result.gaps[0].settled_by.contains("not interrupted"), "{:?}", result.gaps);
            result.observations == [observation(1, 22)]
        }
    };
    (end, is_kept)
}

#[test]
fn a_result_that_is_being_summed_up_is_not_cut_off() {
    let (end, is_kept) = slow(true);
    assert!(end.unwrap().is_some_and(|done| done.interrupted) && is_kept);
    let (end, is_kept) = slow(false);
    assert!(matches!(end, Err(Loss::Late(_))) && is_kept, "{end:?}");
}

#[test]
fn an_endless_line_is_not_read_to_its_end() {
    let space = space();
    let (end, _) = collect(Collected::new(&space), |mut stream| {
        // Until nobody reads it.
        while stream.write_all(&[b' '; 1 << 16]).is_ok() {
            std::thread::yield_now();
        }
    });
    assert!(matches!(end, Err(Loss::Line)), "{end:?}");
}
