//! Machines without any container engine: namespaces and how they are held, sockets of all kinds, rules, rights.

use std::fs;
use std::path::Path;

use crate::support::{Background, Host, Lab, finish};
use crate::view::{CANARY, View};

/// A lab with one host; the path is a folder that every user of it may read.
pub fn machine(what: &str, programs: &[&str]) -> Option<(Lab, u8)> {
    let mut lab = Lab::new(what, programs)?;
    lab.add_host(10);
    Some((lab, 10))
}

/// Starts a Python program in all namespaces of the host and waits until it says `ready`.
pub fn python(host: &Host, name: &str, before: &[&str], script: &str, arguments: &[&str]) -> Background {
    let file = host.directory.join(format!("{name}.py"));
    fs::write(&file, script).unwrap();
    let mut command = match before {
        [] => host.command("python3"),
        [program, rest @ ..] => {
            let mut command = host.command(program);
            command.args(rest).arg("python3");
            command
        }
    };
    command.arg("-u").arg(&file).args(arguments).env("SECRET_TOKEN", CANARY);
    let mut process = Background::start(name, &host.directory, &mut command);
    process.wait_until("sockets", |output| output.contains("ready"));
    process.killed_at_once()
}

pub const LISTEN: &str = "
import socket, sys, time
listener = socket.socket()
listener.bind(('0.0.0.0', int(sys.argv[1])))
listener.listen(4)
print('ready')
time.sleep(300)
";

#[test]
fn namespaces_are_found_however_they_are_held() {
    let Some((lab, number)) = machine("namespaces by holder", &["python3", "mount"]) else { return };
    let host = lab.host(number);
    let _bare = python(host, "bare", &["unshare", "-n"], LISTEN, &["7001", "--password", CANARY]);
    // Nothing runs in it: a bind mount keeps it.
    finish(host.command("sh").args(["-c", "mkdir /run/netns && ip netns add mounted"]));
    // Nothing runs in it: a descriptor keeps it. The process itself is back in the host's own.
    let script = "
import ctypes, os, time
libc = ctypes.CDLL(None)
own = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.unshare(0x40000000)
held = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.setns(own, 0)
print('ready', os.fstat(held).st_ino)
time.sleep(300)
";
    let descriptor = python(host, "descriptor", &[], script, &[]);
    let held: u64 = descriptor.output().split_whitespace().last().unwrap().parse().unwrap();
    // Mounted where only another mount namespace shows it.
    let mut elsewhere = host.command("unshare");
    let hidden = "mount -t tmpfs tmpfs /mnt && touch /mnt/ns && unshare --net=/mnt/ns true && echo ready && sleep 300";
    let mut elsewhere = Background::start(
        "elsewhere",
        &host.directory,
        elsewhere.args(["--mount", "--propagation", "private", "sh", "-c", hidden]),
    );
    elsewhere.wait_until("mount", |output| output.contains("ready"));
    let elsewhere = elsewhere.killed_at_once();

    let view = View::by_root(host);
    let bare = view.listener(7001, "net:[");
    assert_eq!((bare["process"].as_str(), bare["user"].as_str()), (Some("python3"), Some("root")));
    let owner = view.owner(bare);
    let arguments: Vec<&str> = owner["arguments"].as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
    assert_eq!(arguments[arguments.len() - 3..], ["7001", "--password", "***"]);
    let bare = view.namespace(bare["namespace"].as_str().unwrap());
    assert_eq!(bare["held_by"], serde_json::json!(["process"]));
    assert_eq!(view.namespace("mounted")["held_by"], serde_json::json!(["mount /run/netns/mounted"]));
    let by_descriptor = view.namespace(&format!("net:[{held}]"));
    let holder = by_descriptor["held_by"][0].as_str().unwrap();
    assert!(holder.starts_with("descriptor of "), "{by_descriptor:#}");
    let holders = |one: &serde_json::Value| one["held_by"].to_string();
    let hidden = view.list("namespaces").iter().find(|one| holders(one).contains("/mnt/ns (seen by"));
    let hidden = hidden.unwrap_or_else(|| panic!("{:#}", view.0["namespaces"]));
    for one in [by_descriptor, hidden, view.namespace("mounted")] {
        assert!(one["network"]["interfaces"][0]["name"] == "lo", "it was entered: {one:#}");
    }

    let view = View::by_nobody(host);
    view.assert_gap("may not be entered without CAP_SYS_ADMIN");
    view.assert_gap("the network namespaces of");
    assert!(view.namespace_names().contains(&"mounted"), "{:?}", view.namespace_names());
    drop((descriptor, elsewhere));
}

/// Whatever a user puts where engines keep their files, and whatever he names in a command line.
#[test]
fn no_user_makes_it_wait() {
    let Some((lab, number)) = machine("a user in the way", &["python3", "mkfifo", "setpriv"]) else { return };
    let host = lab.host(number);
    let home = "/run/trap";
    let script = format!(
        "storage={home}/.local/share/containers/storage/vfs-containers; one=$storage/{id}/userdata; mkdir -p $one
         mkfifo $storage/containers.json $one/config.json; mkfifo {home}/pipe
         mkdir -p {home}/etc; cp /etc/passwd {home}/etc/; echo 'trap:x:2000:2000::{home}:/bin/sh' >>{home}/etc/passwd
         mount --bind {home}/etc/passwd /etc/passwd; chown -R 2000 {home}",
        id = "3f4e1c2d5b6a79880011223344556677889900aabbccddeeff00112233445566"
    );
    finish(host.command("sh").args(["-e", "-c", &script]));
    let before = ["setpriv", "--reuid", "2000", "--clear-groups", "bash", "-c", "exec -a pasta \"$@\"", "-"];
    let _named = python(host, "pasta", &before, LISTEN, &["7001", "--netns", &format!("{home}/pipe")]);
    let from = std::time::Instant::now();
    let view = View::by_root(host);
    assert!(from.elapsed() < std::time::Duration::from_secs(10), "{:?}", from.elapsed());
    assert_eq!(view.listener(7001, "host")["user"], "trap");
}

/// Two pairs whose ends have the same numbers: only the kernel can tell which belongs to which.
#[test]
fn the_other_ends_of_veth_pairs_are_found() {
    let Some((lab, number)) = machine("veth pairs", &["ip"]) else { return };
    let host = lab.host(number);
    let script = "mkdir /run/netns; for n in a1 a2 b1 b2; do ip netns add $n; done
        for n in a b; do ip -n ${n}1 link add left index 7 type veth peer name right index 8 netns ${n}2; done";
    finish(host.command("sh").args(["-e", "-c", script]));
    let view = View::by_root(host);
    for (own, name, other) in [("a1", "left", "a2"), ("a2", "right", "a1"), ("b1", "left", "b2"), ("b2", "right", "b1")]
    {
        let interfaces = view.namespace(own)["network"]["interfaces"].as_array().unwrap();
        let interface = interfaces.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(interface["peer_namespace"], other, "{own}: {interface:#}");
    }
}

#[test]
fn sockets_of_every_kind_with_their_owners() {
    let Some((lab, number)) = machine("sockets of every kind", &["python3", "systemd-socket-activate"]) else { return };
    let host = lab.host(number);
    let mut command = host.command("systemd-socket-activate");
    command.args(["-l", "198.18.0.10:8081", "-E", &format!("TOKEN={CANARY}"), "/bin/cat", "--password", CANARY]);
    let activator = Background::start("activate", &host.directory, &mut command).killed_at_once();
    let script = "
import socket, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packet.bind(('eth0', 0x88cc))
full = socket.socket()
full.bind(('198.18.0.10', 8082))
full.listen(1)
clients = [socket.socket() for _ in range(4)]
for client in clients:
    client.setblocking(False)
    client.connect_ex(('198.18.0.10', 8082))
time.sleep(0.3)
print('ready')
time.sleep(300)
";
    let caps = ["setpriv", "--bounding-set", "-all,+net_raw,+net_admin", "--no-new-privs"];
    let _sockets = python(host, "sockets", &caps, script, &["DB_URL=postgres://user:CANARY-hunter2-9f86@db/x"]);
    crate::support::wait_until("activator", std::time::Duration::from_secs(10), || host.listens("tcp", 8081));

    let view = View::by_root(host);
    let waiting = view.listener(8081, "host");
    assert_eq!(
        (waiting["socket_activated"].as_bool(), waiting["starts"].as_str()),
        (Some(true), Some("/bin/cat --password ***"))
    );
    let full = view.listener(8082, "host");
    assert_eq!(full["accept_queue"], serde_json::json!({"length": 2, "backlog": 1}));
    let owner = view.owner(full);
    assert_eq!(owner["no_new_privileges"], true);
    assert_eq!(owner["capabilities"], serde_json::json!(["net_admin", "net_raw"]));
    let raw: Vec<_> = view
        .list("raw_sockets")
        .iter()
        .map(|one| {
            (
                one["kind"].as_str().unwrap(),
                one["protocol"].as_u64().unwrap(),
                one["device"].as_str(),
                one["process"].as_str(),
            )
        })
        .collect();
    assert_eq!(raw, [("raw", 89, None, Some("python3")), ("packet", 0x88cc, Some("eth0"), Some("python3"))]);

    let view = View::by_nobody(host);
    let waiting = view.listener(8081, "host");
    assert_eq!(
        (waiting["pid"].as_u64(), waiting["user"].as_str()),
        (None, Some("root")),
        "the socket itself says that much"
    );
    view.assert_gap("the owners of");
    view.assert_gap("descriptors of");
    drop(activator);
}

const RULES: &str = "
table inet guard {
  chain input {
    type filter hook input priority 0; policy drop;
    tcp dport 22 accept
  }
}
table ip6 asleep {
  flags dormant
  chain input {
    type filter hook input priority 0; policy drop;
  }
}
";

#[test]
fn rules_of_every_backend_are_read_and_nothing_is_changed() {
    let programs = ["nft", "iptables-nft", "iptables-legacy", "ipset", "iptables-legacy-save"];
    let Some((mut lab, number)) = machine("rules of every backend", &programs) else { return };
    lab.add_host(11);
    let (host, other) = (lab.host(number), lab.host(11));
    host.nft(RULES);
    finish(host.command("ipset").args(["create", "blocked", "hash:ip"]));
    finish(host.command("ipset").args(["add", "blocked", "198.18.0.99"]));
    let accept = [
        "-A",
        "FORWARD",
        "-m",
        "addrtype",
        "--dst-type",
        "LOCAL",
        "-m",
        "comment",
        "--comment",
        "by hand",
        "-j",
        "ACCEPT",
    ];
    finish(host.command("iptables-nft").args(accept));
    let mut legacy = host.command("iptables-legacy");
    legacy.env("XTABLES_LOCKFILE", host.directory.join("lock"));
    finish(legacy.args(["-A", "INPUT", "-m", "set", "--match-set", "blocked", "src", "-j", "DROP"]));
    finish(host.command("ip").args(["rule", "add", "fwmark", "7", "lookup", "77", "pref", "100"]));
    finish(host.command("ip").args(["route", "add", "203.0.113.0/24", "via", "198.18.0.1", "table", "77"]));
    let before = (traces(host), traces(other));

    let view = View::by_root(host);
    let network = &view.namespace("host")["network"];
    let firewall = &network["firewall"];
    assert!(firewall["nft"]["nftables"].as_array().is_some_and(|objects| objects.len() > 5), "{firewall:#}");
    assert_eq!(firewall["nft_dormant"], serde_json::json!(["ip6 asleep"]));
    let dump = |backend: &str| {
        let dumps = firewall["iptables"].as_array().unwrap();
        let found: Vec<&str> =
            dumps.iter().filter(|one| one["backend"] == backend).filter_map(|one| one["text"].as_str()).collect();
        assert_eq!(found.len(), 1, "{dumps:#?}");
        found[0].to_owned()
    };
    assert!(dump("nft").contains("-A FORWARD -m addrtype --dst-type LOCAL -m comment --comment \"by hand\" -j ACCEPT"));
    assert!(dump("legacy").contains("-A INPUT -m set --match-set blocked src -j DROP"));
    assert!(firewall["ipset"].as_str().unwrap().contains("add blocked 198.18.0.99"), "{firewall:#}");
    assert_eq!(firewall["empty"], serde_json::json!(["ip6tables-legacy"]));
    assert!(
        network["policy_rules"].as_array().unwrap().iter().any(|rule| rule["priority"] == 100 && rule["table"] == 77)
    );
    let routes = network["routes"].as_array().unwrap();
    assert!(routes.iter().any(|route| route["table"] == 77 && route["gateway"] == "198.18.0.1"), "{routes:#?}");
    assert_eq!(network["sysctls"]["ipv4.ip_forward"], "0");
    assert_eq!(network["sysctls"]["ipv4.conf.eth0.route_localnet"], "0");

    // A machine without rules: nothing to print, and no tool makes a table by looking.
    let view = View::by_root(other);
    let firewall = &view.namespace("host")["network"]["firewall"];
    assert_eq!(firewall["empty"], serde_json::json!(["nft", "iptables-legacy", "ip6tables-legacy"]));
    let view = View::by_nobody(host);
    assert!(view.namespace("host")["network"]["firewall"].is_null(), "not read is not the same as no rules");
    view.assert_gap("nft rules of");
    view.assert_gap("legacy iptables rules of");

    assert_eq!(before, (traces(host), traces(other)), "nothing is left behind");
}

/// nft 1.0.6 ends its JSON at the first of them; without a chain it always does.
const SLEEPING: &str = "
table bridge asleep {
  flags dormant
}
table inet guard {
  chain input {
    type filter hook input priority 0; policy drop;
    tcp dport 22 accept
  }
}
table inet later {
  set friends {
    type ipv4_addr
    elements = { 198.18.0.1 }
  }
  chain input {
    type filter hook input priority 10; policy accept;
    ip saddr @friends tcp dport 22 reject with tcp reset
  }
}
";

#[test]
fn a_dormant_table_hides_no_other() {
    let Some((lab, number)) = machine("a dormant table", &["nft"]) else { return };
    let host = lab.host(number);
    host.nft(SLEEPING);
    let view = View::by_root(host);
    let firewall = &view.namespace("host")["network"]["firewall"];
    assert_eq!(firewall["nft_dormant"], serde_json::json!(["bridge asleep"]));
    let objects = firewall["nft"]["nftables"].as_array().unwrap_or_else(|| panic!("{:#}", view.0["gaps"]));
    let of = |kind: &str| objects.iter().filter(|one| one[kind]["family"] == "inet").count();
    assert_eq!((of("table"), of("chain"), of("rule"), of("set")), (2, 2, 2, 1), "{firewall:#}");
    assert!(!view.has_gap("nft rules of"), "{:#}", view.0["gaps"]);
    // And they are evaluated.
    let saved = host.directory.join("host.json");
    fs::write(&saved, view.0.to_string()).unwrap();
    let saved = saved.display().to_string();
    for (port, path) in [("22", "reject"), ("23", "drop")] {
        let to = format!("198.18.0.10:{port}/tcp");
        let outcome = lab.postern(&["explain", &saved, "--to", &to, "--from", "198.18.0.1", "-o", "json"]).run();
        assert_eq!(outcome.report()["path"], path, "{}", outcome.shown());
    }
}

/// What looking at a machine might change: tables, namespaces, files of /run, mounts. (Those of namespaces that were there
/// when the machine was made go away with the tests they belong to.)
fn traces(host: &Host) -> Vec<String> {
    let script = "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft list tables; ls /proc/self/ns | wc -l; \
                  find /run -xdev; ip netns list; lsns -t net -n -o NS 2>/dev/null | sort; cut -d' ' -f2 /proc/mounts | grep -v /netns/";
    let text = finish(host.command("sh").args(["-c", script]));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_tool_that_is_missing_is_a_gap() {
    let Some((lab, number)) = machine("a missing tool", &["nft", "mount"]) else { return };
    let host = lab.host(number);
    host.nft(RULES);
    // In the host's own mount namespace: nft is an empty file there that nobody may run.
    let nothing = host.directory.join("nothing");
    fs::write(&nothing, "").unwrap();
    let nft = finish(host.command("sh").args(["-c", "command -v nft"]));
    assert!(Path::new(nft.trim()).is_absolute());
    finish(host.command("mount").args(["--bind", &nothing.display().to_string(), nft.trim()]));
    let view = View::by_root(host);
    assert!(view.namespace("host")["network"]["firewall"]["nft"].is_null());
    view.assert_gap("nft rules of");
}
