//! What a joined machine leaves open: its reports' own gaps, rules that are not known, addresses that were not asked,
//! sockets on ports that were not asked.

use std::net::IpAddr;

use super::hosts::Placed;
use super::join::Joined;
use super::lookup::SweptPorts;
use super::machine::{Machine, Presence, UNKNOWN};
use super::scope::Asked;
use super::words;
use crate::model::host_report::{HOST_NAMESPACE, OWN_WORD, OWN_WORD_OF_ROOT, Source};
use crate::model::report::Gap;
use crate::model::{HostReport, PathModel, PortRanges, Reason, Transport, unread};

/// What was asked, and what came of it.
#[derive(Debug)]
pub struct Sweep<'a> {
    pub placed: &'a [Placed],
    pub asked: &'a Asked,
    pub ports: &'a SweptPorts,
}

/// The gaps of one machine; `path` are its rules, where a report has them.
pub fn of_machine(joined: &Joined<'_>, path: Option<&dyn PathModel>, sweep: &Sweep<'_>) -> Vec<Gap> {
    let machine = &joined.machine;
    let name = match (machine.id, joined.any_address()) {
        (UNKNOWN, Some(address)) => address.to_string(),
        (id, _) => id.to_owned(),
    };
    let mut gaps = Vec::new();
    let told = machine.reports().flat_map(|report| report.gaps.iter().map(move |gap| (report, gap)));
    for (_, gap) in told.filter(|(report, gap)| !is_settled(machine, report, gap)) {
        let gap = Gap { what: format!("host report {name}: {}", gap.what), ..gap.clone() };
        if !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }
    gaps.extend(only_listed(machine, &name));
    let rules = path.map_or_else(|| vec![unread::no_rules(&name)], |path| unread::gaps(&path.unread(), &name));
    // That nobody read the rules of a host that was not asked is no loss.
    gaps.extend(rules.into_iter().filter(|gap| gap.incomplete || joined.any_address().is_some()));
    if joined.any_address().is_none() {
        return gaps;
    }
    gaps.extend(unasked_addresses(joined, &name, sweep.asked));
    gaps.extend(unasked_ports(joined, &name, sweep.placed));
    gaps.extend(unasked_translations(joined, &name, sweep.ports));
    gaps
}

/// What a listing cannot show by its nature is no gap where the machine's own word is there, too.
fn is_settled(machine: &Machine<'_>, report: &HostReport, gap: &Gap) -> bool {
    let by_any = gap.settled_by.ends_with(OWN_WORD);
    let by_root = gap.settled_by.ends_with(OWN_WORD_OF_ROOT);
    let is_root = |word: &HostReport| word.privileges.namespaces && word.privileges.processes;
    let mut words = machine.reports().filter(|report| report.source == Source::Native);
    report.source != Source::Native && words.any(|word| by_any || (by_root && is_root(word)))
}

/// Sockets of listings that the machine's own word does not have; clients come and go all the time.
fn only_listed(machine: &Machine<'_>, name: &str) -> Option<Gap> {
    let listed = machine.sockets.iter().filter(|socket| !socket.listener.likely_client).filter_map(|socket| {
        let Presence::Listed(source) = socket.presence else { return None };
        Some((source.as_str(), words::bound(socket.listener)))
    });
    let (mut sources, sockets): (Vec<&str>, Vec<String>) = listed.unzip();
    sources.sort_unstable();
    sources.dedup();
    let shown: Vec<&str> = sockets.iter().take(SHOWN).map(String::as_str).collect();
    let more = if sockets.len() > SHOWN { ", …" } else { "" };
    (!sockets.is_empty()).then(|| Gap {
        what: format!(
            "{} sockets of {name} that only its {} listing shows: {}{more}",
            sockets.len(),
            sources.join(" and "),
            shown.join(", ")
        ),
        cause: "the machine's own report does not have them: they were not there when one of the two was taken"
            .to_owned(),
        settled_by: "both taken anew, at the same time".to_owned(),
        incomplete: false,
    })
}

/// Whether the gap is about what a sweep did not ask: what another look of the run asked is none.
pub fn is_unasked(gap: &Gap) -> bool {
    gap.settled_by.starts_with("a sweep of ")
}

fn unasked_addresses(joined: &Joined<'_>, name: &str, asked: &Asked) -> Option<Gap> {
    let unasked = |address: &IpAddr| !asked.contains(*address) && !joined.addresses.contains(address);
    let addresses: Vec<String> =
        joined.machine.identity().iter().filter(|address| unasked(address)).map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| Gap {
        what: format!("addresses of {name} that were not asked: {}", addresses.join(", ")),
        cause: "they are not among the targets".to_owned(),
        settled_by: format!("a sweep of {}", addresses.join(" ")),
        incomplete: false,
    })
}

fn unasked_ports(joined: &Joined<'_>, name: &str, placed: &[Placed]) -> Option<Gap> {
    let entries = || {
        let hosts = placed.iter().map(|placed| &placed.host);
        hosts.flat_map(|host| &host.endpoints).filter(|entry| {
            entry.reason == Reason::NotSwept
                && joined.addresses.contains(&entry.address)
                && !entry.listener.as_deref().is_some_and(super::takes::is_loopback_only)
        })
    };
    let of = |transport: Transport| {
        let ports = entries().filter(|entry| entry.transport == transport).map(|entry| entry.port);
        let ports = PortRanges::from_ports(ports);
        (!ports.is_empty()).then(|| format!("{transport} {ports}"))
    };
    let ports: Vec<String> = [Transport::Tcp, Transport::Udp].into_iter().filter_map(of).collect();
    (!ports.is_empty()).then(|| Gap {
        what: format!("sockets of {name} on ports that were not asked: {}", ports.join("; ")),
        cause: "the ports are not in the scope of the sweep".to_owned(),
        settled_by: "a sweep of these ports (-p, --udp)".to_owned(),
        incomplete: false,
    })
}

/// Ports that need no socket to be open.
fn unasked_translations(joined: &Joined<'_>, name: &str, swept: &SweptPorts) -> Option<Gap> {
    let machine = &joined.machine;
    let own = machine.namespaces.iter().find(|namespace| namespace.name == HOST_NAMESPACE)?;
    let here = |address: IpAddr| joined.addresses.contains(&address);
    let translated = || own.network.iter().flat_map(|network| &network.translated);
    let of = |transport: Transport| {
        let these =
            translated().filter(|one| one.transport.is_none_or(|its| its == transport) && one.address.is_none_or(here));
        let ports = these.filter_map(|one| one.ports.parse::<PortRanges>().ok());
        // A rule for thousands of ports is no service.
        let ports =
            ports.filter(|ports| ports.len() <= MOST_TRANSLATED).flat_map(|ports| ports.iter().collect::<Vec<_>>());
        let ports = PortRanges::from_ports(ports.filter(|port| !swept.of(transport).contains(*port)));
        (!ports.is_empty()).then(|| format!("{transport} {ports}"))
    };
    let ports: Vec<String> = [Transport::Tcp, Transport::Udp].into_iter().filter_map(of).collect();
    (!ports.is_empty()).then(|| Gap {
        what: format!("ports that rules of {name} translate and that were not asked: {}", ports.join("; ")),
        cause: "the ports are not in the scope of the sweep".to_owned(),
        settled_by: "a sweep of these ports (-p, --udp)".to_owned(),
        incomplete: false,
    })
}

const MOST_TRANSLATED: usize = 64;
/// Sockets that a gap names.
const SHOWN: usize = 8;
