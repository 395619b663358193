//! Transmit through AF_XDP in copy mode, without any program (af_xdp.rst of the kernel): frames are written to memory
//! that the kernel shares and leave in batches of one system call. They pass by this machine's queueing discipline, its
//! egress rules and its captures.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg,
    xdp_mmap_offsets,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XdpRingFlags, XdpRingOffset,
    XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{SendFlags, bind, send};

use super::sys::{Mapping, SOL_XDP, set_option};
use super::{Frames, SLOT};

/// A socket with its rings and frames.
#[derive(Debug)]
pub struct XdpTransmit {
    socket: OwnedFd,
    frames: Mapping,
    transmit: Ring,
    completion: Ring,
    /// Slots that no frame is in.
    free: Vec<u32>,
}

impl XdpTransmit {
    /// Takes `socket` (of the family AF_XDP) into use for the interface `index`, at the first queue that nobody holds.
    ///
    /// # Errors
    /// An interface that takes no such frames or is down; no memory that may be locked; queues that stay busy.
    pub fn new(socket: OwnedFd, index: u32) -> io::Result<Self> {
        let frames = Mapping::anonymous(SLOTS as usize * SLOT)?;
        set_xdp_umem_reg(
            &socket,
            XdpUmemReg {
                addr: frames.address(),
                len: frames.len() as u64,
                chunk_size: CHUNK,
                headroom: 0,
                flags: XdpUmemRegFlags::empty(),
                tx_metadata_len: 0,
            },
        )?;
        // Nothing is received here, but no memory is taken without a ring to fill.
        set_xdp_umem_fill_ring_size(&socket, 1)?;
        set_xdp_umem_completion_ring_size(&socket, SLOTS)?;
        set_xdp_tx_ring_size(&socket, SLOTS)?;
        // Kernels before 6.17 know no such option and take 32 frames a call.
        let _ = set_option(socket.as_fd(), SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &[PER_CALL]);
        let offsets = xdp_mmap_offsets(&socket)?;
        let transmit = Ring::new(socket.as_fd(), offsets.tx, 16, XDP_PGOFF_TX_RING)?;
        let completion = Ring::new(socket.as_fd(), offsets.cr, 8, XDP_UMEM_PGOFF_COMPLETION_RING)?;
        bind_somewhere(socket.as_fd(), index)?;
        Ok(Self { socket, frames, transmit, completion, free: (0..SLOTS).collect() })
    }

    /// Hands over frames from `from` on; how many went. Fewer when the kernel has not done with earlier ones.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn send(&mut self, frames: &Frames, from: usize) -> io::Result<usize> {
        if self.free.len() < SLOTS as usize / 2 {
            self.reclaim();
        }
        let count = frames.len().saturating_sub(from).min(self.free.len());
        let mut producer = self.transmit.producer().load(Ordering::Relaxed);
        for number in from..from + count {
            let frame = frames.frame(number);
            let Some(slot) = self.free.pop() else { break };
            let place = slot as usize * SLOT;
            self.frames.write(place, frame);
            // struct xdp_desc of linux/if_xdp.h: where, how long, options.
            let mut description = [0; 16];
            description[..8].copy_from_slice(&(place as u64).to_ne_bytes());
            description[8..12].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
            self.transmit.write(producer, &description);
            producer = producer.wrapping_add(1);
        }
        self.transmit.producer().store(producer, Ordering::Release);
        self.kick()?;
        Ok(count)
    }

    /// Has the kernel send all that is in the ring, unless it stays without room.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn flush(&mut self) -> io::Result<()> {
        for _ in 0..FLUSHES {
            self.kick()?;
            if self.transmit.consumer().load(Ordering::Acquire) == self.transmit.producer().load(Ordering::Relaxed) {
                break;
            }
            sleep(Duration::from_micros(50));
        }
        Ok(())
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
        let mut consumer = self.completion.consumer().load(Ordering::Relaxed);
        let producer = self.completion.producer().load(Ordering::Acquire);
        while consumer != producer {
            let mut place = [0; 8];
            self.completion.read(consumer, &mut place);
            // The kernel gives back what it was given, which is below the size of the memory.
            self.free.push((u64::from_ne_bytes(place) as usize / SLOT) as u32 % SLOTS);
            consumer = consumer.wrapping_add(1);
        }
        self.completion.consumer().store(consumer, Ordering::Release);
    }
}

/// One of the rings: a power of two of entries, and two counters that only grow.
#[derive(Debug)]
struct Ring {
    memory: Mapping,
    offsets: XdpRingOffset,
    entry: usize,
}

impl Ring {
    fn new(socket: BorrowedFd<'_>, offsets: XdpRingOffset, entry: usize, page: u64) -> io::Result<Self> {
        let size = offsets.desc as usize + SLOTS as usize * entry;
        Ok(Self { memory: Mapping::of(socket, size, page)?, offsets, entry })
    }

    fn producer(&self) -> &std::sync::atomic::AtomicU32 {
        self.memory.counter(self.offsets.producer as usize)
    }

    fn consumer(&self) -> &std::sync::atomic::AtomicU32 {
        self.memory.counter(self.offsets.consumer as usize)
    }

    fn wants_wakeup(&self) -> bool {
        let flags = self.offsets.flags.map(|flags| self.memory.counter(flags as usize).load(Ordering::Relaxed));
        // Kernels without the flag (before 5.4) always want to be called.
        flags.is_none_or(|flags| flags & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0)
    }

    fn write(&self, counter: u32, entry: &[u8]) {
        self.memory.write(self.place(counter), entry);
    }

    fn read(&self, counter: u32, entry: &mut [u8]) {
        self.memory.read(self.place(counter), entry);
    }

    fn place(&self, counter: u32) -> usize {
        self.offsets.desc as usize + (counter & (SLOTS - 1)) as usize * self.entry
    }
}

/// A queue stays taken for some 30 ms after its last holder has closed it: ask again, then for the next.
fn bind_somewhere(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let flags = SocketAddrXdpFlags::XDP_COPY | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    let mut last = Errno::BUSY;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(PAUSE);
        }
        for queue in 0..QUEUES {
            match bind(socket, &SocketAddrXdp::new(flags, index, queue)) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY) => last = Errno::BUSY,
                // The interface has no such queue: begin again with the first.
                Err(Errno::INVAL) if queue > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(last.into())
}

/// Frames under way at once. With [`SLOT`] bytes each they fit a second-level cache, and any limit of locked memory.
const SLOTS: u32 = 2048;
/// The smallest that the kernel takes; several slots share one, since only their bounds are looked at.
const CHUNK: u32 = 2048;
/// Of linux/if_xdp.h since 6.17: frames that one call sends.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
const PER_CALL: u32 = 512;
/// Calls for one batch at most: 32 frames each on older kernels.
const KICKS: usize = 64;
const FLUSHES: usize = 100;
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_millis(10);
const QUEUES: u32 = 64;
