//! Detects sockets that take both families and are open in one while something stops packets in the other: a firewall
//! that was written for IPv4 only, or the other way round.
//!
//! Cannot know: what stops the one where the host's report lacks its rules; nor services that differ by family behind
//! one port number when the host report does not tell their sockets apart.

use super::{Case, HostCase};
use crate::model::host_report::Listener;
use crate::model::{Finding, PortState, Severity};

pub const NAME: &str = "family-gap";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let open = host.cases.iter().filter(|case| case.is_reachable() && case.entry.listener.is_some());
    open.filter_map(|case| {
        let stopped = host.cases.iter().find(|other| is_stopped_twin(case, other))?;
        let (family, other_family) = if case.entry.address.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let title = format!("{} is open over {family} and stopped over {other_family}", case.title());
        let severity = case.service_severity().max(Severity::Medium);
        let mut finding = case.finding(NAME, severity, case.reach_confidence().min(case.confidence), title);
        let reason = format!(
            "{} is open; {} is {} ({}), and a socket of the same owner takes both.",
            case.entry.endpoint(),
            stopped.entry.endpoint(),
            stopped.entry.state,
            stopped.entry.reason
        );
        // What stops the other one, where the rules tell.
        let by = stopped.entry.also.iter().find(|sentence| sentence.starts_with("It is stopped by"));
        finding.why.splice(0..0, std::iter::once(reason).chain(by.map(|by| format!("{other_family}: {by}"))));
        Some(finding)
    })
    .collect()
}

/// The same port of the same owner in the other family, with something in the way.
fn is_stopped_twin(case: &Case<'_>, other: &Case<'_>) -> bool {
    let (one, two) = (case.entry, other.entry);
    let same_port = (one.transport, one.port) == (two.transport, two.port);
    let other_family = one.address.is_ipv4() != two.address.is_ipv4();
    let same_owner = match (&one.listener, &two.listener) {
        (Some(one), Some(two)) => {
            // A proxy of an engine has a process for each family.
            let owner = |listener: &Listener| (listener.process.clone(), listener.container.clone());
            let same_pid = one.pid == two.pid || one.container.is_some();
            one == two || (one.process.is_some() && same_pid && owner(one) == owner(two))
        }
        _ => false,
    };
    same_port && other_family && same_owner && two.state == PortState::Filtered
}
