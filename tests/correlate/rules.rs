//! The registry against the files, and what findings say.
#![expect(clippy::disallowed_methods, reason = "lists and reads the rule files")]

use std::collections::BTreeSet;
use std::path::Path;

use postern::correlate::rules::{ALL, OF_VANTAGES};
use postern::correlate::{Context, InsideView, correlate, findings_only};
use postern::model::{Confidence, Finding, Improbable, Report, Severity};

use crate::build::{Inside, Scan, facts, paths};

#[test]
fn every_rule_file_is_registered_under_its_name_and_tells_its_limits() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/correlate/rules");
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if matches!(name.as_str(), "mod" | "registry") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! Detects "), "{name} does not open with what it detects");
        assert!(text.contains("\n//! Cannot know: "), "{name} does not say what it cannot know");
        files.insert(name.replace('_', "-"));
    }
    let of_vantages = OF_VANTAGES.iter().map(|rule| rule.name);
    let rules: BTreeSet<String> = ALL.iter().map(|rule| rule.name).chain(of_vantages).map(str::to_owned).collect();
    assert_eq!(rules, files);
    assert_eq!((ALL.len(), OF_VANTAGES.len()), (11, 1));
}

#[test]
fn a_finding_cites_the_guarded_request_and_answers_the_six_questions() {
    let report = judged(
        r#"
        targets = ["198.18.0.7"]
        tcp = "2379"
        host = [{ address = "198.18.0.7", endpoints = ["2379/tcp open accepted service=etcd access=unauthenticated severity=critical"] }]
        "#,
        r#"source = "native"
        id = "a"
        addresses = ["198.18.0.7/16 eth0"]
        listeners = ["tcp [::]:2379 v6only=false process=etcd pid=5 unit=etcd.service"]"#,
    );
    let finding = only(&report, "unauthenticated-service");
    assert_eq!(finding.title, "etcd client API answers without authentication");
    assert!(finding.why.iter().any(|why| why.contains("`GET /guarded` without credentials: 200")));
    assert!(finding.why.iter().any(|why| why.contains("etcd (pid 5, unit etcd.service) on [::]:2379/tcp takes it")));
    assert_eq!(finding.references.len(), 1);
    assert_eq!(finding.triage.disable, "`systemctl disable --now etcd.service`.");
    assert_eq!(finding.triage.bind, "`--listen-client-urls=http://127.0.0.1:2379`");
    let firewall = &finding.triage.firewall;
    assert!(firewall.starts_with("Let only the API servers reach 198.18.0.7:2379/tcp. Here: `nft "), "{firewall}");
    assert!(
        firewall.contains("hook input") && firewall.contains("ip daddr 198.18.0.7 tcp dport 2379 drop"),
        "{firewall}"
    );
    assert_answered(finding);
}

#[test]
fn a_published_port_is_stopped_in_docker_user() {
    let report = judged(
        r#"
        targets = ["198.18.0.7"]
        tcp = "12379"
        host = [{ address = "198.18.0.7", endpoints = ["12379/tcp open accepted service=etcd access=unauthenticated severity=critical"] }]
        "#,
        r#"source = "native"
        id = "a"
        addresses = ["198.18.0.7/16 eth0"]
        listeners = ["tcp 0.0.0.0:12379 process=docker-proxy"]
        published = ["tcp 0.0.0.0:12379 -> 172.17.0.2:2379 db"]"#,
    );
    let triage = &only(&report, "unauthenticated-service").triage;
    assert!(triage.firewall.contains("iptables -I DOCKER-USER -p tcp"), "{}", triage.firewall);
    assert!(triage.firewall.contains("--ctorigdstport 12379 -j DROP"), "{}", triage.firewall);
    assert!(triage.bind.contains("`-p 127.0.0.1:12379:2379`"), "{}", triage.bind);
    assert!(triage.disable.contains("container db"), "{}", triage.disable);
}

#[test]
fn what_is_guarded_is_named_after_its_port_only_where_no_other_owner_is_known() {
    let title = |owner: &str| {
        let report = judged(
            r#"
            targets = ["198.18.0.7"]
            tcp = "2379"
            host = [{ address = "198.18.0.7", endpoints = ["2379/tcp filtered no-answer"] }]
            "#,
            &format!(
                r#"source = "native"
                id = "a"
                addresses = ["198.18.0.7/16 eth0"]
                listeners = ["tcp 0.0.0.0:2379 {owner}"]
                rules = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n""#
            ),
        );
        let finding = only(&report, "guarded");
        (finding.title.clone(), finding.references.len())
    };
    let by_port = "etcd client API (by its port) is protected by one layer only: the host's firewall; critical if that \
                   rule goes";
    for owner in ["", "process=etcd", "process=docker-proxy", "process=systemd pid=1 activated"] {
        assert_eq!(title(owner), (by_port.to_owned(), 1), "{owner}");
    }
    let other = "Port 2379/tcp (nginx) is protected by one layer only: the host's firewall";
    assert_eq!(title("process=nginx"), (other.to_owned(), 0));
}

#[test]
fn ipv6_to_a_proxy_of_the_engine_may_enter_input() {
    let report = judged(
        r#"
        targets = ["2001:db8::7"]
        tcp = "12379"
        host = [{ address = "2001:db8::7", endpoints = ["12379/tcp open accepted service=etcd access=unauthenticated severity=critical"] }]
        "#,
        r#"source = "native"
        id = "a"
        addresses = ["2001:db8::7/64 eth0"]
        listeners = ["tcp [::]:12379 v6only=true process=docker-proxy"]
        published = ["tcp [::]:12379 -> 172.17.0.2:2379 db"]"#,
    );
    let firewall = &only(&report, "unauthenticated-service").triage.firewall;
    assert!(firewall.contains("hook input") && firewall.contains("ip6tables -I DOCKER-USER"), "{firewall}");
}

#[test]
fn an_unknown_service_gets_generic_answers() {
    let report = judged(
        r#"
        targets = ["2001:db8::7"]
        tcp = "9000,9001"
        host = [{ address = "2001:db8::7", endpoints = ["9000/tcp open accepted", "9001/tcp open accepted"] }]
        "#,
        r#"source = "native"
        id = "a"
        addresses = ["2001:db8::7/64 eth0"]
        listeners = ["tcp [::1]:9001 process=app pid=7"]"#,
    );
    let unreported = only(&report, "unreported");
    assert_eq!((unreported.severity, unreported.confidence), (Severity::High, Confidence::Likely));
    assert!(unreported.triage.firewall.contains("hook prerouting priority -300"), "{}", unreported.triage.firewall);
    assert!(unreported.triage.firewall.contains("ip6 daddr 2001:db8::7 tcp dport 9000 drop"));
    assert_eq!(unreported.title, "Port 9000/tcp is open and the host reports no socket for it");
    assert_answered(unreported);
    let leaked = only(&report, "leaked-local");
    assert!(leaked.triage.disable.contains("stop app (pid 7)"), "{}", leaked.triage.disable);
    assert_answered(leaked);
}

#[test]
fn a_plain_scan_has_findings_and_no_verdicts() {
    let scan = scan(
        r#"
        targets = ["198.18.0.7"]
        tcp = "22,2379"
        host = [{ address = "198.18.0.7", endpoints = ["22/tcp open accepted", "2379/tcp open accepted service=etcd access=unauthenticated severity=critical"] }]
        "#,
    );
    let report = findings_only(scan.report(), &facts());
    assert!(report.hosts[0].endpoints.iter().all(|entry| entry.verdict.is_none() && entry.also.is_empty()));
    assert_eq!(report.findings.len(), 1);
    assert_eq!(only(&report, "unauthenticated-service").confidence, Confidence::Certain);
    assert_eq!(findings_only(report.clone(), &facts()), report);
}

#[test]
fn a_plain_scan_folds_what_answers_everything() {
    let ports: Vec<String> = (1..=40).map(|port| format!("\"{port}/tcp open accepted-then-reset\"")).collect();
    let scan = scan(&format!(
        "targets = [\"198.18.0.7\"]\ntcp = \"1-40\"\nhost = [{{ address = \"198.18.0.7\", endpoints = [{}] }}]",
        ports.join(", ")
    ));
    let report = findings_only(scan.report(), &facts());
    assert!(report.hosts[0].endpoints.is_empty());
    assert_eq!(report.hosts[0].other_ports[0].ports, "1-40");
    let finding = only(&report, "answers-everything");
    assert_eq!((finding.endpoint.as_str(), finding.confidence), ("198.18.0.7", Confidence::Certain));
    assert_answered(finding);
    assert_eq!(findings_only(report.clone(), &facts()), report);
}

#[test]
fn ports_that_nobody_uses_decide_what_answers_everything() {
    let ports: Vec<String> = (1..=40).map(|port| format!("\"{port}/tcp open syn-ack\"")).collect();
    let scanned = |ports: &[String], open, closed| {
        let endpoints = ports.join(", ");
        let text = format!(
            "targets = [\"198.18.0.7\"]\ntcp = \"1-40\"\nhost = [{{ address = \"198.18.0.7\", endpoints = [{endpoints}] }}]"
        );
        let mut report = scan(&text).report();
        let address = report.hosts[0].address;
        let ports = vec![23_456, 34_567, 45_678];
        let options = Some("".into());
        let improbable = Improbable { ports, open, closed, window: Some(0), options };
        report.hosts[0].improbable.insert(address, improbable);
        findings_only(report, &facts())
    };
    let report = scanned(&ports[..3], 3, 0);
    let finding = only(&report, "answers-everything");
    assert_eq!(finding.confidence, Confidence::Certain);
    assert!(
        finding.why.iter().any(|why| why.contains("23456, 34567, 45678") && why.contains("window 0")),
        "{finding:#?}"
    );
    assert_answered(finding);
    // A host that refuses them has as many services as it shows.
    assert!(scanned(&ports, 0, 3).findings.iter().all(|finding| finding.rule != "answers-everything"));
    // Silence decides nothing.
    assert_eq!(scanned(&ports, 0, 0).findings.iter().filter(|finding| finding.rule == "answers-everything").count(), 1);
}

fn judged(scan_text: &str, inside: &str) -> Report {
    let inside: Inside = toml::from_str(inside).unwrap();
    let views: [InsideView; 1] = [inside.view()];
    correlate(scan(scan_text).report(), &views, &Context { facts: &facts(), own_addresses: &[], paths })
}

fn scan(text: &str) -> Scan {
    toml::from_str(text).unwrap()
}

fn only<'a>(report: &'a Report, rule: &str) -> &'a Finding {
    let found: Vec<&Finding> = report.findings.iter().filter(|finding| finding.rule == rule).collect();
    assert_eq!(found.len(), 1, "{rule}: {:#?}", report.findings);
    found[0]
}

fn assert_answered(finding: &Finding) {
    let triage = &finding.triage;
    for answer in
        [&triage.disable, &triage.bind, &triage.authenticate, &triage.restrict, &triage.known_flaws, &triage.firewall]
    {
        assert!(!answer.is_empty(), "{triage:#?}");
    }
    assert!(!finding.why.is_empty() && finding.why.iter().all(|why| why.ends_with('.')), "{:#?}", finding.why);
}
