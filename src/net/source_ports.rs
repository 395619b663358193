//! Source ports of a raw sweep: held by sockets that do not listen. Nobody else gets them meanwhile, and the kernel resets
//! by itself what answers there, so that no half-open connection stays on the target.
#![expect(clippy::disallowed_methods, reason = "reads /proc/sys/net/ipv4")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use socket2::{Domain, Protocol, Socket, Type};

/// The sockets; the ports are free again when it goes.
#[derive(Debug)]
pub struct SourcePorts {
    _sockets: Vec<Socket>,
    ports: Vec<u16>,
}

impl SourcePorts {
    /// Holds `count` ports in the calling thread's namespace, outside of what the kernel gives to connections and of what
    /// is set aside for services. `seed` picks among them.
    ///
    /// # Errors
    /// So many are not free.
    pub fn hold(count: usize, seed: u64) -> io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        let ephemeral = ephemeral_range(&read("ip_local_port_range"));
        let set_aside = set_aside_ranges(&read("ip_local_reserved_ports"));
        let mut held = Self { _sockets: Vec::new(), ports: Vec::new() };
        for port in candidates(&ephemeral, &set_aside, seed) {
            if held.ports.len() == count {
                break;
            }
            if let Some(sockets) = bind_both(port)? {
                held._sockets.extend(sockets);
                held.ports.push(port);
            }
        }
        if held.ports.len() < count {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(held)
    }

    pub fn ports(&self) -> &[u16] {
        &self.ports
    }
}

/// All ports that come into question, each once, from a place that `seed` picks on. Where the kernel gives all ports to
/// connections, those too: a port that is held is not given.
fn candidates(
    ephemeral: &RangeInclusive<u16>,
    set_aside: &[RangeInclusive<u16>],
    seed: u64,
) -> impl Iterator<Item = u16> {
    let free = |port: &u16| !set_aside.iter().any(|range| range.contains(port));
    let outside = |port: &u16| free(port) && !ephemeral.contains(port);
    let mut ports: Vec<u16> = (LOWEST..=HIGHEST).filter(outside).collect();
    if ports.len() < ENOUGH {
        ports = (LOWEST..=HIGHEST).filter(free).collect();
    }
    // Less than the number of ports.
    let start = (seed % ports.len().max(1) as u64) as usize;
    ports.rotate_left(start);
    ports.into_iter()
}

/// Both families, as far as there are two; `None` when somebody has the port.
fn bind_both(port: u16) -> io::Result<Option<Vec<Socket>>> {
    let mut sockets = Vec::new();
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let to = SocketAddr::new(any, port);
        let socket = match Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)) {
            Ok(socket) => socket,
            // A machine without IPv6.
            Err(_) if any.is_ipv6() => continue,
            Err(error) => return Err(error),
        };
        if any.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        match socket.bind(&to.into()) {
            Ok(()) => sockets.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            // No address of the family anywhere.
            Err(error) if any.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(sockets))
}

/// Two numbers with white space between them: `32768 60999`.
fn ephemeral_range(text: &str) -> RangeInclusive<u16> {
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) => first..=last,
        // What Linux comes with.
        _ => 32_768..=60_999,
    }
}

/// `8080,9148-9150`.
fn set_aside_ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).collect()
}

/// Above what services use by habit; NodePorts of Kubernetes (30000 to 32767) are left alone.
const LOWEST: u16 = 20_480;
const HIGHEST: u16 = 29_999;
const ENOUGH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        assert_eq!(ephemeral_range("32768\t60999\n"), 32_768..=60_999);
        assert_eq!(ephemeral_range(""), 32_768..=60_999);
        assert_eq!(set_aside_ranges("8080,9148-9150\n"), [8080..=8080, 9148..=9150]);
        assert_eq!(set_aside_ranges("\n"), []);
    }

    #[test]
    fn candidates_keep_clear_of_both() {
        let ports: Vec<u16> = candidates(&(20_480..=28_000), &[28_100..=29_000], 12_345).collect();
        assert_eq!(ports.len(), 99 + 999);
        assert!(ports.iter().all(|port| (28_001..28_100).contains(port) || (29_001..=29_999).contains(port)));
        // A machine that gives all ports to connections.
        assert_eq!(candidates(&(1024..=65_535), &[], 7).count(), 9520);
    }

    #[test]
    fn held_ports_are_nobody_elses() {
        let one = SourcePorts::hold(4, 99).unwrap();
        let other = SourcePorts::hold(4, 99).unwrap();
        assert_eq!((one.ports().len(), other.ports().len()), (4, 4));
        assert!(one.ports().iter().all(|port| !other.ports().contains(port)));
        assert!(std::net::TcpStream::connect(("127.0.0.1", one.ports()[0])).is_err(), "nobody listens there");
    }
}
