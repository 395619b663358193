//! Detects ports that are open although the host's own rules, evaluated for this very packet, stop it.
//!
//! Cannot know: which of XDP or tc programs, hardware, a box in front of the host or a change of the rules it is; nor
//! whether the report is of the machine that answered.

use super::HostCase;
use crate::model::{Finding, Severity, Verdict};

pub const NAME: &str = "contradiction";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let open = host.cases.iter().filter(|case| case.entry.verdict == Some(Verdict::Contradiction));
    open.map(|case| {
        let severity = case.service_severity().max(Severity::High);
        let title = format!("{} is open although the host's rules stop it", case.title());
        case.finding(NAME, severity, case.confidence, title)
    })
    .collect()
}
