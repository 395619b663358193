//! The only wiring: stages, channels, cancellation, progress.
//!
//! [`audit`] holds the main job and its halves; [`outside`] sweeps and probes, [`inside`] takes the hosts' own word,
//! [`assemble`] folds what was seen into the hosts of a report, [`sink`] writes results.

pub mod assemble;
pub mod audit;
pub mod identity;
pub mod inside;
pub mod interrupt;
pub mod outside;
pub mod probes;
pub mod progress;
pub mod sink;
pub mod source;

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use crate::cli::{Args, AuditSettings, Command, CorrelateSettings, Exit, HostSettings, ScanSettings, UsageError};
use crate::host;
use crate::net::addresses::NetlinkError;
use crate::probe::{Catalogue, CatalogueError, DefinitionError, ExampleFailure, ProberError};
use crate::report::json::ReadError;
use crate::targets::ports::PortsError;
use crate::targets::{GuardError, LoadError};
use progress::ShowProgress;
use sink::{Sink, SinkError};

/// Runs what the command line asks for; errors go to stderr.
pub fn main(args: Args) -> Exit {
    let show = if args.quiet { ShowProgress::Never } else { ShowProgress::OnTerminal };
    log_to_stderr(&args);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}; hint: are there threads and descriptors left (ulimit -u, -n)?"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(command(args.command, show)) {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error.to_string());
            error.exit()
        }
    }
}

async fn command(command: Command, show: ShowProgress) -> Result<Exit, RunError> {
    match command {
        Command::Audit(args) => audit::audit_with_inside(AuditSettings::from_args(args)?, show).await,
        Command::Scan(args) => audit::scan(ScanSettings::from_args(args)?, show).await,
        Command::Correlate(args) => audit::correlate(CorrelateSettings::from_args(args)?).await,
        Command::Host(args) => host_report(HostSettings::from_args(args)?).await,
        Command::Probes(args) => probes::run(args).await,
    }
}

/// `postern host`.
async fn host_report(settings: HostSettings) -> Result<Exit, RunError> {
    let sink = Sink::open(&settings.outputs)?;
    let report = match &settings.listing {
        Some((source, path)) => {
            let (name, text) = inside::read_text(path)?;
            host::listing::parse(*source, &text, &name)?
        }
        None => inside::collect().await.map_err(RunError::Collect)?,
    };
    sink.finish_host(&report)?;
    Ok(Exit::Clean)
}

/// The built-in definitions, with those of `directory` over them.
pub fn catalogue(directory: Option<&Path>) -> Result<Arc<Catalogue>, RunError> {
    let catalogue = match directory {
        Some(directory) => Catalogue::with_overrides(directory)?,
        None => Catalogue::builtin(),
    };
    Ok(Arc::new(catalogue))
}

/// A command that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Targets(#[from] LoadError),
    #[error(transparent)]
    Ports(#[from] PortsError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("no address is left to ask; hint: are all targets excluded?")]
    NoTargets,
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Example(#[from] ExampleFailure),
    #[error("{file}: {missing}; hint: `postern probes show etcd` is a complete definition")]
    IncompleteDefinition { file: String, missing: String },
    #[error("no definition is called `{name}`; hint: `postern probes list` names them")]
    NoSuchProbe { name: String },
    #[error("{0}")]
    HostReport(host::ReadError),
    #[error(transparent)]
    Listing(#[from] host::listing::ListingError),
    #[error(transparent)]
    Scan(ReadError),
    #[error("cannot read {name}: {error}; hint: is it a file that you may read?")]
    Read { name: String, error: io::Error },
    #[error("{0}")]
    Collect(String),
    #[error(transparent)]
    Prober(#[from] ProberError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("cannot listen for Ctrl-C: {0}; hint: is a seccomp filter at work?")]
    Signals(io::Error),
    #[error("cannot write to stdout: {0}; hint: is the other end of the pipe still there?")]
    Stdout(io::Error),
}

impl RunError {
    /// What the operator wrote is wrong usage; all else is failure.
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Targets(_)
            | Self::Ports(_)
            | Self::Guard(_)
            | Self::NoTargets
            | Self::Catalogue(_)
            | Self::Definition(_)
            | Self::Example(_)
            | Self::IncompleteDefinition { .. }
            | Self::NoSuchProbe { .. }
            | Self::HostReport(_)
            | Self::Listing(_)
            | Self::Scan(_)
            | Self::Read { .. } => Exit::Usage,
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Clean,
            _ => Exit::Failed,
        }
    }
}

/// Writes a line of results to stdout.
pub(crate) fn print_line(line: &str) -> Result<(), RunError> {
    writeln!(io::stdout().lock(), "{line}").map_err(RunError::Stdout)
}

fn complain(message: &str) {
    // Nothing is left to tell it to when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "postern: {}", crate::report::escape::text(message, 4000));
}

/// Notes of a run on stderr: warnings always unless quiet, the run's log line with -v, more with -vv.
fn log_to_stderr(args: &Args) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => tracing::Level::ERROR,
        (false, 0) => tracing::Level::WARN,
        (false, 1) => tracing::Level::INFO,
        (false, _) => tracing::Level::DEBUG,
    };
    let filter = tracing_subscriber::filter::EnvFilter::new(format!("error,postern={level}"));
    // Fails only when a subscriber is set already, as in tests.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}
