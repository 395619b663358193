//! `scan`, `audit` and `correlate`: the main job and its halves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::RunError;
use super::command::{catalogue, print_line};
use super::identity;
use super::inside::{self, Inside, Unseen};
use super::interrupt::Interrupt;
use super::looking::{Ends, Orders, Pace, look_from};
use super::planning;
use super::progress::{ProgressBar, ShowProgress};
use super::sink::Sink;
use super::through;
use super::vantages::Vantages;
use crate::cli::host_reports::HostReportSource;
use crate::cli::{AuditSettings, CorrelateSettings, Exit, ScanSettings};
use crate::correlate::{self, Context, InsideView};
use crate::firewall::HostPath;
use crate::model::host_report::{HOST_NAMESPACE, HostReport, Namespace};
use crate::model::report::{Gap, Run, Scope, ScopePorts, Status};
use crate::model::{PathModel, PortRanges, Report, ServiceFacts, Transport};
use crate::net::{OwnAddress, own_addresses};
use crate::probe::Catalogue;
use crate::report::ndjson::Record;
use crate::targets::{self, TargetSet, guard};

/// `postern scan`: the outside view alone. No verdicts, but findings about what the probes proved.
pub async fn scan(settings: ScanSettings, show: ShowProgress) -> Result<Exit, RunError> {
    audit(settings, &[], Inside::NotAsked, show).await
}

/// `postern audit`: both views, joined.
pub async fn audit_with_inside(settings: AuditSettings, show: ShowProgress) -> Result<Exit, RunError> {
    let inside = Inside::read(&settings.host_reports)?;
    audit(settings.scan, &settings.host_reports, inside, show).await
}

async fn audit(
    scan: ScanSettings,
    host_reports: &[HostReportSource],
    inside: Inside,
    show: ShowProgress,
) -> Result<Exit, RunError> {
    let started = identity::now();
    let catalogue = catalogue(scan.probes_dir.as_deref())?;
    let own = own_addresses()?;
    let mut targets = targets::load(&scan.targets, &scan.exclude).await?;
    let no_target = scan.targets.is_empty();
    if no_target {
        let set =
            TargetSet::from_ranges(own.iter().filter(|own| is_outward(own)).map(|own| (own.address, own.address)));
        targets.set = set.without(&TargetSet::from_ranges(excluded_ranges(&targets.excluded)));
        targets.described = targets.set.describe();
    }
    let planned = ports(&scan, &catalogue, &inside)?;
    let public =
        if scan.allow_public || no_target { guard::PublicTargets::Allow } else { guard::PublicTargets::Refuse };
    guard::check(&targets.set, planned.tcp.len().max(planned.udp.len()), public)?;
    if targets.set.is_empty() && !no_target && targets.gaps.is_empty() {
        return Err(RunError::NoTargets);
    }
    let vantages = Vantages::of(&scan, no_target && !matches!(inside, Inside::NotAsked));
    let asks_itself = no_target || own.iter().any(|own| targets.set.contains(own.address));
    if scan.plan {
        vantages.check(&own).await?;
        print_line(&planning::plan(&scan, &targets, &planned).to_string())?;
        for line in vantages.plan() {
            print_line(&line)?;
        }
        for destination in host_reports.iter().filter_map(HostReportSource::destination) {
            print_line(&format!(
                "a run takes the report of {destination} twice, and asks the ports that it names, too"
            ))?;
        }
        if asks_itself && !matches!(inside, Inside::NotAsked) {
            print_line("a run takes this machine's own report twice, and asks the ports that it names, too")?;
        }
        return Ok(Exit::Clean);
    }

    let sink = Sink::open(&scan.result.outputs)?;
    let progress = ProgressBar::new(show);
    let interrupt = Interrupt::listen().map_err(RunError::Signals)?;
    let run_id = identity::run_id(started);
    tracing::info!(
        run = run_id,
        operator = identity::operator(),
        targets = targets.described.join(" "),
        addresses = %targets.set.len(),
        sources = own.iter().filter(|own| is_outward(own)).map(|own| own.address.to_string()).collect::<Vec<_>>().join(" "),
        source_ports = "the kernel's ephemeral range; a raw sweep's are told when it starts",
        "run starts"
    );
    let (places, missing) = vantages.open(&own).await?;
    // The host's own word before the sweep, and again after it: a listener that came or went is no contradiction.
    let inside = match host_reports.iter().any(|source| source.destination().is_some()) {
        true => inside.with_remote_hosts(host_reports, &scan.remote, &interrupt).await?,
        false => inside,
    };
    let mut inside = inside.with_own_host(asks_itself, Unseen::of(&places)).await;
    let ports = ports(&scan, &catalogue, &inside)?;
    guard::check(&targets.set, ports.tcp.len().max(ports.udp.len()), public)?;
    let mut run = Run {
        gaps: targets.gaps.into_iter().chain(missing).collect(),
        ..Run::begun(
            run_id,
            started.to_string(),
            Scope {
                targets: targets.described.clone(),
                excluded: targets.excluded.clone(),
                ports: ScopePorts { tcp: ports.tcp.to_string(), udp: ports.udp.to_string() },
            },
        )
    };
    sink.stream(&Record::Run(Box::new(run.clone())));
    let orders = Orders {
        targets: targets.set,
        names: targets.names,
        tcp: ports.tcp,
        udp: ports.udp,
        pace: Pace::from(&scan),
        // Parts of one whole are of one order.
        seed: if scan.shard.is_whole() { identity::seed() } else { 0 },
        narrowed: false,
        behind: through::behind(&inside, &TargetSet::from_ranges(excluded_ranges(&run.scope.excluded))),
        machine: own,
    };
    let ends =
        Ends { catalogue: &catalogue, sink: &sink, progress: &progress, interrupt: &interrupt, remote: &scan.remote };
    let mut looks = Vec::with_capacity(places.len());
    for place in &places {
        if interrupt.is_raised() && !looks.is_empty() {
            run.status = Status::Interrupted;
            break;
        }
        let (narrowed, gap) = place.narrow(orders.clone(), places.len() == 1);
        run.gaps.extend(gap);
        match look_from(place, narrowed, ends).await {
            Ok(looked) => looks.push(looked),
            // One place that cannot be looked from does not take the others with it.
            Err(error) if places.len() > 1 => run.gaps.push(place.lost(&error)),
            Err(error) => return Err(error),
        }
    }
    inside.take_again(&interrupt).await;
    drop(places);

    run.finished_at = identity::now().to_string();
    let several = looks.len() > 1;
    let judge = Judge::new(&catalogue, inside);
    let mut reports: Vec<Report> = looks
        .into_iter()
        .map(|looked| {
            let (report, own) = looked.into_report(&run);
            judge.join(report, &own)
        })
        .collect();
    let report = match reports.pop() {
        Some(only) if !several => only,
        Some(last) => {
            reports.push(last);
            correlate::merge(&run, reports, &judge.facts)
        }
        None => return Err(RunError::NoVantage("none of them could be looked from".to_owned())),
    };
    let exit = Exit::of_report(&report, scan.result.fail_on);
    sink.finish(&report, exit)?;
    Ok(exit)
}

/// `postern correlate`: the same join, of what was saved.
pub async fn correlate(settings: CorrelateSettings) -> Result<Exit, RunError> {
    let report = inside::read_scan(&settings.scan)?;
    let inside = Inside::read(&settings.host_reports)?;
    let catalogue = catalogue(settings.probes_dir.as_deref())?;
    let sink = Sink::open(&settings.result.outputs)?;
    let judge = Judge::new(&catalogue, inside);
    let run = report.run.clone();
    let mut looks: Vec<Report> = correlate::split(report).into_iter().map(|report| judge.join(report, &[])).collect();
    let report = if looks.len() == 1 { looks.swap_remove(0) } else { correlate::merge(&run, looks, &judge.facts) };
    let exit = Exit::of_report(&report, settings.result.fail_on);
    sink.finish(&report, exit)?;
    Ok(exit)
}

/// The one place where the views meet.
struct Judge {
    facts: BTreeMap<String, ServiceFacts>,
    /// `None`: a plain scan, which does not judge.
    inside: Option<(Vec<InsideView>, Vec<Gap>)>,
}

impl Judge {
    fn new(catalogue: &Catalogue, inside: Inside) -> Self {
        let inside = match inside {
            Inside::NotAsked => None,
            Inside::Asked { views, gaps, .. } => Some((views.into_iter().map(|view| view.joined).collect(), gaps)),
        };
        Self { facts: catalogue.facts(), inside }
    }

    /// `own`: the addresses that were the scanner's own where the report was made.
    fn join(&self, report: Report, own: &[IpAddr]) -> Report {
        let Some((views, gaps)) = &self.inside else { return correlate::findings_only(report, &self.facts) };
        let context = Context { facts: &self.facts, own_addresses: own, paths };
        let mut report = correlate::correlate(report, views, &context);
        report.run.gaps.extend(gaps.iter().cloned());
        report
    }
}

/// The rules of a report, ready to be asked; `None` where it has none.
pub(super) fn paths(report: &HostReport) -> Option<Box<dyn PathModel>> {
    let has_rules = |namespace: &Namespace| {
        namespace.name == HOST_NAMESPACE && namespace.network.as_ref().is_some_and(|network| network.firewall.is_some())
    };
    if !report.namespaces.iter().any(has_rules) {
        return None;
    }
    Some(Box::new(HostPath::new(report)?))
}

pub(super) struct Ports {
    pub tcp: PortRanges,
    pub udp: PortRanges,
}

/// PORTS of both transports; `probes` also stands for every port that a host report names.
fn ports(scan: &ScanSettings, catalogue: &Catalogue, inside: &Inside) -> Result<Ports, RunError> {
    let resolve = |text: &Option<String>, named: PortRanges, transport| match text {
        None => Ok(PortRanges::default()),
        Some(text) => targets::ports::parse(text, &named.union(&inside.ports(transport))).map_err(|error| {
            RunError::Ports { option: if transport == Transport::Tcp { "-p" } else { "--udp" }, error }
        }),
    };
    Ok(Ports {
        tcp: resolve(&scan.tcp_ports, catalogue.tcp_ports(), Transport::Tcp)?,
        udp: resolve(&scan.udp_ports, catalogue.udp_ports(), Transport::Udp)?,
    })
}

/// Addresses by which others may reach this host: not loopback, not link-local.
fn is_outward(own: &OwnAddress) -> bool {
    match own.address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

fn excluded_ranges(described: &[String]) -> Vec<(IpAddr, IpAddr)> {
    described
        .iter()
        .filter_map(|text| match targets::item::Item::parse(text) {
            Ok(targets::item::Item::Range(first, last)) => Some((first, last)),
            _ => None,
        })
        .collect()
}

/// A gap for a host report that could not be had; the run is incomplete by it.
pub(super) fn missing_report(what: String, cause: String) -> Gap {
    Gap { what, cause, settled_by: "a readable host report".to_owned(), incomplete: true }
}
