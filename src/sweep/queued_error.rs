//! The error queue of a socket (IP_RECVERR, ip(7)): ICMP errors with their offender. One system call and its meaning.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

use crate::model::Icmp;

/// An ICMP error that the kernel queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedError {
    pub icmp: Icmp,
    /// Who sent it; the own address for a neighbour that could not be resolved.
    pub offender: IpAddr,
    /// Destination of the packet that it is about.
    pub about: Option<SocketAddr>,
}

/// One look at the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Empty,
    /// Something that is no ICMP error (timestamps, local errors).
    Other,
    Error(QueuedError),
}

/// Takes the oldest entry out of the queue.
pub fn take(socket: BorrowedFd<'_>) -> Look {
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let Ok(message) = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut [], Some(&mut space), flags) else {
        return Look::Empty;
    };
    let about = message.address.as_ref().and_then(socket_addr);
    let Ok(mut controls) = message.cmsgs() else { return Look::Other };
    controls
        .find_map(|control| icmp(&control))
        .map_or(Look::Other, |(icmp, offender)| Look::Error(QueuedError { icmp, offender, about }))
}

/// `sock_extended_err` (linux/errqueue.h).
fn icmp(control: &ControlMessageOwned) -> Option<(Icmp, IpAddr)> {
    match control {
        ControlMessageOwned::Ipv4RecvErr(error, offender) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
            let offender = offender.map(|address| IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))?;
            Some((Icmp { kind: error.ee_type, code: error.ee_code }, offender))
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
            let offender = offender.map(|address| IpAddr::from(address.sin6_addr.s6_addr))?;
            Some((Icmp { kind: error.ee_type, code: error.ee_code }, offender))
        }
        _ => None,
    }
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port())))
}
