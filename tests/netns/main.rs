//! The namespace lab: the real program against real servers, in network namespaces without any way out.
//!
//! Each test builds a lab of its own ([`support::Lab`]: a scanner and hosts on one bridge), starts the servers that its
//! case file names ([`servers`]), runs the built `postern` inside the scanner's namespace and compares the report with
//! the answers in that file (`cases/*.toml`). The Kubernetes components are replayed from recordings ([`replay`]).
//!
//! The tests need root and the servers. Where those are missing a test prints `SKIPPED: what: why`, which `tests/run`
//! collects and CI takes for a failure. The labs are independent of each other and may run at the same time.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs processes, and a failure of its own is a failed test"
)]

mod audit;
mod case;
mod changes;
#[path = "../ssh_collect/door.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/ssh_collect, which uses the rest")]
mod door;
mod evidence;
mod exit_codes;
mod firewalls;
mod in_front;
mod lab_itself;
mod owners;
mod pki;
mod podman;
mod replay;
mod rules;
mod servers;
mod services;
mod situations;
mod support;
