//! Frames out, answers in.
//!
//! - [`xdp`] with its rings, [`transmit`]: ways out of an interface. AF_XDP first, then a packet socket; raw IP for what has no Ethernet.
//! - [`ring`], [`filter`]: the way in, with the kernel's filter.
//! - [`open`]: the sockets, which take a privilege, apart from their use, which takes none.
//! - [`sys`]: the unsafe parts.

pub mod filter;
pub mod open;
pub mod raw;
pub mod ring;
mod sys;
pub mod transmit;
pub mod xdp;
mod xdp_ring;

use std::time::Duration;

pub use open::{LinkSockets, OutletSockets};
pub use raw::Outlet;

/// A packet that came in, from its network header on.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// EtherType.
    pub protocol: u16,
    /// Number of the interface.
    pub interface: u32,
    /// Link-layer address of the sender; zeros where there is none.
    pub sender: [u8; 6],
    /// Of the wall clock, when the kernel took it in.
    pub at: Duration,
    /// Cut at [`filter::SNAP`].
    pub bytes: &'a [u8],
}

/// What the kernel counted on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets that passed the filter.
    pub received: u64,
    /// Of these, packets that found no room.
    pub dropped: u64,
}

/// Frames to send, each in a slot of its own.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<[u8; SLOT]>,
    lengths: Vec<u8>,
}

/// Room for one frame: Ethernet, IPv6 and TCP with all the options that a SYN has.
pub const SLOT: usize = 128;

impl Frames {
    /// Adds a frame that `write` makes in a slot; it returns the frame's length, 0 for none.
    ///
    /// # Panics
    /// When it returns more than a slot has.
    pub fn push(&mut self, write: impl FnOnce(&mut [u8; SLOT]) -> usize) {
        let at = self.lengths.len();
        if self.bytes.len() == at {
            self.bytes.push([0; SLOT]);
        }
        let length = write(&mut self.bytes[at]);
        assert!(length <= SLOT, "a frame of {length} bytes");
        if length > 0 {
            // At most the size of a slot.
            self.lengths.push(length as u8);
        }
    }

    /// # Panics
    /// Beyond the last.
    pub fn frame(&self, number: usize) -> &[u8] {
        &self.bytes[number][..usize::from(self.lengths[number])]
    }

    pub const fn len(&self) -> usize {
        self.lengths.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Without frames again; the memory stays.
    pub fn clear(&mut self) {
        self.lengths.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_lengths() {
        let mut frames = Frames::default();
        frames.push(|slot| {
            slot[..3].copy_from_slice(&[1, 2, 3]);
            3
        });
        frames.push(|_| 0);
        frames.push(|slot| {
            slot.fill(9);
            SLOT
        });
        assert_eq!((frames.len(), frames.frame(0)), (2, &[1, 2, 3][..]));
        assert_eq!(frames.frame(1), [9; SLOT]);
        frames.clear();
        assert!(frames.is_empty());
    }
}
