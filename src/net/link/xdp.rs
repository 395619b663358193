//! Transmit through AF_XDP in copy mode, without any program (af_xdp.rst of the kernel): frames are written to memory
//! that the kernel shares and leave in batches of one system call. They pass by this machine's queueing discipline, its
//! egress rules and its captures.
//!
//! Several threads send by one queue: each has a socket with a ring and frames of its own. The memory, and with it the ring
//! by which the kernel gives frames back, is one (`XDP_SHARED_UMEM`); many interfaces have no second queue.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg,
    xdp_mmap_offsets,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING,
    XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{SendFlags, bind, send};

use super::sys::{Mapping, SOL_XDP, set_option};
use super::xdp_ring::Ring;
use super::{Frames, SLOT};

/// A socket with its ring and frames.
#[derive(Debug)]
pub struct XdpTransmit {
    socket: OwnedFd,
    frames: Mapping,
    /// Where they begin in the shared memory.
    base: usize,
    transmit: Ring,
    /// Where in it the first frame is that was not told to have gone.
    went: u32,
    lane: usize,
    /// Slots that no frame is in.
    free: Vec<u32>,
    completion: Arc<Mutex<Completion>>,
}

/// Frames that have left, of all lanes.
#[derive(Debug)]
struct Completion {
    ring: Ring,
    /// Slots that each lane may take back.
    free: Vec<Vec<u32>>,
}

impl XdpTransmit {
    /// Takes `sockets` (of the family AF_XDP) into use for the interface `index`, at the first queue that nobody holds: a
    /// lane for each, or for fewer if the kernel lets not all of them share the queue.
    ///
    /// # Errors
    /// An interface that takes no such frames or is down; no memory that may be locked; queues that stay busy.
    pub fn lanes(sockets: Vec<OwnedFd>, index: u32) -> io::Result<Vec<Self>> {
        let count = sockets.len();
        let mut sockets = sockets.into_iter();
        let Some(first) = sockets.next() else { return Ok(Vec::new()) };
        let memory = Mapping::anonymous(count * LANE)?;
        set_xdp_umem_reg(
            &first,
            XdpUmemReg {
                addr: memory.address(),
                len: memory.len() as u64,
                chunk_size: CHUNK,
                headroom: 0,
                flags: XdpUmemRegFlags::empty(),
                tx_metadata_len: 0,
            },
        )?;
        // Nothing is received here, but no memory is taken without a ring to fill.
        set_xdp_umem_fill_ring_size(&first, 1)?;
        let all = (SLOTS * count as u32).next_power_of_two();
        set_xdp_umem_completion_ring_size(&first, all)?;
        let (ring, is_recent) = transmit_ring(first.as_fd())?;
        let mut transmit = vec![ring];
        let offsets = xdp_mmap_offsets(&first)?.cr;
        let ring = Ring::new(first.as_fd(), offsets, all, 8, XDP_UMEM_PGOFF_COMPLETION_RING)?;
        let queue = bind_somewhere(first.as_fd(), index)?;
        let mut bound = vec![first];
        for socket in sockets.take_while(|_| is_recent) {
            let Ok((ring, _)) = transmit_ring(socket.as_fd()) else { break };
            let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
            let address = SocketAddrXdpWithSharedUmem {
                addr: SocketAddrXdp::new(flags, index, queue),
                shared_umem_fd: bound[0].as_fd(),
            };
            if bind(&socket, &address).is_err() {
                break;
            }
            transmit.push(ring);
            bound.push(socket);
        }
        let completion = Arc::new(Mutex::new(Completion { ring, free: vec![Vec::new(); count] }));
        let parts = memory.into_parts(count, LANE);
        let lanes = bound.into_iter().zip(transmit).zip(parts).enumerate();
        let lane = |(lane, ((socket, transmit), frames))| Self {
            socket,
            frames,
            base: lane * LANE,
            went: 0,
            transmit,
            lane,
            free: (0..SLOTS).collect(),
            completion: Arc::clone(&completion),
        };
        Ok(lanes.map(lane).collect())
    }

    /// Has the kernel send frames from `from` on; how many it took. The others may be in the ring, where they are the next
    /// ones: what is to be sent after it are the same frames from behind those that went.
    ///
    /// # Errors
    /// The link is down or gone, and none of them went.
    pub fn send(&mut self, frames: &Frames, from: usize) -> io::Result<usize> {
        if self.free.len() < SLOTS as usize / 2 {
            self.reclaim();
        }
        let mut producer = self.transmit.producer().load(Ordering::Relaxed);
        let from = from + producer.wrapping_sub(self.went) as usize;
        let count = frames.len().saturating_sub(from).min(self.free.len());
        for number in from..from + count {
            let frame = frames.frame(number);
            let Some(slot) = self.free.pop() else { break };
            let place = slot as usize * SLOT;
            self.frames.write(place, frame);
            // struct xdp_desc of linux/if_xdp.h: where, how long, options.
            let mut description = [0; 16];
            description[..8].copy_from_slice(&((self.base + place) as u64).to_ne_bytes());
            description[8..12].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
            self.transmit.write(producer, &description);
            producer = producer.wrapping_add(1);
        }
        self.transmit.producer().store(producer, Ordering::Release);
        let kicked = self.kick();
        let consumer = self.transmit.consumer().load(Ordering::Acquire);
        let went = consumer.wrapping_sub(self.went) as usize;
        self.went = consumer;
        if went == 0 { kicked.map(|()| 0) } else { Ok(went) }
    }

    /// Has the kernel send what is in the ring. What it has no room for now stays there for the next time.
    fn kick(&mut self) -> io::Result<()> {
        for _ in 0..KICKS {
            let consumer = self.transmit.consumer().load(Ordering::Acquire);
            if consumer == self.transmit.producer().load(Ordering::Relaxed) || !self.transmit.wants_wakeup() {
                break;
            }
            match send(&self.socket, &[], SendFlags::DONTWAIT) {
                // More than one call takes is left, or completions are to be read first.
                Ok(_) | Err(Errno::AGAIN) => self.reclaim(),
                Err(Errno::BUSY | Errno::NOBUFS | Errno::INTR) => {
                    self.reclaim();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes back the slots of frames that have left.
    fn reclaim(&mut self) {
        // Nothing in there is left half-done by a panic.
        let mut completion = self.completion.lock().unwrap_or_else(PoisonError::into_inner);
        completion.read();
        self.free.append(&mut completion.free[self.lane]);
    }
}

impl Completion {
    /// Reads what the kernel gives back, whosever it is.
    fn read(&mut self) {
        let mut consumer = self.ring.consumer().load(Ordering::Relaxed);
        let producer = self.ring.producer().load(Ordering::Acquire);
        while consumer != producer {
            let mut place = [0; 8];
            self.ring.read(consumer, &mut place);
            // The kernel gives back what it was given, which is below the size of the memory.
            let place = u64::from_ne_bytes(place) as usize;
            if let Some(free) = self.free.get_mut(place / LANE) {
                free.push((place % LANE / SLOT) as u32);
            }
            consumer = consumer.wrapping_add(1);
        }
        self.ring.consumer().store(consumer, Ordering::Release);
    }
}

/// The ring of a lane, and whether the kernel is recent (6.17). One before knows no such option and takes 32 frames a call;
/// and it enters frames in the ring of those that have left before they have: with one socket that evens out, while two
/// could be given each other's.
fn transmit_ring(socket: BorrowedFd<'_>) -> io::Result<(Ring, bool)> {
    set_xdp_tx_ring_size(socket, SLOTS)?;
    let is_recent = set_option(socket, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &[PER_CALL]).is_ok();
    Ok((Ring::new(socket, xdp_mmap_offsets(socket)?.tx, SLOTS, 16, XDP_PGOFF_TX_RING)?, is_recent))
}

/// Binds to the first free queue, whose number it returns. A queue stays taken for some 30 ms after its last holder has
/// closed it: ask again, then for the next.
fn bind_somewhere(socket: BorrowedFd<'_>, index: u32) -> io::Result<u32> {
    let flags = SocketAddrXdpFlags::XDP_COPY | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    let mut last = Errno::BUSY;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(PAUSE);
        }
        for queue in 0..QUEUES {
            match bind(socket, &SocketAddrXdp::new(flags, index, queue)) {
                Ok(()) => return Ok(queue),
                Err(Errno::BUSY) => last = Errno::BUSY,
                // The interface has no such queue: begin again with the first.
                Err(Errno::INVAL) if queue > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(last.into())
}

/// What keeps an interface from AF_XDP, for whoever insists on it: the error that opening or [`XdpTransmit::lanes`] gave.
pub fn hint(error: &io::Error, lanes: usize) -> String {
    match error.raw_os_error() {
        // Of XDP_UMEM_REG, by the limit of locked memory, which is one for all processes of a user. Root without
        // capabilities has one, too. Eight mebibytes are what kernels give by themselves since 5.16.
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            let kibibytes = (lanes * LANE).div_ceil(1024);
            format!("it takes {kibibytes} KiB of locked memory, which `ulimit -l 8192` allows")
        }
        Some(libc::EPERM | libc::EACCES) => "it takes CAP_NET_RAW: root, or `setcap cap_net_raw+ep`".to_owned(),
        Some(libc::EBUSY) => "another process holds all queues of the interface".to_owned(),
        _ => "this kernel or the interface's driver has none of it".to_owned(),
    }
}

/// Frames of a lane under way at once. With [`SLOT`] bytes each they fit a second-level cache, and any limit of locked
/// memory.
const SLOTS: u32 = 2048;
/// Bytes of a lane.
const LANE: usize = SLOTS as usize * SLOT;
/// The smallest that the kernel takes; several slots share one, since only their bounds are looked at.
const CHUNK: u32 = 2048;
/// Of linux/if_xdp.h since 6.17: frames that one call sends.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
const PER_CALL: u32 = 512;
/// Calls for one batch at most: 32 frames each on older kernels.
const KICKS: usize = 64;
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_millis(10);
const QUEUES: u32 = 64;
