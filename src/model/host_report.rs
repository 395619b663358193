//! `postern.host/1`: what a host says about itself.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transport;
use super::report::{Gap, Tool};

/// Schema name of the host reports that this version writes and reads.
pub const SCHEMA: &str = "postern.host/1";

/// A host's own word for its addresses, listening sockets and containers at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostReport {
    /// Always [`SCHEMA`].
    pub schema: String,
    pub tool: Tool,
    /// Stable across runs: derived from the machine id, else the host name, else `unknown`.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// RFC 3339, UTC. Absent in text listings, which do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_at: Option<String>,
    pub source: Source,
    #[serde(default)]
    pub privileges: Privileges,
    /// Addresses of the host's own (initial) namespace; empty when the source does not say.
    #[serde(default)]
    pub addresses: Vec<HostAddress>,
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    pub listeners: Vec<Listener>,
    /// Processes that own listeners and raw sockets; [`Listener::pid`] refers to them. Empty when the source does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// Sockets that see packets beside the ports: they answer without being bound to one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw_sockets: Vec<RawSocket>,
    #[serde(default)]
    pub containers: Vec<Container>,
    #[serde(default)]
    pub published: Vec<PublishedPort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<OperatingSystem>,
    /// What could not be seen, why, and what would settle it.
    #[serde(default)]
    pub gaps: Vec<Gap>,
}

impl HostReport {
    /// One that says nothing yet.
    pub fn of(id: &str, source: Source) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tool: Tool::this(),
            id: id.to_owned(),
            hostname: None,
            collected_at: None,
            source,
            privileges: Privileges::default(),
            addresses: Vec::new(),
            namespaces: Vec::new(),
            listeners: Vec::new(),
            owners: Vec::new(),
            raw_sockets: Vec::new(),
            containers: Vec::new(),
            published: Vec::new(),
            os: None,
            gaps: Vec::new(),
        }
    }
}

/// Where a host report comes from, and so how much it can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `postern host` on the machine itself.
    Native,
    Ss,
    Netstat,
    Lsof,
    Osquery,
    /// Plain commands over ssh: `ss`, `ip`, `nft`, `iptables-save`.
    Agentless,
}

impl Source {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ss => "ss",
            Self::Netstat => "netstat",
            Self::Lsof => "lsof",
            Self::Osquery => "osquery",
            Self::Agentless => "agentless",
        }
    }

    /// Whether it is the output of a tool that shows sockets and nothing else, taken by hand: not the machine's own word for
    /// everything in its namespace.
    pub const fn is_listing(self) -> bool {
        match self {
            Self::Ss | Self::Netstat | Self::Lsof | Self::Osquery => true,
            Self::Native | Self::Agentless => false,
        }
    }

    /// Whether the source looks into other network namespaces at all; a plain listing shows only its own.
    pub const fn sees_namespaces(self) -> bool {
        matches!(self, Self::Native)
    }
}

/// Ends [`Gap::settled_by`] where the machine's own word is enough, taken by any user.
pub const OWN_WORD: &str = "`postern host` on the machine";
/// Likewise, taken by root.
pub const OWN_WORD_OF_ROOT: &str = "`postern host` on the machine, as root";

/// With what rights the report was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Privileges {
    /// Effective user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Could enter other network namespaces (CAP_SYS_ADMIN).
    #[serde(default)]
    pub namespaces: bool,
    /// Could see the descriptors of other users' processes (CAP_SYS_PTRACE).
    #[serde(default)]
    pub processes: bool,
}

/// An address of an interface of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostAddress {
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub prefix: u8,
    pub interface: String,
    /// Link-layer address of the interface, `02:00:00:00:00:01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The interface is a bridge (docker0, cni0): its address is the same on every such host and identifies nobody.
    #[serde(default)]
    pub bridge: bool,
}

/// A network namespace that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Namespace {
    /// `host`, a name below /run/netns, `container:NAME`, else `net:[INODE]`. What [`Listener::namespace`] refers to.
    pub name: String,
    /// Inode number of the namespace file; identifies the namespace while it lives.
    pub inode: u64,
    /// Global and local addresses inside (without loopback).
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Pids of some processes inside, lowest first, at most eight.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// What keeps it alive: `process`, `thread`, `descriptor of PID`, `mount PATH`, `mount PATH (seen by PID)`; empty when
    /// the source does not say. Without `process` nothing runs inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<String>,
    /// What decides about packets inside; `null` when the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<super::NetworkState>,
}

/// A socket that waits for packets: TCP LISTEN, or UDP unconnected and bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    pub transport: Transport,
    /// Bound address; `0.0.0.0` and `::` are wildcards.
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub port: u16,
    /// An IPv6 socket that takes no IPv4 packets. `null` when the source cannot tell (netstat, lsof, /proc).
    #[serde(default)]
    pub v6only: Option<bool>,
    /// Interface the socket is bound to (SO_BINDTODEVICE), or the scope of a link-local address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Name of the [`Namespace`] it is in; `host` for the host's own.
    #[serde(default = "host_namespace")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Short name of the owning process; `null` is unknown, not none.
    #[serde(default)]
    pub process: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// User name, or the uid in digits where the name is unknown.
    #[serde(default)]
    pub user: Option<String>,
    /// systemd unit, from the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Container the owner runs in, or publishes for (docker-proxy): its name, else its short id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// systemd (pid 1) holds the socket and would start the service.
    #[serde(default)]
    pub socket_activated: bool,
    /// UDP only: looks like the socket of a client (ephemeral port, wildcard, no privileged service) and not of a server.
    #[serde(default)]
    pub likely_client: bool,
    /// TCP only; `null` when the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_queue: Option<AcceptQueue>,
    /// Of a socket that waits for its first connection: the unit or program that it would start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<String>,
}

impl Listener {
    /// One of which nothing but the socket is known, in the host's own namespace.
    pub fn at(transport: Transport, address: IpAddr, port: u16) -> Self {
        Self {
            transport,
            address,
            port,
            v6only: None,
            device: None,
            namespace: HOST_NAMESPACE.to_owned(),
            pid: None,
            process: None,
            exe: None,
            user: None,
            unit: None,
            container: None,
            socket_activated: false,
            likely_client: false,
            accept_queue: None,
            starts: None,
        }
    }
}

/// Connections that wait to be accepted. A full queue looks from outside like a filter: the kernel drops what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptQueue {
    pub length: u32,
    pub backlog: u32,
}

impl AcceptQueue {
    /// The kernel takes one connection more than the backlog (sk_acceptq_is_full in include/net/sock.h).
    pub const fn is_full(self) -> bool {
        self.length > self.backlog
    }
}

/// A process that owns sockets: what a break-in there would be worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    pub pid: u32,
    pub name: String,
    /// Program and options; what may be a secret is `***`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Effective capabilities by name, `all` for every one that the kernel knows. `null`: not known.
    #[serde(default)]
    pub capabilities: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_new_privileges: Option<bool>,
    /// `disabled`, `strict`, `filter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
}

/// A raw or packet socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawSocket {
    pub kind: RawKind,
    /// IP protocol of a raw socket (1 ICMP, 58 ICMPv6, 255 only sends), EtherType of a packet socket (3: every one, 0: it
    /// only sends).
    pub protocol: u16,
    /// Of a raw socket: it is IPv6.
    #[serde(default)]
    pub ipv6: bool,
    /// Interface that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    pub namespace: String,
    #[serde(default)]
    pub pid: Option<u32>,
    #[serde(default)]
    pub process: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// raw(7) or packet(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawKind {
    /// IP packets of one protocol.
    Raw,
    /// Frames of an interface, before any packet filter but tc and XDP.
    Packet,
}

fn host_namespace() -> String {
    HOST_NAMESPACE.to_owned()
}

/// Name of the host's own network namespace in [`Listener::namespace`].
pub const HOST_NAMESPACE: &str = "host";

/// A container as its engine or its cgroup tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// Full id where known.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `docker`, `podman`, `containerd`, `crio`, `lxc`.
    pub engine: String,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,
    /// Shares the host's network namespace.
    #[serde(default)]
    pub host_network: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Capabilities beyond what engines give by default, by name; `all` for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added_capabilities: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_new_privileges: Option<bool>,
    /// `default`, `unconfined`, `custom`; from the kernel's word alone `filter` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// AppArmor profile or SELinux label that it runs under; `unconfined`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_label: Option<String>,
    /// Sockets of container engines that are mounted into it, by their path on the host: whoever is inside commands the
    /// engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engine_sockets: Vec<String>,
}

/// A port that an engine publishes on the host for a container; it may have no socket on the host at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedPort {
    pub transport: Transport,
    /// Address on the host; wildcards as in [`Listener::address`].
    #[schemars(with = "String")]
    pub host_address: IpAddr,
    pub host_port: u16,
    /// Address of the container, when the source says it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub container_address: Option<IpAddr>,
    pub container_port: u16,
    /// Name, else short id, of the container.
    #[serde(default)]
    pub container: Option<String>,
    /// Where this is known from: `engine`, `docker-proxy`, `ipvs`, or the program that holds the port for a container.
    pub source: String,
}

/// The operating system as /etc/os-release names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatingSystem {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub pretty_name: String,
    /// `uname -r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Day on which the vendor's general support of this release ends (RFC 3339 date); absent when it is not known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_support: Option<String>,
    /// Whether it was supported when the report was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported: Option<bool>,
}
