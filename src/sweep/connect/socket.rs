//! A TCP socket that is connected again and again: the system calls of the connect sweep.
//!
//! A socket whose connection failed can connect anew (connect(2) first returns the pending error, which is how it is
//! read here), and `connect(AF_UNSPEC)` dissolves a pending or an established connection, with a reset for the latter.
//! A probe so costs no socket(2), setsockopt(2), epoll_ctl(2) and close(2), and leaves nothing in TIME_WAIT.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, connect, connect_unspec, recv, socket_with};

use crate::model::Icmp;
use crate::sweep::answer::{LocalRefusal, Outcome};

/// A nonblocking TCP socket with its error queue on.
#[derive(Debug)]
pub struct ProbeSocket {
    fd: OwnedFd,
    ipv4: bool,
}

/// What a call to connect came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Under way.
    Pending,
    Ended(Outcome),
    /// This machine is out of something (descriptors, ports, buffers): later.
    Exhausted(Errno),
}

impl ProbeSocket {
    /// # Errors
    /// The errno of socket(2); EMFILE, ENFILE, ENOBUFS and ENOMEM mean that there are enough sockets already.
    pub fn new(ipv4: bool) -> io::Result<Self> {
        let family = if ipv4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        if ipv4 {
            setsockopt(&fd, sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&fd, sockopt::Ipv6RecvErr, &true)?;
        }
        Ok(Self { fd, ipv4 })
    }

    pub const fn is_ipv4(&self) -> bool {
        self.ipv4
    }

    /// Starts to connect.
    pub fn start(&self, target: SocketAddr) -> Attempt {
        self.attempt(connect(&self.fd, &target), target)
    }

    /// Asks how the connection to `target` stands, after an event.
    pub fn check(&self, target: SocketAddr) -> Attempt {
        match self.attempt(connect(&self.fd, &target), target) {
            // An ICMP error that arrives while the kernel is still in connect(2) is queued and the SYN repeated all the
            // same; the host has answered nevertheless.
            Attempt::Pending => match self.queued_error(target) {
                Some(outcome) => Attempt::Ended(outcome),
                None => Attempt::Pending,
            },
            attempt => attempt,
        }
    }

    /// Ends whatever this socket is doing: it can connect again.
    pub fn dissolve(&self) -> io::Result<()> {
        Ok(connect_unspec(&self.fd)?)
    }

    /// Whether the peer of an accepted connection has closed or reset it by now, without having sent a byte.
    pub fn closed_at_once(&self) -> bool {
        let mut byte = [0_u8; 1];
        match recv(&self.fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((read, _)) => read == 0,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Whether the peer has sent anything.
    pub fn has_data(&self) -> bool {
        let mut byte = [0_u8; 1];
        matches!(recv(&self.fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
    }

    fn attempt(&self, result: rustix::io::Result<()>, target: SocketAddr) -> Attempt {
        let error = match result {
            Ok(()) | Err(Errno::ISCONN) => return Attempt::Ended(Outcome::Accepted),
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => return Attempt::Pending,
            Err(error) => error,
        };
        match error {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL | Errno::AGAIN => {
                Attempt::Exhausted(error)
            }
            Errno::PERM => Attempt::Ended(Outcome::Local(LocalRefusal::Forbidden)),
            error => Attempt::Ended(self.queued_error(target).unwrap_or(match error {
                Errno::CONNREFUSED | Errno::CONNRESET | Errno::CONNABORTED => Outcome::Reset,
                Errno::TIMEDOUT => Outcome::Timeout,
                Errno::HOSTUNREACH => Outcome::Local(LocalRefusal::NoNeighbour),
                _ => Outcome::Local(LocalRefusal::NoRoute),
            })),
        }
    }

    /// The oldest queued ICMP error about `target`; errors about earlier targets of this socket are dropped.
    fn queued_error(&self, target: SocketAddr) -> Option<Outcome> {
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        // A queue holds what arrived for one connection: a handful at most.
        for _ in 0..8 {
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut [], Some(&mut space), flags).ok()?;
            // The destination of the packet that the error is about.
            let about = message.address.and_then(|address| socket_addr(&address));
            let outcome = message.cmsgs().ok()?.find_map(|control| icmp_outcome(&control));
            match (outcome, about) {
                (Some(_), Some(about)) if about.ip() != target.ip() || about.port() != target.port() => {}
                (Some(outcome), _) => return Some(outcome),
                (None, _) => {}
            }
        }
        None
    }
}

impl AsFd for ProbeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `sock_extended_err` (linux/errqueue.h) to an outcome; origin 2 is ICMP, 3 ICMPv6.
fn icmp_outcome(control: &ControlMessageOwned) -> Option<Outcome> {
    match control {
        ControlMessageOwned::Ipv4RecvErr(error, offender) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
            let offender = offender.map(|address| IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))?;
            Some(Outcome::Icmp { icmp: Icmp { kind: error.ee_type, code: error.ee_code }, offender })
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
            let offender = offender.map(|address| IpAddr::from(address.sin6_addr.s6_addr))?;
            Some(Outcome::Icmp { icmp: Icmp { kind: error.ee_type, code: error.ee_code }, offender })
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
