//! What takes packets before any rule of a host sees them, as far as its report names it: BPF programs and other
//! classifiers at the interface that a packet comes in by. They are named, never evaluated: a layer not read.

use super::machine::Machine;
use crate::model::NetworkState;
use crate::model::host_report::HOST_NAMESPACE;

/// What is attached where packets from outside come in: at `input`, or at every interface where it is not known which;
/// each as `tc-ingress:redirect at eth0`. Sorted.
pub fn before_the_rules(machine: &Machine<'_>, input: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = networks(machine)
        .flat_map(|network| &network.interfaces)
        .filter(|interface| interface.name != "lo" && input.is_none_or(|input| interface.name == input))
        .flat_map(|interface| interface.bpf.iter().map(move |program| (program, &interface.name)))
        .filter(|(program, _)| INWARD.iter().any(|place| program.starts_with(place)))
        .map(|(program, interface)| format!("{program} at {interface}"))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Programs that hand packets to sockets by another rule than their address (sk_lookup), each as `sk-lookup:NAME`.
pub fn socket_lookups(machine: &Machine<'_>) -> Vec<String> {
    let mut found: Vec<String> = networks(machine).flat_map(|network| network.bpf.iter().cloned()).collect();
    found.sort();
    found.dedup();
    found
}

/// The host's own namespace in each report.
fn networks<'a>(machine: &Machine<'a>) -> impl Iterator<Item = &'a NetworkState> {
    let reports: Vec<_> = machine.reports().collect();
    reports
        .into_iter()
        .flat_map(|report| &report.namespaces)
        .filter(|namespace| namespace.name == HOST_NAMESPACE)
        .filter_map(|namespace| namespace.network.as_ref())
}

/// Places on a packet's way in, by the prefix that the report gives them.
const INWARD: [&str; 4] = ["netkit", "tc-ingress", "tcx-ingress", "xdp"];
