//! Through-host tests: what a host report names behind its host is tried by way of that host's MAC address, from a
//! namespace of our own. Reads only, like every sweep; no route of this machine changes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::RunError;
use super::assemble;
use super::inside::Inside;
use super::looking::{Ends, Pace};
use super::outside::{self, Look, Seen, Standpoint};
use crate::correlate;
use crate::model::report::{EndpointEntry, Gap, Host, VantageKind};
use crate::model::{Endpoint, PortRanges};
use crate::net::addresses::neighbour_macs;
use crate::net::relay::{Relay, RelayError, Through};
use crate::net::{OwnAddress, own_addresses, route, route_to};
use crate::targets::TargetSet;

/// One host and what is to be tried through it.
#[derive(Clone, Debug)]
pub struct Behind {
    /// How the host is called in gaps.
    pub name: String,
    /// Its addresses, as its report says.
    pub addresses: Vec<IpAddr>,
    pub wanted: BTreeSet<Endpoint>,
}

/// All that is to be tried from one place.
#[derive(Clone, Debug)]
pub struct Tries {
    pub behind: Vec<Behind>,
    /// What the scan asks.
    pub targets: TargetSet,
    /// Addresses that are the scanned machine's own end of a link to here.
    pub next_hops: Vec<IpAddr>,
    pub pace: Pace,
    pub seed: u64,
}

/// How a host is reached on the link.
#[derive(Debug)]
struct Way {
    through: Through,
    /// The address of it that was scanned.
    via: IpAddr,
    interface: String,
}

/// What is behind the hosts that have a report; `excluded` addresses are not asked there either.
pub fn behind(inside: &Inside, excluded: &TargetSet) -> Vec<Behind> {
    let Inside::Asked { views, .. } = inside else { return Vec::new() };
    let of = |view: &super::inside::View| {
        let report = &view.joined.before;
        let mut wanted = correlate::through::wanted(report);
        wanted.retain(|endpoint| !excluded.contains(endpoint.address));
        Behind {
            name: report.hostname.clone().unwrap_or_else(|| report.id.clone()),
            addresses: correlate::through::ways_to(report).chain(view.joined.address).collect(),
            wanted,
        }
    };
    views.iter().map(of).filter(|behind| !behind.wanted.is_empty()).collect()
}

/// Tries everything behind the hosts that are neighbours here, on the calling thread's network, and adds what it saw to
/// their entries in `seen`.
pub fn try_all(tries: &Tries, seen: &mut Seen, standpoint: &Standpoint, ends: Ends<'_>) {
    for behind in &tries.behind {
        // Hosts that are not part of the scan are not asked for what is behind them.
        let asked: Vec<IpAddr> =
            behind.addresses.iter().copied().filter(|address| tries.targets.contains(*address)).collect();
        if asked.is_empty() || ends.interrupt.is_raised() {
            continue;
        }
        let macs = macs_of(seen);
        match way(&asked, behind, tries, macs) {
            // Through a chosen interface only where it is the route's.
            Ok(way)
                if standpoint.kind == VantageKind::Interface
                    && standpoint.name.as_ref().is_some_and(|name| *name != way.interface) => {}
            Ok(way) => match try_one(&way, behind, (tries, standpoint), ends) {
                Ok(entries) => add(seen, way.via, entries),
                Err(error) => seen.gaps.push(gap(behind, &error)),
            },
            Err(Some(cause)) => seen.gaps.push(gap(behind, &cause)),
            // It is its own machine, or nobody is there.
            Err(None) => {}
        }
    }
}

/// What the sweep has asked for itself: the kernel's table does not know it.
fn macs_of(seen: &Seen) -> HashMap<IpAddr, String> {
    seen.hosts.iter().filter_map(|host| Some((host.address, host.mac.clone()?))).collect()
}

/// `Err(None)`: there is no link to it, as to oneself.
fn way(
    asked: &[IpAddr],
    behind: &Behind,
    tries: &Tries,
    mut macs: HashMap<IpAddr, String>,
) -> Result<Way, Option<String>> {
    let failed = |error: &dyn std::error::Error| Some(error.to_string());
    macs.extend(neighbour_macs().map_err(|error| failed(&error))?);
    let own = own_addresses().map_err(|error| failed(&error))?;
    let mut found: Option<Way> = None;
    let mut router = None;
    for &address in asked {
        let Some(route) = route_to(address).map_err(|error| failed(&error))? else { continue };
        let neighbour = match route.way {
            route::Way::OnLink => address,
            // The way leads to the machine itself: it is a router to its own other addresses.
            route::Way::Gateway(hop) if tries.next_hops.contains(&hop) || behind.addresses.contains(&hop) => hop,
            route::Way::Gateway(hop) => {
                router = Some(hop);
                continue;
            }
            route::Way::Local | route::Way::Broadcast => continue,
        };
        let Some(source) = route.source else { continue };
        let mine: Option<&OwnAddress> = own.iter().find(|one| one.index == route.index && one.mac.is_some());
        let (Some(host), Some(mine)) = (macs.get(&neighbour).and_then(|mac| mac_of(mac)), mine) else { continue };
        let Some(mac) = mine.mac.as_deref().and_then(mac_of) else { continue };
        match &mut found {
            None => {
                let through = Through {
                    index: route.index,
                    own: mac,
                    host,
                    sources: vec![source],
                    destinations: Vec::new(),
                    // Any number will do.
                    seed: tries.seed as u16,
                };
                found = Some(Way { through, via: address, interface: route.interface });
            }
            Some(Way { through, .. }) => {
                let other_family = through.sources.iter().all(|one| one.is_ipv4() != source.is_ipv4());
                if other_family && (through.index, through.host) == (route.index, host) {
                    through.sources.push(source);
                }
            }
        }
    }
    let Some(mut way) = found else {
        return Err(router.map(|router| format!("it is behind the router {router}, which forwards nothing to there")));
    };
    let index = way.through.index;
    let reached = |address: &IpAddr| {
        let family = way.through.sources.iter().any(|source| source.is_ipv4() == address.is_ipv4());
        // What is on the same link needs nobody to go through.
        family && !own.iter().any(|own| own.index == index && own.is_on_link(*address))
    };
    let destinations: BTreeSet<IpAddr> =
        behind.wanted.iter().map(|endpoint| endpoint.address).filter(reached).collect();
    way.through.destinations = destinations.into_iter().take(MOST_ADDRESSES).collect();
    if way.through.destinations.is_empty() { Err(None) } else { Ok(way) }
}

/// One host's worth, from a namespace that leads through it.
fn try_one(
    way: &Way,
    behind: &Behind,
    (tries, standpoint): (&Tries, &Standpoint),
    ends: Ends<'_>,
) -> Result<Vec<EndpointEntry>, String> {
    let Way { through, via, interface } = way;
    let relay = Relay::open(through).map_err(|error: RelayError| error.to_string())?;
    let wanted: BTreeSet<Endpoint> =
        behind.wanted.iter().copied().filter(|endpoint| through.destinations.contains(&endpoint.address)).collect();
    // One sweep for each set of ports: an address is asked for its own and no others.
    let mut sets: Vec<(PortRanges, Vec<IpAddr>)> = Vec::new();
    for &address in &through.destinations {
        let of_it = wanted.iter().filter(|endpoint| endpoint.address == address).map(|endpoint| endpoint.port);
        let ports = PortRanges::from_ports(of_it);
        match sets.iter_mut().find(|(known, _)| *known == ports) {
            Some((_, addresses)) => addresses.push(address),
            None => sets.push((ports, vec![address])),
        }
    }
    let name = standpoint.name.clone().unwrap_or_else(|| interface.clone());
    let standpoint = Standpoint { name: Some(name), via: Some(*via), ..standpoint.clone() };
    let looked = relay.namespace().inside(|| -> Result<Vec<Seen>, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
        runtime.block_on(async {
            let own = own_addresses()?;
            let mut all = Vec::with_capacity(sets.len());
            for (ports, addresses) in sets {
                let targets = TargetSet::from_ranges(addresses.into_iter().map(|address| (address, address)));
                let settings = Pace { parallel: Some(AT_ONCE), ..tries.pace };
                let look = Look {
                    targets,
                    names: std::collections::BTreeMap::new(),
                    tcp: ports,
                    udp: PortRanges::default(),
                    sweep: super::looking::connecting(settings, &own),
                    prober: super::looking::prober(settings.probes, None, ends.catalogue)?,
                    payloads: std::sync::Arc::clone(ends.catalogue) as _,
                    own: own.clone(),
                    seed: tries.seed,
                    standpoint: standpoint.clone(),
                };
                all.push(outside::look(look, ends.sink, ends.progress, ends.interrupt).await);
            }
            Ok(all)
        })
    });
    let looks = looked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(wanted.iter().map(|endpoint| entry(*endpoint, &looks, &standpoint)).collect())
}

/// What was seen of one endpoint, from its own entry or from the folded ports; silence where there is neither.
fn entry(endpoint: Endpoint, looks: &[Seen], standpoint: &Standpoint) -> EndpointEntry {
    let hosts = || looks.iter().flat_map(|seen| &seen.hosts);
    if let Some(entry) = hosts().flat_map(|host| &host.endpoints).find(|entry| entry.endpoint() == endpoint) {
        return entry.clone();
    }
    let group = hosts().flat_map(|host| &host.other_ports).find(|group| {
        let ports: PortRanges = group.ports.parse().unwrap_or_default();
        (group.address, group.transport) == (endpoint.address, endpoint.transport) && ports.contains(endpoint.port)
    });
    assemble::folded_entry(endpoint, group, standpoint)
}

fn add(seen: &mut Seen, via: IpAddr, entries: Vec<EndpointEntry>) {
    let at = seen.hosts.iter().position(|host| host.addresses.contains(&via)).unwrap_or_else(|| {
        seen.hosts.push(Host::at(via));
        seen.hosts.len() - 1
    });
    seen.hosts[at].endpoints.extend(entries);
}

fn gap(behind: &Behind, cause: &str) -> Gap {
    Gap {
        what: format!("what lies behind {}: its containers' own addresses and its loopback", behind.name),
        cause: cause.to_owned(),
        settled_by: "a run as root (CAP_NET_RAW, CAP_SYS_ADMIN) on the same link".to_owned(),
        incomplete: false,
    }
}

fn mac_of(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Addresses behind one host that are tried.
const MOST_ADDRESSES: usize = 256;
/// Connections at a time; there are 64 source ports, and each may be used towards every address.
const AT_ONCE: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_layer_addresses_are_read() {
        assert_eq!(mac_of("02:00:00:00:00:ab"), Some([2, 0, 0, 0, 0, 0xab]));
        for text in ["", "02:00", "02:00:00:00:00:xx", "02:00:00:00:00:ab:cd"] {
            assert_eq!(mac_of(text), None, "{text}");
        }
    }
}
