//! What a run works with: the arguments, resolved and checked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::args::{AuditArgs, CorrelateArgs, ExplainArgs, HostArgs, ResultArgs, ScanArgs, SshArgs, SweepArgs};
use super::host_reports::{self, HostReportSource};
use super::usage::UsageError;
use super::{Destination, EngineChoice, OutputSpec, TransmitChoice, VantageChoice};
use crate::host::remote::{RemoteSettings, SshDestination};
use crate::model::host_report::Source;
use crate::model::{Endpoint, PortRanges, Severity, Shard};

/// `postern scan`, and the outside half of `postern audit`.
#[derive(Clone, Debug)]
pub struct ScanSettings {
    pub targets: Vec<String>,
    pub exclude: Vec<String>,
    /// Empty: what fits the targets.
    pub vantages: Vec<VantageChoice>,
    /// How machines are asked over ssh.
    pub remote: RemoteSettings,
    /// As written; resolved against the probe definitions by the run. `None`: the transport is not swept.
    pub tcp_ports: Option<String>,
    pub udp_ports: Option<String>,
    /// Probes per second in all and to one host; `None` is as fast as it goes.
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub parallel: Option<usize>,
    pub engine: EngineChoice,
    pub transmit: TransmitChoice,
    /// Between 0 and 1.
    pub recall: Option<f64>,
    pub shard: Shard,
    pub probes: ProbeUse,
    pub probes_dir: Option<PathBuf>,
    pub allow_public: bool,
    pub plan: bool,
    pub result: ResultSettings,
}

/// Whether and how far services are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeUse {
    None,
    Safe,
    /// Fragile ports too.
    Fragile,
}

/// Where results go and when they are a failure.
#[derive(Clone, Debug)]
pub struct ResultSettings {
    pub outputs: Vec<OutputSpec>,
    pub fail_on: Severity,
}

/// `postern audit`.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    pub scan: ScanSettings,
    pub host_reports: Vec<HostReportSource>,
}

/// `postern correlate`.
#[derive(Clone, Debug)]
pub struct CorrelateSettings {
    pub scan: PathBuf,
    pub host_reports: Vec<HostReportSource>,
    pub probes_dir: Option<PathBuf>,
    pub result: ResultSettings,
}

/// `postern explain`.
#[derive(Clone, Debug)]
pub struct ExplainSettings {
    pub report: PathBuf,
    pub to: Endpoint,
    pub from: IpAddr,
    pub iif: Option<String>,
    pub outputs: Vec<OutputSpec>,
}

/// `postern host`.
#[derive(Clone, Debug)]
pub struct HostSettings {
    pub of: HostOf,
    pub outputs: Vec<OutputSpec>,
}

/// Whose inside view `postern host` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOf {
    ThisMachine,
    /// As a listing shows it.
    Listing(Source, PathBuf),
    Remote(SshDestination, RemoteSettings),
}

impl ScanSettings {
    pub fn from_args(args: ScanArgs) -> Result<Self, UsageError> {
        let udp = args.sweep.udp.clone();
        Self::new(args.targets, args.sweep, udp, (args.result, args.ssh))
    }

    fn new(
        targets: Vec<String>,
        sweep: SweepArgs,
        udp: Option<String>,
        (result, ssh): (ResultArgs, SshArgs),
    ) -> Result<Self, UsageError> {
        let wanted = |ports: String| (ports != "none").then_some(ports);
        let udp_without_value = sweep.udp.as_deref() == Some(PROBES);
        if let Some(value) = targets.iter().find(|target| udp_without_value && is_ports(target)) {
            return Err(UsageError::UdpValue { value: value.clone() });
        }
        let tcp_ports = wanted(sweep.ports);
        let udp_ports = udp.and_then(wanted);
        if tcp_ports.is_none() && udp_ports.is_none() {
            return Err(UsageError::NoPorts);
        }
        if sweep.engine == EngineChoice::Connect {
            let given =
                [("--recall", sweep.recall.is_some()), ("--transmit xdp", sweep.transmit == TransmitChoice::Xdp)];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(UsageError::RawOnly { option });
            }
        }
        Ok(Self {
            targets,
            exclude: sweep.exclude,
            vantages: vantages(&sweep.vantages)?,
            remote: remote(ssh),
            tcp_ports,
            udp_ports,
            rate: rate("rate", &sweep.rate)?,
            host_rate: rate("host-rate", &sweep.host_rate)?
                .map(|per_second| u32::try_from(per_second).unwrap_or(u32::MAX)),
            parallel: sweep.parallel,
            engine: sweep.engine,
            transmit: sweep.transmit,
            recall: sweep.recall,
            shard: sweep.shard.unwrap_or_default(),
            probes: match (sweep.no_probes, sweep.probe_fragile) {
                (true, _) => ProbeUse::None,
                (false, true) => ProbeUse::Fragile,
                (false, false) => ProbeUse::Safe,
            },
            probes_dir: sweep.definitions.directory,
            allow_public: sweep.allow_public,
            plan: sweep.plan,
            result: ResultSettings::from_args(result)?,
        })
    }
}

impl AuditSettings {
    pub fn from_args(args: AuditArgs) -> Result<Self, UsageError> {
        let udp = Some(args.sweep.udp.clone().unwrap_or_else(|| PROBES.to_owned()));
        let host_reports = HostReportSource::from_args(&args.host_reports)?;
        let stdin_targets = args.targets.iter().chain(&args.sweep.exclude).any(|target| target == "-");
        if stdin_targets && host_reports.iter().any(HostReportSource::is_stdin) {
            return Err(UsageError::TwiceFromStdin { options: "TARGET and --host-report".to_owned() });
        }
        host_reports::once_from_stdin(&host_reports)?;
        let scan = ScanSettings::new(args.targets, args.sweep, udp, (args.result, args.ssh))?;
        Ok(Self { scan, host_reports })
    }
}

impl CorrelateSettings {
    pub fn from_args(args: CorrelateArgs) -> Result<Self, UsageError> {
        let host_reports = HostReportSource::from_args(&args.host_reports)?;
        if let Some(value) = host_reports.iter().find_map(HostReportSource::destination) {
            return Err(UsageError::SshOffline { value: value.to_string() });
        }
        host_reports::once_from_stdin(&host_reports)?;
        if args.scan.as_os_str() == "-" && host_reports.iter().any(HostReportSource::is_stdin) {
            return Err(UsageError::TwiceFromStdin { options: "--scan and --host-report".to_owned() });
        }
        let result = ResultSettings::from_args(args.result)?;
        Ok(Self { scan: args.scan, host_reports, probes_dir: args.definitions.directory, result })
    }
}

impl ExplainSettings {
    pub fn from_args(args: ExplainArgs) -> Result<Self, UsageError> {
        let outputs = outputs_of(args.outputs)?;
        if args.to.address.is_ipv4() != args.from.is_ipv4() {
            return Err(UsageError::Families { to: args.to, from: args.from });
        }
        Ok(Self { report: args.report, to: args.to, from: args.from, iif: args.iif, outputs })
    }
}

impl HostSettings {
    pub fn from_args(args: HostArgs) -> Result<Self, UsageError> {
        let listing = [
            (Source::Ss, args.from_ss),
            (Source::Netstat, args.from_netstat),
            (Source::Lsof, args.from_lsof),
            (Source::Osquery, args.from_osquery),
        ]
        .into_iter()
        .find_map(|(source, path)| path.map(|path| HostOf::Listing(source, path)));
        let outputs = outputs_of(args.outputs)?;
        let of = match args.machine {
            Some(machine) => HostOf::Remote(host_reports::destination(&machine)?, remote(args.ssh)),
            None => listing.unwrap_or(HostOf::ThisMachine),
        };
        Ok(Self { of, outputs })
    }
}

impl ResultSettings {
    fn from_args(args: ResultArgs) -> Result<Self, UsageError> {
        Ok(Self { outputs: outputs_of(args.outputs)?, fail_on: args.fail_on })
    }
}

fn vantages(given: &[String]) -> Result<Vec<VantageChoice>, UsageError> {
    let mut choices: Vec<VantageChoice> = Vec::new();
    for value in given {
        let choice = value.parse().map_err(|problem| UsageError::Vantage { value: value.clone(), problem })?;
        if choices.contains(&choice) {
            return Err(UsageError::SameVantage { value: value.clone() });
        }
        choices.push(choice);
    }
    Ok(choices)
}

fn remote(args: SshArgs) -> RemoteSettings {
    RemoteSettings {
        ssh_config: args.ssh_config,
        agentless: args.agentless,
        static_binaries: args.static_binaries,
        parallel: args.ssh_parallel,
        limit: Duration::from_secs(args.ssh_timeout.into()),
    }
}

/// What PORTS are where nothing else is said.
const PROBES: &str = "probes";

/// Whether an argument among the targets can only have been meant as PORTS: a host is called by none of these.
fn is_ports(text: &str) -> bool {
    matches!(text, "none" | "all" | PROBES) || (!text.is_empty() && text.parse::<PortRanges>().is_ok())
}

fn rate(option: &'static str, value: &str) -> Result<Option<u64>, UsageError> {
    if value == "max" {
        return Ok(None);
    }
    match value.parse::<u64>() {
        Ok(per_second) if per_second > 0 => Ok(Some(per_second)),
        _ => Err(UsageError::Rate { option, value: value.to_owned() }),
    }
}

/// Where results go: a table on stdout where nothing is said, and nothing twice.
pub fn outputs_of(given: Vec<OutputSpec>) -> Result<Vec<OutputSpec>, UsageError> {
    if given.is_empty() {
        return Ok(vec![OutputSpec::default_table()]);
    }
    for (position, output) in given.iter().enumerate() {
        for earlier in &given[..position] {
            if earlier.destination != output.destination {
                continue;
            }
            return Err(match &output.destination {
                Destination::Stdout => UsageError::TwiceOnStdout { format: output.format.name() },
                Destination::File(path) => UsageError::SameFile { path: path.display().to_string() },
            });
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Args, Command};

    fn audit(line: &[&str]) -> Result<AuditSettings, UsageError> {
        match Args::try_parse_from([&["postern", "audit"], line].concat()).unwrap().command {
            Command::Audit(args) => AuditSettings::from_args(args),
            _ => panic!("not audit"),
        }
    }

    #[test]
    fn audit_asks_udp_and_probe_ports_by_default() {
        let settings = audit(&[]).unwrap();
        assert_eq!(settings.scan.tcp_ports.as_deref(), Some("probes"));
        assert_eq!(settings.scan.udp_ports.as_deref(), Some("probes"));
        assert_eq!(settings.scan.host_rate, Some(5000));
        assert_eq!(settings.scan.rate, None);
        assert_eq!((settings.scan.remote.parallel, settings.scan.remote.agentless), (8, false));
        assert_eq!(settings.scan.result.outputs, [OutputSpec::default_table()]);
    }

    #[test]
    fn udp_takes_no_following_target() {
        let settings = audit(&["--udp", "198.18.0.1"]).unwrap();
        assert_eq!(settings.scan.targets, ["198.18.0.1"]);
        for ports in ["53", "53,111-120", "none", "all"] {
            assert_eq!(audit(&["--udp", ports]).unwrap_err(), UsageError::UdpValue { value: ports.to_owned() });
        }
        assert!(audit(&["--udp=53", "none.lan"]).is_ok() && audit(&["--udp", "198.18.0.1-50"]).is_ok());
        assert_eq!(audit(&["--udp=none"]).unwrap().scan.udp_ports, None);
        assert_eq!(audit(&["--udp=none", "-p", "none"]).unwrap_err(), UsageError::NoPorts);
    }

    #[test]
    fn vantages_repeat_and_differ() {
        let settings = audit(&["--vantage", "neighbour", "--vantage", "container:web"]).unwrap();
        assert_eq!(settings.scan.vantages, [VantageChoice::Neighbour, VantageChoice::Container("web".to_owned())]);
        assert!(matches!(audit(&["--vantage", "moon:x"]), Err(UsageError::Vantage { .. })));
        assert!(matches!(audit(&["--vantage", "self", "--vantage", "self"]), Err(UsageError::SameVantage { .. })));
    }

    #[test]
    fn names_values_that_make_no_sense() {
        assert!(audit(&["--rate", "0"]).unwrap_err().to_string().contains("--rate `0`"));
        assert!(audit(&["--host-rate", "fast"]).unwrap_err().to_string().contains("`fast`"));
        for option in [&["--recall", "0.9"][..], &["--transmit", "xdp"]] {
            let error = audit(&[&["--engine", "connect"], option].concat()).unwrap_err();
            assert!(error.to_string().starts_with(&option.join(" ")[..8]), "{error}");
        }
        assert!(audit(&["--engine", "connect", "--transmit", "kernel"]).is_ok());
        assert!(matches!(audit(&["-o", "json", "-o", "table"]), Err(UsageError::TwiceOnStdout { .. })));
        assert!(matches!(audit(&["-o", "json=a", "-o", "table=a"]), Err(UsageError::SameFile { .. })));
        assert!(matches!(audit(&["-", "--host-report", "-"]), Err(UsageError::TwiceFromStdin { .. })));
    }
}
