//! From a space to a job: which ways lead there, and the sockets for them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::thread::available_parallelism;

use rustix::rand::{GetRandomFlags, getrandom};

use super::closed::Closed;
use super::exits::{Exits, Outlet, nobodys};
use super::messages::{Descriptors, Job, SpaceJob};
use super::process::{RawError, RawSettings, Transmit, failed};
use crate::net::addresses::known_neighbours;
use crate::net::interface::{Interface, interfaces};
use crate::net::link::open::{OutletKind, xdp_socket};
use crate::net::link::{LinkSockets, OutletSockets, xdp};
use crate::net::ways::ways_to;

/// The job with its descriptors.
#[derive(Debug)]
pub struct Prepared {
    pub job: Job,
    pub descriptors: Vec<OwnedFd>,
}

/// Asks this machine for its ways to the ranges of `space`, and opens a socket for each.
///
/// # Errors
/// Without CAP_NET_RAW, or without a view of the routes.
pub fn prepare(mut space: SpaceJob, settings: &RawSettings, ports: &[u16]) -> Result<Prepared, RawError> {
    let interfaces = interfaces()?;
    let device = settings.device.as_deref();
    let index = device.and_then(|name| interfaces.iter().find(|one| one.name == name)).map(|one| one.index);
    let pieces = ways_to(space.ranges.iter().copied(), &interfaces, index)?;
    if space.shard.is_empty() {
        // Broadcast addresses are no hosts'. Shards keep them: on other machines they may be some.
        space.ranges = without(&space.ranges, &nobodys(&pieces).collect::<Vec<_>>());
    }
    let mut exits = Exits::new(&pieces, &interfaces);
    let of_outlet = |outlet: &Outlet| match outlet {
        Outlet::Ethernet { interface, .. } => interfaces.iter().find(|one| one.index == *interface),
        Outlet::Packets => None,
    };
    let name_of = |outlet| of_outlet(outlet).map_or_else(|| "the kernel's routes".to_owned(), |one| one.name.clone());
    let names: Vec<String> = exits.outlets.iter().map(name_of).collect();
    let mut closed: Vec<Option<Closed>> =
        exits.outlets.iter().map(|outlet| of_outlet(outlet).and_then(Closed::by_state)).collect();
    let kinds: Vec<OutletKind> = exits
        .outlets
        .iter()
        .map(|outlet| match (outlet, settings.transmit) {
            (Outlet::Packets, _) => OutletKind::Packets,
            (Outlet::Ethernet { .. }, Transmit::Kernel) => OutletKind::Frames,
            (Outlet::Ethernet { .. }, Transmit::Best | Transmit::Xdp) => OutletKind::Xdp,
        })
        .collect();
    let lanes = available_parallelism().map_or(1, NonZero::get).min(MOST_LANES);
    if settings.transmit == Transmit::Xdp && kinds.contains(&OutletKind::Xdp) {
        xdp_socket().map_err(|error| RawError::Xdp { hint: xdp::hint(&error, lanes), error })?;
    }
    let sockets = LinkSockets::open(&kinds, device, lanes).map_err(failed("raw sockets"))?;
    let mut descriptors = vec![sockets.receiver];
    let mut kept = Vec::new();
    for ((sockets, name), closed) in sockets.outlets.into_iter().zip(&names).zip(&mut closed) {
        let sockets = match sockets {
            Ok(sockets) if closed.is_none() => sockets,
            Ok(_) => {
                kept.push(Descriptors::Closed);
                continue;
            }
            Err(error) => {
                closed.get_or_insert_with(|| Closed::by_error(name, error));
                kept.push(Descriptors::Closed);
                continue;
            }
        };
        match sockets {
            OutletSockets::Ethernet { xdp, frames } => {
                kept.push(Descriptors::Frames { xdp: xdp.len() });
                descriptors.extend(xdp);
                descriptors.push(frames);
            }
            OutletSockets::Packets { ipv4, ipv6 } => {
                kept.push(Descriptors::Packets { ipv4: ipv4.is_some(), ipv6: ipv6.is_some() });
                descriptors.extend(ipv4.into_iter().chain(ipv6));
            }
        }
    }
    let is_closed = |outlet: &usize| closed.get(*outlet).is_some_and(Option::is_some);
    (0..closed.len()).filter(is_closed).for_each(|outlet| exits.close(outlet));
    let leaves_by = |one: &Interface| {
        exits
            .outlets
            .iter()
            .any(|outlet| matches!(outlet, Outlet::Ethernet { interface, .. } if *interface == one.index))
    };
    let lower = interfaces.iter().filter(|one| one.is_port && !leaves_by(one)).map(|one| one.index).collect();
    let routers: BTreeSet<IpAddr> = exits.exits.iter().filter_map(|exit| exit.router).collect();
    let known = if routers.is_empty() { Vec::new() } else { known_neighbours()? };
    let mut key = [0; 16];
    // Sixteen bytes come whole once the kernel has any (getrandom(2)).
    getrandom(&mut key[..], GetRandomFlags::empty()).map_err(|error| failed("random bytes")(error.into()))?;
    let job = Job {
        space,
        exits,
        descriptors: kept,
        names,
        closed: closed.into_iter().flatten().collect(),
        lower,
        lanes,
        source_ports: ports.to_vec(),
        own: settings.own.iter().map(|own| own.address).collect(),
        key,
        rate: settings.rate,
        host_rate: settings.host_rate,
        recall: settings.recall,
        xdp_only: settings.transmit == Transmit::Xdp,
        known: known.into_iter().filter(|(_, address, _)| routers.contains(address)).collect(),
    };
    Ok(Prepared { job, descriptors })
}

/// `ranges` without the addresses of `others`, which each lie wholly in one of them.
fn without(ranges: &[(IpAddr, IpAddr)], others: &[(IpAddr, IpAddr)]) -> Vec<(IpAddr, IpAddr)> {
    let next = |address: IpAddr, forward: bool| -> Option<IpAddr> {
        match address {
            IpAddr::V4(v4) if forward => v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V4(v4) => v4.to_bits().checked_sub(1).map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(v6) if forward => v6.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
            IpAddr::V6(v6) => v6.to_bits().checked_sub(1).map(|bits| IpAddr::V6(bits.into())),
        }
    };
    let mut kept = Vec::new();
    for &(first, last) in ranges {
        let mut start = Some(first);
        let mut inside: Vec<_> = others.iter().filter(|other| first <= other.0 && other.1 <= last).collect();
        inside.sort();
        for &&(from, to) in &inside {
            if let (Some(begin), Some(end)) = (start, next(from, false))
                && begin < from
            {
                kept.push((begin, end));
            }
            start = next(to, true);
        }
        if let Some(begin) = start.filter(|begin| *begin <= last) {
            kept.push((begin, last));
        }
    }
    kept
}

/// Threads that send, at most: one fills a core with the kernel's work for some million packets a second, and the machine
/// keeps no more than a few of them busy.
const MOST_LANES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_cut_out() {
        let range = |first: &str, last: &str| -> (IpAddr, IpAddr) { (first.parse().unwrap(), last.parse().unwrap()) };
        let ranges = [range("198.18.0.0", "198.18.0.255"), range("198.18.2.255", "198.18.2.255")];
        let others = [
            range("198.18.0.255", "198.18.0.255"),
            range("198.18.0.0", "198.18.0.0"),
            range("198.18.0.16", "198.18.0.31"),
            range("198.18.2.255", "198.18.2.255"),
        ];
        let kept = [range("198.18.0.1", "198.18.0.15"), range("198.18.0.32", "198.18.0.254")];
        assert_eq!(without(&ranges, &others), kept);
        assert_eq!(without(&ranges, &[]), ranges);
        let end = range("255.255.255.254", "255.255.255.255");
        assert_eq!(without(&[end], &[range("255.255.255.255", "255.255.255.255")]), [(end.0, end.0)]);
    }
}
