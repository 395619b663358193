//! The command line as clap parses it: spelling only.
#![expect(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the comments are the help: brackets and angles have their meaning there"
)]

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::values::{address, endpoint, number, share};
use super::{EngineChoice, OutputSpec, TransmitChoice};
use crate::model::{Endpoint, Severity, Shard};

/// Finds network services that can be reached although nobody meant them to be, and says why.
#[derive(Debug, Parser)]
#[command(name = "postern", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    /// More of what happens, on stderr (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// No progress bar and no notes on stderr; errors stay
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

const EXIT_CODES: &str = "\
Exit codes of scan, audit and correlate:
  0  clean: everything asked for was looked at, nothing at or above --fail-on
  1  failed
  2  wrong usage or configuration
  3  findings at or above --fail-on
  4  incomplete: no such finding, but something could not be looked at";

const EXPLAIN_EXIT_CODES: &str = "\
Exit codes:
  0  the packet was followed; `path` is unknown only where `unknown` says what it depends on
  1  failed
  2  wrong usage, or a report that cannot be read
  4  incomplete: rules on the packet's way were not read, `gaps` says which and what would settle it";

const TEST_EXIT_CODES: &str = "\
Exit codes:
  0  the port is open and was asked; `service` says what answered
  1  failed
  2  wrong usage or configuration
  4  nothing was asked: the port is closed, silent or rejected, `state` and `reason` say which";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The main job: sweep, probe, take the host's own word, correlate. Without a target: this host, as a neighbour on
    /// its network sees it
    Audit(AuditArgs),
    /// Sweep and probe, without the inside view
    Scan(ScanArgs),
    /// The inside view of this machine: every listening socket in every network namespace, and who owns it
    Host(HostArgs),
    /// The verdicts of audit, offline: a saved scan joined with host reports
    Correlate(CorrelateArgs),
    /// What a host's own firewall does with a packet, rule by rule, from a saved host report
    #[command(after_help = EXPLAIN_EXIT_CODES)]
    Explain(ExplainArgs),
    /// The probe definitions
    #[command(subcommand)]
    Probes(ProbesCommand),
    /// What --vantage ssh:// runs on the other machine: a job on stdin, a report on stdout
    #[command(hide = true)]
    Look,
    /// What a raw sweep starts this program as: a job and sockets on stdin
    #[command(hide = true)]
    Sweeping,
}

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// Addresses, CIDR, ranges (198.18.0.1-50), host names, @FILE, - for stdin
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,

    /// What a host says of itself: a `postern host -o json` report, an ss, netstat, lsof or osquery listing, or
    /// ssh://[USER@]HOST[:PORT] to take the report there, before the sweep and after it. With ADDRESS= in front it is
    /// taken as the report of that address. Repeats
    #[arg(long = "host-report", value_name = "[ADDRESS=]FROM")]
    pub host_reports: Vec<String>,

    #[command(flatten)]
    pub sweep: SweepArgs,

    #[command(flatten)]
    pub result: ResultArgs,

    #[command(flatten)]
    pub ssh: SshArgs,
}

/// How machines are asked over ssh: keys and agent only, and host keys must be known already.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Host reports and vantages over ssh")]
pub struct SshArgs {
    /// In place of ~/.ssh/config and /etc/ssh/ssh_config. Host keys are checked whatever it says
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// Machines at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = number::<usize>, allow_negative_numbers = true)]
    pub ssh_parallel: usize,

    /// For one machine, log-in and copying included
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = number::<u32>, allow_negative_numbers = true)]
    pub ssh_timeout: u32,

    /// Copied to a private directory, run and removed where no `postern` is installed; this program itself where it is
    /// static (`cargo static`) and fits the machine. Repeats, for other machine types
    #[arg(long = "static-binary", value_name = "FILE")]
    pub static_binaries: Vec<PathBuf>,

    /// Run nothing of ours there: ss, ip, nft, iptables-save and files of /proc
    #[arg(long)]
    pub agentless: bool,
}

#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// Addresses, CIDR, ranges (198.18.0.1-50), host names, @FILE, - for stdin
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<String>,

    #[command(flatten)]
    pub sweep: SweepArgs,

    #[command(flatten)]
    pub result: ResultArgs,

    #[command(flatten)]
    pub ssh: SshArgs,
}

#[derive(Debug, clap::Args)]
pub struct SweepArgs {
    /// TCP ports: 22,80,8000-8100, `all`, `probes` (every port that a probe definition names), `none`
    #[arg(short, long, value_name = "PORTS", default_value = "probes", allow_negative_numbers = true)]
    pub ports: String,

    /// UDP ports likewise; `probes` when the value is left out. audit asks them unless `--udp=none`
    #[arg(long, value_name = "PORTS", num_args = 0..=1, default_missing_value = "probes", require_equals = true)]
    pub udp: Option<String>,

    /// Never to be asked: same syntax as TARGET
    #[arg(long, value_name = "TARGET")]
    pub exclude: Vec<String>,

    /// From where to look: an interface; netns:NAME or netns:PID, a network namespace; container:NAME, a container's;
    /// neighbour, a throwaway namespace beside this host, for its own addresses; self, over lo; ssh://[USER@]HOST[:PORT],
    /// another machine. Repeats: several give a matrix. Default: the route's interface; for audit without targets
    /// neighbour where root, else self
    #[arg(long = "vantage", value_name = "PLACE")]
    pub vantages: Vec<String>,

    /// Who sweeps TCP: syn sends raw packets (root, or CAP_NET_RAW), connect asks the kernel for connections; auto is syn
    /// where this may
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,

    /// How syn sends frames: xdp by AF_XDP, which passes by this machine's queueing disciplines, egress rules and captures;
    /// kernel keeps to them; auto is xdp where it works
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub transmit: TransmitChoice,

    /// Sweep until so much of what would answer is found, with 95 % certainty: 0.999. Default: until less than a tenth of a
    /// port is expected to be missing (syn only)
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    pub recall: Option<f64>,

    /// Sweep part I of N: the N parts together are everything, and nothing twice
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,

    /// Send at most N probes a second in all
    #[arg(long, value_name = "N|max", default_value = "max", allow_negative_numbers = true)]
    pub rate: String,

    /// Send at most N probes a second to one host
    #[arg(long, value_name = "N|max", default_value = "5000", allow_negative_numbers = true)]
    pub host_rate: String,

    /// Connection attempts under way at once (default: what the descriptor limit allows)
    #[arg(long, value_name = "N", value_parser = number::<usize>, allow_negative_numbers = true)]
    pub parallel: Option<usize>,

    /// Do not ask what answers: states of ports only
    #[arg(long)]
    pub no_probes: bool,

    /// Probe ports whose owners are known to fall over (printers print, controllers stop), too
    #[arg(long, conflicts_with = "no_probes")]
    pub probe_fragile: bool,

    #[command(flatten)]
    pub definitions: DefinitionArgs,

    /// Allow targets outside private, shared, loopback, link-local, benchmark and documentation ranges
    #[arg(long)]
    pub allow_public: bool,

    /// Print targets, packets and time; send nothing
    #[arg(long)]
    pub plan: bool,
}

/// Which probe definitions are used.
#[derive(Debug, clap::Args)]
pub struct DefinitionArgs {
    /// Probe definitions of your own, over the built-in ones of the same name
    #[arg(long = "probes", value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ResultArgs {
    /// table, json or ndjson; with =PATH to a file instead of stdout. Repeats
    #[arg(short, long = "output", value_name = "FORMAT[=PATH]")]
    pub outputs: Vec<OutputSpec>,

    /// Exit with 3 from this severity on: critical, high, medium, low, info
    #[arg(long, value_name = "SEVERITY", default_value = "high")]
    pub fail_on: Severity,
}

#[derive(Debug, clap::Args)]
pub struct HostArgs {
    /// ssh://[USER@]HOST[:PORT]: that machine's inside view instead of this one's
    #[arg(value_name = "ssh://…", group = "listing")]
    pub machine: Option<String>,

    /// table or json; with =PATH to a file instead of stdout. Repeats
    #[arg(short, long = "output", value_name = "FORMAT[=PATH]", value_parser = OutputSpec::document)]
    pub outputs: Vec<OutputSpec>,

    /// Read an `ss -tulpn` listing (- for stdin) instead of asking this machine
    #[arg(long, value_name = "FILE", group = "listing")]
    pub from_ss: Option<PathBuf>,

    /// Read a `netstat -tulpn` listing
    #[arg(long, value_name = "FILE", group = "listing")]
    pub from_netstat: Option<PathBuf>,

    /// Read an `lsof -i -Pn` listing
    #[arg(long, value_name = "FILE", group = "listing")]
    pub from_lsof: Option<PathBuf>,

    /// Read the JSON of osquery's `listening_ports`
    #[arg(long, value_name = "FILE", group = "listing")]
    pub from_osquery: Option<PathBuf>,

    #[command(flatten)]
    pub ssh: SshArgs,
}

#[derive(Debug, clap::Args)]
pub struct CorrelateArgs {
    /// A report that `postern scan -o json` or `audit -o json` wrote (- for stdin)
    #[arg(long, value_name = "FILE")]
    pub scan: PathBuf,

    /// As for audit, but files only; repeats
    #[arg(long = "host-report", value_name = "[ADDRESS=]FILE", required = true)]
    pub host_reports: Vec<String>,

    #[command(flatten)]
    pub definitions: DefinitionArgs,

    #[command(flatten)]
    pub result: ResultArgs,
}

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// What `postern host -o json` wrote there, as root (- for stdin)
    #[arg(value_name = "HOSTREPORT")]
    pub report: PathBuf,

    /// Destination of the packet: ADDRESS:PORT/tcp, for IPv6 [ADDRESS]:PORT/udp
    #[arg(long, value_name = "ADDR:PORT/tcp", value_parser = endpoint)]
    pub to: Endpoint,

    /// Source of the packet
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub from: IpAddr,

    /// Interface that it comes in by; the one by which the way back to --from leads when left out
    #[arg(long, value_name = "IF")]
    pub iif: Option<String>,

    /// table or json; with =PATH to a file instead of stdout. Repeats
    #[arg(short, long = "output", value_name = "FORMAT[=PATH]", value_parser = OutputSpec::document)]
    pub outputs: Vec<OutputSpec>,
}

#[derive(Debug, Subcommand)]
pub enum ProbesCommand {
    /// All definitions with their ports
    List {
        /// table or json; with =PATH to a file instead of stdout. Repeats
        #[arg(short, long = "output", value_name = "FORMAT[=PATH]", value_parser = OutputSpec::document)]
        outputs: Vec<OutputSpec>,
        #[command(flatten)]
        definitions: DefinitionArgs,
    },
    /// One definition as it is written
    Show {
        /// As `postern probes list` calls it
        name: String,
        #[command(flatten)]
        definitions: DefinitionArgs,
    },
    /// Check a definition: syntax, triage answers, examples
    Check {
        /// A <service>.toml
        file: PathBuf,
    },
    /// Ask one endpoint with one definition
    #[command(after_help = TEST_EXIT_CODES)]
    Test {
        /// The definition, as `postern probes list` calls it
        name: String,
        /// ADDRESS:PORT, for IPv6 [ADDRESS]:PORT; /udp behind it for UDP
        #[arg(value_parser = endpoint)]
        endpoint: Endpoint,
        /// Allow an address outside private, shared, loopback, link-local, benchmark and documentation ranges
        #[arg(long)]
        allow_public: bool,
        /// Ask on a port whose owners are known to fall over (printers print, controllers stop), too
        #[arg(long)]
        probe_fragile: bool,
        #[command(flatten)]
        definitions: DefinitionArgs,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
