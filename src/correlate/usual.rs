//! What a port that gave no answer usually is: the service whose port it is, unless its owner is known to be another.

use std::collections::BTreeMap;

use super::takes::holds_for_others;
use crate::model::host_report::Listener;
use crate::model::report::EndpointEntry;
use crate::model::{ServiceFacts, Transport};

/// The service whose usual port this is. A process that is known decides, be it alone on the port or among several; where
/// none is, the port's only service may be meant.
pub fn service<'a>(entry: &EndpointEntry, facts: &'a BTreeMap<String, ServiceFacts>) -> Option<&'a ServiceFacts> {
    let mut usual = facts.values().filter(|facts| {
        let ports = if entry.transport == Transport::Tcp { &facts.tcp_ports } else { &facts.udp_ports };
        ports.contains(&entry.port)
    });
    match entry.listener.as_deref().and_then(owner) {
        Some(process) => usual.find(|facts| facts.processes.iter().any(|name| is_named(process, name))),
        None => usual.next().filter(|_| usual.next().is_none()),
    }
}

/// The process that would answer; `None` where it is not known, or only holds the socket for another one.
fn owner(listener: &Listener) -> Option<&str> {
    listener.process.as_deref().filter(|_| !holds_for_others(listener))
}

/// The kernel keeps 15 bytes of a name (TASK_COMM_LEN).
fn is_named(process: &str, name: &str) -> bool {
    process == name || (process.len() == 15 && name.starts_with(process))
}
