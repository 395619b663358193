//! The programs that are compared, each in its best documented setting, and what they say they found.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{ROUTER_MAC, SCANNER, SOURCE, inside};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Postern,
    PosternConnect,
    Masscan,
    NmapConnect,
    /// `-sS -T4`
    Nmap,
    /// `-sS --min-rate 20000`
    NmapRate,
    RustScan,
    /// One port a run.
    Zmap,
}

/// What is swept.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub network: &'static str,
    pub ports: &'static str,
    pub port: u16,
}

impl Peer {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postern => "postern",
            Self::PosternConnect => "postern connect",
            Self::Masscan => "masscan",
            Self::NmapConnect => "nmap -sT -T5",
            Self::Nmap => "nmap -sS -T4",
            Self::NmapRate => "nmap --min-rate",
            Self::RustScan => "rustscan",
            Self::Zmap => "zmap, one port",
        }
    }

    pub fn is_installed(self) -> bool {
        let program = match self {
            Self::Postern | Self::PosternConnect => return true,
            Self::Masscan => "masscan",
            Self::Nmap | Self::NmapConnect | Self::NmapRate => "nmap",
            Self::RustScan => "rustscan",
            Self::Zmap => "zmap",
        };
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    /// Seconds that it only waits at its end, by its own setting: not counted against it.
    pub const fn waits(self) -> f64 {
        match self {
            Self::Masscan => 2.0,
            Self::Zmap => 1.0,
            _ => 0.0,
        }
    }

    pub fn command(self, task: &Task) -> Command {
        let Task { network, ports, port } = *task;
        let mut command = inside(SCANNER);
        let postern = env!("CARGO_BIN_EXE_postern");
        match self {
            Self::Postern | Self::PosternConnect => {
                let engine = if self == Self::Postern { "syn" } else { "connect" };
                command.args([postern, "scan", "--engine", engine, network, "-p", ports]);
                command.args(["--host-rate", "max", "--no-probes", "-q", "-o", "json"])
            }
            Self::Masscan => command.args([
                "masscan",
                network,
                "-p",
                ports,
                "--rate",
                "10000000",
                "-e",
                "pbench0",
                "--source-ip",
                SOURCE,
                "--router-mac",
                ROUTER_MAC,
                "--wait",
                "2",
                "-oL",
                "-",
            ]),
            Self::NmapConnect => command.args(["nmap", "-sT", "-T5", "-n", "-Pn", "-oG", "-", "-p", ports, network]),
            Self::Nmap => command.args(["nmap", "-sS", "-T4", "-n", "-Pn", "-oG", "-", "-p", ports, network]),
            Self::NmapRate => {
                command.args(["nmap", "-sS", "--min-rate", "20000", "-n", "-Pn", "-oG", "-", "-p", ports, network])
            }
            // Its own timeout and one try, as it comes; the batch is what the descriptors allow.
            Self::RustScan => command.args([
                "rustscan",
                "-a",
                network,
                "-r",
                ports,
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
            // Its list of networks to leave alone names the benchmark network.
            Self::Zmap => command.args([
                "zmap",
                "-p",
                &port.to_string(),
                "-i",
                "pbench0",
                "-S",
                SOURCE,
                "-G",
                ROUTER_MAC,
                "-b",
                "/dev/null",
                "-r",
                "10000000",
                "-c",
                "1",
                "-q",
                "-o",
                "-",
                network,
            ]),
        };
        command
    }

    /// Open endpoints named in its output.
    pub fn found(self, output: &str, task: &Task) -> usize {
        let found: BTreeSet<(String, u16)> = match self {
            Self::Postern | Self::PosternConnect => {
                let report: Value = serde_json::from_str(output).unwrap_or_default();
                open_in(&report).into_iter().collect()
            }
            // `open tcp 22 198.19.1.7 1764300000`
            Self::Masscan => output
                .lines()
                .filter_map(|line| {
                    let mut words = line.strip_prefix("open tcp ")?.split(' ');
                    let port = words.next()?.parse().ok()?;
                    Some((words.next()?.to_owned(), port))
                })
                .collect(),
            // `Host: 198.19.1.7 ()	Ports: 22/open/tcp//ssh///, 80/open/tcp//http///	Ignored State: …`
            Self::Nmap | Self::NmapConnect | Self::NmapRate => output
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
            // An address a line.
            Self::Zmap => output
                .lines()
                .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
                .map(|line| (line.trim().to_owned(), task.port))
                .collect(),
        };
        found.len()
    }
}

/// Open endpoints of a report.
pub fn open_in(report: &Value) -> Vec<(String, u16)> {
    let hosts = report["hosts"].as_array().cloned().unwrap_or_default();
    hosts
        .iter()
        .flat_map(|host| host["endpoints"].as_array().cloned().unwrap_or_default())
        .filter(|entry| entry["state"] == "open")
        .map(|entry| {
            (entry["address"].as_str().unwrap_or_default().to_owned(), entry["port"].as_u64().unwrap_or(0) as u16)
        })
        .collect()
}
