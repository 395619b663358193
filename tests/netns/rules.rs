//! Verdicts that the host's own rules settle: real engines, real rules of nft and of both kinds of iptables, and what
//! the network says of them.

use std::fs;

use crate::audit::HiddenDoor;
use crate::case::Case;
use crate::firewalls::legacy;
use crate::support::{Lab, finish};

/// What stops everything but answers, loopback and ssh.
const GUARD: &str = "table inet guard {\n chain in {\n  type filter hook input priority filter; policy drop;\n  \
                     ct state established,related accept\n  iifname lo accept\n  icmpv6 type { nd-neighbor-solicit, \
                     nd-neighbor-advert } accept\n  tcp dport 22 accept\n }\n}\n";

#[test]
fn rules_settle_what_the_two_views_leave_open() {
    let case = Case::load("rules.toml");
    let secret = format!("planted{}rules", std::process::id());
    let Some(mut lab) = case.lab("rules.toml", &secret) else { return };

    lab.host(80).nft(GUARD);
    for rule in
        ["-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-A INPUT -i lo -j ACCEPT", "-P INPUT DROP"]
    {
        legacy(lab.host(81), rule);
    }
    finish(
        lab.host(82)
            .command("iptables")
            .args("-w 5 -t raw -A PREROUTING -d 198.18.0.82 -p tcp --dport 8080 -j DROP".split_whitespace()),
    );
    lab.host(83).nft("table ip guard {\n chain in {\n  type filter hook input priority filter; policy accept;\n  tcp dport 2379 drop\n }\n}\n",
    );
    let switch = lab.directory().join("switch.nft");
    fs::write(
        &switch,
        "table bridge wire {\n chain out {\n  type filter hook output priority filter;\n  ip daddr 198.18.0.84 tcp dport \
         2379 drop\n }\n}\n",
    )
    .unwrap();
    finish(lab.scanner().command("nft").arg("-f").arg(&switch));
    lab.host(85).nft("table ip door {\n chain pre {\n  type nat hook prerouting priority dstnat;\n  tcp dport 9000 redirect to :2379\n \
         }\n chain in {\n  type filter hook input priority filter;\n  tcp dport 22 reject with tcp reset\n }\n}\n",
    );
    lab.host(87).nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter;\n  tcp dport 22 reject with icmpx \
         admin-prohibited\n }\n}\n",
    );
    let hidden = HiddenDoor::open(&mut lab, 86, 9001);

    let reports: Vec<String> = (80..=87).map(|number| lab.host(number).native_report().display().to_string()).collect();
    let outcome = case.run(&lab, &reports);
    let report = outcome.report();
    outcome.assert_silent_about(&secret);
    ranked(&report);

    explained(&lab, &reports[0]);
    drop(hidden);
}

/// Of two containers behind the same miss the one that commands the machine comes first.
fn ranked(report: &serde_json::Value) {
    let findings = report["findings"].as_array().unwrap();
    let of = |endpoint: &str| {
        let place = findings.iter().position(|one| one["endpoint"] == endpoint && one["rule"] == "firewall-bypass");
        place.unwrap_or_else(|| panic!("no bypass at {endpoint}"))
    };
    let (boss, web) = (of("198.18.0.80:8090/tcp"), of("198.18.0.80:8080/tcp"));
    assert!(boss < web, "the privileged container is {boss}, the other one {web}");
    assert_eq!(findings[boss]["severity"], findings[web]["severity"]);
}

/// `postern explain`, far from the host, on the saved report.
fn explained(lab: &Lab, report: &str) {
    let ask = |to: &str| {
        let output = format!("json={}", lab.directory().join("explain.json").display());
        let outcome =
            lab.postern(&["explain", report, "--to", to, "--from", "198.18.0.1", "-o", "table", "-o", &output]).run();
        assert_eq!(outcome.code, 0, "{}", outcome.shown());
        let json = fs::read_to_string(lab.directory().join("explain.json")).unwrap();
        (outcome.stdout, serde_json::from_str::<serde_json::Value>(&json).unwrap())
    };
    let (table, answer) = ask("198.18.0.80:8080/tcp");
    assert_eq!((&answer["intent"], &answer["path"]), (&"drop".into(), &"accept".into()), "{answer}");
    assert_eq!(answer["delivered"]["namespace"], "container:web", "{answer}");
    assert_eq!(answer["delivered"]["port"], 80, "{answer}");
    for word in ["ip nat DOCKER handle", "ip filter DOCKER handle", "The firewall misses this packet", "DOCKER-USER"] {
        assert!(table.contains(word), "nothing of `{word}`:\n{table}");
    }
    let (table, answer) = ask("198.18.0.80:2375/tcp");
    assert_eq!((&answer["intent"], &answer["path"]), (&"drop".into(), &"drop".into()), "{answer}");
    assert!(table.contains("inet guard in: policy drop"), "{table}");
}
