//! How the values of fields and of sets are written: the kinds of them.

use crate::firewall::ruleset::{Expression, Field};

/// How the values of a field are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    AddressType,
    ConnectionState,
    ConnectionStatus,
    Direction,
    Dscp,
    EtherType,
    Icmp6Code,
    Icmp6Type,
    IcmpCode,
    IcmpType,
    Interface,
    Mac,
    NetworkFamily,
    /// Plain numbers, with their width in bits.
    Number(u8),
    PacketType,
    Port,
    Protocol,
    TcpFlags,
    /// User or group: only root has the same number everywhere.
    User,
    /// Of an expression that the model does not know: no value can be read.
    Unknown,
}

impl Kind {
    /// The kind of a set's key or data, by the name of its type.
    pub(super) fn of_type(name: &str) -> Self {
        match name {
            "ipv4_addr" | "ipv6_addr" => Self::Address,
            "inet_service" => Self::Port,
            "inet_proto" => Self::Protocol,
            "ifname" | "iface_index" => Self::Interface,
            "mark" | "realm" | "classid" => Self::Number(32),
            "ether_addr" | "lladdr" => Self::Mac,
            "ether_type" => Self::EtherType,
            "nf_proto" | "nfproto" => Self::NetworkFamily,
            "ct_state" => Self::ConnectionState,
            "ct_status" => Self::ConnectionStatus,
            "ct_dir" => Self::Direction,
            "fib_addrtype" => Self::AddressType,
            "pkt_type" => Self::PacketType,
            "dscp" => Self::Dscp,
            "tcp_flag" => Self::TcpFlags,
            "icmp_type" => Self::IcmpType,
            "icmp_code" => Self::IcmpCode,
            "icmpv6_type" => Self::Icmp6Type,
            "icmpv6_code" => Self::Icmp6Code,
            "uid" | "gid" => Self::User,
            "integer" | "boolean" => Self::Number(32),
            _ => Self::Unknown,
        }
    }

    /// The set type that has this kind; the reverse of [`Kind::of_type`].
    pub(super) fn type_name(self) -> Option<&'static str> {
        Some(match self {
            Self::Address => "ipv4_addr",
            Self::AddressType => "fib_addrtype",
            Self::ConnectionState => "ct_state",
            Self::ConnectionStatus => "ct_status",
            Self::Direction => "ct_dir",
            Self::Dscp => "dscp",
            Self::EtherType => "ether_type",
            Self::Icmp6Code => "icmpv6_code",
            Self::Icmp6Type => "icmpv6_type",
            Self::IcmpCode => "icmp_code",
            Self::IcmpType => "icmp_type",
            Self::Interface => "ifname",
            Self::Mac => "ether_addr",
            Self::NetworkFamily => "nf_proto",
            Self::Number(_) => "integer",
            Self::PacketType => "pkt_type",
            Self::Port => "inet_service",
            Self::Protocol => "inet_proto",
            Self::TcpFlags => "tcp_flag",
            Self::User => "uid",
            Self::Unknown => return None,
        })
    }

    /// The kinds of an expression's values, one a part of a concatenation.
    pub(super) fn of_parts(expression: &Expression) -> Vec<Self> {
        match expression {
            Expression::Concatenation(parts) => parts.iter().map(Self::of).collect(),
            single => vec![Self::of(single)],
        }
    }

    pub(super) fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Field(field) => Self::of_field(*field),
            Expression::And(left, _) | Expression::Or(left, _) | Expression::Xor(left, _) => Self::of(left),
            // What was moved is a number, whatever it was before.
            Expression::ShiftLeft(..) | Expression::ShiftRight(..) => Self::Number(128),
            // Written out in the rule, as numbers are.
            Expression::Value(_) => Self::Number(128),
            Expression::Choice { .. } => Self::Number(32),
            Expression::Concatenation(_) | Expression::Map { .. } | Expression::Unknown(_) => Self::Unknown,
        }
    }

    fn of_field(field: Field) -> Self {
        match field {
            Field::InputInterface
            | Field::OutputInterface
            | Field::InputBridge
            | Field::OutputBridge
            | Field::PhysicalInput
            | Field::PhysicalOutput => Self::Interface,
            Field::TransportProtocol | Field::IpProtocol | Field::Ip6NextHeader | Field::OriginalProtocol => {
                Self::Protocol
            }
            Field::NetworkFamily => Self::NetworkFamily,
            Field::EtherType => Self::EtherType,
            Field::EtherSource | Field::EtherDestination => Self::Mac,
            Field::Mark | Field::ConnectionMark | Field::Length | Field::TcpSequence | Field::RoutingRealm => {
                Self::Number(32)
            }
            Field::PacketType => Self::PacketType,
            Field::IpSource
            | Field::IpDestination
            | Field::Ip6Source
            | Field::Ip6Destination
            | Field::OriginalSource
            | Field::OriginalDestination
            | Field::ReplySource
            | Field::ReplyDestination => Self::Address,
            Field::SourcePort(_)
            | Field::DestinationPort(_)
            | Field::OriginalSourcePort
            | Field::OriginalDestinationPort
            | Field::ReplySourcePort
            | Field::ReplyDestinationPort => Self::Port,
            Field::IpDscp => Self::Dscp,
            Field::TcpFlags => Self::TcpFlags,
            Field::IcmpType => Self::IcmpType,
            Field::IcmpCode => Self::IcmpCode,
            Field::Icmp6Type => Self::Icmp6Type,
            Field::Icmp6Code => Self::Icmp6Code,
            Field::ConnectionState => Self::ConnectionState,
            Field::ConnectionStatus => Self::ConnectionStatus,
            Field::ConnectionDirection => Self::Direction,
            Field::FibDestinationType { .. } | Field::FibSourceType { .. } => Self::AddressType,
            Field::SocketOwner | Field::SocketGroup => Self::User,
            Field::IpLength | Field::IpId | Field::IpFragmentOffset | Field::TcpWindow | Field::UdpLength => {
                Self::Number(16)
            }
            Field::IpTtl | Field::Ip6HopLimit | Field::IpVersion | Field::IpHeaderLength => Self::Number(8),
            Field::IsBridged
            | Field::FibSourceInterface
            | Field::FibSourceInterfaceByMark
            | Field::SocketTransparent => Self::Number(1),
        }
    }

    /// A list of values stands for their bits joined.
    pub(super) fn is_bits(self) -> bool {
        matches!(self, Self::ConnectionState | Self::ConnectionStatus | Self::TcpFlags)
    }

    /// In bits; `None` where it depends on the value, or means nothing.
    pub(super) fn width(self) -> Option<u8> {
        Some(match self {
            Self::Mac => 48,
            Self::Number(width) => width,
            Self::Port | Self::EtherType => 16,
            Self::Protocol | Self::IcmpType | Self::Icmp6Type | Self::IcmpCode | Self::Icmp6Code => 8,
            Self::ConnectionState | Self::ConnectionStatus | Self::User | Self::AddressType => 32,
            Self::TcpFlags => 8,
            _ => return None,
        })
    }
}
