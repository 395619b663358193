//! Whose TCP answers, as the options of its SYN-ACK tell: a hint, and never a proof.
//!
//! Every implementation has its own order of options: Linux mss, sack, ts, ws (`tcp_options_write`); Windows and FreeBSD
//! mss, ws, sack, ts. Which of them are there and what they say differs between the ports of one kernel, too: TCP_MAXSEG
//! sets the MSS, a small SO_RCVBUF the window scale, a container's settings take options away, SYN cookies and SYN proxies
//! likewise. So only an order that contradicts another one tells of two implementations, and those may still be two on one
//! machine: a user-space TCP (gVisor, a honeypot) beside the kernel's. The same order tells nothing: a container has its
//! host's kernel, and many machines run the same one.

use std::net::IpAddr;

use super::hops;
use crate::model::report::{EndpointEntry, Host};
use crate::model::{Endpoint, PortState};

/// The order of the options of an open port that a socket of the host accounts for.
#[derive(Debug)]
pub struct Known {
    address: IpAddr,
    port: u16,
    behind: u8,
    order: Vec<String>,
}

/// What the host's own ports answer with; `explained` are those that a socket accounts for.
pub fn known(host: &Host, explained: impl Fn(Endpoint) -> bool) -> Vec<Known> {
    let own = host.endpoints.iter().filter(|entry| explained(entry.endpoint()));
    own.filter_map(|entry| {
        let order = order(entry)?;
        Some(Known { address: entry.address, port: entry.port, behind: hops::behind(entry), order })
    })
    .collect()
}

/// The sentence for an unexplained port whose options come in an order that contradicts that of a port of the same address,
/// as far away: where the TTL differs, it says more.
pub fn sentence(entry: &EndpointEntry, known: &[Known]) -> Option<String> {
    let own = order(entry)?;
    let beside = known.iter().find(|known| {
        (known.address, known.behind) == (entry.address, hops::behind(entry)) && contradict(&known.order, &own)
    })?;
    Some(format!(
        "Its TCP options come in the order {}, those of {}/tcp in the order {}: another TCP implementation seems to answer, on \
         another machine as far away or in a program on this one; a hint, and no proof.",
        own.join(" "),
        beside.port,
        beside.order.join(" ")
    ))
}

/// Kinds of the options, without padding and without what they say.
fn order(entry: &EndpointEntry) -> Option<Vec<String>> {
    let options =
        entry.evidence.options.as_deref().filter(|_| entry.state == PortState::Open && entry.via.is_none())?;
    let kinds = options.split(',').filter_map(|option| option.split(' ').next());
    Some(kinds.filter(|kind| !kind.is_empty() && *kind != "nop").map(str::to_owned).collect())
}

/// Whether two kinds that both have come the other way round.
fn contradict(one: &[String], other: &[String]) -> bool {
    let places: Vec<usize> =
        one.iter().filter_map(|kind| other.iter().position(|candidate| candidate == kind)).collect();
    !places.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_order_that_no_single_implementation_has_is_a_contradiction() {
        let kinds = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let linux = kinds("mss sack ts ws");
        // Linux under SYN cookies, with tcp_sack 0, with tcp_window_scaling 0, with little of all.
        for same in ["mss sack ts ws", "mss", "mss ts ws", "mss sack ts", "ws", ""] {
            assert!(!contradict(&linux, &kinds(same)) && !contradict(&kinds(same), &linux), "{same}");
        }
        // Windows, FreeBSD; OpenBSD.
        for other in ["mss ws sack ts", "mss sack ws ts"] {
            assert!(contradict(&linux, &kinds(other)) && contradict(&kinds(other), &linux), "{other}");
        }
        assert!(!contradict(&linux, &kinds("mss ws")), "without what stands between them nothing is told");
    }
}
