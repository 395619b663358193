//! The report for people: what the firewall misses, hosts worst first, findings with what to do, what was not looked
//! at.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, Write};

pub use super::layout::TableStyle;

use super::layout::{BOLD, Cell, Columns, DIM, PLAIN, severity_style, verdict_style};
use super::{escape, gaps, matrix, missed};
use crate::model::host_report::Listener;
use crate::model::report::{EndpointEntry, Host, PortGroup, Status, VantageKind};
use crate::model::{Access, Finding, PortRanges, PortState, Reason, Report, Service, Severity, Verdict};

/// Writes the whole report.
pub fn write(report: &Report, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let own: Vec<&str> = report
        .run
        .vantages
        .iter()
        .filter(|vantage| vantage.kind == VantageKind::Own)
        .map(|vantage| vantage.name.as_str())
        .collect();
    let mut worst: HashMap<(String, Option<String>), Severity> = HashMap::new();
    for finding in &report.findings {
        let known = worst.entry((finding.endpoint.clone(), finding.via.clone())).or_insert(finding.severity);
        *known = finding.severity.max(*known);
    }
    let severity_of = |host: &Host| {
        let entries = host.endpoints.iter().map(|entry| (entry.endpoint().to_string(), entry.via.clone()));
        entries.chain([(host.address.to_string(), None)]).filter_map(|about| worst.get(&about)).max().copied()
    };
    missed::write(report, style, to)?;
    let mut hosts: Vec<&Host> = report.hosts.iter().collect();
    hosts.sort_by_key(|host| (Reverse(severity_of(host)), host.address));
    for host in hosts {
        write_host(host, report, &own, style, to)?;
    }
    if !report.findings.is_empty() {
        writeln!(to, "{}", style.paint(BOLD, "FINDINGS"))?;
        for finding in &report.findings {
            write_finding(finding, style, to)?;
            writeln!(to)?;
        }
    }
    gaps::write(&report.run.gaps, style, to)?;
    write_summary(report, &own, style, to)
}

fn write_host(host: &Host, report: &Report, own: &[&str], style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let mut title = style.paint(BOLD, &host.address.to_string());
    for name in &host.names {
        title.push_str(&format!("  {}", escape::text(name, 80)));
    }
    if host.id != host.address.to_string() {
        title.push_str(&format!("  host {}", escape::text(&host.id, 60)));
    }
    if let Some(mac) = &host.mac {
        title.push_str(&format!("  {}", escape::text(mac, 20)));
    }
    writeln!(to, "{title}")?;
    let over_lo = |entry: &EndpointEntry| {
        !entry.seen_from.is_empty() && entry.seen_from.iter().all(|vantage| own.contains(&vantage.as_str()))
    };
    if host.endpoints.iter().any(over_lo) {
        style.write_wrapped(
            "  ",
            "seen over lo only: a host that scans itself skips the rules for packets from outside; this is not what a \
             neighbour sees",
            to,
        )?;
    }
    let judged = host.endpoints.iter().any(|entry| entry.verdict.is_some());
    if !host.endpoints.is_empty() {
        let header: &[&str] = if judged {
            &["PORT", "STATE", "SERVICE", "ACCESS", "VERDICT", "OWNER"]
        } else {
            &["PORT", "STATE", "SERVICE", "ACCESS"]
        };
        let mut columns = Columns::new(header);
        for entry in &host.endpoints {
            columns.row(row(entry, host, judged));
        }
        columns.write(style, to)?;
    }
    matrix::write(host, &report.run.vantages, style, to)?;
    for entry in &host.endpoints {
        write_reasons(entry, host, style, to)?;
    }
    for group in &host.other_ports {
        write_group(group, host, style, to)?;
    }
    writeln!(to)
}

fn row(entry: &EndpointEntry, host: &Host, judged: bool) -> Vec<Cell> {
    let port = port_text(entry, host);
    let plain =
        entry.state == PortState::Open && matches!(entry.reason, Reason::Accepted | Reason::SynAck | Reason::UdpReply);
    let state = if plain { entry.state.to_string() } else { format!("{} ({})", entry.state, entry.reason) };
    let service = entry.service.as_deref();
    let mut row = vec![
        (port, PLAIN),
        (state, PLAIN),
        (service.map(service_text).unwrap_or_default(), PLAIN),
        service.map_or_else(|| (String::new(), PLAIN), access_cell),
    ];
    if judged {
        row.push(
            entry
                .verdict
                .map_or_else(|| (String::new(), PLAIN), |verdict| (verdict.to_string(), verdict_style(verdict))),
        );
        row.push((entry.listener.as_deref().map(owner_text).unwrap_or_default(), PLAIN));
    }
    row
}

/// `80/tcp`; with the address where it is not the host's first, and said where it was tried through the host.
pub(super) fn port_text(entry: &EndpointEntry, host: &Host) -> String {
    let port = format!("{}/{}", entry.port, entry.transport);
    match &entry.via {
        None if entry.address == host.address => port,
        None => format!("{} {port}", entry.address),
        Some(via) if *via == host.address.to_string() => format!("{} {port} via host", entry.address),
        Some(via) => format!("{} {port} via {}", entry.address, escape::text(via, 60)),
    }
}

/// What a finding is about: `198.18.0.7:80/tcp`, `172.17.0.2:80/tcp via 198.18.0.7`.
pub(super) fn subject_text(finding: &Finding) -> String {
    let mut text = escape::text(&finding.endpoint, 80);
    if let Some(via) = &finding.via {
        text.push_str(&format!(" via {}", escape::text(via, 60)));
    }
    text
}

fn service_text(service: &Service) -> String {
    let mut text = escape::text(&service.name, 40);
    if let Some(product) = service.product.as_deref().filter(|product| !product.eq_ignore_ascii_case(&service.name)) {
        text.push_str(&format!(" {}", escape::text(product, 60)));
    }
    if let Some(version) = &service.version {
        text.push_str(&format!(" {}", escape::text(version, 60)));
    }
    if service.tls.is_some() {
        text.push_str(" (TLS)");
    }
    text
}

fn access_cell(service: &Service) -> Cell {
    let style = match service.access {
        Access::Unauthenticated => severity_style(service.severity),
        Access::Unknown => DIM,
        _ => PLAIN,
    };
    (service.access.to_string(), style)
}

/// Who holds the socket: process, pid, user, unit, container.
pub(super) fn owner_text(listener: &Listener) -> String {
    let mut text = listener.process.as_deref().map_or_else(|| "unknown".to_owned(), |name| escape::text(name, 40));
    if let Some(pid) = listener.pid {
        text.push_str(&format!("[{pid}]"));
    }
    if let Some(user) = &listener.user {
        text.push_str(&format!(" {}", escape::text(user, 32)));
    }
    if let Some(container) = &listener.container {
        text.push_str(&format!(" container {}", escape::text(container, 40)));
    } else if let Some(unit) = &listener.unit {
        text.push_str(&format!(" {}", escape::text(unit, 48)));
    }
    text
}

/// The reasons of what is not as it should be; and what an identified service said.
fn write_reasons(entry: &EndpointEntry, host: &Host, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let quiet = matches!(entry.verdict, None | Some(Verdict::Closed | Verdict::LocalOnly));
    let lead = format!("  {} ", port_text(entry, host));
    let mut lines: Vec<String> = Vec::new();
    if !quiet {
        // Reasons start with the endpoint, which stands in front of the line already.
        let endpoint = format!("{} ", entry.endpoint());
        let reasons = entry.also.iter().map(|reason| reason.strip_prefix(&endpoint).unwrap_or(reason));
        let told = if missed::is_missed(entry) { missed::LINES } else { 0 };
        lines.extend(reasons.skip(told).map(|reason| escape::text(reason, 400)));
    }
    if let Some(service) = &entry.service {
        if service.name != "unknown" && !service.summary.is_empty() {
            lines.push(escape::text(&service.summary, 400));
        }
        for (key, value) in &service.details {
            lines.push(format!("{}: {}", escape::text(key, 40), escape::text(value, 300)));
        }
    }
    for (position, line) in lines.iter().enumerate() {
        let lead = if position == 0 { lead.clone() } else { " ".repeat(lead.len()) };
        style.write_wrapped(&lead, line, to)?;
    }
    Ok(())
}

fn write_group(group: &PortGroup, host: &Host, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let count = group.ports.parse::<PortRanges>().map_or(0, |ports| ports.len());
    let offender = group.offender.map(|offender| format!(" by {offender}")).unwrap_or_default();
    let mut ports = group.ports.clone();
    if ports.len() > 60 {
        let cut = ports[..60].rfind(',').unwrap_or(60);
        ports.truncate(cut);
        ports.push_str(",…");
    }
    let text = format!("{count} {} {} ({}{offender}): {ports}", group.transport, group.state, group.reason);
    let lead = if group.address == host.address { "  ".to_owned() } else { format!("  {} ", group.address) };
    style.write_wrapped(&lead, &text, to)
}

fn write_finding(finding: &Finding, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let severity = style.paint(severity_style(finding.severity), &format!("{:<8}", finding.severity.as_str()));
    writeln!(to, "{severity} {}  {}", style.paint(BOLD, &subject_text(finding)), escape::text(&finding.title, 200))?;
    // What leads the table has its path and the rule to write there.
    let leads = missed::leads(finding);
    for why in finding.why.iter().skip(if leads { missed::LINES } else { 0 }) {
        style.write_wrapped("         why   ", &escape::text(why, 600), to)?;
    }
    let triage = &finding.triage;
    let answers = [
        ("stop", &triage.disable),
        ("bind", &triage.bind),
        ("auth", &triage.authenticate),
        ("limit", &triage.restrict),
        ("flaws", &triage.known_flaws),
        ("block", &triage.firewall),
    ];
    for (question, answer) in answers {
        let shown_above = leads && question == "block";
        if !answer.is_empty() && !shown_above {
            style.write_wrapped(&format!("         {question:<5} "), &escape::text(answer, 600), to)?;
        }
    }
    if finding.confidence != crate::model::Confidence::Certain {
        writeln!(to, "         {}", style.paint(DIM, &format!("confidence: {}", finding.confidence)))?;
    }
    Ok(())
}

/// Whether anything came back from the host. A host report brings hosts along that were silent or not asked.
fn has_answered(host: &Host) -> bool {
    let entries = host.endpoints.iter().map(|entry| (entry.state, entry.reason));
    let views = host.endpoints.iter().flat_map(|entry| &entry.views).map(|view| (view.state, view.reason));
    let groups = host.other_ports.iter().map(|group| (group.state, group.reason));
    // That a host is unreachable is a router's word.
    entries.chain(views).chain(groups).any(|(state, reason)| reason.is_answer() && state != PortState::Unreachable)
}

fn write_summary(report: &Report, own: &[&str], style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let open = report.hosts.iter().flat_map(|host| &host.endpoints).filter(|entry| entry.state == PortState::Open);
    let hosts = |count| if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
    let answered = report.hosts.iter().filter(|host| has_answered(host)).count();
    let endpoints = match open.count() {
        1 => "1 endpoint is".to_owned(),
        count => format!("{count} endpoints are"),
    };
    let mut text = format!("{} answered, {endpoints} open", hosts(answered));
    if report.hosts.len() > answered {
        let told = hosts(report.hosts.len() - answered);
        text.push_str(&format!("; {told} more known by a host report alone"));
    }
    if !report.silent.is_empty() {
        let shown: Vec<&str> = report.silent.iter().take(6).map(String::as_str).collect();
        let more = if report.silent.len() > shown.len() { ", …" } else { "" };
        text.push_str(&format!("; silent: {}{more}", shown.join(", ")));
    }
    style.write_wrapped("", &text, to)?;
    if let Some(sweep) = &report.run.sweep {
        let mut text = format!(
            "{} probes, {} answers, {}, {:.0} probes/s by {}",
            sweep.probes_sent,
            sweep.replies,
            if sweep.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", sweep.rounds) },
            sweep.packets_per_second,
            sweep.engine
        );
        if let Some(recall) = sweep.recall {
            text.push_str(&format!(
                "; of the ports that would answer {:.2} % were found (at least {:.2} %)",
                recall.estimate * 100.0,
                recall.lower * 100.0
            ));
        }
        let vantages: Vec<&str> = report.run.vantages.iter().map(|vantage| vantage.name.as_str()).collect();
        text.push_str(&format!(
            "; seen from {}",
            if vantages.is_empty() { "nowhere".to_owned() } else { vantages.join(", ") }
        ));
        style.write_wrapped("", &text, to)?;
    }
    // Where several places looked, each says for itself what it is.
    if !own.is_empty() && report.run.vantages.iter().all(|vantage| vantage.look == 0) {
        style.write_wrapped(
            "",
            "This host's own addresses were scanned from itself: that is not the outside view. Scan it from another host.",
            to,
        )?;
    }
    let counts: Vec<String> = Severity::ALL
        .into_iter()
        .filter_map(|severity| {
            let count = report.findings.iter().filter(|finding| finding.severity == severity).count();
            (count > 0).then(|| style.paint(severity_style(severity), &format!("{count} {severity}")))
        })
        .collect();
    let findings = if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") };
    let incomplete = report.run.gaps.iter().any(|gap| gap.incomplete);
    let status = match (report.run.status, incomplete) {
        (Status::Interrupted, _) => "INTERRUPTED: the rest was not looked at",
        (Status::Complete, true) => "INCOMPLETE: see what was not looked at",
        (Status::Complete, false) => "everything asked for was looked at",
    };
    writeln!(to, "{findings}; {status}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Transport;
    use crate::model::report::{Run, SCHEMA, Scope, Tool};

    fn host(address: &str, groups: &[(PortState, Reason)]) -> Host {
        let address = address.parse().unwrap();
        let group = |&(state, reason): &(PortState, Reason)| PortGroup {
            address,
            transport: Transport::Tcp,
            state,
            reason,
            offender: None,
            ports: "1-9".to_owned(),
            seen_from: Vec::new(),
        };
        Host { other_ports: groups.iter().map(group).collect(), ..Host::at(address) }
    }

    fn summary(hosts: Vec<Host>) -> String {
        let run = Run::begun("r1".to_owned(), String::new(), Scope::default());
        let silent = vec!["198.18.0.9".to_owned()];
        let report = Report { schema: SCHEMA.to_owned(), tool: Tool::this(), run, hosts, silent, findings: Vec::new() };
        let mut bytes = Vec::new();
        write_summary(&report, &[], TableStyle { color: false, width: 100 }, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn hosts_that_only_a_report_tells_of_have_not_answered() {
        let silent = host("198.18.0.9", &[(PortState::Filtered, Reason::NoAnswer)]);
        let not_asked = host("198.18.0.8", &[(PortState::Unknown, Reason::NotSwept)]);
        let unreachable = host("198.18.0.7", &[(PortState::Unreachable, Reason::IcmpHostUnreachable)]);
        let both = [(PortState::Filtered, Reason::NoAnswer), (PortState::Filtered, Reason::IcmpAdminProhibited)];
        let told = summary(vec![silent, not_asked, unreachable, host("198.18.0.6", &both)]);
        let first = told.lines().next().unwrap();
        assert_eq!(
            first,
            "1 host answered, 0 endpoints are open; 3 hosts more known by a host report alone; silent: 198.18.0.9"
        );
        let closed = host("198.18.0.6", &[(PortState::Closed, Reason::Refused)]);
        assert!(summary(vec![closed]).starts_with("1 host answered, 0 endpoints are open; silent"));
    }
}
