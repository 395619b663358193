//! Detects ports that are open from outside although they are bound to, or published on, loopback only.
//!
//! Cannot know: by which translation or proxy they leak; the ruleset tells, and it is not read yet. Another service
//! that a translation leads to may answer in place of the one on loopback.

use super::HostCase;
use crate::model::{Finding, Severity, Verdict};

pub const NAME: &str = "leaked-local";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let leaked = host.cases.iter().filter(|case| case.entry.verdict == Some(Verdict::LeakedLocal));
    leaked
        .map(|case| {
            let severity = case.service_severity().max(Severity::High);
            let title = match &case.entry.via {
                Some(via) => format!("{} is meant for {via} alone and reached through it from outside", case.title()),
                None => format!("{} is bound to loopback and reachable from outside", case.title()),
            };
            case.finding(NAME, severity, case.confidence, title)
        })
        .collect()
}
