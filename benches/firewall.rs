//! How fast a large ruleset is read and asked: `cargo bench --bench firewall`. Needs no privilege.
//!
//! 20,000 rules and 200 sets, as a host of many services has them: exact destinations and ports in a chain of their own,
//! sets of addresses in front. The same rules as nft and as iptables-save prints them, and in a saved report. `-- --quick`
//! is a tenth of it.
#![expect(clippy::disallowed_methods, reason = "times what it measures")]
#![allow(clippy::print_stdout, reason = "prints its table")]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use postern::firewall::ruleset::Ruleset;
use postern::firewall::{HostPath, Question, nft};
use postern::model::network::{
    FirewallDump, Interface, InterfaceAddress, IptablesBackend, IptablesDump, Route, RouteKind,
};
use postern::model::{Endpoint, NetworkState, PathOutcome};
use serde_json::{Value, json};

/// Seconds in which a ruleset of full size is to be read.
const READ: f64 = 0.3;
/// Seconds for 100,000 questions about it.
const ASKED: f64 = 2.0;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rules, sets, questions) = if quick { (2_000, 20, 10_000) } else { (20_000, 200, 100_000) };
    println!("{rules} rules and {sets} sets; goals: read in {READ} s, {questions} packets asked in {ASKED} s");
    let json = listing(rules, sets);
    let text = json.to_string();
    let mut good = measure("nft JSON", rules, questions, text.len(), || {
        nft::read_text(&text, &[]).map_err(|error| error.to_string())
    });
    let dump = FirewallDump {
        iptables: vec![IptablesDump { ipv6: false, backend: IptablesBackend::Legacy, text: saved(rules, sets) }],
        ipset: Some(ipsets(sets)),
        empty: ["nft", "iptables-legacy", "ip6tables-legacy"].map(str::to_owned).into(),
        ..FirewallDump::default()
    };
    let length = dump.iptables[0].text.len();
    good &= measure("iptables-save", rules, questions, length, || Ok(Ruleset::of_dump(&dump)));
    let report = NetworkState {
        firewall: Some(FirewallDump { nft: Some(json), iptables: Vec::new(), ipset: None, ..dump }),
        ..NetworkState::default()
    };
    let Ok(report) = serde_json::to_string(&report) else { return ExitCode::FAILURE };
    good &= measure("nft in a report", rules, questions, report.len(), || {
        let state: NetworkState = serde_json::from_str(&report).map_err(|error| error.to_string())?;
        Ok(Ruleset::of_dump(&state.firewall.unwrap_or_default()))
    });
    println!("{}", if good { "PASS" } else { "FAIL" });
    ExitCode::SUCCESS
}

/// Reads and asks one form of the rules; whether both goals are met.
fn measure(name: &str, rules: u32, questions: u32, length: usize, read: impl Fn() -> Result<Ruleset, String>) -> bool {
    let mut best = Duration::MAX;
    let mut ruleset = Ruleset::default();
    for _ in 0..3 {
        let started = Instant::now();
        ruleset = read().unwrap_or_else(|error| panic!("{name}: {error}"));
        best = best.min(started.elapsed());
    }
    assert!(ruleset.unread.is_empty(), "{name}: {:?}", ruleset.unread);
    let started = Instant::now();
    let path = HostPath::of_namespace(&network(), ruleset);
    let indexed = started.elapsed();
    let started = Instant::now();
    let (mut accepted, mut unknown) = (0_u32, 0_u32);
    for number in 0..questions {
        let answer = path.ask(&question(number, rules));
        accepted += u32::from(answer.path == PathOutcome::Accept);
        unknown += u32::from(answer.path == PathOutcome::Unknown);
    }
    let asked = started.elapsed();
    // Accepted and refused ones must both be there, and none unknown: else the bench measures something else.
    assert!(accepted > 0 && accepted < questions && unknown == 0, "{name}: {accepted} accepted, {unknown} unknown");
    println!(
        "{name:<16} {:>5.1} MB: read {:.3} s, indexed {:.3} s, asked {:.3} s ({:.1} us each; {accepted} accepted)",
        length as f64 / 1e6,
        best.as_secs_f64(),
        indexed.as_secs_f64(),
        asked.as_secs_f64(),
        asked.as_secs_f64() * 1e6 / f64::from(questions)
    );
    best.as_secs_f64() < READ && asked.as_secs_f64() < ASKED
}

/// As `iptables-save -c` prints it.
fn saved(rules: u32, sets: u32) -> String {
    let mut text = String::from("*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    text.push_str(":SERVICES - [0:0]\n[0:0] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n");
    for set in 0..sets {
        let _ = writeln!(text, "[0:0] -A INPUT -m set --match-set s{set} src -j DROP");
    }
    text.push_str("[0:0] -A INPUT -j SERVICES\n");
    for number in 0..rules - sets - 2 {
        let (address, port) = (target(number), port(number));
        let verdict = if number % 2 == 0 { "ACCEPT" } else { "DROP" };
        let _ = writeln!(text, "[0:0] -A SERVICES -d {address}/32 -p tcp -m tcp --dport {port} -j {verdict}");
    }
    text.push_str("COMMIT\n");
    text
}

/// As `ipset save` prints them.
fn ipsets(sets: u32) -> String {
    let mut text = String::new();
    for set in 0..sets {
        let _ =
            writeln!(text, "create s{set} hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1");
        for host in 0..50 {
            let _ = writeln!(text, "add s{set} 10.{}.{}.{host}", set / 256, set % 256);
        }
    }
    text
}

/// As `nft -j list ruleset` prints it.
fn listing(rules: u32, sets: u32) -> Value {
    let mut objects = vec![
        json!({"metainfo": {"version": "1.0.6", "json_schema_version": 1}}),
        json!({"table": {"family": "inet", "name": "many", "handle": 1}}),
    ];
    for set in 0..sets {
        let elements: Vec<Value> =
            (0..50).map(|host| json!(format!("10.{}.{}.{host}", set / 256, set % 256))).collect();
        objects.push(json!({"set": {"family": "inet", "name": format!("s{set}"), "table": "many", "type": "ipv4_addr",
            "handle": 10 + set, "elem": elements}}));
    }
    let chain = |name: &str| json!({"chain": {"family": "inet", "table": "many", "name": name, "handle": 5}});
    objects.push(json!({"chain": {"family": "inet", "table": "many", "name": "in", "handle": 2, "type": "filter",
        "hook": "input", "prio": 0, "policy": "drop"}}));
    objects.push(chain("services"));
    let rule = |chain: &str, handle: u32, expr: Value| json!({"rule": {"family": "inet", "table": "many", "chain": chain, "handle": handle, "expr": expr}});
    let field = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
    let matching = |left: Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
    objects.push(rule(
        "in",
        100,
        json!([{"match": {"op": "in", "left": {"ct": {"key": "state"}},
        "right": ["established", "related"]}}, {"accept": null}]),
    ));
    for set in 0..sets {
        objects.push(rule(
            "in",
            200 + set,
            json!([matching(field("ip", "saddr"), json!(format!("@s{set}"))), {"drop": null}]),
        ));
    }
    objects.push(rule("in", 999, json!([{"jump": {"target": "services"}}])));
    for number in 0..rules - sets - 2 {
        let verdict = if number % 2 == 0 { json!({"accept": null}) } else { json!({"drop": null}) };
        objects.push(rule(
            "services",
            1_000 + number,
            json!([
                matching(field("ip", "daddr"), json!(target(number).to_string())),
                matching(field("tcp", "dport"), json!(port(number))),
                {"counter": {"packets": 0, "bytes": 0}},
                verdict,
            ]),
        ));
    }
    json!({"nftables": objects})
}

fn target(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + number % 200)
}

const fn port(number: u32) -> u16 {
    (1 + number / 200) as u16
}

fn question(number: u32, rules: u32) -> Question {
    // Every third one is about no rule at all.
    let asked = number.wrapping_mul(7) % (rules + rules / 2);
    Question::new(Endpoint::tcp(IpAddr::V4(target(asked)), port(asked)), [198, 19, 0, 9].into()).by("eth0")
}

/// A host with 200 addresses.
fn network() -> NetworkState {
    let addresses: Vec<IpAddr> = (0..200).map(|number| IpAddr::V4(target(number))).collect();
    let local = |address: &IpAddr| Route {
        table: 255,
        kind: RouteKind::Local,
        destination: *address,
        prefix: 32,
        interface: Some("eth0".to_owned()),
        gateway: None,
        source: None,
        metric: 0,
        multipath: false,
    };
    let mut routes: Vec<Route> = addresses.iter().map(local).collect();
    routes.push(Route { table: 254, kind: RouteKind::Unicast, prefix: 0, ..local(&Ipv4Addr::UNSPECIFIED.into()) });
    let sysctls = [("ipv4.ip_forward", "0"), ("ipv4.conf.all.rp_filter", "0"), ("ipv4.conf.all.route_localnet", "0")];
    NetworkState {
        interfaces: vec![Interface {
            index: 2,
            name: "eth0".to_owned(),
            up: true,
            addresses: addresses.iter().map(|&address| InterfaceAddress { address, prefix: 16 }).collect(),
            ..Interface::default()
        }],
        routes,
        sysctls: sysctls.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..NetworkState::default()
    }
}
