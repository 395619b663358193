//! What a run works with: the arguments, resolved and checked.

use std::net::IpAddr;
use std::path::PathBuf;

use super::args::{AuditArgs, CorrelateArgs, HostArgs, ResultArgs, ScanArgs, SweepArgs, host_report_source};
use super::{Destination, Format, OutputSpec};
use crate::model::Severity;
use crate::model::host_report::Source;

/// `postern scan`, and the outside half of `postern audit`.
#[derive(Clone, Debug)]
pub struct ScanSettings {
    pub targets: Vec<String>,
    pub exclude: Vec<String>,
    /// As written; resolved against the probe definitions by the run. `None`: the transport is not swept.
    pub tcp_ports: Option<String>,
    pub udp_ports: Option<String>,
    /// Probes per second in all and to one host; `None` is as fast as it goes.
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub parallel: Option<usize>,
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
    pub result: ResultSettings,
}

/// `postern host`.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// A listing to read instead of asking this machine.
    pub listing: Option<(Source, PathBuf)>,
    pub outputs: Vec<OutputSpec>,
}

/// A host report given by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReportSource {
    /// The address that it is of, when the operator says so.
    pub address: Option<IpAddr>,
    /// `-` is stdin.
    pub path: PathBuf,
}

/// An argument that parses and makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UsageError {
    #[error("--{option} `{value}` is no rate; hint: a number above 0, or `max`")]
    Rate { option: &'static str, value: String },
    #[error("--parallel 0 asks nothing; hint: leave it out, or give at least 1")]
    Parallel,
    #[error("-o {format} goes to stdout twice; hint: give one of them a file: -o {format}=FILE")]
    TwiceOnStdout { format: &'static str },
    #[error("`{path}` is to be written twice; hint: give each -o a file of its own")]
    SameFile { path: String },
    #[error("{options} both read stdin; hint: save one of them to a file")]
    TwiceFromStdin { options: String },
    #[error("neither TCP nor UDP ports are left to ask; hint: drop `-p none`, or add --udp")]
    NoPorts,
    #[error("host has no {format} output; hint: -o table or -o json")]
    HostFormat { format: &'static str },
}

impl ScanSettings {
    pub fn from_args(args: ScanArgs) -> Result<Self, UsageError> {
        let udp = args.sweep.udp.clone();
        Self::new(args.targets, args.sweep, udp, args.result)
    }

    fn new(
        targets: Vec<String>,
        sweep: SweepArgs,
        udp: Option<String>,
        result: ResultArgs,
    ) -> Result<Self, UsageError> {
        let wanted = |ports: String| (ports != "none").then_some(ports);
        let tcp_ports = wanted(sweep.ports);
        let udp_ports = udp.and_then(wanted);
        if tcp_ports.is_none() && udp_ports.is_none() {
            return Err(UsageError::NoPorts);
        }
        if sweep.parallel == Some(0) {
            return Err(UsageError::Parallel);
        }
        Ok(Self {
            targets,
            exclude: sweep.exclude,
            tcp_ports,
            udp_ports,
            rate: rate("rate", &sweep.rate)?,
            host_rate: rate("host-rate", &sweep.host_rate)?
                .map(|per_second| u32::try_from(per_second).unwrap_or(u32::MAX)),
            parallel: sweep.parallel,
            probes: match (sweep.no_probes, sweep.probe_fragile) {
                (true, _) => ProbeUse::None,
                (false, true) => ProbeUse::Fragile,
                (false, false) => ProbeUse::Safe,
            },
            probes_dir: sweep.probes_dir,
            allow_public: sweep.allow_public,
            plan: sweep.plan,
            result: ResultSettings::from_args(result)?,
        })
    }
}

impl AuditSettings {
    pub fn from_args(args: AuditArgs) -> Result<Self, UsageError> {
        let udp = Some(args.sweep.udp.clone().unwrap_or_else(|| "probes".to_owned()));
        let host_reports = HostReportSource::from_args(&args.host_reports);
        let stdin_targets = args.targets.iter().chain(&args.sweep.exclude).any(|target| target == "-");
        if stdin_targets && host_reports.iter().any(HostReportSource::is_stdin) {
            return Err(UsageError::TwiceFromStdin { options: "TARGET and --host-report".to_owned() });
        }
        stdin_once(&host_reports)?;
        Ok(Self { scan: ScanSettings::new(args.targets, args.sweep, udp, args.result)?, host_reports })
    }
}

impl CorrelateSettings {
    pub fn from_args(args: CorrelateArgs) -> Result<Self, UsageError> {
        let host_reports = HostReportSource::from_args(&args.host_reports);
        stdin_once(&host_reports)?;
        if args.scan.as_os_str() == "-" && host_reports.iter().any(HostReportSource::is_stdin) {
            return Err(UsageError::TwiceFromStdin { options: "--scan and --host-report".to_owned() });
        }
        Ok(Self { scan: args.scan, host_reports, result: ResultSettings::from_args(args.result)? })
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
        .find_map(|(source, path)| path.map(|path| (source, path)));
        let outputs = outputs(args.outputs)?;
        if outputs.iter().any(|output| output.format == Format::Ndjson) {
            return Err(UsageError::HostFormat { format: "ndjson" });
        }
        Ok(Self { listing, outputs })
    }
}

impl ResultSettings {
    fn from_args(args: ResultArgs) -> Result<Self, UsageError> {
        Ok(Self { outputs: outputs(args.outputs)?, fail_on: args.fail_on })
    }
}

impl HostReportSource {
    fn from_args(args: &[String]) -> Vec<Self> {
        args.iter()
            .map(|text| {
                let (address, path) = host_report_source(text);
                Self { address, path: PathBuf::from(path) }
            })
            .collect()
    }

    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

fn stdin_once(host_reports: &[HostReportSource]) -> Result<(), UsageError> {
    if host_reports.iter().filter(|source| source.is_stdin()).count() > 1 {
        return Err(UsageError::TwiceFromStdin { options: "two --host-report".to_owned() });
    }
    Ok(())
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

fn outputs(given: Vec<OutputSpec>) -> Result<Vec<OutputSpec>, UsageError> {
    if given.is_empty() {
        return Ok(vec![OutputSpec::default_table()]);
    }
    for (position, output) in given.iter().enumerate() {
        for earlier in &given[..position] {
            if earlier.destination != output.destination {
                continue;
            }
            return Err(match &output.destination {
                Destination::Stdout => UsageError::TwiceOnStdout {
                    format: Format::ALL
                        .iter()
                        .find(|(_, format)| *format == output.format)
                        .map_or("table", |(name, _)| name),
                },
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
        assert_eq!(settings.scan.result.outputs, [OutputSpec::default_table()]);
    }

    #[test]
    fn udp_takes_no_following_target() {
        let settings = audit(&["--udp", "198.18.0.1"]).unwrap();
        assert_eq!(settings.scan.targets, ["198.18.0.1"]);
        assert_eq!(audit(&["--udp=none"]).unwrap().scan.udp_ports, None);
        assert_eq!(audit(&["--udp=none", "-p", "none"]).unwrap_err(), UsageError::NoPorts);
    }

    #[test]
    fn names_values_that_make_no_sense() {
        assert!(audit(&["--rate", "0"]).unwrap_err().to_string().contains("--rate `0`"));
        assert!(audit(&["--host-rate", "fast"]).unwrap_err().to_string().contains("`fast`"));
        assert_eq!(audit(&["--parallel", "0"]).unwrap_err(), UsageError::Parallel);
        assert!(matches!(audit(&["-o", "json", "-o", "table"]), Err(UsageError::TwiceOnStdout { .. })));
        assert!(matches!(audit(&["-o", "json=a", "-o", "table=a"]), Err(UsageError::SameFile { .. })));
        assert!(matches!(audit(&["-", "--host-report", "-"]), Err(UsageError::TwiceFromStdin { .. })));
    }
}
