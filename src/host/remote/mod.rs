//! Host reports over ssh: the system's own `ssh`, with the user's configuration, and one session a look.
//!
//! One session carries everything: `ssh` is given a fixed command that reads a script of a stated length from its input
//! ([`script`]), the script tells what the machine has, and is then told what to do: run the `postern` that is installed,
//! take a copy of this program, or run plain commands. So there is nothing to share between connections, no control
//! socket to guard, and no quoting: neither the operator's nor the machine's strings ever are part of a command.
//!
//! - [`destination`]: `ssh://user@host:port`, checked before anything runs.
//! - [`config`]: what ssh is held to, also for each jump host.
//! - [`script`], [`frames`]: what is said to the machine and how its answers are told apart from noise.
//! - [`plan`]: what is tried, and in which order.
//! - [`plain`]: the report of a machine that has only its own commands, `plain_rules`: its packet filter; [`ip_json`] reads
//!   `ip -j`.
//! - [`elf`]: which machine a copy of the program would run on.
//! - [`failure`]: why there is no report, in the operator's words.
//! - [`fetch`]: the driver; `session` holds one ssh.

pub mod config;
pub mod destination;
pub mod elf;
pub mod failure;
pub mod fetch;
pub mod frames;
pub mod ip_json;
pub mod plain;
mod plain_rules;
pub mod plan;
mod private_dir;
pub mod script;
mod session;

pub use destination::{DestinationError, SshDestination};
pub use failure::{Failure, RemoteError};
pub use fetch::{Collector, RemoteSettings};
pub use private_dir::remove_all as remove_private_files;
