//! Source ports that are kept for a relay.
//!
//! What answers to them is taken from the wire; the kernel of this machine sees it too and would reset what it knows
//! nothing of. A listening socket whose filter lets nothing pass (socket(7), SO_ATTACH_FILTER) makes it silent there, and
//! keeps the ports from everybody else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// The sockets; the ports are free again when it goes.
#[derive(Debug)]
pub struct KeptPorts {
    _sockets: Vec<Socket>,
    pub range: RangeInclusive<u16>,
}

impl KeptPorts {
    /// Keeps [`COUNT`] consecutive ports at all of `addresses`; `first` is where it begins to look.
    pub fn keep(addresses: &[IpAddr], first: u16) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for attempt in 0..ATTEMPTS {
            // Below the ephemeral ports of Linux (32768 and up), and above what services use by habit.
            let base = LOWEST + (first.wrapping_add(attempt.wrapping_mul(997)) % ((HIGHEST - LOWEST) / COUNT)) * COUNT;
            let range = base..=base + (COUNT - 1);
            match all(addresses, &range) {
                Ok(sockets) => return Ok(Self { _sockets: sockets, range }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn all(addresses: &[IpAddr], range: &RangeInclusive<u16>) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for &address in addresses {
        for port in range.clone() {
            let to = SocketAddr::new(address, port);
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            // BPF_RET | BPF_K with 0 bytes.
            socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
            socket.bind(&to.into())?;
            socket.listen(1)?;
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

const COUNT: u16 = 64;
const LOWEST: u16 = 20_480;
const HIGHEST: u16 = 30_000;
const ATTEMPTS: u16 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_ports_are_nobody_elses() {
        let here = [IpAddr::from([127, 0, 0, 77])];
        let one = KeptPorts::keep(&here, 7).unwrap();
        let other = KeptPorts::keep(&here, 7).unwrap();
        assert_eq!(one.range.clone().count(), usize::from(COUNT));
        assert!(!other.range.contains(one.range.start()));
        assert!(*other.range.end() < HIGHEST);
    }
}
