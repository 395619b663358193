//! A host report for people: listeners by namespace with their owners, published ports, what could not be seen.

use std::io::{self, Write};

use super::layout::{BOLD, Columns, DIM, PLAIN, TableStyle};
use super::table::owner_text;
use super::{escape, gaps};
use crate::model::Transport;
use crate::model::host_report::{AcceptQueue, HOST_NAMESPACE, HostReport, Listener, RawKind};
use crate::model::path::Translated;

/// Writes the whole report.
pub fn write(report: &HostReport, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let name = report.hostname.as_deref().unwrap_or(&report.id);
    let mut title = style.paint(BOLD, &escape::text(name, 80));
    if let Some(os) = &report.os {
        title.push_str(&format!("  {}", escape::text(&os.pretty_name, 80)));
        if let (Some(end), Some(false)) = (&os.end_of_support, os.supported) {
            title.push_str(&format!(" (support ended {})", escape::text(end, 10)));
        }
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
    write_raw(report, style, to)?;
    write_containers(report, style, to)?;
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
    write_translated(report, style, to)?;
    gaps::write(&report.gaps, style, to)?;
    let servers = report.listeners.iter().filter(|listener| !listener.likely_client).count();
    writeln!(to, "{servers} listeners in {} namespaces", report.namespaces.len().max(1))
}

/// Ports that rules lead elsewhere, those of published ports aside.
fn write_translated(report: &HostReport, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let own = report.namespaces.iter().find(|one| one.name == HOST_NAMESPACE);
    let all = own.and_then(|one| one.network.as_ref()).map_or(&[][..], |network| &network.translated);
    let is_published = |one: &&Translated| {
        report.published.iter().any(|port| {
            one.transport.is_none_or(|its| its == port.transport) && one.ports == port.host_port.to_string()
        })
    };
    let mut rest = all.iter().filter(|one| !is_published(one)).peekable();
    if rest.peek().is_some() {
        writeln!(to, "{}", style.paint(BOLD, "ports that rules translate"))?;
    }
    for one in rest {
        let address = one.address.map(|address| format!("{address} ")).unwrap_or_default();
        let transport = one.transport.map_or("any", Transport::as_str);
        let rule = one.named_by.as_ref().unwrap_or(&one.rule);
        let ports = escape::text(&one.ports, 60);
        let text =
            format!("{address}{ports}/{transport} to {}: {}", escape::text(&one.to, 60), escape::text(rule, 400));
        style.write_wrapped("  ", &text, to)?;
    }
    Ok(())
}

/// Sockets that see packets beside the ports, one line an owner.
fn write_raw(report: &HostReport, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    if report.raw_sockets.is_empty() {
        return Ok(());
    }
    writeln!(to, "{}", style.paint(BOLD, "raw and packet sockets"))?;
    let mut lines: Vec<String> = Vec::new();
    for socket in &report.raw_sockets {
        let kind = match socket.kind {
            RawKind::Raw => format!("raw, IP protocol {}", socket.protocol),
            RawKind::Packet => format!("packet, EtherType 0x{:04x}", socket.protocol),
        };
        let device =
            socket.device.as_deref().map(|device| format!(" on {}", escape::text(device, 20))).unwrap_or_default();
        let owner = socket.process.as_deref().map_or_else(|| "unknown".to_owned(), |name| escape::text(name, 60));
        let pid = socket.pid.map(|pid| format!(" ({pid})")).unwrap_or_default();
        lines.push(format!("  {kind}{device} in {}: {owner}{pid}", escape::text(&socket.namespace, 80)));
    }
    lines.dedup();
    lines.iter().try_for_each(|line| writeln!(to, "{line}"))
}

/// Containers with what makes a break-in there worse.
fn write_containers(report: &HostReport, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    if report.containers.is_empty() {
        return Ok(());
    }
    writeln!(to, "{}", style.paint(BOLD, "containers"))?;
    for container in &report.containers {
        let name = container.name.clone().unwrap_or_else(|| container.id.chars().take(12).collect());
        let mut marks = Vec::new();
        if container.privileged == Some(true) {
            marks.push("privileged".to_owned());
        } else if !container.added_capabilities.is_empty() {
            marks.push(format!("capabilities {}", escape::text(&container.added_capabilities.join(", "), 120)));
        }
        if container.host_network {
            marks.push("host network".to_owned());
        }
        if matches!(container.seccomp.as_deref(), Some("unconfined" | "disabled")) && container.privileged != Some(true)
        {
            marks.push("no seccomp".to_owned());
        }
        marks.extend(container.engine_sockets.iter().map(|path| format!("has {}", escape::text(path, 80))));
        let marks = if marks.is_empty() { String::new() } else { format!(": {}", marks.join("; ")) };
        let image =
            container.image.as_deref().map(|image| format!(" of {}", escape::text(image, 80))).unwrap_or_default();
        writeln!(to, "  {} ({}){image}{marks}", escape::text(&name, 60), escape::text(&container.engine, 20))?;
    }
    Ok(())
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
    match (&listener.starts, listener.socket_activated) {
        (Some(program), _) => text.push_str(&format!(" (would start {})", escape::text(program, 80))),
        (None, true) => text.push_str(" (socket-activated)"),
        (None, false) => {}
    }
    if listener.accept_queue.is_some_and(AcceptQueue::is_full) {
        text.push_str(" (accept queue full)");
    }
    if listener.likely_client {
        text.push_str(" (client)");
    }
    text
}
