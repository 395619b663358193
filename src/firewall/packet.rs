//! The packet that is asked about, and what is known of it on its way.

use std::net::IpAddr;
use std::sync::Arc;

use super::ruleset::Field;
use crate::model::{Endpoint, Transport};

/// What is asked: a first packet of a new connection, as it comes in from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Interface the packet comes in by; `None`: the one by which the way back to the source leaves.
    pub input: Option<String>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: Protocol,
    /// `None`: any; a rule that asks for it may match or not.
    pub source_port: Option<u16>,
    /// 0 where the protocol has none.
    pub destination_port: u16,
}

impl Question {
    pub const fn new(to: Endpoint, from: IpAddr) -> Self {
        let protocol = match to.transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        };
        Self {
            input: None,
            source: from,
            destination: to.address,
            protocol,
            source_port: None,
            destination_port: to.port,
        }
    }

    /// An echo request (`ping`).
    pub fn echo(to: IpAddr, from: IpAddr) -> Self {
        let kind = if to.is_ipv6() { ICMP6_ECHO_REQUEST } else { ICMP_ECHO_REQUEST };
        let protocol = Protocol::Icmp { kind, code: 0 };
        Self { input: None, source: from, destination: to, protocol, source_port: None, destination_port: 0 }
    }

    /// Comes in by this interface.
    #[must_use]
    pub fn by(mut self, interface: &str) -> Self {
        self.input = Some(interface.to_owned());
        self
    }

    #[must_use]
    pub const fn from_port(mut self, port: u16) -> Self {
        self.source_port = Some(port);
        self
    }
}

/// What the packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A SYN.
    Tcp,
    Udp,
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp {
        kind: u8,
        code: u8,
    },
    /// Any other, by its number.
    Other(u8),
}

impl Protocol {
    /// Protocol number (IANA).
    pub const fn number(self, ipv6: bool) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp { .. } => {
                if ipv6 {
                    58
                } else {
                    1
                }
            }
            Self::Other(number) => number,
        }
    }

    const fn has_ports(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp)
    }
}

const ICMP_ECHO_REQUEST: u8 = 8;
const ICMP6_ECHO_REQUEST: u8 = 128;

/// A port on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    Known(u16),
    Unknown,
    /// The protocol has none.
    Missing,
}

/// What connection tracking knows of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Its hook (prerouting -200) was not reached: `ct state` is invalid, everything else of `ct` is missing
    /// (nft_ct_get_eval, xt_conntrack).
    Before,
    /// `notrack`.
    Untracked,
    /// A new connection.
    New {
        /// IPS_* bits.
        status: u32,
        /// `None`: not known.
        mark: Option<u32>,
    },
    /// An answer about a connection: an ICMP error, or the reset of a rule.
    Related { status: u32, mark: Option<u32> },
}

/// IPS_SRC_NAT and IPS_DST_NAT of nf_conntrack_common.h.
pub const STATUS_SOURCE_NAT: u32 = 0x10;
pub const STATUS_DESTINATION_NAT: u32 = 0x20;
/// IPS_SRC_NAT_DONE and IPS_DST_NAT_DONE: it is decided whether and how to translate.
pub const STATUS_SOURCE_NAT_DONE: u32 = 0x80;
pub const STATUS_DESTINATION_NAT_DONE: u32 = 0x100;

/// An interface name on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    Name(Arc<str>),
    /// There is none at this hook: an empty name (nft_meta.c stores one, x_tables compares with one).
    None,
    Unknown,
}

/// The packet at some place of its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub input: Device,
    pub output: Device,
    /// Bridge ports (`physdev`).
    pub physical_input: Device,
    pub physical_output: Device,
    /// `None`: not known.
    pub bridged: Option<bool>,
    pub source: IpAddr,
    /// Masqueraded to an address that is not known: `source` is void.
    pub source_unknown: bool,
    pub destination: IpAddr,
    pub protocol: Protocol,
    pub source_port: Port,
    pub destination_port: Port,
    /// Tuple at the first hook.
    pub original: Arc<Question>,
    /// `None`: not known.
    pub mark: Option<u32>,
    pub tracking: Tracking,
    /// Handed to a local socket by a transparent proxy rule.
    pub proxied: Option<(IpAddr, Port)>,
    /// Fields that a rule has changed; `None`: to something that is not known.
    pub changed: Vec<(Field, Option<u128>)>,
}

impl Packet {
    /// The packet of a question, which came in by `input`.
    pub fn new(question: &Question, input: Device) -> Self {
        let ports = question.protocol.has_ports();
        let source_port = match question.source_port {
            _ if !ports => Port::Missing,
            Some(port) => Port::Known(port),
            None => Port::Unknown,
        };
        Self {
            input,
            output: Device::None,
            physical_input: Device::None,
            physical_output: Device::None,
            bridged: Some(false),
            source: question.source,
            source_unknown: false,
            destination: question.destination,
            protocol: question.protocol,
            source_port,
            destination_port: if ports { Port::Known(question.destination_port) } else { Port::Missing },
            original: Arc::new(question.clone()),
            mark: Some(0),
            tracking: Tracking::Before,
            proxied: None,
            changed: Vec::new(),
        }
    }

    pub const fn is_ipv6(&self) -> bool {
        self.destination.is_ipv6()
    }

    /// Whether the destination or its port is not the one that was asked for.
    pub fn is_translated(&self) -> bool {
        self.destination != self.original.destination
            || matches!(self.destination_port, Port::Unknown)
            || matches!(self.destination_port, Port::Known(port) if port != self.original.destination_port)
    }
}

/// An address as a number in host order.
pub const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address that a number in host order is, in the family of `like`.
pub fn address(number: u128, like: IpAddr) -> Option<IpAddr> {
    match like {
        IpAddr::V4(_) => u32::try_from(number).ok().map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(_) => Some(IpAddr::V6(number.into())),
    }
}
