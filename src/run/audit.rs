//! `scan`, `audit` and `correlate`: the main job and its halves.

use std::net::IpAddr;
use std::sync::Arc;

use super::RunError;
use super::command::{catalogue, print_line};
use super::identity;
use super::inside::{self, Inside};
use super::interrupt::Interrupt;
use super::outside::{self, Look};
use super::progress::{ProgressBar, ShowProgress};
use super::sink::Sink;
use crate::cli::settings::{HostReportSource, ProbeUse};
use crate::cli::{AuditSettings, CorrelateSettings, Exit, ScanSettings};
use crate::correlate::{self, Context, InsideView};
use crate::firewall::HostPath;
use crate::host::remote::RemoteSettings;
use crate::model::host_report::{HOST_NAMESPACE, HostReport, Namespace};
use crate::model::report::{Gap, Run, SCHEMA, Scope, ScopePorts, Status, Tool};
use crate::model::{PathModel, PortRanges, Report, Transport};
use crate::net::{OwnAddress, own_addresses};
use crate::probe::{Catalogue, Fragile, Prober, ProberSettings};
use crate::report::ndjson::Record;
use crate::sweep::connect::{ConnectSettings, DEFAULT_PARALLEL};
use crate::targets::{self, Plan, TargetSet, guard};

/// Rounds of a sweep at most.
const MAX_ROUNDS: u32 = 6;

/// `postern scan`: the outside view alone. No verdicts, but findings about what the probes proved.
pub async fn scan(settings: ScanSettings, show: ShowProgress) -> Result<Exit, RunError> {
    audit(settings, None, Inside::NotAsked, show).await
}

/// `postern audit`: both views, joined.
pub async fn audit_with_inside(settings: AuditSettings, show: ShowProgress) -> Result<Exit, RunError> {
    let inside = Inside::read(&settings.host_reports)?;
    let AuditSettings { scan, host_reports, remote } = settings;
    audit(scan, Some(Remote { host_reports, settings: remote }), inside, show).await
}

/// What is to be asked over ssh, and how.
struct Remote {
    host_reports: Vec<HostReportSource>,
    settings: RemoteSettings,
}

async fn audit(
    scan: ScanSettings,
    remote: Option<Remote>,
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
    if scan.plan {
        let plan = plan(&scan, &targets, &planned);
        print_line(&plan.to_string())?;
        for destination in
            remote.iter().flat_map(|remote| &remote.host_reports).filter_map(HostReportSource::destination)
        {
            print_line(&format!(
                "a run takes the report of {destination} twice, and asks the ports that it names, too"
            ))?;
        }
        return Ok(Exit::Clean);
    }

    let sink = Sink::open(&scan.result.outputs)?;
    let progress = ProgressBar::new(show);
    let interrupt = Interrupt::listen().map_err(RunError::Signals)?;
    let prober = match scan.probes {
        ProbeUse::None => None,
        ProbeUse::Safe => Some(Fragile::Skip),
        ProbeUse::Fragile => Some(Fragile::Probe),
    }
    .map(|fragile| Prober::new(Arc::clone(&catalogue), ProberSettings { fragile, ..ProberSettings::default() }))
    .transpose()?;

    let run_id = identity::run_id(started);
    tracing::info!(
        run = run_id,
        operator = identity::operator(),
        targets = targets.described.join(" "),
        addresses = %targets.set.len(),
        sources = own.iter().filter(|own| is_outward(own)).map(|own| own.address.to_string()).collect::<Vec<_>>().join(" "),
        source_ports = "the kernel's ephemeral range",
        "run starts"
    );
    // The host's own word before the sweep, and again after it: a listener that came or went is no contradiction.
    let scans_itself = own.iter().any(|own| targets.set.contains(own.address));
    let inside = match &remote {
        Some(Remote { host_reports, settings }) => inside.with_remote_hosts(host_reports, settings, &interrupt).await?,
        None => inside,
    };
    let mut inside = inside.with_own_host(scans_itself || no_target).await;
    let ports = ports(&scan, &catalogue, &inside)?;
    guard::check(&targets.set, ports.tcp.len().max(ports.udp.len()), public)?;
    let mut run = Run {
        id: run_id,
        started_at: started.to_string(),
        finished_at: String::new(),
        status: Status::Complete,
        scope: Scope {
            targets: targets.described.clone(),
            excluded: targets.excluded.clone(),
            ports: ScopePorts { tcp: ports.tcp.to_string(), udp: ports.udp.to_string() },
        },
        vantages: Vec::new(),
        sweep: None,
        gaps: targets.gaps.clone(),
        host_reports: Vec::new(),
    };
    sink.stream(&Record::Run(Box::new(run.clone())));
    let look = Look {
        targets: targets.set,
        names: targets.names,
        tcp: ports.tcp.clone(),
        udp: ports.udp.clone(),
        connect: ConnectSettings {
            parallel: scan.parallel.unwrap_or(DEFAULT_PARALLEL),
            rate: scan.rate,
            host_rate: scan.host_rate,
            max_rounds: MAX_ROUNDS,
            own: own.clone(),
        },
        prober,
        payloads: catalogue.clone(),
        own: own.clone(),
        seed: identity::seed(),
    };
    let seen = outside::look(look, &sink, &progress, &interrupt).await;
    inside.take_again(&interrupt).await;

    run.finished_at = identity::now().to_string();
    run.status = if seen.interrupted { Status::Interrupted } else { Status::Complete };
    run.sweep = Some(seen.sweep);
    run.vantages = seen.vantages;
    run.gaps.extend(seen.gaps);
    let report = Report {
        schema: SCHEMA.to_owned(),
        tool: Tool::this(),
        run,
        hosts: seen.hosts,
        silent: seen.silent,
        findings: Vec::new(),
    };
    let own: Vec<IpAddr> = own.iter().map(|own| own.address).collect();
    let report = join(report, inside, &catalogue, &own);
    let exit = Exit::of_report(&report, scan.result.fail_on);
    sink.finish(&report, exit)?;
    Ok(exit)
}

/// `postern correlate`: the same join, of what was saved.
pub async fn correlate(settings: CorrelateSettings) -> Result<Exit, RunError> {
    let report = inside::read_scan(&settings.scan)?;
    let inside = Inside::read(&settings.host_reports)?;
    let catalogue = catalogue(None)?;
    let sink = Sink::open(&settings.result.outputs)?;
    let report = join(report, inside, &catalogue, &[]);
    let exit = Exit::of_report(&report, settings.result.fail_on);
    sink.finish(&report, exit)?;
    Ok(exit)
}

/// The one place where the views meet.
fn join(report: Report, inside: Inside, catalogue: &Catalogue, own: &[IpAddr]) -> Report {
    let facts = catalogue.facts();
    match inside {
        Inside::NotAsked => correlate::findings_only(report, &facts),
        Inside::Asked { views, gaps, .. } => {
            let views: Vec<InsideView> = views.into_iter().map(|view| view.joined).collect();
            let context = Context { facts: &facts, own_addresses: own, paths };
            let mut report = correlate::correlate(report, &views, &context);
            report.run.gaps.extend(gaps);
            report
        }
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

struct Ports {
    tcp: PortRanges,
    udp: PortRanges,
}

/// PORTS of both transports; `probes` also stands for every port that a host report names.
fn ports(scan: &ScanSettings, catalogue: &Catalogue, inside: &Inside) -> Result<Ports, RunError> {
    let resolve = |text: &Option<String>, named: PortRanges, transport| match text {
        None => Ok(PortRanges::default()),
        Some(text) => targets::ports::parse(text, &named.union(&inside.ports(transport))),
    };
    Ok(Ports {
        tcp: resolve(&scan.tcp_ports, catalogue.tcp_ports(), Transport::Tcp)?,
        udp: resolve(&scan.udp_ports, catalogue.udp_ports(), Transport::Udp)?,
    })
}

fn plan(scan: &ScanSettings, targets: &targets::Loaded, ports: &Ports) -> Plan {
    let endpoints =
        |ports: &PortRanges| u64::try_from(targets.set.len().saturating_mul(ports.len() as u128)).unwrap_or(u64::MAX);
    Plan {
        targets: targets.described.clone(),
        excluded: targets.excluded.clone(),
        addresses: targets.set.len(),
        tcp_ports: ports.tcp.to_string(),
        udp_ports: ports.udp.to_string(),
        tcp_endpoints: endpoints(&ports.tcp),
        udp_endpoints: endpoints(&ports.udp),
        rate: scan.rate,
        host_rate: scan.host_rate,
    }
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
