//! What leads the table: endpoints that the firewall or a binding to loopback misses, each with its path and the line
//! that closes it.

use std::io::{self, Write};

use super::escape;
use super::layout::{BOLD, TableStyle, severity_style};
use crate::model::report::{EndpointEntry, Host};
use crate::model::{Finding, Report, Severity, Transport, Verdict};

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
    for Lead { finding, also } in leads_of(report, &missed) {
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
        if !also.is_empty() {
            let others: Vec<String> = also.iter().map(|other| super::table::subject_text(other)).collect();
            let text = format!("{}: the same way, and closed by the same line with that address", others.join(", "));
            style.write_wrapped("         also ", &text, to)?;
        }
    }
    writeln!(to)
}

/// A finding, and those about other addresses of the same host that say the same of the same port.
struct Lead<'a> {
    finding: &'a Finding,
    also: Vec<&'a Finding>,
}

fn leads_of<'a>(report: &Report, missed: &[&'a Finding]) -> Vec<Lead<'a>> {
    let mut leads: Vec<(Option<Same>, Lead<'a>)> = Vec::new();
    for finding in missed {
        let same = Same::of(report, finding);
        match leads.iter_mut().find(|(known, _)| same.is_some() && *known == same) {
            Some((_, lead)) => {
                lead.also.push(finding);
                // The address that the host is called by is told in full.
                if place(report, finding).is_some_and(|(host, entry)| entry.address == host.address)
                    && let Some(last) = lead.also.last_mut()
                {
                    std::mem::swap(last, &mut lead.finding);
                }
            }
            None => leads.push((same, Lead { finding, also: Vec::new() })),
        }
    }
    leads.into_iter().map(|(_, lead)| lead).collect()
}

/// What several addresses of a host may have in common.
#[derive(PartialEq)]
struct Same {
    rule: String,
    severity: Severity,
    host: String,
    ipv4: bool,
    port: (u16, Transport),
    /// Process id and container of who answers.
    owner: (Option<u32>, Option<String>),
}

impl Same {
    /// Nothing where it was tried through the host: each such address is another machine's.
    fn of(report: &Report, finding: &Finding) -> Option<Self> {
        let (host, entry) = place(report, finding).filter(|(_, entry)| entry.via.is_none())?;
        let listener = entry.listener.as_ref()?;
        Some(Self {
            rule: finding.rule.clone(),
            severity: finding.severity,
            host: host.id.clone(),
            ipv4: entry.address.is_ipv4(),
            port: (entry.port, entry.transport),
            owner: (listener.pid, listener.container.clone()),
        })
    }
}

fn place<'a>(report: &'a Report, finding: &Finding) -> Option<(&'a Host, &'a EndpointEntry)> {
    let is_it = |entry: &&EndpointEntry| finding.is_about(entry);
    report.hosts.iter().find_map(|host| Some((host, host.endpoints.iter().find(is_it)?)))
}

/// Who answers there, and on which host.
fn owner(report: &Report, finding: &Finding) -> Option<String> {
    let (host, entry) = place(report, finding)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::{Run, SCHEMA, Scope, Tool};
    use crate::model::{Confidence, Triage};

    fn entry(address: &str, port: u16, via: Option<&str>) -> EndpointEntry {
        let text = serde_json::json!({
            "address": address, "transport": "tcp", "port": port, "state": "open", "reason": "accepted", "evidence": {},
            "seen_from": [], "via": via, "verdict": "firewall-bypass", "listener": {
                "transport": "tcp", "address": "0.0.0.0", "port": port, "namespace": "host", "pid": 7, "container": "web",
                "process": "docker-proxy", "socket_activated": false, "likely_client": false,
            },
        });
        serde_json::from_value(text).unwrap()
    }

    fn finding(of: &EndpointEntry) -> Finding {
        Finding {
            rule: "firewall-bypass".to_owned(),
            severity: Severity::High,
            confidence: Confidence::Certain,
            endpoint: of.endpoint().to_string(),
            via: of.via.clone(),
            title: "It gets by".to_owned(),
            why: vec![format!("{} is open although INPUT drops it.", of.endpoint())],
            triage: Triage { firewall: "a line".to_owned(), ..Triage::default() },
            references: Vec::new(),
        }
    }

    #[test]
    fn one_port_at_several_addresses_of_a_host_is_told_once() {
        let entries = vec![
            entry("172.17.0.1", 8080, None),
            entry("172.17.0.2", 80, Some("198.18.0.7")),
            entry("198.18.0.7", 8080, None),
            entry("198.18.0.7", 8090, None),
        ];
        let findings: Vec<Finding> = entries.iter().map(finding).collect();
        let host = Host {
            id: "h".to_owned(),
            addresses: Vec::new(),
            names: vec!["web1".to_owned()],
            endpoints: entries,
            ..Host::at("198.18.0.7".parse().unwrap())
        };
        let run = Run::begun("r1".to_owned(), String::new(), Scope::default());
        let hosts = vec![host];
        let report = Report { schema: SCHEMA.to_owned(), tool: Tool::this(), run, hosts, silent: Vec::new(), findings };
        let mut bytes = Vec::new();
        write(&report, TableStyle { color: false, width: 100 }, &mut bytes).unwrap();
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap(), @r"
        WHAT THE FIREWALL MISSES
        high     198.18.0.7:8080/tcp  It gets by
                 1  is open although INPUT drops it.
                 fix a line
                 who docker-proxy[7] container web on web1
                 also 172.17.0.1:8080/tcp: the same way, and closed by the same line with that address
        high     172.17.0.2:80/tcp via 198.18.0.7  It gets by
                 1  is open although INPUT drops it.
                 fix a line
                 who docker-proxy[7] container web on web1
        high     198.18.0.7:8090/tcp  It gets by
                 1  is open although INPUT drops it.
                 fix a line
                 who docker-proxy[7] container web on web1
        ");
    }
}
