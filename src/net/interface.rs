//! The interfaces of the calling thread's network namespace, by netlink: what a raw sweep has to know of them.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};

use super::netlink::{NetlinkError, dump};

/// A link-layer address.
pub type Mac = [u8; 6];

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub link: LinkLayer,
    pub up: bool,
    /// Whether frames get anywhere: a cable, or another end that is up.
    pub carrier: bool,
    /// A port of another one (a bridge, a bond), which hears the same packets after it.
    pub is_port: bool,
}

/// What frames look like there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// Ethernet, where neighbours are asked for by ARP or neighbour discovery.
    Ethernet(Mac),
    /// Anything else: loopback, tunnels, interfaces without neighbours.
    Other,
}

/// All interfaces.
pub fn interfaces() -> Result<Vec<Interface>, NetlinkError> {
    let mut found = Vec::new();
    for message in dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), "list interfaces")? {
        let RouteNetlinkMessage::NewLink(message) = message else { continue };
        found.extend(read(&message));
    }
    Ok(found)
}

fn read(message: &LinkMessage) -> Option<Interface> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => Mac::try_from(&bytes[..]).ok(),
        _ => None,
    });
    let flags = message.header.flags;
    let link = match mac {
        Some(mac)
            if message.header.link_layer_type == LinkLayerType::Ether
                && !flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback) =>
        {
            LinkLayer::Ethernet(mac)
        }
        _ => LinkLayer::Other,
    };
    let (up, carrier) = (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::LowerUp));
    let is_port = message.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, LinkInfo::PortKind(kind) if hands_on(kind)))
        }
        _ => false,
    });
    Some(Interface { index: message.header.index, name, link, up, carrier, is_port })
}

/// Whether an interface of that kind has what its ports take in come in by itself. What a VRF's take in stays theirs.
fn hands_on(kind: &InfoPortKind) -> bool {
    match kind {
        InfoPortKind::Bond | InfoPortKind::Bridge | InfoPortKind::Team => true,
        InfoPortKind::Other(name) => name == "openvswitch",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_ethernet() {
        let interfaces = interfaces().unwrap();
        let lo = interfaces.iter().find(|one| one.name == "lo").unwrap();
        assert_eq!(lo.link, LinkLayer::Other);
    }
}
