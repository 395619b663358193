//! The triangle: a scanner on two links, the host with the rules, and two containers on a bridge behind it.
//!
//! ```text
//!            eth0 198.18.0.1/24 ── 198.18.0.2 eth0 ┐          ┌ vc2 ── 172.17.0.2  c2
//!   scanner                                         host ─ br0 ┤
//!            eth1 198.18.1.1/24 ── 198.18.1.2 eth1 ┘          └ vc3 ── 172.17.0.3  c3
//! ```
//!
//! Scanner and containers have links and no addresses: their kernels never answer, so that only what the test sends is
//! in the lab, and any address can be a source. What arrives there is captured; what the host delivers to itself is seen by
//! raw sockets, which the kernel serves after the input hook and before it looks for a listener. All neighbours are
//! permanent. All packets run through the calling thread's CPU in the order in which they were sent, so that the answer to an
//! ARP request sent last says that everything before it has arrived wherever it was going.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use postern::model::Transport;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::space::{Space, run, set};
use crate::wire::{self, Meaning, Segment, read_frame, read_packet};
use crate::wiring::{LINKS, Link, ROUTES, ROUTES_IPV6, SETTINGS, neighbours, text_of};

/// A packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    pub from: Link,
    #[serde(with = "transport_name")]
    pub transport: Transport,
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The host took it for itself, with these addresses.
    Host(Segment),
    /// It left the host by this link, with these addresses.
    Link(Link, Segment),
    Reset,
    Icmp {
        kind: u8,
        code: u8,
        offender: IpAddr,
    },
    Nothing,
}

/// The three namespaces and the sockets in them. The thread that made it is in the host's namespace.
#[derive(Debug)]
pub struct Lab {
    _host: Space,
    _scanner: Space,
    _containers: Space,
    links: [(Link, Socket); 4],
    raw: Vec<Raw>,
    number: u32,
}

/// A raw socket of the host.
#[derive(Debug)]
struct Raw {
    ipv6: bool,
    transport: Transport,
    socket: Socket,
}

/// How long to wait for an end mark that a rule may have stopped.
const PATIENCE: Duration = Duration::from_millis(250);
/// After the end mark nothing is under way any more; this is for what a kernel thread may have taken over.
const GRACE: Duration = Duration::from_millis(2);

impl Lab {
    /// Builds it. `cpu`: where the calling thread stays.
    pub fn new(cpu: usize) -> Self {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus).unwrap();
        let containers = Space::new();
        quiet();
        let scanner = Space::new();
        quiet();
        let host = Space::new();
        for (name, value) in SETTINGS {
            set(name, value);
        }
        let batch = LINKS.replace("SCANNER", &scanner.path()).replace("CONTAINERS", &containers.path());
        run("ip", &["-batch", "-"], &batch).unwrap();
        for interface in ["eth0", "eth1", "br0", "vc2", "vc3"] {
            for (name, value) in [("rp_filter", "0"), ("send_redirects", "0"), ("accept_local", "0")] {
                set(&format!("ipv4.conf.{interface}.{name}"), value);
            }
        }
        // The bridge's ports are no IPv6 interfaces of their own.
        for interface in ["vc2", "vc3"] {
            set(&format!("ipv6.conf.{interface}.disable_ipv6"), "1");
        }
        let raw =
            [false, true].into_iter().flat_map(|ipv6| [Raw::new(ipv6, Transport::Tcp), Raw::new(ipv6, Transport::Udp)]);
        let raw = raw.collect();
        scanner.enter();
        run("ip", &["-batch", "-"], "link set eth0 up\nlink set eth1 up\n").unwrap();
        let (eth0, eth1) = (capture(Link::Eth0), capture(Link::Eth1));
        containers.enter();
        run("ip", &["-batch", "-"], "link set c2 up\nlink set c3 up\n").unwrap();
        let (c2, c3) = (capture(Link::C2), capture(Link::C3));
        host.enter();
        run("ip", &["-batch", "-"], &(ROUTES.to_owned() + &neighbours())).unwrap();
        run("ip", &["-6", "-batch", "-"], ROUTES_IPV6).unwrap();
        for link in [Link::C2, Link::C3] {
            let port = if link == Link::C2 { "vc2" } else { "vc3" };
            run("bridge", &["fdb", "replace", &text_of(link.mac()), "dev", port, "master", "static"], "").unwrap();
        }
        let links = [(Link::Eth0, eth0), (Link::Eth1, eth1), (Link::C2, c2), (Link::C3, c3)];
        Self { _host: host, _scanner: scanner, _containers: containers, links, raw, number: 1 << 20 }
    }

    /// Sends all of them and says what became of each. Shots of one batch, and of batches without
    /// [`forget`](crate::load::forget) between them, differ in what connection tracking tells connections by.
    pub fn fire(&mut self, shots: &[Shot]) -> Vec<Seen> {
        self.fire_patiently(shots, GRACE)
    }

    /// The same, and waits this long for what is late.
    pub fn fire_patiently(&mut self, shots: &[Shot], grace: Duration) -> Vec<Seen> {
        self.drain(|_, _| {});
        let first = self.number;
        for shot in shots {
            let segment = Segment {
                number: self.number,
                transport: shot.transport,
                source: shot.source,
                source_port: shot.source_port,
                destination: shot.destination,
                destination_port: shot.destination_port,
            };
            self.number += 1;
            let frame = segment.frame(shot.from.mac(), shot.from.next_hop(shot.destination));
            self.link(shot.from).send(&frame).unwrap();
        }
        let mark = wire::arp_request(Link::Eth0.mac(), Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2));
        self.link(Link::Eth0).send(&mark).unwrap();

        let mut seen = vec![Seen::Nothing; shots.len()];
        let start = Instant::now();
        let (mut marked, mut until) = (false, start + PATIENCE);
        loop {
            let mut end = false;
            self.drain(|place, meaning| {
                let (number, new) = match (place, meaning) {
                    (_, Meaning::ArpReply) => {
                        end = true;
                        return;
                    }
                    (None, Meaning::Itself(segment)) => (segment.number, Seen::Host(segment)),
                    (Some(link), Meaning::Itself(segment)) => (segment.number, Seen::Link(link, segment)),
                    (_, Meaning::Reset(number)) => (number, Seen::Reset),
                    (_, Meaning::Icmp { number, kind, code, offender }) => {
                        (number, Seen::Icmp { kind, code, offender })
                    }
                };
                let Some(old) = number.checked_sub(first).and_then(|index| seen.get_mut(index as usize)) else {
                    return;
                };
                // A host without a listener refuses what it was given: delivery tells more than that answer.
                if new.rank() > old.rank() {
                    *old = new;
                }
            });
            if end && !marked {
                (marked, until) = (true, Instant::now() + grace);
            }
            if Instant::now() >= until {
                return seen;
            }
            std::thread::yield_now();
        }
    }

    fn link(&self, link: Link) -> &Socket {
        &self.links.iter().find(|(name, _)| *name == link).expect("all links are there").1
    }

    /// Hands on what has arrived: `None` is the host itself.
    fn drain(&self, mut take: impl FnMut(Option<Link>, Meaning)) {
        let mut buffer = [0_u8; 2048];
        for raw in &self.raw {
            while let Some(meaning) = raw.receive(&mut buffer) {
                if let Some(meaning) = meaning {
                    take(None, meaning);
                }
            }
        }
        for (link, socket) in &self.links {
            while let Ok(length) = rustix::net::recv(socket, &mut buffer, rustix::net::RecvFlags::DONTWAIT) {
                if let Some(meaning) = read_frame(&buffer[..length.0]) {
                    take(Some(*link), meaning);
                }
            }
        }
    }
}

impl Seen {
    const fn rank(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Reset | Self::Icmp { .. } => 1,
            Self::Link(..) => 2,
            Self::Host(_) => 3,
        }
    }
}

impl Raw {
    fn new(ipv6: bool, transport: Transport) -> Self {
        let protocol = if transport == Transport::Tcp { Protocol::TCP } else { Protocol::UDP };
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
        if ipv6 {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
        }
        Self { ipv6, transport, socket }
    }

    /// `None`: nothing is there; `Some(None)`: nothing of ours.
    fn receive(&self, buffer: &mut [u8]) -> Option<Option<Meaning>> {
        if !self.ipv6 {
            let (length, _) = rustix::net::recv(&self.socket, &mut *buffer, rustix::net::RecvFlags::DONTWAIT).ok()?;
            return Some(read_packet(&buffer[..length]).filter(|meaning| matches!(meaning, Meaning::Itself(_))));
        }
        // Raw IPv6 sockets leave the header out and tell the addresses beside it (RFC 3542).
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let (length, source, destination) = {
            let mut parts = [IoSliceMut::new(buffer)];
            let message =
                recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)
                    .ok()?;
            let destination = message.cmsgs().unwrap().find_map(|part| match part {
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
                _ => None,
            });
            (message.bytes, message.address.expect("raw sockets tell the source").ip(), destination.expect("asked for"))
        };
        let body = &buffer[..length];
        Some(wire::read_body(self.transport, IpAddr::V6(source), destination, body).map(Meaning::Itself))
    }
}

/// A packet socket on a link of the namespace that the calling thread is in. It does not see what it sends itself.
#[expect(unsafe_code, reason = "no safe wrapper of sockaddr_ll is at hand")]
fn capture(link: Link) -> Socket {
    let every_protocol = libc::ETH_P_ALL.to_be() >> 16;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(every_protocol))).unwrap();
    let index = rustix::net::netdevice::name_to_index(&socket, link.name()).unwrap();
    // SAFETY: the storage is large enough for sockaddr_ll, is zeroed before, and its whole length is given back.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as u16;
            (*address).sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            (*address).sll_ifindex = index as i32;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }
    .unwrap();
    socket.bind(&address).unwrap();
    socket
}

/// A namespace whose kernel says nothing by itself.
fn quiet() {
    for scope in ["all", "default"] {
        set(&format!("ipv6.conf.{scope}.disable_ipv6"), "1");
    }
}

mod transport_name {
    use postern::model::Transport;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(transport: &Transport, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(transport.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Transport, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "tcp" => Ok(Transport::Tcp),
            "udp" => Ok(Transport::Udp),
            other => Err(serde::de::Error::custom(format!("no transport: {other}"))),
        }
    }
}
