//! `postern host` beside real engines: each row of what a machine offers is found by root, and by an ordinary user with the
//! gaps named. Every machine is a host of the namespace lab (tests/netns/support), with namespaces of its own.
//!
//! Needs root and the engines; where those are missing a test prints `SKIPPED: what: why`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs processes, and a failure of its own is a failed test"
)]

mod engines;
mod kernel;
mod listings;
mod plain;
mod services;
#[expect(dead_code, unused_imports, reason = "this target needs a part of it")]
#[path = "../netns/support/mod.rs"]
mod support;
mod view;
