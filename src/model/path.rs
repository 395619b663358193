//! What a host's own rules do with a packet: the answer of `postern explain`, and the reason of a verdict.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Endpoint;
use super::report::Gap;
use super::unread::Unread;

/// The first packet of a new connection from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathQuestion {
    pub to: Endpoint,
    pub from: IpAddr,
    /// Interface the packet comes in by; `None`: the one by which the way back to the source leaves.
    pub iif: Option<String>,
}

/// Answers what a host's own rules do with packets. The seam between the rules' evaluation and those who ask it.
pub trait PathModel: fmt::Debug {
    fn answer(&self, question: &PathQuestion) -> PathAnswer;

    /// Destinations that rules translate, whatever listens: ports that may be open without a socket.
    fn translated(&self) -> Vec<Translated>;

    /// What of the rules is not known; while there is any of the host's own namespace, no answer is definite.
    fn unread(&self) -> Vec<Unread>;
}

/// Destinations that a rule translates (DNAT, redirect).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Translated {
    /// `null`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<super::Transport>,
    /// `null`: any that the other conditions of the rule allow, most often any of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
    /// `8080`, `9443-9444`; `1-65535` where no rule names a port.
    pub ports: String,
    /// `172.17.0.2:80`, `10.1.1.5` with the port kept, `:3128` on the host itself; `by a map` and the like.
    pub to: String,
    /// The rule that translates, with its table, chain and handle.
    pub rule: String,
    /// The rule on the way to it that names the port, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_by: Option<String>,
}

/// What happens to the packet, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathAnswer {
    /// `198.18.0.7:8080/tcp`.
    pub to: String,
    #[schemars(with = "String")]
    pub from: IpAddr,
    #[serde(default)]
    pub iif: Option<String>,
    /// INPUT's answer for the original destination as if there were no NAT: what the administrator believes.
    pub intent: PathOutcome,
    /// The full walk: what the kernel does.
    pub path: PathOutcome,
    /// How it is refused, when `path` is `reject`: `tcp-reset`, `icmp-port-unreachable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Where the packet ends up, when `path` is `accept` and there is one such place.
    #[serde(default)]
    pub delivered: Option<Delivered>,
    /// Where it may end, when `path` is `accept` and that is drawn or not known: one of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub either: Vec<Delivered>,
    /// The rules that mattered, in the order in which the packet met them.
    pub trace: Vec<TraceStep>,
    /// The rules that make up `intent`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intent_trace: Vec<TraceStep>,
    /// What the answer depends on and the report does not tell.
    pub unknown: Vec<String>,
    /// Rules on the packet's way that nobody read or understands: with any of them, the answer is `unknown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Lines that would close it in the right place, when `intent` is not `accept` and `path` is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
}

impl PathAnswer {
    /// The rules stop packets to what they are believed to stop, and this one gets by.
    pub const fn is_bypass(&self) -> bool {
        matches!(self.intent, PathOutcome::Drop | PathOutcome::Reject) && matches!(self.path, PathOutcome::Accept)
    }

    /// The step that decided `path`.
    pub fn deciding(&self) -> Option<&TraceStep> {
        self.trace.iter().rev().find(|step| step.decides)
    }

    /// Every place where it may end.
    pub fn places(&self) -> impl Iterator<Item = &Delivered> {
        self.delivered.iter().chain(&self.either)
    }

    /// The step that sends the packet elsewhere than to where it was addressed.
    pub fn translation(&self) -> Option<&TraceStep> {
        self.trace.iter().find(|step| step.action.starts_with("dnat"))
    }

    /// The command that takes away the rule which translates, where that can be named.
    pub fn without_translation(&self) -> Option<String> {
        let step = self.translation().filter(|step| step.namespace.is_none())?;
        let TraceStep { table, chain, .. } = step;
        match (table.strip_suffix(" (legacy)"), step.handle, step.number) {
            (Some(table), _, Some(number)) => {
                let (family, name) = table.split_once(' ')?;
                let tool = if family == "ip6" { "ip6tables-legacy" } else { "iptables-legacy" };
                Some(format!("`{tool} -t {name} -D {chain} {number}`, the rule that translates it"))
            }
            (None, Some(handle), _) => {
                Some(format!("`nft delete rule {table} {chain} handle {handle}`, the rule that translates it"))
            }
            _ => None,
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathOutcome {
    Accept,
    Drop,
    Reject,
    Unknown,
}

impl PathOutcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Unknown => "unknown",
        }
    }

    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Drop | Self::Reject)
    }
}

impl fmt::Display for PathOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an accepted packet ends up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Delivered {
    /// Name of the namespace in the host report; `null` when no namespace of this host has the address.
    #[serde(default)]
    pub namespace: Option<String>,
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// `null` for a protocol without ports, or when a range of ports is translated to.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A rule, a policy or a routing decision that mattered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceStep {
    /// `prerouting`, `routing`, `input`, `forward`...
    pub hook: String,
    /// `ip nat`; empty for routing.
    pub table: String,
    pub chain: String,
    #[serde(default)]
    pub handle: Option<u64>,
    /// Place in its chain, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// As its own tool prints it; `policy drop`.
    pub rule: String,
    /// `accept`, `drop`, `reject`, `jump`, `dnat to 172.17.0.2:80`, `local`, `forward to docker0`...
    pub action: String,
    /// Packets, where the rule counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Network namespace, when it is not the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// This step decided the outcome.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
}
