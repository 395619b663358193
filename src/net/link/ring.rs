//! Receives through a ring that the kernel fills (TPACKET_V3, packet_mmap.rst): blocks of packets, without a copy into a
//! buffer a call, and with the kernel's own count of what found no room.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketType;
use socket2::{Domain, Protocol, Socket};

use super::filter::{SNAP, replies};
use super::sys::{Mapping, SOL_PACKET, option, packet_address, set_option};
use super::{Drops, Packet};

/// A packet socket with its ring. It hears all interfaces of its network namespace, whatever interface an answer takes.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedFd,
    ring: Mapping,
    /// The block that is looked at next.
    block: usize,
    drops: Drops,
    copy: Vec<u8>,
}

impl Receiver {
    /// Takes `socket` (of the family AF_PACKET, as [`packet_socket`] makes it) into use for answers to the source `ports`,
    /// but for those heard by the interfaces of `lower`, which are ports of others.
    ///
    /// # Errors
    /// No memory for the ring.
    pub fn new(socket: OwnedFd, ports: &[u16], lower: &[u32]) -> io::Result<Self> {
        let socket = Socket::from(socket);
        socket.attach_filter(&replies(ports, lower))?;
        set_option(socket.as_fd(), SOL_PACKET, PACKET_VERSION, &[TPACKET_V3])?;
        // What this machine sends is none of it; kernels before 4.20 hand it over, and it proves nothing.
        let _ = set_option(socket.as_fd(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &[1]);
        let frames = (BLOCK * BLOCKS / FRAME) as u32;
        // struct tpacket_req3: size and number of blocks, of frames, milliseconds until a block that is not full is
        // handed over, private bytes, features.
        let request = [BLOCK as u32, BLOCKS as u32, FRAME as u32, frames, RETIRE, 0, 0];
        set_option(socket.as_fd(), SOL_PACKET, PACKET_RX_RING, &request)?;
        let ring = Mapping::of(&socket, BLOCK * BLOCKS, 0)?;
        socket.bind(&packet_address(0, ETH_P_ALL)?)?;
        Ok(Self { socket: socket.into(), ring, block: 0, drops: Drops::default(), copy: vec![0; SNAP as usize] })
    }

    /// Gives everything that has arrived to `sink`; how many packets.
    pub fn receive(&mut self, sink: &mut dyn FnMut(&Packet<'_>)) -> usize {
        let mut packets = 0;
        // Once around, so that a flood cannot keep us here.
        for _ in 0..BLOCKS {
            let start = self.block * BLOCK;
            let status = self.ring.counter(start + block::STATUS);
            if status.load(Ordering::Acquire) & TP_STATUS_USER == 0 {
                break;
            }
            packets += self.take_block(start, sink);
            fence(Ordering::SeqCst);
            self.ring.counter(start + block::STATUS).store(TP_STATUS_KERNEL, Ordering::Release);
            self.block = (self.block + 1) % BLOCKS;
        }
        packets
    }

    fn take_block(&mut self, start: usize, sink: &mut dyn FnMut(&Packet<'_>)) -> usize {
        let count = self.ring.read_u32(start + block::PACKETS) as usize;
        let mut at = self.ring.read_u32(start + block::FIRST) as usize;
        let mut copy = std::mem::take(&mut self.copy);
        let mut taken = 0;
        for _ in 0..count {
            if at + frame::END > BLOCK {
                break;
            }
            let head = start + at;
            let length = (self.ring.read_u32(head + frame::SNAP) as usize).min(copy.len());
            let mut place = [0; 2];
            self.ring.read(head + frame::NET, &mut place);
            let place = at + usize::from(u16::from_ne_bytes(place));
            if place + length > BLOCK {
                break;
            }
            self.ring.read(start + place, &mut copy[..length]);
            // The address behind the header, struct sockaddr_ll: protocol, interface, sender.
            let (mut protocol, mut sender) = ([0; 2], [0; 6]);
            self.ring.read(head + frame::ADDRESS + 2, &mut protocol);
            self.ring.read(head + frame::ADDRESS + 12, &mut sender);
            let seconds = u64::from(self.ring.read_u32(head + frame::SECONDS));
            let nanoseconds = u64::from(self.ring.read_u32(head + frame::NANOSECONDS));
            sink(&Packet {
                protocol: u16::from_be_bytes(protocol),
                interface: self.ring.read_u32(head + frame::ADDRESS + 4),
                sender,
                at: Duration::new(seconds, 0) + Duration::from_nanos(nanoseconds),
                bytes: &copy[..length],
            });
            taken += 1;
            let next = self.ring.read_u32(head + frame::NEXT) as usize;
            if next == 0 {
                break;
            }
            at += next;
        }
        self.copy = copy;
        taken
    }

    /// What found no room in the ring since it was made.
    pub fn drops(&mut self) -> Drops {
        // Reading them sets them to zero: packets, drops, times that the ring was full (struct tpacket_stats_v3).
        if let Ok([packets, drops, _]) = option::<3>(self.socket.as_fd(), SOL_PACKET, PACKET_STATISTICS) {
            self.drops.received += u64::from(packets);
            self.drops.dropped += u64::from(drops);
        }
        self.drops
    }

    /// Until something has arrived, at most so long.
    pub fn wait(&self, longest: Duration) {
        let longest = longest.min(Duration::from_secs(1));
        let timeout = Timespec { tv_sec: longest.as_secs().cast_signed(), tv_nsec: i64::from(longest.subsec_nanos()) };
        // An interrupted wait is as good as one that is over.
        let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout));
    }
}

/// A socket for [`Receiver`]: packets from their network header on, and none before it is bound.
///
/// # Errors
/// Without CAP_NET_RAW.
pub fn packet_socket(kind: SocketType) -> io::Result<OwnedFd> {
    let kind = socket2::Type::from(kind.as_raw().cast_signed());
    let socket = Socket::new(Domain::PACKET, kind.nonblocking().cloexec(), Some(Protocol::from(0)))?;
    Ok(socket.into())
}

/// Where the parts of a block's header are: struct tpacket_block_desc and tpacket_hdr_v1 of linux/if_packet.h.
mod block {
    pub(super) const STATUS: usize = 8;
    pub(super) const PACKETS: usize = 12;
    pub(super) const FIRST: usize = 16;
}

/// Where the parts of a packet's header are: struct tpacket3_hdr, then the address.
mod frame {
    pub(super) const NEXT: usize = 0;
    pub(super) const SECONDS: usize = 4;
    pub(super) const NANOSECONDS: usize = 8;
    pub(super) const SNAP: usize = 12;
    pub(super) const NET: usize = 26;
    pub(super) const ADDRESS: usize = 48;
    pub(super) const END: usize = ADDRESS + 20;
}

const ETH_P_ALL: u16 = 3;
const PACKET_RX_RING: libc::c_int = 5;
const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_VERSION: libc::c_int = 10;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const TPACKET_V3: u32 = 2;
const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;

/// 16 MiB in all: some 100,000 answers, a tenth of a second of what one core can be sent.
const BLOCK: usize = 1 << 18;
const BLOCKS: usize = 64;
/// Milliseconds. The ring holds as many of these as it has blocks, at whatever rate: long enough that a driver which waits
/// for a slow way out loses nothing, short enough that nobody waits for the last answers.
const RETIRE: u32 = 4;
/// Not a limit here: frames of this version are as long as they are.
const FRAME: usize = 2048;
