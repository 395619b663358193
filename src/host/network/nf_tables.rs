//! Which nf_tables tables there are (linux/netfilter/nf_tables.h, NFT_MSG_GETTABLE): one cheap question that says whether
//! the tools have anything to print. And which interfaces chains are hooked to, which nft 1.0.6 does not print. Pure.

use super::wire::{AF_INET, AF_INET6, attribute, attributes, text};

/// A table of nf_tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `ip`, `ip6`, `inet`, `arp`, `bridge`, `netdev`.
    pub family: &'static str,
    pub name: String,
    /// Not evaluated by the kernel.
    pub dormant: bool,
}

impl Table {
    /// Whether it may be one that iptables-nft made for `family`.
    pub fn is_iptables(&self, family: &str) -> bool {
        self.family == family && IPTABLES.contains(&self.name.as_str())
    }
}

/// Whether nft takes a name as one word (its scanner's `string`). Whoever may make a table, in a namespace of his own even,
/// gives it any name over netlink, and nft reads its arguments as commands.
pub fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | '.'))
        && name.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '/' | '-' | '_' | '.'))
}

/// Reads the body of NFT_MSG_NEWTABLE: `struct nfgenmsg` and attributes.
pub fn table(body: &[u8]) -> Option<Table> {
    let family = family(body)?;
    let inside = body.get(REQUEST.len()..)?;
    let flags = attribute(inside, NFTA_TABLE_FLAGS).and_then(|value| Some(u32::from_be_bytes(value.try_into().ok()?)));
    Some(Table {
        family,
        name: text(attribute(inside, NFTA_TABLE_NAME)?),
        dormant: flags.unwrap_or_default() & NFT_TABLE_F_DORMANT != 0,
    })
}

/// Reads the body of NFT_MSG_NEWCHAIN: `FAMILY TABLE CHAIN` and the interfaces that the chain is hooked to; `None` for a
/// chain that is hooked to none.
pub fn chain_devices(body: &[u8]) -> Option<(String, Vec<String>)> {
    let family = family(body)?;
    let inside = body.get(REQUEST.len()..)?;
    let hook = attribute(inside, NFTA_CHAIN_HOOK)?;
    let listed = attribute(hook, NFTA_HOOK_DEVS).unwrap_or_default();
    let mut devices: Vec<String> =
        attributes(listed).filter(|(kind, _)| *kind == NFTA_DEVICE_NAME).map(|(_, name)| text(name)).collect();
    if devices.is_empty() {
        devices.extend(attribute(hook, NFTA_HOOK_DEV).map(text));
    }
    let (table, chain) = (attribute(inside, NFTA_CHAIN_TABLE)?, attribute(inside, NFTA_CHAIN_NAME)?);
    (!devices.is_empty()).then(|| (format!("{family} {} {}", text(table), text(chain)), devices))
}

fn family(body: &[u8]) -> Option<&'static str> {
    Some(match *body.first()? {
        NFPROTO_INET => "inet",
        AF_INET => "ip",
        NFPROTO_ARP => "arp",
        NFPROTO_NETDEV => "netdev",
        NFPROTO_BRIDGE => "bridge",
        AF_INET6 => "ip6",
        _ => return None,
    })
}

/// Body of the request: `struct nfgenmsg` for all families.
pub const REQUEST: [u8; 4] = [0; 4];
/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE.
pub const GET_TABLE: u16 = 10 << 8 | 1;
/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE.
pub const NEW_TABLE: u16 = 10 << 8;
/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN.
pub const GET_CHAIN: u16 = 10 << 8 | 4;
/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN.
pub const NEW_CHAIN: u16 = 10 << 8 | 3;

const NFPROTO_INET: u8 = 1;
const NFPROTO_ARP: u8 = 3;
const NFPROTO_NETDEV: u8 = 5;
const NFPROTO_BRIDGE: u8 = 7;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_DEVICE_NAME: u16 = 1;
const NFT_TABLE_F_DORMANT: u32 = 1;
const IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

#[cfg(test)]
mod tests {
    use super::super::recorded::{bodies, cut, recorded};
    use super::*;

    #[test]
    fn tables_by_family_and_those_that_sleep() {
        let recorded = bodies(recorded!("tables"), NEW_TABLE);
        let mut tables: Vec<_> = recorded.iter().filter_map(|body| table(body)).collect();
        tables.sort_by_key(|table| table.family);
        let shown: Vec<_> = tables.iter().map(|one| (one.family, one.name.as_str(), one.dormant)).collect();
        assert_eq!(
            shown,
            [("bridge", "b", false), ("inet", "fw", false), ("ip", "filter", false), ("ip6", "asleep", true)]
        );
        assert!(tables[2].is_iptables("ip") && !tables[2].is_iptables("ip6") && !tables[1].is_iptables("inet"));
        cut(&recorded, table);
    }

    #[test]
    fn names_that_nft_would_read_as_more_than_a_name() {
        for name in ["filter", "docker-bridges", "_a.b/c", "t2"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "x; flush ruleset", "x\nadd", "-f", "2", "\"q\"", "a b", "$x", "x#"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
