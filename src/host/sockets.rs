//! sock_diag (linux/sock_diag.h, linux/inet_diag.h, linux/packet_diag.h): requests for the sockets that wait, and the
//! kernel's answers. Pure.
//!
//! Unlike /proc/net, netstat and lsof it tells v6-only, bound-to-device and the accept queue. Not asked for: SCTP, DCCP,
//! MPTCP, AF_VSOCK.

use std::net::IpAddr;

use super::network::wire::{
    AF_INET, AF_INET6, AF_UNSPEC, address as ip_address, attribute, attributes, be16_at, u16_at, u32_at,
};
use crate::model::Transport;
use crate::model::host_report::{AcceptQueue, RawKind};

/// A socket that waits for packets, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSocket {
    pub transport: Transport,
    /// IPv4 for IPv4-mapped addresses too: such a socket takes IPv4 packets.
    pub address: IpAddr,
    pub port: u16,
    /// `None` for IPv4.
    pub v6only: Option<bool>,
    /// Interface number of SO_BINDTODEVICE or of a link-local address's scope.
    pub interface: Option<u32>,
    /// TCP only.
    pub accept_queue: Option<AcceptQueue>,
    /// Owner by the socket itself, known without privilege.
    pub uid: u32,
    /// What `/proc/PID/fd` names it; unique over all namespaces.
    pub inode: u64,
}

/// A raw or packet socket, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRaw {
    pub kind: RawKind,
    pub protocol: u16,
    pub ipv6: bool,
    pub interface: Option<u32>,
    pub uid: Option<u32>,
    pub inode: u64,
}

/// The questions: each transport in each family, raw sockets in both, packet sockets.
pub const QUESTIONS: [Question; 7] = [
    Question { name: "tcp", family: AF_INET, protocol: IPPROTO_TCP, states: LISTEN },
    Question { name: "tcp", family: AF_INET6, protocol: IPPROTO_TCP, states: LISTEN },
    // A UDP socket that is bound and not connected is in the state CLOSE, a connected one in ESTABLISHED.
    Question { name: "udp", family: AF_INET, protocol: IPPROTO_UDP, states: CLOSE },
    Question { name: "udp", family: AF_INET6, protocol: IPPROTO_UDP, states: CLOSE },
    Question { name: "raw", family: AF_INET, protocol: IPPROTO_RAW, states: CLOSE | ESTABLISHED },
    Question { name: "raw", family: AF_INET6, protocol: IPPROTO_RAW, states: CLOSE | ESTABLISHED },
    Question { name: "packet", family: AF_PACKET, protocol: 0, states: 0 },
];

/// The first two of [`QUESTIONS`] as one, in the older form (TCPDIAG_GETSOCK), which knows no family. The kernel goes over
/// the listeners of all namespaces in every dump: with hundreds of namespaces once is enough.
pub const TCP_AT_ONCE: Question = Question { name: "tcp", family: AF_UNSPEC, protocol: IPPROTO_TCP, states: LISTEN };

/// One dump of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// For people.
    pub name: &'static str,
    family: u8,
    protocol: u8,
    /// A bit for each state (net/tcp_states.h).
    states: u32,
}

/// What the questions found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub sockets: Vec<KernelSocket>,
    pub raw: Vec<KernelRaw>,
}

impl Question {
    /// Kind of the request and of its answers.
    pub const fn kind(self) -> u16 {
        if self.family == AF_UNSPEC { TCPDIAG_GETSOCK } else { SOCK_DIAG_BY_FAMILY }
    }

    /// Body of the request: `struct inet_diag_req_v2`, `struct inet_diag_req` or `struct packet_diag_req`.
    pub fn request(self) -> Vec<u8> {
        if self.family == AF_UNSPEC {
            let mut body = vec![0; OLD_INET_REQUEST];
            body[52..56].copy_from_slice(&self.states.to_ne_bytes());
            return body;
        }
        if self.family == AF_PACKET {
            let mut body = vec![0; PACKET_REQUEST];
            body[0] = AF_PACKET;
            body[8..12].copy_from_slice(&PACKET_SHOW_INFO.to_ne_bytes());
            return body;
        }
        let mut body = vec![0; INET_REQUEST];
        body[0] = self.family;
        body[1] = self.protocol;
        body[4..8].copy_from_slice(&self.states.to_ne_bytes());
        body
    }

    /// Takes the body of one answer in.
    pub fn read(self, body: &[u8], found: &mut Found) {
        match self.protocol {
            IPPROTO_TCP | IPPROTO_UDP => found.sockets.extend(self.socket(body)),
            IPPROTO_RAW => found.raw.extend(self.raw(body)),
            _ => found.raw.extend(packet(body)),
        }
    }

    /// `struct inet_diag_msg` and attributes.
    fn socket(self, body: &[u8]) -> Option<KernelSocket> {
        let transport = if self.protocol == IPPROTO_TCP { Transport::Tcp } else { Transport::Udp };
        let (port, peer) = (be16_at(body, 4)?, be16_at(body, 6)?);
        let family = *body.first()?;
        let asked =
            if self.family == AF_UNSPEC { [AF_INET, AF_INET6].contains(&family) } else { family == self.family };
        if !asked || port == 0 || (transport == Transport::Udp && peer != 0) {
            return None;
        }
        let bytes = if family == AF_INET { body.get(8..12)? } else { body.get(8..24)? };
        let address = ip_address(bytes)?.to_canonical();
        let v6only =
            attribute(body.get(INET_ANSWER..)?, INET_DIAG_SKV6ONLY).and_then(|value| Some(*value.first()? != 0));
        let queue = AcceptQueue { length: u32_at(body, 56)?, backlog: u32_at(body, 60)? };
        Some(KernelSocket {
            transport,
            address,
            port,
            v6only: v6only.filter(|_| address.is_ipv6()),
            interface: u32_at(body, 40).filter(|interface| *interface != 0),
            accept_queue: (transport == Transport::Tcp).then_some(queue),
            uid: u32_at(body, 64)?,
            inode: u64::from(u32_at(body, 68)?),
        })
    }

    /// The port of a raw socket is its protocol (net/ipv4/raw.c).
    fn raw(self, body: &[u8]) -> Option<KernelRaw> {
        if *body.first()? != self.family {
            return None;
        }
        Some(KernelRaw {
            kind: RawKind::Raw,
            protocol: be16_at(body, 4)?,
            ipv6: self.family == AF_INET6,
            interface: u32_at(body, 40).filter(|interface| *interface != 0),
            uid: Some(u32_at(body, 64)?),
            inode: u64::from(u32_at(body, 68)?),
        })
    }
}

/// `struct packet_diag_msg` and attributes.
fn packet(body: &[u8]) -> Option<KernelRaw> {
    if *body.first()? != AF_PACKET {
        return None;
    }
    let (mut interface, mut uid) = (None, None);
    for (kind, value) in attributes(body.get(PACKET_ANSWER..)?) {
        match kind {
            PACKET_DIAG_INFO => interface = u32_at(value, 0).filter(|interface| *interface != 0),
            PACKET_DIAG_UID => uid = u32_at(value, 0),
            _ => {}
        }
    }
    let (protocol, inode) = (u16_at(body, 2)?, u64::from(u32_at(body, 4)?));
    Some(KernelRaw { kind: RawKind::Packet, protocol, ipv6: false, interface, uid, inode })
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCPDIAG_GETSOCK: u16 = 18;

const AF_PACKET: u8 = 17;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_RAW: u8 = 255;
const ESTABLISHED: u32 = 1 << 1;
const CLOSE: u32 = 1 << 7;
const LISTEN: u32 = 1 << 10;
const INET_REQUEST: usize = 56;
const OLD_INET_REQUEST: usize = 60;
const INET_ANSWER: usize = 72;
const INET_DIAG_SKV6ONLY: u16 = 11;
const PACKET_REQUEST: usize = 20;
const PACKET_ANSWER: usize = 16;
const PACKET_SHOW_INFO: u32 = 1;
const PACKET_DIAG_INFO: u16 = 0;
const PACKET_DIAG_UID: u16 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::network::recorded::{bodies, cut, recorded};

    /// `inet_diag_msg` as Linux 6.18 sends it: family, state, ids, queues, uid, inode, INET_DIAG_SKV6ONLY.
    fn answer(family: u8, port: u16, address: [u8; 16], v6only: Option<u8>) -> Vec<u8> {
        let mut body = vec![family, 10, 0, 0];
        body.extend(port.to_be_bytes());
        body.extend([0, 0]);
        body.extend(address);
        body.extend([0; 16]);
        body.extend(7_u32.to_ne_bytes());
        body.extend([0; 8]);
        body.extend([0; 4]);
        body.extend(3_u32.to_ne_bytes());
        body.extend(128_u32.to_ne_bytes());
        body.extend(65_534_u32.to_ne_bytes());
        body.extend(4242_u32.to_ne_bytes());
        if let Some(value) = v6only {
            body.extend([5, 0, 11, 0, value, 0, 0, 0]);
        }
        body
    }

    const TCP6: Question = QUESTIONS[1];

    #[test]
    fn v6_only_device_queue_owner_and_inode_are_read() {
        let mut found = Found::default();
        TCP6.read(&answer(AF_INET6, 7001, [0; 16], Some(1)), &mut found);
        TCP6.read(&answer(AF_INET6, 80, [0; 16], Some(0)), &mut found);
        // Of a family that was not asked for.
        TCP6.read(&answer(77, 81, [0; 16], None), &mut found);
        assert_eq!(found.sockets.len(), 2);
        let socket = &found.sockets[0];
        assert_eq!((socket.port, socket.v6only, socket.interface), (7001, Some(true), Some(7)));
        assert_eq!((socket.uid, socket.inode), (65_534, 4242));
        assert_eq!(socket.accept_queue, Some(AcceptQueue { length: 3, backlog: 128 }));
        assert_eq!(found.sockets[1].v6only, Some(false));
    }

    #[test]
    fn the_older_form_answers_for_both_families() {
        let mut found = Found::default();
        TCP_AT_ONCE.read(&answer(AF_INET6, 7001, [0; 16], Some(1)), &mut found);
        TCP_AT_ONCE.read(&answer(AF_INET, 80, [0; 16], None), &mut found);
        TCP_AT_ONCE.read(&answer(77, 81, [0; 16], None), &mut found);
        let shown: Vec<_> = found.sockets.iter().map(|one| (one.address.to_string(), one.port, one.v6only)).collect();
        assert_eq!(shown, [("::".to_owned(), 7001, Some(true)), ("0.0.0.0".to_owned(), 80, None)]);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 198, 18, 0, 1]);
        let mut found = Found::default();
        TCP6.read(&answer(AF_INET6, 80, mapped, Some(0)), &mut found);
        assert_eq!((found.sockets[0].address, found.sockets[0].v6only), ("198.18.0.1".parse().unwrap(), None));
    }

    #[test]
    fn raw_and_packet_sockets() {
        let packets = bodies(recorded!("packet"), QUESTIONS[6].kind());
        let mut found = Found::default();
        packets.iter().for_each(|body| QUESTIONS[6].read(body, &mut found));
        // As IPv4 sockets are described; the kernel at hand has no raw_diag.
        QUESTIONS[4].read(&answer(AF_INET, 89, [0; 16], None), &mut found);
        let shown: Vec<_> = found.raw.iter().map(|one| (one.kind, one.protocol, one.interface, one.uid)).collect();
        assert_eq!(
            shown,
            [
                (RawKind::Packet, 3, None, Some(0)),
                (RawKind::Packet, 0x88cc, Some(1), Some(0)),
                (RawKind::Raw, 89, Some(7), Some(65_534))
            ]
        );
        assert!(found.raw.iter().all(|one| one.inode > 0) && found.sockets.is_empty());
        cut(&packets, packet);
    }

    #[test]
    fn the_requests_are_dumps_of_sockets_that_wait() {
        let bytes = TCP6.request();
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[..2], [AF_INET6, IPPROTO_TCP]);
        assert_eq!(bytes[4..8], (1_u32 << 10).to_ne_bytes());
        assert_eq!(QUESTIONS[2].request()[4..8], (1_u32 << 7).to_ne_bytes());
        assert_eq!((QUESTIONS[6].request().len(), QUESTIONS[6].request()[0]), (20, 17));
        let old = TCP_AT_ONCE.request();
        assert_eq!((old.len(), &old[52..56], TCP_AT_ONCE.kind()), (60, &(1_u32 << 10).to_ne_bytes()[..], 18));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for question in QUESTIONS.into_iter().chain([TCP_AT_ONCE]) {
                question.read(&bytes, &mut Found::default());
            }
        }

        #[test]
        fn a_cut_answer_is_no_socket(length in 0..72_usize) {
            let mut found = Found::default();
            TCP6.read(&answer(AF_INET6, 80, [1; 16], Some(1))[..length], &mut found);
            prop_assert!(found.sockets.is_empty());
        }
    }
}
