//! IPVS's virtual services over generic netlink (linux/ip_vs.h, family `IPVS` version 1). Pure.

use std::net::IpAddr;

use super::wire::{AF_INET, AF_INET6, address, attribute, be16_at, push_attribute, text, u16_at, u32_at};
use crate::model::Transport;
use crate::model::network::{VirtualDestination, VirtualService};

/// Body of the request for a generic netlink family's number, by its name.
pub fn family_request(name: &str) -> Vec<u8> {
    let mut body = vec![CTRL_CMD_GETFAMILY, CTRL_VERSION, 0, 0];
    push_attribute(&mut body, CTRL_ATTR_FAMILY_NAME, &[name.as_bytes(), &[0]].concat());
    body
}

/// Reads the answer to [`family_request`].
pub fn family(body: &[u8]) -> Option<u16> {
    u16_at(attribute(body.get(GENERIC_HEADER..)?, CTRL_ATTR_FAMILY_ID)?, 0)
}

/// Body of the request for all services.
pub fn services_request() -> Vec<u8> {
    vec![IPVS_CMD_GET_SERVICE, VERSION, 0, 0]
}

/// Body of the request for the destinations of a service.
pub fn destinations_request(service: &Service) -> Vec<u8> {
    let mut inside = Vec::new();
    push_attribute(&mut inside, IPVS_SVC_ATTR_AF, &u16::from(service.family).to_ne_bytes());
    match service.seen.mark {
        Some(mark) => push_attribute(&mut inside, IPVS_SVC_ATTR_FWMARK, &mark.to_ne_bytes()),
        None => {
            push_attribute(&mut inside, IPVS_SVC_ATTR_PROTOCOL, &service.protocol.to_ne_bytes());
            push_attribute(&mut inside, IPVS_SVC_ATTR_ADDR, &service.address);
            push_attribute(&mut inside, IPVS_SVC_ATTR_PORT, &service.seen.port.to_be_bytes());
        }
    }
    let mut body = vec![IPVS_CMD_GET_DEST, VERSION, 0, 0];
    push_attribute(&mut body, NESTED | IPVS_CMD_ATTR_SERVICE, &inside);
    body
}

/// A virtual service, with what is needed to ask for its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    family: u8,
    protocol: u16,
    address: Vec<u8>,
    pub seen: VirtualService,
}

/// Reads one service of the answer. `None` for other transports (SCTP).
pub fn service(body: &[u8]) -> Option<Service> {
    let inside = attribute(body.get(GENERIC_HEADER..)?, IPVS_CMD_ATTR_SERVICE)?;
    let family = u8::try_from(u16_at(attribute(inside, IPVS_SVC_ATTR_AF)?, 0)?).ok()?;
    let mark = attribute(inside, IPVS_SVC_ATTR_FWMARK).and_then(|value| u32_at(value, 0)).filter(|mark| *mark != 0);
    let protocol = attribute(inside, IPVS_SVC_ATTR_PROTOCOL).and_then(|value| u16_at(value, 0)).unwrap_or_default();
    let bytes = attribute(inside, IPVS_SVC_ATTR_ADDR).unwrap_or_default();
    let seen = VirtualService {
        // A service by mark takes whatever protocol its packets have; the kernel names none then.
        transport: match protocol {
            UDP => Transport::Udp,
            TCP => Transport::Tcp,
            _ if mark.is_some() => Transport::Tcp,
            _ => return None,
        },
        address: if mark.is_some() { None } else { Some(member(bytes, family)?) },
        port: attribute(inside, IPVS_SVC_ATTR_PORT).and_then(|value| be16_at(value, 0)).unwrap_or_default(),
        mark,
        scheduler: attribute(inside, IPVS_SVC_ATTR_SCHED_NAME).map(text).unwrap_or_default(),
        destinations: Vec::new(),
    };
    Some(Service { family, protocol, address: bytes.to_owned(), seen })
}

/// Reads one destination of the answer.
pub fn destination(body: &[u8], service: &Service) -> Option<VirtualDestination> {
    let inside = attribute(body.get(GENERIC_HEADER..)?, IPVS_CMD_ATTR_DEST)?;
    // Linux 3.18 and later say the family: a tunnel may lead to another one than the service's.
    let family = attribute(inside, IPVS_DEST_ATTR_ADDR_FAMILY)
        .and_then(|value| u8::try_from(u16_at(value, 0)?).ok())
        .unwrap_or(service.family);
    let number = |kind| attribute(inside, kind).and_then(|value| u32_at(value, 0)).unwrap_or_default();
    Some(VirtualDestination {
        address: member(attribute(inside, IPVS_DEST_ATTR_ADDR)?, family)?,
        port: be16_at(attribute(inside, IPVS_DEST_ATTR_PORT)?, 0)?,
        forward: match number(IPVS_DEST_ATTR_FWD_METHOD) & IP_VS_CONN_F_FWD_MASK {
            0 => "masq",
            1 => "local",
            2 => "tunnel",
            3 => "droute",
            4 => "bypass",
            _ => "unknown",
        }
        .to_owned(),
        weight: number(IPVS_DEST_ATTR_WEIGHT),
    })
}

/// `union nf_inet_addr`: sixteen bytes of which IPv4 uses four.
fn member(bytes: &[u8], family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => address(bytes.get(..4)?),
        AF_INET6 => address(bytes.get(..16)?),
        _ => None,
    }
}

/// GENL_ID_CTRL (linux/genetlink.h).
pub const CONTROL: u16 = 0x10;
pub const NAME: &str = "IPVS";

const GENERIC_HEADER: usize = 4;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_VERSION: u8 = 1;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const VERSION: u8 = 1;
const NESTED: u16 = 0x8000;
const IPVS_CMD_GET_SERVICE: u8 = 4;
const IPVS_CMD_GET_DEST: u8 = 8;
const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;
const IPVS_SVC_ATTR_FWMARK: u16 = 5;
const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
const IPVS_DEST_ATTR_ADDR: u16 = 1;
const IPVS_DEST_ATTR_PORT: u16 = 2;
const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;
const IP_VS_CONN_F_FWD_MASK: u32 = 7;
const TCP: u16 = 6;
const UDP: u16 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut inside = Vec::new();
        for (kind, value) in attributes {
            push_attribute(&mut inside, *kind, value);
        }
        let mut body = vec![1, 1, 0, 0];
        push_attribute(&mut body, NESTED | kind, &inside);
        body
    }

    fn padded(address: [u8; 4]) -> Vec<u8> {
        [&address[..], &[0; 12]].concat()
    }

    /// As ip_vs_genl_fill_service and ip_vs_genl_fill_dest (net/netfilter/ipvs/ip_vs_ctl.c, Linux 6.18) put them
    /// together for `ipvsadm -A -t 198.18.0.2:80 -s rr; ipvsadm -a -t 198.18.0.2:80 -r 10.244.0.7:8080 -m -w 3`. Put
    /// together by hand: the kernels at hand have no IPVS.
    #[test]
    fn a_service_and_where_it_leads() {
        let body = nest(
            1,
            &[
                (1, &2_u16.to_ne_bytes()),
                (2, &6_u16.to_ne_bytes()),
                (3, &padded([198, 18, 0, 2])),
                (4, &80_u16.to_be_bytes()),
                (6, b"rr\0"),
                (7, &[0; 8]),
                (8, &[0; 4]),
                (9, &[255; 4]),
                (10, &[0; 60]),
            ],
        );
        let mut found = service(&body).unwrap();
        let asked = destinations_request(&found);
        assert_eq!(asked[..4], [IPVS_CMD_GET_DEST, 1, 0, 0]);
        let service_back = nest(
            1,
            &[
                (1, &2_u16.to_ne_bytes()),
                (2, &6_u16.to_ne_bytes()),
                (3, &padded([198, 18, 0, 2])),
                (4, &80_u16.to_be_bytes()),
            ],
        );
        assert_eq!(asked[4..], service_back[4..]);
        let body = nest(
            2,
            &[
                (1, &padded([10, 244, 0, 7])),
                (2, &8080_u16.to_be_bytes()),
                (3, &0x100_u32.to_ne_bytes()),
                (4, &3_u32.to_ne_bytes()),
                (11, &2_u16.to_ne_bytes()),
            ],
        );
        let destination = destination(&body, &found).unwrap();
        found.seen.destinations.push(destination);
        assert_eq!(
            found.seen,
            VirtualService {
                transport: Transport::Tcp,
                address: Some("198.18.0.2".parse().unwrap()),
                port: 80,
                mark: None,
                scheduler: "rr".to_owned(),
                destinations: vec![VirtualDestination {
                    address: "10.244.0.7".parse().unwrap(),
                    port: 8080,
                    forward: "masq".to_owned(),
                    weight: 3
                }],
            }
        );
    }

    #[test]
    fn by_mark_ipv6_and_what_is_no_service_of_ours() {
        let body = nest(1, &[(1, &10_u16.to_ne_bytes()), (5, &9_u32.to_ne_bytes()), (6, b"wlc\0")]);
        let found = service(&body).unwrap();
        assert_eq!((found.seen.mark, found.seen.address, found.seen.port), (Some(9), None, 0));
        let sixteen: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let udp = nest(
            1,
            &[(1, &10_u16.to_ne_bytes()), (2, &17_u16.to_ne_bytes()), (3, &sixteen), (4, &53_u16.to_be_bytes())],
        );
        let found = service(&udp).unwrap().seen;
        assert_eq!((found.transport, found.address), (Transport::Udp, Some("2001:db8::1".parse().unwrap())));
        let sctp = nest(1, &[(1, &2_u16.to_ne_bytes()), (2, &132_u16.to_ne_bytes()), (3, &[0; 16])]);
        assert_eq!(service(&sctp), None);
        for length in 0..udp.len() {
            let _ = service(&udp[..length]);
        }
    }

    #[test]
    fn the_family_is_asked_for_by_name() {
        assert_eq!(family_request(NAME)[4..], [9, 0, 2, 0, b'I', b'P', b'V', b'S', 0, 0, 0, 0]);
        assert_eq!(family(&nest(9, &[])), None);
        let mut body = vec![1, 2, 0, 0];
        push_attribute(&mut body, 1, &31_u16.to_ne_bytes());
        assert_eq!(family(&body), Some(31));
    }
}
