//! What leads the table: endpoints that the firewall or a binding to loopback misses, each with its path and the line
//! that closes it.

use std::io::{self, Write};

use super::escape;
use super::layout::{BOLD, TableStyle, severity_style};
use crate::model::report::{EndpointEntry, Host};
use crate::model::{Finding, Report, Verdict};

/// Whether the finding leads the table, with its path and its fix.
pub fn leads(finding: &Finding) -> bool {
    RULES.contains(&finding.rule.as_str())
}

/// Whether the path of an endpoint is told at the top already.
pub const fn is_missed(entry: &EndpointEntry) -> bool {
    matches!(entry.verdict, Some(Verdict::FirewallBypass | Verdict::LeakedLocal | Verdict::Contradiction))
}

/// Writes the section; nothing where nothing is missed.
pub fn write(report: &Report, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let missed: Vec<&Finding> = report.findings.iter().filter(|finding| leads(finding)).collect();
    if missed.is_empty() {
        return Ok(());
    }
    writeln!(to, "{}", style.paint(BOLD, "WHAT THE FIREWALL MISSES"))?;
    for finding in missed {
        let severity = style.paint(severity_style(finding.severity), &format!("{:<8}", finding.severity.as_str()));
        let endpoint = style.paint(BOLD, &super::table::subject_text(finding));
        writeln!(to, "{severity} {endpoint}  {}", escape::text(&finding.title, 200))?;
        let itself = format!("{} ", finding.endpoint);
        for (position, why) in finding.why.iter().take(LINES).enumerate() {
            let why = why.strip_prefix(&itself).unwrap_or(why);
            style.write_wrapped(&format!("         {}  ", position + 1), &escape::text(why, 400), to)?;
        }
        let fix = &finding.triage.firewall;
        if !fix.is_empty() {
            style.write_wrapped("         fix ", &escape::text(fix, 600), to)?;
        }
        if let Some(owner) = owner(report, finding) {
            style.write_wrapped("         who ", &owner, to)?;
        }
    }
    writeln!(to)
}

/// Who answers there, and on which host.
fn owner(report: &Report, finding: &Finding) -> Option<String> {
    let is_it = |entry: &&EndpointEntry| finding.is_about(entry);
    let (host, entry) = report.hosts.iter().find_map(|host| Some((host, host.endpoints.iter().find(is_it)?)))?;
    let listener = entry.listener.as_ref()?;
    Some(format!("{} on {}", super::table::owner_text(listener), name(host)))
}

fn name(host: &Host) -> String {
    host.names.first().map_or_else(|| host.address.to_string(), |name| escape::text(name, 80))
}

/// Rules about packets that get where something is believed to keep them out.
const RULES: [&str; 3] = ["contradiction", "firewall-bypass", "leaked-local"];

/// Reasons that are the path: what is believed, what leads past it, what lets it in.
pub const LINES: usize = 3;
