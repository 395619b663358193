//! Which views are of one machine, and listings put beside the machine's own word.
//!
//! A machine's own word (`postern host`, the plain commands over ssh) tells of each socket what a listing leaves out, and
//! who it is. A listing joins it by the operator's word or by an address that its sockets are bound to. Where the own word
//! could not see an owner the listing may name it; for the rest a listing adds nothing to a socket that is known.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::InsideView;
use super::address::canonical;
use super::machine::{Machine, UNKNOWN, agree, place};
use crate::model::HostReport;
use crate::model::host_report::Listener;
use crate::model::report::Gap;

/// The views of a run by machine; never empty ones.
#[derive(Debug)]
pub struct Together<'a> {
    pub machines: Vec<Vec<Cow<'a, InsideView>>>,
    pub gaps: Vec<Gap>,
}

/// Puts the views of one machine together; `only` is the one address that was asked, when it was one.
pub fn together(inside: &[InsideView], only: Option<IpAddr>) -> Together<'_> {
    let mut groups: Vec<Vec<&InsideView>> = Vec::new();
    let (listings, words): (Vec<_>, Vec<_>) = inside.iter().partition(|view| view.before.source.is_listing());
    for view in words.into_iter().chain(listings) {
        let same = groups.iter().position(|group| group.iter().any(|known| is_same_machine(known, view)));
        match same.or_else(|| own_word_of(&groups, view)) {
            Some(index) => groups[index].push(view),
            None => groups.push(vec![view]),
        }
    }
    let gaps = take_in_the_nameless(&mut groups, only).into_iter().collect();
    Together { machines: groups.into_iter().map(in_its_terms).collect(), gaps }
}

/// The same address by the operator's word, or the same known id. Machines made from one image often share an id: two
/// views that name addresses and none in common are of two machines.
fn is_same_machine(known: &InsideView, view: &InsideView) -> bool {
    let by_word = view.address.is_some() && known.address == view.address;
    let by_id = view.before.id != UNKNOWN && known.before.id == view.before.id;
    by_word || (by_id && !is_other_machine(known, view))
}

fn is_other_machine(one: &InsideView, other: &InsideView) -> bool {
    let identity = |view| Machine::new(vec![view]).identity();
    let (one, other) = (identity(one), identity(other));
    !one.is_empty() && !other.is_empty() && !one.iter().any(|address| other.contains(address))
}

/// The group with the own word of the machine that a listing is of, when the listing names an address of one alone.
fn own_word_of(groups: &[Vec<&InsideView>], listing: &InsideView) -> Option<usize> {
    if !listing.before.source.is_listing() {
        return None;
    }
    let named = match listing.address {
        Some(address) => vec![canonical(address)],
        None => Machine::new(vec![listing]).identity(),
    };
    let claims = |group: &[&InsideView]| claimed(group).iter().any(|address| named.contains(address));
    alone(groups.iter().enumerate().filter(|(_, group)| claims(group)).map(|(index, _)| index))
}

/// A single listing that names nobody, in a run that asked one address, is of the machine that has the address.
fn take_in_the_nameless(groups: &mut Vec<Vec<&InsideView>>, only: Option<IpAddr>) -> Option<Gap> {
    let only = canonical(only?);
    let is_nameless = |group: &[&InsideView]| match group {
        [view] => {
            view.before.source.is_listing() && view.address.is_none() && Machine::new(vec![view]).identity().is_empty()
        }
        _ => false,
    };
    let positions = |holds: &dyn Fn(&[&InsideView]) -> bool| {
        alone(groups.iter().enumerate().filter(|(_, group)| holds(group)).map(|(index, _)| index))
    };
    let listing = positions(&is_nameless)?;
    let machine = positions(&|group| claimed(group).contains(&only))?;
    let view = *groups[listing].first()?;
    groups[machine].push(view);
    groups.remove(listing);
    let source = view.before.source.as_str();
    Some(Gap {
        what: format!("whether the {source} listing is of {only}"),
        cause: "it names no address; it was taken to be of the only address that was asked".to_owned(),
        settled_by: format!("--host-report {only}=FILE, which says so"),
        incomplete: false,
    })
}

/// Addresses by which a group with a machine's own word is known; none for listings alone.
fn claimed(group: &[&InsideView]) -> Vec<IpAddr> {
    if group.iter().all(|view| view.before.source.is_listing()) {
        return Vec::new();
    }
    let told = group.iter().filter_map(|view| view.address).map(canonical);
    told.chain(Machine::new(group.to_vec()).identity()).collect()
}

fn alone(mut found: impl Iterator<Item = usize>) -> Option<usize> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Listings with the names that the machine's own word gives to namespaces, and that word with the owners that it could
/// not see and a listing names.
fn in_its_terms(group: Vec<&InsideView>) -> Vec<Cow<'_, InsideView>> {
    let (listings, words): (Vec<_>, Vec<_>) = group.into_iter().partition(|view| view.before.source.is_listing());
    if listings.is_empty() || words.is_empty() {
        return words.into_iter().chain(listings).map(Cow::Borrowed).collect();
    }
    let reports = words.iter().flat_map(|view| std::iter::once(&view.before).chain(&view.after));
    let names: HashMap<u64, &str> =
        reports.flat_map(|report| &report.namespaces).map(|one| (one.inode, one.name.as_str())).collect();
    let listings: Vec<Cow<'_, InsideView>> = listings.into_iter().map(|view| renamed(view, &names)).collect();
    let owners = Owners::of(&listings);
    let mut views: Vec<Cow<'_, InsideView>> = words.into_iter().map(|view| with_owners(view, &owners)).collect();
    views.extend(listings);
    views
}

/// osquery tells the number of a namespace.
fn renamed<'a>(view: &'a InsideView, names: &HashMap<u64, &str>) -> Cow<'a, InsideView> {
    let listed = view.before.namespaces.iter();
    let other: HashMap<String, &str> = listed
        .filter_map(|one| Some((one.name.clone(), *names.get(&one.inode)?)))
        .filter(|(old, new)| old != new)
        .collect();
    if other.is_empty() {
        return Cow::Borrowed(view);
    }
    let mut view = view.clone();
    let listeners = view.before.listeners.iter_mut().map(|listener| &mut listener.namespace);
    for name in listeners.chain(view.before.namespaces.iter_mut().map(|one| &mut one.name)) {
        if let Some(new) = other.get(name) {
            (*new).clone_into(name);
        }
    }
    Cow::Owned(view)
}

/// Sockets of listings that name an owner, by place.
struct Owners<'l>(BTreeMap<String, Vec<&'l Listener>>);

impl<'l> Owners<'l> {
    fn of(listings: &'l [Cow<'_, InsideView>]) -> Self {
        let mut owners: BTreeMap<String, Vec<&Listener>> = BTreeMap::new();
        for listener in listings.iter().flat_map(|view| &view.before.listeners) {
            if listener.pid.is_some() || listener.process.is_some() {
                owners.entry(key(listener)).or_default().push(listener);
            }
        }
        Self(owners)
    }

    /// The owner of a socket of the machine's own word that has none there.
    fn owner(&self, known: &Listener) -> Option<&'l Listener> {
        if known.pid.is_some() || known.process.is_some() {
            return None;
        }
        let mut fitting = self.0.get(&key(known))?.iter().filter(|listed| agree(known, listed));
        let first = *fitting.next()?;
        // Listings may tell of the same owner; of two that differ neither is taken.
        fitting.all(|other| (other.pid, &other.process) == (first.pid, &first.process)).then_some(first)
    }
}

fn key(listener: &Listener) -> String {
    let (transport, address, port) = place(listener);
    format!("{transport} {address} {port} {}", listener.namespace)
}

fn with_owners<'a>(view: &'a InsideView, owners: &Owners<'_>) -> Cow<'a, InsideView> {
    let lacking = |report: &HostReport| report.listeners.iter().any(|listener| owners.owner(listener).is_some());
    if !lacking(&view.before) && !view.after.as_ref().is_some_and(lacking) {
        return Cow::Borrowed(view);
    }
    let mut view = view.clone();
    for report in std::iter::once(&mut view.before).chain(&mut view.after) {
        let mut sockets: HashMap<String, usize> = HashMap::new();
        for listener in &report.listeners {
            *sockets.entry(key(listener)).or_default() += 1;
        }
        for listener in &mut report.listeners {
            // Of several sockets in one place (SO_REUSEPORT) the listing does not say which is whose.
            let single = sockets.get(&key(listener)) == Some(&1);
            let Some(owner) = owners.owner(listener).filter(|_| single) else { continue };
            let Listener { pid, process, exe, unit, container, .. } = owner.clone();
            listener.user = listener.user.take().or_else(|| owner.user.clone());
            listener.socket_activated |= owner.socket_activated;
            *listener = Listener { pid, process, exe, unit, container, ..listener.clone() };
        }
    }
    Cow::Owned(view)
}
