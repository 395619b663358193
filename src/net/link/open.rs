//! Opens the sockets of a raw link. That takes CAP_NET_RAW; everything that is done with them later takes none, and so
//! they can be handed to a process that has nothing else.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::ring::packet_socket;
use super::transmit::{frame_socket, ip_sockets};

/// What is to be opened for one outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutletKind {
    /// Frames of an Ethernet interface, by AF_XDP where that works.
    Xdp,
    /// Frames of an Ethernet interface by the kernel's usual way.
    Frames,
    /// Whole packets, for everything else.
    Packets,
}

/// The sockets of one outlet.
#[derive(Debug)]
pub enum OutletSockets {
    Ethernet {
        /// One for each lane; none when AF_XDP is not wanted, or not to be had in this kernel.
        xdp: Vec<OwnedFd>,
        frames: OwnedFd,
    },
    Packets {
        ipv4: Option<OwnedFd>,
        ipv6: Option<OwnedFd>,
    },
}

/// All sockets of a link.
#[derive(Debug)]
pub struct LinkSockets {
    pub receiver: OwnedFd,
    /// For each, or why it has none.
    pub outlets: Vec<io::Result<OutletSockets>>,
}

impl LinkSockets {
    /// Opens them in the calling thread's network namespace, for so many lanes.
    ///
    /// # Errors
    /// Without CAP_NET_RAW (EPERM).
    pub fn open(kinds: &[OutletKind], device: Option<&str>, lanes: usize) -> io::Result<Self> {
        let receiver = packet_socket(SocketType::DGRAM)?;
        let outlets = kinds.iter().map(|kind| OutletSockets::open(*kind, device, lanes)).collect();
        Ok(Self { receiver, outlets })
    }
}

impl OutletSockets {
    fn open(kind: OutletKind, device: Option<&str>, lanes: usize) -> io::Result<Self> {
        Ok(match kind {
            OutletKind::Packets => {
                let (ipv4, ipv6) = ip_sockets(device)?;
                Self::Packets { ipv4, ipv6 }
            }
            OutletKind::Frames => Self::Ethernet { xdp: Vec::new(), frames: frame_socket()? },
            OutletKind::Xdp => {
                // A kernel without AF_XDP is no reason to stop.
                let xdp = (0..lanes).map_while(|_| xdp_socket().ok()).collect();
                Self::Ethernet { xdp, frames: frame_socket()? }
            }
        })
    }
}

/// A socket of AF_XDP.
///
/// # Errors
/// Without CAP_NET_RAW; the kernel has none.
pub fn xdp_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)?)
}

/// Whether this thread may open them: asked of the kernel by opening one.
pub fn may_send_raw() -> bool {
    packet_socket(SocketType::DGRAM).is_ok()
}
