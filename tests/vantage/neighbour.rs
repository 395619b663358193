//! `postern audit` without a target: as root from a throwaway neighbour, which leaves nothing behind.

use std::time::Duration;

use crate::support::{Background, Lab, Postern, wait_until};
use crate::view::{entry, has_neighbour, network, on_host, serve};

/// 7001 is closed to everybody, 7002 to the network only, 7003 open to the network only, 7004 got by INPUT.
const RULES: &str = "table inet guard {\n chain pre {\n  type nat hook prerouting priority dstnat;\n  tcp dport 7004 \
                     redirect to :7000\n }\n chain in {\n  type filter hook input priority filter; policy accept;\n  tcp \
                     dport 7001 drop\n  iifname \"eth0\" tcp dport 7002 drop\n  iifname \"eth0\" tcp dport 7003 accept\n  \
                     tcp dport { 7003, 7004 } drop\n }\n}\n";

fn lab(what: &str) -> Option<Lab> {
    let mut lab = Lab::new(what, &["nft", "busybox"])?;
    lab.add_host(20);
    for port in 7000..=7003 {
        serve(&mut lab, 20, "0.0.0.0", port);
    }
    serve(&mut lab, 20, "127.0.0.1", 7005);
    serve(&mut lab, 20, "[::]", 7006);
    lab.host(20).nft(RULES);
    Some(lab)
}

#[test]
fn a_host_is_seen_as_its_network_sees_it_and_stays_as_it_was() {
    let Some(lab) = lab("neighbour") else { return };
    let host = lab.host(20);
    let before = network(host);
    let arguments = ["audit", "-p", "7000-7006", "--udp=none"];
    let outcome = on_host(host, &arguments).all_formats(&host.directory).run();
    assert_eq!(network(host), before, "{}", outcome.shown());
    assert_eq!(outcome.code, 3, "{}", outcome.shown());
    assert!(outcome.stderr.contains("neighbour: this host has one interface more, postern0"), "{}", outcome.shown());

    let report = outcome.report();
    let vantage = &report["run"]["vantages"][0];
    assert_eq!((vantage["name"].as_str(), vantage["kind"].as_str()), (Some("neighbour"), Some("neighbour")));
    for (port, state, verdict, words) in [
        (7000, "open", "exposed", "INPUT accepts it: table inet guard, chain in: `policy accept`"),
        (7001, "filtered", "guarded", "tcp dport 7001 drop"),
        (7002, "open", "guarded", "came in by postern0"),
        (7003, "filtered", "exposed", "came in by postern0"),
        (7004, "open", "firewall-bypass", "chain pre, handle 3 rewrites it (dnat to 198.18.0.20:7000)"),
        (7005, "closed", "local-only", "bound to loopback only"),
    ] {
        let entry = entry(&report, "198.18.0.20", port, None);
        assert_eq!((entry["state"].as_str(), entry["verdict"].as_str()), (Some(state), Some(verdict)), "{entry:#}");
        assert!(entry["also"].to_string().contains(words), "{words}: {entry:#}");
        assert_eq!(entry["seen_from"][0], "neighbour", "{entry:#}");
    }
    // What the model alone says is not told as seen, and what leads to it is the network's interface.
    let downgraded = entry(&report, "198.18.0.20", 7002, None);
    assert!(downgraded["path"].to_string().contains("iifname \\\"eth0\\\" tcp dport 7002 drop"), "{downgraded:#}");
    // The loopback behind the host was tried from there, too.
    let local = entry(&report, "127.0.0.1", 7005, Some("198.18.0.20"));
    assert_eq!(
        (local["state"].as_str(), local["verdict"].as_str()),
        (Some("filtered"), Some("local-only")),
        "{local:#}"
    );
    // Nor is the run's own interface an address of the host.
    assert!(!report["hosts"][0]["addresses"].to_string().contains("198.19.255"), "{}", report["hosts"][0]);
    // Who answers behind the translation is told.
    assert_eq!(entry(&report, "198.18.0.20", 7004, None)["listener"]["port"], 7000);
    // Over IPv6 as well.
    for (address, state, verdict) in [("198.18.0.20", "open", "exposed"), ("2001:db8::14", "open", "exposed")] {
        let both = entry(&report, address, 7006, None);
        assert_eq!((both["state"].as_str(), both["verdict"].as_str()), (Some(state), Some(verdict)), "{both:#}");
    }
    // There nothing else listens, and only these rules' `inet` table counts.
    let groups = report["hosts"][0]["other_ports"].as_array().unwrap();
    let ports = |state: &str| {
        groups.iter().find(|group| group["address"] == "2001:db8::14" && group["state"] == state).unwrap()["ports"]
            .clone()
    };
    assert_eq!((ports("closed"), ports("filtered")), ("7000,7002,7004-7005".into(), "7001,7003".into()));
}

#[test]
fn nothing_is_left_of_a_run_that_is_killed() {
    let Some(lab) = lab("neighbour that is killed") else { return };
    let host = lab.host(20);
    let before = network(host);
    let mut command = host.command(env!("CARGO_BIN_EXE_postern"));
    command.args(["audit", "-p", "1-4000", "--udp=none", "--host-rate", "50", "-o"]);
    command.arg(format!("json={}", host.directory.join("killed.json").display()));
    let run = Background::start("killed", &host.directory, &mut command).killed_at_once();
    wait_until("the neighbour", Duration::from_secs(20), || has_neighbour(host));
    assert_ne!(network(host), before);
    drop(run);
    wait_until("the end of the neighbour", Duration::from_secs(10), || !has_neighbour(host));
    assert_eq!(network(host), before);
}

#[test]
fn without_root_or_by_wish_it_is_self() {
    let Some(lab) = lab("self") else { return };
    let host = lab.host(20);
    let arguments = ["audit", "-p", "7000-7003", "--udp=none"];
    let declined = on_host(host, &[&arguments[..], &["--vantage", "self"]].concat()).all_formats(&host.directory).run();
    let mut unprivileged = host.command("setpriv");
    unprivileged.args(["--reuid=65534", "--regid=65534", "--clear-groups", "timeout"]);
    // A directory that everybody may write to.
    let open = std::path::Path::new("/run");
    let program = [&arguments[..], &["-o", "json"]].concat();
    let unprivileged = Postern::new(unprivileged, open, &program).run();
    for outcome in [declined, unprivileged] {
        assert!(!outcome.stderr.contains("one interface more"), "{}", outcome.shown());
        let report = outcome.report();
        let names: Vec<&str> =
            report["run"]["vantages"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(names, ["self"], "{}", outcome.shown());
        let open = entry(&report, "198.18.0.20", 7000, None);
        assert_eq!(
            (open["state"].as_str(), open["verdict"].as_str()),
            (Some("open"), Some("undetermined")),
            "{open:#}"
        );
    }
}
