//! The outside view: sweeps, probes what is open while the sweep goes on, and assembles the hosts of a report.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::assemble::{self, Outside};
use super::at_once::AtOnce;
use super::interrupt::Interrupt;
use super::link_local;
use super::progress::ProgressBar;
use super::sink::Sink;
use super::tcp::{Swept, TcpSweep};
use crate::model::report::{EndpointEntry, Gap, Host, Sweep, Vantage, VantageKind};
use crate::model::{Endpoint, Observation, Payloads, PortRanges, ProbeSpace as _, Service, Transport};
use crate::net::OwnAddress;
use crate::net::addresses::neighbour_macs;
use crate::net::limits::raise_descriptors;
use crate::probe::Prober;
use crate::sweep::datagram::{self, DatagramSettings};
use crate::sweep::{SweepEvent, SweepResult};
use crate::targets::{Space, TargetSet};

/// What to look at, and with what.
#[derive(Debug)]
pub struct Look {
    pub targets: TargetSet,
    pub names: BTreeMap<IpAddr, Vec<String>>,
    pub tcp: PortRanges,
    pub udp: PortRanges,
    pub sweep: TcpSweep,
    /// `None`: states only.
    pub prober: Option<Prober>,
    /// What the UDP sweep sends.
    pub payloads: Arc<dyn Payloads>,
    pub own: Vec<OwnAddress>,
    pub seed: u64,
    pub standpoint: Standpoint,
}

/// Where a look stands, as reports tell it.
#[derive(Clone, Debug, Default)]
pub struct Standpoint {
    /// `None`: the interface by which the route leads, and [`SELF_VANTAGE`] for own addresses.
    pub name: Option<String>,
    pub kind: VantageKind,
    /// Addresses of the scanned machine, for a place beside it.
    pub machine: Vec<IpAddr>,
    /// The host that everything goes through.
    pub via: Option<IpAddr>,
}

impl Standpoint {
    /// Name of the view over `lo`.
    fn own_name(&self) -> String {
        match &self.name {
            Some(name) if self.kind != VantageKind::Own => format!("{name} over lo"),
            _ => SELF_VANTAGE.to_owned(),
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    pub hosts: Vec<Host>,
    pub silent: Vec<String>,
    pub sweep: Sweep,
    pub vantages: Vec<Vantage>,
    pub gaps: Vec<Gap>,
    pub interrupted: bool,
}

/// Services asked at once.
const PROBES_AT_ONCE: usize = 128;

/// Open ports asked on one address: behind a middlebox that accepts everything there may be 65,535.
const PROBES_PER_HOST: usize = 256;

/// Name of the vantage that is this machine's loopback.
pub const SELF_VANTAGE: &str = "self";

/// Looks at everything in `look`, unless `interrupt` is raised: then what was found until then is returned.
pub async fn look(look: Look, sink: &Sink, progress: &ProgressBar, interrupt: &Interrupt) -> Seen {
    let descriptors = raise_descriptors();
    let own: BTreeSet<IpAddr> = look.own.iter().map(|own| own.address).collect();
    let (vantages, vantage_names) = vantages(&look);
    let vantage_of = |address: IpAddr| {
        if look.standpoint.via.is_some() {
            look.standpoint.name.clone().unwrap_or_default()
        } else if own.contains(&address) || address.is_loopback() {
            look.standpoint.own_name()
        } else {
            vantage_names.get(&address.is_ipv4()).cloned().unwrap_or_else(|| "default".to_owned())
        }
    };

    let mut outside = Outside { names: look.names.clone(), ..Outside::default() };
    let mut gaps = Vec::new();
    let mut sweep = Sweep::unsent("connect", "kernel");
    let mut interrupted = false;
    for (transport, ports) in [(Transport::Tcp, &look.tcp), (Transport::Udp, &look.udp)] {
        if ports.is_empty() || look.targets.is_empty() || interrupt.is_raised() {
            interrupted |= interrupt.is_raised();
            continue;
        }
        let space = Space::new(look.targets.clone(), ports, transport, look.seed ^ ports.len() as u64);
        let space = space.sharded(look.sweep.shard);
        progress.begin(transport, space.len());
        let (events, found) = mpsc::channel(4096);
        let asked = ask_found(
            found,
            look.prober.clone(),
            Reporter { sink, progress, vantage_of: &vantage_of, via: look.standpoint.via },
        );
        let swept = tokio::task::spawn_blocking({
            let cancel = interrupt.flag();
            let sweep = look.sweep.clone();
            let (targets, ports, seed) = (look.targets.clone(), ports.clone(), look.seed ^ ports.len() as u64);
            let living = outside.living.clone();
            let payloads = Some(Arc::clone(&look.payloads));
            move || match transport {
                Transport::Tcp => sweep.run(&Swept {
                    targets: &targets,
                    ports: &ports,
                    seed,
                    descriptors,
                    events: &events,
                    cancel: &cancel,
                }),
                Transport::Udp => {
                    let settings = DatagramSettings {
                        own: sweep.connect.own.clone(),
                        device: sweep.connect.device.clone(),
                        rate: sweep.connect.rate,
                        payloads,
                        living,
                    };
                    datagram::sweep(&space, &settings, &events, &cancel)
                }
            }
        });
        let (swept, (services, skipped)) = tokio::join!(swept, asked);
        match swept {
            Ok(result) => {
                interrupted |= result.interrupted;
                add(&mut sweep, &result);
                gaps.extend(result.gaps);
                outside.living.extend(result.living);
                outside.macs.extend(result.macs);
                outside.improbable.extend(result.improbable);
                outside.observations.extend(result.observations);
                outside.groups.extend(result.groups);
            }
            Err(panic) => gaps.push(Gap {
                what: format!("the {transport} sweep"),
                cause: format!("it stopped by a fault of this program: {panic}"),
                settled_by: "a report of this fault".to_owned(),
                incomplete: true,
            }),
        }
        outside.services.extend(services);
        gaps.extend(skipped.into_iter().map(|(address, count)| Gap {
            what: format!("{count} open ports of {address} were not asked what they are"),
            cause: format!("more than {PROBES_PER_HOST} ports of it are open"),
            settled_by: "a scan of the ports in question".to_owned(),
            incomplete: false,
        }));
    }
    if let Some(prober) = &look.prober
        && look.udp.contains(link_local::PORT)
        && !interrupt.is_raised()
    {
        gaps.extend(link_local::ask(&look, prober, &mut outside).await);
    }
    progress.finish();
    outside.macs.extend(neighbour_macs().unwrap_or_default());
    let silent = look.targets.silent(&outside.living);
    let mut hosts = assemble::hosts(outside, vantage_of);
    for entry in hosts.iter_mut().flat_map(|host| &mut host.endpoints) {
        entry.via = look.standpoint.via.map(|via| via.to_string());
    }
    Seen { hosts, silent, sweep, vantages, gaps, interrupted }
}

/// Where an open endpoint is told of while the sweep goes on.
struct Reporter<'a, F> {
    sink: &'a Sink,
    progress: &'a ProgressBar,
    vantage_of: &'a F,
    via: Option<IpAddr>,
}

/// Asks every open endpoint what it is, as the sweep finds it. Returns the services, and by address how many endpoints
/// were beyond [`PROBES_PER_HOST`].
async fn ask_found<F: Fn(IpAddr) -> String>(
    mut found: mpsc::Receiver<SweepEvent>,
    prober: Option<Prober>,
    reporter: Reporter<'_, F>,
) -> (HashMap<Endpoint, Service>, BTreeMap<IpAddr, usize>) {
    // There may be millions of these, and each one that is being asked holds connections and buffers.
    let mut asking = AtOnce::new(PROBES_AT_ONCE, |(prober, observation): (Prober, Observation)| async move {
        let service = match observation.endpoint.transport {
            Transport::Tcp => Some(prober.tcp(observation.endpoint).await),
            Transport::Udp => prober.udp(observation.endpoint).await,
        };
        (observation, service)
    });
    let mut services = HashMap::new();
    let mut per_host: HashMap<IpAddr, usize> = HashMap::new();
    let mut skipped: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let mut sweeping = true;
    let told = |observation: &Observation, service: Option<&Service>| {
        reporter.progress.asked();
        let mut found = entry(observation, service, (reporter.vantage_of)(observation.endpoint.address));
        found.via = reporter.via.map(|via| via.to_string());
        reporter.sink.endpoint(&found);
    };
    while sweeping || !asking.is_empty() {
        tokio::select! {
            event = found.recv(), if sweeping => match event {
                None => sweeping = false,
                Some(SweepEvent::Progress(at)) => reporter.progress.update(at),
                Some(SweepEvent::Found(observation)) => {
                    let address = observation.endpoint.address;
                    let asked = per_host.entry(address).or_default();
                    *asked += 1;
                    match &prober {
                        Some(prober) if *asked <= PROBES_PER_HOST => asking.push((prober.clone(), observation)),
                        Some(_) => {
                            *skipped.entry(address).or_default() += 1;
                            told(&observation, None);
                        }
                        None => told(&observation, None),
                    }
                }
            },
            Some(done) = asking.next(), if !asking.is_empty() => {
                let Ok((observation, service)) = done else { continue };
                told(&observation, service.as_ref());
                if let Some(service) = service {
                    services.insert(observation.endpoint, service);
                }
            }
        }
    }
    (services, skipped)
}

fn entry(observation: &Observation, service: Option<&Service>, vantage: String) -> EndpointEntry {
    EndpointEntry {
        evidence: observation.evidence.clone(),
        seen_from: vec![vantage],
        service: service.cloned().map(Box::new),
        ..EndpointEntry::at(observation.endpoint, observation.state, observation.reason)
    }
}

/// The vantages from which the targets are seen, and the outside one's name by family (`true` is IPv4).
fn vantages(look: &Look) -> (Vec<Vantage>, HashMap<bool, String>) {
    let own: BTreeSet<IpAddr> = look.own.iter().map(|own| own.address).collect();
    let is_own = |address: &IpAddr| own.contains(address) || address.is_loopback();
    let mut vantages = Vec::new();
    let mut names = HashMap::new();
    let any_own = own.iter().any(|address| look.targets.contains(*address))
        || look.targets.ranges().any(|(first, _)| first.is_loopback());
    let foreign = |ipv4: bool| {
        look.targets.ranges().find_map(|(first, last)| {
            let candidate = if is_own(&first) { last } else { first };
            (candidate.is_ipv4() == ipv4 && !is_own(&candidate)).then_some(candidate)
        })
    };
    let Standpoint { name, kind, machine, .. } = &look.standpoint;
    // By name of the vantage: a place has one name, whichever interfaces its routes lead by.
    let mut found: BTreeMap<String, Vantage> = BTreeMap::new();
    for ipv4 in [true, false] {
        let Some(target) = foreign(ipv4) else { continue };
        // A chosen interface is used whatever the route.
        let chosen = name.as_ref().filter(|_| *kind == VantageKind::Interface);
        let of_chosen = |own: &&OwnAddress| Some(&own.interface) == chosen && own.address.is_ipv4() == ipv4;
        let source = match chosen {
            Some(_) => look.own.iter().find(of_chosen).map(|own| own.address),
            None => super::source::source_towards(target),
        };
        let interface = source
            .and_then(|source| look.own.iter().find(|own| own.address == source))
            .map(|own| own.interface.clone());
        let name = name.clone().or_else(|| interface.clone()).unwrap_or_else(|| "default".to_owned());
        let vantage = found.entry(name.clone()).or_insert_with(|| Vantage {
            name: name.clone(),
            kind: *kind,
            machine: machine.clone(),
            ..Vantage::default()
        });
        vantage.interface = vantage.interface.take().or(interface);
        vantage.source.extend(source);
        names.insert(ipv4, name);
    }
    vantages.extend(found.into_values());
    if any_own {
        vantages.push(Vantage {
            name: look.standpoint.own_name(),
            kind: VantageKind::Own,
            interface: Some("lo".to_owned()),
            ..Vantage::default()
        });
    }
    (vantages, names)
}

/// Adds a transport's sweep to the whole: numbers add up, rounds and rate are the larger ones, recall is TCP's.
fn add(sweep: &mut Sweep, result: &SweepResult) {
    if result.stats.engine != "datagram" {
        sweep.engine.clone_from(&result.stats.engine);
        sweep.transmit.clone_from(&result.stats.transmit);
    }
    sweep.probes_sent += result.stats.probes_sent;
    sweep.replies += result.stats.replies;
    sweep.dropped_replies += result.stats.dropped_replies;
    sweep.rounds = sweep.rounds.max(result.stats.rounds);
    sweep.packets_per_second = sweep.packets_per_second.max(result.stats.packets_per_second);
    sweep.recall = sweep.recall.or(result.stats.recall);
}
