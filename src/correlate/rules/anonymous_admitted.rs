//! Detects services that admit anonymous clients and only then refuse the request: one wrong authorisation rule away
//! from being open.
//!
//! Cannot know: which other requests anonymous clients are allowed.

use super::HostCase;
use crate::model::{Access, Finding, Severity};

pub const NAME: &str = "anonymous-admitted";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let open = host.cases.iter().filter(|case| case.is_reachable());
    open.filter_map(|case| {
        let service = case.entry.service.as_ref().filter(|service| service.access == Access::Forbidden)?;
        let title = format!("{} admits anonymous clients and refuses the request", case.title());
        let severity = service.severity.max(Severity::Low);
        let mut finding = case.finding(NAME, severity, case.reach_confidence(), title);
        if !service.summary.is_empty() {
            finding.why.insert(0, service.summary.clone());
        }
        Some(finding)
    })
    .collect()
}
