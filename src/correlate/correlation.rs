//! The one path of `audit` and of the offline command: a scan report and inside views in, the judged report out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::hosts::{self, Placed};
use super::join::{Join, Joined, join};
use super::judging::{Judged, judge_host};
use super::lookup::{SweptPorts, swept_addresses};
use super::rules::{self, Case, HostCase};
use super::scope::Asked;
use super::verdict::Sight;
use super::{everything, gaps};
use crate::model::report::{EndpointEntry, Host, HostReportUse, VantageKind};
use crate::model::{Confidence, Endpoint, Finding, HostReport, Reason, Report, ServiceFacts};

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
}

/// Joins the views to the report and judges every endpoint. The result can be correlated again: what a correlation
/// adds is derived anew, so that the same views give the same report.
pub fn correlate(report: Report, inside: &[InsideView], context: &Context<'_>) -> Report {
    let mut report = pristine(report);
    let own = Own::of(&report, context.own_addresses);
    let asked = Asked::of(&report);
    let ports = SweptPorts::of_scope(&report.run.scope);
    let Join { machines, gaps: mut found_gaps } = join(&report, &asked, inside, &own.addresses);
    let swept: BTreeSet<IpAddr> = report.hosts.iter().flat_map(swept_addresses).collect();
    let mut placed = hosts::place(std::mem::take(&mut report.hosts), &machines);
    let mut judged = Vec::with_capacity(placed.len());
    placed.retain_mut(|each| {
        let Placed { host, machine } = each;
        let joined = machine.map(|place| (&machines[place.index], place.part));
        let surroundings = Surroundings { asked: &asked, ports: &ports, own: &own, swept: &swept, run: &report.run };
        let judgement = judge_host(host, joined, &surroundings);
        let shown = !each.is_blank();
        if shown {
            judged.push(judgement);
        }
        shown
    });
    for joined in &machines {
        found_gaps.extend(gaps::of_machine(joined, &placed, &asked));
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
    pub run: &'a crate::model::report::Run,
}

/// What tells the outside view from the view over `lo`.
#[derive(Debug)]
pub struct Own {
    pub addresses: Vec<IpAddr>,
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
            vantages: names.map(|vantage| vantage.name.clone()).collect(),
        }
    }

    /// From where an entry was seen.
    pub fn sight(&self, entry: &EndpointEntry) -> Sight {
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
    let case = |entry, judged: &Judged| -> Case<'_> {
        let entry: &EndpointEntry = entry;
        let known: Option<&(Confidence, Option<u16>)> = judged.endpoints.get(&endpoint_key(entry));
        let (confidence, published) = known.copied().unwrap_or((Confidence::Certain, None));
        let facts = entry.service.as_ref().and_then(|service| facts.get(&service.name));
        Case { entry, facts, sight: own.sight(entry), confidence, published }
    };
    let cases: Vec<HostCase<'_>> = hosts
        .iter()
        .zip(judged)
        .map(|(host, judged)| HostCase {
            host,
            cases: host.endpoints.iter().map(|entry| case(entry, judged)).collect(),
            floods: &judged.floods,
        })
        .collect();
    rules::findings(&cases)
}

const fn endpoint_key(entry: &EndpointEntry) -> Endpoint {
    entry.endpoint()
}
