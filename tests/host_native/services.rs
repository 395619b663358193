//! Services that have no socket: what rules of every kind translate, kube-proxy's in both of its modes among them.

use std::fs;
use std::path::Path;

use crate::plain::machine;
use crate::support::finish;
use crate::view::View;

const RULES: &str = "
table ip door {
  set doors {
    type inet_service
    elements = { 9443, 9444 }
  }
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport 8080 redirect to :80
    ip daddr 198.18.0.10 tcp dport 9000 dnat to 10.1.1.5:80
    udp dport 5000-5002 dnat to 10.1.1.7
    tcp dport @doors dnat to 10.1.1.6
    dnat ip to tcp dport map { 7001 : 10.1.1.8 . 81, 7002 : 10.1.1.9 . 82 }
    ip daddr 198.18.0.99 dnat to 10.1.1.10
  }
}
";

/// As kube-proxy writes it in its iptables mode, one service with one endpoint.
const NODE_PORT: &str = "*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-EXT-AAAA - [0:0]
:KUBE-SVC-AAAA - [0:0]
:KUBE-SEP-BBBB - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment \"shop/web:http\" -m tcp --dport 30081 -j KUBE-EXT-AAAA
-A KUBE-EXT-AAAA -j KUBE-SVC-AAAA
-A KUBE-SVC-AAAA -m comment --comment \"shop/web:http -> 10.244.1.7:8080\" -j KUBE-SEP-BBBB
-A KUBE-SEP-BBBB -p tcp -m comment --comment \"shop/web:http\" -m tcp -j DNAT --to-destination 10.244.1.7:8080
COMMIT
";

#[test]
fn services_without_a_socket() {
    let programs = ["nft", "iptables-nft-restore", "iptables-legacy"];
    let Some((lab, number)) = machine("services without a socket", &programs) else { return };
    let host = lab.host(number);
    host.nft(RULES);
    let kube = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/nft/kube-proxy.nft");
    finish(host.command("nft").arg("-f").arg(&kube));
    let file = host.directory.join("kube.rules");
    fs::write(&file, NODE_PORT).unwrap();
    finish(host.command("iptables-nft-restore").arg("--noflush").arg(&file));
    let mut legacy = host.command("iptables-legacy");
    legacy.env("XTABLES_LOCKFILE", host.directory.join("lock"));
    finish(legacy.args(["-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "2222"]).args([
        "-j",
        "REDIRECT",
        "--to-ports",
        "22",
    ]));

    let view = View::by_root(host);
    let network = &view.namespace("host")["network"];
    let translated: Vec<String> = network["translated"]
        .as_array()
        .unwrap_or_else(|| panic!("{:#}", view.0["gaps"]))
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or("*").to_owned();
            format!("{} {}/{} -> {}", text("address"), text("ports"), text("transport"), text("to"))
        })
        .collect();
    for expected in [
        "* 8080/tcp -> :80",
        "198.18.0.10 9000/tcp -> 10.1.1.5:80",
        "* 5000-5002/udp -> 10.1.1.7",
        "* 9443-9444/tcp -> 10.1.1.6",
        "* 7001/tcp -> 10.1.1.8:81",
        "* 7002/tcp -> 10.1.1.9:82",
        "198.18.0.99 1-65535/* -> 10.1.1.10",
        // kube-proxy, nft and iptables; legacy iptables.
        "* 30080/tcp -> 10.244.0.5:8080",
        "* 30081/tcp -> 10.244.1.7:8080",
        "* 2222/tcp -> :22",
    ] {
        assert!(translated.iter().any(|one| one == expected), "{expected}: {translated:#?}");
    }
    let node_port = network["translated"].as_array().unwrap().iter().find(|one| one["ports"] == "30081").unwrap();
    assert!(node_port["named_by"].as_str().unwrap().contains("shop/web:http"), "{node_port:#}");

    // The table tells them, and audit asks them without being told to; not the address of another host, nor every port.
    let saved = host.directory.join("host.json");
    fs::write(&saved, view.0.to_string()).unwrap();
    let saved = saved.display().to_string();
    let plan = lab.postern(&["audit", "198.18.0.10", "--plan", "--host-report", &saved]).run();
    let tcp = plan.stdout.lines().find(|line| line.contains("TCP")).unwrap_or_else(|| panic!("{}", plan.shown()));
    for port in ["30080", "30081", "9443", "7001", "8080"] {
        assert!(tcp.contains(port), "{port}: {}", plan.shown());
    }
    assert!(!tcp.contains("1-65535"), "{}", plan.shown());

    // What is left out is named.
    let few = ["audit", "198.18.0.10", "-p", "22", "--udp=none", "--no-probes", "--host-report", &saved];
    let outcome = lab.postern(&few).all_formats(lab.directory()).run();
    let gaps = outcome.report()["run"]["gaps"].to_string();
    assert!(gaps.contains("translate and that were not asked: tcp 2222,7001-7002,8080,9000,9443-9444,30080"), "{gaps}");
    assert!(gaps.contains("udp 5000-5002"), "{gaps}");

    let view = View::by_nobody(host);
    assert!(view.namespace("host")["network"]["translated"].is_null(), "without rules nothing is known");
    view.assert_gap("nft rules of");
}
