//! What holds for every text that a reader of firewall rules is given, however broken or hostile. Used by the fuzz
//! targets beside this file and by tests/firewall_mutation.rs.

use std::net::IpAddr;

use postern::firewall::ipset::{self, Catalogue};
use postern::firewall::nft::{self, NftError};
use postern::firewall::ruleset::Ruleset;
use postern::firewall::{HostPath, Question, iptables};
use postern::model::network::{FirewallDump, Interface, InterfaceAddress, IptablesDump, Route, RouteKind};
use postern::model::{Endpoint, NetworkState, PathOutcome};

/// An error names a place that is there; what is read can be asked.
pub fn of_nft(text: &str) {
    match nft::read_text(text, &[]) {
        Ok(ruleset) => asked(ruleset),
        Err(NftError::Syntax { line, message, .. }) => {
            assert!((1..=text.lines().count() + 1).contains(&line), "line {line}: {message}");
        }
        Err(NftError::Structure { pointer, message }) => {
            if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
                assert!(json.pointer(&pointer).is_some(), "{pointer} leads nowhere: {message}");
            }
        }
    }
}

/// The same for iptables-save.
pub fn of_iptables(dump: &IptablesDump, ipsets: &str) {
    let catalogue = ipset::read(ipsets).unwrap_or_default();
    let read = iptables::read(dump, &catalogue);
    if let Err(error) = &read {
        assert!((1..=dump.text.lines().count().max(1)).contains(&error.line), "{error}");
    }
    let whole = FirewallDump {
        iptables: vec![dump.clone()],
        ipset: Some(ipsets.to_owned()),
        empty: ["nft", "iptables-legacy", "ip6tables-legacy"].map(str::to_owned).into(),
        ..FirewallDump::default()
    };
    let ruleset = Ruleset::of_dump(&whole);
    assert!(read.is_ok() || !ruleset.unread.is_empty(), "a dump that was refused is not told as unread");
    asked(ruleset);
}

/// The same for ipset.
pub fn of_ipset(text: &str) {
    match ipset::read(text) {
        Ok(catalogue) => drop(Catalogue::into_sets(catalogue)),
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line), "{error}"),
    }
}

/// What was not read leaves all answers open.
fn asked(ruleset: Ruleset) {
    let unread = !ruleset.unread.is_empty();
    let path = HostPath::of_namespace(&network(), ruleset);
    for (to, from) in QUESTIONS {
        let (to, from): (Endpoint, IpAddr) = (to.parse().expect("an endpoint"), from.parse().expect("an address"));
        let answer = path.ask(&Question::new(to, from));
        assert!(
            !unread || answer.path == PathOutcome::Unknown,
            "definite, although something was not read: {answer:?}"
        );
        assert!(answer.path != PathOutcome::Unknown || !answer.unknown.is_empty(), "nothing is named: {answer:?}");
    }
}

const QUESTIONS: [(&str, &str); 4] = [
    ("198.18.0.2:22/tcp", "198.18.0.1"),
    ("198.18.0.2:8080/tcp", "203.0.113.9"),
    ("172.17.0.2:80/udp", "198.18.0.1"),
    ("[2001:db8::2]:22/tcp", "2001:db8::1"),
];

/// A host with a network behind it.
fn network() -> NetworkState {
    let interface = |index, name: &str, addresses: &[(&str, u8)]| Interface {
        index,
        name: name.to_owned(),
        up: true,
        addresses: addresses
            .iter()
            .map(|(address, prefix)| InterfaceAddress {
                address: address.parse().expect("an address"),
                prefix: *prefix,
            })
            .collect(),
        ..Interface::default()
    };
    let route = |table, kind, destination: &str, prefix, by: &str| Route {
        table,
        kind,
        destination: destination.parse().expect("an address"),
        prefix,
        interface: Some(by.to_owned()),
        gateway: None,
        source: None,
        metric: 0,
        multipath: false,
    };
    let sysctls = [("ipv4.ip_forward", "1"), ("ipv4.conf.all.rp_filter", "0"), ("ipv4.conf.all.route_localnet", "0")];
    NetworkState {
        interfaces: vec![
            interface(2, "eth0", &[("198.18.0.2", 24), ("2001:db8::2", 64)]),
            interface(3, "docker0", &[("172.17.0.1", 16)]),
        ],
        routes: vec![
            route(255, RouteKind::Local, "198.18.0.2", 32, "eth0"),
            route(255, RouteKind::Local, "172.17.0.1", 32, "docker0"),
            route(255, RouteKind::Local, "2001:db8::2", 128, "eth0"),
            route(254, RouteKind::Unicast, "172.17.0.0", 16, "docker0"),
            route(254, RouteKind::Unicast, "0.0.0.0", 0, "eth0"),
            route(254, RouteKind::Unicast, "::", 0, "eth0"),
        ],
        sysctls: sysctls.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..NetworkState::default()
    }
}
