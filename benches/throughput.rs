//! Postern beside its peers, in the same run, on networks of this bench's own making.
//!
//! `cargo bench --bench throughput` builds two network namespaces joined by a veth pair; one kernel answers for 256 hosts
//! there (AnyIP). Each installed peer sweeps them in turn. Needs root; says so and skips otherwise. `-- --quick` is a
//! small run that only checks that everything is found.
#![expect(clippy::disallowed_methods, reason = "runs and times programs")]
#![allow(clippy::print_stdout, reason = "prints its table")]

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: throughput needs root for its network namespaces");
        return ExitCode::SUCCESS;
    }
    let case = if quick { Case { hosts: 32, ports: 200 } } else { Case { hosts: 256, ports: 1000 } };
    let lab = match Lab::build() {
        Ok(lab) => lab,
        Err(error) => {
            println!("FAILED: cannot build the namespaces: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{} hosts x {} TCP ports over a veth pair, {cores} cores", case.hosts, case.ports);
    let mut goals = Goals::default();

    lab.rules(Rules::Refused);
    let rows = measure(&lab, case, "closed ports refused", &[Peer::Postern, Peer::Nmap, Peer::RustScan]);
    goals.lost |= rows.iter().any(|row| row.peer == Peer::Postern && row.found < row.expected);
    goals.ratio(&rows, Peer::Nmap, 1.5);
    goals.ratio(&rows, Peer::RustScan, 4.0);

    lab.rules(Rules::Dropped { loss: false });
    let rows = measure(&lab, case, "all but 4 ports dropped", &[Peer::Postern, Peer::RustScan]);
    goals.lost |= rows.iter().any(|row| row.peer == Peer::Postern && row.found < row.expected);
    goals.ratio(&rows, Peer::RustScan, 2.0);

    lab.rules(Rules::Dropped { loss: true });
    let rows = measure(&lab, case, "the same, 1 % lost each way", &[Peer::Postern, Peer::RustScan]);
    goals.lost |= rows.iter().any(|row| row.peer == Peer::Postern && row.found < row.expected);

    for line in &goals.lines {
        println!("{line}");
    }
    if goals.lost {
        println!("FAIL: Postern lost open ports");
        return ExitCode::FAILURE;
    }
    println!("PASS: Postern found every open port");
    ExitCode::SUCCESS
}

#[derive(Clone, Copy)]
struct Case {
    hosts: u16,
    ports: u16,
}

/// Ports that are open on every host.
const OPEN: [u16; 4] = [22, 80, 113, 177];

/// A peer that hangs is ended after this long.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Postern,
    Nmap,
    RustScan,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Postern => "postern scan",
            Self::Nmap => "nmap -sT -T5",
            Self::RustScan => "rustscan",
        }
    }

    fn is_installed(self) -> bool {
        let program = match self {
            Self::Postern => return true,
            Self::Nmap => "nmap",
            Self::RustScan => "rustscan",
        };
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    fn command(self, case: Case) -> Command {
        let network = if case.hosts == 256 { "198.19.1.0/24" } else { "198.19.1.0/27" };
        let ports = format!("1-{}", case.ports);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{SCANNER}"));
        match self {
            Self::Postern => command.args([
                env!("CARGO_BIN_EXE_postern"),
                "scan",
                network,
                "-p",
                &ports,
                "--host-rate",
                "max",
                "--no-probes",
                "-q",
                "-o",
                "json",
            ]),
            Self::Nmap => command.args(["nmap", "-sT", "-T5", "-n", "-Pn", "-oG", "-", "-p", &ports, network]),
            // Its own timeout and one try, as it comes; the batch is what the descriptors allow.
            Self::RustScan => command.args([
                "rustscan",
                "-a",
                network,
                "-r",
                &ports,
                "-t",
                "500",
                "--tries",
                "1",
                "-b",
                "10000",
                "--ulimit",
                "20000",
                "--no-banner",
                "-g",
                "--scripts",
                "none",
            ]),
        };
        command
    }

    /// Open endpoints named in a peer's output.
    fn found(self, output: &str) -> usize {
        let found: BTreeSet<(String, u16)> = match self {
            Self::Postern => {
                let report: serde_json::Value = serde_json::from_str(output).unwrap_or_default();
                let hosts = report["hosts"].as_array().cloned().unwrap_or_default();
                hosts
                    .iter()
                    .flat_map(|host| host["endpoints"].as_array().cloned().unwrap_or_default())
                    .filter(|entry| entry["state"] == "open")
                    .map(|entry| {
                        (
                            entry["address"].as_str().unwrap_or_default().to_owned(),
                            entry["port"].as_u64().unwrap_or(0) as u16,
                        )
                    })
                    .collect()
            }
            // `Host: 198.19.1.7 ()	Ports: 22/open/tcp//ssh///, 80/open/tcp//http///	Ignored State: …`
            Self::Nmap => output
                .lines()
                .filter_map(|line| line.strip_prefix("Host: ")?.split_once("Ports: "))
                .flat_map(|(host, ports)| {
                    let host = host.split_whitespace().next().unwrap_or_default().to_owned();
                    let ports = ports.split('\t').next().unwrap_or_default().split(", ");
                    let open = ports.filter(|port| port.contains("/open/"));
                    open.filter_map(move |port| Some((host.clone(), port.split('/').next()?.trim().parse().ok()?)))
                        .collect::<Vec<_>>()
                })
                .collect(),
            // `198.19.1.7 -> [22,80]`
            Self::RustScan => output
                .lines()
                .filter_map(|line| line.split_once(" -> ["))
                .flat_map(|(host, ports)| {
                    let ports = ports.trim_end_matches(']').split(',').filter_map(|port| port.parse().ok());
                    ports.map(move |port| (host.to_owned(), port)).collect::<Vec<_>>()
                })
                .collect(),
        };
        found.len()
    }
}

struct Row {
    peer: Peer,
    wall: Duration,
    memory_kib: u64,
    found: usize,
    expected: usize,
}

fn measure(lab: &Lab, case: Case, title: &str, peers: &[Peer]) -> Vec<Row> {
    println!("\n{title}");
    println!("{:<14} {:>9} {:>11} {:>10} {:>12}", "", "wall", "probes/s", "memory", "found");
    let probes = u32::from(case.hosts) * u32::from(case.ports);
    let expected = usize::from(case.hosts) * OPEN.len();
    let mut rows = Vec::new();
    for &peer in peers {
        if !peer.is_installed() {
            println!("{:<14} not installed", peer.name());
            continue;
        }
        lab.settle();
        let Some((wall, memory_kib, output)) = run(peer.command(case)) else {
            println!("{:<14} ended after {LIMIT:?}", peer.name());
            continue;
        };
        let found = peer.found(&output);
        println!(
            "{:<14} {:>7.2} s {:>11.0} {:>6} MiB {:>6}/{expected}",
            peer.name(),
            wall.as_secs_f64(),
            f64::from(probes) / wall.as_secs_f64(),
            memory_kib / 1024,
            found
        );
        rows.push(Row { peer, wall, memory_kib, found, expected });
    }
    rows
}

/// Runs a peer: wall time, peak resident memory in KiB, standard output.
fn run(mut command: Command) -> Option<(Duration, u64, String)> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        // What cannot be read was not found, which the table shows.
        let _ = stdout.read_to_string(&mut output);
        output
    });
    let mut peak = 0;
    let wall = loop {
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let field = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = field.and_then(|field| field.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
            peak = peak.max(kib);
        }
        if child.try_wait().ok()?.is_some() {
            break started.elapsed();
        }
        if started.elapsed() > LIMIT {
            end(&mut child);
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Some((wall, peak, reader.join().ok()?))
}

#[derive(Default)]
struct Goals {
    lines: Vec<String>,
    lost: bool,
}

impl Goals {
    fn ratio(&mut self, rows: &[Row], peer: Peer, goal: f64) {
        let of = |wanted: Peer| rows.iter().find(|row| row.peer == wanted);
        let (Some(own), Some(other)) = (of(Peer::Postern), of(peer)) else { return };
        let ratio = other.wall.as_secs_f64() / own.wall.as_secs_f64();
        let verdict = if ratio >= goal { "PASS" } else { "FAIL" };
        self.lines.push(format!("{verdict}: {ratio:.1} x {} (goal {goal})", peer.name()));
        if own.memory_kib >= 100 * 1024 {
            self.lines.push(format!("FAIL: {} MiB of memory (goal: under 100)", own.memory_kib / 1024));
        }
    }
}

const SCANNER: &str = "pbench-scanner";
const TARGETS: &str = "pbench-targets";

#[derive(Clone, Copy)]
enum Rules {
    Refused,
    Dropped { loss: bool },
}

/// Two namespaces and the listeners in the second; all gone on drop.
struct Lab {
    listeners: Vec<Child>,
}

impl Lab {
    fn build() -> Result<Self, String> {
        let lab = Self { listeners: Vec::new() };
        lab.clear();
        for line in [
            format!("ip netns add {SCANNER}"),
            format!("ip netns add {TARGETS}"),
            format!("ip -n {SCANNER} link add pbench0 type veth peer name pbench1 netns {TARGETS}"),
            format!("ip -n {SCANNER} link set lo up"),
            format!("ip -n {TARGETS} link set lo up"),
            format!("ip -n {SCANNER} addr add 198.18.255.1/30 dev pbench0"),
            format!("ip -n {TARGETS} addr add 198.18.255.2/30 dev pbench1"),
            format!("ip -n {SCANNER} link set pbench0 up"),
            format!("ip -n {TARGETS} link set pbench1 up"),
            format!("ip -n {SCANNER} route add 198.19.1.0/24 via 198.18.255.2"),
            format!("ip -n {TARGETS} route add local 198.19.1.0/24 dev lo"),
        ] {
            shell(&line)?;
        }
        let mut lab = lab;
        for port in OPEN {
            // Accepts and closes; a small program that is everywhere where nmap's peers are.
            let listener = Command::new("nsenter")
                .arg(format!("--net=/run/netns/{TARGETS}"))
                .args(["python3", "-c", LISTENER, &port.to_string()])
                .spawn()
                .map_err(|error| format!("python3 for listeners: {error}"))?;
            lab.listeners.push(listener);
        }
        std::thread::sleep(Duration::from_millis(700));
        Ok(lab)
    }

    fn rules(&self, rules: Rules) {
        let mut text = "flush ruleset\n".to_owned();
        if let Rules::Dropped { loss } = rules {
            let lose = if loss { "numgen random mod 100 == 0 drop;" } else { "" };
            let open = OPEN.map(|port| port.to_string()).join(", ");
            text.push_str(&format!(
                "table ip bench {{\n chain in {{ type filter hook input priority 0; {lose} ip daddr 198.19.0.0/16 tcp \
                 dport {{ {open} }} accept; ip daddr 198.19.0.0/16 drop; }}\n chain out {{ type filter hook output \
                 priority 0; {lose} }}\n}}\n"
            ));
        }
        let path = std::env::temp_dir().join(format!("pbench-{}.nft", std::process::id()));
        let loaded = std::fs::write(&path, text)
            .map_err(|error| error.to_string())
            .and_then(|()| shell(&format!("nsenter --net=/run/netns/{TARGETS} nft -f {}", path.display())));
        let _ = std::fs::remove_file(&path);
        if let Err(error) = loaded {
            println!("nft: {error}");
        }
    }

    /// Lets connections of the peer before go.
    fn settle(&self) {
        std::thread::sleep(Duration::from_millis(500));
    }

    fn clear(&self) {
        for name in [SCANNER, TARGETS] {
            // Absent the first time.
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            end(listener);
        }
        self.clear();
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn shell(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

const LISTENER: &str = "
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('0.0.0.0', int(sys.argv[1])))
s.listen(4096)
s.settimeout(5)
end = time.time() + 900
while time.time() < end:
    try:
        s.accept()[0].close()
    except OSError:
        pass
";
