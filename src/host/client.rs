//! Tells the UDP sockets of clients from those of servers. Pure.
//!
//! A UDP socket that is bound and not connected looks alike whether a server waits on it or a client that has just sent
//! a question. The rule is careful, since calling a server a client would hide it: a socket is *likely* a client's when
//! 1. it is bound to a wildcard address and a port of the ephemeral range (`net.ipv4.ip_local_port_range`);
//! 2. its owner is known (ports of the kernel's own services, such as WireGuard and lockd, have none);
//! 3. no other UDP socket of the namespace has that port (a server binds both families, or several times);
//! 4. its owner has no TCP listener on an ephemeral port (RPC services take such ports for both transports).
//!
//! It stays in the report, with the flag.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use crate::model::Transport;
use crate::model::host_report::Listener;

/// Linux's default `net.ipv4.ip_local_port_range`.
pub const DEFAULT_EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// Sets [`Listener::likely_client`] on all of `listeners`. `ephemeral` gives the range of a namespace by its name.
pub fn mark(listeners: &mut [Listener], ephemeral: impl Fn(&str) -> RangeInclusive<u16>) {
    let mut sockets: HashMap<(String, u16), usize> = HashMap::new();
    let mut rpc_like = HashSet::new();
    for listener in listeners.iter() {
        match listener.transport {
            Transport::Udp => *sockets.entry((listener.namespace.clone(), listener.port)).or_default() += 1,
            Transport::Tcp if ephemeral(&listener.namespace).contains(&listener.port) => {
                rpc_like.extend(listener.pid);
            }
            Transport::Tcp => {}
        }
    }
    for listener in listeners.iter_mut() {
        listener.likely_client = listener.transport == Transport::Udp
            && listener.address.is_unspecified()
            && ephemeral(&listener.namespace).contains(&listener.port)
            && listener.pid.is_some_and(|pid| !rpc_like.contains(&pid))
            && sockets.get(&(listener.namespace.clone(), listener.port)) == Some(&1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn udp(address: &str, port: u16, pid: Option<u32>) -> Listener {
        let address: IpAddr = address.parse().unwrap();
        Listener { pid, ..Listener::at(Transport::Udp, address, port) }
    }

    fn marked(listeners: Vec<Listener>) -> Vec<bool> {
        let mut listeners = listeners;
        mark(&mut listeners, |_| DEFAULT_EPHEMERAL);
        listeners.iter().map(|listener| listener.likely_client).collect()
    }

    #[test]
    fn a_question_from_an_ephemeral_wildcard_port_is_a_clients() {
        assert_eq!(marked(vec![udp("0.0.0.0", 40_000, Some(7)), udp("::", 40_001, Some(7))]), [true, true]);
    }

    #[test]
    fn servers_are_not_called_clients() {
        assert_eq!(marked(vec![udp("0.0.0.0", 5353, Some(7))]), [false], "port outside the range");
        assert_eq!(marked(vec![udp("127.0.0.1", 40_000, Some(7))]), [false], "bound to an address");
        assert_eq!(marked(vec![udp("0.0.0.0", 51_820, None)]), [false], "WireGuard: the kernel's");
        assert_eq!(marked(vec![udp("0.0.0.0", 41_641, Some(7)), udp("::", 41_641, Some(7))]), [false, false], "both");
        let statd = Listener { pid: Some(7), ..Listener::at(Transport::Tcp, "0.0.0.0".parse().unwrap(), 45_000) };
        assert_eq!(marked(vec![udp("0.0.0.0", 40_000, Some(7)), statd.clone()]), [false, false], "RPC");
        assert_eq!(marked(vec![udp("0.0.0.0", 40_000, Some(8)), statd]), [true, false], "another process's TCP");
    }

    #[test]
    fn the_same_port_in_another_namespace_is_another_socket() {
        let elsewhere = Listener { namespace: "net:[1]".to_owned(), ..udp("0.0.0.0", 40_000, Some(9)) };
        assert_eq!(marked(vec![udp("0.0.0.0", 40_000, Some(7)), elsewhere]), [true, true]);
    }
}
