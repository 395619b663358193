//! Packets through the rules that real tools write, with answers that were not taken from the model.
//!
//! `tests/data/firewall/golden/NAME/state.json` is a host as `postern host` reports it; `packets.toml` has packets with
//! what becomes of each. The kernel was asked about all of them, but for those that say why they could not be sent:
//! `tests/data/firewall/golden/take` builds the hosts anew, with the real tools, and sends the packets.
#![expect(clippy::disallowed_methods, reason = "reads test data")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use postern::firewall::{HostPath, Question};
use postern::model::{Endpoint, HostReport, PathOutcome};
use serde::Deserialize;

const CASES: [&str; 10] = [
    "docker-20",
    "docker-28",
    "docker-29",
    "firewalld",
    "k3s",
    "kube-proxy-iptables",
    "kube-proxy-nft",
    "netavark",
    "ufw",
    "ufw-docker",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Where the rules come from.
    source: String,
    packet: Vec<Packet>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packet {
    /// One word.
    why: String,
    to: String,
    from: IpAddr,
    intent: PathOutcome,
    path: PathOutcome,
    /// `ADDRESS:PORT`; absent where the packet goes nowhere, or chance decides.
    delivered: Option<String>,
    namespace: Option<String>,
    /// Part of the rule that decides about the path.
    rule: Option<String>,
    /// Part of a line that would close it.
    fix: Option<String>,
    /// Why the kernel was not asked.
    unsent: Option<String>,
    /// What the model does not follow: it may leave this one unknown, but not be wrong.
    open: Option<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/golden")
}

fn load(name: &str) -> (HostPath, Case) {
    let read = |file: &str| fs::read_to_string(folder().join(name).join(file)).unwrap();
    let report: HostReport = serde_json::from_str(&read("state.json")).unwrap();
    let case = toml::from_str(&read("packets.toml")).unwrap_or_else(|error| panic!("{name}: {error}"));
    (HostPath::new(&report).unwrap(), case)
}

#[test]
fn every_packet_is_answered_as_the_kernel_does() {
    let mut wrong = Vec::new();
    for name in CASES {
        let (path, case) = load(name);
        for packet in &case.packet {
            wrong.extend(differences(&path, packet).into_iter().map(|line| format!("{name}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differences(path: &HostPath, packet: &Packet) -> Vec<String> {
    let to: Endpoint = packet.to.parse().unwrap();
    let answer = path.ask(&Question::new(to, packet.from));
    if packet.open.is_some() && answer.path == PathOutcome::Unknown && !answer.unknown.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut compare = |what: &str, found: String, wanted: String| {
        if found != wanted {
            lines.push(format!("{} from {} ({}): {what} {found}, not {wanted}", packet.to, packet.from, packet.why));
        }
    };
    compare("intent", answer.intent.to_string(), packet.intent.to_string());
    compare("path", answer.path.to_string(), packet.path.to_string());
    let delivered = answer.delivered.as_ref();
    let place = delivered.and_then(|delivered| Some((delivered.address, delivered.port?)));
    let place =
        place.map_or_else(String::new, |(address, port)| std::net::SocketAddr::from((address, port)).to_string());
    compare("delivered to", place, packet.delivered.clone().unwrap_or_default());
    if let Some(namespace) = &packet.namespace {
        let found = delivered.and_then(|delivered| delivered.namespace.clone()).unwrap_or_default();
        compare("delivered in", found, namespace.clone());
    }
    if let Some(rule) = &packet.rule {
        let found = answer.deciding().map_or_else(String::new, |step| step.rule.clone());
        if !found.contains(rule.as_str()) {
            compare("decided by", found, rule.clone());
        }
    }
    if let Some(fix) = &packet.fix
        && !answer.fix.iter().any(|line| line.contains(fix.as_str()))
    {
        compare("fix", answer.fix.join("; "), fix.clone());
    }
    if answer.path == PathOutcome::Unknown {
        compare("unknown by", answer.unknown.is_empty().to_string(), false.to_string());
    }
    lines
}

#[test]
fn cases_are_complete() {
    let mut found: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("packets.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, CASES);
    for name in CASES {
        let (_, case) = load(name);
        assert!(!case.source.is_empty(), "{name}");
        assert!(case.packet.len() >= 15, "{name}: {} packets", case.packet.len());
        for packet in &case.packet {
            assert!(!packet.why.is_empty() && !packet.why.contains(' '), "{name}: {packet:?}");
            // Only an accepted packet is delivered, and one that is not says nothing of a place.
            assert!(packet.delivered.is_none() || packet.path == PathOutcome::Accept, "{name}: {packet:?}");
            // What the model leaves open is not asked of the kernel: nobody knows what it should say.
            assert!(packet.path != PathOutcome::Unknown || packet.unsent.is_some(), "{name}: {packet:?}");
        }
        assert!(case.packet.iter().filter(|packet| packet.open.is_some()).count() <= 3, "{name}");
        let unsent = case.packet.iter().filter(|packet| packet.unsent.is_some()).count();
        assert!(unsent <= 2, "{name}: {unsent} packets were not sent");
        for outcome in [PathOutcome::Accept, PathOutcome::Drop] {
            assert!(case.packet.iter().filter(|packet| packet.path == outcome).count() >= 2, "{name}: {outcome}");
        }
    }
}
