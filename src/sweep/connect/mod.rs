//! The connect sweep.
pub mod socket;
