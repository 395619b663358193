//! How fast a large ruleset is read and asked: `cargo bench --bench firewall`. Needs no privilege.
//!
//! 20,000 rules and 200 sets, as a host of many services has them: exact destinations and ports in chains of their own,
//! sets of addresses, a vmap in front. `-- --quick` is a tenth of it.
#![expect(clippy::disallowed_methods, reason = "times what it measures")]
#![allow(clippy::print_stdout, reason = "prints its table")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use postern::firewall::ruleset::Ruleset;
use postern::firewall::{HostPath, Question, nft};
use postern::model::network::{Interface, InterfaceAddress, Route, RouteKind};
use postern::model::{Endpoint, NetworkState, PathOutcome};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rules, sets, questions) = if quick { (2_000, 20, 10_000) } else { (20_000, 200, 100_000) };
    let text = listing(rules, sets).to_string();
    let started = Instant::now();
    let ruleset = match nft::read_text(&text, &[]) {
        Ok(ruleset) => ruleset,
        Err(error) => {
            println!("FAILED: {error}");
            return ExitCode::FAILURE;
        }
    };
    let parsed = started.elapsed();
    let built = Instant::now();
    let path = HostPath::of_namespace(&network(), ruleset_checked(ruleset));
    let built = built.elapsed();
    let started = Instant::now();
    let mut accepted = 0_u64;
    let mut unknown = 0_u64;
    for number in 0..questions {
        let answer = path.ask(&question(number, rules));
        accepted += u64::from(answer.path == PathOutcome::Accept);
        unknown += u64::from(answer.path == PathOutcome::Unknown);
    }
    let asked = started.elapsed();
    println!("{rules} rules, {sets} sets, {} MB of JSON", text.len() / 1_000_000);
    println!("read      {:>8.3} s   (goal: 0.3 s for 20,000 rules)", parsed.as_secs_f64());
    println!("indexed   {:>8.3} s", built.as_secs_f64());
    println!(
        "asked     {:>8.3} s   for {questions} packets, {:.1} us each (goal: 2 s for 100,000)",
        asked.as_secs_f64(),
        asked.as_secs_f64() * 1e6 / f64::from(questions)
    );
    println!("{accepted} accepted, {unknown} unknown");
    let fast = parsed < Duration::from_millis(300) && asked < Duration::from_secs(2);
    println!("{}", if fast { "PASS" } else { "FAIL" });
    // Accepted and refused ones must both be there, and none unknown: else the bench measures something else.
    if accepted == 0 || accepted == u64::from(questions) || unknown > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn ruleset_checked(ruleset: Ruleset) -> Ruleset {
    assert!(ruleset.unread.is_empty(), "{:?}", ruleset.unread);
    ruleset
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
