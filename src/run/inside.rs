//! The inside view: host reports from files and over ssh, and this machine's own collector.
#![expect(clippy::disallowed_methods, reason = "reads the report files that the operator names")]

use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::interrupt::Interrupt;
use super::place::Place;
use super::{RunError, identity};
use crate::cli::host_reports::{HostReportSource, ReportFrom};
use crate::correlate::InsideView;
use crate::host::remote::{Collector, RemoteSettings, SshDestination};
use crate::host::{self, CollectSettings};
use crate::model::host_report::{HOST_NAMESPACE, HostReport, Namespace};
use crate::model::report::Gap;
use crate::model::{PortRanges, Report, Transport};

/// What the hosts say.
#[derive(Debug)]
pub enum Inside {
    /// A plain scan: nobody was asked.
    NotAsked,
    Asked {
        views: Vec<View>,
        gaps: Vec<Gap>,
        collector: Option<Arc<Collector>>,
    },
}

/// A machine's word, and how it is asked again after the sweep.
#[derive(Debug)]
pub struct View {
    pub joined: InsideView,
    again: Again,
}

#[derive(Debug)]
enum Again {
    /// A file says what it says.
    No,
    Own(Unseen),
    Remote(SshDestination),
}

impl Inside {
    /// Reads all given reports that are files; nothing is sent.
    ///
    /// # Errors
    /// A report that cannot be read or understood: the operator named it, so the run does not start without it.
    pub fn read(sources: &[HostReportSource]) -> Result<Self, RunError> {
        let mut views = Vec::new();
        for source in sources {
            let ReportFrom::File(path) = &source.from else { continue };
            let (name, text) = read_text(path)?;
            let before = with_translated(host::read(&name, &text).map_err(RunError::HostReport)?);
            views.push(View { joined: InsideView { before, after: None, address: source.address }, again: Again::No });
        }
        Ok(Self::Asked { views, gaps: Vec::new(), collector: None })
    }

    /// Takes the reports that are to be had over ssh. A machine that gives none is a gap.
    ///
    /// # Errors
    /// What the operator named for it (ssh's configuration, programs to copy) cannot be used.
    pub async fn with_remote_hosts(
        mut self,
        sources: &[HostReportSource],
        settings: &RemoteSettings,
        interrupt: &Interrupt,
    ) -> Result<Self, RunError> {
        let wanted: Vec<(Option<IpAddr>, SshDestination)> =
            sources.iter().filter_map(|one| Some((one.address, one.destination()?.clone()))).collect();
        if let Self::Asked { views, gaps, collector } = &mut self
            && !wanted.is_empty()
        {
            let remote = Arc::new(Collector::new(settings.clone()).map_err(RunError::Remote)?);
            let destinations: Vec<SshDestination> = wanted.iter().map(|(_, destination)| destination.clone()).collect();
            let results = remote.take_all(&destinations, identity::now(), &interrupt.flag()).await;
            for (result, (address, destination)) in results.into_iter().zip(wanted) {
                match result {
                    Ok(before) => views.push(View {
                        joined: InsideView { before: with_translated(before), after: None, address },
                        again: Again::Remote(destination),
                    }),
                    Err(error) => {
                        tracing::warn!("{error}");
                        gaps.push(error.gap());
                    }
                }
            }
            *collector = Some(remote);
        }
        Ok(self)
    }

    /// Adds this machine's own word in front, if it is among the targets; without what the run itself has put up.
    pub async fn with_own_host(mut self, is_target: bool, unseen: Unseen) -> Self {
        if let Self::Asked { views, gaps, .. } = &mut self
            && is_target
        {
            match collect().await.map(|report| unseen.strip(report)) {
                Ok(before) => {
                    // A report that the operator gave of this very machine is not needed twice.
                    if !views.iter().any(|view| view.joined.before.id == before.id) {
                        let joined = InsideView { before, after: None, address: None };
                        views.insert(0, View { joined, again: Again::Own(unseen) });
                    }
                }
                Err(cause) => gaps.push(super::audit::missing_report("this host's own view".to_owned(), cause)),
            }
        }
        self
    }

    /// Takes the reports again, after the sweep: this machine's own and those over ssh.
    pub async fn take_again(&mut self, interrupt: &Interrupt) {
        let Self::Asked { views, gaps, collector } = self else { return };
        let destinations: Vec<SshDestination> = views.iter().filter_map(View::destination).cloned().collect();
        let mut results = match collector {
            Some(remote) if !interrupt.is_raised() => {
                remote.take_all(&destinations, identity::now(), &interrupt.flag()).await
            }
            _ => Vec::new(),
        }
        .into_iter();
        for view in views {
            match &view.again {
                Again::No => {}
                Again::Own(unseen) => {
                    view.joined.after = collect().await.ok().map(|report| unseen.strip(report));
                }
                Again::Remote(destination) => match results.next() {
                    Some(Ok(after)) if after.id == view.joined.before.id => view.joined.after = Some(after),
                    Some(Ok(after)) => gaps.push(Gap {
                        what: format!("the second look at {destination}, after the sweep"),
                        cause: format!("another machine answered: {}, not {}", after.id, view.joined.before.id),
                        settled_by: "a name or address that is one machine's alone".to_owned(),
                        incomplete: false,
                    }),
                    // What was there before the sweep is known; what came or went meanwhile is not.
                    Some(Err(error)) => gaps.push(Gap {
                        what: format!("the second look at {destination}, after the sweep"),
                        incomplete: false,
                        ..error.gap()
                    }),
                    None => {}
                },
            }
        }
    }

    /// Every port that a report names, client sockets aside.
    pub fn ports(&self, transport: Transport) -> PortRanges {
        let Self::Asked { views, .. } = self else { return PortRanges::default() };
        PortRanges::from_ports(views.iter().flat_map(|view| {
            let listeners = view.joined.before.listeners.iter();
            let listening = listeners
                .filter(move |listener| listener.transport == transport && !listener.likely_client)
                .map(|listener| listener.port);
            let published = view.joined.before.published.iter();
            let published = published.filter(move |port| port.transport == transport).map(|port| port.host_port);
            listening.chain(published).chain(translated(&view.joined.before, transport))
        }))
    }
}

/// Ports that rules of the host translate at an address of its own. A rule for thousands of ports is no service; those
/// are asked only where somebody asks for them.
fn translated(report: &HostReport, transport: Transport) -> impl Iterator<Item = u16> + '_ {
    let own = report.namespaces.iter().find(|one| one.name == HOST_NAMESPACE);
    let translated = own.and_then(|one| one.network.as_ref()).into_iter().flat_map(|network| &network.translated);
    let here = move |address: IpAddr| report.addresses.iter().any(|own| own.address == address);
    translated
        .filter(move |one| one.transport.is_none_or(|its| its == transport) && one.address.is_none_or(here))
        .filter_map(|one| one.ports.parse::<PortRanges>().ok())
        .filter(|ports| ports.len() <= MOST_TRANSLATED)
        .flat_map(|ports| ports.iter().collect::<Vec<u16>>())
}

/// What a run put up on this machine, and a report of the machine is not to show as the machine's own.
#[derive(Clone, Debug, Default)]
pub struct Unseen {
    namespaces: Vec<u64>,
    addresses: Vec<IpAddr>,
}

impl Unseen {
    pub fn of(places: &[Place]) -> Self {
        let mut unseen = Self::default();
        for (inode, neighbour) in places.iter().filter_map(Place::made_namespace) {
            unseen.namespaces.push(inode);
            unseen.addresses.extend(neighbour.joins().iter().map(|join| join.here));
        }
        unseen
    }

    /// Takes the addresses and the namespaces out of a report. The interface and its routes stay in the network state:
    /// they are what packets came by.
    fn strip(&self, mut report: HostReport) -> HostReport {
        report.addresses.retain(|own| !self.addresses.contains(&own.address));
        let made = |namespace: &Namespace| self.namespaces.contains(&namespace.inode);
        let names: Vec<String> = report.namespaces.iter().filter(|one| made(one)).map(|one| one.name.clone()).collect();
        report.namespaces.retain(|namespace| !made(namespace));
        report.listeners.retain(|listener| !names.contains(&listener.namespace));
        report.raw_sockets.retain(|socket| !names.contains(&socket.namespace));
        report
    }
}

impl View {
    const fn destination(&self) -> Option<&SshDestination> {
        match &self.again {
            Again::Remote(destination) => Some(destination),
            Again::No | Again::Own(_) => None,
        }
    }
}

/// The report of one machine over ssh.
pub async fn collect_remote(
    destination: &SshDestination,
    settings: RemoteSettings,
    interrupt: &Interrupt,
) -> Result<HostReport, RunError> {
    let remote = Arc::new(Collector::new(settings).map_err(RunError::Remote)?);
    let mut results =
        remote.take_all(std::slice::from_ref(destination), identity::now(), &interrupt.flag()).await.into_iter();
    match results.next() {
        Some(result) => result.map(with_translated).map_err(|error| RunError::Collect(error.to_string())),
        None => Err(RunError::Collect(format!("nothing was asked of {destination}"))),
    }
}

/// This machine's own report, taken on a thread of its own: it enters namespaces.
pub async fn collect() -> Result<HostReport, String> {
    let now = identity::now();
    tokio::task::spawn_blocking(move || with_translated(host::collect(&CollectSettings::from_environment(), now)))
        .await
        .map_err(|panic| format!("the collector stopped by a fault of this program: {panic}"))
}

/// The report with the ports that its own rules translate: the reader of rules and the collector know nothing of each
/// other.
fn with_translated(mut report: HostReport) -> HostReport {
    let own = |report: &HostReport| report.namespaces.iter().position(|one| one.name == HOST_NAMESPACE);
    let Some(index) = own(&report) else { return report };
    let lacks = report.namespaces[index].network.as_ref().is_some_and(|network| network.translated.is_empty());
    if lacks && let Some(path) = super::audit::paths(&report) {
        let translated = path.translated();
        if let Some(network) = &mut report.namespaces[index].network {
            network.translated = translated;
        }
    }
    report
}

/// Reads a saved scan.
pub fn read_scan(path: &Path) -> Result<Report, RunError> {
    let (name, text) = read_text(path)?;
    crate::report::json::read(&name, &text).map_err(RunError::Scan)
}

/// The text of a file, or of stdin for `-`, with the name for messages.
pub fn read_text(path: &Path) -> Result<(String, String), RunError> {
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    let fail = |error| RunError::Read { name: name.clone(), error };
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).map_err(fail)?;
    } else {
        bytes = std::fs::read(path).map_err(fail)?;
    }
    // Listings may hold names in any encoding; what is not UTF-8 is no address and no port.
    Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Ports of one rule that are taken for services.
const MOST_TRANSLATED: usize = 64;
