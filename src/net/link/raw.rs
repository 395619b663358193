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
    Xdp(Box<XdpTransmit>),
    Frames(PacketTransmit),
    Packets(IpTransmit),
    /// It could not be opened: nothing leaves.
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
            OutletSockets::Ethernet { xdp, frames } => {
                let wanted = !xdp.is_empty();
                let (mut ways, why): (Vec<Self>, _) = match XdpTransmit::lanes(xdp, index) {
                    Ok(ways) => (ways.into_iter().map(|lane| Self::Xdp(Box::new(lane))).collect(), None),
                    Err(error) => (Vec::new(), Some(error)),
                };
                if ways.len() < lanes {
                    let discipline = if wanted { Discipline::PassBy } else { Discipline::Keep };
                    let transmit = PacketTransmit::new(frames, index, discipline)?;
                    ways.resize_with(lanes, || Self::Frames(transmit.clone()));
                }
                Ok((ways, why))
            }
        }
    }

    /// How it is called in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Xdp(_) => "af_xdp",
            Self::Frames(_) => AF_PACKET,
            Self::Packets(_) => "raw-ip",
            Self::Closed => "none",
        }
    }

    /// Sends frames from `from` on; how many went.
    ///
    /// # Errors
    /// The interface is down or gone; the kernel refuses the first of them.
    pub fn send(&mut self, frames: &Frames, from: usize) -> io::Result<usize> {
        match self {
            Self::Xdp(transmit) => transmit.send(frames, from),
            Self::Frames(transmit) => transmit.send(frames, from),
            Self::Packets(transmit) => transmit.send(frames, from),
            Self::Closed => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        }
    }
}
