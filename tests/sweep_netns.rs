//! The connect sweep against a real kernel: every way in which a port can answer, or not, in namespaces of our own.
//!
//! Needs root, `ip` and `nft`; prints `SKIPPED: …` otherwise.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs programs and opens sockets in namespaces; a failure of its own is a failed test"
)]

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Every port says what happened to it: RST, each ICMP code with its offender, silence, handshake, handshake and reset.
#[test]
fn states_and_reasons_are_told_apart() {
    let Some(lab) = Lab::new("states") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let resetting = lab.listen(&[23], OnAccept::Reset);
    lab.nft(
        "table inet t { chain i { type filter hook input priority 0;
            meta l4proto { icmp, icmpv6 } accept
            tcp dport 101 reject with icmpx type port-unreachable
            tcp dport 102 reject with icmpx type admin-prohibited
            tcp dport 103 reject with icmpx type host-unreachable
            tcp dport 104 reject with icmpx type no-route
            tcp dport 110 drop
            tcp dport 111 reject with tcp reset
        }
        }
        table ip four { chain i { type filter hook input priority -1;
            tcp dport 105 reject with icmp type prot-unreachable
            tcp dport 106 reject with icmp type net-prohibited
            tcp dport 107 reject with icmp type host-prohibited
        }
        }",
    );
    let report = lab.scan(&["198.18.0.2", "2001:db8::2", "-p", "22-23,100-107,110-111"]);
    let four = "198.18.0.2";
    let six = "2001:db8::2";
    for (address, port, state, reason) in [
        (four, 22, "open", "accepted"),
        (four, 23, "open", "accepted-then-reset"),
        (four, 100, "closed", "refused"),
        (four, 101, "filtered", "icmp-port-unreachable"),
        (four, 102, "filtered", "icmp-admin-prohibited"),
        (four, 103, "filtered", "icmp-host-unreachable"),
        (four, 104, "filtered", "icmp-net-unreachable"),
        (four, 105, "filtered", "icmp-protocol-unreachable"),
        (four, 106, "filtered", "icmp-net-prohibited"),
        (four, 107, "filtered", "icmp-host-prohibited"),
        (four, 110, "filtered", "no-answer"),
        // By the packets alone a reset by rule is a closed port.
        (four, 111, "closed", "refused"),
        (six, 22, "open", "accepted"),
        (six, 100, "closed", "refused"),
        (six, 101, "filtered", "icmp-port-unreachable"),
        (six, 102, "filtered", "icmp-admin-prohibited"),
        (six, 110, "filtered", "no-answer"),
    ] {
        let found = state_of(&report, address, port);
        assert_eq!(found, Some((state.to_owned(), reason.to_owned())), "{address} port {port}");
    }
    assert_eq!(offender_of(&report, four, 102), Some(four.to_owned()));
    drop((listener, resetting));
}

/// Nobody on the link has the address: no state for its ports, and the address among the silent ones, soon.
#[test]
fn absent_hosts_are_silent_and_cost_little() {
    let Some(lab) = Lab::new("absent") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let started = Instant::now();
    let report = lab.scan(&["198.18.0.0/25", "-p", "22,80,443"]);
    assert_eq!(state_of(&report, "198.18.0.2", 22), Some(("open".to_owned(), "accepted".to_owned())));
    assert_eq!(state_of(&report, "198.18.0.3", 22), None);
    let silent: Vec<&str> = report["silent"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        silent.contains(&"198.18.0.3") || silent.iter().any(|range| range.starts_with("198.18.0.3-")),
        "{silent:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    drop(listener);
}

/// One packet in a hundred is lost each way, all other ports are dropped: nothing is missing.
#[test]
fn nothing_is_missing_at_one_percent_loss() {
    let Some(lab) = Lab::new("loss") else { return };
    lab.any_ip();
    let ports = [22, 80, 443, 777, 8080, 9999];
    let listener = lab.listen(&ports, OnAccept::Keep);
    lab.nft(
        "table ip t {
            chain i { type filter hook input priority 0; numgen random mod 100 == 0 drop;
                ip daddr 198.19.0.0/16 tcp dport { 22, 80, 443, 777, 8080, 9999 } accept;
                ip daddr 198.19.0.0/16 drop; }
            chain o { type filter hook output priority 0; numgen random mod 100 == 0 drop; }
        }",
    );
    let report = lab.scan(&["198.19.1.0/26", "-p", "1-300,443,777,8080,9999"]);
    assert_eq!(open_endpoints(&report), 64 * ports.len());
    let rounds = report["run"]["sweep"]["rounds"].as_u64().unwrap();
    assert!(rounds >= 2, "{rounds} rounds");
    drop(listener);
}

/// Ten ephemeral ports and 80 descriptors: slower, and just as right.
#[test]
fn scarce_ports_and_descriptors_are_back_pressure() {
    let Some(lab) = Lab::new("scarce") else { return };
    let listener = lab.listen(&[22, 180], OnAccept::Keep);
    run(Command::new("nsenter")
        .args([&format!("--net=/run/netns/{}", lab.scanner), "sysctl", "-qw"])
        .arg("net.ipv4.ip_local_port_range=40000 40009"));
    let mut command = lab.postern(&["scan", "198.18.0.2", "-p", "1-400", "--no-probes", "-q", "-o", "json"]);
    let program = format!("ulimit -n 80; exec {}", line_of(&command));
    command = Command::new("bash");
    command.args(["-c", &program]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(open_endpoints(&report), 2);
    let closed = &report["hosts"][0]["other_ports"][0];
    assert_eq!((closed["state"].as_str(), closed["ports"].as_str()), (Some("closed"), Some("1-21,23-179,181-400")));
    drop(listener);
}

/// SIGINT in the middle: exit code 4, what was found is printed, the rest is not called filtered.
#[test]
fn an_interrupt_saves_what_was_found() {
    let Some(lab) = Lab::new("interrupt") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let args = ["scan", "198.18.0.2", "-p", "1-60000", "--rate", "2000", "--no-probes", "-q", "-o", "json"];
    let child = lab.postern(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // nsenter replaces itself by the program: the child is postern.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["run"]["status"], "interrupted");
    let groups = report["hosts"][0]["other_ports"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["state"] != "filtered"), "{groups:?}");
    assert!(groups.iter().any(|group| group["reason"] == "interrupted"), "{groups:?}");
    drop(listener);
}

/// UDP: a reply is open, an ICMP port-unreachable of the host is closed, silence is either.
#[test]
fn udp_states_are_told_apart() {
    let Some(lab) = Lab::new("udp") else { return };
    let echo = lab.echo(7777);
    lab.nft("table ip t { chain i { type filter hook input priority 0; udp dport 7779 drop; }\n}");
    let report = lab.scan(&["198.18.0.2", "-p", "none", "--udp=7777-7779"]);
    let udp = |port| state_by_transport(&report, "198.18.0.2", "udp", port);
    assert_eq!(udp(7777), Some(("open".to_owned(), "udp-reply".to_owned())));
    assert_eq!(udp(7778), Some(("closed".to_owned(), "icmp-port-unreachable".to_owned())));
    assert_eq!(udp(7779), Some(("open|filtered".to_owned(), "no-answer".to_owned())));
    drop(echo);
}

fn open_endpoints(report: &Value) -> usize {
    let hosts = report["hosts"].as_array().unwrap();
    hosts.iter().flat_map(|host| host["endpoints"].as_array().unwrap()).filter(|entry| entry["state"] == "open").count()
}

fn state_of(report: &Value, address: &str, port: u16) -> Option<(String, String)> {
    state_by_transport(report, address, "tcp", port)
}

fn state_by_transport(report: &Value, address: &str, transport: &str, port: u16) -> Option<(String, String)> {
    entry_of(report, address, transport, port)
        .map(|entry| (entry["state"].as_str().unwrap().to_owned(), entry["reason"].as_str().unwrap().to_owned()))
}

fn offender_of(report: &Value, address: &str, port: u16) -> Option<String> {
    entry_of(report, address, "tcp", port)?["offender"].as_str().map(str::to_owned)
}

/// The endpoint, or the folded group that holds it.
fn entry_of(report: &Value, address: &str, transport: &str, port: u16) -> Option<Value> {
    let host = report["hosts"].as_array()?.iter().find(|host| host["address"] == address)?;
    let endpoints = host["endpoints"].as_array()?.iter();
    let found = endpoints.clone().find(|entry| entry["port"] == port && entry["transport"] == transport);
    found.cloned().or_else(|| {
        let holds = |group: &&Value| {
            let ports: postern::model::PortRanges = group["ports"].as_str().unwrap_or_default().parse().unwrap();
            group["transport"] == transport && ports.contains(port)
        };
        host["other_ports"].as_array()?.iter().find(holds).cloned()
    })
}

/// What a listener does with a connection.
#[derive(Clone, Copy)]
enum OnAccept {
    Keep,
    Reset,
}

/// Two namespaces on a veth pair, without any other link; gone on drop.
struct Lab {
    scanner: String,
    target: String,
}

/// Ends its thread on drop.
struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Lab {
    fn new(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: sweep {name}: needs root");
            return None;
        }
        for program in ["ip", "nft", "nsenter"] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("SKIPPED: sweep {name}: needs {program}");
                return None;
            }
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("psw{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let lab = Self { scanner: format!("{unique}s"), target: format!("{unique}t") };
        let (scanner, target) = (&lab.scanner, &lab.target);
        for line in [
            format!("netns add {scanner}"),
            format!("netns add {target}"),
            format!("-n {scanner} link add eth0 type veth peer name eth0 netns {target}"),
            format!("-n {scanner} link set lo up"),
            format!("-n {target} link set lo up"),
            format!("-n {scanner} addr add 198.18.0.1/24 dev eth0"),
            format!("-n {target} addr add 198.18.0.2/24 dev eth0"),
            format!("-n {scanner} addr add 2001:db8::1/64 dev eth0 nodad"),
            format!("-n {target} addr add 2001:db8::2/64 dev eth0 nodad"),
            format!("-n {scanner} link set eth0 up"),
            format!("-n {target} link set eth0 up"),
        ] {
            run(Command::new("ip").args(line.split(' ')));
        }
        for setting in ["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"] {
            run(Command::new("nsenter").args([&format!("--net=/run/netns/{target}"), "sysctl", "-qw", setting]));
        }
        Some(lab)
    }

    /// 198.19.0.0/16 is the target, too.
    fn any_ip(&self) {
        run(Command::new("ip").args(["-n", &self.scanner, "route", "add", "198.19.0.0/16", "via", "198.18.0.2"]));
        run(Command::new("ip").args(["-n", &self.target, "route", "add", "local", "198.19.0.0/16", "dev", "lo"]));
    }

    fn nft(&self, rules: &str) {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/run/netns/{}", self.target), "nft", "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "nft refuses:\n{rules}");
    }

    fn postern(&self, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.scanner)).arg(env!("CARGO_BIN_EXE_postern")).args(args);
        command
    }

    fn scan(&self, args: &[&str]) -> Value {
        let output: Output = self.postern(&["scan", "--no-probes", "-q", "-o", "json"]).args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 4)), "{:?}: {errors}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
    }

    fn listen(&self, ports: &[u16], on_accept: OnAccept) -> Server {
        let ports = ports.to_vec();
        self.serve(move |stop| {
            let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            let listeners: Vec<TcpListener> =
                ports.iter().map(|port| TcpListener::bind(SocketAddr::new(any, *port)).unwrap()).collect();
            for listener in &listeners {
                listener.set_nonblocking(true).unwrap();
            }
            let mut kept = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for listener in &listeners {
                    while let Ok((stream, _)) = listener.accept() {
                        match on_accept {
                            OnAccept::Keep => kept.push(stream),
                            OnAccept::Reset => {
                                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                            }
                        }
                    }
                }
                kept.truncate(64);
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    }

    fn echo(&self, port: u16) -> Server {
        self.serve(move |stop| {
            let socket = std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(b"hello", from).unwrap();
                }
            }
        })
    }

    /// Runs `serve` on a thread inside the target's namespace, once it is inside.
    fn serve(&self, serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Server {
        let namespace = File::open(format!("/run/netns/{}", self.target)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            serve(&stopped);
        });
        std::thread::sleep(Duration::from_millis(150));
        assert!(!thread.is_finished(), "the server could not start");
        Server { stop, thread: Some(thread) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.scanner, &self.target] {
            // Nothing more can be done about one that stays.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that failed has already said so.
            let _ = thread.join();
        }
    }
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", line_of(command), String::from_utf8_lossy(&output.stderr));
}
