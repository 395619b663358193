//! `postern probes test`: one endpoint, first whether anything is there, then what it says to one definition.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use tokio::sync::mpsc;

use super::command::print_line;
use super::looking::MAX_ROUNDS;
use super::{RunError, identity};
use crate::cli::{Exit, UsageError};
use crate::model::report::Gap;
use crate::model::{Endpoint, PortRanges, PortState, Reason, Service, Transport};
use crate::net::limits::raise_descriptors;
use crate::net::own_addresses;
use crate::probe::{Catalogue, Fragile, Prober, ProberSettings};
use crate::report::escape;
use crate::sweep::SweepResult;
use crate::sweep::connect::{self, ConnectSettings};
use crate::sweep::datagram::{self, DatagramSettings};
use crate::targets::{Space, TargetSet, guard};

/// What to ask, and what is allowed.
#[derive(Clone, Debug)]
pub struct ProbeTest {
    /// The definition's name.
    pub name: String,
    /// Where it is.
    pub catalogue: Arc<Catalogue>,
    pub endpoint: Endpoint,
    pub public: guard::PublicTargets,
    pub fragile: Fragile,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Tested {
    endpoint: String,
    state: PortState,
    reason: Reason,
    /// Who sent the ICMP error.
    #[serde(skip_serializing_if = "Option::is_none")]
    offender: Option<IpAddr>,
    /// `null`: nothing is there that could be asked.
    service: Option<Service>,
    /// What kept this machine from asking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Gap>,
}

/// Asks. [`Exit::Incomplete`] where nothing is open that could be asked.
///
/// # Errors
/// A definition that does not exist, an endpoint that may not be asked, and stdout.
pub async fn test(test: ProbeTest) -> Result<Exit, RunError> {
    let ProbeTest { name, catalogue, endpoint, public, fragile } = test;
    guard::check(&TargetSet::from_ranges([(endpoint.address, endpoint.address)]), 1, public)?;
    let definition = catalogue.only(&name).ok_or_else(|| RunError::NoSuchProbe { name: name.clone() })?;
    let speaks = match endpoint.transport {
        Transport::Tcp => definition.tcp_ports(),
        Transport::Udp => definition.udp_ports(),
    };
    if speaks.is_empty() {
        return Err(UsageError::ProbeTransport { name, transport: endpoint.transport }.into());
    }
    let definition = Arc::new(definition);
    let prober = Prober::new(Arc::clone(&definition), ProberSettings { fragile, ..ProberSettings::default() })?;
    if prober.skips(endpoint) {
        return Err(UsageError::FragilePort { endpoint }.into());
    }

    let mut tested = Tested::of(endpoint, sweep(endpoint, definition).await?);
    if matches!(tested.state, PortState::Open | PortState::OpenOrFiltered) {
        tested.service = match endpoint.transport {
            Transport::Tcp => Some(prober.tcp(endpoint).await),
            Transport::Udp => prober.udp(endpoint).await,
        };
    }
    if tested.service.is_some() && tested.state == PortState::OpenOrFiltered {
        // The sweep sends an empty datagram where the port is not the definition's own.
        (tested.state, tested.reason) = (PortState::Open, Reason::UdpReply);
    }
    print_line(&escape::json(&serde_json::to_string_pretty(&tested).unwrap_or_default()))?;
    Ok(if tested.service.is_some() { Exit::Clean } else { Exit::Incomplete })
}

/// Sweeps the one endpoint: it tells closed from silent from rejected, and by whom.
async fn sweep(endpoint: Endpoint, payloads: Arc<Catalogue>) -> Result<SweepResult, RunError> {
    let own = own_addresses()?;
    let swept = tokio::task::spawn_blocking(move || {
        let target = TargetSet::from_ranges([(endpoint.address, endpoint.address)]);
        let ports = PortRanges::from_ports([endpoint.port]);
        let space = Space::new(target, &ports, endpoint.transport, identity::seed());
        // Nobody is told of anything while it runs.
        let (events, _) = mpsc::channel(1);
        let cancel = Arc::new(AtomicBool::new(false));
        match endpoint.transport {
            Transport::Tcp => {
                let settings = ConnectSettings {
                    parallel: 1,
                    rate: None,
                    host_rate: None,
                    max_rounds: MAX_ROUNDS,
                    own,
                    device: None,
                    most_hosts: 1,
                };
                connect::sweep(&space, &settings, raise_descriptors(), &events, &cancel)
            }
            Transport::Udp => {
                let settings = DatagramSettings { own, payloads: Some(payloads), ..DatagramSettings::default() };
                datagram::sweep(&space, &settings, &events, &cancel)
            }
        }
    });
    swept.await.map_err(|panic| RunError::Collect(format!("the sweep stopped by a fault of this program: {panic}")))
}

impl Tested {
    /// What a sweep of this endpoint alone came to, before it was asked anything.
    fn of(endpoint: Endpoint, swept: SweepResult) -> Self {
        let open = swept.open().next().map(|open| (open.state, open.reason, open.evidence.offender));
        let folded = swept.groups.first().map(|group| (group.state, group.reason, group.offender));
        let silence = match endpoint.transport {
            Transport::Tcp => PortState::Filtered,
            Transport::Udp => PortState::OpenOrFiltered,
        };
        let gaps: Vec<Gap> = swept.gaps.into_iter().filter(|gap| gap.incomplete).collect();
        let (state, reason, offender) = match (open.or(folded), gaps.is_empty()) {
            (Some(seen), _) => seen,
            (None, true) => (silence, Reason::NoAnswer, None),
            (None, false) => (PortState::Unknown, Reason::NotSwept, None),
        };
        Self { endpoint: endpoint.to_string(), state, reason, offender, service: None, gaps }
    }
}
