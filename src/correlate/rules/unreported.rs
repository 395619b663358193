//! Detects ports that are open although the host reports no socket that could take them: NodePorts, translations into
//! namespaces that nobody looks at, IPVS, eBPF, hidden processes.
//!
//! Cannot know: which of these it is, as the ruleset is not read yet; nor sockets in namespaces that the report could
//! not enter, which a plain listing never does.

use super::HostCase;
use crate::model::{Finding, Severity, Verdict};

pub const NAME: &str = "unreported";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let unreported = host.cases.iter().filter(|case| case.entry.verdict == Some(Verdict::Unreported));
    unreported
        .map(|case| {
            let severity = case.service_severity().max(Severity::High);
            let title = format!("{} is open and the host reports no socket for it", case.title());
            case.finding(NAME, severity, case.confidence, title)
        })
        .collect()
}
