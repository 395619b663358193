//! Detects services whose definition rates their mere reachability low or worse, though they ask for authentication
//! or no probe could tell whether they do.
//!
//! Cannot know: whether the credentials are good, nor who is meant to reach the service.

use super::HostCase;
use crate::model::{Access, Finding, Severity};

pub const NAME: &str = "reachable-service";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let open = host.cases.iter().filter(|case| case.is_reachable());
    open.filter_map(|case| {
        let service = case.entry.service.as_ref().filter(|service| service.severity >= Severity::Low)?;
        let title = match service.access {
            // Those have rules of their own.
            Access::Unauthenticated | Access::Forbidden => return None,
            Access::AuthenticationRequired => format!("{} can be reached; it asks for authentication", case.title()),
            Access::ClientCertificateRequired => {
                format!("{} can be reached; it asks for a client certificate", case.title())
            }
            Access::Unknown => {
                format!("{} can be reached; whether it asks for authentication is unknown", case.title())
            }
        };
        let mut finding = case.finding(NAME, service.severity, case.reach_confidence(), title);
        if !service.summary.is_empty() {
            finding.why.insert(0, service.summary.clone());
        }
        Some(finding)
    })
    .collect()
}
