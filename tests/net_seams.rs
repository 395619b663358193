//! The system seams against a real kernel: addresses, routes and neighbours in a network namespace of this test's own.
//! Without the rights to make one each test says `skipped: needs root` on stderr.
#![expect(clippy::disallowed_methods, reason = "sets namespaces up with ip(8) and looks at files of /proc and /run")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use postern::net::addresses::{interface_names, neighbour_macs, neighbours};
use postern::net::pressure::Pressure;
use postern::net::{Neighbour, OwnAddress, Route, Way, own_addresses, route_to};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

#[test]
fn own_addresses_tell_interface_prefix_mac_and_bridges() {
    let Some(lab) = Lab::new() else { return };
    let found = lab.inside(own_addresses).unwrap();
    let by_address: HashMap<IpAddr, OwnAddress> = found.into_iter().map(|own| (own.address, own)).collect();
    let host = &by_address[&ip("198.18.0.1")];
    assert_eq!((host.interface.as_str(), host.prefix, host.bridge), ("lan", 24, false));
    assert_eq!(host.mac.as_deref(), Some("02:00:00:00:00:01"));
    let bridge = &by_address[&ip("198.19.9.1")];
    assert_eq!((bridge.interface.as_str(), bridge.prefix, bridge.bridge), ("docker0", 24, true));
    // The own end of a point-to-point link, not the other one.
    let tunnel = &by_address[&ip("198.19.0.1")];
    assert_eq!((tunnel.interface.as_str(), tunnel.prefix), ("tun", 32));
    assert!(!by_address.contains_key(&ip("198.19.0.2")));
    assert_eq!(by_address[&ip("2001:db8::1")].prefix, 64);
    assert_eq!(by_address[&ip("127.0.0.1")].interface, "lo");
    let names = lab.inside(interface_names).unwrap();
    assert_eq!(names.get(&host.index).map(String::as_str), Some("lan"));
    // The outer namespace's interfaces do not show through.
    let outer = own_addresses().unwrap();
    assert!(outer.iter().all(|own| own.interface != "docker0" || own.address != ip("198.19.9.1")));
}

#[test]
fn routes_tell_local_link_gateway_and_none_in_both_families() {
    let Some(lab) = Lab::new() else { return };
    let route = |destination: &'static str| lab.inside(move || route_to(ip(destination))).unwrap();
    let known = |destination| route(destination).unwrap_or_else(|| panic!("no route to {destination}"));
    let brief = |route: Route| (route.interface, route.source.map(|source| source.to_string()), route.way);
    let from = |interface: &str, source: &str, way| (interface.to_owned(), Some(source.to_owned()), way);

    assert_eq!(brief(known("198.18.0.2")), from("lan", "198.18.0.1", Way::OnLink));
    assert_eq!(brief(known("198.18.5.5")), from("lan", "198.18.0.1", Way::Gateway(ip("198.18.0.254"))));
    assert_eq!(brief(known("198.18.0.1")), from("lo", "198.18.0.1", Way::Local));
    assert_eq!(brief(known("127.0.0.1")).2, Way::Local);
    assert_eq!(known("198.18.0.255").way, Way::Broadcast);
    assert_eq!(brief(known("2001:db8::2")), from("lan", "2001:db8::1", Way::OnLink));
    let far = known("2001:db8:5::1");
    assert_eq!((far.interface.as_str(), far.way), ("lan", Way::Gateway(ip("2001:db8::fe"))));
    assert_eq!(known("2001:db8::1").way, Way::Local);
    // An IPv4 destination behind an IPv6 router.
    assert_eq!(known("198.18.6.1").way, Way::Gateway(ip("2001:db8::fe")));
    // Not in the table; refused by the table in three ways.
    for destination in ["198.18.77.1", "198.18.20.1", "198.18.21.1", "198.18.22.1", "2001:db8:77::1", "2001:db8:20::1"]
    {
        assert_eq!(route(destination), None, "{destination}");
    }
}

#[test]
fn neighbours_tell_resolved_from_failed_and_give_macs() {
    let Some(lab) = Lab::new() else { return };
    lab.inside(|| {
        // One that answers, one that nobody has.
        let socket = UdpSocket::bind("198.18.0.1:0").unwrap();
        for address in ["198.18.0.2:9", "198.18.0.3:9"] {
            socket.send_to(b"x", address).unwrap();
        }
    });
    let settled = || {
        let states = neighbours().unwrap();
        (states.get(&ip("198.18.0.2")).copied(), states.get(&ip("198.18.0.3")).copied())
    };
    let wanted = (Some(Neighbour::Resolved), Some(Neighbour::Failed));
    // The kernel gives up after three requests, one second apart.
    let seen = lab.inside(move || {
        (0..50).map(|_| (std::thread::sleep(std::time::Duration::from_millis(100)), settled()).1).find(|s| *s == wanted)
    });
    assert_eq!(seen, Some(wanted));
    let macs = lab.inside(neighbour_macs).unwrap();
    assert_eq!(macs.get(&ip("198.18.0.2")).map(String::as_str), Some("02:00:00:00:00:02"));
    assert_eq!(macs.get(&ip("198.18.0.3")), None);
}

#[test]
fn the_neighbour_counters_of_the_kernel_are_seen_from_inside_a_namespace() {
    let Some(lab) = Lab::new() else { return };
    // One table serves the whole kernel, but only its first namespace shows the counters.
    if !std::path::Path::new("/proc/1/net/stat/arp_cache").exists() {
        skip("process 1 is not in the first network namespace");
        return;
    }
    let inside = lab.inside(Pressure::now);
    assert!(inside.neighbours_known, "{inside:?}");
}

/// Two namespaces joined by a veth pair without any way out; removed on drop.
struct Lab {
    names: [String; 2],
}

impl Lab {
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            skip("needs root (network namespaces)");
            return None;
        }
        let id = format!("ptg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { names: [format!("{id}-a"), format!("{id}-b")] };
        let [a, b] = &lab.names;
        for name in &lab.names {
            if !try_ip(&format!("netns add {name}")) {
                skip("needs the right to make network namespaces (CAP_SYS_ADMIN) and ip(8)");
                return None;
            }
        }
        for line in [
            format!("-n {a} link set lo up"),
            format!("-n {a} link add lan address 02:00:00:00:00:01 type veth peer name lan netns {b}"),
            format!("-n {b} link set lan address 02:00:00:00:00:02"),
            format!("-n {a} address add 198.18.0.1/24 broadcast 198.18.0.255 dev lan"),
            format!("-n {a} address add 2001:db8::1/64 dev lan nodad"),
            format!("-n {b} address add 198.18.0.2/24 dev lan"),
            format!("-n {a} link set lan up"),
            format!("-n {b} link set lan up"),
            format!("-n {a} link add docker0 type bridge"),
            format!("-n {a} address add 198.19.9.1/24 dev docker0"),
            format!("-n {a} link add tun type veth peer name tun-peer"),
            format!("-n {a} address add 198.19.0.1 peer 198.19.0.2/32 dev tun"),
            format!("-n {a} route add 198.18.5.0/24 via 198.18.0.254"),
            format!("-n {a} route add 198.18.6.0/24 via inet6 2001:db8::fe dev lan"),
            format!("-n {a} route add 2001:db8:5::/64 via 2001:db8::fe"),
            format!("-n {a} route add unreachable 198.18.20.0/24"),
            format!("-n {a} route add prohibit 198.18.21.0/24"),
            format!("-n {a} route add blackhole 198.18.22.0/24"),
            format!("-n {a} route add unreachable 2001:db8:20::/64"),
        ] {
            assert!(try_ip(&line), "ip {line}");
        }
        Some(lab)
    }

    /// Runs `work` on a thread of its own in the first namespace: a namespace belongs to a thread.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.names[0]);
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let namespace = File::open(path).unwrap();
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            try_ip(&format!("netns delete {name}"));
        }
    }
}

fn try_ip(line: &str) -> bool {
    Command::new("ip").args(line.split_whitespace()).status().is_ok_and(|status| status.success())
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
