//! Detects services with an expired certificate: somebody forgot them.
//!
//! Cannot know: whether the clients check certificates at all.

use super::HostCase;
use crate::model::{Finding, Severity};

pub const NAME: &str = "certificate-expired";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let open = host.cases.iter().filter(|case| case.is_reachable());
    open.filter_map(|case| {
        let tls = case.entry.service.as_ref()?.tls.as_ref().filter(|tls| tls.expired)?;
        let title = format!("{} has an expired certificate", case.title());
        let mut finding = case.finding(NAME, Severity::Info, case.reach_confidence(), title);
        let when = tls.not_after.as_deref().unwrap_or("a time it does not say");
        finding.why.insert(0, format!("The certificate was valid until {when}."));
        Some(finding)
    })
    .collect()
}
