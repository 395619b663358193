//! From symptom and evidence to verdict where rules alone explain nothing: an XDP program, a full connection table, spent
//! ICMP errors; and what evidence adds to the verdict: units, maps of kube-proxy. `cases/evidence.toml` has the answers.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::case::Case;
use crate::situations::{inner_namespace, twin, web_server};
use crate::support::{BPF, Background, Cgroup, Host, Lab, finish, innermost};

#[test]
fn evidence_beside_the_rules_has_its_verdict() {
    let case = Case::load("evidence.toml");
    let Some(lab) = case.lab("evidence.toml", "unused") else { return };
    few_icmp_errors(lab.host(111));
    let diverted = diverted_by_xdp(&lab, lab.host(112));
    let Some(unit) = Unit::start(lab.host(113)) else {
        println!("SKIPPED: evidence.toml: no control group can be made here");
        return;
    };
    let pods = node_port_of_a_map(lab.host(114));
    full_connection_table(lab.host(110));

    let reports: Vec<String> =
        (110..=114).map(|number| lab.host(number).native_report().display().to_string()).collect();
    let outcome = case.run(&lab, &reports);
    rejected_and_silent_alike(&outcome.report());
    drop((diverted, unit, pods));
}

/// Every port of 198.18.0.111 is guarded, by the error that came or by the rule that explains the silence.
fn rejected_and_silent_alike(report: &Value) {
    let hosts = report["hosts"].as_array().unwrap();
    let entries: Vec<&Value> = hosts
        .iter()
        .flat_map(|host| host["endpoints"].as_array().unwrap())
        .filter(|entry| entry["address"] == "198.18.0.111" && entry["listener"].is_object())
        .collect();
    assert_eq!(entries.len(), 12, "{entries:#?}");
    let (mut told, mut silent) = (0, 0);
    for entry in entries {
        assert_eq!((&entry["state"], &entry["verdict"]), (&"filtered".into(), &"guarded".into()), "{entry:#}");
        let says = entry["also"].to_string();
        match entry["reason"].as_str() {
            Some("icmp-admin-prohibited") => {
                assert!(says.contains("the host itself") && !says.contains("icmp_ratelimit"), "{entry:#}");
                told += 1;
            }
            Some("no-answer") => {
                assert!(says.contains("reject with icmpx admin-prohibited"), "{entry:#}");
                assert!(says.contains("the kernel sends few ICMP errors (icmp_ratelimit)"), "{entry:#}");
                silent += 1;
            }
            other => panic!("{other:?}: {entry:#}"),
        }
    }
    assert!(told > 0 && silent > 0, "{told} told, {silent} silent");
}

/// One ICMP error in ten seconds, six at once (inet_peer_xrlim_allow), and a rule that wants to send twelve.
fn few_icmp_errors(host: &Host) {
    host.namespace.sysctl("net.ipv4.icmp_ratelimit", "10000");
    host.nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter;\n  tcp dport 7001-7012 reject with \
         icmpx admin-prohibited\n }\n}\n",
    );
}

/// As many entries as the kernel allows, all of a kind that is not given up for new ones (ctnetlink: IPS_SEEN_REPLY,
/// IPS_ASSURED). The limit is the machine's and stays; the count is the namespace's.
const FILL: &str = "
import socket, struct
wanted = int(open('/proc/sys/net/netfilter/nf_conntrack_max').read())
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
link.bind((0, 0))
def attribute(kind, data, nested=0):
    return struct.pack('HH', len(data) + 4, kind | nested) + data + b'\\0' * (-len(data) % 4)
def way(source, destination, ports):
    protocol = attribute(1, b'\\x11') + attribute(2, ports[0]) + attribute(3, ports[1])
    return attribute(1, attribute(1, source) + attribute(2, destination), 0x8000) + attribute(2, protocol, 0x8000)
rest = attribute(3, struct.pack('!I', 14)) + attribute(7, struct.pack('!I', 600))
batch = []
for number in range(wanted):
    source, peer = struct.pack('!I', 0x0a000000 + number // 60000), struct.pack('!I', 0x0a010000)
    ports = (struct.pack('!H', 1 + number % 60000), struct.pack('!H', 9))
    body = struct.pack('BBH', 2, 0, 0) + attribute(1, way(source, peer, ports), 0x8000)
    body += attribute(2, way(peer, source, ports[::-1]), 0x8000) + rest
    batch.append(struct.pack('IHHII', len(body) + 16, 0x100, 0x401, 0, 0) + body)
    if len(batch) == 200 or number + 1 == wanted:
        link.send(b''.join(batch))
        batch.clear()
count = int(open('/proc/sys/net/netfilter/nf_conntrack_count').read())
assert count >= wanted * 99 // 100, count
";

fn full_connection_table(host: &Host) {
    // Tracking is on in a namespace where a rule asks for it.
    host.nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter;\n  ct state established,related \
         accept\n }\n}\n",
    );
    finish(host.command("python3").args(["-c", FILL]));
}

/// An XDP program by its instructions: TCP over IPv4 to the ports of the arguments behind the first is redirected to the
/// interface that is the first, everything else passes (`bpf_redirect` is helper 23, XDP_PASS is 2).
/// Behind [`BPF`].
const REDIRECT: &str = "
import socket, struct, sys, time
to, ports = socket.if_nametoindex(sys.argv[1]), [socket.htons(int(port)) for port in sys.argv[2:]]
# Operation, target and source register, offset or where to jump, value; a word alone is a place.
lines = [
    (0x61, 2, 1, 0, 0), (0x61, 3, 1, 4, 0),                      # r2 = data, r3 = data_end
    (0xbf, 4, 2, 0, 0), (0x07, 4, 0, 0, 38), (0x2d, 4, 3, 'pass', 0),
    (0x69, 5, 2, 12, 0), (0x55, 5, 0, 'pass', 8),                # EtherType 0800, as it lies in memory
    (0x71, 5, 2, 23, 0), (0x55, 5, 0, 'pass', 6),                # TCP
    (0x69, 5, 2, 36, 0), *[(0x15, 5, 0, 'take', port) for port in ports], (0x05, 0, 0, 'pass', 0),
    'take', (0xb7, 1, 0, 0, to), (0xb7, 2, 0, 0, 0), (0x85, 0, 0, 0, 23), (0x95, 0, 0, 0, 0),
    'pass', (0xb7, 0, 0, 0, 2), (0x95, 0, 0, 0, 0)]
places, code = {}, []
for line in lines:
    if isinstance(line, str):
        places[line] = len(code)
    else:
        code.append(line)
text = b''.join(
    struct.pack('<BBhi', operation, target | source << 4, places[to] - at - 1 if to in places else to, value)
    for at, (operation, target, source, to, value) in enumerate(code))
held, licence = ctypes.create_string_buffer(text, len(text)), ctypes.create_string_buffer(b'GPL')
log = ctypes.create_string_buffer(65536)
fields = struct.pack('<IIQQIIQII16sII', 6, len(code), ctypes.addressof(held), ctypes.addressof(licence), 1, 65536,
    ctypes.addressof(log), 0, 0, b'lab_redirect', 0, 37)
try:
    program = bpf(5, fields)
except OSError as error:
    sys.exit(f'{error}: {log.value.decode()}')
# Generic mode: the drivers of veth redirect only between peers that are prepared for it.
link = bpf(28, struct.pack('<IIII', program, socket.if_nametoindex('eth0'), 37, 2))
print('attached', flush=True)
time.sleep(600)
";

/// Two ports go by XDP to a namespace with the host's own address; one of them the rules drop.
fn diverted_by_xdp(lab: &Lab, host: &Host) -> [Background; 3] {
    twin(lab, host, "198.18.0.1", "198.18.0.1/32");
    let mut command = host.command("python3");
    let mut program = Background::start(
        "xdp",
        &host.directory,
        command.args(["-u", "-c", &[BPF, REDIRECT].concat(), "aside", "8443", "9443"]),
    );
    program.wait_until("program", |output| output.contains("attached"));
    host.nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter;\n  tcp dport 8443 drop\n }\n}\n",
    );
    [program.killed_at_once(), web_server(host, "side", "8443"), web_server(host, "side", "9443")]
}

/// etcd on all addresses, in the control group that systemd would make for its unit.
#[derive(Debug)]
struct Unit {
    _etcd: Background,
    _group: Cgroup,
}

impl Unit {
    fn start(host: &Host) -> Option<Self> {
        let slice = format!("lab{}.slice", std::process::id());
        let group = Cgroup::new(&[&slice, "postern-lab-etcd.service"])?;
        let mut command = host.command("etcd");
        command.arg("--data-dir").arg(host.directory.join("etcd"));
        command.args(["--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls"]);
        command.arg(format!("http://{}:2379", host.address()));
        let mut etcd = Background::start("etcd-unit", &host.directory, &mut command);
        etcd.wait_until("client port", |output| output.contains("ready to serve client requests"));
        let etcd = etcd.killed_at_once();
        group.take(innermost(etcd.id()));
        Some(Self { _etcd: etcd, _group: group })
    }
}

/// kube-proxy's rules as it wrote them on a node, with this host's address in the node's place; a namespace has the two
/// pods of the service.
fn node_port_of_a_map(host: &Host) -> Background {
    inner_namespace(host, "pod", "cni0");
    finish(host.command("sh").args([
        "-c",
        "set -e
ip addr add 10.244.0.1/24 dev cni0
ip link set cni0 up
ip -n pod addr add 10.244.0.5/24 dev eth0
ip -n pod addr add 10.244.0.6/24 dev eth0
ip -n pod link set eth0 up
ip -n pod route add default via 10.244.0.1",
    ]));
    host.namespace.sysctl("net.ipv4.ip_forward", "1");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/nft/kube-proxy.nft");
    let rules = fs::read_to_string(kept).unwrap();
    assert!(rules.contains("elements = { 198.18.0.2 }"));
    host.nft(&rules.replace("198.18.0.2 ", &format!("{} ", host.address())));
    web_server(host, "pod", "8080")
}
