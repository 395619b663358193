//! The one path of `audit` and of the offline command: a scan report and inside views in, the judged report out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::hosts::{self, Placed};
use super::join::{Join, Joined, join};
use super::judging::{Judged, judge_host, subject};
use super::lookup::{SweptPorts, swept_addresses};
use super::machine::Machine;
use super::merge::{Together, together};
use super::rules::{self, Case, HostCase};
use super::scope::Asked;
use super::verdict::Sight;
use super::{everything, gaps, through, usual};
use crate::model::report::{EndpointEntry, Host, HostReportUse, Run, VantageKind};
use crate::model::{Confidence, Finding, HostReport, PathModel, Reason, Report, ServiceFacts};

/// What one host said about itself.
#[derive(Clone, Debug)]
pub struct InsideView {
    /// Taken before the sweep, or the only one.
    pub before: HostReport,
    /// Taken after the sweep.
    pub after: Option<HostReport>,
    /// The operator's word: this report is of that address.
    pub address: Option<IpAddr>,
}

/// What the correlation knows beside the report and the views.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What the probe definitions say about each service, by its name.
    pub facts: &'a BTreeMap<String, ServiceFacts>,
    /// Addresses of the scanning machine: what it sees of them goes over `lo` and is never the outside view. Empty
    /// when the scan was made elsewhere.
    pub own_addresses: &'a [IpAddr],
    /// Makes a report's rules ready to be asked; `None` where it has none.
    pub paths: fn(&HostReport) -> Option<Box<dyn PathModel>>,
}

/// Joins the views to the report and judges every endpoint. The result can be correlated again: what a correlation
/// adds is derived anew, so that the same views give the same report.
pub fn correlate(report: Report, inside: &[InsideView], context: &Context<'_>) -> Report {
    let mut report = report;
    let behind = through::take_out(&mut report);
    let mut report = pristine(report);
    let own = Own::of(&report, context.own_addresses);
    let asked = Asked::of(&report);
    let ports = SweptPorts::of_scope(&report.run.scope);
    let Together { machines: views, gaps: mut found_gaps } = together(inside, asked.single());
    let machines = views.iter().map(|views| Machine::new(views.iter().map(AsRef::as_ref).collect())).collect();
    let Join { machines, gaps } = join(&report, &asked, machines, own.of_machine());
    found_gaps.extend(gaps);
    let paths: Vec<Option<Box<dyn PathModel>>> = machines
        .iter()
        .map(|joined| {
            // The later word is nearer to what was seen last.
            let mut reports: Vec<&HostReport> = joined.machine.reports().collect();
            reports.reverse();
            reports.into_iter().find_map(context.paths)
        })
        .collect();
    let swept: BTreeSet<IpAddr> = report.hosts.iter().flat_map(swept_addresses).collect();
    let mut placed = hosts::place(std::mem::take(&mut report.hosts), &machines);
    let mut judged = Vec::with_capacity(placed.len());
    placed.retain_mut(|each| {
        let Placed { host, machine } = each;
        let joined = machine.map(|place| (&machines[place.index], place.part));
        let surroundings = Surroundings { asked: &asked, ports: &ports, own: &own, swept: &swept, run: &report.run };
        let path = machine.and_then(|place| paths[place.index].as_deref());
        let judgement = judge_host(host, joined, path, &surroundings);
        let shown = !each.is_blank();
        if shown {
            judged.push(judgement);
        }
        shown
    });
    let surroundings = Surroundings { asked: &asked, ports: &ports, own: &own, swept: &swept, run: &report.run };
    for entry in behind {
        let via: Option<IpAddr> = entry.via.as_deref().and_then(|via| via.parse().ok());
        let is_its = |placed: &Placed| via.is_some_and(|via| placed.host.addresses.contains(&via));
        let at = placed.iter().position(is_its).unwrap_or_else(|| {
            placed.push(Placed { host: Host::at(via.unwrap_or(entry.address)), machine: None });
            judged.push(Judged::default());
            placed.len() - 1
        });
        let machine = placed[at].machine.map(|place| (&machines[place.index], paths[place.index].as_deref()));
        let (joined, path) = machine.map_or((None, None), |(joined, path)| (Some(joined), path));
        let (entry, facts) = through::judge(entry, joined, path, &surroundings);
        judged[at].endpoints.insert(subject(&entry), facts);
        placed[at].host.endpoints.push(entry);
    }
    placed.iter_mut().for_each(|placed| through::was_tried(&mut placed.host));
    let sweep = gaps::Sweep { placed: &placed, asked: &asked, ports: &ports };
    for (joined, path) in machines.iter().zip(&paths) {
        found_gaps.extend(gaps::of_machine(joined, path.as_deref(), &sweep));
    }
    report.run.host_reports = uses(&machines);
    for gap in found_gaps {
        if !report.run.gaps.contains(&gap) {
            report.run.gaps.push(gap);
        }
    }
    report.hosts = placed.into_iter().map(|placed| placed.host).collect();
    report.findings = findings(&report.hosts, &judged, context.facts, &own);
    report
}

/// The findings of a plain scan, which does not judge: what the probes proved, by the same rules.
pub fn findings_only(report: Report, facts: &BTreeMap<String, ServiceFacts>) -> Report {
    let mut report = report;
    let own = Own::of(&report, &[]);
    let mut judged = Vec::with_capacity(report.hosts.len());
    for host in &mut report.hosts {
        let mut floods = Vec::new();
        for address in swept_addresses(host) {
            if let Some(flood) = everything::detect(host, address, |_| false) {
                everything::fold(host, &flood, |_| false);
                floods.push(flood);
            }
        }
        judged.push(Judged { floods, endpoints: BTreeMap::new() });
    }
    report.findings = findings(&report.hosts, &judged, facts, &own);
    report
}

/// What surrounds a host while it is judged.
#[derive(Debug)]
pub struct Surroundings<'a> {
    pub asked: &'a Asked,
    pub ports: &'a SweptPorts,
    pub own: &'a Own,
    /// Every address that answered.
    pub swept: &'a BTreeSet<IpAddr>,
    pub run: &'a Run,
}

/// What tells the outside view from the view over `lo`.
#[derive(Debug)]
pub struct Own {
    pub addresses: Vec<IpAddr>,
    /// Addresses of the machine beside which the vantage stands: its own, though they are seen from outside.
    machine: Vec<IpAddr>,
    /// Names of the vantages of kind `self`.
    vantages: BTreeSet<String>,
}

impl Own {
    fn of(report: &Report, own: &[IpAddr]) -> Self {
        let vantages = &report.run.vantages;
        let sources = vantages.iter().flat_map(|vantage| vantage.source.iter().copied());
        let addresses: BTreeSet<IpAddr> = own.iter().copied().chain(sources).collect();
        let names = vantages.iter().filter(|vantage| vantage.kind == VantageKind::Own);
        Self {
            addresses: addresses.into_iter().collect(),
            machine: vantages.iter().flat_map(|vantage| vantage.machine.iter().copied()).collect(),
            vantages: names.map(|vantage| vantage.name.clone()).collect(),
        }
    }

    /// The addresses by which the machine that scans, or is scanned from within, is told.
    fn of_machine(&self) -> &[IpAddr] {
        if self.machine.is_empty() { &self.addresses } else { &self.machine }
    }

    /// The address from which an entry was seen from outside, as far as the vantages tell.
    pub fn source_of(&self, entry: &EndpointEntry, run: &Run) -> Option<IpAddr> {
        if self.sight(entry) == Sight::Own {
            return None;
        }
        let same_family = |source: &&IpAddr| source.is_ipv4() == entry.address.is_ipv4();
        let named = run.vantages.iter().filter(|vantage| entry.seen_from.contains(&vantage.name));
        let outside = run.vantages.iter().filter(|vantage| vantage.kind != VantageKind::Own);
        named.chain(outside).flat_map(|vantage| &vantage.source).find(same_family).copied()
    }

    /// From where an entry was seen.
    pub fn sight(&self, entry: &EndpointEntry) -> Sight {
        if entry.via.is_some() {
            return Sight::Outside;
        }
        let by_vantage = !entry.seen_from.is_empty() && entry.seen_from.iter().all(|name| self.vantages.contains(name));
        if by_vantage || entry.address.is_loopback() || self.addresses.contains(&entry.address) {
            Sight::Own
        } else {
            Sight::Outside
        }
    }
}

/// Takes away what an earlier correlation derived.
fn pristine(mut report: Report) -> Report {
    let asked = Asked::of(&report);
    report.findings.clear();
    report.run.host_reports.clear();
    report.hosts.retain_mut(|host| {
        let before = host.endpoints.len();
        host.endpoints.retain(|entry| {
            let silent = entry.reason == Reason::NoAnswer && asked.is_silent(entry.address);
            entry.reason != Reason::NotSwept && !silent
        });
        let emptied = before > 0 && host.endpoints.is_empty() && host.other_ports.is_empty();
        for entry in &mut host.endpoints {
            entry.verdict = None;
            entry.listener = None;
            entry.also.clear();
            entry.intent = None;
            entry.path.clear();
        }
        let swept = swept_addresses(host);
        if !swept.contains(&host.address)
            && let Some(first) = swept.first()
        {
            host.address = *first;
        }
        host.id = host.address.to_string();
        host.addresses = swept.into_iter().collect();
        !emptied
    });
    report
}

fn uses(machines: &[Joined<'_>]) -> Vec<HostReportUse> {
    let of = |joined: &Joined<'_>| -> Vec<HostReportUse> {
        let entry = |report: &HostReport| HostReportUse {
            id: report.id.clone(),
            source: report.source,
            collected_at: report.collected_at.clone(),
            joined: joined.any_address(),
        };
        joined.machine.reports().map(entry).collect()
    };
    machines.iter().flat_map(of).collect()
}

fn findings(hosts: &[Host], judged: &[Judged], facts: &BTreeMap<String, ServiceFacts>, own: &Own) -> Vec<Finding> {
    fn case<'a>(
        entry: &'a EndpointEntry,
        judged: &'a Judged,
        facts: &'a BTreeMap<String, ServiceFacts>,
        own: &Own,
    ) -> Case<'a> {
        let known = judged.endpoints.get(&subject(entry));
        Case {
            entry,
            facts: entry.service.as_ref().and_then(|service| facts.get(&service.name)),
            usual: entry.service.is_none().then(|| usual::service(entry, facts)).flatten(),
            sight: own.sight(entry),
            confidence: known.map_or(Confidence::Certain, |known| known.confidence),
            published: known.and_then(|known| known.published),
            answer: known.and_then(|known| known.answer.as_ref()),
            stakes: known.map(|known| &known.stakes),
        }
    }
    let cases: Vec<HostCase<'_>> = hosts
        .iter()
        .zip(judged)
        .map(|(host, judged)| HostCase {
            host,
            cases: host.endpoints.iter().map(|entry| case(entry, judged, facts, own)).collect(),
            floods: &judged.floods,
        })
        .collect();
    rules::findings(&cases)
}
