//! Namespaces to sweep in, and what is read from reports.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use postern::net::namespace::NetworkNamespace;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

pub fn open_endpoints(report: &Value) -> usize {
    let hosts = report["hosts"].as_array().unwrap();
    hosts.iter().flat_map(|host| host["endpoints"].as_array().unwrap()).filter(|entry| entry["state"] == "open").count()
}

pub fn state_of(report: &Value, address: &str, port: u16) -> Option<(String, String)> {
    state_by_transport(report, address, "tcp", port)
}

pub fn state_by_transport(report: &Value, address: &str, transport: &str, port: u16) -> Option<(String, String)> {
    entry_of(report, address, transport, port)
        .map(|entry| (entry["state"].as_str().unwrap().to_owned(), entry["reason"].as_str().unwrap().to_owned()))
}

pub fn offender_of(report: &Value, address: &str, port: u16) -> Option<String> {
    entry_of(report, address, "tcp", port)?["offender"].as_str().map(str::to_owned)
}

/// The endpoint, or the folded group that holds it.
pub fn entry_of(report: &Value, address: &str, transport: &str, port: u16) -> Option<Value> {
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
pub enum OnAccept {
    Keep,
    Reset,
}

/// Two namespaces on a veth pair, without any other link; gone on drop.
pub struct Lab {
    pub scanner: String,
    pub target: String,
    more: Vec<String>,
}

/// Ends its thread on drop.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Lab {
    pub fn new(name: &str) -> Option<Self> {
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
        let lab = Self { scanner: format!("{unique}s"), target: format!("{unique}t"), more: Vec::new() };
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
    pub fn any_ip(&self) {
        run(Command::new("ip").args(["-n", &self.scanner, "route", "add", "198.19.0.0/16", "via", "198.18.0.2"]));
        run(Command::new("ip").args(["-n", &self.target, "route", "add", "local", "198.19.0.0/16", "dev", "lo"]));
    }

    pub fn nft(&self, rules: &str) {
        nft_in(&self.target, rules);
    }

    /// One more namespace, gone with the lab.
    pub fn namespace(&mut self, letter: &str) -> String {
        let name = format!("{}{letter}", self.scanner);
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        self.more.push(name.clone());
        name
    }

    /// Runs `work` inside the scanner's namespace.
    pub fn inside_scanner<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        NetworkNamespace::open(format!("/run/netns/{}", self.scanner).as_ref()).unwrap().inside(work).unwrap()
    }

    pub fn postern(&self, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.scanner)).arg(env!("CARGO_BIN_EXE_postern")).args(args);
        command
    }

    pub fn scan(&self, engine: &str, args: &[&str]) -> Value {
        let given = ["scan", "--engine", engine, "--no-probes", "-q", "-o", "json"];
        let output: Output = self.postern(&given).args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 4)), "{:?}: {errors}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
    }

    pub fn listen(&self, ports: &[u16], on_accept: OnAccept) -> Server {
        self.listen_in(&self.target, ports, on_accept)
    }

    pub fn listen_in(&self, namespace: &str, ports: &[u16], on_accept: OnAccept) -> Server {
        let ports = ports.to_vec();
        self.serve(namespace, move |stop| {
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

    pub fn echo(&self, port: u16) -> Server {
        self.serve(&self.target, move |stop| {
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

    /// Runs `serve` on a thread inside a namespace, once it is inside.
    fn serve(&self, namespace: &str, serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Server {
        let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
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
        for name in [&self.scanner, &self.target].into_iter().chain(&self.more) {
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

pub fn ip(line: &str) {
    run(Command::new("ip").args(line.split_whitespace()));
}

pub fn sysctl(namespace: &str, setting: &str) {
    run(Command::new("nsenter").args([&format!("--net=/run/netns/{namespace}"), "sysctl", "-qw", setting]));
}

pub fn nft_in(namespace: &str, rules: &str) {
    let mut command = Command::new("nsenter");
    command.args([&format!("--net=/run/netns/{namespace}"), "nft", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "nft refuses:\n{rules}");
}

pub fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", line_of(command), String::from_utf8_lossy(&output.stderr));
}

/// The target.
pub const FOUR: &str = "198.18.0.2";
/// The target over IPv6.
pub const SIX: &str = "2001:db8::2";

/// Every way of a rule to refuse, each at a port of its own.
pub const REFUSALS: &str = "table inet t { chain i { type filter hook input priority 0;
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
        }";

/// Address, port, state and reason.
pub type State = (&'static str, u16, &'static str, &'static str);

/// What the target tells under [`REFUSALS`], where nothing listens at 100.
pub const REFUSED: [State; 14] = [
    (FOUR, 100, "closed", "refused"),
    (FOUR, 101, "filtered", "icmp-port-unreachable"),
    (FOUR, 102, "filtered", "icmp-admin-prohibited"),
    (FOUR, 103, "filtered", "icmp-host-unreachable"),
    (FOUR, 104, "filtered", "icmp-net-unreachable"),
    (FOUR, 105, "filtered", "icmp-protocol-unreachable"),
    (FOUR, 106, "filtered", "icmp-net-prohibited"),
    (FOUR, 107, "filtered", "icmp-host-prohibited"),
    (FOUR, 110, "filtered", "no-answer"),
    // By the packets alone a reset by rule is a closed port.
    (FOUR, 111, "closed", "refused"),
    (SIX, 100, "closed", "refused"),
    (SIX, 101, "filtered", "icmp-port-unreachable"),
    (SIX, 102, "filtered", "icmp-admin-prohibited"),
    (SIX, 110, "filtered", "no-answer"),
];

pub fn assert_states(report: &Value, expected: &[State]) {
    for (address, port, state, reason) in expected {
        let found = state_of(report, address, *port);
        assert_eq!(found, Some(((*state).to_owned(), (*reason).to_owned())), "{address} port {port}");
    }
}
