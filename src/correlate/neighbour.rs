//! What a neighbour of our own cannot see: it comes in by an interface and from a source that the machine's network does
//! not have. The rules are asked for a packet of the network too, and where their answer is another one, the verdict
//! is what they say of the network, less sure, with both sides told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{canonical, is_link_local, same_family, same_network};
use super::machine::{Machine, is_engine_bridge};
use super::path_words::{decisive, rule};
use super::verdict::{Judgement, Look};
use crate::model::host_report::{HOST_NAMESPACE, HostAddress};
use crate::model::report::{EndpointEntry, Run, VantageKind};
use crate::model::{Confidence, Endpoint, PathAnswer, PathModel, PathOutcome, PathQuestion, PortState, Verdict};

/// Whether an entry was seen from a neighbour of our own.
pub fn saw(entry: &EndpointEntry, run: &Run) -> bool {
    let of_kind = |name: &String| {
        run.vantages.iter().any(|vantage| vantage.kind == VantageKind::Neighbour && &vantage.name == name)
    };
    entry.seen_from.iter().any(of_kind)
}

/// What the rules do with a packet to `endpoint` from the machine's own network; by the interface through which they let
/// it pass, where there are several. `None` when the machine is on no network in this family.
pub fn from_the_network(path: &dyn PathModel, machine: &Machine<'_>, endpoint: Endpoint) -> Option<PathAnswer> {
    let outward = |own: &&&HostAddress| {
        let address = canonical(own.address);
        same_family(address, endpoint.address)
            && !address.is_loopback()
            && !is_link_local(address)
            && !is_engine_bridge(&own.interface)
    };
    let outward: Vec<&HostAddress> = machine.addresses.iter().filter(outward).copied().collect();
    let exact = outward.iter().find(|own| canonical(own.address) == canonical(endpoint.address));
    let ways = exact.map_or_else(|| outward.clone(), |own| vec![*own]);
    let answers: Vec<PathAnswer> = ways
        .into_iter()
        .map(|own| {
            let question =
                PathQuestion { to: endpoint, from: a_neighbour_of(own, machine), iif: Some(own.interface.clone()) };
            path.answer(&question)
        })
        .collect();
    let passes = answers.iter().position(|answer| answer.path == PathOutcome::Accept).unwrap_or(0);
    answers.into_iter().nth(passes)
}

/// Whether the rules do the same with both packets.
pub fn agrees(seen: &PathAnswer, network: &PathAnswer) -> bool {
    let place = |answer: &PathAnswer| {
        let at = answer.delivered.as_ref()?;
        // A redirect leads to the address of the interface that the packet came in by: on the host itself only loopback
        // or not makes a difference.
        let own = at.namespace.as_deref() == Some(HOST_NAMESPACE);
        let address = Some(at.address).filter(|address| !own || address.is_loopback());
        Some((at.namespace.clone(), address, at.port))
    };
    (seen.path, seen.intent, place(seen)) == (network.path, network.intent, place(network))
}

/// The verdict for the network, where the rules do something else with its packets than with the neighbour's.
pub fn downgrade(look: Look<'_>, mut judgement: Judgement, seen: &PathAnswer, network: &PathAnswer) -> Judgement {
    let takes = judgement.listener.is_some() || judgement.published.is_some();
    let verdict = match (judgement.verdict, look.seen.state, network.path) {
        // Nothing is there that the network could reach or not.
        (Verdict::Closed | Verdict::LocalOnly, ..) => return judgement,
        (Verdict::Exposed | Verdict::FirewallBypass, _, PathOutcome::Drop | PathOutcome::Reject) => Verdict::Guarded,
        (Verdict::Exposed | Verdict::FirewallBypass, _, PathOutcome::Accept) if network.is_bypass() => {
            Verdict::FirewallBypass
        }
        (Verdict::Exposed | Verdict::FirewallBypass, _, PathOutcome::Accept) => Verdict::Exposed,
        (Verdict::Guarded | Verdict::GuardedElsewhere | Verdict::Undetermined, state, PathOutcome::Accept)
            if takes && state != PortState::Open =>
        {
            if network.is_bypass() {
                Verdict::FirewallBypass
            } else {
                Verdict::Exposed
            }
        }
        (Verdict::Guarded, _, PathOutcome::Drop | PathOutcome::Reject) => Verdict::Guarded,
        _ => Verdict::Undetermined,
    };
    let by = decisive(&network.trace).map_or_else(|| "no rule of the host stops it".to_owned(), rule);
    let does = match network.path {
        PathOutcome::Accept if network.is_bypass() => "let by, past INPUT's refusal",
        PathOutcome::Accept => "let pass",
        PathOutcome::Drop => "dropped",
        PathOutcome::Reject => "rejected",
        PathOutcome::Unknown => "treated in a way that the rules leave open",
    };
    let way = |answer: &PathAnswer| {
        format!("{} from {}", answer.iif.as_deref().unwrap_or("an unknown interface"), answer.from)
    };
    let reason = format!(
        "{} is {} from the neighbour, and a packet of the network would be {does}: {by}.",
        look.endpoint, look.seen.state
    );
    for about in judgement.reasons.iter_mut().skip(1) {
        // What is said of rules is said of the packet that was sent.
        if ["The host's rules let it pass", "It is stopped by", "No rule of the host"]
            .iter()
            .any(|begin| about.starts_with(begin))
        {
            *about = format!("Of the neighbour's packet: {about}");
        }
    }
    if judgement.reasons.is_empty() {
        judgement.reasons.push(reason);
    } else {
        judgement.reasons[0] = reason;
    }
    judgement.reasons.insert(
        1,
        format!(
            "The neighbour came in by {}; for {} the host's rules answer otherwise, and that is the verdict: a scan from \
             the network itself settles it.",
            way(seen),
            way(network)
        ),
    );
    judgement.verdict = verdict;
    let most = if verdict == Verdict::Undetermined { Confidence::Possible } else { Confidence::Likely };
    judgement.confidence = judgement.confidence.min(most);
    judgement
}

/// An address on the same network that is none of the machine's: the first one that is free.
fn a_neighbour_of(own: &HostAddress, machine: &Machine<'_>) -> IpAddr {
    let is_own = |address: IpAddr| machine.addresses.iter().any(|entry| canonical(entry.address) == address);
    let (address, bits) = (canonical(own.address), if own.address.is_ipv4() { 32_u8 } else { 128 });
    // Of a network without other addresses any neighbouring number does: a router is behind it.
    let candidates = (1..=u8::MAX).map(|number| with_number(address, own.prefix.min(bits - 8), number));
    let mut same = candidates.filter(|one| !is_own(*one) && same_network(*one, address, own.prefix));
    same.next().unwrap_or_else(|| with_number(address, bits - 8, 1))
}

/// The address of the network of `prefix` bits with this number in it.
fn with_number(address: IpAddr, prefix: u8, number: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !host | u32::from(number)))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host | u128::from(number)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_in_the_network_of_the_address() {
        let number = |address: &str, prefix, number| with_number(address.parse().unwrap(), prefix, number).to_string();
        assert_eq!(number("198.18.0.80", 24, 1), "198.18.0.1");
        assert_eq!(number("198.18.7.80", 16, 9), "198.18.0.9");
        assert_eq!(number("2001:db8::80", 64, 2), "2001:db8::2");
    }
}
