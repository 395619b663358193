//! A TCP socket that is connected again and again: the system calls of the connect sweep.
//!
//! A socket whose connection failed can connect anew (connect(2) first returns the pending error, which is how it is
//! read here), and `connect(AF_UNSPEC)` dissolves a pending or an established connection, with a reset for the latter.
//! A probe so costs no socket(2), setsockopt(2), epoll_ctl(2) and close(2), and leaves nothing in TIME_WAIT.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, connect, connect_unspec, recv, socket_with};

use crate::sweep::answer::{LocalRefusal, Outcome};
use crate::sweep::queued_error::{self, Look, QueuedError};

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
    /// With a `device` packets leave by it alone, whatever the routes.
    ///
    /// # Errors
    /// The errno of socket(2); EMFILE, ENFILE, ENOBUFS and ENOMEM mean that there are enough sockets already.
    pub fn new(ipv4: bool, device: Option<&str>) -> io::Result<Self> {
        let family = if ipv4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        if ipv4 {
            setsockopt(&fd, sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&fd, sockopt::Ipv6RecvErr, &true)?;
        }
        if let Some(device) = device {
            setsockopt(&fd, sockopt::BindToDevice, &device.into())?;
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
                Errno::CONNRESET | Errno::PIPE => Outcome::AcceptedThenReset,
                Errno::CONNREFUSED | Errno::CONNABORTED => Outcome::Reset,
                Errno::TIMEDOUT => Outcome::Timeout,
                Errno::HOSTUNREACH => Outcome::Local(LocalRefusal::NoNeighbour),
                _ => Outcome::Local(LocalRefusal::NoRoute),
            })),
        }
    }

    /// The oldest queued ICMP error about `target`; errors about earlier targets of this socket are dropped.
    fn queued_error(&self, target: SocketAddr) -> Option<Outcome> {
        // A queue holds what arrived for one connection: a handful at most.
        for _ in 0..8 {
            match queued_error::take(self.fd.as_fd()) {
                Look::Empty => return None,
                Look::Error(QueuedError { icmp, offender, about }) if about.is_none_or(|about| about == target) => {
                    return Some(Outcome::Icmp { icmp, offender });
                }
                Look::Error(_) | Look::Other => {}
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
