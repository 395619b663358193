//! Host reports over ssh, against real sshds in network namespaces without any way out.
//!
//! Each test builds a lab of its own (`tests/netns/support`: a scanner and hosts on one bridge), starts sshd on the hosts
//! ([`door`]) and runs the built `postern` in the scanner's namespace. The hosts share this machine's file system; what
//! must differ (users, sudoers, /usr/local/bin, temporary directories) is mounted over in the host's own mount namespace.
//!
//! Needs root, sshd and ssh; a test that cannot run prints `SKIPPED: what: why`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs processes, and a failure of its own is a failed test"
)]

mod door;
mod refusals;
#[path = "../netns/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/netns, which uses the rest")]
mod support;
mod ways;
