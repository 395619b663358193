//! Several vantages, one report: each look is judged by itself, with its own source and its own silence, and the judged
//! reports become one, in which every endpoint tells how each vantage saw it. [`split`] takes such a report apart again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::gaps;
use super::lookup::{self, Seen, SweptPorts};
use super::rules::{self, Case};
use super::scope::{self, Asked};
use super::verdict::Sight;
use crate::model::report::{EndpointEntry, EndpointView, Host, HostReportUse, Run, Status, Vantage, VantageKind};
use crate::model::{
    Confidence, Endpoint, Finding, PortState, Reason, Report, ServiceFacts, Severity, Transport, Verdict,
};

/// Joins the judged reports of several looks, in their order; `run` is the whole run, with the scope that was asked for.
pub fn merge(run: &Run, looks: Vec<Report>, facts: &BTreeMap<String, ServiceFacts>) -> Report {
    let looks: Vec<Look> = (0_u32..).zip(looks).map(|(number, report)| Look::new(number, report)).collect();
    let mut merged = Report {
        run: merged_run(run, &looks),
        hosts: merged_hosts(&looks),
        findings: Vec::new(),
        silent: Vec::new(),
        ..looks.first().map_or_else(|| empty(run), |look| look.report.clone())
    };
    let answered: BTreeSet<IpAddr> = looks.iter().flat_map(|look| &look.report.hosts).flat_map(answering).collect();
    merged.silent = scope::without(looks.iter().flat_map(|look| &look.report.silent), &answered);
    merged.findings = merged_findings(&looks, &merged, facts);
    merged
}

/// The looks of a report, each as a report of its own; a report of one look is given back as it is.
pub fn split(report: Report) -> Vec<Report> {
    let numbers: BTreeSet<u32> = report.run.vantages.iter().map(|vantage| vantage.look).collect();
    if numbers.len() < 2 {
        return vec![report];
    }
    numbers.into_iter().map(|number| part(&report, number)).collect()
}

fn part(report: &Report, number: u32) -> Report {
    let mut part = Report { findings: Vec::new(), ..report.clone() };
    part.run.vantages.retain(|vantage| vantage.look == number);
    let names: BTreeSet<String> = part.run.vantages.iter().map(|vantage| vantage.name.clone()).collect();
    part.silent.clear();
    part.run.sweep = None;
    for vantage in &mut part.run.vantages {
        vantage.look = 0;
        part.silent.append(&mut vantage.silent);
        if !vantage.targets.is_empty() {
            part.run.scope.targets = std::mem::take(&mut vantage.targets);
        }
        part.run.sweep = vantage.sweep.take().or_else(|| part.run.sweep.take());
    }
    part.hosts.retain_mut(|host| {
        host.endpoints = host.endpoints.iter().filter_map(|entry| as_seen_from(entry, &names)).collect();
        host.other_ports.retain(|group| group.seen_from.iter().any(|name| names.contains(name)));
        host.other_ports.iter_mut().for_each(|group| group.seen_from.clear());
        !host.endpoints.is_empty() || !host.other_ports.is_empty()
    });
    part
}

/// The entry as it was before the looks were joined; `None` when none of `names` saw it.
fn as_seen_from(entry: &EndpointEntry, names: &BTreeSet<String>) -> Option<EndpointEntry> {
    let view = entry.views.iter().find(|view| names.contains(&view.vantage))?;
    let answers = matches!(view.state, PortState::Open | PortState::OpenOrFiltered);
    Some(EndpointEntry {
        state: view.state,
        reason: view.reason,
        evidence: view.evidence.clone(),
        seen_from: vec![view.vantage.clone()],
        service: view.service.clone().or_else(|| entry.service.clone().filter(|_| answers)),
        listener: None,
        verdict: None,
        also: Vec::new(),
        intent: None,
        path: Vec::new(),
        views: Vec::new(),
        ..entry.clone()
    })
}

/// One judged look.
struct Look {
    number: u32,
    report: Report,
    asked: Asked,
    ports: SweptPorts,
}

impl Look {
    fn new(number: u32, report: Report) -> Self {
        let (asked, ports) = (Asked::of(&report), SweptPorts::of_scope(&report.run.scope));
        Self { number, report, asked, ports }
    }

    fn host(&self, id: &str) -> Option<&Host> {
        self.report.hosts.iter().find(|host| host.id == id)
    }

    /// Name for what an entry does not say itself.
    fn name(&self) -> &str {
        let vantages = &self.report.run.vantages;
        let outside = vantages.iter().find(|vantage| vantage.kind != VantageKind::Own);
        outside.or_else(|| vantages.first()).map_or("nowhere", |vantage| vantage.name.as_str())
    }

    /// How this look saw an endpoint that has no entry in it: among the folded ports, or by a whole host's silence.
    fn folded(&self, host: Option<&Host>, endpoint: Endpoint) -> Option<Seen> {
        let nowhere = nowhere(endpoint.address);
        let seen = lookup::seen(host.unwrap_or(&nowhere), &self.asked, &self.ports, endpoint);
        (seen.reason != Reason::NotSwept).then_some(seen)
    }
}

fn merged_run(run: &Run, looks: &[Look]) -> Run {
    let mut merged =
        Run { vantages: Vec::new(), gaps: Vec::new(), host_reports: Vec::new(), sweep: None, ..run.clone() };
    for look in looks {
        let part = &look.report.run;
        if part.status == Status::Interrupted {
            merged.status = Status::Interrupted;
        }
        let first = part.vantages.iter().position(|vantage| vantage.kind != VantageKind::Own).unwrap_or(0);
        for (position, vantage) in part.vantages.iter().enumerate() {
            let told = position == first;
            merged.vantages.push(Vantage {
                look: look.number,
                targets: if told && part.scope.targets != run.scope.targets {
                    part.scope.targets.clone()
                } else {
                    Vec::new()
                },
                silent: if told { look.report.silent.clone() } else { Vec::new() },
                sweep: part.sweep.clone().filter(|_| told),
                ..vantage.clone()
            });
        }
        for gap in &part.gaps {
            let asked_elsewhere =
                gaps::is_unasked(gap) && !looks.iter().all(|other| other.report.run.gaps.contains(gap));
            if !asked_elsewhere && !merged.gaps.contains(gap) {
                merged.gaps.push(gap.clone());
            }
        }
        for used in &part.host_reports {
            let same = |one: &&mut HostReportUse| (&one.id, &one.collected_at) == (&used.id, &used.collected_at);
            match merged.host_reports.iter_mut().find(same) {
                Some(known) => known.joined = known.joined.or(used.joined),
                None => merged.host_reports.push(used.clone()),
            }
        }
        if let Some(sweep) = &part.sweep {
            let whole = merged.sweep.get_or_insert_with(|| sweep.clone());
            if look.number > 0 {
                whole.probes_sent += sweep.probes_sent;
                whole.replies += sweep.replies;
                whole.dropped_replies += sweep.dropped_replies;
                whole.rounds = whole.rounds.max(sweep.rounds);
                whole.packets_per_second = whole.packets_per_second.max(sweep.packets_per_second);
                // Of the look that may have missed the most.
                let worse = |one: &crate::model::report::Recall| one.lower;
                whole.recall =
                    [whole.recall, sweep.recall].into_iter().flatten().min_by(|a, b| worse(a).total_cmp(&worse(b)));
            }
        }
    }
    merged
}

fn merged_hosts(looks: &[Look]) -> Vec<Host> {
    let mut hosts: BTreeMap<&str, Host> = BTreeMap::new();
    for host in looks.iter().flat_map(|look| &look.report.hosts) {
        let known = hosts.entry(&host.id).or_insert_with(|| Host {
            endpoints: Vec::new(),
            other_ports: Vec::new(),
            ..host.clone()
        });
        known.address = known.address.min(host.address);
        known.improbable.extend(host.improbable.clone());
        let addresses: BTreeSet<IpAddr> = known.addresses.iter().chain(&host.addresses).copied().collect();
        known.addresses = addresses.into_iter().collect();
        known.mac = known.mac.take().or_else(|| host.mac.clone());
        for name in &host.names {
            if !known.names.contains(name) {
                known.names.push(name.clone());
            }
        }
    }
    let mut hosts: Vec<Host> = hosts.into_values().collect();
    for host in &mut hosts {
        let parts: Vec<(&Look, Option<&Host>)> = looks.iter().map(|look| (look, look.host(&host.id))).collect();
        host.endpoints = merged_endpoints(&parts);
        host.other_ports = merged_groups(&parts, &host.endpoints);
    }
    hosts.sort_by_key(|host| host.address);
    hosts
}

type Key = (IpAddr, Transport, u16, Option<String>);

fn merged_endpoints(parts: &[(&Look, Option<&Host>)]) -> Vec<EndpointEntry> {
    let key = |entry: &EndpointEntry| -> Key { (entry.address, entry.transport, entry.port, entry.via.clone()) };
    let keys: BTreeSet<Key> =
        parts.iter().filter_map(|(_, host)| *host).flat_map(|host| &host.endpoints).map(key).collect();
    keys.into_iter()
        .filter_map(|wanted| {
            let mut seen: Vec<(&EndpointEntry, u32)> = Vec::new();
            let mut views = Vec::new();
            for (look, host) in parts {
                let entry = host.and_then(|host| host.endpoints.iter().find(|entry| key(entry) == wanted));
                if let Some(entry) = entry {
                    seen.push((entry, look.number));
                    if entry.reason != Reason::NotSwept {
                        views.push(view_of(entry, look));
                    }
                } else if wanted.3.is_none() {
                    let endpoint = Endpoint::new(wanted.0, wanted.1, wanted.2);
                    views.extend(look.folded(*host, endpoint).map(|seen| folded_view(seen, look)));
                }
            }
            // A port that was not asked from one place may have been asked from another.
            let asked = |entry: &EndpointEntry| entry.reason == Reason::NotSwept && !views.is_empty();
            let rank = |entry: &EndpointEntry| (asked(entry), verdict_rank(entry.verdict), state_rank(entry.state));
            let (worst, _) = seen.into_iter().min_by_key(|(entry, look)| (rank(entry), *look))?;
            let mut entry = worst.clone();
            if entry.service.is_none() {
                entry.service =
                    views.iter().find(|view| view.state == entry.state).and_then(|view| view.service.clone());
            }
            for view in &mut views {
                view.service = view.service.take().filter(|service| Some(service) != entry.service.as_ref());
                if view.also == entry.also {
                    view.also.clear();
                }
            }
            entry.seen_from =
                views.iter().filter(|view| view.state == entry.state).map(|view| view.vantage.clone()).collect();
            entry.views = views;
            Some(entry)
        })
        .collect()
}

fn view_of(entry: &EndpointEntry, look: &Look) -> EndpointView {
    EndpointView {
        vantage: entry.seen_from.first().map_or_else(|| look.name().to_owned(), Clone::clone),
        state: entry.state,
        reason: entry.reason,
        evidence: entry.evidence.clone(),
        service: entry.service.clone(),
        verdict: entry.verdict,
        also: entry.also.clone(),
    }
}

fn folded_view(seen: Seen, look: &Look) -> EndpointView {
    let Seen { state, reason, evidence } = seen;
    EndpointView {
        vantage: look.name().to_owned(),
        state,
        reason,
        evidence,
        service: None,
        verdict: None,
        also: Vec::new(),
    }
}

/// The folded ports of all looks, without those that have an entry; what several saw alike is one group.
fn merged_groups(parts: &[(&Look, Option<&Host>)], entries: &[EndpointEntry]) -> Vec<crate::model::report::PortGroup> {
    let mut groups: Vec<crate::model::report::PortGroup> = Vec::new();
    for (look, host) in parts {
        let Some(host) = host else { continue };
        let mut host = (*host).clone();
        for entry in entries.iter().filter(|entry| entry.via.is_none()) {
            lookup::take_out(&mut host, entry.endpoint());
        }
        for mut group in host.other_ports {
            group.seen_from.clear();
            let same = |known: &&mut crate::model::report::PortGroup| {
                let key = |one: &crate::model::report::PortGroup| {
                    (one.address, one.transport, one.state, one.reason, one.offender, one.ports.clone())
                };
                key(known) == key(&group)
            };
            match groups.iter_mut().find(same) {
                Some(known) => known.seen_from.push(look.name().to_owned()),
                None => {
                    group.seen_from.push(look.name().to_owned());
                    groups.push(group);
                }
            }
        }
    }
    groups.sort_by_key(|group| (group.address, group.transport, group.state, group.reason));
    groups
}

/// The findings of all looks, each once, worst first, with the ones that only several looks together give.
fn merged_findings(looks: &[Look], merged: &Report, facts: &BTreeMap<String, ServiceFacts>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for finding in looks.iter().flat_map(|look| &look.report.findings) {
        let same = |known: &&mut Finding| known.key() == finding.key();
        match findings.iter_mut().find(same) {
            Some(known) if known.severity < finding.severity => *known = finding.clone(),
            Some(_) => {}
            None => findings.push(finding.clone()),
        }
    }
    let entries: Vec<&EndpointEntry> = merged.hosts.iter().flat_map(|host| &host.endpoints).collect();
    for finding in &mut findings {
        let entry = entries.iter().find(|entry| finding.is_about(entry));
        finding.why.extend(entry.and_then(|entry| from_where(entry)));
    }
    for entry in &entries {
        let case = Case {
            entry,
            facts: entry.service.as_ref().and_then(|service| facts.get(&service.name)),
            usual: None,
            sight: Sight::Outside,
            confidence: Confidence::Certain,
            published: None,
            answer: None,
            stakes: None,
        };
        findings.extend(rules::OF_VANTAGES.iter().filter_map(|rule| (rule.check)(&case, &merged.run.vantages)));
    }
    findings.sort_by_key(|finding| (std::cmp::Reverse::<Severity>(finding.severity), !rules::gets_by(&finding.rule)));
    findings
}

/// `Open from container:web; from neighbour filtered (no-answer).`; nothing where all saw the same.
pub fn from_where(entry: &EndpointEntry) -> Option<String> {
    let (same, others): (Vec<&EndpointView>, Vec<&EndpointView>) =
        entry.views.iter().partition(|view| view.state == entry.state);
    if others.is_empty() {
        return None;
    }
    let names: Vec<&str> = same.iter().map(|view| view.vantage.as_str()).collect();
    let rest: Vec<String> =
        others.iter().map(|view| format!("from {} {} ({})", view.vantage, view.state, view.reason)).collect();
    Some(format!("It is {} from {}; {}.", entry.state, names.join(", "), rest.join("; ")))
}

/// Addresses of a host that answered anything.
fn answering(host: &Host) -> BTreeSet<IpAddr> {
    let entries = host
        .endpoints
        .iter()
        .filter(|entry| entry.via.is_none() && !matches!(entry.reason, Reason::NotSwept | Reason::NoAnswer));
    entries.map(|entry| entry.address).chain(host.other_ports.iter().map(|group| group.address)).collect()
}

fn verdict_rank(verdict: Option<Verdict>) -> usize {
    // The order of the verdicts is that of how much they ask to be looked at.
    verdict.map_or(usize::MAX, |verdict| verdict as usize)
}

const fn state_rank(state: PortState) -> u8 {
    match state {
        PortState::Open => 0,
        PortState::OpenOrFiltered => 1,
        PortState::Filtered => 2,
        PortState::Closed => 3,
        PortState::Unreachable => 4,
        PortState::Unknown => 5,
    }
}

fn nowhere(address: IpAddr) -> Host {
    Host { addresses: Vec::new(), ..Host::at(address) }
}

fn empty(run: &Run) -> Report {
    Report {
        schema: crate::model::report::SCHEMA.to_owned(),
        tool: crate::model::report::Tool::this(),
        run: run.clone(),
        hosts: Vec::new(),
        silent: Vec::new(),
        findings: Vec::new(),
    }
}
