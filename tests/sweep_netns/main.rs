//! Sweeps against a real kernel: every way in which a port can answer, or not, in namespaces of our own.
//!
//! Needs root, `ip` and `nft`; prints `SKIPPED: …` otherwise.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs programs and opens sockets in namespaces; a failure of its own is a failed test"
)]

mod connect;
mod lab;
mod privileges;
mod probe_test;
mod streams;
mod syn;
