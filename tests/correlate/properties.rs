//! What holds for every report and every host report.

use std::collections::BTreeMap;

use postern::correlate::{Context, InsideView, correlate};
use postern::model::host_report::Listener;
use postern::model::report::EndpointEntry;
use postern::model::{PortState, Report, ServiceFacts, Severity, Verdict};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::build::{Inside, Scan};

const HOSTS: [&str; 4] = ["198.18.0.7", "198.18.0.8", "2001:db8::7", "127.0.0.1"];
const PORTS: [u16; 6] = [22, 53, 80, 6379, 8080, 30080];
const STATES: [&str; 8] = [
    "open accepted",
    "open accepted service=etcd access=unauthenticated severity=critical",
    "open accepted-then-reset",
    "closed refused",
    "filtered no-answer",
    "filtered icmp-admin-prohibited from=198.18.0.1",
    "unreachable host-absent",
    "unknown local-limit",
];
const UDP_STATES: [&str; 4] =
    ["open udp-reply", "closed icmp-port-unreachable", "open|filtered no-answer", "unknown interrupted"];
const BOUND: [&str; 9] =
    ["0.0.0.0", "[::]", "127.0.0.1", "[::1]", "198.18.0.7", "198.18.0.8", "[2001:db8::7]", "172.17.0.1", "198.19.0.9"];
const EXTRAS: [&str; 10] = [
    "",
    "v6only=true",
    "v6only=false",
    "device=eth0",
    "device=lo",
    "client",
    "ns=blue",
    "ns=container:web container=web",
    "activated unit=x.service",
    "container=web",
];
const ADDRESSES: [&str; 5] = [
    "198.18.0.7/16 eth0",
    "198.18.0.8/16 eth0",
    "2001:db8::7/64 eth0",
    "172.17.0.1/16 docker0 bridge",
    "198.19.0.9/16 eth1",
];
const PUBLISHED: [&str; 4] = [
    "tcp 0.0.0.0:8080 -> 172.17.0.2:80 web",
    "tcp 127.0.0.1:6379 -> 172.17.0.2:6379 web",
    "tcp [::]:8080 -> 0.0.0.0:80 web",
    "udp 198.18.0.7:53 -> 172.17.0.2:53 web",
];

fn endpoints() -> impl Strategy<Value = Vec<String>> {
    let one = (select(PORTS.to_vec()), any::<bool>(), 0..STATES.len(), 0..UDP_STATES.len()).prop_map(
        |(port, tcp, state, udp_state)| {
            let (transport, state) = if tcp { ("tcp", STATES[state]) } else { ("udp", UDP_STATES[udp_state]) };
            ((port, transport), format!("{port}/{transport} {state}"))
        },
    );
    // One state a port.
    prop::collection::vec(one, 0..8).prop_map(|all| all.into_iter().collect::<BTreeMap<_, _>>().into_values().collect())
}

fn scans() -> impl Strategy<Value = Scan> {
    let hosts = prop::collection::vec(endpoints(), HOSTS.len());
    let flood = any::<bool>();
    (hosts, subsequence(HOSTS.to_vec(), 0..=HOSTS.len()), any::<bool>(), any::<bool>(), flood).prop_map(
        |(endpoints, living, over_lo, own, flood)| {
            let hosts: Vec<String> = HOSTS
                .iter()
                .zip(endpoints)
                .filter(|(address, _)| living.contains(address))
                .map(|(address, endpoints)| {
                    let open = if flood { "\"tcp open accepted 1000-1099\", " } else { "" };
                    format!(
                        "{{ address = {address:?}, endpoints = {endpoints:?}, others = [{open}\"tcp closed refused 9000-9001\"] }}"
                    )
                })
                .collect();
            let silent: Vec<&str> = HOSTS.into_iter().filter(|address| !living.contains(address)).collect();
            let own: Vec<&str> = if own { vec!["198.18.0.8", "127.0.0.1"] } else { Vec::new() };
            let text = format!(
                "targets = {HOSTS:?}\ntcp = \"22,53,80,1000-1099,9000-9001\"\nudp = \"53\"\nsilent = {silent:?}\nover_lo = \
                 {over_lo}\nown_addresses = {own:?}\nhost = [{}]",
                hosts.join(", ")
            );
            toml::from_str(&text).unwrap()
        },
    )
}

fn listeners() -> impl Strategy<Value = Vec<String>> {
    let processes = vec!["nginx", "docker-proxy", "sshd"];
    let one =
        (any::<bool>(), select(BOUND.to_vec()), select(PORTS.to_vec()), select(EXTRAS.to_vec()), select(processes));
    let one = one.prop_map(|(tcp, bound, port, extra, process)| {
        let transport = if tcp { "tcp" } else { "udp" };
        format!("{transport} {bound}:{port} process={process} {extra}")
    });
    prop::collection::vec(one, 0..10)
}

fn insides() -> impl Strategy<Value = Inside> {
    let sources = vec!["native", "native", "ss", "netstat", "lsof", "osquery"];
    let ids = vec!["a", "b", "unknown"];
    let told = prop::option::of(select(HOSTS.to_vec()));
    (
        (select(sources), select(ids), told, any::<bool>()),
        subsequence(ADDRESSES.to_vec(), 0..=ADDRESSES.len()),
        (listeners(), prop::option::of(listeners())),
        subsequence(PUBLISHED.to_vec(), 0..=PUBLISHED.len()),
    )
        .prop_map(|((source, id, told, enters), addresses, (before, after), published)| {
            let addresses = if source == "native" { addresses } else { Vec::new() };
            let told = told.map_or_else(String::new, |address| format!("address = {address:?}\n"));
            let after = after.map_or_else(String::new, |after| format!("after = {after:?}\n"));
            let text = format!(
                "source = {source:?}\nid = {id:?}\n{told}{after}enters_namespaces = {enters}\naddresses = {addresses:?}\n\
                 namespaces = [\"blue 198.18.0.8\", \"container:web 172.17.0.2 container=web\"]\nlisteners = \
                 {before:?}\npublished = {published:?}"
            );
            toml::from_str(&text).unwrap()
        })
}

fn judged(scan: &Scan, report: Report, views: &[InsideView]) -> Report {
    let facts: BTreeMap<String, ServiceFacts> = BTreeMap::new();
    correlate(report, views, &Context { facts: &facts, own_addresses: &scan.own_addresses, paths: |_| None })
}

/// Whether some view has a socket, in the host's own namespace, that plainly takes the endpoint.
fn plainly_taken(views: &[InsideView], entry: &EndpointEntry) -> bool {
    let takes = |listener: &Listener| {
        (listener.transport, listener.port) == (entry.transport, entry.port)
            && listener.namespace == "host"
            && listener.device.is_none()
            && !listener.likely_client
            && (listener.address == entry.address
                || (listener.address.is_unspecified() && listener.address.is_ipv4() == entry.address.is_ipv4()))
    };
    let reports = views.iter().flat_map(|view| std::iter::once(&view.before).chain(view.after.as_ref()));
    reports.flat_map(|report| &report.listeners).any(takes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_correlation_repeats_itself(scan in scans(), insides in prop::collection::vec(insides(), 0..3)) {
        let views: Vec<InsideView> = insides.iter().map(Inside::view).collect();
        let first = judged(&scan, scan.report(), &views);
        prop_assert_eq!(&judged(&scan, scan.report(), &views), &first);
        prop_assert_eq!(&judged(&scan, first.clone(), &views), &first);
    }

    #[test]
    fn every_verdict_has_its_grounds(scan in scans(), insides in prop::collection::vec(insides(), 0..3)) {
        let views: Vec<InsideView> = insides.iter().map(Inside::view).collect();
        let report = judged(&scan, scan.report(), &views);
        for entry in report.hosts.iter().flat_map(|host| &host.endpoints) {
            let verdict = entry.verdict.unwrap();
            let endpoint = entry.endpoint();
            prop_assert!(!entry.also.is_empty(), "{endpoint}: {verdict} without a reason");
            prop_assert!(entry.also.iter().all(|why| why.ends_with('.')), "{:?}", entry.also);
            if views.is_empty() {
                prop_assert!(matches!(verdict, Verdict::Undetermined | Verdict::AnswersEverything), "{endpoint}: {verdict}");
            }
            match verdict {
                Verdict::Exposed => {
                    let published = entry.also.iter().any(|why| why.contains("The port is published"));
                    prop_assert!(entry.listener.is_some() || published, "{endpoint} exposed by nothing");
                    prop_assert!(matches!(entry.state, PortState::Open | PortState::OpenOrFiltered));
                }
                Verdict::Unreported => {
                    prop_assert_eq!(entry.state, PortState::Open);
                    prop_assert!(entry.listener.as_ref().is_none_or(|listener| listener.namespace != "host"), "{}", endpoint);
                    prop_assert!(views.len() > 1 || !plainly_taken(&views, entry) || entry.address.to_string() == "198.18.0.8");
                }
                Verdict::LeakedLocal => prop_assert_eq!(entry.state, PortState::Open),
                Verdict::Closed => prop_assert_eq!(entry.state, PortState::Closed),
                Verdict::LocalOnly => prop_assert!(entry.state != PortState::Open || entry.address.is_loopback()),
                Verdict::AnswersEverything => prop_assert_eq!(entry.state, PortState::Open),
                Verdict::Undetermined => prop_assert!(
                    entry.also[0].contains("settle") || entry.also[0].contains("may take it"),
                    "{endpoint} does not say what would settle it: {}", entry.also[0]
                ),
                Verdict::FirewallBypass | Verdict::Contradiction | Verdict::Guarded | Verdict::GuardedElsewhere => {
                    prop_assert!(false, "{endpoint}: {verdict} needs rules")
                }
            }
            // Nothing over lo is called reachable.
            let own = scan.over_lo || entry.address.is_loopback() || scan.own_addresses.contains(&entry.address);
            if own && !entry.seen_from.is_empty() {
                let outside = [Verdict::Exposed, Verdict::Unreported, Verdict::LeakedLocal, Verdict::Closed];
                prop_assert!(!outside.contains(&verdict), "{endpoint}: {verdict} over lo");
            }
        }
    }

    #[test]
    fn no_endpoint_is_lost_or_doubled(scan in scans(), insides in prop::collection::vec(insides(), 0..3)) {
        let views: Vec<InsideView> = insides.iter().map(Inside::view).collect();
        let before = scan.report();
        let after = judged(&scan, before.clone(), &views);
        let ports = |report: &Report| {
            let mut all = Vec::new();
            for host in &report.hosts {
                let entries = host.endpoints.iter().filter(|entry| entry.reason.as_str() != "not-swept");
                all.extend(entries.filter(|entry| !scan.silent.contains(&entry.address.to_string())).map(|entry| {
                    (entry.address, entry.transport, entry.port, entry.state, entry.reason)
                }));
                for group in &host.other_ports {
                    let ports: postern::model::PortRanges = group.ports.parse().unwrap();
                    all.extend(ports.iter().map(|port| (group.address, group.transport, port, group.state, group.reason)));
                }
            }
            all.sort_unstable();
            all
        };
        prop_assert_eq!(ports(&after), ports(&before));
    }

    #[test]
    fn findings_are_ranked_and_about_endpoints_of_the_report(
        scan in scans(),
        insides in prop::collection::vec(insides(), 0..3),
    ) {
        let views: Vec<InsideView> = insides.iter().map(Inside::view).collect();
        let report = judged(&scan, scan.report(), &views);
        let severities: Vec<Severity> = report.findings.iter().map(|finding| finding.severity).collect();
        prop_assert!(severities.is_sorted_by(|one, other| one >= other));
        let entries = || report.hosts.iter().flat_map(|host| &host.endpoints);
        for finding in &report.findings {
            let known = entries().any(|entry| entry.endpoint().to_string() == finding.endpoint)
                || report.hosts.iter().any(|host| host.addresses.iter().any(|address| address.to_string() == finding.endpoint));
            prop_assert!(known, "{}", finding.endpoint);
            prop_assert!(!finding.why.is_empty());
        }
        for entry in entries() {
            let finds = |rule: &str| {
                let endpoint = entry.endpoint().to_string();
                report.findings.iter().any(|finding| finding.rule == rule && finding.endpoint == endpoint)
            };
            prop_assert_eq!(finds("unreported"), entry.verdict == Some(Verdict::Unreported));
            prop_assert_eq!(finds("leaked-local"), entry.verdict == Some(Verdict::LeakedLocal));
        }
    }
}
