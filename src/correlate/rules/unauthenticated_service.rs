//! Detects services that answered a request which they should guard, without any credentials.
//!
//! Cannot know: whether the data behind it is worth guarding, nor whether a network policy lets only the scanner in.

use super::HostCase;
use crate::model::{Access, Finding};

pub const NAME: &str = "unauthenticated-service";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let open = host.cases.iter().filter(|case| case.is_reachable());
    open.filter_map(|case| {
        let service = case.entry.service.as_ref().filter(|service| service.access == Access::Unauthenticated)?;
        let title = format!("{} answers without authentication", case.title());
        let mut finding = case.finding(NAME, service.severity, case.reach_confidence(), title);
        let mut why = Vec::new();
        if !service.summary.is_empty() {
            why.push(service.summary.clone());
        }
        why.extend(service.evidence.iter().map(|evidence| {
            let detail = evidence.detail.as_ref().map_or_else(String::new, |detail| format!(" ({detail})"));
            format!("`{}` without credentials: {}{detail}.", evidence.request, evidence.status)
        }));
        finding.why.splice(0..0, why);
        Some(finding)
    })
    .collect()
}
