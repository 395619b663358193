//! What the sweep saw of one endpoint, and the evidence for it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Endpoint;

/// One answer, or the settled lack of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub endpoint: Endpoint,
    pub state: PortState,
    pub reason: Reason,
    pub evidence: Evidence,
}

/// State of a port as seen from a vantage point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    Open,
    Closed,
    Filtered,
    /// UDP silence: a service that does not answer, or a filter.
    #[serde(rename = "open|filtered")]
    OpenOrFiltered,
    Unreachable,
    /// Could not be looked at, or what was seen may be spoiled; the reason says by what.
    Unknown,
}

impl PortState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Filtered => "filtered",
            Self::OpenOrFiltered => "open|filtered",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a port has its state. ICMP reasons are named after type 3 codes of RFC 792 and RFC 1122 section 3.2.2.1 and
/// after type 1 codes of RFC 4443 section 3.1; the numbers themselves are in [`Evidence::icmp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// TCP handshake completed.
    Accepted,
    /// TCP handshake completed and the peer reset or closed at once, before a byte was sent.
    AcceptedThenReset,
    /// A SYN-ACK came back, and the handshake was left at that.
    SynAck,
    /// Acknowledgements of something else came back in two rounds (RFC 5961 section 4): the port seems to hold state of
    /// other SYNs, and nothing proves that the answers are its own.
    ChallengeAck,
    /// A UDP datagram came back.
    UdpReply,
    /// TCP reset in answer to the SYN, no ICMP error queued.
    Refused,
    IcmpNetUnreachable,
    IcmpHostUnreachable,
    IcmpProtocolUnreachable,
    IcmpPortUnreachable,
    IcmpNetProhibited,
    IcmpHostProhibited,
    IcmpAdminProhibited,
    IcmpOther,
    /// Nothing came back within the time allowed, in any round.
    NoAnswer,
    /// Nothing came back, and what had answered of this host did not do so again: it may not let this vantage ask any more.
    FellSilent,
    /// ARP or neighbour discovery failed: nobody on the link has this address.
    HostAbsent,
    /// The local routing table has no way there (or forbids it).
    NoRoute,
    /// Local limits (descriptors, ports, buffers, neighbour table) kept us from looking.
    LocalLimit,
    /// The run was interrupted before this was settled.
    Interrupted,
    /// Not part of the sweep.
    NotSwept,
}

impl Reason {
    /// The reason for an ICMP destination-unreachable of `code`: type 3 when `address` is IPv4, type 1 when IPv6.
    pub const fn from_unreachable(address: IpAddr, code: u8) -> Self {
        match (address, code) {
            (IpAddr::V4(_), 0 | 6 | 11) | (IpAddr::V6(_), 0) => Self::IcmpNetUnreachable,
            (IpAddr::V4(_), 1 | 7 | 12) | (IpAddr::V6(_), 3) => Self::IcmpHostUnreachable,
            (IpAddr::V4(_), 2) => Self::IcmpProtocolUnreachable,
            (IpAddr::V4(_), 3) | (IpAddr::V6(_), 4) => Self::IcmpPortUnreachable,
            (IpAddr::V4(_), 9) => Self::IcmpNetProhibited,
            (IpAddr::V4(_), 10) => Self::IcmpHostProhibited,
            (IpAddr::V4(_), 13) | (IpAddr::V6(_), 1 | 5 | 6) => Self::IcmpAdminProhibited,
            _ => Self::IcmpOther,
        }
    }

    /// Whether something came back. The rest is silence, or was not asked.
    pub const fn is_answer(self) -> bool {
        !matches!(
            self,
            Self::NoAnswer
                | Self::FellSilent
                | Self::HostAbsent
                | Self::NoRoute
                | Self::LocalLimit
                | Self::Interrupted
                | Self::NotSwept
        )
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedThenReset => "accepted-then-reset",
            Self::SynAck => "syn-ack",
            Self::ChallengeAck => "challenge-ack",
            Self::UdpReply => "udp-reply",
            Self::Refused => "refused",
            Self::IcmpNetUnreachable => "icmp-net-unreachable",
            Self::IcmpHostUnreachable => "icmp-host-unreachable",
            Self::IcmpProtocolUnreachable => "icmp-protocol-unreachable",
            Self::IcmpPortUnreachable => "icmp-port-unreachable",
            Self::IcmpNetProhibited => "icmp-net-prohibited",
            Self::IcmpHostProhibited => "icmp-host-prohibited",
            Self::IcmpAdminProhibited => "icmp-admin-prohibited",
            Self::IcmpOther => "icmp-other",
            Self::NoAnswer => "no-answer",
            Self::FellSilent => "fell-silent",
            Self::HostAbsent => "host-absent",
            Self::NoRoute => "no-route",
            Self::LocalLimit => "local-limit",
            Self::Interrupted => "interrupted",
            Self::NotSwept => "not-swept",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was measured beside the state. Absent fields were not measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// IP TTL or hop limit of the answer; known to a raw sweep only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// How many hops further away than the nearest answer of the same address: 1 betrays a port that is forwarded, as a
    /// rule into a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u8>,
    /// TCP window of the SYN-ACK, unscaled; a SYN proxy or tarpit says 0 as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u16>,
    /// TCP options of the SYN-ACK in their order: `mss 1460,sack,ts,nop,ws 7`; empty when it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Arc<str>>,
    /// Who sent the ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub offender: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// From sending to the answer, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// How many times this endpoint was asked before it answered or was given up; 1 is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u8>,
}

/// What an address said on ports that nobody uses, asked because others of its ports are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Improbable {
    /// The ports, ascending.
    pub ports: Vec<u16>,
    /// How many of them are open, and how many refused.
    pub open: u8,
    pub closed: u8,
    /// TCP window and options of the last SYN-ACK, as in [`Evidence`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Arc<str>>,
}

impl Improbable {
    /// Whether something in front of the host, or the host itself, accepts whatever it is asked.
    pub const fn accepts_everything(&self) -> bool {
        self.open >= 2 && self.closed == 0
    }
}

/// Type and code of an ICMP or ICMPv6 error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Icmp {
    #[serde(rename = "type")]
    pub kind: u8,
    pub code: u8,
}
