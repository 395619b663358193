//! Raw links on a real kernel: each way out delivers what it was given, and the way in hears what it should.
//!
//! Needs root and `ip`; prints `SKIPPED: …` otherwise.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it makes namespaces; a failure of its own is a failed test"
)]

use std::collections::BTreeSet;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postern::net::addresses::interface_names;
use postern::net::link::open::OutletKind;
use postern::net::link::ring::{Receiver, packet_socket};
use postern::net::link::{Frames, LinkSockets, Outlet};
use postern::net::namespace::NetworkNamespace;
use postern::sweep::raw::link::{Asked, Load};
use postern::sweep::raw::sender::{Sender, send};
use postern::sweep::syn::{NextHop, Probe, Unsent};
use postern::wire::Syn;

const PORT: u16 = 25_000;

/// Two namespaces on a veth pair; gone on drop.
struct Lab {
    names: [String; 2],
    here: NetworkNamespace,
    there: NetworkNamespace,
}

impl Lab {
    fn new(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || Command::new("ip").arg("-V").output().is_err() {
            println!("SKIPPED: link {name}: needs root and ip");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("link{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let names = [format!("{unique}a"), format!("{unique}b")];
        let [a, b] = &names;
        for line in [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("-n {a} link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 netns {b}"),
            format!("-n {a} link set lo up"),
            format!("-n {a} addr add 198.18.0.1/24 dev eth0"),
            format!("-n {b} addr add 198.18.0.2/24 dev eth0"),
            format!("-n {a} link set eth0 up"),
            format!("-n {b} link set eth0 up"),
        ] {
            let output = Command::new("ip").args(line.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let open = |name: &str| NetworkNamespace::open(format!("/run/netns/{name}").as_ref()).unwrap();
        Some(Self { here: open(a), there: open(b), names })
    }

    fn link(&self, kind: OutletKind, lanes: usize) -> Vec<Outlet> {
        let made = self.here.inside(|| {
            let index = index_of("eth0");
            let sockets = LinkSockets::open(&[kind], None, lanes).unwrap();
            let [outlet] = <[_; 1]>::try_from(sockets.outlets).ok().unwrap();
            Outlet::lanes(outlet.unwrap(), index, lanes).unwrap().0
        });
        made.unwrap()
    }

    fn listen(&self) -> Receiver {
        let socket = self.there.inside(|| packet_socket(rustix::net::SocketType::DGRAM).unwrap()).unwrap();
        Receiver::new(socket, &[PORT], &[]).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            // Nothing more can be done about one that stays.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn index_of(name: &str) -> u32 {
    interface_names().unwrap().into_iter().find_map(|(index, one)| (one == name).then_some(index)).unwrap()
}

/// A packet to our port whose identification is `number`, with an Ethernet header in front or none.
fn write(slot: &mut [u8; 128], number: u16, ethernet: bool) -> usize {
    let mut packet = vec![0x45, 0, 0, 40];
    packet.extend(number.to_be_bytes());
    packet.extend([0x40, 0, 64, 6, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2]);
    packet.extend([0, 80]);
    packet.extend(PORT.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 4, 0, 0, 0, 0, 0, 0]);
    let frame = if ethernet { [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 0], &packet].concat() } else { packet };
    slot[..frame.len()].copy_from_slice(&frame);
    frame.len()
}

/// Whose a frame is.
fn asked() -> Asked {
    let syn = Syn { destination: [198, 18, 0, 2].into(), port: 80, source_port: PORT, sequence: 1 };
    Asked::Probe(Probe { syn, source: 0, to: NextHop::Routed })
}

/// Sends frames of all `numbers`.
fn send_all(outlet: &mut Outlet, numbers: Range<u16>) {
    let ethernet = !matches!(outlet, Outlet::Packets(_));
    let started = Instant::now();
    let mut frames = Frames::default();
    for first in numbers.clone().step_by(250) {
        frames.clear();
        let end = first.saturating_add(250).min(numbers.end);
        (first..end).for_each(|number| frames.push(|slot| write(slot, number, ethernet)));
        let mut from = 0;
        while from < frames.len() {
            from += outlet.send(&frames, from).unwrap();
            assert!(started.elapsed() < Duration::from_secs(20), "the way out stays full");
        }
    }
}

/// Every lane sends its share, all at once.
fn delivers(kind: OutletKind, name: &str, lanes: u16) {
    // What the receiver's ring holds.
    let each = 10_000 / lanes;
    let Some(lab) = Lab::new(&format!("{name}{lanes}")) else { return };
    let mut link = lab.link(kind, usize::from(lanes));
    let mut there = lab.listen();
    assert_eq!(link.len(), usize::from(lanes));
    std::thread::scope(|scope| {
        for (lane, outlet) in (0..).zip(&mut link) {
            assert_eq!(outlet.name(), name, "lane {lane}");
            scope.spawn(move || send_all(outlet, lane * each..(lane + 1) * each));
        }
    });
    let all = usize::from(lanes * each);
    let mut seen = BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(5);
    while seen.len() < all && Instant::now() < until {
        there.receive(&mut |packet| {
            assert_eq!((packet.protocol, packet.bytes.len()), (0x0800, 40));
            seen.insert(u16::from_be_bytes([packet.bytes[4], packet.bytes[5]]));
        });
    }
    assert_eq!(seen.len(), all, "{:?}", there.drops());
    assert_eq!((there.drops().received, there.drops().dropped), (all as u64, 0));
}

#[test]
fn af_xdp_delivers_every_frame() {
    delivers(OutletKind::Xdp, "af_xdp", 1);
    delivers(OutletKind::Xdp, "af_xdp", 2);
}

#[test]
fn a_packet_socket_delivers_every_frame() {
    delivers(OutletKind::Frames, "af_packet", 1);
    delivers(OutletKind::Frames, "af_packet", 2);
}

#[test]
fn raw_ip_delivers_every_packet() {
    delivers(OutletKind::Packets, "raw-ip", 1);
    delivers(OutletKind::Packets, "raw-ip", 2);
}

/// A queue that somebody holds, all the time: the packet socket takes over, and the reason is known.
#[test]
fn a_busy_queue_falls_back() {
    let Some(lab) = Lab::new("busy") else { return };
    let first = lab.link(OutletKind::Xdp, 1);
    assert_eq!(first[0].name(), "af_xdp");
    let second = lab.link(OutletKind::Xdp, 1);
    assert_eq!(second[0].name(), "af_packet");
    drop(first);
    // The kernel frees a queue some 30 ms after its holder has gone: asked for at once, it is had after all.
    assert_eq!(lab.link(OutletKind::Xdp, 1)[0].name(), "af_xdp");
}

/// The interface goes down and comes up again: what did not leave is told and never leaves, and what comes after does.
#[test]
fn what_is_said_not_to_have_left_has_not() {
    let Some(lab) = Lab::new("down") else { return };
    let mut outlet = lab.link(OutletKind::Xdp, 1).remove(0);
    let mut there = lab.listen();
    let set = |state: &str| {
        let output = Command::new("ip").args(["-n", &lab.names[0], "link", "set", "eth0", state]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let mut send_all = |numbers: Range<u16>| {
        let mut load = Load::default();
        for number in numbers {
            load.frames.push(|slot| write(slot, number, true));
            load.probes.push(asked());
        }
        send(&mut outlet, &mut load);
        load.failed.iter().map(|failure| failure.why).collect::<Vec<_>>()
    };
    assert_eq!(send_all(0..250), []);
    set("down");
    assert_eq!(send_all(250..500), [Unsent::Device; 250]);
    assert_eq!(send_all(500..750), [Unsent::Device; 250]);
    set("up");
    assert_eq!(send_all(750..1000), []);
    let mut seen = BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        there.receive(&mut |packet| {
            seen.insert(u16::from_be_bytes([packet.bytes[4], packet.bytes[5]]));
        });
    }
    assert_eq!(seen, (0..250).chain(750..1000).collect());
}

/// Frames that a queueing discipline holds back: whoever hands more over is not held up, and told what did not leave.
#[test]
fn a_full_way_out_holds_nobody_up() {
    const LOADS: usize = 60;
    const EACH: usize = 100;
    let Some(lab) = Lab::new("full") else { return };
    let nsenter = format!("--net=/run/netns/{}", lab.names[0]);
    let shape = "tc qdisc add dev eth0 root tbf rate 8bit burst 2000 limit 3000000";
    let output = Command::new("nsenter").arg(nsenter).args(shape.split(' ')).output().unwrap();
    assert!(output.status.success(), "{shape}: {}", String::from_utf8_lossy(&output.stderr));
    let mut sender = Sender::start(vec![lab.link(OutletKind::Frames, 1)]).unwrap();
    let began = Instant::now();
    for _ in 0..LOADS {
        let mut load = sender.load(0);
        for number in 0..EACH as u16 {
            load.frames.push(|slot| write(slot, number, true));
            load.probes.push(asked());
        }
        sender.send(load);
    }
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    assert!(!sender.has_room() && !sender.is_idle());
    let mut failed = 0;
    while failed < EACH {
        assert!(began.elapsed() < Duration::from_secs(10), "{failed} failed so far");
        sender.collect(&mut |_| failed += 1);
        // As a driver does.
        sender.has_room();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What finds no room in the ring is counted.
#[test]
fn losses_on_the_way_in_are_counted() {
    let Some(lab) = Lab::new("drops") else { return };
    let mut link = lab.link(OutletKind::Xdp, 1);
    let mut there = lab.listen();
    for _ in 0..4 {
        send_all(&mut link[0], 0..60_000);
    }
    std::thread::sleep(Duration::from_millis(50));
    let mut taken = 0;
    while there.receive(&mut |_| taken += 1) > 0 {}
    let drops = there.drops();
    assert!(drops.dropped > 0, "{drops:?}: the ring holds more than it did");
    assert_eq!(taken + drops.dropped, 240_000);
}
