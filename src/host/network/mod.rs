//! The network state of the namespace that the calling thread is in: interfaces, routes, policy rules, neighbours,
//! settings, packet filter, BPF programs.
//!
//! - `kernel`: driver: netlink requests and their answers.
//! - `state`: driver: asks for everything and puts it together; `settings` reads /proc/sys/net.
//! - `firewall`: driver: what `tools` print; `nf_tables` says beforehand whether there is anything to print, `ipvs` and
//!   `programs` need no tool at all.
//! - `here`: both of them.
//! - `wire`, `link`, `route`, `nf_tables`, `ipvs`: pure: what the kernel's bytes mean.

mod bpf;
mod firewall;
mod here;
mod ipvs;
pub(super) mod kernel;
mod link;
mod nf_tables;
#[cfg(test)]
pub(super) mod recorded;
mod route;
mod settings;
mod state;
mod tools;
pub(super) mod wire;

pub use firewall::{Filter, Missing, read as firewall};
pub use here::network_here;
pub use link::Link;
pub use state::{State, read as state};
