//! Transmit by the kernel: whole IP packets on raw sockets (raw(7), ipv6(7) with IPPROTO_RAW), or frames on a packet
//! socket, many in one call. For `lo`, for interfaces without Ethernet, and where AF_XDP is not to be had or not wanted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::Frames;
use super::ring::packet_socket;
use super::sys::{Message, SOL_PACKET, packet_address, send_many, set_option};

/// Frames by a packet socket that is bound to an interface. A clone sends by the same socket.
#[derive(Clone, Debug)]
pub struct PacketTransmit {
    socket: Arc<OwnedFd>,
}

impl PacketTransmit {
    /// Takes `socket` into use for the interface `index`.
    ///
    /// # Errors
    /// The interface is gone or down.
    pub fn new(socket: OwnedFd, index: u32, discipline: Discipline) -> io::Result<Self> {
        if discipline == Discipline::PassBy {
            // Known since 3.14; without it the frames queue, which is slower and no worse.
            let _ = set_option(socket.as_fd(), SOL_PACKET, PACKET_QDISC_BYPASS, &[1]);
        }
        let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
        // Protocol 0: nothing is received.
        SockRef::from(&socket).bind(&packet_address(index, 0)?)?;
        Ok(Self { socket: Arc::new(socket) })
    }

    /// Sends frames from `from` on; how many went.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn send(&mut self, frames: &Frames, from: usize) -> io::Result<usize> {
        let messages: Vec<Message<'_>> = (from..frames.len().min(from + PER_CALL))
            .map(|number| Message { bytes: frames.frame(number), to: None })
            .collect();
        later_is_none(send_many(self.socket.as_fd(), &messages))
    }
}

/// Whether the interface's queueing discipline has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    Keep,
    PassBy,
}

/// Whole IP packets, routed by the kernel. A clone sends by the same sockets.
#[derive(Clone, Debug)]
pub struct IpTransmit {
    ipv4: Option<Arc<OwnedFd>>,
    ipv6: Option<Arc<OwnedFd>>,
}

impl IpTransmit {
    pub fn new(ipv4: Option<OwnedFd>, ipv6: Option<OwnedFd>) -> Self {
        Self { ipv4: ipv4.map(Arc::new), ipv6: ipv6.map(Arc::new) }
    }

    /// Sends packets from `from` on; how many went.
    ///
    /// # Errors
    /// The kernel refuses the first of them: no route, a rule of its own (EPERM), no socket of the family.
    pub fn send(&mut self, packets: &Frames, from: usize) -> io::Result<usize> {
        let mut messages = Vec::with_capacity(PER_CALL);
        let Some(first) = destination(packets.frame(from)) else { return Err(io::ErrorKind::InvalidInput.into()) };
        for number in from..packets.len().min(from + PER_CALL) {
            let bytes = packets.frame(number);
            let Some(to) = destination(bytes).filter(|to| to.is_ipv4() == first.is_ipv4()) else { break };
            messages.push(Message { bytes, to: Some(to) });
        }
        let socket = if first.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        let Some(socket) = socket else { return Err(io::ErrorKind::Unsupported.into()) };
        later_is_none(send_many(socket.as_fd(), &messages))
    }
}

/// Raw sockets of both families, as far as this machine has them.
///
/// # Errors
/// Without CAP_NET_RAW.
pub fn ip_sockets(device: Option<&str>) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let open = |domain| -> io::Result<OwnedFd> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        // It receives nothing by its protocol, and is told of no errors.
        if let Some(device) = device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        Ok(socket.into())
    };
    let ipv4 = open(Domain::IPV4)?;
    // A machine may have no IPv6 at all.
    Ok((Some(ipv4), open(Domain::IPV6).ok()))
}

/// A packet socket that sends frames as they are.
///
/// # Errors
/// Without CAP_NET_RAW.
pub fn frame_socket() -> io::Result<OwnedFd> {
    packet_socket(rustix::net::SocketType::RAW)
}

/// Where a whole packet goes, as its header says (RFC 791 section 3.1, RFC 8200 section 3).
fn destination(packet: &[u8]) -> Option<SocketAddr> {
    match packet.first()? >> 4 {
        4 => {
            let octets: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), 0))
        }
        6 => {
            let octets: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some(SocketAddrV6::new(Ipv6Addr::from(octets), 0, 0, 0).into())
        }
        _ => None,
    }
}

/// A full queue is no error: nothing went.
fn later_is_none(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR | libc::EBUSY)
            ) =>
        {
            Ok(0)
        }
        other => other,
    }
}

const PACKET_QDISC_BYPASS: libc::c_int = 20;
const SEND_BUFFER: usize = 1 << 20;
const PER_CALL: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_know_where_they_go() {
        let mut ipv4 = [0_u8; 40];
        ipv4[0] = 0x45;
        ipv4[16..20].copy_from_slice(&[198, 18, 0, 9]);
        assert_eq!(destination(&ipv4), Some("198.18.0.9:0".parse().unwrap()));
        let mut ipv6 = [0_u8; 60];
        ipv6[0] = 0x60;
        ipv6[24..28].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        assert_eq!(destination(&ipv6), Some("[2001:db8::]:0".parse().unwrap()));
        assert_eq!(destination(&ipv6[..39]), None);
        assert_eq!(destination(&[]), None);
    }
}
