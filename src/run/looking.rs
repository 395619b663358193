//! One look from one place: sets the stages up where the place is and brings home what was seen.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::RunError;
use super::interrupt::Interrupt;
use super::outside::{self, Look, Seen, Standpoint};
use super::place::{Place, Stand};
use super::progress::ProgressBar;
use super::remote_look::look_from_there;
use super::sink::Sink;
use super::tcp::TcpSweep;
use super::through::{self, Behind, Tries};
use crate::cli::settings::ProbeUse;
use crate::cli::{EngineChoice, ScanSettings, TransmitChoice};
use crate::host::remote::RemoteSettings;
use crate::model::report::VantageKind;
use crate::model::{PortRanges, Shard};
use crate::net::namespace::NetworkNamespace;
use crate::net::{OwnAddress, own_addresses};
use crate::probe::{Catalogue, Fragile, Prober, ProberError, ProberSettings};
use crate::sweep::connect::{ConnectSettings, DEFAULT_PARALLEL};
use crate::sweep::raw::RawSettings;
use crate::sweep::raw::process::Transmit;
use crate::sweep::tally::DEFAULT_MOST_HOSTS;
use crate::targets::TargetSet;

/// Rounds of a sweep at most.
pub(super) const MAX_ROUNDS: u32 = 6;

/// What is to be looked at; the same from every place but for the targets.
#[derive(Clone, Debug)]
pub struct Orders {
    pub targets: TargetSet,
    pub names: BTreeMap<IpAddr, Vec<String>>,
    pub tcp: PortRanges,
    pub udp: PortRanges,
    pub pace: Pace,
    pub seed: u64,
    /// The targets are fewer than the run's.
    pub narrowed: bool,
    /// What lies behind hosts, to be tried through them.
    pub behind: Vec<Behind>,
    /// Addresses of the machine that the program runs on.
    pub machine: Vec<OwnAddress>,
}

/// How fast, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub parallel: Option<usize>,
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub engine: EngineChoice,
    pub transmit: TransmitChoice,
    pub recall: Option<f64>,
    pub shard: Shard,
    pub probes: ProbeUse,
}

impl From<&ScanSettings> for Pace {
    fn from(scan: &ScanSettings) -> Self {
        Self {
            parallel: scan.parallel,
            rate: scan.rate,
            host_rate: scan.host_rate,
            engine: scan.engine,
            transmit: scan.transmit,
            recall: scan.recall,
            shard: scan.shard,
            probes: scan.probes,
        }
    }
}

/// Where results and interrupts go while a look lasts.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    pub catalogue: &'a Arc<Catalogue>,
    pub sink: &'a Sink,
    pub progress: &'a ProgressBar,
    pub interrupt: &'a Interrupt,
    pub remote: &'a RemoteSettings,
}

/// What a look brought, and the addresses that were its own there.
#[derive(Debug)]
pub struct Looked {
    pub seen: Seen,
    pub own: Vec<IpAddr>,
    /// The ranges that were asked, where they are not the run's.
    pub targets: Option<Vec<String>>,
}

/// Looks from `place`, which is on this machine.
///
/// # Errors
/// The namespace could not be entered, or no runtime could be built there.
pub async fn look_from(place: &Place, orders: Orders, ends: Ends<'_>) -> Result<Looked, RunError> {
    let machine = if place.is_beside_this_machine() {
        orders.machine.iter().map(|own| own.address).collect()
    } else {
        Vec::new()
    };
    let standpoint = Standpoint { name: place.name.clone(), kind: place.kind, machine, via: None };
    match &place.stand {
        Stand::Remote(destination) => {
            let name = place.name.as_deref().unwrap_or_default();
            look_from_there(name, destination, ends.remote, &orders, ends.interrupt).await
        }
        Stand::Here | Stand::Interface(_) => {
            let own = orders.machine.clone();
            let device = match &place.stand {
                Stand::Interface(name) => Some(name.clone()),
                _ => None,
            };
            here(standpoint, orders, Here { own, device, next_hops: Vec::new() }, ends).await
        }
        Stand::Inside(namespace) => inside((namespace, Vec::new()), standpoint, orders, ends),
        Stand::Neighbour(neighbour) => {
            let next_hops = neighbour.joins().iter().map(|join| join.here).collect();
            inside((neighbour.namespace(), next_hops), standpoint, orders, ends)
        }
    }
}

/// On a thread of its own inside, with a runtime of its own: nothing of the caller's runtime may get in there.
fn inside(
    (namespace, next_hops): (&NetworkNamespace, Vec<IpAddr>),
    standpoint: Standpoint,
    orders: Orders,
    ends: Ends<'_>,
) -> Result<Looked, RunError> {
    let entered = namespace.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
        runtime.block_on(async {
            let own = own_addresses()?;
            here(standpoint, orders, Here { own, device: None, next_hops }, ends).await
        })
    });
    entered.map_err(RunError::Namespace)?
}

/// The network of the calling thread.
struct Here {
    own: Vec<OwnAddress>,
    /// Everything leaves by this interface; `None`: by the routes.
    device: Option<String>,
    /// Addresses that are the scanned machine's own end of a link to here.
    next_hops: Vec<IpAddr>,
}

/// From the namespace of the calling thread.
async fn here(standpoint: Standpoint, orders: Orders, at: Here, ends: Ends<'_>) -> Result<Looked, RunError> {
    let Here { own, device, next_hops } = at;
    let Ends { catalogue, sink, progress, interrupt, .. } = ends;
    let narrowed = orders.narrowed;
    let behind = Tries {
        behind: orders.behind,
        targets: orders.targets.clone(),
        next_hops,
        pace: orders.pace,
        seed: orders.seed,
    };
    let look = Look {
        targets: orders.targets,
        names: orders.names,
        tcp: orders.tcp,
        udp: orders.udp,
        sweep: tcp_sweep(orders.pace, &own, device.as_deref()),
        prober: prober(orders.pace.probes, device, catalogue)?,
        payloads: Arc::clone(catalogue) as _,
        own: own.clone(),
        seed: orders.seed,
        standpoint: standpoint.clone(),
    };
    let targets = narrowed.then(|| look.targets.describe());
    let mut seen = outside::look(look, sink, progress, interrupt).await;
    if standpoint.kind != VantageKind::Own {
        through::try_all(&behind, &mut seen, &standpoint, ends);
    }
    Ok(Looked { seen, own: own.into_iter().map(|own| own.address).collect(), targets })
}

/// How to sweep TCP from where `own` are the own addresses.
fn tcp_sweep(pace: Pace, own: &[OwnAddress], device: Option<&str>) -> TcpSweep {
    let device = device.map(str::to_owned);
    TcpSweep {
        engine: pace.engine,
        connect: ConnectSettings { device: device.clone(), ..connect_settings(pace, own) },
        raw: RawSettings {
            rate: pace.rate,
            host_rate: pace.host_rate,
            recall: pace.recall,
            own: own.to_vec(),
            device,
            transmit: match pace.transmit {
                TransmitChoice::Auto => Transmit::Best,
                TransmitChoice::Kernel => Transmit::Kernel,
                TransmitChoice::Xdp => Transmit::Xdp,
            },
        },
        shard: pace.shard,
    }
}

/// A sweep by connecting only, from where `own` are the own addresses.
pub(super) fn connecting(pace: Pace, own: &[OwnAddress]) -> TcpSweep {
    TcpSweep { engine: EngineChoice::Connect, shard: Shard::default(), ..tcp_sweep(pace, own, None) }
}

/// How to sweep by connecting from where `own` are the own addresses.
fn connect_settings(pace: Pace, own: &[OwnAddress]) -> ConnectSettings {
    ConnectSettings {
        parallel: pace.parallel.unwrap_or(DEFAULT_PARALLEL),
        rate: pace.rate,
        host_rate: pace.host_rate,
        max_rounds: MAX_ROUNDS,
        own: own.to_vec(),
        device: None,
        most_hosts: DEFAULT_MOST_HOSTS,
    }
}

/// A prober of its own for each look: kept connections lead where they were made.
pub(super) fn prober(
    probes: ProbeUse,
    device: Option<String>,
    catalogue: &Arc<Catalogue>,
) -> Result<Option<Prober>, ProberError> {
    let fragile = match probes {
        ProbeUse::None => return Ok(None),
        ProbeUse::Safe => Fragile::Skip,
        ProbeUse::Fragile => Fragile::Probe,
    };
    Prober::new(Arc::clone(catalogue), ProberSettings { fragile, device, ..ProberSettings::default() }).map(Some)
}
