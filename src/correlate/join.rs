//! Host identity: which host report belongs to which scanned addresses.
//!
//! A report joins by addresses that only it claims, or by the operator's word. Loopback, link-local and bridge
//! addresses identify nobody; an address that two reports claim joins neither. What does not join becomes a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::{can_identify, canonical, is_link_local};
use super::lookup::swept_addresses;
use super::machine::{Machine, UNKNOWN};
use super::scope::Asked;
use crate::model::Report;
use crate::model::host_report::Source;
use crate::model::report::Gap;

/// The machines of a run and where they stand in it.
#[derive(Debug)]
pub struct Join<'a> {
    pub machines: Vec<Joined<'a>>,
    pub gaps: Vec<Gap>,
}

/// One machine and the addresses of the run that are its own.
#[derive(Debug)]
pub struct Joined<'a> {
    pub machine: Machine<'a>,
    /// Asked addresses of its own namespace, sorted.
    pub addresses: Vec<IpAddr>,
    /// Asked addresses of its other namespaces: hosts of their own on the network.
    pub outer: Vec<IpAddr>,
    /// Where to show it when none of its addresses was asked.
    pub home: Option<IpAddr>,
    /// The report names no address and was taken for the only host of the run.
    pub assumed: bool,
}

impl Joined<'_> {
    /// Any asked address of the machine.
    pub fn any_address(&self) -> Option<IpAddr> {
        self.addresses.first().or_else(|| self.outer.first()).copied()
    }
}

/// Joins the machines to the addresses of `report`; `own` are the addresses of the scanning machine.
pub fn join<'a>(report: &Report, asked: &Asked, machines: Vec<Machine<'a>>, own: &[IpAddr]) -> Join<'a> {
    let scanned: BTreeSet<IpAddr> = report.hosts.iter().flat_map(swept_addresses).collect();
    let is_asked = |address: &IpAddr| scanned.contains(address) || asked.contains(*address);
    let claims: Vec<Claims> = machines.iter().map(|machine| Claims::of(machine, own, &scanned)).collect();
    let (owners, mut gaps) = settle(&machines, &claims, is_asked);
    gaps.extend(shared_ids(&machines));
    let nameless =
        |machine: &Machine<'_>| machine.addresses.is_empty() && machine.views.iter().all(|view| view.address.is_none());
    // Of two listings that name no address neither can be told.
    let alone = machines.iter().filter(|machine| nameless(machine)).count() == 1;
    let joined = machines.into_iter().zip(claims).enumerate().map(|(index, (machine, claims))| {
        let mine = |address: &IpAddr| owners.get(address) == Some(&Owner::One(index));
        let mut joined = Joined {
            addresses: claims.host.iter().copied().filter(mine).collect(),
            outer: claims.outer.iter().copied().filter(mine).collect(),
            home: None,
            assumed: false,
            machine,
        };
        joined.outer.retain(|address| !joined.addresses.contains(address));
        if joined.any_address().is_none() {
            let free = |address: &IpAddr| alone && nameless(&joined.machine) && !owners.contains_key(address);
            match asked.single().filter(free) {
                Some(address) => {
                    joined.addresses.push(address);
                    joined.assumed = true;
                    gaps.push(assumed_gap(&joined.machine, address));
                }
                None => {
                    let of_others = |address: &&IpAddr| owners.contains_key(*address);
                    let shown = claims.explicit.iter().chain(&claims.host).find(|address| !of_others(address));
                    joined.home = shown.copied();
                    gaps.push(unmatched_gap(&joined.machine));
                }
            }
        }
        joined
    });
    let machines = joined.collect();
    Join { machines, gaps }
}

/// Addresses that a machine claims.
#[derive(Debug)]
struct Claims {
    /// By the operator's word.
    explicit: Vec<IpAddr>,
    /// Of its own namespace, the explicit ones included.
    host: Vec<IpAddr>,
    /// Of its other namespaces.
    outer: Vec<IpAddr>,
}

impl Claims {
    fn of(machine: &Machine<'_>, own: &[IpAddr], scanned: &BTreeSet<IpAddr>) -> Self {
        let explicit: BTreeSet<IpAddr> = machine.views.iter().filter_map(|view| view.address).map(canonical).collect();
        let mut host: BTreeSet<IpAddr> = machine.identity().into_iter().chain(explicit.iter().copied()).collect();
        let mut outer: BTreeSet<IpAddr> = machine.outer_namespace_addresses().into_iter().collect();
        if is_own(machine, &host, own) {
            // What this machine reaches by itself is its own: loopback, bridges and what lies behind them.
            host.extend(scanned.iter().filter(|address| own.contains(address) || address.is_loopback()));
            let inner = machine.namespaces.iter().flat_map(|namespace| &namespace.addresses);
            outer.extend(inner.filter(|address| can_identify(**address) && !own.contains(address)));
        }
        outer.retain(|address| !host.contains(address));
        Self {
            explicit: explicit.into_iter().collect(),
            host: host.into_iter().collect(),
            outer: outer.into_iter().collect(),
        }
    }
}

/// Whether the machine is the one that scans.
fn is_own(machine: &Machine<'_>, claimed: &BTreeSet<IpAddr>, own: &[IpAddr]) -> bool {
    if own.is_empty() || !machine.views.iter().any(|view| view.before.source == Source::Native) {
        return false;
    }
    let outward: Vec<&IpAddr> =
        own.iter().filter(|address| !address.is_loopback() && !is_link_local(**address)).collect();
    let has = |address: &IpAddr| machine.addresses.iter().any(|entry| canonical(entry.address) == *address);
    if outward.is_empty() {
        // A machine without any network has nothing but its loopback to be known by.
        return claimed.iter().all(|address| address.is_loopback());
    }
    outward.iter().any(|address| claimed.contains(address))
        || outward.iter().all(|address| has(address))
        || claimed.iter().any(|address| address.is_loopback())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    One(usize),
    Several,
}

/// Decides who owns each claimed address that was asked.
fn settle(
    machines: &[Machine<'_>],
    claims: &[Claims],
    is_asked: impl Fn(&IpAddr) -> bool,
) -> (BTreeMap<IpAddr, Owner>, Vec<Gap>) {
    let mut owners = BTreeMap::new();
    let mut contested: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    let claimed: BTreeSet<IpAddr> =
        claims.iter().flat_map(|claim| claim.host.iter().chain(&claim.outer)).copied().collect();
    for address in claimed.into_iter().filter(is_asked) {
        let by = |list: fn(&Claims) -> Vec<&IpAddr>| -> Vec<usize> {
            let holds = |claim: &Claims| list(claim).contains(&&address);
            claims.iter().enumerate().filter(|(_, claim)| holds(claim)).map(|(index, _)| index).collect()
        };
        let explicit = by(|claim| claim.explicit.iter().collect());
        let host = by(|claim| claim.host.iter().collect());
        let any = by(|claim| claim.host.iter().chain(&claim.outer).collect());
        // The operator's word goes before what reports say of themselves, and that before what they say of namespaces
        // beside their own, which may have a report of their own.
        match (&explicit[..], &host[..], &any[..]) {
            (&[index], _, _) | ([], &[index], _) | ([], [], &[index]) => {
                owners.insert(address, Owner::One(index));
            }
            _ => {
                owners.insert(address, Owner::Several);
                contested.insert(address, any.iter().map(|index| machines[*index].id).collect());
            }
        }
    }
    let gaps = contested.into_iter().map(|(address, ids)| contested_gap(address, &ids)).collect();
    (owners, gaps)
}

fn contested_gap(address: IpAddr, ids: &[&str]) -> Gap {
    Gap {
        what: format!("the inside view of {address}"),
        cause: format!("the host reports {} all claim {address}; none was joined by it", ids.join(", ")),
        settled_by: format!("--host-report {address}=FILE with the report that is of this host"),
        incomplete: true,
    }
}

fn assumed_gap(machine: &Machine<'_>, address: IpAddr) -> Gap {
    Gap {
        what: format!("whether the {} is of {address}", describe(machine)),
        cause: "it names no address; it was taken to be of the only address that was asked".to_owned(),
        settled_by: format!("--host-report {address}=FILE, which says so"),
        incomplete: false,
    }
}

fn unmatched_gap(machine: &Machine<'_>) -> Gap {
    let names_no_address = machine.addresses.is_empty();
    let cause = if names_no_address {
        "the listing names no address that was asked, and more than one host or report is in the run"
    } else {
        "none of the addresses that identify it was asked, or another report claims them too (loopback, link-local and \
         bridge addresses identify nobody)"
    };
    Gap {
        what: format!("the {}", describe(machine)),
        cause: cause.to_owned(),
        settled_by: "--host-report ADDRESS=FILE with an address that is scanned".to_owned(),
        incomplete: true,
    }
}

/// A known id that several machines have.
fn shared_ids(machines: &[Machine<'_>]) -> Vec<Gap> {
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for machine in machines.iter().filter(|machine| machine.id != UNKNOWN) {
        *ids.entry(machine.id).or_default() += 1;
    }
    let shared = ids.into_iter().filter(|(_, count)| *count > 1);
    let gap = |(id, count): (&str, usize)| Gap {
        what: format!("whether the {count} host reports with the id `{id}` are of one machine"),
        cause: "they have no address in common and were taken for different machines (made from one image?)".to_owned(),
        settled_by: "--host-report ADDRESS=FILE with the same address for reports of one machine".to_owned(),
        incomplete: false,
    };
    shared.map(gap).collect()
}

fn describe(machine: &Machine<'_>) -> String {
    let sources: BTreeSet<&str> = machine.views.iter().map(|view| view.before.source.as_str()).collect();
    let sources: Vec<&str> = sources.into_iter().collect();
    format!("host report `{}` ({})", machine.id, sources.join(", "))
}
