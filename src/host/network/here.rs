//! Driver: all of the network state of the calling thread's namespace.

use std::io;
use std::time::Duration;

use super::{firewall, state};
use crate::model::NetworkState;

/// Reads interfaces, routes, settings and packet filter of the namespace that the calling thread is in; the firewall's
/// tools together take no longer than `limit`. What could not be read is `None` or empty there.
///
/// # Errors
/// The kernel does not even list interfaces.
pub fn network_here(limit: Duration) -> io::Result<NetworkState> {
    let mut network = state()?.network;
    network.firewall = firewall(limit).dump;
    Ok(network)
}
