//! The network state of one namespace: what decides about a packet besides the sockets.
//!
//! Everything is kept as the kernel and its own tools tell it; nothing here is evaluated. The packet path (`firewall`)
//! reads it, on this machine or far from it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Interfaces, routes, settings and packet filter of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkState {
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Routes of all tables, `local` ones included.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Policy rules (`ip rule`), by priority. Empty: not known, the kernel's three default ones are assumed.
    #[serde(default)]
    pub policy_rules: Vec<PolicyRule>,
    #[serde(default)]
    pub neighbours: Vec<NeighbourEntry>,
    /// Settings that decide about packets, by their names without `net.`: `ipv4.ip_forward`, `ipv4.conf.eth0.rp_filter`,
    /// `ipv4.conf.all.route_localnet`, `ipv6.conf.all.forwarding`, `ipv6.bindv6only`,
    /// `ipv4.ip_local_reserved_ports`, `bridge.bridge-nf-call-iptables`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Ports that the rules translate before any socket is asked: services that have no socket here. Worked out from
    /// `firewall`, for the host's own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub translated: Vec<super::path::Translated>,
    /// Names of BPF programs of the whole namespace, with where: `sk-lookup:dispatch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bpf: Vec<String>,
    /// `null`: not read, which is not the same as no rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallDump>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// `veth`, `bridge`, `tun`, `vxlan`... as netlink names it (IFLA_INFO_KIND); absent for hardware and `lo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    #[serde(default)]
    pub up: bool,
    /// Bridge, bond or VRF that it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Name of the namespace that the other end of a veth pair is in, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_namespace: Option<String>,
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
    /// What is attached to it beside rules and routes, with where: BPF programs by name (`xdp:redirect_all`,
    /// `tc-ingress:cil_from_netdev`), other filters of traffic control by kind (`tc-ingress:flower`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bpf: Vec<String>,
}

/// An address of an interface with its prefix length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceAddress {
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub prefix: u8,
}

/// A route of any table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// 254 is main, 255 local, 253 default.
    pub table: u32,
    pub kind: RouteKind,
    /// `0.0.0.0` or `::` with prefix 0 is the default route.
    #[schemars(with = "String")]
    pub destination: IpAddr,
    pub prefix: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub source: Option<IpAddr>,
    /// Lower is preferred.
    #[serde(default)]
    pub metric: u32,
    /// Has several next hops, of which `interface` and `gateway` are one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multipath: bool,
}

/// What a route does with a packet (rtnetlink(7), rtm_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    Anycast,
    Blackhole,
    Broadcast,
    Local,
    Multicast,
    Prohibit,
    Throw,
    Unicast,
    Unreachable,
    /// A kind that this version does not know.
    Other,
}

/// A policy rule: which routing table is asked for which packets (`ip rule`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRule {
    pub priority: u32,
    /// The rule is about IPv6; else about IPv4.
    pub ipv6: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
    /// `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iif: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oif: Option<String>,
    /// Mark and mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<(u32, u32)>,
    /// The action `lookup TABLE`; `null` for another one, which `other` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Action or condition that the fields above do not hold: `unreachable`, `ipproto 6`, `suppress_prefixlength 0`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<String>,
}

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourEntry {
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub interface: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `reachable`, `stale`, `permanent`, `failed`... as `ip neigh` names it.
    pub state: String,
}

/// The packet filter rules of a namespace, raw: as their own tools print them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FirewallDump {
    /// What `nft -j list ruleset` prints; `null`: could not be read (the gaps say why).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nft: Option<serde_json::Value>,
    /// `FAMILY NAME` of tables with `flags dormant`, which the kernel does not evaluate: asked of the kernel itself, as nft
    /// 1.0.6 prints garbage for flags in its JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nft_dormant: Vec<String>,
    /// Interfaces of base chains at ingress and egress, by `FAMILY TABLE CHAIN`: nft 1.0.6 leaves them out of its JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nft_devices: BTreeMap<String, Vec<String>>,
    /// iptables-save and ip6tables-save, nft-backed and legacy; those that hold nothing are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub iptables: Vec<IptablesDump>,
    /// What `ipset save` prints, when any rule refers to a set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipset: Option<String>,
    /// IPVS virtual services (`ipvsadm`'s view, from netlink).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipvs: Vec<VirtualService>,
    /// Backends that were looked at and hold nothing: `nft`, `iptables-legacy`, `ip6tables-legacy`. What is neither here
    /// nor above was not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty: Vec<String>,
}

/// One tool's dump of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IptablesDump {
    pub ipv6: bool,
    pub backend: IptablesBackend,
    /// With counters (`-c`).
    pub text: String,
}

/// Which kernel interface the rules of an iptables dump live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IptablesBackend {
    /// x_tables; not visible to nft.
    Legacy,
    /// nf_tables: the same rules as in `nft`, where xt matches are opaque.
    Nft,
}

/// An IPVS virtual service: a listener without a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VirtualService {
    pub transport: super::Transport,
    /// `null` for a service that is picked by a firewall mark.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
    #[serde(default)]
    pub port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    pub scheduler: String,
    /// `masq`, `tunnel`, `droute`, `local` by destination.
    pub destinations: Vec<VirtualDestination>,
}

/// A real server behind a virtual service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VirtualDestination {
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub port: u16,
    pub forward: String,
    pub weight: u32,
}
