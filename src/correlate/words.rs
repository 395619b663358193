//! The words for sockets and published ports in reasons and findings.

use super::takes::{ContainerEnd, Publication};
use crate::model::host_report::{HOST_NAMESPACE, Listener};

/// `nginx (pid 12, unit nginx.service) on 0.0.0.0:80`.
pub fn socket(listener: &Listener) -> String {
    let mut facts = Vec::new();
    facts.extend(listener.pid.map(|pid| format!("pid {pid}")));
    facts.extend(listener.user.as_ref().map(|user| format!("user {user}")));
    facts.extend(listener.unit.as_ref().map(|unit| format!("unit {unit}")));
    facts.extend(listener.container.as_ref().map(|container| format!("container {container}")));
    let name = listener.process.as_deref().unwrap_or("a socket of unknown owner");
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let place = if listener.namespace == HOST_NAMESPACE {
        String::new()
    } else {
        format!(" in namespace {}", listener.namespace)
    };
    format!("{name}{facts} on {}{place}", bound(listener))
}

/// `0.0.0.0:80/tcp`, `[::]:80/tcp`, `127.0.0.53%lo:53/udp`.
pub fn bound(listener: &Listener) -> String {
    let device = listener.device.as_ref().map_or_else(String::new, |device| format!("%{device}"));
    let address = match listener.address {
        std::net::IpAddr::V4(address) => format!("{address}{device}"),
        std::net::IpAddr::V6(address) => format!("[{address}{device}]"),
    };
    format!("{address}:{}/{}", listener.port, listener.transport)
}

/// `published on 0.0.0.0:8080 for port 80 of container web (172.17.0.2)`.
pub fn publication(publication: &Publication<'_>) -> String {
    let port = publication.port;
    let container = port.container.as_deref().unwrap_or("of unknown name");
    let address = port.container_address.map_or_else(String::new, |address| format!(" ({address})"));
    format!(
        "published on {} for port {} of container {container}{address}",
        std::net::SocketAddr::new(port.host_address, port.host_port),
        port.container_port
    )
}

/// What is known of the container's end of a published port.
pub fn container_end(publication: &Publication<'_>) -> String {
    match &publication.end {
        ContainerEnd::Listens(socket_in) => format!("In the container listens {}.", socket(socket_in.listener)),
        ContainerEnd::Nobody => "Nobody listens on that port in the container's namespace.".to_owned(),
        ContainerEnd::Unseen => "The container's namespace is in no report.".to_owned(),
    }
}
