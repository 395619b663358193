//! What answers, and does it ask for authentication? Definitions from TOML, pure matcher and codecs, drivers.

pub mod codec;
pub mod multicast;
