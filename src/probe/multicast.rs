//! Driver: asks the multicast DNS responders of a link, all at once.
//!
//! A host firewall that drops unicast to 5353 often admits the group (ufw's stock rules do), so responders are found
//! that the port sweep does not see. Nothing is joined and nothing is bound to 5353: answers come to our own port.

#![expect(clippy::disallowed_methods, reason = "driver: sockets and clock")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::codec::conversation::Conversations;
use super::codec::{Facts, dns_sd};

/// Multicast DNS over IPv4 and IPv6 (RFC 6762, section 3).
const GROUPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb))];
const PORT: u16 = 5353;

/// Host names that one query asks for besides the services; a query stays far below 1500 bytes.
const NAMES_PER_QUERY: usize = 8;

/// Queries that one discovery sends to a group at most, for each sending.
const MAX_QUERIES: usize = 32;

/// Times that queries are sent: multicast is not acknowledged on any layer. Follow-ups that unicast left unanswered go
/// to the group with the later ones, so that a conversation can come to its end.
const SENDINGS: u32 = 3;

/// Largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// What to ask and for how long.
#[derive(Clone, Debug)]
pub struct MulticastConfig {
    /// Name of the interface to ask through; answers from others are not seen.
    pub interface: String,
    /// Its index, which IPv6 needs.
    pub interface_index: u32,
    /// Random; repeated in every answer.
    pub id: u32,
    /// Addresses known to live on this link: a responder that publishes no service is silent unless its name is asked.
    pub known: Vec<IpAddr>,
    /// Time for all answers together.
    pub wait: Duration,
    /// Responders taken at most, for each family.
    pub limit: usize,
}

/// A responder and what it told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responder {
    pub address: IpAddr,
    /// Facts of the codec `dns-sd`.
    pub facts: Facts,
}

/// What a discovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Ordered by address.
    pub responders: Vec<Responder>,
    /// What could not be asked or was left out, one sentence each.
    pub gaps: Vec<String>,
}

/// Asks over IPv4 and IPv6 at the same time. A family that the interface does not have is a gap, no failure.
pub async fn discover(config: &MulticastConfig) -> Discovered {
    let [four, six] = GROUPS;
    let (four, six) = tokio::join!(ask_group(config, four), ask_group(config, six));
    let mut discovered = Discovered::default();
    for (family, outcome) in [("IPv4", four), ("IPv6", six)] {
        match outcome {
            Ok((responders, false)) => discovered.responders.extend(responders),
            Ok((responders, true)) => {
                discovered.responders.extend(responders);
                let limit = config.limit;
                discovered.gaps.push(format!("more than {limit} multicast DNS responders over {family}"));
            }
            Err(error) => {
                let interface = &config.interface;
                discovered.gaps.push(format!("no multicast DNS over {family} through {interface}: {error}"));
            }
        }
    }
    discovered.responders.sort_by_key(|responder| responder.address);
    discovered
}

async fn ask_group(config: &MulticastConfig, group: IpAddr) -> io::Result<(Vec<Responder>, bool)> {
    let socket = open(config, group)?;
    let group = match group {
        IpAddr::V4(_) => SocketAddr::new(group, PORT),
        IpAddr::V6(group) => std::net::SocketAddrV6::new(group, PORT, 0, config.interface_index).into(),
    };
    let queries = queries(config, group);
    let mut conversations = Conversations::new(&dns_sd::BROWSE, config.id, PORT, config.limit);
    let mut buffer = vec![0; MAX_DATAGRAM];
    let start = Instant::now();
    for sending in 1..=SENDINGS {
        let follow_ups = conversations.unanswered();
        for query in queries.iter().chain(follow_ups.iter().take(MAX_QUERIES)) {
            socket.send_to(query, group).await?;
        }
        let until = start + config.wait * sending / SENDINGS;
        while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
            // An ICMP error about one responder says nothing about the others.
            let Ok((length, from)) = received else { continue };
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Some(follow_up) = conversations.handle_datagram(from, datagram) {
                // A full buffer costs details of this responder only.
                let _ = socket.send_to(&follow_up, from).await;
            }
        }
    }
    let (found, overflow) = conversations.finish();
    let responders = found.into_iter().map(|(from, facts)| Responder { address: from.ip(), facts }).collect();
    Ok((responders, overflow))
}

fn open(config: &MulticastConfig, group: IpAddr) -> io::Result<UdpSocket> {
    let (domain, any) = match group {
        IpAddr::V4(_) => (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        IpAddr::V6(_) => (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Chooses the way out without a multicast route, and keeps other links' answers away.
    socket.bind_device(Some(config.interface.as_bytes()))?;
    match group {
        IpAddr::V4(_) => {
            socket.set_multicast_ttl_v4(255)?;
            // This host's own responder is not an outside view of anything.
            socket.set_multicast_loop_v4(false)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(config.interface_index)?;
            socket.set_multicast_hops_v6(255)?;
            socket.set_multicast_loop_v6(false)?;
        }
    }
    socket.bind(&any.into())?;
    UdpSocket::from_std(socket.into())
}

fn queries(config: &MulticastConfig, group: SocketAddr) -> Vec<Vec<u8>> {
    let known: Vec<IpAddr> =
        config.known.iter().copied().filter(|address| address.is_ipv4() == group.is_ipv4()).collect();
    match known.chunks(NAMES_PER_QUERY).take(MAX_QUERIES).map(|chunk| dns_sd::browse(config.id, chunk)).collect() {
        none if Vec::is_empty(&none) => vec![dns_sd::browse(config.id, &[])],
        queries => queries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(known: Vec<IpAddr>) -> MulticastConfig {
        MulticastConfig {
            interface: "postern-none0".to_owned(),
            interface_index: 4_000_000,
            id: 0x1234,
            known,
            wait: Duration::from_millis(10),
            limit: 4,
        }
    }

    #[test]
    fn names_of_known_hosts_are_spread_over_queries() {
        let [four, six] = GROUPS.map(|group| SocketAddr::new(group, PORT));
        assert_eq!(queries(&config(Vec::new()), four), [dns_sd::browse(0x1234, &[])]);
        let known: Vec<IpAddr> = (1..=9).map(|last| IpAddr::from([198, 18, 0, last])).collect();
        assert_eq!(queries(&config(known.clone()), four).len(), 2);
        assert_eq!(queries(&config(known), six), [dns_sd::browse(0x1234, &[])]);
        let crowd = (0..=65_535_u32).map(|number| IpAddr::from((0xc612_0000 + number).to_be_bytes())).collect();
        let queries = queries(&config(crowd), four);
        assert_eq!(queries.len(), MAX_QUERIES);
        assert!(queries.iter().all(|query| query.len() < 512));
    }

    #[tokio::test]
    async fn an_interface_that_is_not_there_is_a_gap() {
        let discovered = discover(&config(Vec::new())).await;
        assert!(discovered.responders.is_empty());
        assert_eq!(discovered.gaps.len(), 2, "{discovered:?}");
        assert!(discovered.gaps[0].starts_with("no multicast DNS over IPv4 through postern-none0: "));
    }
}
