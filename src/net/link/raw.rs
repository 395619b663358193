//! The ways out of an interface as one type.

use std::io;

use super::Frames;
use super::open::OutletSockets;
use super::transmit::{Discipline, IpTransmit, PacketTransmit};
use super::xdp::XdpTransmit;

/// How packet sockets are called in reports.
pub const AF_PACKET: &str = "af_packet";

/// A way out.
#[derive(Debug)]
pub enum Outlet {
    Xdp {
        transmit: Box<XdpTransmit>,
        /// What takes its place when it fails.
        instead: Option<PacketTransmit>,
    },
    Frames(PacketTransmit),
    Packets(IpTransmit),
    /// It could not be opened, or has failed: nothing leaves.
    Closed,
}

impl Outlet {
    /// Takes sockets into use for the interface `index`: one way out for each of so many threads. AF_XDP that does not work
    /// there is given up for a packet socket; the second value is why.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn lanes(sockets: OutletSockets, index: u32, lanes: usize) -> io::Result<(Vec<Self>, Option<io::Error>)> {
        match sockets {
            OutletSockets::Packets { ipv4, ipv6 } => {
                let transmit = IpTransmit::new(ipv4, ipv6);
                Ok(((0..lanes).map(|_| Self::Packets(transmit.clone())).collect(), None))
            }
            OutletSockets::Ethernet { xdp: sockets, frames } => {
                let wanted = !sockets.is_empty();
                let discipline = if wanted { Discipline::PassBy } else { Discipline::Keep };
                let frames = PacketTransmit::new(frames, index, discipline);
                let xdp = |lane| Self::Xdp { transmit: Box::new(lane), instead: frames.as_ref().ok().cloned() };
                let (mut ways, why): (Vec<Self>, _) = match XdpTransmit::lanes(sockets, index) {
                    Ok(ways) => (ways.into_iter().map(xdp).collect(), None),
                    Err(error) => (Vec::new(), Some(error)),
                };
                if ways.len() < lanes {
                    let frames = frames?;
                    ways.resize_with(lanes, || Self::Frames(frames.clone()));
                }
                Ok((ways, why))
            }
        }
    }

    /// How it is called in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Xdp { .. } => "af_xdp",
            Self::Frames(_) => AF_PACKET,
            Self::Packets(_) => "raw-ip",
            Self::Closed => "none",
        }
    }

    /// Only AF_XDP: nothing takes its place.
    pub fn without_instead(mut self) -> Self {
        if let Self::Xdp { instead, .. } = &mut self {
            *instead = None;
        }
        self
    }

    /// What was handed over and has not gone never will.
    pub fn give_up(&mut self) {
        if let Self::Xdp { instead, .. } = self {
            // The ring goes with its socket.
            *self = instead.take().map_or(Self::Closed, Self::Frames);
        }
    }

    /// Sends frames from `from` on; how many went. Until all of a list went, or [`give_up`](Self::give_up), the list is to
    /// be the same one.
    ///
    /// # Errors
    /// The interface is down or gone; the kernel refuses the first of them. None of them went, and none will.
    pub fn send(&mut self, frames: &Frames, from: usize) -> io::Result<usize> {
        match self {
            Self::Xdp { transmit, .. } => transmit.send(frames, from).inspect_err(|_| self.give_up()),
            Self::Frames(transmit) => transmit.send(frames, from),
            Self::Packets(transmit) => transmit.send(frames, from),
            Self::Closed => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        }
    }
}
