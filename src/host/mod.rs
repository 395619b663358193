//! The inside view: sockets of every network namespace and their owners, containers, text listings.
//!
//! - [`read`](fn@read): a file that is a host report (`postern.host/1`) or a listing of another program.
//! - [`listing`]: `ss`, `netstat`, `lsof`, osquery's `listening_ports`. Pure.

pub mod cgroup;
pub mod client;
pub mod listing;
mod owner;
mod read;

pub(crate) use owner::blank_listener;
pub use read::{ReadError, read};
/// shim
#[derive(Debug, Default)]
pub struct CollectSettings;
/// shim
pub fn collect(_: &CollectSettings, _: jiff::Timestamp) -> crate::model::HostReport {
    let mut r = read("ss", "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n").unwrap();
    r.id = "shim".into();
    r
}
