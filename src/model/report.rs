//! `postern.report/1`: the one document of `scan`, `audit` and `correlate`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host_report::Listener;
use super::{Endpoint, Evidence, Finding, Improbable, PortState, Reason, Service, Transport, Verdict};

/// Schema name of the reports that this version writes and reads.
pub const SCHEMA: &str = "postern.report/1";

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    pub tool: Tool,
    pub run: Run,
    pub hosts: Vec<Host>,
    /// Address ranges of the scope (`198.18.0.7-198.18.0.254`, a single address, a CIDR) without any answer.
    #[serde(default)]
    pub silent: Vec<String>,
    pub findings: Vec<Finding>,
}

/// The program that wrote a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    pub name: String,
    pub version: String,
}

impl Tool {
    /// This build of this program.
    pub fn this() -> Self {
        Self { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// When, from where, over what and how a run looked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    pub id: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub finished_at: String,
    pub status: Status,
    pub scope: Scope,
    pub vantages: Vec<Vantage>,
    /// `null` in a report that rests on host reports alone.
    #[serde(default)]
    pub sweep: Option<Sweep>,
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// Host reports that were joined: identity, source and time.
    #[serde(default)]
    pub host_reports: Vec<HostReportUse>,
}

impl Run {
    /// One that has begun and looked at nothing yet; `started_at` in RFC 3339, UTC.
    pub const fn begun(id: String, started_at: String, scope: Scope) -> Self {
        Self {
            id,
            started_at,
            finished_at: String::new(),
            status: Status::Complete,
            scope,
            vantages: Vec::new(),
            sweep: None,
            gaps: Vec::new(),
            host_reports: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Complete,
    Interrupted,
}

/// What was asked for, as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// Address ranges after resolution, names with their addresses: `198.18.0.0/24`, `db.lan (198.18.0.7)`.
    pub targets: Vec<String>,
    #[serde(default)]
    pub excluded: Vec<String>,
    pub ports: ScopePorts,
}

/// Ports of the scope by transport, as ranges: `22,80,8000-8100`; empty when the transport was not swept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScopePorts {
    #[serde(default)]
    pub tcp: String,
    #[serde(default)]
    pub udp: String,
}

/// A place from which a run looked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vantage {
    pub name: String,
    pub kind: VantageKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Source addresses the kernel picks from here.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub source: Vec<IpAddr>,
    /// Of a vantage on the scanned machine itself: the machine's addresses, which are its own although they were asked as
    /// those of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub machine: Vec<IpAddr>,
    /// Where a run had several vantages: which of its looks this belongs to, from 0. The loopback of a place and its
    /// interfaces are one look.
    #[serde(default, skip_serializing_if = "is_first")]
    pub look: u32,
    /// Where it differs from the run's: the addresses that were asked from here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Where a run had several vantages: the addresses without any answer to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// Where a run had several vantages: the sweep from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

fn is_first(look: &u32) -> bool {
    *look == 0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VantageKind {
    /// A container's network namespace.
    Container,
    /// An interface of the scanning machine: the outside view of every other host.
    #[default]
    Interface,
    /// A throwaway namespace joined to the scanning machine: sees the machine's own addresses as its network does.
    Neighbour,
    /// Another network namespace of the scanning machine.
    Netns,
    /// Over `lo`, to the scanning machine's own addresses: never the outside view.
    #[serde(rename = "self")]
    Own,
    /// Another machine, over ssh.
    Ssh,
}

/// How the sweep went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// `syn` or `connect`.
    pub engine: String,
    /// `kernel` for connect; for syn by which ways frames left: `af_xdp`, `af_packet`, `raw-ip`, separated by commas.
    pub transmit: String,
    pub probes_sent: u64,
    pub replies: u64,
    pub rounds: u32,
    pub packets_per_second: f64,
    pub dropped_replies: u64,
    #[serde(default)]
    pub recall: Option<Recall>,
}

impl Sweep {
    /// One that has sent nothing yet.
    pub fn unsent(engine: &str, transmit: &str) -> Self {
        Self {
            engine: engine.to_owned(),
            transmit: transmit.to_owned(),
            probes_sent: 0,
            replies: 0,
            rounds: 0,
            packets_per_second: 0.0,
            dropped_replies: 0,
            recall: None,
        }
    }
}

/// Of the ports that would answer SYN-ACK on hosts that answer at all: the share found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recall {
    /// 0 to 1.
    pub estimate: f64,
    /// With the upper 95 % bound of the loss.
    pub lower: f64,
    /// Expected number of open ports that were missed.
    pub expected_missing: f64,
}

/// Something that could not be looked at, or that a report cannot know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    pub what: String,
    pub cause: String,
    /// What would settle it: root, another round, a host report.
    pub settled_by: String,
    /// The run is incomplete because of this one (exit code 4): something that was asked for was not looked at.
    #[serde(default)]
    pub incomplete: bool,
}

/// A host report that took part in a correlation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostReportUse {
    pub id: String,
    pub source: super::host_report::Source,
    #[serde(default)]
    pub collected_at: Option<String>,
    /// Scanned address it was joined to, and by what; `null` when it matched none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub joined: Option<IpAddr>,
}

/// A host that answered, or that a host report names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// The host report's id where one was joined, else the address.
    pub id: String,
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// All addresses known to be this host's.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,
    #[serde(default)]
    pub mac: Option<String>,
    #[serde(default)]
    pub names: Vec<String>,
    /// What is open, has a listener, a finding or an unusual reason; sorted by address, transport, port.
    pub endpoints: Vec<EndpointEntry>,
    /// All the rest, folded.
    #[serde(default)]
    pub other_ports: Vec<PortGroup>,
    /// Of addresses with open ports: what ports said that nobody uses. A raw sweep asks them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Improbable>")]
    pub improbable: BTreeMap<IpAddr, Improbable>,
}

impl Host {
    /// One of which nothing is known but an address.
    pub fn at(address: IpAddr) -> Self {
        Self {
            id: address.to_string(),
            address,
            addresses: vec![address],
            mac: None,
            names: Vec::new(),
            endpoints: Vec::new(),
            other_ports: Vec::new(),
            improbable: BTreeMap::new(),
        }
    }
}

/// One endpoint with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointEntry {
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub transport: Transport,
    pub port: u16,
    pub state: PortState,
    pub reason: Reason,
    #[serde(default)]
    pub evidence: Evidence,
    /// Names of the vantages it was seen from.
    #[serde(default)]
    pub seen_from: Vec<String>,
    /// The host through which it was tried: its address. The endpoint is one behind that host, not one of the network.
    #[serde(default)]
    pub via: Option<String>,
    /// Where a run had several vantages: how each of them saw it. The entry itself is what the worst of them saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<EndpointView>,
    #[serde(default)]
    pub service: Option<Box<Service>>,
    #[serde(default)]
    pub listener: Option<Box<Listener>>,
    /// `null` in a plain scan, which does not judge.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// What else applies, and the reasons of the verdict, one sentence each.
    #[serde(default)]
    pub also: Vec<String>,
    /// INPUT's answer as if there were no NAT: `accept`, `drop`, `reject`, `unknown`.
    #[serde(default)]
    pub intent: Option<String>,
    /// The evaluated path, a step a line.
    #[serde(default)]
    pub path: Vec<String>,
}

/// An endpoint as one of several vantages saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointView {
    /// Name of the [`Vantage`].
    pub vantage: String,
    pub state: PortState,
    pub reason: Reason,
    #[serde(default)]
    pub evidence: Evidence,
    /// What answered, where it differs from the entry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<Service>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The reasons of the verdict, where they differ from the entry's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

impl EndpointEntry {
    /// One of which nothing but its state is known.
    pub fn at(endpoint: Endpoint, state: PortState, reason: Reason) -> Self {
        let Endpoint { address, transport, port } = endpoint;
        Self {
            address,
            transport,
            port,
            state,
            reason,
            evidence: Evidence::default(),
            seen_from: Vec::new(),
            via: None,
            views: Vec::new(),
            service: None,
            listener: None,
            verdict: None,
            also: Vec::new(),
            intent: None,
            path: Vec::new(),
        }
    }

    pub const fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.address, self.transport, self.port)
    }
}

/// Ports of one host that share transport, state and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortGroup {
    /// The address, when the host has several that were swept.
    #[schemars(with = "String")]
    pub address: IpAddr,
    pub transport: Transport,
    pub state: PortState,
    pub reason: Reason,
    /// Who sent the ICMP errors, where that is the reason and it was the same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub offender: Option<IpAddr>,
    /// `1-21,23-79`, as [`super::PortRanges`] prints.
    pub ports: String,
    /// Where a run had several vantages: those that saw it so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen_from: Vec<String>,
}
