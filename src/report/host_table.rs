//! A host report for people: listeners by namespace with their owners, published ports, what could not be seen.

use std::io::{self, Write};

use super::escape;
use super::layout::{BOLD, Columns, DIM, PLAIN, TableStyle};
use super::table::owner_text;
use crate::model::host_report::{HOST_NAMESPACE, HostReport, Listener};

/// Writes the whole report.
pub fn write(report: &HostReport, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let name = report.hostname.as_deref().unwrap_or(&report.id);
    let mut title = style.paint(BOLD, &escape::text(name, 80));
    if let Some(os) = &report.os {
        title.push_str(&format!("  {}", escape::text(&os.pretty_name, 80)));
    }
    title.push_str(&format!("  by {}", report.source.as_str()));
    writeln!(to, "{title}")?;
    let mut namespaces: Vec<&str> = report.listeners.iter().map(|listener| listener.namespace.as_str()).collect();
    namespaces.sort_unstable_by_key(|name| (*name != HOST_NAMESPACE, *name));
    namespaces.dedup();
    for namespace in namespaces {
        writeln!(to, "{}", style.paint(BOLD, &format!("namespace {}", escape::text(namespace, 80))))?;
        let mut columns = Columns::new(&["PORT", "ADDRESS", "OWNER"]);
        let mut listeners: Vec<&Listener> =
            report.listeners.iter().filter(|listener| listener.namespace == namespace).collect();
        listeners.sort_by_key(|listener| (listener.transport, listener.port, listener.address));
        for listener in listeners {
            columns.row(vec![
                (format!("{}/{}", listener.port, listener.transport), PLAIN),
                (address_text(listener), PLAIN),
                (owner_with_marks(listener), if listener.likely_client { DIM } else { PLAIN }),
            ]);
        }
        columns.write(style, to)?;
    }
    if !report.published.is_empty() {
        writeln!(to, "{}", style.paint(BOLD, "published ports"))?;
        for port in &report.published {
            let container = port.container.as_deref().unwrap_or("unknown container");
            let inside = port.container_address.map(|address| address.to_string()).unwrap_or_default();
            writeln!(
                to,
                "  {}:{}/{} to {} {inside}:{} (by {})",
                port.host_address,
                port.host_port,
                port.transport,
                escape::text(container, 60),
                port.container_port,
                escape::text(&port.source, 20)
            )?;
        }
    }
    if !report.gaps.is_empty() {
        writeln!(to, "{}", style.paint(BOLD, "COULD NOT KNOW"))?;
        for gap in &report.gaps {
            let text = format!(
                "{}: {}; settled by {}",
                escape::text(&gap.what, 200),
                escape::text(&gap.cause, 400),
                escape::text(&gap.settled_by, 200)
            );
            style.write_wrapped("  - ", &text, to)?;
        }
    }
    let servers = report.listeners.iter().filter(|listener| !listener.likely_client).count();
    writeln!(to, "{servers} listeners in {} namespaces", report.namespaces.len().max(1))
}

fn address_text(listener: &Listener) -> String {
    let mut text = listener.address.to_string();
    if let Some(device) = &listener.device {
        text.push_str(&format!("%{}", escape::text(device, 20)));
    }
    if listener.address.is_ipv6() && listener.v6only == Some(true) {
        text.push_str(" (IPv6 only)");
    }
    text
}

fn owner_with_marks(listener: &Listener) -> String {
    let mut text = owner_text(listener);
    if listener.socket_activated {
        text.push_str(" (socket-activated)");
    }
    if listener.likely_client {
        text.push_str(" (client)");
    }
    text
}
