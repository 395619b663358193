//! Detects services that only the host's firewall protects: one layer, and one `flush ruleset` away from being open.
//!
//! Cannot know: what the service would answer, as nobody gets to it; its port, where no other owner is known, tells what
//! it probably is and what that would come to.

use super::HostCase;
use crate::model::{Finding, Severity, Verdict};

pub const NAME: &str = "guarded";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let guarded = host.cases.iter().filter(|case| case.entry.verdict == Some(Verdict::Guarded));
    guarded
        .map(|case| {
            let usual = case.usual.and_then(|facts| Some((facts, facts.worst.filter(|worst| *worst >= Severity::High)?)));
            let owner = case.entry.listener.as_ref().and_then(|listener| listener.process.as_deref());
            let name = match (usual, owner) {
                (Some((facts, _)), _) => format!("{} (by its port)", facts.title),
                (None, Some(owner)) => format!("{} ({owner})", case.title()),
                (None, None) => case.title(),
            };
            let goes = usual.map_or_else(String::new, |(_, worst)| format!("; {worst} if that rule goes"));
            let title = format!("{name} is protected by one layer only: the host's firewall{goes}");
            // A rule is easily flushed; how bad that would be decides whether it is worth a second layer.
            let severity = if usual.is_some() { Severity::Low } else { Severity::Info };
            let mut finding = case.finding(NAME, severity, case.confidence, title);
            if let Some((facts, worst)) = usual {
                finding.why.push(format!(
                    "{} on this port may be {worst} to reach: bind it to loopback or make it authenticate, so that it does \
                     not hang on one rule.",
                    facts.title
                ));
            }
            finding
        })
        .collect()
}
