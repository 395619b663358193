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
        let mut dump = json!({"empty": ["nft", "iptables-legacy", "ip6tables-legacy"]});
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
    let (_kept, file) = saved(&report(json!({"empty": ["nft", "iptables-legacy", "ip6tables-legacy"]})));
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

fn explain(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("explain")
        .arg(file)
        .args(["--to", "198.18.0.7:22/tcp", "--from", "198.18.0.1"])
        .args(more)
        .output()
        .unwrap()
}

/// A host of one address with this packet filter.
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
                {"table": 254, "kind": "unicast", "destination": "198.18.0.0", "prefix": 16, "interface": "eth0"},
            ],
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
