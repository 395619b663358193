//! The raw SYN sweep: the same answers, by packets.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postern::net::link::ring::{Receiver, packet_socket};
use postern::net::namespace::NetworkNamespace;
use postern::sweep::syn::Hop;
use serde_json::Value;

use crate::lab::{
    FOUR, Lab, OnAccept, REFUSALS, REFUSED, SIX, assert_states, entry_of, ip, nft_in, offender_of, open_endpoints,
    state_of, sysctl,
};

fn sweep(report: &Value) -> &Value {
    &report["run"]["sweep"]
}

fn open(report: &Value, address: &str, port: u16) -> bool {
    state_of(report, address, port).is_some_and(|(state, _)| state == "open")
}

/// RST, each ICMP code with its offender, silence, SYN-ACK; in both families, on the link.
#[test]
fn states_and_reasons_are_told_apart() {
    let Some(lab) = Lab::new("raw states") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    lab.nft(REFUSALS);
    let report = lab.scan("syn", &["198.18.0.2", "2001:db8::2", "-p", "22,100-107,110-111"]);
    assert_eq!((sweep(&report)["engine"].as_str(), sweep(&report)["transmit"].as_str()), (Some("syn"), Some("af_xdp")));
    assert_states(&report, &REFUSED);
    assert!(open(&report, FOUR, 22) && open(&report, SIX, 22));
    assert_eq!(entry_of(&report, FOUR, "tcp", 22).unwrap()["evidence"]["ttl"], 64);
    assert_eq!(offender_of(&report, FOUR, 102), Some(FOUR.to_owned()));
    drop(listener);
}

/// Own addresses go over `lo`, also the one that the network knows.
#[test]
fn own_addresses_are_swept_over_lo() {
    let Some(lab) = Lab::new("raw own") else { return };
    let server = lab.listen_in(&lab.scanner, &[22], OnAccept::Keep);
    let own = ["127.0.0.1", "::1", "198.18.0.1", "2001:db8::1"];
    let mut args = own.to_vec();
    args.extend(["-p", "20-23"]);
    let report = lab.scan("syn", &args);
    assert_eq!(sweep(&report)["transmit"], "raw-ip");
    for address in own {
        assert!(open(&report, address, 22), "{address}: {report:#}");
        assert_eq!(state_of(&report, address, 21), Some(("closed".to_owned(), "refused".to_owned())), "{address}");
    }
    drop(server);
}

/// Behind a router: its answers are its own, hosts behind are one hop further.
#[test]
fn a_router_is_told_from_what_is_behind_it() {
    let Some(mut lab) = Lab::new("raw router") else { return };
    let router = lab.target.clone();
    let behind = lab.namespace("b");
    ip(&format!("-n {router} link add eth1 type veth peer name eth0 netns {behind}"));
    for (namespace, device, address) in [(&router, "eth1", "198.18.7.1/24"), (&behind, "eth0", "198.18.7.2/24")] {
        ip(&format!("-n {namespace} addr add {address} dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
    for (namespace, device, address) in [(&router, "eth1", "2001:db8:7::1/64"), (&behind, "eth0", "2001:db8:7::2/64")] {
        ip(&format!("-n {namespace} addr add {address} dev {device} nodad"));
    }
    ip(&format!("-n {behind} route add default via 198.18.7.1"));
    ip(&format!("-n {behind} -6 route add default via 2001:db8:7::1"));
    ip(&format!("-n {} route add 198.18.7.0/24 via 198.18.0.2", lab.scanner));
    ip(&format!("-n {} -6 route add 2001:db8:7::/64 via 2001:db8::2", lab.scanner));
    sysctl(&router, "net.ipv4.ip_forward=1");
    sysctl(&router, "net.ipv6.conf.all.forwarding=1");
    nft_in(
        &router,
        "table inet t { chain f { type filter hook forward priority 0; tcp dport 23 reject with icmpx type admin-prohibited; }\n}",
    );
    let server = lab.listen_in(&behind, &[22, 23], OnAccept::Keep);
    // Until the router's own link-local address is no duplicate, it asks for no neighbours.
    std::thread::sleep(Duration::from_secs(2));
    let report = lab.scan("syn", &["198.18.7.2", "198.18.7.9", "2001:db8:7::2", "-p", "22-24"]);
    for (address, gateway) in [("198.18.7.2", "198.18.0.2"), ("2001:db8:7::2", "2001:db8::2")] {
        assert!(open(&report, address, 22), "{report:#}");
        assert_eq!(entry_of(&report, address, "tcp", 22).unwrap()["evidence"]["ttl"], 63);
        let rejected = Some(("filtered".to_owned(), "icmp-admin-prohibited".to_owned()));
        assert_eq!(state_of(&report, address, 23), rejected);
        assert_eq!(offender_of(&report, address, 23), Some(gateway.to_owned()));
        assert_eq!(state_of(&report, address, 24), Some(("closed".to_owned(), "refused".to_owned())));
    }
    assert_eq!(state_of(&report, "198.18.7.9", 22), None, "nobody is there");
    drop(server);
}

/// A published container's port is one hop further than the host's own.
#[test]
fn the_hop_of_a_published_port_shows() {
    let Some(mut lab) = Lab::new("raw published") else { return };
    let host = lab.target.clone();
    let container = lab.namespace("c");
    ip(&format!("-n {host} link add docker0 type veth peer name eth0 netns {container}"));
    for (namespace, device, address) in [(&host, "docker0", "172.17.0.1/16"), (&container, "eth0", "172.17.0.2/16")] {
        ip(&format!("-n {namespace} addr add {address} dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
    ip(&format!("-n {container} route add default via 172.17.0.1"));
    sysctl(&host, "net.ipv4.ip_forward=1");
    nft_in(
        &host,
        "table ip nat { chain p { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 172.17.0.2:80; }\n}",
    );
    let inner = lab.listen_in(&container, &[80], OnAccept::Keep);
    let outer = lab.listen(&[22], OnAccept::Keep);
    let report = lab.scan("syn", &["198.18.0.2", "-p", "22,8080"]);
    let ttl = |port| entry_of(&report, "198.18.0.2", "tcp", port).unwrap()["evidence"]["ttl"].clone();
    assert_eq!((ttl(22), ttl(8080)), (64.into(), 63.into()));
    drop((inner, outer));
}

/// A port that this machine's own rules lead on to a container: the container answers, the own address is open.
#[test]
fn a_port_that_own_rules_lead_on_is_open() {
    let Some(mut lab) = Lab::new("raw led on") else { return };
    let container = lab.namespace("c");
    ip(&format!("-n {} link add docker0 type veth peer name eth0 netns {container}", lab.scanner));
    let ends = [(&lab.scanner, "docker0", "172.17.0.1/16"), (&container, "eth0", "172.17.0.2/16")];
    for (namespace, device, address) in ends {
        ip(&format!("-n {namespace} addr add {address} dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
    ip(&format!("-n {container} route add default via 172.17.0.1"));
    nft_in(
        &lab.scanner,
        "table ip nat {
            chain o { type nat hook output priority -100; fib daddr type local tcp dport 8080-8082 dnat to 172.17.0.2; }
            chain p { type nat hook postrouting priority 100; oifname docker0 masquerade; }
        }",
    );
    let server = lab.listen_in(&container, &[8080], OnAccept::Keep);
    nft_in(
        &container,
        "table ip t { chain i { type filter hook input priority 0; tcp dport 8082 reject with icmp type admin-prohibited; }\n}",
    );
    let report = lab.scan("syn", &["198.18.0.1", "-p", "8080-8083"]);
    let state = |port| state_of(&report, "198.18.0.1", port).map(|(state, _)| state);
    let states = [8080, 8081, 8082, 8083].map(state);
    assert_eq!(states, ["open", "closed", "filtered", "closed"].map(|state| Some(state.to_owned())), "{report:#}");
    drop(server);
}

/// Two interfaces: each target by its own, with its own source.
#[test]
fn each_route_has_its_interface_and_source() {
    let Some(mut lab) = Lab::new("raw multi-homed") else { return };
    let other = lab.namespace("o");
    ip(&format!("-n {} link add eth1 type veth peer name eth0 netns {other}", lab.scanner));
    for (namespace, device, address) in [(&lab.scanner, "eth1", "198.18.9.1/24"), (&other, "eth0", "198.18.9.2/24")] {
        ip(&format!("-n {namespace} addr add {address} dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
    let servers = (lab.listen(&[22], OnAccept::Keep), lab.listen_in(&other, &[22], OnAccept::Keep));
    let report = lab.scan("syn", &["198.18.0.2", "198.18.9.2", "2001:db8::2", "-p", "22-23"]);
    for address in ["198.18.0.2", "198.18.9.2", "2001:db8::2"] {
        assert!(open(&report, address, 22), "{address}: {report:#}");
    }
    drop(servers);
}

/// 65,536 addresses with one open port each: all of them, and each asked once where nothing is lost.
#[test]
fn a_network_of_open_ports_is_found_whole() {
    let Some(lab) = Lab::new("raw any ip") else { return };
    lab.any_ip();
    let listener = lab.listen(&[22], OnAccept::Keep);
    let counted = count_probes(&lab, || {
        let report = lab.scan("syn", &["198.19.0.0/16", "-p", "22", "--host-rate", "max", "--rate", "60000"]);
        assert_eq!(open_endpoints(&report), 65_536);
        assert_eq!(sweep(&report)["recall"]["estimate"], 1.0);
    });
    assert_eq!(counted.len(), 65_536);
    let twice = counted.values().filter(|times| **times > 1).count();
    // Control probes of what is known already tell losses from silence.
    assert!(twice < 656, "{twice} were asked more than once");
    drop(listener);
}

/// SYNs that reach the target while `work` runs, by address.
fn count_probes(lab: &Lab, work: impl FnOnce()) -> BTreeMap<[u8; 4], u32> {
    let namespace = NetworkNamespace::open(format!("/run/netns/{}", lab.target).as_ref()).unwrap();
    let socket = namespace.inside(|| packet_socket(rustix::net::SocketType::DGRAM).unwrap()).unwrap();
    let mut receiver = Receiver::new(socket, &[22], &[]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let stop = &stop;
    std::thread::scope(|scope| {
        let counter = scope.spawn(move || {
            let mut seen: BTreeMap<[u8; 4], u32> = BTreeMap::new();
            loop {
                let ended = stop.load(std::sync::atomic::Ordering::Acquire);
                let packets = receiver.receive(&mut |packet| {
                    let syn = packet.bytes.get(33) == Some(&2);
                    if let Some(to) = packet.bytes.get(16..20).filter(|_| syn) {
                        *seen.entry(to.try_into().unwrap()).or_default() += 1;
                    }
                });
                if ended && packets == 0 {
                    assert_eq!(receiver.drops().dropped, 0);
                    return seen;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        work();
        std::thread::sleep(Duration::from_millis(10));
        stop.store(true, std::sync::atomic::Ordering::Release);
        counter.join().unwrap()
    })
}

/// One packet in five is lost each way, all other ports are dropped: nothing is missing.
#[test]
fn nothing_is_missing_at_twenty_percent_loss() {
    let Some(lab) = Lab::new("raw loss") else { return };
    lab.any_ip();
    let ports = [22, 80, 113, 177];
    let listener = lab.listen(&ports, OnAccept::Keep);
    lab.nft(
        "table ip t {
            chain i { type filter hook input priority 0; numgen random mod 100 < 20 drop;
                ip daddr 198.19.0.0/16 tcp dport { 22, 80, 113, 177 } accept;
                ip daddr 198.19.0.0/16 drop; }
            chain o { type filter hook output priority 0; numgen random mod 100 < 20 drop; }
        }",
    );
    let report = lab.scan("syn", &["198.19.1.0/26", "-p", "1-200", "--host-rate", "max"]);
    let (found, all) = (open_endpoints(&report), 64 * ports.len());
    let lower = sweep(&report)["recall"]["lower"].as_f64().unwrap();
    // It goes on until less than a tenth of a port is expected to be missing: one in some runs is.
    assert!(found * 1000 >= all * 995, "{found} of {all}");
    assert!(lower >= 0.9 && lower <= found as f64 / all as f64, "{found} of {all}: {:#}", report["run"]);
    drop(listener);
}

/// 4,094 addresses on the link and one host: found, and the kernel's own table stays out of it.
#[test]
fn absent_hosts_do_not_fill_the_neighbour_table() {
    let Some(lab) = Lab::new("raw absent") else { return };
    ip(&format!("-n {} addr add 198.19.16.1/20 dev eth0", lab.scanner));
    ip(&format!("-n {} addr add 198.19.17.9/20 dev eth0", lab.target));
    let listener = lab.listen(&[22], OnAccept::Keep);
    let started = Instant::now();
    let report = lab.scan("syn", &["198.19.16.0/20", "--exclude", "198.19.16.1", "-p", "22,80,443"]);
    assert!(open(&report, "198.19.17.9", 22), "{report:#}");
    assert_eq!(open_endpoints(&report), 1);
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    let entries = Command::new("ip").args(["-n", &lab.scanner, "neigh"]).output().unwrap();
    let entries = String::from_utf8_lossy(&entries.stdout).lines().count();
    assert!(entries < 20, "{entries} entries in the kernel's table");
    drop(listener);
}

/// SIGINT in the middle: exit code 4, what was found is printed, the rest is not called filtered.
#[test]
fn an_interrupt_saves_what_was_found() {
    let Some(lab) = Lab::new("raw interrupt") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let args = ["scan", "--engine", "syn", "198.18.0.2", "-p", "1-60000", "--rate", "2000", "--no-probes", "-q"];
    let child = lab.postern(&args).args(["-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // nsenter replaces itself by the program: the child is postern.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let asked = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_millis(2500), "it took {:?} to stop", asked.elapsed());
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["run"]["status"], "interrupted");
    let groups = report["hosts"][0]["other_ports"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["state"] != "filtered"), "{groups:?}");
    assert!(groups.iter().any(|group| group["reason"] == "interrupted"), "{groups:?}");
    drop(listener);
}

/// The kernel's way, by request and where somebody holds the queue.
#[test]
fn the_report_says_how_frames_left() {
    let Some(lab) = Lab::new("raw transmit") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let by = |how: &str| lab.scan("syn", &["198.18.0.2", "-p", "20-30", "--transmit", how]);
    for (how, name) in [("kernel", "af_packet"), ("xdp", "af_xdp"), ("auto", "af_xdp")] {
        let report = by(how);
        assert_eq!(sweep(&report)["transmit"], name, "{how}");
        assert!(open(&report, "198.18.0.2", 22), "{how}");
    }
    let held = lab.inside_scanner(|| {
        use postern::net::link::open::OutletKind;
        use postern::net::link::{LinkSockets, Outlet};
        let names = postern::net::addresses::interface_names().unwrap();
        let index = names.into_iter().find_map(|(index, name)| (name == "eth0").then_some(index)).unwrap();
        let sockets = LinkSockets::open(&[OutletKind::Xdp], None, 1).unwrap();
        let outlet = sockets.outlets.into_iter().next().unwrap().unwrap();
        Outlet::lanes(outlet, index, 1).unwrap().0
    });
    assert_eq!(held[0].name(), "af_xdp");
    let report = by("auto");
    assert_eq!(sweep(&report)["transmit"], "af_packet");
    assert!(open(&report, "198.18.0.2", 22));
    drop((held, listener));
}

/// The scanner's interface is a bridge's port: both hear each answer, and it counts once.
#[test]
fn an_answer_that_two_interfaces_hear_counts_once() {
    let Some(lab) = Lab::new("raw bridge") else { return };
    let name = &lab.scanner;
    ip(&format!("-n {name} addr flush dev eth0"));
    ip(&format!("-n {name} link add br0 type bridge"));
    ip(&format!("-n {name} link set eth0 master br0"));
    ip(&format!("-n {name} link set br0 up"));
    ip(&format!("-n {name} addr add 198.18.0.1/24 dev br0"));
    let listener = lab.listen(&[22], OnAccept::Keep);
    // Nothing is open that would have improbable ports asked, too.
    let report = lab.scan("syn", &["198.18.0.2", "-p", "101-300"]);
    assert_eq!(state_of(&report, "198.18.0.2", 101), Some(("closed".to_owned(), "refused".to_owned())), "{report:#}");
    // Where this machine is busy some ports are asked again; each probe has one answer all the same.
    let count = |what: &str| sweep(&report)[what].as_u64().unwrap();
    assert!((200..=count("probes_sent")).contains(&count("replies")), "{:#}", sweep(&report));
    assert!(open(&lab.scan("syn", &["198.18.0.2", "-p", "22"]), "198.18.0.2", 22));
    drop(listener);
}

/// One interface leads nowhere: what the others reach is swept, and the rest is said not to have been asked.
#[test]
fn an_interface_without_a_carrier_is_a_gap_and_stops_nobody() {
    let Some(lab) = Lab::new("raw carrier") else { return };
    // Its other end stays down.
    ip(&format!("-n {} link add eth1 type veth peer name eth2", lab.scanner));
    ip(&format!("-n {} addr add 198.18.9.1/24 dev eth1", lab.scanner));
    ip(&format!("-n {} link set eth1 up", lab.scanner));
    let listener = lab.listen(&[22], OnAccept::Keep);
    let report = lab.scan("syn", &["198.18.0.2", "198.18.9.2-198.18.9.3", "-p", "22-23"]);
    assert!(open(&report, "198.18.0.2", 22), "{report:#}");
    let gaps = report["run"]["gaps"].as_array().unwrap();
    let has = |what: &str, cause: &str| {
        let says = |gap: &Value, key: &str, text: &str| gap[key].as_str().unwrap().contains(text);
        gaps.iter().any(|gap| says(gap, "what", what) && says(gap, "cause", cause) && gap["incomplete"] == true)
    };
    assert!(has("targets that are reached by eth1 were not asked", "eth1: it has no carrier"), "{gaps:#?}");
    assert!(has("4 endpoints were not asked (198.18.9.", "the network device is down or gone"), "{gaps:#?}");
    drop(listener);
}

/// An interface is gone between two looks: its way out is closed, the others are open.
#[test]
fn a_way_out_that_is_gone_is_closed() {
    use postern::net::link::open::OutletKind;
    use postern::net::link::{LinkSockets, Outlet, OutletSockets};
    use postern::sweep::raw::exits::{self, Exit, Exits, Reach};
    use postern::sweep::raw::messages::{Descriptors, Job};
    let Some(lab) = Lab::new("raw gone") else { return };
    let (source, target) = ("198.18.0.1".parse().unwrap(), "198.18.9.2".parse().unwrap());
    let exit = |outlet, router| Exit { outlet, source, router };
    let mut job = Job {
        exits: Exits {
            outlets: vec![
                exits::Outlet::Ethernet { interface: 99_999, mac: [2, 0, 0, 0, 0, 1] },
                exits::Outlet::Packets,
            ],
            exits: vec![exit(0, Some(source)), exit(1, None)],
            reaches: vec![Reach { first: target, last: target, exit: Some(0), hop: Hop::Routed }],
        },
        names: vec!["eth7".to_owned(), String::new()],
        lanes: 1,
        source_ports: vec![25_000],
        ..Job::default()
    };
    let opened = lab.inside_scanner(|| {
        let sockets = LinkSockets::open(&[OutletKind::Xdp, OutletKind::Packets], None, 1).unwrap();
        let mut descriptors = vec![sockets.receiver];
        for outlet in sockets.outlets {
            match outlet.unwrap() {
                OutletSockets::Ethernet { xdp, frames } => {
                    job.descriptors.push(Descriptors::Frames { xdp: xdp.len() });
                    descriptors.extend(xdp.into_iter().chain([frames]));
                }
                OutletSockets::Packets { ipv4, ipv6 } => {
                    job.descriptors.push(Descriptors::Packets { ipv4: ipv4.is_some(), ipv6: ipv6.is_some() });
                    descriptors.extend(ipv4.into_iter().chain(ipv6));
                }
            }
        }
        postern::sweep::raw::opened::open(&mut job, descriptors).unwrap()
    });
    assert!(matches!(opened.lanes[0][..], [Outlet::Closed, Outlet::Packets(_)]), "{:?}", opened.lanes);
    assert_eq!((job.exits.reaches[0].hop, job.exits.exits[0].router), (Hop::Closed, None));
    assert!(job.closed[0].gap().cause.contains("eth7: it could not be opened to send"), "{:?}", job.closed);
}

/// A SYN-ACK is reset by the kernel alone: the target sees one reset for each.
#[test]
fn a_connection_is_reset_once() {
    let Some(lab) = Lab::new("raw reset") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    lab.nft(
        "table ip t {
            counter resets { }
            chain i { type filter hook input priority 0; tcp dport 22 tcp flags & rst == rst counter name resets; }
        }",
    );
    let report = lab.scan("syn", &["198.18.0.2", "-p", "22"]);
    assert!(open(&report, "198.18.0.2", 22));
    let mut command = Command::new("nsenter");
    command.args([&format!("--net=/run/netns/{}", lab.target), "nft", "list", "counters"]);
    let listed = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    assert!(listed.contains("packets 1 "), "{listed}");
    drop(listener);
}
