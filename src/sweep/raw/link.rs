//! The seam between the driver and the wire: frames go out in loads, packets come in.

use std::time::Duration;

use super::sender::Sender;
use crate::net::link::ring::Receiver;
use crate::net::link::{Drops, Frames, Packet};
use crate::sweep::syn::{Probe, Question, Unsent};

/// Frames for one outlet, and whose they are.
#[derive(Debug, Default)]
pub struct Load {
    pub outlet: usize,
    pub frames: Frames,
    /// One for each frame.
    pub probes: Vec<Asked>,
    /// Filled when it comes back.
    pub failed: Vec<Failure>,
}

impl Load {
    /// Frames from `from` on do not leave.
    pub fn fail_from(&mut self, from: usize, why: Unsent) {
        self.failed.extend(self.probes[from..].iter().map(|probe| Failure { probe: *probe, why }));
    }
}

/// What a frame asks.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Probe(Probe),
    Neighbour(Question),
}

/// A frame that did not leave.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub probe: Asked,
    pub why: Unsent,
}

/// Where frames leave and answers come in.
pub trait Link {
    /// An empty load for an outlet.
    fn load(&mut self, outlet: usize) -> Load;

    /// Whether there is room for a load of each outlet. While the way out is full answers still come in: whoever waits
    /// for room does so by [`wait`](Self::wait).
    fn has_room(&mut self) -> bool;

    /// Takes a load, at once.
    fn send(&mut self, load: Load);

    /// Takes back what has been sent; `failed` is told of each frame that did not leave.
    fn collect(&mut self, failed: &mut dyn FnMut(&Failure));

    /// Whether everything has been sent, and taken back.
    fn is_idle(&self) -> bool;

    /// Gives what has arrived to `sink`.
    fn receive(&mut self, sink: &mut dyn FnMut(&Packet<'_>));

    /// Until something arrives, at most so long.
    fn wait(&mut self, longest: Duration);

    /// What was lost on this machine, since the beginning.
    fn drops(&mut self) -> Drops;
}

/// The real one: threads that transmit, and a ring that hears all interfaces.
#[derive(Debug)]
pub struct RawLink {
    pub receiver: Receiver,
    pub sender: Sender,
}

impl Link for RawLink {
    fn load(&mut self, outlet: usize) -> Load {
        self.sender.load(outlet)
    }

    fn has_room(&mut self) -> bool {
        self.sender.has_room()
    }

    fn send(&mut self, load: Load) {
        self.sender.send(load);
    }

    fn collect(&mut self, failed: &mut dyn FnMut(&Failure)) {
        self.sender.collect(failed);
    }

    fn is_idle(&self) -> bool {
        self.sender.is_idle()
    }

    fn receive(&mut self, sink: &mut dyn FnMut(&Packet<'_>)) {
        self.receiver.receive(sink);
    }

    fn wait(&mut self, longest: Duration) {
        self.receiver.wait(longest);
    }

    fn drops(&mut self) -> Drops {
        self.receiver.drops()
    }
}
