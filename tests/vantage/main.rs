//! Vantages: the same hosts looked at from several places, and what lies behind them tried through them. Real engines,
//! real rules, a real sshd, in the namespace lab (tests/netns/support) without any way out.
//!
//! Needs root; a test that cannot run prints `SKIPPED: what: why`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs processes, and a failure of its own is a failed test"
)]

mod docker;
#[path = "../ssh_collect/door.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/ssh_collect, which uses the rest")]
mod door;
mod neighbour;
mod places;
mod ssh;
#[path = "../netns/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/netns, which uses the rest")]
mod support;
mod view;
