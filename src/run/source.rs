//! Which address the kernel would send from.
#![expect(clippy::disallowed_methods, reason = "asks the kernel's routing by an unsent datagram socket")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The source address towards `target`: connecting a UDP socket looks the route up and sends nothing (connect(2)).
/// `None` without a route.
pub fn source_towards(target: IpAddr) -> Option<IpAddr> {
    let any = match target {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // Any port will do: nothing is sent to it.
    socket.connect(SocketAddr::new(target, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source_towards(localhost), Some(localhost));
    }
}
