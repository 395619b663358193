//! Interfaces and their addresses as rtnetlink tells (linux/if_link.h, linux/if_addr.h). Pure.

use std::net::IpAddr;

use super::wire::{AF_INET, AF_INET6, AF_UNSPEC, address, attribute, attributes, push_attribute, text, u32_at};

/// An interface, with what is only of use while numbers mean something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: Option<String>,
    pub mac: Option<String>,
    pub up: bool,
    /// Number of the bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// Number of the other end of a veth pair, or of the interface below.
    pub lower: Option<u32>,
    /// The kernel's number, in this namespace, of the namespace that `lower` is in; absent: this one.
    pub lower_namespace: Option<u32>,
    /// Ids of XDP programs.
    pub xdp: Vec<u32>,
    /// Settings of the interface with their values, by the names of /proc/sys/net: `ipv4`, `rp_filter`. Empty where the
    /// kernel does not tell them.
    pub settings: Vec<(&'static str, &'static str, u32)>,
}

/// Body of the request for all interfaces, without their counters.
pub fn links_request() -> Vec<u8> {
    let mut body = vec![0; LINK_HEADER];
    push_attribute(&mut body, IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    body
}

/// Reads the body of RTM_NEWLINK: `struct ifinfomsg` and attributes.
pub fn link(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link { index: u32_at(body, 4)?, up: flags & IFF_UP != 0, ..Link::default() };
    for (kind, value) in attributes(body.get(LINK_HEADER..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = mac(value),
            IFLA_IFNAME => link.name = text(value),
            IFLA_LINK => link.lower = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINKINFO => link.kind = attribute(value, IFLA_INFO_KIND).map(text),
            IFLA_AF_SPEC => link.settings = settings(value),
            IFLA_LINK_NETNSID => link.lower_namespace = u32_at(value, 0),
            IFLA_XDP => {
                // The general id, and those of each mode when several are attached.
                let ids = attributes(value)
                    .filter(|(kind, _)| IFLA_XDP_PROG_IDS.contains(kind))
                    .filter_map(|(_, value)| u32_at(value, 0));
                link.xdp = ids.filter(|id| *id != 0).collect();
                link.xdp.sort_unstable();
                link.xdp.dedup();
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

/// The settings in IFLA_AF_SPEC: arrays by IPV4_DEVCONF_* of linux/ip.h, which count from one, and by DEVCONF_* of
/// linux/ipv6.h. It is the same that /proc/sys/net shows, at a hundredth of the price where there are many
/// namespaces: all of them share one table of names there.
fn settings(families: &[u8]) -> Vec<(&'static str, &'static str, u32)> {
    let four = attribute(families, u16::from(AF_INET)).and_then(|family| attribute(family, IFLA_INET_CONF));
    let six = attribute(families, u16::from(AF_INET6)).and_then(|family| attribute(family, IFLA_INET6_CONF));
    let of_four = |(name, index): &(&'static str, usize)| Some(("ipv4", *name, u32_at(four?, (*index - 1) * 4)?));
    let of_six = |(name, index): &(&'static str, usize)| Some(("ipv6", *name, u32_at(six?, *index * 4)?));
    IPV4_SETTINGS.iter().filter_map(of_four).chain(IPV6_SETTINGS.iter().filter_map(of_six)).collect()
}

/// Reads the body of RTM_NEWADDR: `struct ifaddrmsg` and attributes. Number of the interface, address, prefix length.
pub fn interface_address(body: &[u8]) -> Option<(u32, IpAddr, u8)> {
    let (family, prefix) = (*body.first()?, *body.get(1)?);
    let index = u32_at(body, 4)?;
    let attributes = body.get(ADDRESS_HEADER..)?;
    // IFA_LOCAL is the own end of a point-to-point link; IFA_ADDRESS then the other.
    let own = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    let address = address(own)?;
    let fits = if address.is_ipv4() { family == AF_INET } else { family == AF_INET6 };
    fits.then_some((index, address, prefix))
}

/// Body of the request for all addresses, of both families.
pub fn addresses_request() -> Vec<u8> {
    let mut body = vec![0; ADDRESS_HEADER];
    body[0] = AF_UNSPEC;
    body
}

/// `02:00:00:00:00:01`; none for what has no link-layer address: loopback and tunnels have none, or zeros.
pub fn mac(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0))
        .then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const IFF_UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const IPV4_SETTINGS: [(&str, usize); 6] = [
    ("accept_local", 23),
    ("arp_ignore", 19),
    ("forwarding", 1),
    ("route_localnet", 26),
    ("rp_filter", 8),
    ("src_valid_mark", 24),
];
const IPV6_SETTINGS: [(&str, usize); 2] = [("disable_ipv6", 26), ("forwarding", 0)];
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
/// IFLA_XDP_PROG_ID, _DRV_PROG_ID, _SKB_PROG_ID, _HW_PROG_ID.
const IFLA_XDP_PROG_IDS: [u16; 4] = [4, 5, 6, 7];
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

#[cfg(test)]
mod tests {
    use super::super::recorded::{bodies, cut, recorded};
    use super::*;

    #[test]
    fn interfaces_with_kind_master_and_other_end() {
        let recorded = bodies(recorded!("links"), 16);
        let links: Vec<Link> = recorded.iter().filter_map(|body| link(body)).collect();
        let named: Vec<_> =
            links.iter().map(|link| (link.index, link.name.as_str(), link.kind.as_deref(), link.up)).collect();
        assert_eq!(
            named,
            [
                (1, "lo", None, true),
                (2, "br0", Some("bridge"), true),
                (3, "v0", Some("veth"), true),
                (4, "bond9", Some("bridge"), true),
                (5, "mv7", Some("macvlan"), false)
            ]
        );
        let v0 = &links[2];
        assert_eq!((v0.master, v0.lower, v0.lower_namespace.is_some(), &v0.xdp[..]), (Some(2), Some(2), true, &[][..]));
        assert_eq!((links[4].lower, links[4].lower_namespace), (Some(2), None));
        assert_eq!((links[0].mac.as_deref(), links[1].mac.as_deref()), (None, Some("02:00:00:00:00:01")));
        cut(&recorded, link);
    }

    #[test]
    fn programs_of_xdp_by_their_ids() {
        let mut body = vec![0; LINK_HEADER];
        push_attribute(&mut body, IFLA_IFNAME, b"eth0\0");
        let mut xdp = Vec::new();
        push_attribute(&mut xdp, 2, &[2]);
        push_attribute(&mut xdp, 4, &31_u32.to_ne_bytes());
        push_attribute(&mut xdp, 6, &31_u32.to_ne_bytes());
        push_attribute(&mut body, IFLA_XDP, &xdp);
        assert_eq!(link(&body).unwrap().xdp, [31]);
    }

    #[test]
    fn the_own_end_of_a_point_to_point_address() {
        let recorded = bodies(recorded!("addresses"), 20);
        let found: Vec<_> = recorded
            .iter()
            .filter_map(|body| interface_address(body))
            .map(|(index, address, prefix)| (index, address.to_string(), prefix))
            .collect();
        for expected in [
            (1, "127.0.0.1".to_owned(), 8),
            (2, "198.18.0.1".to_owned(), 24),
            (4, "198.18.5.1".to_owned(), 32),
            (2, "2001:db8::1".to_owned(), 64),
        ] {
            assert!(found.contains(&expected), "{expected:?}: {found:?}");
        }
        cut(&recorded, interface_address);
    }

    #[test]
    fn link_layer_addresses_print_as_people_write_them() {
        assert_eq!(mac(&[2, 0, 0, 0, 0, 0xab]).as_deref(), Some("02:00:00:00:00:ab"));
        assert_eq!(mac(&[0; 6]), None);
        assert_eq!(mac(&[1, 2, 3, 4]), None);
    }
}
