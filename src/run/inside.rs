//! The inside view: host reports from files, and this machine's own collector.
#![expect(clippy::disallowed_methods, reason = "reads the report files that the operator names")]

use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use super::{RunError, identity};
use crate::cli::settings::HostReportSource;
use crate::correlate::InsideView;
use crate::host::{self, CollectSettings};
use crate::model::host_report::HostReport;
use crate::model::report::Gap;
use crate::model::{PortRanges, Report, Transport};

/// What the hosts say.
#[derive(Debug)]
pub enum Inside {
    /// A plain scan: nobody was asked.
    NotAsked,
    Asked {
        views: Vec<InsideView>,
        /// The own collector's report is the first of `views`, and is taken again after the sweep.
        own: bool,
        gaps: Vec<Gap>,
    },
}

impl Inside {
    /// Reads all given reports.
    ///
    /// # Errors
    /// A report that cannot be read or understood: the operator named it, so the run does not start without it.
    pub fn read(sources: &[HostReportSource]) -> Result<Self, RunError> {
        let mut views = Vec::new();
        for source in sources {
            let (name, text) = read_text(&source.path)?;
            let before = host::read(&name, &text).map_err(RunError::HostReport)?;
            views.push(InsideView { before, after: None, address: source.address });
        }
        Ok(Self::Asked { views, own: false, gaps: Vec::new() })
    }

    /// Adds this machine's own word in front, if it is among the targets.
    pub async fn with_own_host(mut self, is_target: bool) -> Self {
        if let Self::Asked { views, own, gaps } = &mut self
            && is_target
        {
            match collect().await {
                Ok(before) => {
                    // A report that the operator gave of this very machine is not needed twice.
                    if !views.iter().any(|view| view.before.id == before.id) {
                        views.insert(0, InsideView { before, after: None, address: None });
                        *own = true;
                    }
                }
                Err(cause) => gaps.push(super::audit::missing_report("this host's own view".to_owned(), cause)),
            }
        }
        self
    }

    /// Takes the own report again, after the sweep.
    pub async fn take_again(&mut self) {
        if let Self::Asked { views, own: true, .. } = self
            && let Some(view) = views.first_mut()
        {
            view.after = collect().await.ok();
        }
    }

    /// Every port that a report names, client sockets aside.
    pub fn ports(&self, transport: Transport) -> PortRanges {
        let Self::Asked { views, .. } = self else { return PortRanges::default() };
        PortRanges::from_ports(views.iter().flat_map(|view| {
            let listeners = view.before.listeners.iter();
            let listening = listeners
                .filter(move |listener| listener.transport == transport && !listener.likely_client)
                .map(|listener| listener.port);
            let published = view.before.published.iter();
            listening.chain(published.filter(move |port| port.transport == transport).map(|port| port.host_port))
        }))
    }
}

/// This machine's own report, taken on a thread of its own: it enters namespaces.
pub async fn collect() -> Result<HostReport, String> {
    let now = identity::now();
    tokio::task::spawn_blocking(move || host::collect(&CollectSettings::from_environment(), now))
        .await
        .map_err(|panic| format!("the collector stopped by a fault of this program: {panic}"))
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

/// The addresses of a report, for messages.
pub fn addresses_of(report: &HostReport) -> Vec<IpAddr> {
    report.addresses.iter().map(|address| address.address).collect()
}
