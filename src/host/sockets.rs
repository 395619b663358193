//! sock_diag (linux/sock_diag.h, linux/inet_diag.h): requests for the sockets that wait, and the kernel's answers. Pure.
//!
//! Unlike /proc/net, netstat and lsof it tells v6-only and bound-to-device.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};

use crate::model::Transport;

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
    /// Owner by the socket itself, known without privilege.
    pub uid: u32,
    /// What `/proc/PID/fd` names it; unique over all namespaces.
    pub inode: u64,
}

/// The four questions: each transport in each family.
pub const QUESTIONS: [Question; 4] = [
    Question { transport: Transport::Tcp, family: AF_INET },
    Question { transport: Transport::Tcp, family: AF_INET6 },
    Question { transport: Transport::Udp, family: AF_INET },
    Question { transport: Transport::Udp, family: AF_INET6 },
];

/// One dump of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub transport: Transport,
    family: u8,
}

impl Question {
    /// The request in bytes.
    pub fn request(self) -> Vec<u8> {
        let request = InetRequest {
            family: self.family,
            protocol: match self.transport {
                Transport::Tcp => IPPROTO_TCP,
                Transport::Udp => IPPROTO_UDP,
            },
            extensions: ExtensionFlags::empty(),
            // A UDP socket that is bound and not connected is in the state CLOSE, a connected one in ESTABLISHED.
            states: match self.transport {
                Transport::Tcp => StateFlags::LISTEN,
                Transport::Udp => StateFlags::CLOSE,
            },
            socket_id: if self.family == AF_INET6 { SocketId::new_v6() } else { SocketId::new_v4() },
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }
}

/// The answer to a question while it comes in.
#[derive(Debug)]
pub struct Dump {
    question: Question,
    pub sockets: Vec<KernelSocket>,
    /// The table changed meanwhile (NLM_F_DUMP_INTR): ask again.
    pub interrupted: bool,
}

impl Dump {
    pub const fn new(question: Question) -> Self {
        Self { question, sockets: Vec::new(), interrupted: false }
    }

    /// Takes one datagram of the answer in.
    pub fn read(&mut self, datagram: &[u8]) -> Progress {
        let mut rest = datagram;
        while rest.len() >= NETLINK_HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let step = length.max(NETLINK_HEADER).next_multiple_of(4);
            // One message that this version cannot read (a new family, say) does not spoil the others.
            if let Ok(message) = NetlinkMessage::<SockDiagMessage>::deserialize(rest) {
                self.interrupted |= message.header.flags & DUMP_INTERRUPTED != 0;
                match message.payload {
                    NetlinkPayload::Done(_) => return Progress::Done,
                    // Code 0 is an acknowledgement and no end.
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Progress::Failed(error.to_io().raw_os_error().unwrap_or_default());
                    }
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        self.sockets.extend(self.question.socket(&response));
                    }
                    _ => {}
                }
            }
            rest = rest.get(step..).unwrap_or(&[]);
        }
        Progress::More
    }
}

impl Question {
    fn socket(self, response: &InetResponse) -> Option<KernelSocket> {
        let header = &response.header;
        let id = &header.socket_id;
        if id.source_port == 0 || (self.transport == Transport::Udp && id.destination_port != 0) {
            return None;
        }
        let address = id.source_address.to_canonical();
        let v6only = response.nlas.iter().find_map(|nla| match nla {
            Nla::SkV6Only(value) => Some(*value),
            _ => None,
        });
        Some(KernelSocket {
            transport: self.transport,
            address,
            port: id.source_port,
            v6only: v6only.filter(|_| address.is_ipv6()),
            interface: Some(id.interface_id).filter(|interface| *interface != 0),
            uid: header.uid,
            inode: u64::from(header.inode),
        })
    }
}

/// How far a dump is after a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    Done,
    /// The error number that the kernel answered.
    Failed(i32),
}

/// Size of `struct nlmsghdr` (linux/netlink.h).
const NETLINK_HEADER: usize = 16;
/// NLM_F_DUMP_INTR (linux/netlink.h).
const DUMP_INTERRUPTED: u16 = 0x10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `inet_diag_msg` in one netlink message, as Linux 6.18 sends it: family, state, ids, uid, inode, INET_DIAG_SKV6ONLY.
    fn answer(family: u8, port: u16, address: [u8; 16], v6only: Option<u8>) -> Vec<u8> {
        let mut body = vec![family, 10, 0, 0];
        body.extend(port.to_be_bytes());
        body.extend([0, 0]);
        body.extend(address);
        body.extend([0; 16]);
        body.extend(7_u32.to_ne_bytes());
        body.extend([0; 8]);
        body.extend([0; 12]);
        body.extend(65_534_u32.to_ne_bytes());
        body.extend(4242_u32.to_ne_bytes());
        if let Some(value) = v6only {
            body.extend([5, 0, 11, 0, value, 0, 0, 0]);
        }
        message(20, 2, &body)
    }

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        bytes
    }

    const TCP6: Question = QUESTIONS[1];

    #[test]
    fn v6_only_device_owner_and_inode_are_read() {
        let mut bytes = answer(AF_INET6, 7001, [0; 16], Some(1));
        bytes.extend(answer(AF_INET6, 80, [0; 16], Some(0)));
        bytes.extend(message(3, 2, &[0; 4]));
        let mut dump = Dump::new(TCP6);
        assert_eq!((dump.read(&bytes), dump.interrupted), (Progress::Done, false));
        assert_eq!(dump.sockets.len(), 2);
        let socket = &dump.sockets[0];
        assert_eq!((socket.port, socket.v6only, socket.interface), (7001, Some(true), Some(7)));
        assert_eq!((socket.uid, socket.inode), (65_534, 4242));
        assert_eq!(dump.sockets[1].v6only, Some(false));
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 198, 18, 0, 1]);
        let mut dump = Dump::new(TCP6);
        assert_eq!(dump.read(&answer(AF_INET6, 80, mapped, Some(0))), Progress::More);
        assert_eq!((dump.sockets[0].address, dump.sockets[0].v6only), ("198.18.0.1".parse().unwrap(), None));
    }

    #[test]
    fn errors_interruptions_and_what_is_unknown() {
        let mut dump = Dump::new(TCP6);
        let enoent = message(2, 0, &[(-2_i32).to_ne_bytes().as_slice(), &[0; 16]].concat());
        assert_eq!(dump.read(&enoent), Progress::Failed(2));
        let mut bytes = answer(77, 80, [0; 16], None);
        bytes.extend(answer(AF_INET6, 81, [0; 16], None));
        assert_eq!((dump.read(&bytes), dump.interrupted), (Progress::More, false));
        assert_eq!(dump.sockets.iter().map(|socket| socket.port).collect::<Vec<_>>(), [81]);
        assert_eq!((dump.read(&message(3, 0x12, &[0; 4])), dump.interrupted), (Progress::Done, true));
    }

    #[test]
    fn the_request_is_a_dump_of_listening_sockets() {
        let bytes = TCP6.request();
        assert_eq!(bytes.len(), 16 + 56);
        assert_eq!(bytes[16..18], [AF_INET6, IPPROTO_TCP]);
        assert_eq!(bytes[20..24], (1_u32 << 10).to_ne_bytes());
        assert_eq!(QUESTIONS[2].request()[20..24], (1_u32 << 7).to_ne_bytes());
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Dump::new(TCP6).read(&bytes);
        }

        #[test]
        fn a_cut_answer_is_read_without_panic(length in 0..100_usize) {
            let bytes = answer(AF_INET6, 80, [1; 16], Some(1));
            let mut dump = Dump::new(TCP6);
            let _ = dump.read(&bytes[..length.min(bytes.len())]);
            prop_assert!(dump.sockets.len() <= 1);
        }
    }
}
