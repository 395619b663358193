//! The connect sweep: every way in which a port can answer, or not.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use postern::model::{PortRanges, PortState, Transport};
use postern::sweep::connect::{self, ConnectSettings};
use postern::targets::{Space, TargetSet};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::lab::{
    FOUR, Lab, OnAccept, REFUSALS, REFUSED, SIX, assert_states, line_of, offender_of, open_endpoints, run,
    state_by_transport, state_of,
};

/// Every port says what happened to it: RST, each ICMP code with its offender, silence, handshake, handshake and reset.
#[test]
fn states_and_reasons_are_told_apart() {
    let Some(lab) = Lab::new("states") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let resetting = lab.listen(&[23], OnAccept::Reset);
    lab.nft(REFUSALS);
    let report = lab.scan("connect", &["198.18.0.2", "2001:db8::2", "-p", "22-23,100-107,110-111"]);
    assert_states(&report, &REFUSED);
    let accepted =
        [(FOUR, 22, "open", "accepted"), (FOUR, 23, "open", "accepted-then-reset"), (SIX, 22, "open", "accepted")];
    assert_states(&report, &accepted);
    assert_eq!(offender_of(&report, FOUR, 102), Some(FOUR.to_owned()));
    drop((listener, resetting));
}

/// Nobody on the link has the address: no state for its ports, and the address among the silent ones, soon.
#[test]
fn absent_hosts_are_silent_and_cost_little() {
    let Some(lab) = Lab::new("absent") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let started = Instant::now();
    let report = lab.scan("connect", &["198.18.0.0/25", "-p", "22,80,443"]);
    assert_eq!(state_of(&report, "198.18.0.2", 22), Some(("open".to_owned(), "accepted".to_owned())));
    assert_eq!(state_of(&report, "198.18.0.3", 22), None);
    let silent: Vec<&str> = report["silent"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        silent.contains(&"198.18.0.3") || silent.iter().any(|range| range.starts_with("198.18.0.3-")),
        "{silent:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    drop(listener);
}

/// One packet in a hundred is lost each way, all other ports are dropped: nothing is missing.
#[test]
fn nothing_is_missing_at_one_percent_loss() {
    let Some(lab) = Lab::new("loss") else { return };
    lab.any_ip();
    let ports = [22, 80, 443, 777, 8080, 9999];
    let listener = lab.listen(&ports, OnAccept::Keep);
    lab.nft(
        "table ip t {
            chain i { type filter hook input priority 0; numgen random mod 100 == 0 drop;
                ip daddr 198.19.0.0/16 tcp dport { 22, 80, 443, 777, 8080, 9999 } accept;
                ip daddr 198.19.0.0/16 drop; }
            chain o { type filter hook output priority 0; numgen random mod 100 == 0 drop; }
        }",
    );
    let report = lab.scan("connect", &["198.19.1.0/26", "-p", "1-300,443,777,8080,9999"]);
    assert_eq!(open_endpoints(&report), 64 * ports.len());
    let rounds = report["run"]["sweep"]["rounds"].as_u64().unwrap();
    assert!(rounds >= 2, "{rounds} rounds");
    drop(listener);
}

/// A box that refuses in the name of a whole network, with one open port behind it: that one is found, and of those that
/// refuse as many are listed as there is room for.
#[test]
fn a_network_that_refuses_takes_bounded_memory() {
    let Some(lab) = Lab::new("refusing network") else { return };
    lab.any_ip();
    let listener = lab.listen(&[22], OnAccept::Keep);
    lab.nft(
        "table ip t {
            chain i { type filter hook input priority 0;
                ip daddr != 198.19.1.200 tcp dport 22 reject with tcp reset; }
        }",
    );
    let settings = ConnectSettings {
        parallel: 64,
        rate: None,
        host_rate: None,
        max_rounds: 3,
        own: Vec::new(),
        device: None,
        most_hosts: 40,
    };
    let result = lab.inside_scanner(|| {
        let range = ("198.19.1.0".parse().unwrap(), "198.19.1.255".parse().unwrap());
        let ports: PortRanges = "22,81".parse().unwrap();
        let space = Space::new(TargetSet::from_ranges([range]), &ports, Transport::Tcp, 3);
        let (events, _) = mpsc::channel(1);
        connect::sweep(&space, &settings, 256, &events, &Arc::new(AtomicBool::new(false)))
    });
    let open: Vec<String> = result.open().map(|open| open.endpoint.to_string()).collect();
    assert_eq!(open, ["198.19.1.200:22/tcp"]);
    // Each of up to four threads has its share of the forty.
    assert!((40..=44).contains(&result.living.len()), "{} hosts", result.living.len());
    let closed = result.groups.iter().filter(|group| group.state == PortState::Closed);
    let listed: usize = closed.map(|group| group.ports.parse::<PortRanges>().unwrap().len()).sum();
    let gap = result.gaps.iter().find(|gap| gap.what.contains("not listed")).unwrap_or_else(|| panic!("{result:?}"));
    assert!(gap.incomplete && gap.settled_by.contains("--shard"), "{gap:?}");
    let unlisted: usize = gap.what.split(' ').next().unwrap().parse().unwrap();
    // The host behind it may have refused before it was known, and is asked again then.
    assert!((511..=512).contains(&(listed + unlisted)), "{listed} listed, {gap:?}");
    assert!((512..=513).contains(&result.stats.probes_sent), "nothing was lost: {:?}", result.stats);
    assert!(result.stats.recall.is_some_and(|recall| recall.expected_missing < 0.1), "{:?}", result.stats);
    drop(listener);
}

/// Ten ephemeral ports and 80 descriptors: slower, and just as right.
#[test]
fn scarce_ports_and_descriptors_are_back_pressure() {
    let Some(lab) = Lab::new("scarce") else { return };
    let listener = lab.listen(&[22, 180], OnAccept::Keep);
    run(Command::new("nsenter")
        .args([&format!("--net=/run/netns/{}", lab.scanner), "sysctl", "-qw"])
        .arg("net.ipv4.ip_local_port_range=40000 40009"));
    let mut command =
        lab.postern(&["scan", "--engine", "connect", "198.18.0.2", "-p", "1-400", "--no-probes", "-q", "-o", "json"]);
    let program = format!("ulimit -n 80; exec {}", line_of(&command));
    command = Command::new("bash");
    command.args(["-c", &program]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(open_endpoints(&report), 2);
    let closed = &report["hosts"][0]["other_ports"][0];
    assert_eq!((closed["state"].as_str(), closed["ports"].as_str()), (Some("closed"), Some("1-21,23-179,181-400")));
    drop(listener);
}

/// SIGINT in the middle: exit code 4, what was found is printed, the rest is not called filtered.
#[test]
fn an_interrupt_saves_what_was_found() {
    let Some(lab) = Lab::new("interrupt") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let args = [
        "scan",
        "--engine",
        "connect",
        "198.18.0.2",
        "-p",
        "1-60000",
        "--rate",
        "2000",
        "--no-probes",
        "-q",
        "-o",
        "json",
    ];
    let child = lab.postern(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // nsenter replaces itself by the program: the child is postern.
    let pid = rustix::process::Pid::from_child(&child);
    // Two at once are one request: timeout(1) sends to the process, and to its group.
    for pause in [Duration::from_millis(20), Duration::ZERO] {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        std::thread::sleep(pause);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["run"]["status"], "interrupted");
    let groups = report["hosts"][0]["other_ports"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["state"] != "filtered"), "{groups:?}");
    assert!(groups.iter().any(|group| group["reason"] == "interrupted"), "{groups:?}");
    drop(listener);
}

/// UDP: a reply is open, an ICMP port-unreachable of the host is closed, silence is either.
#[test]
fn udp_states_are_told_apart() {
    let Some(lab) = Lab::new("udp") else { return };
    let echo = lab.echo(7777);
    lab.nft("table ip t { chain i { type filter hook input priority 0; udp dport 7779 drop; }\n}");
    let report = lab.scan("connect", &["198.18.0.2", "-p", "none", "--udp=7777-7779"]);
    let udp = |port| state_by_transport(&report, "198.18.0.2", "udp", port);
    assert_eq!(udp(7777), Some(("open".to_owned(), "udp-reply".to_owned())));
    assert_eq!(udp(7778), Some(("closed".to_owned(), "icmp-port-unreachable".to_owned())));
    assert_eq!(udp(7779), Some(("open|filtered".to_owned(), "no-answer".to_owned())));
    drop(echo);
}

/// A host whose firewall bans whoever asks too much, beside one that does not: what the first one keeps silent about after
/// that is unknown, whatever asked.
#[test]
fn a_host_that_bans_scanners_is_told_from_one_that_filters() {
    let Some(lab) = Lab::new("ban") else { return };
    lab.any_ip();
    let listener = lab.listen(&[22, 80], OnAccept::Keep);
    for engine in ["connect", "syn"] {
        lab.nft(
            "table ip t {
                set asked { type ipv4_addr; size 64; flags dynamic; }
                set banned { type ipv4_addr; size 64; flags dynamic,timeout; timeout 5m; }
                chain i { type filter hook input priority 0;
                    ip daddr @banned drop
                    ip daddr 198.19.1.1 tcp flags syn add @asked { ip daddr limit rate over 1/minute burst 400 packets } \
                        add @banned { ip daddr } drop
                    ip daddr 198.19.0.0/16 tcp dport { 22, 80, 100-199 } accept
                    ip daddr 198.19.0.0/16 drop
                }
            }",
        );
        let report = lab.scan(engine, &["198.19.1.0-198.19.1.3", "-p", "1-1000"]);
        let told = |address: &str| {
            let (state, reason) = state_of(&report, address, 443).unwrap();
            format!("{state} ({reason})")
        };
        assert_eq!(told("198.19.1.0"), "filtered (no-answer)", "{engine}");
        assert_eq!(told("198.19.1.1"), "unknown (fell-silent)", "{engine}");
        let gaps = report["run"]["gaps"].as_array().unwrap();
        let fell = gaps.iter().find(|gap| gap["what"].as_str().unwrap().starts_with("1 host (198.19.1.1)"));
        assert!(fell.is_some_and(|gap| gap["incomplete"] == true), "{engine}: {gaps:#?}");
        lab.nft("delete table ip t");
    }
    drop(listener);
}
