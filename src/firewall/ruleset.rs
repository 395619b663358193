//! The rules of one network namespace, as one model for nftables and for both kinds of iptables.
//!
//! Names are nft's (nft(8)). What iptables calls a match or a target is put into the same expressions and statements:
//! `-s 10.0.0.0/8` is a [`Match`] of [`Field::IpSource`] against a prefix, `-j MARK --set-xmark 1/1` a
//! [`Statement::SetMark`]. What the model does not know is kept as [`Expression::Unknown`] or [`Statement::Unknown`] with
//! its text, so that an answer can name what it depends on. What rules compare with is in [`super::set`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use super::set::{Datum, Element, ElementData, Pattern, Set, SetReference, Verdict};

use crate::model::Transport;
use crate::model::unread::Unread;

/// All rules of one namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    pub tables: Vec<Table>,
    /// Sets of `-m set`, by name; one name space for all tables.
    pub ipsets: HashMap<String, Arc<Set>>,
    /// What was there and could not be read: names of objects or dumps, with the reason. An answer may depend on it.
    pub unread: Vec<Unread>,
}

/// A table with its chains and sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub backend: Backend,
    pub family: Family,
    pub name: String,
    /// Not evaluated by the kernel. `None`: the table has flags that could not be read.
    pub dormant: Option<bool>,
    pub chains: Vec<Chain>,
    /// Named sets, maps and verdict maps.
    pub sets: HashMap<String, Arc<Set>>,
}

/// Which kernel interface a table lives in, and who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// nftables.
    Nft,
    /// nftables, written by iptables-nft: content from iptables-save, handles from nft.
    IptablesNft,
    /// x_tables.
    IptablesLegacy,
}

/// Address family of a table (nft(8), ADDRESS FAMILIES).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Arp,
    Bridge,
    Inet,
    Ip,
    Ip6,
    Netdev,
}

impl Family {
    /// As nft writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Netdev => "netdev",
        }
    }
}

/// A chain: a base chain when it is hooked into the packet path.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    pub name: String,
    pub base: Option<BaseChain>,
    pub rules: Vec<Rule>,
}

/// Where a base chain is hooked in, and what happens at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    pub kind: ChainKind,
    pub hook: Hook,
    /// Lower is asked first.
    pub priority: i32,
    pub policy: Policy,
    /// Interfaces of an ingress or egress chain. Empty for such a chain: not told (nft 1.0.6 leaves them out of its JSON),
    /// it may be any.
    pub devices: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainKind {
    Filter,
    Nat,
    Route,
}

/// Netfilter hooks in the order in which a packet may meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    Accept,
    Drop,
}

/// A rule: its statements are run from left to right until a match fails or a verdict is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// nft's handle; for legacy iptables there is none.
    pub handle: Option<u64>,
    /// Place in its chain, from 1, as `iptables -L --line-numbers` counts.
    pub number: u32,
    /// As its own tool would print it (`tcp dport 22 accept`, `-p tcp --dport 22 -j ACCEPT`), counters left out.
    pub text: String,
    pub comment: Option<String>,
    /// Packets and bytes.
    pub counter: Option<(u64, u64)>,
    pub statements: Vec<Statement>,
}

/// One statement of a rule (nft(8), STATEMENTS).
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Match(Match),
    /// One of them matches, or more (`-m multiport --ports`, `--ctstate NEW,DNAT`).
    AnyOf(Vec<Match>),
    /// None of them matches: iptables' `!`, which unlike [`Operator::NotEqual`] passes packets that lack the field.
    NoneOf(Vec<Match>),
    Accept,
    Drop,
    /// Ends the chain: back to the caller, or the policy.
    Return,
    /// iptables' and nft's `continue` goes to the next rule.
    Continue,
    Jump(String),
    Goto(String),
    /// `KEY vmap { ... }`: the verdict is the data of the matching element; none: goes on.
    VerdictMap {
        key: Expression,
        map: SetReference,
    },
    Reject(Reject),
    DestinationNat(Translation),
    SourceNat(Translation),
    /// To the address of the interface that the packet came in by (127.0.0.1 or ::1 in the output hook).
    Redirect(Ports),
    Masquerade(Ports),
    /// To a local socket without a change of the packet.
    TransparentProxy(Translation),
    /// Takes the packet out of connection tracking: later rules see `untracked`, and no NAT chain is asked.
    NoTrack,
    /// `meta mark set EXPRESSION`, `-j MARK`.
    SetMark(Expression),
    /// `ct mark set EXPRESSION`, `-j CONNMARK`; also what saves or restores marks.
    SetConnectionMark(Expression),
    /// `meta pkttype set`, and other changes to packets that later matches may see.
    SetField {
        field: Field,
        value: Expression,
    },
    /// Counters, logs, comments, timeouts of set updates, TCPMSS: nothing that decides about this packet.
    Passive(String),
    /// Passes or not by a state that the dump does not tell (limit, quota, recent, statistic, hashlimit, connlimit): may
    /// match or not.
    Perhaps(String),
    /// Anything else: what it does with the packet is not known, it may even end it.
    Unknown(String),
}

/// A comparison. A packet that lacks the field (a TCP port of a UDP packet) does not match, not even with `!=`.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    pub left: Expression,
    pub operator: Operator,
    pub right: Pattern,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Equal, or in the set, range or prefix.
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// nft's implicit operator on bit masks: any of the right side's bits is set (`ct state established,related`,
    /// `tcp flags syn`).
    AnyBit,
    /// None of the right side's bits is set.
    NoBit,
}

/// Something that has a value for a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A number of `first` and the `count - 1` after it, drawn for each packet (`numgen`, `jhash`, `symhash`).
    Choice {
        /// Its text.
        what: String,
        first: u64,
        count: u64,
    },
    Field(Field),
    Value(Datum),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Xor(Box<Expression>, Box<Expression>),
    ShiftLeft(Box<Expression>, Box<Expression>),
    ShiftRight(Box<Expression>, Box<Expression>),
    /// `ip saddr . tcp dport`.
    Concatenation(Vec<Expression>),
    /// `KEY map { ... }`: the data of the matching element.
    Map {
        key: Box<Expression>,
        map: SetReference,
    },
    /// With its text.
    Unknown(String),
}

/// What the model knows of a packet, its connection and its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `meta iifname`, `meta iif` (dumped by name), `-i`.
    InputInterface,
    OutputInterface,
    /// `meta iifgroup`, `meta iifkind`...: the bridge a bridge port belongs to (`meta ibrname`).
    InputBridge,
    OutputBridge,
    /// Bridge port, as `-m physdev --physdev-in` sees it.
    PhysicalInput,
    PhysicalOutput,
    /// `-m physdev --physdev-is-bridged`: 1 when the packet is bridged, else 0.
    IsBridged,
    /// `meta l4proto`, `-p`: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6.
    TransportProtocol,
    /// `meta nfproto`: 2 IPv4, 10 IPv6.
    NetworkFamily,
    /// `meta protocol`, `ether type`: 0x0800, 0x86dd.
    EtherType,
    EtherSource,
    EtherDestination,
    Mark,
    /// `meta pkttype`: 0 host, 1 broadcast, 2 multicast, 3 other (linux/if_packet.h).
    PacketType,
    /// `meta length`, the packet's length in bytes.
    Length,
    IpSource,
    IpDestination,
    Ip6Source,
    Ip6Destination,
    /// `ip protocol`, `ip6 nexthdr`.
    IpProtocol,
    Ip6NextHeader,
    IpTtl,
    Ip6HopLimit,
    IpLength,
    IpDscp,
    /// `ip version`, `ip hdrlength`, `ip id`, `ip frag-off`.
    IpVersion,
    IpHeaderLength,
    IpId,
    IpFragmentOffset,
    /// `tcp sport`, `udp sport`, `th sport`: the transport it is for, `None` for any. Nothing keeps `th` from packets without
    /// ports: of ICMP it reads type and code (source) and the checksum (destination).
    SourcePort(Option<Transport>),
    DestinationPort(Option<Transport>),
    TcpFlags,
    TcpSequence,
    TcpWindow,
    UdpLength,
    IcmpType,
    IcmpCode,
    Icmp6Type,
    Icmp6Code,
    /// `ct state`: bits 1 invalid, 2 established, 4 related, 8 new, 64 untracked (nf_conntrack_common.h, nft's ct_state).
    ConnectionState,
    /// `ct status`: IPS_* bits of nf_conntrack_common.h; 0x10 snat, 0x20 dnat.
    ConnectionStatus,
    ConnectionMark,
    /// `ct direction`: 0 original, 1 reply.
    ConnectionDirection,
    /// `ct original ip saddr`, `--ctorigsrc`, and so on: as the connection's first packet came in.
    OriginalSource,
    OriginalDestination,
    OriginalSourcePort,
    OriginalDestinationPort,
    OriginalProtocol,
    /// `ct reply ip saddr` and so on.
    ReplySource,
    ReplyDestination,
    ReplySourcePort,
    ReplyDestinationPort,
    /// `fib daddr type`, `-m addrtype --dst-type`: an RTN_* number (rtnetlink.h): 1 unicast, 2 local, 3 broadcast,
    /// 5 multicast, 6 blackhole, 7 unreachable, 8 prohibit.
    FibDestinationType {
        /// `fib daddr . iif type`, `--limit-iface-in`: only addresses of the interface the packet came in by are local.
        of_input_interface: bool,
    },
    FibSourceType {
        of_input_interface: bool,
    },
    /// `fib saddr . iif oif`: whether the way back leaves by the input interface; 0 when it does not (rp_filter's
    /// question, also `-m rpfilter`).
    FibSourceInterface,
    /// `fib saddr . mark . iif oif`: the same, with the packet's mark in the question (policy rules may ask for it).
    FibSourceInterfaceByMark,
    /// `-m owner`, `meta skuid`: packets from outside have no owner.
    SocketOwner,
    SocketGroup,
    /// `socket transparent`, `-m socket`: whether a socket of this host would take the packet.
    SocketTransparent,
    /// `rt nexthop` and others are unknown expressions.
    RoutingRealm,
}

impl Field {
    /// What connection tracking tells.
    pub const fn is_of_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectionState
                | Self::ConnectionStatus
                | Self::ConnectionMark
                | Self::ConnectionDirection
                | Self::OriginalSource
                | Self::OriginalDestination
                | Self::OriginalSourcePort
                | Self::OriginalDestinationPort
                | Self::OriginalProtocol
                | Self::ReplySource
                | Self::ReplyDestination
                | Self::ReplySourcePort
                | Self::ReplyDestinationPort
        )
    }
}

/// Target of a translation; an absent part stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    pub to: TranslationTarget,
    pub ports: Ports,
    /// `random`, `persistent`, `fully-random`: which of several targets is taken is not known; noted, not evaluated.
    /// `netmap`: of a target that is a prefix (a range, or data of a map) the host bits are those of the old address.
    pub flags: Vec<String>,
}

/// Where a translation leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum TranslationTarget {
    #[default]
    Unchanged,
    Address(IpAddr),
    /// The kernel picks one of them.
    Range(IpAddr, IpAddr),
    /// Value of an expression: an address, or a concatenation of address and port.
    Computed(Expression),
}

/// Ports of a translation.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Ports {
    #[default]
    Unchanged,
    Exactly(u16),
    /// The kernel picks one of them.
    Range(u16, u16),
    Computed(Expression),
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    TcpReset,
    /// ICMP type 3 with this code.
    Icmp(u8),
    /// ICMPv6 type 1 with this code.
    Icmp6(u8),
    /// nft's `icmpx`, for both families: 0 no route, 1 port unreachable, 2 host unreachable, 3 admin prohibited
    /// (nf_tables.h, NFT_REJECT_ICMPX_*).
    Icmpx(u8),
}
