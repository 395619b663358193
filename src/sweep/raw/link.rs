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

    /// Takes a load, as soon as there is room.
    fn send(&mut self, load: Load);

    /// Takes back what has been sent; `failed` is told of each frame that did not leave.
    fn collect(&mut self, failed: &mut dyn FnMut(&Failure));

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

    fn send(&mut self, load: Load) {
        self.sender.send(load);
    }

    fn collect(&mut self, failed: &mut dyn FnMut(&Failure)) {
        self.sender.collect(failed);
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
