//! Detects services that only the host's firewall protects: one layer, and one `flush ruleset` away from being open.
//!
//! Cannot know: what the service would answer, as nobody gets to it; the port tells what it probably is.

use super::HostCase;
use crate::model::{Finding, Severity, Verdict};

pub const NAME: &str = "guarded";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let guarded = host.cases.iter().filter(|case| case.entry.verdict == Some(Verdict::Guarded));
    guarded
        .map(|case| {
            let title = format!("{} is protected by one layer only: the host's firewall", case.title());
            case.finding(NAME, Severity::Info, case.confidence, title)
        })
        .collect()
}
