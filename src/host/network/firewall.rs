//! Driver: the packet filter of the namespace that the calling thread is in, raw. The tools are run only where the kernel
//! says beforehand that there is something to print: with hundreds of namespaces most hold nothing.
#![expect(clippy::disallowed_methods, reason = "reads /proc, looks at the clock")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER};
use serde_json::{Value, json};

use super::ipvs;
use super::kernel::Kernel;
use super::nf_tables::{self, Table};
use super::tools::{self, ToolError};
use crate::model::network::{FirewallDump, IptablesBackend, IptablesDump, VirtualService};

/// What was read, and what was not: the part with its cause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// `None`: nothing could be read.
    pub dump: Option<FirewallDump>,
    pub missing: Vec<Missing>,
}

/// A part of the rules that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    pub what: &'static str,
    pub cause: String,
    pub settled_by: &'static str,
}

/// Reads the rules of the calling thread's namespace; the tools together take no longer than `limit`.
pub fn read(limit: Duration) -> Filter {
    let deadline = Instant::now() + limit;
    let mut dump = FirewallDump::default();
    let mut missing = Vec::new();
    let mut known = false;
    match tables() {
        Ok(tables) if tables.is_empty() => {
            dump.empty.push("nft".to_owned());
            known = true;
        }
        Ok(tables) => known |= read_nf_tables(&tables, deadline, &mut dump, &mut missing),
        Err(error) => {
            missing.push(Missing { what: "nft rules", settled_by: settled_by(&error), cause: error.to_string() })
        }
    }
    for family in &FAMILIES {
        match legacy_tables(family.names) {
            Ok(false) => {
                dump.empty.push(family.empty.to_owned());
                known = true;
            }
            Ok(true) => match tools::run(family.legacy, &["-c"], deadline) {
                Ok(text) => {
                    known = true;
                    dump.iptables.push(IptablesDump { ipv6: family.ipv6, backend: IptablesBackend::Legacy, text });
                }
                Err(error) => missing.push(unread(family.what, &error, "the package `iptables` on that host, or root")),
            },
            Err(error) => {
                missing.push(Missing { what: family.what, settled_by: settled_by(&error), cause: error.to_string() })
            }
        }
    }
    if dump.iptables.iter().any(|one| mentions_sets(&one.text)) {
        match tools::run(&[("ipset", &[])], &["save"], deadline) {
            Ok(text) => dump.ipset = Some(text),
            Err(error) => {
                missing.push(unread("sets that iptables rules refer to", &error, "the package `ipset` on that host"))
            }
        }
    }
    match virtual_services() {
        Ok(services) => dump.ipvs = services,
        Err(error) => {
            missing.push(Missing { what: "IPVS services", settled_by: settled_by(&error), cause: error.to_string() })
        }
    }
    Filter { dump: known.then_some(dump), missing }
}

/// Runs nft, and iptables-nft where it may have made tables. Whether anything was read.
fn read_nf_tables(tables: &[Table], deadline: Instant, dump: &mut FirewallDump, missing: &mut Vec<Missing>) -> bool {
    dump.nft_dormant =
        tables.iter().filter(|table| table.dormant).map(|table| format!("{} {}", table.family, table.name)).collect();
    // Only tables of these families have chains of interfaces. Without them the chains stay those of unknown interfaces.
    if tables.iter().any(|table| ["inet", "netdev"].contains(&table.family)) {
        dump.nft_devices = chain_devices().unwrap_or_default();
    }
    let whole = nft(&["ruleset"], deadline);
    let ruleset = match whole {
        // nft 1.0.6 ends in the middle of its JSON at a table that has flags.
        Err(Unread::NoJson(_)) if !dump.nft_dormant.is_empty() => table_by_table(tables, deadline),
        whole => whole,
    };
    match ruleset.map_err(ToolError::from) {
        Ok(ruleset) => dump.nft = Some(ruleset),
        Err(error) => missing.push(unread("nft rules", &error, "the package `nftables` on that host")),
    }
    for family in FAMILIES.iter().filter(|family| tables.iter().any(|table| table.is_iptables(family.nft_family))) {
        match tools::run(family.nft, &["-c"], deadline) {
            Ok(text) => {
                dump.iptables.push(IptablesDump { ipv6: family.ipv6, backend: IptablesBackend::Nft, text });
            }
            // Without it the matches that only iptables knows stay opaque in what nft prints; not a gap if there is none.
            Err(error) if dump.nft.as_ref().is_none_or(has_opaque_parts) => {
                missing.push(unread("iptables rules in nf_tables", &error, "the package `iptables` on that host"));
            }
            Err(_) => {}
        }
    }
    dump.nft.is_some() || !dump.iptables.is_empty()
}

/// What nft prints of each table that the kernel evaluates, as one ruleset. A table that cannot be read leaves none: what
/// it would do with a packet could not be told.
fn table_by_table(tables: &[Table], deadline: Instant) -> Result<Value, Unread> {
    let mut objects = Vec::new();
    for table in tables.iter().filter(|table| !table.dormant) {
        if !nf_tables::is_plain(&table.name) {
            let name = table.name.escape_debug();
            return Err(Unread::NoJson(format!("a table's name is no word for it: `{name}`")));
        }
        let mut one = nft(&["table", table.family, &table.name], deadline)?;
        let found = one["nftables"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let version_is_known = !objects.is_empty();
        objects.extend(found.into_iter().filter(|object| !(version_is_known && object.get("metainfo").is_some())));
    }
    Ok(json!({ "nftables": objects }))
}

/// `nft -j list` of something.
fn nft(what: &[&str], deadline: Instant) -> Result<Value, Unread> {
    let text = tools::run(&[("nft", &[])], &[&["-j", "list"], what].concat(), deadline)?;
    serde_json::from_str(&text).map_err(|error| Unread::NoJson(format!("its output is no JSON: {error}")))
}

/// Why there is no ruleset.
#[derive(Debug)]
enum Unread {
    Tool(ToolError),
    NoJson(String),
}

impl From<ToolError> for Unread {
    fn from(error: ToolError) -> Self {
        Self::Tool(error)
    }
}

impl From<Unread> for ToolError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Tool(error) => error,
            Unread::NoJson(cause) => Self::Failed("nft", cause),
        }
    }
}

/// Matches and targets of x_tables, which nft names but does not show.
fn has_opaque_parts(ruleset: &Value) -> bool {
    match ruleset {
        Value::Object(map) => map.contains_key("xt") || map.values().any(has_opaque_parts),
        Value::Array(values) => values.iter().any(has_opaque_parts),
        _ => false,
    }
}

fn tables() -> io::Result<Vec<Table>> {
    let mut kernel = Kernel::open(NETLINK_NETFILTER)?;
    let mut tables = Vec::new();
    let answer = kernel.dump(nf_tables::GET_TABLE, &nf_tables::REQUEST, |message| match message {
        Some((nf_tables::NEW_TABLE, body)) => tables.extend(nf_tables::table(body)),
        Some(_) => {}
        None => tables.clear(),
    });
    match answer {
        // A kernel without nf_tables has no table.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(Vec::new()),
        answer => answer.map(|()| tables),
    }
}

fn chain_devices() -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut kernel = Kernel::open(NETLINK_NETFILTER)?;
    let mut devices = BTreeMap::new();
    kernel.dump(nf_tables::GET_CHAIN, &nf_tables::REQUEST, |message| match message {
        Some((nf_tables::NEW_CHAIN, body)) => devices.extend(nf_tables::chain_devices(body)),
        Some(_) => {}
        None => devices.clear(),
    })?;
    Ok(devices)
}

/// Whether x_tables has tables in this namespace. (Listing them with iptables would make them.)
fn legacy_tables(names: &str) -> io::Result<bool> {
    match fs::read_to_string(names) {
        Ok(text) => Ok(!text.trim().is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn mentions_sets(rules: &str) -> bool {
    ["--match-set", "--add-set", "--del-set", "--map-set"].iter().any(|option| rules.contains(option))
}

fn virtual_services() -> io::Result<Vec<VirtualService>> {
    // Asked for by name the kernel would load the module; where it is loaded this file is there.
    if !fs::exists("/proc/thread-self/net/ip_vs")? {
        return Ok(Vec::new());
    }
    let mut kernel = Kernel::open(NETLINK_GENERIC)?;
    let mut family = None;
    kernel.ask(ipvs::CONTROL, &ipvs::family_request(ipvs::NAME), |_, body| family = ipvs::family(body))?;
    let Some(family) = family else { return Ok(Vec::new()) };
    let mut services = Vec::new();
    kernel.dump(family, &ipvs::services_request(), |message| match message {
        Some((_, body)) => services.extend(ipvs::service(body)),
        None => services.clear(),
    })?;
    for service in &mut services {
        let mut destinations = Vec::new();
        kernel.dump(family, &ipvs::destinations_request(service), |message| match message {
            Some((_, body)) => destinations.extend(ipvs::destination(body, service)),
            None => destinations.clear(),
        })?;
        service.seen.destinations = destinations;
    }
    Ok(services.into_iter().map(|service| service.seen).collect())
}

fn unread(what: &'static str, error: &ToolError, settled_by: &'static str) -> Missing {
    let settled_by = match error {
        ToolError::Missing(_) => settled_by,
        ToolError::TimedOut(..) | ToolError::TooLong(..) => "the same command by hand, and more time",
        ToolError::Failed(..) => "the same command by hand, as root",
    };
    Missing { what, cause: error.to_string(), settled_by }
}

fn settled_by(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "`postern host` as root",
        _ => "`nft list ruleset` by hand, as root",
    }
}

/// How iptables is called, for one family.
struct Family {
    ipv6: bool,
    nft_family: &'static str,
    names: &'static str,
    what: &'static str,
    empty: &'static str,
    nft: &'static [(&'static str, &'static [&'static str])],
    legacy: &'static [(&'static str, &'static [&'static str])],
}

/// Under the names that distributions give; plain `iptables-save` is the legacy one only where there is no other.
const FAMILIES: [Family; 2] = [
    Family {
        ipv6: false,
        nft_family: "ip",
        names: "/proc/thread-self/net/ip_tables_names",
        what: "legacy iptables rules",
        empty: "iptables-legacy",
        nft: &[("iptables-nft-save", &[]), ("xtables-nft-multi", &["iptables-save"])],
        legacy: &[("iptables-legacy-save", &[]), ("xtables-legacy-multi", &["iptables-save"]), ("iptables-save", &[])],
    },
    Family {
        ipv6: true,
        nft_family: "ip6",
        names: "/proc/thread-self/net/ip6_tables_names",
        what: "legacy ip6tables rules",
        empty: "ip6tables-legacy",
        nft: &[("ip6tables-nft-save", &[]), ("xtables-nft-multi", &["ip6tables-save"])],
        legacy: &[
            ("ip6tables-legacy-save", &[]),
            ("xtables-legacy-multi", &["ip6tables-save"]),
            ("ip6tables-save", &[]),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_need_sets_and_rules_that_nft_does_not_show() {
        assert!(mentions_sets("-A INPUT -m set --match-set blocked src -j DROP"));
        assert!(!mentions_sets("-A INPUT -p tcp -j DROP"));
        let opaque = json!({"nftables": [{"rule": {"expr": [{"xt": {"type": "match", "name": "addrtype"}}]}}]});
        assert!(has_opaque_parts(&opaque));
        assert!(!has_opaque_parts(&json!({"nftables": [{"rule": {"expr": [{"drop": null}]}}]})));
    }
}
