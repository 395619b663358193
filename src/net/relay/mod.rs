//! A way through one host on the link: a namespace of our own whose packets leave as frames to that host's MAC address,
//! whatever their destination, and whose answers are taken from the wire. So an ordinary socket in there reaches what lies
//! behind the host, or its loopback, if the host lets it; and no route of this machine changes.
//!
//! - [`frames`]: which packets may leave, which frames are answers. Pure.
//! - [`ports`]: the source ports that are kept for it, so that this machine does not answer in its own name.
//! - [`seam`]: the TUN device and the packet socket.
//! - [`driver`]: the namespace, and the threads that carry packets.

pub mod driver;
pub mod frames;
mod ports;
mod seam;

pub use driver::{Relay, RelayError, Through};
