//! Situations in which the firewall is not what it seems: ufw, firewalld, kube-proxy's rules, tc, a router on the way, a
//! full queue, an old report; real tools, seen from a private address. `cases/situations.toml` has the answers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::net::{AddressFamily, SocketType};
use serde_json::Value;

use crate::case::{Case, entry};
use crate::firewalls::{Firewalld, UFW_FOR_DOCKER, iptables_restore, ufw};
use crate::replay::Acceptor;
use crate::support::{Background, Host, Lab, Namespace, finish};

/// From where the scanner asks.
const PRIVATE: &str = "10.77.0.1";

#[test]
fn every_situation_has_its_verdict() {
    let case = Case::load("situations.toml");
    let secret = format!("planted{}situations", std::process::id());
    let Some(lab) = case.lab("situations.toml", &secret) else { return };
    ask_from_a_private_address(&lab);

    ufw(lab.host(90), &["22/tcp"], "");
    ufw(lab.host(91), &["2375/tcp"], UFW_FOR_DOCKER);
    let firewalld = Firewalld::start(lab.host(92));
    firewalld.command(lab.host(92), &["--zone=trusted", "--change-interface=eth0"]);
    let leaking = etcd_on_loopback_led_to(lab.host(93));
    let pod = pod_behind_a_node_port(lab.host(94));
    let diverted = diverted_by_tc(&lab, lab.host(95));
    let _queue = FullQueue::open(lab.host(96), 9600);
    let _mute = mute_udp(lab.host(96), &[5005, 5006]);
    lab.host(96).nft(&dropping("udp dport 5006 drop"));
    let waiting = waiting_for_its_service(lab.host(96), 7777);
    let router = behind_a_router(&lab, lab.host(97));
    lab.host(97).nft(&dropping("tcp dport 22 drop"));
    lab.host(98).nft("table ip everything {\n chain pre {\n  type nat hook prerouting priority dstnat;\n  tcp dport 20000-20023 redirect to \
         :6999\n }\n}\n",
    );

    let mut reports: Vec<String> =
        (90..=98).map(|number| lab.host(number).native_report().display().to_string()).collect();
    reports.push(an_hour_old(&lab.host(99).native_report()));
    let _late = Acceptor::silent(lab.host(99), 7070);

    let outcome = case.run(&lab, &reports);
    let report = outcome.report();
    outcome.assert_silent_about(&secret);

    let findings = report["findings"].as_array().unwrap();
    let flood = findings.iter().find(|one| one["rule"] == "answers-everything");
    assert_eq!(flood.map(|flood| &flood["endpoint"]), Some(&"198.18.0.98".into()), "{}", outcome.shown());
    leads_with_what_is_missed(&outcome.stdout);
    without_rules_it_is_undetermined(&lab, &report);
    drop((waiting, diverted, pod, leaking, firewalld, router));
}

/// The table begins with the bypasses, leaks and contradictions: each with three lines of path and what closes it.
fn leads_with_what_is_missed(table: &str) {
    let (lead, rest) = table.split_once("\n\n").unwrap();
    let mut lines = lead.lines();
    assert_eq!(lines.next(), Some("WHAT THE FIREWALL MISSES"), "{table}");
    let missed = ["198.18.0.90:8080/tcp", "198.18.0.91:8080/tcp", "198.18.0.93:2379/tcp", "198.18.0.95:8443/tcp"];
    for endpoint in missed {
        let (_, told) = lead.split_once(&format!(" {endpoint}  ")).unwrap_or_else(|| panic!("no {endpoint}:\n{lead}"));
        let lines: Vec<&str> = told.lines().skip(1).map(str::trim_start).collect();
        let of = |start: &str| {
            let found = lines.iter().position(|line| line.starts_with(start));
            found.unwrap_or_else(|| panic!("no `{start}` of {endpoint}:\n{told}"))
        };
        assert!(of("1  ") < of("2  ") && of("2  ") < of("3  ") && of("3  ") < of("fix "), "{told}");
    }
    // The worst first: a service that lets anybody in comes before one that nobody recognised.
    let place = |endpoint: &str| lead.find(&format!(" {endpoint}  "));
    assert!(place("198.18.0.93:2379/tcp") < place("198.18.0.90:8080/tcp"), "{lead}");
    assert!(rest.contains("FINDINGS"), "{rest}");
}

/// The same machine by reports that lack its rules: of an ordinary user, and a plain listing.
fn without_rules_it_is_undetermined(lab: &Lab, report: &Value) {
    let host = lab.host(90);
    let saved = lab.directory().join("saved.json");
    fs::write(&saved, report.to_string()).unwrap();
    let saved = saved.display().to_string();
    let listing = host.directory.join("ss.txt");
    fs::write(&listing, finish(host.command("ss").arg("-tulpn"))).unwrap();
    let listing = format!("198.18.0.90={}", listing.display());
    let unprivileged = host.directory.join("nobody.json");
    let mut command = host.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "timeout", "60"]);
    fs::write(&unprivileged, finish(command.arg(env!("CARGO_BIN_EXE_postern")).args(["host", "-o", "json"]))).unwrap();
    let unprivileged = unprivileged.display().to_string();
    for given in [&listing, &unprivileged] {
        let outcome = lab.postern(&["correlate", "--scan", &saved, "--host-report", given, "-o", "json"]).run();
        let report = outcome.report();
        let published = entry(&report, "198.18.0.90:8080/tcp").unwrap();
        assert_eq!(published["verdict"], "undetermined", "{given}: {published:#}");
        let says = published["also"].to_string();
        for word in ["no firewall rules", "`postern host` as root"] {
            assert!(says.contains(word), "{given}: nothing of {word}: {says}");
        }
    }
}

fn dropping(rule: &str) -> String {
    format!(
        "table inet guard {{\n chain in {{\n  type filter hook input priority filter; policy accept;\n  {rule}\n }}\n}}\n"
    )
}

/// Every packet of the sweep comes from [`PRIVATE`]; the hosts know the way back.
fn ask_from_a_private_address(lab: &Lab) {
    lab.scanner().ip(&format!("addr add {PRIVATE}/24 dev br0"));
    lab.scanner().ip(&format!("route replace 198.18.0.0/24 dev br0 proto kernel scope link src {PRIVATE}"));
    for number in (90..=99).filter(|number| *number != 97) {
        lab.host(number).namespace.ip("route add 10.77.0.0/24 dev eth0");
    }
}

/// etcd as its manual says, bound to loopback; and a rule for its own port, another for port 8000.
fn etcd_on_loopback_led_to(host: &Host) -> Background {
    let mut command = host.command("etcd");
    command.arg("--data-dir").arg(host.directory.join("etcd"));
    let mut etcd = Background::start("etcd-local", &host.directory, &mut command);
    etcd.wait_until("client port", |output| output.contains("ready to serve client requests"));
    host.namespace.sysctl("net.ipv4.conf.all.route_localnet", "1");
    let etcd = etcd.killed_at_once();
    host.nft("table ip shortcut {\n chain pre {\n  type nat hook prerouting priority dstnat;\n  iifname eth0 tcp dport { 2379, \
         8000 } dnat to 127.0.0.1:2379\n }\n}\n",
    );
    etcd
}

/// A namespace `name` of the host, joined to it by the interface `outer`.
pub fn inner_namespace(host: &Host, name: &str, outer: &str) {
    let script = format!("ip netns add {name} && ip link add {outer} type veth peer name eth0 netns {name}");
    finish(host.command("sh").args(["-c", &script]));
}

pub fn web_server(host: &Host, namespace: &str, port: &str) -> Background {
    let mut command = host.command("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}"));
    command.args(["busybox", "httpd", "-f", "-p", port, "-h"]).arg(&host.directory);
    let mut server = Background::start(&format!("httpd-{port}"), &host.directory, &mut command);
    server.wait_until("port", |_| {
        let listening =
            host.command("nsenter").arg(format!("--net=/run/netns/{namespace}")).args(["ss", "-Htln"]).output();
        listening.is_ok_and(|shown| String::from_utf8_lossy(&shown.stdout).contains(&format!(":{port} ")))
    });
    server.killed_at_once()
}

/// What kube-proxy writes for a service of type NodePort with one pod, in its iptables mode.
fn pod_behind_a_node_port(host: &Host) -> Background {
    inner_namespace(host, "pod", "cni0");
    finish(host.command("sh").args([
        "-c",
        "set -e
ip addr add 10.244.0.1/24 dev cni0
ip link set cni0 up
ip -n pod addr add 10.244.0.2/24 dev eth0
ip -n pod link set eth0 up
ip -n pod route add default via 10.244.0.1",
    ]));
    host.namespace.sysctl("net.ipv4.ip_forward", "1");
    let service = web_server(host, "pod", "8080");
    iptables_restore(
        host,
        "*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-EXT-LAB - [0:0]
:KUBE-SVC-LAB - [0:0]
:KUBE-SEP-LAB - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment \"default/web:http\" -m tcp --dport 30080 -j KUBE-EXT-LAB
-A KUBE-EXT-LAB -m comment --comment \"masquerade traffic\" -j KUBE-MARK-MASQ
-A KUBE-EXT-LAB -j KUBE-SVC-LAB
-A KUBE-SVC-LAB -m comment --comment \"default/web:http -> 10.244.0.2:8080\" -j KUBE-SEP-LAB
-A KUBE-SEP-LAB -p tcp -m comment --comment \"default/web:http\" -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
",
    );
    service
}

/// A namespace `side` with the host's own address, behind the host's interface `aside`: what is led there is answered to
/// `asker` as the host itself would, by the host's own way out. `route` is where askers are.
pub fn twin(lab: &Lab, host: &Host, asker: &str, route: &str) {
    inner_namespace(host, "side", "aside");
    let mac = |namespace: &Namespace, interface: &str| {
        let listed = finish(namespace.command("ip").args(["-j", "link", "show", interface]));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed[0]["address"].as_str().unwrap().to_owned()
    };
    let (own, scanner, address) = (mac(&host.namespace, "eth0"), mac(lab.scanner(), "br0"), host.address());
    finish(host.command("sh").args([
        "-c",
        &format!(
            "set -e
ip link set aside up
ip -n side link set eth0 address {own}
ip -n side addr add {address}/32 dev eth0
ip -n side link set eth0 up
ip -n side route add {route} dev eth0
ip -n side neigh replace {asker} lladdr {scanner} dev eth0 nud permanent
tc qdisc add dev aside clsact
tc filter add dev aside ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev eth0"
        ),
    ]));
}

/// Two ports go by tc to a namespace with the host's own address, past every rule; one of them the rules drop.
fn diverted_by_tc(lab: &Lab, host: &Host) -> [Background; 2] {
    twin(lab, host, PRIVATE, "10.77.0.0/24");
    let address = host.address();
    let ports: String = [8443, 9443]
        .map(|port| {
            format!(
                "tc filter add dev eth0 ingress protocol ip u32 match ip dst {address}/32 match ip protocol 6 0xff match \
                 ip dport {port} 0xffff action mirred egress redirect dev aside\n"
            )
        })
        .concat();
    finish(host.command("sh").args(["-c", &format!("set -e\ntc qdisc add dev eth0 clsact\n{ports}")]));
    host.nft(&dropping("tcp dport 8443 drop"));
    [web_server(host, "side", "8443"), web_server(host, "side", "9443")]
}

/// A listener whose accept queue is full: the kernel drops further SYNs.
#[derive(Debug)]
struct FullQueue {
    _listener: std::os::fd::OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl FullQueue {
    fn open(host: &Host, port: u16) -> Self {
        host.namespace.inside(|| {
            let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            rustix::net::bind(&listener, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).unwrap();
            rustix::net::listen(&listener, 0).unwrap();
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let connect = |_| TcpStream::connect_timeout(&to, Duration::from_millis(300)).ok();
            Self { _listener: listener, _waiting: (0..3).filter_map(connect).collect() }
        })
    }
}

/// Sockets that take datagrams and say nothing.
fn mute_udp(host: &Host, ports: &[u16]) -> Vec<UdpSocket> {
    host.namespace
        .inside(|| ports.iter().map(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).unwrap()).collect())
}

fn waiting_for_its_service(host: &Host, port: u16) -> Background {
    let mut command = host.command("systemd-socket-activate");
    command.args(["--accept", "--inetd", "-l", &format!("{}:{port}", host.address()), "/bin/cat"]);
    let mut process = Background::start("activate", &host.directory, &mut command);
    process.wait_until("socket", |_| host.listens("tcp", port));
    process.killed_at_once()
}

/// Host 97 gets the address 198.18.2.97 behind a router that rejects two ports and drops a third.
fn behind_a_router(lab: &Lab, host: &Host) -> Namespace {
    let router = Namespace::new("router");
    let scanner = lab.scanner();
    scanner.ip(&format!("link add router type veth peer name eth0 netns {}", router.name()));
    scanner.ip("link set router master br0 up");
    scanner.ip(&format!("route add 198.18.2.0/24 via 198.18.0.254 src {PRIVATE}"));
    router.ip("addr add 198.18.0.254/24 dev eth0");
    router.ip("link set eth0 up");
    router.ip("route add 10.77.0.0/24 dev eth0");
    router.ip(&format!("link add lan type veth peer name eth1 netns {}", host.namespace.name()));
    router.ip("addr add 198.18.2.1/24 dev lan");
    router.ip("link set lan up");
    router.sysctl("net.ipv4.ip_forward", "1");
    host.namespace.ip("addr add 198.18.2.97/24 dev eth1");
    host.namespace.ip("link set eth1 up");
    host.namespace.ip("route add 10.77.0.0/24 via 198.18.2.1");
    let file = lab.directory().join("router.nft");
    fs::write(
        &file,
        "table inet between {\n chain on {\n  type filter hook forward priority filter;\n  tcp dport { 22, 2379 } reject \
         with icmpx admin-prohibited\n  tcp dport 2222 drop\n }\n}\n",
    )
    .unwrap();
    finish(router.command("nft").arg("-f").arg(&file));
    router
}

/// The report as if it had been taken an hour ago.
fn an_hour_old(path: &Path) -> String {
    let mut report: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let taken: Timestamp = report["collected_at"].as_str().unwrap().parse().unwrap();
    report["collected_at"] = (taken - SignedDuration::from_hours(1)).to_string().into();
    fs::write(path, report.to_string()).unwrap();
    path.display().to_string()
}
