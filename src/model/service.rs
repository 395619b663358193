//! What answers on an endpoint, and whether it asks for authentication.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Severity, Triage};

/// A service as proven on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// File name of the probe definition without its ending: `etcd`, `docker`, `kubelet`. `unknown` when the port
    /// answers and no definition matched.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
    pub access: Access,
    /// How bad reaching this service with this access is, from the definition's decision table.
    pub severity: Severity,
    /// One sentence in the operator's words: what the decision means.
    pub summary: String,
    /// Short facts taken from the answers (host names, RPC programs, node name), never secrets. Key to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// The requests that were sent and what proves the access; an `unauthenticated` cites the guarded request.
    pub evidence: Vec<ProbeEvidence>,
}

/// One exchange that the identification or the access rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeEvidence {
    /// `GET /pods`, `POST /v3/kv/range`, `portmap v2 DUMP`, `TLS handshake`.
    pub request: String,
    /// `200`, `401`, `alert 42`, `accepted`.
    pub status: String,
    /// The marker that decided, at most a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Answer to the guarded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    Unauthenticated,
    AuthenticationRequired,
    ClientCertificateRequired,
    /// Anonymous is admitted, the request was refused.
    Forbidden,
    Unknown,
}

impl Access {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::AuthenticationRequired => "authentication-required",
            Self::ClientCertificateRequired => "client-certificate-required",
            Self::Forbidden => "forbidden",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Facts about the TLS layer; nothing in it was trusted or verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TlsFacts {
    /// `TLSv1.3`, `TLSv1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// Subject of the leaf certificate, RFC 4514 style.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Subject alternative names, DNS names and addresses as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Certificate validity, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    #[serde(default)]
    pub expired: bool,
    #[serde(default)]
    pub self_signed: bool,
    /// The server sent a CertificateRequest (it may not insist).
    #[serde(default)]
    pub client_certificate_requested: bool,
    /// CA names of that CertificateRequest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_certificate_authorities: Vec<String>,
}

/// What the probe definitions say about a service apart from any one answer; handed from `probe` to `correlate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Name for people: `kubelet API`.
    pub title: String,
    pub triage: Triage,
    pub references: Vec<String>,
    /// Names of the processes that are this service.
    pub processes: Vec<String>,
    pub tcp_ports: Vec<u16>,
    pub udp_ports: Vec<u16>,
    /// The worst that a probe of it may find: what reaching it may come to.
    pub worst: Option<Severity>,
}
