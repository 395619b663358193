//! What one `probes/<service>.toml` says, checked: exchanges, decision table, triage answers, examples.
//!
//! The text form is read by [`super::parse`]; these types can only hold what passed its checks. What is tested of answers is
//! in [`super::condition`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::answer::Answer;
use super::codec;
use super::condition::{Condition, Rule, Subject};
use super::parse::{self, DefinitionError};
use crate::model::{Access, PortRanges, Severity, TlsFacts, Transport, Triage};

/// One service: how to recognise it, which request tells whether it asks for authentication, and what to advise.
#[derive(Clone, Debug)]
pub struct Definition {
    /// File name without ending: `etcd`.
    pub name: String,
    /// Name for people: `etcd key-value store`.
    pub title: String,
    pub product: Option<String>,
    /// Names of the processes that are this service; its own name where the file gives none.
    pub processes: Vec<String>,
    pub tcp_ports: PortRanges,
    pub udp_ports: PortRanges,
    /// Layers of a TCP endpoint on which this service is looked for; never empty.
    pub layers: Vec<Layer>,
    pub class: Class,
    /// On these ports a handshake that demands a client certificate is taken for this service. Behind such a
    /// handshake nothing can be asked: the result says that it is an assumption.
    pub client_certificate_ports: PortRanges,
    pub exchanges: Vec<Exchange>,
    /// Cheap signs that make this definition worth its `guarded` identity requests on a port it does not name.
    pub hints: Vec<Rule>,
    /// Any of these proves the identity.
    pub identify: Vec<Rule>,
    /// The first that holds decides the access.
    pub access: Vec<AccessRule>,
    /// The first source that yields a text is the version.
    pub version: Vec<Extract>,
    pub details: Vec<(String, Extract)>,
    pub triage: Triage,
    pub references: Vec<String>,
    pub examples: Vec<Example>,
    /// Recorded answers of other services that must not be taken for this one.
    pub lookalikes: Vec<Example>,
}

impl Definition {
    /// Reads one definition. `file` is a path or name: its stem becomes the service's name and errors cite it.
    pub fn parse(file: &str, text: &str) -> Result<Self, DefinitionError> {
        parse::definition(file, text)
    }

    pub fn ports(&self, transport: Transport) -> &PortRanges {
        match transport {
            Transport::Tcp => &self.tcp_ports,
            Transport::Udp => &self.udp_ports,
        }
    }

    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.name == name)
    }

    /// What a definition needs before it may be built in, beyond being readable.
    pub fn missing(&self) -> Vec<String> {
        let triage = &self.triage;
        let questions = [
            ("triage.disable", &triage.disable),
            ("triage.bind", &triage.bind),
            ("triage.authenticate", &triage.authenticate),
            ("triage.restrict", &triage.restrict),
            ("triage.known_flaws", &triage.known_flaws),
            ("triage.firewall", &triage.firewall),
        ];
        let mut missing: Vec<String> =
            questions.iter().filter(|(_, text)| text.trim().is_empty()).map(|(name, _)| (*name).to_owned()).collect();
        let mut need = |there: bool, what: &str| {
            if !there {
                missing.push(what.to_owned());
            }
        };
        need(!self.title.trim().is_empty(), "title");
        need(!self.references.is_empty(), "references");
        need(!self.identify.is_empty(), "[[identify]]");
        need(!self.access.is_empty(), "[[access]]");
        need(!self.examples.is_empty(), "[[examples]]");
        need(self.examples.iter().all(|example| example.expect.access.is_some()), "expect.access of an example");
        need(!self.lookalikes.is_empty(), "[[lookalikes]]");
        missing
    }

    /// Whether one of its exchanges waits for the peer to speak first.
    pub fn listens(&self) -> bool {
        self.exchanges.iter().any(|exchange| *exchange.request == Request::Greeting)
    }
}

/// What carries the exchanges on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    Plain,
    Tls,
    Datagram,
}

impl Layer {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Datagram => "datagram",
        }
    }
}

/// What a probe may leave behind on the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Identity, and one guarded read.
    Default,
    /// Leaves a trace in the peer's authentication log or state; only when asked for.
    OptIn,
}

/// A named request of a definition.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub name: String,
    /// Shared: equal requests of all definitions are sent once an endpoint.
    pub request: Arc<Request>,
    /// The request whose answer an authenticating deployment would refuse. Sent only after the identity is proven,
    /// or on a port (or after a hint) of this definition.
    pub guarded: bool,
    pub class: Class,
    /// Asked only when all of these hold.
    pub when: Vec<Condition>,
}

/// What is sent. Equal requests share one answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Nothing: what the peer says by itself.
    Greeting,
    Http(HttpRequest),
    Bytes(BytesRequest),
    Grpc(GrpcRequest),
    /// Name of a codec in `probe::codec`.
    Codec(String),
}

impl Request {
    /// The request that is sent first to anything that might be HTTP.
    pub fn root() -> Self {
        Self::Http(HttpRequest::get("/"))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting => f.write_str("greeting"),
            Self::Http(http) => write!(f, "{} {}", http.method, http.path),
            Self::Bytes(bytes) => write!(f, "{} bytes `{}`", bytes.send.len(), bytes.send.escape_ascii()),
            Self::Grpc(grpc) => write!(f, "gRPC {}", grpc.path),
            Self::Codec(name) => {
                let found = [Transport::Tcp, Transport::Udp].into_iter().find_map(|over| codec::find(name, over));
                f.write_str(found.map_or(name, |codec| codec.label))
            }
        }
    }
}

/// An HTTP request; method GET, HEAD or a POST that only reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    pub method: String,
    /// Path and query, sent as they are.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Bytes of the body that are kept; the rest is not read.
    pub limit: usize,
    /// Read on (up to [`SCAN_LIMIT`]) without keeping anything until this text, then keep `limit` bytes from there.
    pub find: Option<String>,
    pub redirects: Redirects,
}

impl HttpRequest {
    pub fn get(path: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: String::new(),
            limit: BODY_LIMIT,
            find: None,
            redirects: Redirects::Refused,
        }
    }
}

/// Whether a redirect is followed. Never to another host, port or scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Redirects {
    Refused,
    SameOrigin,
}

/// Raw bytes out, raw bytes in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BytesRequest {
    pub send: Vec<u8>,
    /// Bytes that are read at most.
    pub limit: usize,
    /// The answer is complete when it contains this.
    pub until: Option<Vec<u8>>,
}

/// One unary gRPC call over HTTP/2, by prior knowledge on plain TCP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcRequest {
    /// `/package.Service/Method`.
    pub path: String,
    /// The protobuf message, without the gRPC frame header.
    pub message: Vec<u8>,
}

/// Bytes of an answer that are kept unless a definition asks for less.
pub const BODY_LIMIT: usize = 64 * 1024;
/// Bytes that a search for a text reads at most.
pub const SCAN_LIMIT: usize = 2 * 1024 * 1024;

/// A row of the decision table for the access.
#[derive(Clone, Debug)]
pub struct AccessRule {
    pub rule: Rule,
    pub access: Access,
    pub severity: Severity,
    pub summary: String,
}

/// Takes a short text out of an answer.
#[derive(Clone, Debug)]
pub struct Extract {
    pub of: Option<usize>,
    pub subject: Subject,
    /// Text behind the first occurrence of this; the value is skipped where it does not occur.
    pub after: Option<String>,
    /// Text up to the first occurrence of this; the value is skipped where it does not occur.
    pub before: Option<String>,
}

/// A recorded conversation.
#[derive(Clone, Debug)]
pub struct Example {
    pub name: String,
    pub layer: Layer,
    /// Where it was recorded; 0 stands for a port that no definition names.
    pub port: u16,
    pub tls: Option<ExampleTls>,
    /// Request to answer.
    pub answers: Vec<(Arc<Request>, Answer)>,
    /// Answer to every HTTP request that is not listed; without it such a connection is closed.
    pub other: Option<Answer>,
    pub expect: Expectation,
}

/// Handshake of an example.
#[derive(Clone, Debug, Default)]
pub struct ExampleTls {
    pub facts: TlsFacts,
    pub alert: Option<u8>,
}

/// What an example must come to.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    pub access: Option<Access>,
    pub severity: Option<Severity>,
    /// `Some(None)`: there must be none.
    pub version: Option<String>,
    pub details: BTreeMap<String, String>,
}
