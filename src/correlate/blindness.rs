//! What the views of a machine cannot show: when an absent socket is no proof that there is none.

use std::net::IpAddr;

use super::machine::Machine;
use crate::model::host_report::Source;
use crate::model::{HostReport, Transport};

impl Machine<'_> {
    /// What keeps an absent socket from being proof that there is none; `None` when the views would show a socket that
    /// takes `transport` to `address`.
    pub fn blind_to(&self, address: IpAddr, transport: Transport) -> Option<String> {
        let mut last = None;
        for view in &self.views {
            // One view that would show it is enough.
            last = Some(blindness(&view.before, address, transport)?);
        }
        last
    }

    /// What the views cannot show by their nature: the sentence that goes with a socket that was not found.
    pub fn limits(&self) -> String {
        let reports = || self.views.iter().map(|view| &view.before);
        if reports().any(|report| report.source.sees_namespaces() && report.privileges.namespaces) {
            return "The report covers the sockets of every network namespace that it could enter; what it does not \
                    cover are translations by nftables, iptables or IPVS, and eBPF: layers not read."
                .to_owned();
        }
        if reports().any(|report| report.source.sees_namespaces()) {
            return "The report was taken without the right to enter other network namespaces: a socket in a container \
                    would not be in it; `postern host` as root settles that."
                .to_owned();
        }
        let sources: Vec<&str> = reports().map(|report| report.source.as_str()).collect();
        format!(
            "The {} listing shows the host's own network namespace only: a socket in a container's or another \
             namespace, reached by translation, would not be in it; `postern host` as root on that machine settles that.",
            sources.join(" and ")
        )
    }
}

/// Why `report` might lack a socket that was there.
fn blindness(report: &HostReport, address: IpAddr, transport: Transport) -> Option<String> {
    // sock_diag lists every socket of the host's namespace to everybody; `ss -tulpn` was what the agentless look ran.
    let asked_for_all = report.source == Source::Agentless && !report.listeners.is_empty();
    if report.source == Source::Native || asked_for_all {
        return None;
    }
    let source = report.source.as_str();
    let mut shown = report.listeners.iter().filter(|listener| listener.transport == transport);
    if shown.clone().next().is_none() {
        return Some(format!(
            "The {source} listing shows no {transport} socket at all: it may have been taken without them."
        ));
    }
    if address.is_ipv6() && !shown.any(|listener| listener.address.is_ipv6()) {
        return Some(format!(
            "The {source} listing shows no IPv6 socket at all: it may have been taken for IPv4 only."
        ));
    }
    if report.source == Source::Lsof && !report.listeners.iter().any(|listener| is_root(listener.user.as_deref())) {
        // Without root lsof reads only the caller's own processes.
        return Some(
            "The lsof listing shows no socket of root: taken by an ordinary user it lists that user's processes only."
                .to_owned(),
        );
    }
    None
}

fn is_root(user: Option<&str>) -> bool {
    matches!(user, Some("root" | "0"))
}
