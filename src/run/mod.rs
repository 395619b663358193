//! The only wiring: stages, channels, cancellation, progress.

pub mod assemble;
pub mod identity;
pub mod interrupt;
