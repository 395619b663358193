//! What lies behind a host and was tried through it: containers at their own addresses, and the host's loopback. Such an
//! endpoint is none of the network: it carries `via`, belongs to that host alone, and is judged apart.
//!
//! Nothing here is meant to be reached: what is published is reached at the host's address. So an answer is a leak where
//! the port is published on loopback only or bound there, and a bypass where INPUT refuses what FORWARD lets by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::{canonical, is_link_local};
use super::correlation::Surroundings;
use super::join::Joined;
use super::judging::Facts;
use super::lookup::Seen;
use super::machine::is_engine_bridge;
use super::neighbour;
use super::path_words;
use super::remarks::how;
use super::stakes;
use super::takes::{is_loopback_only, takers};
use super::verdict::{Judgement, Look, Sight};
use super::words;
use crate::model::host_report::{HOST_NAMESPACE, PublishedPort};
use crate::model::network::RouteKind;
use crate::model::report::{EndpointEntry, Host, Report};
use crate::model::{
    Confidence, Endpoint, HostReport, PathAnswer, PathModel, PathOutcome, PathQuestion, PortState, Transport, Verdict,
};

/// The endpoints behind a host that are worth a try through it: TCP sockets of its other namespaces and ports of
/// containers, at the addresses behind its bridges, and what is bound to or published on its loopback.
pub fn wanted(report: &HostReport) -> BTreeSet<Endpoint> {
    let own = |address: IpAddr| report.addresses.iter().any(|own| canonical(own.address) == address);
    let on_the_network = |address: IpAddr| {
        let outward = report.addresses.iter().filter(|own| !own.bridge && !is_engine_bridge(&own.interface));
        outward.into_iter().any(|own| super::address::same_network(canonical(own.address), address, own.prefix))
    };
    let state = report.namespaces.iter().find(|namespace| namespace.name == HOST_NAMESPACE);
    let routes = state.and_then(|namespace| namespace.network.as_ref()).map(|network| &network.routes);
    // Where the host has no route of its own to, it is no way to: another namespace of its machine, and not behind it.
    let led_to = |address: IpAddr| match routes {
        Some(routes) => routes.iter().any(|route| {
            let led = route.kind == RouteKind::Unicast && route.prefix > 0 && route.interface.is_some();
            led && super::address::same_network(route.destination, address, route.prefix)
        }),
        None => {
            report.addresses.iter().any(|own| super::address::same_network(canonical(own.address), address, own.prefix))
        }
    };
    // Addresses on the network itself (macvlan) are asked as such.
    let behind = |address: &IpAddr| {
        let address = canonical(*address);
        let named = !address.is_loopback() && !address.is_unspecified() && !is_link_local(address) && !own(address);
        named && !on_the_network(address) && led_to(address)
    };
    let mut wanted = BTreeSet::new();
    for listener in report.listeners.iter().filter(|one| one.transport == Transport::Tcp && !one.likely_client) {
        let bound = canonical(listener.address);
        if listener.namespace == HOST_NAMESPACE {
            // ::1 is refused on every interface but lo, whatever the settings (RFC 4291 section 2.5.3).
            let local = if bound.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { bound };
            if is_loopback_only(listener) && local.is_ipv4() {
                wanted.insert(Endpoint::tcp(local, listener.port));
            }
            continue;
        }
        if is_loopback_only(listener) {
            continue;
        }
        let inside = report.namespaces.iter().filter(|namespace| namespace.name == listener.namespace);
        for address in inside.flat_map(|namespace| &namespace.addresses).filter(|address| behind(address)) {
            let same_family = bound.is_ipv4() == address.is_ipv4();
            let dual = bound.is_unspecified() && !bound.is_ipv4() && listener.v6only != Some(true);
            if bound == canonical(*address) || (bound.is_unspecified() && (same_family || dual)) {
                wanted.insert(Endpoint::tcp(canonical(*address), listener.port));
            }
        }
    }
    for port in report.published.iter().filter(|port| port.transport == Transport::Tcp) {
        let host_address = canonical(port.host_address);
        if host_address.is_loopback() && host_address.is_ipv4() {
            wanted.insert(Endpoint::tcp(host_address, port.host_port));
        }
        let inside = port.container_address.filter(behind);
        wanted.extend(inside.map(|address| Endpoint::tcp(canonical(address), port.container_port)));
    }
    wanted
}

/// Addresses of the host by which it may be a way to what is behind it: those of its networks before those of bridges for
/// its containers.
pub fn ways_to(report: &HostReport) -> impl Iterator<Item = IpAddr> + '_ {
    let (inner, outer): (Vec<_>, Vec<_>) =
        report.addresses.iter().partition(|own| own.bridge || is_engine_bridge(&own.interface));
    outer.into_iter().chain(inner).map(|own| own.address)
}

/// Takes the entries with `via` out of a report: nothing else in a correlation is to take them for endpoints of the
/// network.
pub fn take_out(report: &mut Report) -> Vec<EndpointEntry> {
    let mut taken = Vec::new();
    report.hosts.retain_mut(|host| {
        let before = host.endpoints.len();
        taken.extend(host.endpoints.extract_if(.., |entry| entry.via.is_some()));
        before == host.endpoints.len() || !host.endpoints.is_empty() || !host.other_ports.is_empty()
    });
    taken
}

/// Judges `entry` by what the machine that it is behind says.
pub fn judge(
    mut entry: EndpointEntry,
    joined: Option<&Joined<'_>>,
    path: Option<&dyn PathModel>,
    around: &Surroundings<'_>,
) -> (EndpointEntry, Facts) {
    let endpoint = entry.endpoint();
    let seen = Seen { state: entry.state, reason: entry.reason, evidence: entry.evidence.clone() };
    let look = Look { endpoint, seen: &seen, sight: Sight::Outside };
    let from = around.own.source_of(&entry, around.run);
    let answer = path.zip(from).map(|(path, from)| path.answer(&PathQuestion { to: endpoint, from, iif: None }));
    let network = neighbour::saw(&entry, around.run)
        .then(|| neighbour::from_the_network(path?, &joined?.machine, endpoint))
        .flatten();
    let (mut answer, differs) = match (answer, network) {
        (Some(seen), Some(network)) if neighbour::agrees(&seen, &network) => (Some(network), None),
        (answer, network) => (answer, network),
    };
    let via = entry.via.clone().unwrap_or_default();
    let mut judgement = judged(look, &via, joined, answer.as_ref());
    if let (Some(seen), Some(network)) = (&answer, differs) {
        judgement = neighbour::downgrade(look, judgement, seen, &network);
        answer = Some(network);
    }
    if let Some(answer) = &mut answer {
        entry.intent = Some(answer.intent.to_string());
        entry.path = path_words::lines(answer);
        if seen.state == PortState::Open {
            answer.fix = fix(endpoint, answer);
        }
    }
    entry.verdict = Some(judgement.verdict);
    entry.also = judgement.reasons;
    let stakes = joined.map(|joined| stakes::of(&joined.machine, judgement.listener.as_ref()));
    entry.listener = judgement.listener.map(Box::new);
    let facts = Facts {
        confidence: judgement.confidence,
        published: judgement.published,
        answer,
        stakes: stakes.unwrap_or_default(),
    };
    (entry, facts)
}

fn judged(look: Look<'_>, via: &str, joined: Option<&Joined<'_>>, answer: Option<&PathAnswer>) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    let Some(joined) = joined else {
        return plain(
            Verdict::Undetermined,
            format!("{endpoint} {} through {via}, and no host report was joined to that host.", how(endpoint, seen)),
        );
    };
    let machine = &joined.machine;
    let takers = takers(machine, endpoint);
    let listener = takers.taking.first().map(|taking| taking.socket.listener.clone());
    let is_local = endpoint.address.is_loopback();
    let to_it = |port: &&&PublishedPort| {
        let (address, number) = (port.container_address.map(canonical), port.container_port);
        port.transport == endpoint.transport && (address, number) == (Some(endpoint.address), endpoint.port)
    };
    let published: Vec<&PublishedPort> = if is_local {
        takers.published.iter().map(|publication| publication.port).collect()
    } else {
        machine.published.iter().filter(to_it).copied().collect()
    };
    let on_loopback = |port: &&PublishedPort| canonical(port.host_address).is_loopback();
    let local_only = is_local || (!published.is_empty() && published.iter().all(on_loopback));
    let place = published.first().map(|port| std::net::SocketAddr::new(port.host_address, port.host_port).to_string());
    let what = match (&listener, &place, local_only) {
        (Some(listener), None, true) => format!("{} is bound to loopback only", words::socket(listener)),
        (_, Some(place), true) => format!("it is published on {place} only"),
        (_, Some(place), false) => format!("it is published on {place}"),
        (Some(listener), None, false) => format!("it is published nowhere ({})", words::socket(listener)),
        (None, None, _) => "the host's report has no socket for it".to_owned(),
    };
    let refused = answer.is_some_and(|answer| answer.path.is_refusal());
    let verdict = match seen.state {
        PortState::Open if local_only => Verdict::LeakedLocal,
        PortState::Open if answer.is_some_and(PathAnswer::is_bypass) => Verdict::FirewallBypass,
        PortState::Open if refused => Verdict::Contradiction,
        PortState::Open if listener.is_some() || !published.is_empty() => Verdict::Exposed,
        PortState::Open => Verdict::Unreported,
        PortState::Unknown | PortState::Unreachable => Verdict::Undetermined,
        PortState::Filtered | PortState::Closed | PortState::OpenOrFiltered => Verdict::LocalOnly,
    };
    let mut judgement = match seen.state {
        PortState::Open => {
            let but = if local_only { "although" } else { "and" };
            let by = answer.filter(|_| verdict == Verdict::FirewallBypass).map(|answer| {
                let rule =
                    path_words::decisive(&answer.intent_trace).map_or_else(|| "by policy".to_owned(), path_words::rule);
                let does = if answer.intent == PathOutcome::Drop { "drop" } else { "reject" };
                format!(", and the INPUT rules that {does} such packets to the host ({rule}) are not asked")
            });
            let reason = format!(
                "{endpoint} is open through {via}, to whose MAC address the packets were sent, {but} {what}{}.",
                by.unwrap_or_default()
            );
            plain(verdict, reason)
        }
        _ => plain(verdict, format!("{endpoint} {} through {via}, and {what}.", how(endpoint, seen))),
    };
    if seen.state == PortState::Open {
        judgement.reasons.push(if is_local {
            "A neighbour on the link gets to the host's loopback: by a translation that comes before the routing decision, \
             or by route_localnet."
                .to_owned()
        } else {
            "A neighbour on the link gets to the container by a route of its own; the published address and rules for it \
             are not asked."
                .to_owned()
        });
        judgement.reasons.extend(answer.into_iter().flat_map(path_words::path_sentences));
    } else if let Some(step) =
        answer.filter(|answer| answer.path.is_refusal()).and_then(|a| path_words::decisive(&a.trace))
    {
        judgement.reasons.push(format!("It is stopped by {}.", path_words::rule(step)));
    }
    judgement.published = published.first().map(|port| port.container_port);
    judgement.listener = listener;
    judgement
}

/// The line that closes it before any translation, for the interface that it came in by.
fn fix(endpoint: Endpoint, answer: &PathAnswer) -> Vec<String> {
    let Endpoint { address, transport, port } = endpoint;
    let program = if address.is_ipv4() { "iptables" } else { "ip6tables" };
    let by = answer.iif.as_ref().map_or_else(String::new, |name| format!(" -i {name}"));
    if !address.is_loopback() {
        return vec![
            format!("`{program} -t raw -I PREROUTING{by} -d {address} -p {transport} --dport {port} -j DROP`"),
            "Docker 28.0 or later, which has such rules of its own".to_owned(),
        ];
    }
    let mut lines = vec![format!("`{program} -t raw -I PREROUTING ! -i lo -d 127.0.0.0/8 -j DROP`")];
    let translated = answer.trace.iter().any(|step| step.action.starts_with("dnat"));
    if let Some(name) = answer.iif.as_ref().filter(|_| !translated) {
        lines.push(format!("`sysctl -w net.ipv4.conf.{name}.route_localnet=0 net.ipv4.conf.all.route_localnet=0`"));
    }
    lines
}

/// What the host's own entries say of it that was not tried, now that it was.
pub fn was_tried(host: &mut Host) {
    let tried: BTreeMap<(u16, Transport), PortState> = host
        .endpoints
        .iter()
        .filter(|entry| entry.via.is_some() && entry.address.is_loopback())
        .map(|entry| ((entry.port, entry.transport), entry.state))
        .collect();
    for entry in host.endpoints.iter_mut().filter(|entry| entry.via.is_none()) {
        let Some(state) = tried.get(&(entry.port, entry.transport)) else { continue };
        let before = entry.also.len();
        entry.also.retain(|sentence| !sentence.contains("that was not tried"));
        if entry.also.len() < before {
            entry.also.push(format!("Tried through the host, its loopback is {state} on this port."));
        }
    }
}

fn plain(verdict: Verdict, reason: String) -> Judgement {
    let confidence = if verdict == Verdict::Undetermined { Confidence::Possible } else { Confidence::Certain };
    Judgement { verdict, reasons: vec![reason], confidence, listener: None, published: None }
}
