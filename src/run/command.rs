//! Runs the command of the command line; what goes wrong is told on stderr.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::interrupt::Interrupt;
use super::progress::ShowProgress;
use super::sink::Sink;
use super::{RunError, audit, explain, inside, probes, remote_look};
use crate::cli::settings::HostOf;
use crate::cli::{Args, AuditSettings, Command, CorrelateSettings, Exit, ExplainSettings, HostSettings, ScanSettings};
use crate::host;
use crate::probe::Catalogue;

/// Runs what the command line asks for; errors go to stderr.
pub fn main(args: Args) -> Exit {
    if matches!(args.command, Command::Sweeping) {
        return super::sweeping::serve();
    }
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
        // A reader that closed the pipe (head, less) has seen what it wanted.
        Err(error) if error.is_closed_stdout() => Exit::Clean,
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
        Command::Explain(args) => explain::explain(&ExplainSettings::from_args(args)?),
        Command::Host(args) => host_report(HostSettings::from_args(args)?).await,
        Command::Probes(args) => probes::run(args).await,
        Command::Look => remote_look::serve().await,
        // Done before there is a runtime.
        Command::Sweeping => Ok(Exit::Failed),
    }
}

/// `postern host`.
async fn host_report(settings: HostSettings) -> Result<Exit, RunError> {
    let sink = Sink::open(&settings.outputs)?;
    let report = match settings.of {
        HostOf::Listing(source, path) => {
            let (name, text) = inside::read_text(&path)?;
            host::listing::parse(source, &text, &name)?
        }
        HostOf::Remote(destination, remote) => {
            let interrupt = Interrupt::listen().map_err(RunError::Signals)?;
            inside::collect_remote(&destination, remote, &interrupt).await?
        }
        HostOf::ThisMachine => inside::collect().await.map_err(RunError::Collect)?,
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

/// Writes a line of results to stdout.
pub(super) fn print_line(line: &str) -> Result<(), RunError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(RunError::Stdout)
}

fn complain(message: &str) {
    // Nothing is left to tell it to when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "postern: {}", crate::report::escape::text(message, 4000));
}

/// Notes of a run on stderr, unless quiet: who runs it, when and from where; more with -v.
fn log_to_stderr(args: &Args) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => tracing::Level::ERROR,
        (false, 0) => tracing::Level::INFO,
        (false, 1) => tracing::Level::DEBUG,
        (false, _) => tracing::Level::TRACE,
    };
    let filter = tracing_subscriber::filter::EnvFilter::new(format!("error,postern={level}"));
    // Fails only when a subscriber is set already, as in tests.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        // It would tell of a stderr that is gone on that stderr, and panic.
        .log_internal_errors(false)
        .try_init();
}
