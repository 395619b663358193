//! `postern explain` as users meet it: what it refuses, with which exit code, and that each line names the place. Sends
//! nothing.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test driver: it runs the program; a failure of its own is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use postern::firewall::nft;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn every_broken_dump_is_2_with_its_place() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/broken");
    let mut expected: BTreeMap<String, String> =
        toml::from_str(&fs::read_to_string(directory.join("expected.toml")).unwrap()).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if ["README.md", "expected.toml"].contains(&name.as_str()) {
            continue;
        }
        let place = expected.remove(&name).unwrap_or_else(|| panic!("expected.toml does not know {name}"));
        let text = fs::read_to_string(&path).unwrap();
        let mut dump = nothing();
        match path.extension().unwrap().to_str().unwrap() {
            "json" => match serde_json::from_str::<Value>(&text) {
                Ok(document) => dump["nft"] = document,
                // Such a text is in no report: whoever took it would have seen.
                Err(_) => {
                    assert_eq!(nft::read_text(&text, &[]).unwrap_err().to_string(), place, "{name}");
                    continue;
                }
            },
            "iptables" => dump["iptables"] = json!([{"ipv6": false, "backend": "nft", "text": text}]),
            "ipset" => dump["ipset"] = json!(text),
            other => panic!("nobody reads .{other}"),
        }
        let (_kept, file) = saved(&report(dump));
        let output = explain(&file, &[]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        assert_eq!(output.stdout, b"", "{name}");
        let line = format!(
            "postern: {}: the rules of namespace `host` cannot be read: {place}; hint: take the report anew with \
             `postern host -o json` as root on that machine\n",
            file.display()
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line, "{name}");
    }
    assert!(expected.is_empty(), "no such file: {expected:?}");
}

#[test]
fn an_interface_that_the_host_lacks_is_2_and_names_those_it_has() {
    let (_kept, file) = saved(&report(nothing()));
    let output = explain(&file, &["--iif", "eth7"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = format!("postern: {} has no interface `eth7`; hint: --iif takes one of eth0, wg0\n", file.display());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    let output = explain(&file, &["--iif", "wg0"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        String::from_utf8(output.stdout).unwrap().starts_with("198.18.0.7:22/tcp from 198.18.0.1, coming in by wg0")
    );
}

#[test]
fn broadcast_multicast_and_anycast_are_no_addresses_of_the_host() {
    let (_kept, file) = saved(&report(nothing()));
    let own = "an address of this namespace";
    let broadcast = "a broadcast address, and every host of the link takes it";
    let multicast = "a multicast group, and every host that joined it takes it";
    for (to, from, kind) in [
        ("198.18.0.7", "198.18.0.1", own),
        ("198.18.255.255", "198.18.0.1", broadcast),
        ("255.255.255.255", "198.18.0.1", broadcast),
        ("224.0.0.251", "198.18.0.1", multicast),
        ("2001:db8::7", "2001:db8::1", own),
        ("2001:db8::", "2001:db8::1", "an anycast address of this namespace"),
        ("ff02::fb", "2001:db8::1", multicast),
    ] {
        let endpoint = if to.contains(':') { format!("[{to}]:53/udp") } else { format!("{to}:53/udp") };
        let answer = answer(&file, &endpoint, from);
        let routing = answer["trace"].as_array().unwrap().iter().find(|step| step["hook"] == "routing");
        assert_eq!(routing.unwrap()["rule"], format!("{to} is {kind}"), "{answer:#}");
    }
    // A group that everybody is in, and one that nobody knows of.
    assert_eq!(answer(&file, "224.0.0.1:53/udp", "198.18.0.1")["unknown"], json!([]));
    let joined = answer(&file, "224.0.0.251:53/udp", "198.18.0.1");
    assert_eq!(joined["unknown"], json!(["whether the group 224.0.0.251 is joined"]));
}

#[test]
fn an_operator_that_nobody_knows_is_named() {
    let chain = json!({"family": "ip", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0,
        "policy": "accept"});
    let dport = json!({"op": "~~", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22});
    let rule = json!({"family": "ip", "table": "t", "chain": "in", "expr": [{"match": dport}, {"drop": null}]});
    let nft = json!({"nftables": [{"table": {"family": "ip", "name": "t"}}, {"chain": chain}, {"rule": rule}]});
    let (_kept, file) = saved(&report(json!({"nft": nft, "empty": ["iptables-legacy", "ip6tables-legacy"]})));
    let answer = answer(&file, "198.18.0.7:22/tcp", "198.18.0.1");
    assert_eq!(answer["path"], "unknown", "{answer:#}");
    assert_eq!(answer["unknown"], json!(["what `~~` compares (asked by `tcp dport ~~ 22 drop`)"]));
}

/// What the rules do is all that was asked: a report without them answers nothing, and says so.
#[test]
fn rules_that_the_report_lacks_are_4_and_a_gap() {
    let told = |report: &Value| {
        let (_kept, file) = saved(report);
        let (table, json) = (explain(&file, &[]), explain(&file, &["-o", "json"]));
        assert_eq!(table.status.code(), json.status.code(), "{table:?}");
        let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
        (table.status.code().unwrap(), String::from_utf8(table.stdout).unwrap(), answer)
    };
    let (code, table, answer) = told(&report(Value::Null));
    assert_eq!((code, &answer["path"], &answer["intent"]), (4, &json!("unknown"), &json!("unknown")), "{answer:#}");
    let gap = json!({
        "what": "packet filter rules of the host",
        "cause": "the rules, which the report lacks",
        "settled_by": "`postern host` on the machine, as root",
        "incomplete": true,
    });
    assert_eq!(answer["gaps"], json!([gap]));
    assert!(table.contains("NOT LOOKED AT\n  - packet filter rules of the host: the rules"), "{table}");
    // One backend of several.
    let (code, _, answer) = told(&report(json!({"empty": ["nft", "iptables-legacy"]})));
    assert_eq!((code, &answer["gaps"][0]["cause"]), (4, &json!("iptables-legacy: not read (IPv6)")), "{answer:#}");
    let (code, table, answer) = told(&report(nothing()));
    assert_eq!((code, &answer["path"], &answer["gaps"]), (0, &json!("accept"), &Value::Null), "{answer:#}");
    assert!(!table.contains("NOT LOOKED AT"), "{table}");
}

/// Only the namespaces count that the packet gets to.
#[test]
fn rules_of_a_container_are_missed_where_the_packet_goes_there() {
    let container = json!({"name": "container:web", "inode": 2, "addresses": ["172.17.0.2"], "network": {
        "interfaces": [{"index": 2, "name": "eth0", "up": true, "addresses": [{"address": "172.17.0.2", "prefix": 16}]}],
    }});
    let mut report = report(nothing());
    let host = &mut report["namespaces"][0]["network"];
    let docker =
        json!({"table": 254, "kind": "unicast", "destination": "172.17.0.0", "prefix": 16, "interface": "docker0"});
    host["routes"].as_array_mut().unwrap().push(docker);
    host["interfaces"].as_array_mut().unwrap().push(json!({"index": 4, "name": "docker0", "up": true}));
    host["sysctls"]["ipv4.ip_forward"] = json!("1");
    host["sysctls"]["ipv4.conf.eth0.forwarding"] = json!("1");
    report["namespaces"].as_array_mut().unwrap().push(container);
    let (_kept, file) = saved(&report);
    let inside = ask(&file, &["--to", "172.17.0.2:80", "--from", "198.18.0.1", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&inside.stdout).unwrap();
    assert_eq!(inside.status.code(), Some(4), "{answer:#}");
    let gaps = answer["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{answer:#}");
    assert_eq!(gaps[0]["what"], "packet filter rules of the host, in namespace container:web");
    assert_eq!(explain(&file, &[]).status.code(), Some(0));
}

fn answer(file: &Path, to: &str, from: &str) -> Value {
    let output = ask(file, &["--to", to, "--from", from, "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn explain(file: &Path, more: &[&str]) -> Output {
    ask(file, &[&["--to", "198.18.0.7:22/tcp", "--from", "198.18.0.1"], more].concat())
}

fn ask(file: &Path, question: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern")).arg("explain").arg(file).args(question).output().unwrap()
}

/// Every backend was looked at and holds no rule.
fn nothing() -> Value {
    json!({"empty": ["nft", "iptables-legacy", "ip6tables-legacy"]})
}

/// A host of one address of each family with this packet filter.
fn report(firewall: Value) -> Value {
    json!({
        "schema": "postern.host/1",
        "tool": {"name": "postern", "version": "0.0.0"},
        "id": "a",
        "source": "native",
        "listeners": [],
        "namespaces": [{"name": "host", "inode": 1, "network": {
            "interfaces": [
                {"index": 2, "name": "eth0", "up": true, "addresses": [{"address": "198.18.0.7", "prefix": 16}]},
                {"index": 3, "name": "wg0", "up": true},
            ],
            "routes": [
                {"table": 255, "kind": "local", "destination": "198.18.0.7", "prefix": 32, "interface": "eth0"},
                {"table": 255, "kind": "broadcast", "destination": "198.18.255.255", "prefix": 32, "interface": "eth0"},
                {"table": 254, "kind": "unicast", "destination": "198.18.0.0", "prefix": 16, "interface": "eth0"},
                {"table": 255, "kind": "local", "destination": "2001:db8::7", "prefix": 128, "interface": "lo"},
                {"table": 255, "kind": "anycast", "destination": "2001:db8::", "prefix": 128, "interface": "eth0"},
                {"table": 254, "kind": "unicast", "destination": "2001:db8::", "prefix": 64, "interface": "eth0"},
            ],
            "sysctls": {"ipv4.conf.all.rp_filter": "0", "ipv4.conf.eth0.rp_filter": "0", "ipv4.conf.wg0.rp_filter": "0"},
            "firewall": firewall,
        }}],
    })
}

fn saved(report: &Value) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.json");
    fs::write(&file, report.to_string()).unwrap();
    (directory, file)
}
