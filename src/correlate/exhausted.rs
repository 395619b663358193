//! What a host was out of when it was asked: silence that needs no filter. The accept queue of a single socket is in
//! `remarks`; here is what all of its ports share.

use super::machine::Machine;
use crate::model::host_report::HOST_NAMESPACE;

/// The host's connection table, full: entries and limit. The kernel drops what would need a new entry (nf_conntrack:
/// "table full, dropping packet"), whatever the rules say.
pub fn full_table(machine: &Machine<'_>) -> Option<(u64, u64)> {
    let reports: Vec<_> = machine.reports().collect();
    let networks = reports
        .into_iter()
        .flat_map(|report| &report.namespaces)
        .filter(|namespace| namespace.name == HOST_NAMESPACE)
        .filter_map(|namespace| namespace.network.as_ref());
    let tables = networks.filter_map(|network| {
        let number = |name: &str| network.sysctls.get(name)?.parse::<u64>().ok();
        number("netfilter.nf_conntrack_count").zip(number("netfilter.nf_conntrack_max"))
    });
    // Entries come and go while it is asked: what is nearly full was full.
    tables.into_iter().find(|(entries, limit)| *limit > 0 && entries.saturating_mul(20) >= limit.saturating_mul(19))
}

/// The same in a sentence.
pub fn table_sentence((entries, limit): (u64, u64)) -> String {
    format!("the host's connection table is full ({entries} of {limit} entries), and the kernel drops what is new")
}
