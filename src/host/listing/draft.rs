//! The host report of a listing while it is being read.

use std::collections::BTreeSet;

use super::error::command;
use super::rows::Row;
use crate::host::client;
use crate::model::Transport;
use crate::model::host_report::{HostReport, Listener, Namespace, OWN_WORD, OWN_WORD_OF_ROOT, Source};
use crate::model::report::Gap;

/// Collects listeners and gaps; [`Draft::finish`] adds what every listing of this kind cannot show.
#[derive(Debug)]
pub(super) struct Draft {
    source: Source,
    pub listeners: Vec<Listener>,
    pub namespaces: Vec<Namespace>,
    pub gaps: Vec<Gap>,
}

impl Draft {
    pub(super) fn new(source: Source) -> Self {
        Self { source, listeners: Vec::new(), namespaces: Vec::new(), gaps: Vec::new() }
    }

    /// Lines that were taken for neither row nor header.
    pub(super) fn strange(&mut self, lines: &[Row]) {
        let Some(first) = lines.first() else { return };
        self.gaps.push(Gap {
            what: format!("{} lines of the listing, first line {}", lines.len(), first.line),
            cause: format!("not a row of {}", self.source.as_str()),
            settled_by: format!("the unedited output of `{}`", command(self.source)),
            incomplete: false,
        });
    }

    pub(super) fn finish(mut self) -> HostReport {
        client::mark(&mut self.listeners, |_| client::DEFAULT_EPHEMERAL);
        self.listeners.sort_by(|a, b| {
            let key = |listener: &Listener| {
                (listener.namespace.clone(), listener.transport, listener.port, listener.address, listener.pid)
            };
            key(a).cmp(&key(b))
        });
        self.listeners.dedup();
        self.limits();
        HostReport {
            namespaces: self.namespaces,
            listeners: self.listeners,
            gaps: self.gaps,
            ..HostReport::of(UNKNOWN_ID, self.source)
        }
    }

    fn limits(&mut self) {
        let name = self.source.as_str();
        let by_ss = format!("`ss -tulpn`, or {OWN_WORD}");
        let by_root = format!("`{}` as root, or {OWN_WORD_OF_ROOT}", command(self.source));
        let mut gap = |what: String, cause: String, settled_by: &str| {
            self.gaps.push(Gap { what, cause, settled_by: settled_by.to_owned(), incomplete: false });
        };
        gap(WHEN_AND_WHERE.to_owned(), format!("{name} does not say"), OWN_WORD_OF_ROOT);
        let others = match self.source {
            Source::Osquery => "osquery sees only the namespaces of processes that it may look into",
            _ => "the listing shows the namespace that it was taken in",
        };
        gap("sockets in other network namespaces (containers)".to_owned(), others.to_owned(), OWN_WORD_OF_ROOT);
        let wildcards: BTreeSet<u16> = self
            .listeners
            .iter()
            .filter(|listener| {
                listener.v6only.is_none() && listener.address.is_ipv6() && listener.address.is_unspecified()
            })
            .map(|listener| listener.port)
            .collect();
        if !wildcards.is_empty() {
            let settled = if self.source == Source::Ss { OWN_WORD } else { &by_ss };
            gap(
                format!("whether the IPv6 sockets on port {} take IPv4 too", list(&wildcards)),
                format!("{name} does not show v6-only"),
                settled,
            );
        }
        if self.source != Source::Ss {
            gap(
                "which sockets are bound to one interface only (SO_BINDTODEVICE)".to_owned(),
                format!("{name} does not show it"),
                &by_ss,
            );
        }
        let total = self.listeners.len();
        let nameless = self.listeners.iter().filter(|one| one.pid.is_some() && one.process.is_none()).count();
        if nameless > 0 {
            gap(
                format!("the names of the owners of {nameless} of {total} sockets"),
                "only their pids are in the listing".to_owned(),
                &format!("a join with osquery's processes table (name, path), or {OWN_WORD_OF_ROOT}"),
            );
        }
        let unowned = self.listeners.iter().filter(|one| one.pid.is_none() && one.process.is_none()).count();
        if unowned > 0 {
            gap(
                format!("the owners of {unowned} of {total} sockets"),
                format!("{name} did not name them: taken without root, or held by the kernel"),
                &by_root,
            );
        }
        // lsof goes by process and so leaves out, without a word, what belongs to processes it may not look into.
        if self.source == Source::Lsof {
            let users: BTreeSet<&str> = self.listeners.iter().filter_map(|one| one.user.as_deref()).collect();
            if users.len() == 1 && !users.contains("root") {
                gap(
                    "sockets of other users".to_owned(),
                    "every row is of one user: lsof was hardly run as root".to_owned(),
                    &by_root,
                );
            }
        }
    }
}

/// `80, 443`; at most sixteen.
fn list(ports: &BTreeSet<u16>) -> String {
    let shown: Vec<String> = ports.iter().take(SHOWN_PORTS).map(u16::to_string).collect();
    let more = if ports.len() > SHOWN_PORTS { ", …" } else { "" };
    shown.join(", ") + more
}

/// How a row's transport is written in messages: `80/tcp`.
pub(super) fn port_of(port: u16, transport: Transport) -> String {
    format!("{port}/{transport}")
}

/// The gap of every listing that comes without its circumstances.
pub(in crate::host) const WHEN_AND_WHERE: &str = "when the listing was taken, and the host's own addresses";

const SHOWN_PORTS: usize = 16;
/// A listing does not say whose it is.
const UNKNOWN_ID: &str = "unknown";
