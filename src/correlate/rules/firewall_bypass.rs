//! Detects ports that are open although the host's INPUT rules refuse them: the packet is translated or forwarded before
//! those rules are asked.
//!
//! Cannot know: whether a rule that lets the scanner pass would stop others (the path is evaluated for the scanner's own
//! address), nor what stands between other networks and the host.

use super::HostCase;
use crate::model::{Finding, Severity, Verdict};

pub const NAME: &str = "firewall-bypass";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let missed = host.cases.iter().filter(|case| case.entry.verdict == Some(Verdict::FirewallBypass));
    missed
        .map(|case| {
            let severity = case.service_severity().max(Severity::High);
            let title = format!("{} gets by the firewall that is believed to stop it", case.title());
            case.finding(NAME, severity, case.confidence, title)
        })
        .collect()
}
