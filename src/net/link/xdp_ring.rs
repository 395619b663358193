//! A ring of an AF_XDP socket (af_xdp.rst of the kernel): a power of two of entries, and two counters that only grow.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};

use super::sys::Mapping;

/// The memory of a ring.
#[derive(Debug)]
pub struct Ring {
    memory: Mapping,
    offsets: XdpRingOffset,
    /// A power of two.
    entries: u32,
    /// Bytes of one.
    entry: usize,
}

impl Ring {
    /// The ring of `socket` at `page`, whose `entries` have `entry` bytes each.
    ///
    /// # Errors
    /// The socket has no such ring.
    pub fn new(
        socket: BorrowedFd<'_>,
        offsets: XdpRingOffset,
        entries: u32,
        entry: usize,
        page: u64,
    ) -> io::Result<Self> {
        let size = offsets.desc as usize + entries as usize * entry;
        Ok(Self { memory: Mapping::of(socket, size, page)?, offsets, entries, entry })
    }

    pub fn producer(&self) -> &AtomicU32 {
        self.memory.counter(self.offsets.producer as usize)
    }

    pub fn consumer(&self) -> &AtomicU32 {
        self.memory.counter(self.offsets.consumer as usize)
    }

    /// Whether the kernel is to be called, or goes on by itself.
    pub fn wants_wakeup(&self) -> bool {
        let flags = self.offsets.flags.map(|flags| self.memory.counter(flags as usize).load(Ordering::Relaxed));
        // Kernels without the flag (before 5.4) always want to be called.
        flags.is_none_or(|flags| flags & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0)
    }

    /// Writes the entry that `counter` points to.
    pub fn write(&self, counter: u32, entry: &[u8]) {
        self.memory.write(self.place(counter), entry);
    }

    /// Reads the entry that `counter` points to.
    pub fn read(&self, counter: u32, entry: &mut [u8]) {
        self.memory.read(self.place(counter), entry);
    }

    fn place(&self, counter: u32) -> usize {
        self.offsets.desc as usize + (counter & (self.entries - 1)) as usize * self.entry
    }
}
