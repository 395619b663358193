//! What a sweep may have spoiled on its own machine: neighbour-table overflows and a full conntrack table.
//!
//! There is one neighbour table per kernel, but its counters and its limit show in the first network namespace only. From
//! inside another one the counters are read through process 1, if we may look at it.
#![expect(clippy::disallowed_methods, reason = "reads /proc/net and /proc/sys/net")]

/// Counters of this machine, read before and after a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Times that a neighbour entry was refused because the table was full (both families, all CPUs).
    pub neighbour_overflows: u64,
    /// Whether the overflows could be read; 0 of them means nothing where they could not.
    pub neighbours_known: bool,
    /// `gc_thresh3`: the number of neighbour entries that the kernel keeps at most; 0 when it cannot be read.
    pub neighbour_limit: u64,
    /// Tracked connections and their limit; 0 when nothing is tracked in this namespace.
    pub conntrack: u64,
    pub conntrack_limit: u64,
}

impl Pressure {
    /// The counters now; what cannot be read counts as 0.
    pub fn now() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| read(path).trim().parse().unwrap_or(0);
        // Of this thread: /proc/net is the main thread's, which may be in another namespace.
        let overflows = |table: &str| {
            ["thread-self", "1"].iter().find_map(|of| table_fulls(&read(&format!("/proc/{of}/net/stat/{table}"))))
        };
        let (v4, v6) = (overflows("arp_cache"), overflows("ndisc_cache"));
        Self {
            neighbour_overflows: v4.unwrap_or(0) + v6.unwrap_or(0),
            neighbours_known: v4.is_some(),
            neighbour_limit: number("/proc/sys/net/ipv4/neigh/default/gc_thresh3"),
            conntrack: number("/proc/sys/net/netfilter/nf_conntrack_count"),
            conntrack_limit: number("/proc/sys/net/netfilter/nf_conntrack_max"),
        }
    }

    /// How often the neighbour table overflowed since `before`, in words; `None` when it did not.
    pub fn overflowed_since(&self, before: &Self) -> Option<String> {
        let times = self.neighbour_overflows.saturating_sub(before.neighbour_overflows);
        let limit = match self.neighbour_limit {
            0 => "whose limit shows outside of this network namespace only".to_owned(),
            limit => format!("of {limit} entries"),
        };
        (times > 0).then(|| format!("this machine's neighbour table, {limit}, overflowed {times} times"))
    }
}

/// Sum over CPUs of the column `table_fulls` (hexadecimal) of /proc/net/stat/{arp,ndisc}_cache; `None` without it.
fn table_fulls(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_whitespace().position(|name| name == "table_fulls")?;
    let values = lines.filter_map(|line| line.split_whitespace().nth(column));
    Some(values.filter_map(|value| u64::from_str_radix(value, 16).ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cat /proc/net/stat/arp_cache`, Linux 6.18, two CPUs; table_fulls set to 0x1f and 1.
    const ARP_CACHE: &str = "\
entries  allocs   destroys hash_grows lookups  hits     res_failed rcv_probes_mcast rcv_probes_ucast periodic_gc_runs forced_gc_runs unresolved_discards table_fulls
00000002 00000007 00000005 00000000   0000001a 00000011 00000000   00000000         00000000         00000018         00000000       00000000            0000001f
00000002 00000001 00000000 00000000   00000004 00000002 00000000   00000000         00000000         0000000b         00000000       00000000            00000001
";

    #[test]
    fn overflows_are_told_with_the_limit_where_it_shows() {
        let before = Pressure { neighbour_overflows: 3, neighbour_limit: 1024, ..Pressure::default() };
        assert_eq!(before.overflowed_since(&before), None);
        let after = Pressure { neighbour_overflows: 5, ..before };
        let told = after.overflowed_since(&before).unwrap();
        assert_eq!(told, "this machine's neighbour table, of 1024 entries, overflowed 2 times");
        let inside = Pressure { neighbour_limit: 0, ..after };
        assert!(inside.overflowed_since(&before).unwrap().contains("shows outside of this network namespace only"));
    }

    #[test]
    fn sums_hexadecimal_over_cpus() {
        assert_eq!(table_fulls(ARP_CACHE), Some(32));
        assert_eq!(table_fulls(""), None);
        assert_eq!(table_fulls("no such column\n1 2 3"), None);
    }
}
