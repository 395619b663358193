//! The addresses of this machine's interfaces, by netlink. (Never from /sys: a process that entered a namespace without
//! remounting it sees the interfaces of the outer one there.)

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};

use super::netlink::{NetlinkError, dump, mac_text};

/// An address of an interface in the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    pub address: IpAddr,
    pub prefix: u8,
    pub interface: String,
    /// Interface number, as socket calls and sock_diag use it.
    pub index: u32,
    pub mac: Option<String>,
    pub bridge: bool,
}

impl OwnAddress {
    /// Whether `other` is the broadcast address of this address's network: no host has it (RFC 919; /31 and /32 have none,
    /// RFC 3021).
    pub fn is_broadcast(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) if self.prefix < 31 => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                other.to_bits() == own.to_bits() | hosts
            }
            _ => false,
        }
    }

    /// Whether `other` is in this address's network.
    pub fn is_on_link(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// All addresses of all interfaces, loopback included.
pub fn own_addresses() -> Result<Vec<OwnAddress>, NetlinkError> {
    let links: HashMap<u32, Link> = interfaces()?;
    let mut addresses = Vec::new();
    for message in dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), "list addresses")? {
        let RouteNetlinkMessage::NewAddress(message) = message else { continue };
        // IFA_LOCAL is the own end of a point-to-point link; IFA_ADDRESS then the other (linux/if_addr.h).
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        });
        let (Some(address), Some(link)) = (address, links.get(&message.header.index)) else { continue };
        addresses.push(OwnAddress {
            address,
            prefix: message.header.prefix_len,
            interface: link.name.clone(),
            index: message.header.index,
            mac: link.mac.clone(),
            bridge: link.bridge,
        });
    }
    addresses.sort_by_key(|own| own.address);
    Ok(addresses)
}

/// Names of all interfaces by their number.
pub fn interface_names() -> Result<HashMap<u32, String>, NetlinkError> {
    Ok(interfaces()?.into_iter().map(|(index, link)| (index, link.name)).collect())
}

/// Link-layer addresses of neighbours that were resolved.
pub fn neighbour_macs() -> Result<HashMap<IpAddr, String>, NetlinkError> {
    let mut macs = HashMap::new();
    for message in dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), "list neighbours")? {
        let RouteNetlinkMessage::NewNeighbour(message) = message else { continue };
        let mut address = None;
        let mut mac = None;
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::from(*v4)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::from(*v6)),
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = mac_text(bytes),
                _ => {}
            }
        }
        if let (Some(address), Some(mac)) = (address, mac) {
            macs.insert(address, mac);
        }
    }
    Ok(macs)
}

/// Neighbours whose link-layer address the kernel believes to know, as bytes.
pub fn known_neighbours() -> Result<Vec<(u32, IpAddr, [u8; 6])>, NetlinkError> {
    let mut known = Vec::new();
    for message in dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), "list neighbours")? {
        let RouteNetlinkMessage::NewNeighbour(message) = message else { continue };
        if matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None) {
            continue;
        }
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::from(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::from(*v6)),
            _ => None,
        });
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(&bytes[..]).ok(),
            _ => None,
        });
        known.extend(address.zip(mac).map(|(address, mac)| (message.header.ifindex, address, mac)));
    }
    Ok(known)
}

/// How the kernel stands with a neighbour on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It answered ARP or neighbour discovery.
    Resolved,
    Resolving,
    Failed,
}

/// The neighbour table (`ip neigh`) of this namespace.
pub fn neighbours() -> Result<HashMap<IpAddr, Neighbour>, NetlinkError> {
    let mut states = HashMap::new();
    for message in dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), "list neighbours")? {
        let RouteNetlinkMessage::NewNeighbour(message) = message else { continue };
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::from(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::from(*v6)),
            _ => None,
        });
        let state = match message.header.state {
            NeighbourState::Incomplete | NeighbourState::None => Neighbour::Resolving,
            NeighbourState::Failed => Neighbour::Failed,
            _ => Neighbour::Resolved,
        };
        if let Some(address) = address {
            states.insert(address, state);
        }
    }
    Ok(states)
}

struct Link {
    name: String,
    mac: Option<String>,
    bridge: bool,
}

fn interfaces() -> Result<HashMap<u32, Link>, NetlinkError> {
    let mut links = HashMap::new();
    for message in dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), "list interfaces")? {
        let RouteNetlinkMessage::NewLink(message) = message else { continue };
        let mut link = Link { name: String::new(), mac: None, bridge: false };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(bytes) => link.mac = mac_text(bytes),
                LinkAttribute::LinkInfo(infos) => {
                    link.bridge = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Bridge)));
                }
                _ => {}
            }
        }
        links.insert(message.header.index, link);
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_own_addresses() {
        let addresses = own_addresses().unwrap();
        let loopback = addresses.iter().find(|own| own.address == IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!((loopback.interface.as_str(), loopback.prefix, &loopback.mac), ("lo", 8, &None));
        assert_eq!(interface_names().unwrap().get(&loopback.index).map(String::as_str), Some("lo"));
    }

    #[test]
    fn the_last_address_of_a_network_is_its_broadcast_address() {
        let own = |prefix| OwnAddress {
            address: IpAddr::from([198, 18, 0, 1]),
            prefix,
            interface: "eth0".to_owned(),
            index: 2,
            mac: None,
            bridge: false,
        };
        assert!(own(24).is_broadcast(IpAddr::from([198, 18, 0, 255])));
        assert!(!own(24).is_broadcast(IpAddr::from([198, 18, 0, 254])));
        assert!(!own(23).is_broadcast(IpAddr::from([198, 18, 0, 255])));
        assert!(!own(31).is_broadcast(IpAddr::from([198, 18, 0, 1])));
    }

    #[test]
    fn on_link_is_by_prefix() {
        let own = |address: &str, prefix| OwnAddress {
            address: address.parse().unwrap(),
            prefix,
            interface: "eth0".to_owned(),
            index: 2,
            mac: None,
            bridge: false,
        };
        assert!(own("198.18.0.1", 24).is_on_link("198.18.0.254".parse().unwrap()));
        assert!(!own("198.18.0.1", 24).is_on_link("198.18.1.1".parse().unwrap()));
        assert!(own("198.18.0.1", 0).is_on_link("203.0.113.1".parse().unwrap()));
        assert!(own("2001:db8::1", 64).is_on_link("2001:db8::ffff".parse().unwrap()));
        assert!(!own("2001:db8::1", 64).is_on_link("198.18.0.1".parse().unwrap()));
    }
}
