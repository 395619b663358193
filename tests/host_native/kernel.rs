//! What only the kernel tells: units and LXC's containers by their cgroups, BPF programs, threads.

use serde_json::json;

use crate::plain::{LISTEN, machine, python};
use crate::support::{BPF, Cgroup, innermost};
use crate::view::View;

#[test]
fn units_and_lxc_by_cgroup() {
    let Some((lab, number)) = machine("cgroups", &["python3"]) else { return };
    let own = std::process::id();
    let (container, unit) = (format!("lab{own}"), format!("lab{own}.service"));
    let made = (Cgroup::new(&[&format!("lxc.payload.{container}")]), Cgroup::new(&[&format!("lab{own}.slice"), &unit]));
    let (Some(lxc), Some(service)) = made else {
        println!("SKIPPED: cgroups: none can be made here");
        return;
    };
    let host = lab.host(number);
    let inside = python(host, "inside", &["unshare", "-n"], LISTEN, &["7001"]);
    let outside = python(host, "outside", &[], LISTEN, &["7002"]);
    lxc.take(innermost(inside.id()));
    service.take(innermost(outside.id()));

    let view = View::by_root(host);
    let one = view.inside(&container, 7001);
    assert_eq!(one["namespace"], format!("container:{container}"));
    assert_eq!(view.container(&container)["engine"], "lxc");
    assert_eq!(view.listener(7002, "host")["unit"], unit);
    drop((inside, outside));
}

/// Programs without a compiler: two instructions each. XDP passes, tcx goes on, the look-up passes.
/// Behind [`BPF`].
const PROGRAMS: &str = "
import socket, struct, time
kept = []
for what, kind, name, value, attach, expected in [
    ('xdp', 6, b'lab_gate', 2, 37, 37), ('tcx', 3, b'lab_tcx', -1, 46, 0), ('lookup', 30, b'lab_lookup', 1, 36, 36)]:
    code = ctypes.create_string_buffer(struct.pack('<BBhiBBhi', 0xb7, 0, 0, value, 0x95, 0, 0, 0), 16)
    licence = ctypes.create_string_buffer(b'GPL')
    fields = struct.pack('<IIQQIIQII16sII', kind, 2, ctypes.addressof(code), ctypes.addressof(licence),
        0, 0, 0, 0, 0, name, 0, expected)
    try:
        program = bpf(5, fields)
        target = os.open('/proc/self/ns/net', os.O_RDONLY) if what == 'lookup' else socket.if_nametoindex('eth0')
        kept.append((program, bpf(28, struct.pack('<IIII', program, target, attach, 0))))
        print('attached', what)
    except OSError as error:
        print('missing', what, error)
print('ready')
time.sleep(300)
";

#[test]
fn programs_before_every_rule_are_named() {
    let Some((lab, number)) = machine("BPF programs", &["python3"]) else { return };
    let host = lab.host(number);
    let programs = python(host, "programs", &[], &[BPF, PROGRAMS].concat(), &[]);
    let output = programs.output();
    let view = View::by_root(host);
    let network = &view.namespace("host")["network"];
    let interfaces = network["interfaces"].as_array().unwrap();
    let of_eth0 = &interfaces.iter().find(|one| one["name"] == "eth0").unwrap()["bpf"];
    let named = |what: &str, found: bool| match output.contains(&format!("attached {what}")) {
        true => assert!(found, "{what}: {of_eth0}, {}", network["bpf"]),
        false => println!("SKIPPED: BPF programs: {what}: this kernel has none: {output}"),
    };
    let has = |list: &serde_json::Value, name: &str| list.as_array().is_some_and(|all| all.contains(&json!(name)));
    named("xdp", has(of_eth0, "xdp:lab_gate"));
    named("tcx", has(of_eth0, "tcx-ingress:lab_tcx"));
    named("lookup", has(&network["bpf"], "sk-lookup:lab_lookup"));
}

/// The main thread is gone, another one listens; and a thread alone is in a namespace of its own.
const THREADS: &str = "
import ctypes, os, socket, threading, time
libc = ctypes.CDLL(None)
listener = socket.socket()
listener.bind(('0.0.0.0', 7001))
listener.listen(4)
def apart():
    libc.unshare(0x40000000)
    own = socket.socket()
    own.bind(('0.0.0.0', 7002))
    own.listen(4)
    print('ready')
    time.sleep(300)
threading.Thread(target=apart).start()
time.sleep(0.2)
libc.pthread_exit(None) if os.environ.get('LAB_EXIT') else time.sleep(300)
";

#[test]
fn sockets_of_threads() {
    let Some((lab, number)) = machine("threads", &["python3"]) else { return };
    let host = lab.host(number);
    let _threads = python(host, "threads", &[], THREADS, &[]);
    let view = View::by_root(host);
    assert_eq!(view.listener(7001, "host")["process"], "python3");
    let apart = view.listener(7002, "net:[");
    assert_eq!(apart["process"], "python3", "{apart:#}");
    let held = view.namespace(apart["namespace"].as_str().unwrap())["held_by"].to_string();
    assert!(held.contains("thread of "), "{held}");
}

#[test]
fn sockets_of_a_process_whose_first_thread_has_ended() {
    let Some((lab, number)) = machine("threads", &["python3"]) else { return };
    let host = lab.host(number);
    let _threads = python(host, "ended", &["env", "LAB_EXIT=1"], THREADS, &[]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let view = View::by_root(host);
    assert_eq!(view.listener(7001, "host")["process"], "python3");
    assert_eq!(view.listener(7002, "net:[")["process"], "python3");
}
