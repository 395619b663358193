//! `postern audit`: a network with real hosts and what they say of themselves, joined; and `correlate`, offline.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::case::{Case, entry};
use crate::replay::Acceptor;
use crate::support::{Host, Lab, Namespace, finish};

#[test]
fn a_network_is_found_fingerprinted_correlated_and_explained() {
    let case = Case::load("audit.toml");
    let secret = format!("planted{}audit", std::process::id());
    let Some(mut lab) = case.lab("audit.toml", &secret) else { return };
    let hidden = HiddenDoor::open(&mut lab, 63, 9000);

    let reports = [
        format!("{}", lab.host(60).native_report().display()),
        format!("198.18.0.61={}", listing(lab.host(61), "ss", &["-tulpn"]).display()),
        format!("198.18.0.62={}", listing(lab.host(62), "netstat", &["-tulpn"]).display()),
        format!("198.18.0.63={}", listing(lab.host(63), "ss", &["-tulpnH"]).display()),
    ];
    let outcome = case.run(&lab, &reports);
    let report = outcome.report();
    outcome.assert_silent_about(&secret);

    // What a finding says can be acted on.
    let findings = report["findings"].as_array().unwrap();
    for (endpoint, rule) in [("198.18.0.60:2375/tcp", None), ("198.18.0.63:9000/tcp", Some("unreported"))] {
        let finding = findings
            .iter()
            .find(|finding| finding["endpoint"] == endpoint && rule.is_none_or(|rule| finding["rule"] == rule))
            .unwrap_or_else(|| panic!("no finding about {endpoint}\n{}", outcome.shown()));
        assert!(!finding["why"].as_array().unwrap().is_empty(), "{finding}");
        assert!(["high", "critical"].contains(&finding["severity"].as_str().unwrap()), "{finding}");
    }
    for host in ["198.18.0.60", "198.18.0.61", "198.18.0.62", "198.18.0.63"] {
        assert!(outcome.stdout.contains(host), "{host} is not in the table:\n{}", outcome.stdout);
    }
    assert!(outcome.stdout.contains("docker-proxy"), "{}", outcome.stdout);

    // The same verdicts offline, from the saved report alone.
    let saved = lab.directory().join("saved.json");
    fs::write(&saved, report.to_string()).unwrap();
    let saved = saved.display().to_string();
    let mut arguments = vec!["correlate", "--scan", &saved];
    for report in &reports {
        arguments.extend(["--host-report", report]);
    }
    let offline = lab.postern(&arguments).all_formats(lab.directory()).run();
    let differences = case.differences(&offline.report());
    assert!(differences.is_empty(), "offline:\n{}\n{}", differences.join("\n"), offline.shown());
    assert_eq!(offline.code, case.exit_code, "{}", offline.shown());
    offline.assert_silent_about(&secret);
    drop(hidden);
}

#[test]
fn without_a_report_nothing_is_guessed() {
    let case = Case::load("undetermined.toml");
    let Some(lab) = case.lab("undetermined.toml", "unused") else { return };
    let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
    let outcome = lab.postern(&arguments).all_formats(lab.directory()).run();
    let report = outcome.report();
    let differences = case.differences(&report);
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), outcome.shown());
    let entry = entry(&report, "198.18.0.70:2222/tcp").unwrap();
    assert!(!entry["also"].as_array().unwrap().is_empty(), "no word on what would settle it: {entry}");
}

/// A namespace behind a host, reached by a rule of the host and by no socket of it.
#[derive(Debug)]
pub struct HiddenDoor {
    _web: Acceptor,
    _behind: Namespace,
}

impl HiddenDoor {
    pub fn open(lab: &mut Lab, number: u8, port: u16) -> Self {
        let host = lab.host(number);
        let behind = Namespace::new("behind");
        host.namespace.ip(&format!("link add inner type veth peer name eth0 netns {}", behind.name()));
        host.namespace.ip("addr add 198.19.0.1/24 dev inner");
        host.namespace.ip("link set inner up");
        behind.ip("addr add 198.19.0.2/24 dev eth0");
        behind.ip("link set eth0 up");
        behind.ip("route add default via 198.19.0.1");
        host.namespace.sysctl("net.ipv4.ip_forward", "1");
        let rules = format!(
            "table ip door {{\n chain in {{\n  type nat hook prerouting priority dstnat;\n  \
             ip daddr {} tcp dport {port} dnat to 198.19.0.2:80\n }}\n}}\n",
            host.address()
        );
        host.nft(&rules);
        let web =
            Acceptor::saying(&behind, 80, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nhidden\n");
        Self { _web: web, _behind: behind }
    }
}

/// A listing of the host's own namespace by the usual tool.
fn listing(host: &Host, program: &str, arguments: &[&str]) -> PathBuf {
    let file = host.directory.join(format!("{program}.txt"));
    let mut command: Command = host.command(program);
    fs::write(&file, finish(command.args(arguments))).unwrap();
    file
}
