//! Why a command could not do its work, and which exit code says so.

use std::io;

use super::sink::SinkError;
use crate::cli::{Exit, UsageError};
use crate::host;
use crate::net::NetlinkError;
use crate::probe::{CatalogueError, DefinitionError, ExampleFailure, ProberError};
use crate::report::json::ReadError;
use crate::targets::ports::PortsError;
use crate::targets::{GuardError, LoadError};

/// A command that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Targets(#[from] LoadError),
    #[error("{option}: {error}")]
    Ports { option: &'static str, error: PortsError },
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
    #[error(
        "{name} has no routes and no rules of the host's own namespace; hint: take it with `postern host -o json` as root \
         on that machine"
    )]
    NoRules { name: String },
    #[error(
        "{name}: the rules of namespace `host` cannot be read: {}; hint: take the report anew with `postern host -o json` as \
         root on that machine",
        .problems.join("; ")
    )]
    BrokenRules { name: String, problems: Vec<String> },
    #[error("{name} has no interface `{iif}`; hint: --iif takes one of {}", .known.join(", "))]
    NoInterface { name: String, iif: String, known: Vec<String> },
    #[error("cannot read {name}: {error}; hint: is it a file that you may read?")]
    Read { name: String, error: io::Error },
    #[error("{0}")]
    Collect(String),
    #[error("{0}; hint: is it a file that you may read, and a program for --static-binary?")]
    Remote(host::remote::Failure),
    #[error(transparent)]
    Prober(#[from] ProberError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("cannot look from another network namespace: {0}; hint: root (CAP_SYS_ADMIN) may")]
    Namespace(io::Error),
    #[error("{name}: {failure}; hint: {hint}")]
    RemoteLook { name: String, failure: host::remote::Failure, hint: String },
    #[error("the job on stdin: {0}; hint: it comes from another version of postern")]
    Job(String),
    /// Nobody is called as the operator wrote.
    #[error("--vantage {0}")]
    UnknownVantage(String),
    #[error("no vantage is left: {0}")]
    NoVantage(String),
    #[error("cannot start a runtime: {0}; hint: are there threads and descriptors left (ulimit -u, -n)?")]
    Runtime(io::Error),
    #[error("cannot listen for Ctrl-C: {0}; hint: is a seccomp filter at work?")]
    Signals(io::Error),
    #[error("cannot write to stdout: {0}; hint: is there room for it where stdout leads?")]
    Stdout(io::Error),
}

impl RunError {
    /// Whether the reader of stdout went away.
    pub fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the operator wrote is wrong usage; all else is failure.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Targets(_)
            | Self::Ports { .. }
            | Self::Guard(_)
            | Self::NoRules { .. }
            | Self::BrokenRules { .. }
            | Self::NoInterface { .. }
            | Self::NoTargets
            | Self::UnknownVantage(_)
            | Self::Catalogue(_)
            | Self::Definition(_)
            | Self::Example(_)
            | Self::IncompleteDefinition { .. }
            | Self::NoSuchProbe { .. }
            | Self::HostReport(_)
            | Self::Listing(_)
            | Self::Remote(_)
            | Self::Scan(_)
            | Self::Job(_)
            | Self::Read { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
