//! What came back: one shape for all kinds of exchange, and what the TLS handshake showed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::OnceLock;

use crate::model::TlsFacts;

/// Answer to one request. Held in memory while the endpoint is judged, then dropped; never part of a report.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub outcome: Outcome,
    /// HTTP status.
    pub status: Option<u16>,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Facts of a codec or gRPC answer.
    pub facts: BTreeMap<String, String>,
    json: OnceLock<Option<serde_json::Value>>,
}

impl Answer {
    pub fn failed(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    pub fn bytes(body: Vec<u8>) -> Self {
        let outcome = if body.is_empty() { Outcome::Silent } else { Outcome::Answered };
        Self { outcome, body, ..Self::default() }
    }

    pub fn facts(facts: BTreeMap<String, String>) -> Self {
        Self { facts, ..Self::default() }
    }

    pub fn http(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        Self { status: Some(status), headers, body, ..Self::default() }
    }

    pub fn answered(&self) -> bool {
        self.outcome == Outcome::Answered
    }

    /// The first JSON value of the body: some servers append text after it. `None` for anything else, also when it
    /// is nested deeper than serde_json's limit of 128.
    pub fn json(&self) -> Option<&serde_json::Value> {
        self.json
            .get_or_init(|| serde_json::Deserializer::from_slice(&self.body).into_iter().next().and_then(Result::ok))
            .as_ref()
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Answered,
    /// Connected, and nothing came in time.
    Silent,
    /// Closed or reset before an answer.
    Closed,
    /// Something came that is no answer of this protocol.
    Malformed,
    /// A TLS alert with this number came instead of an answer.
    Alert(u8),
    /// The connection was refused: nobody listens.
    Refused,
    /// No answer to the attempt to connect.
    NoConnection,
    /// The connection could not be made for another reason.
    Unreachable,
}

impl Outcome {
    /// How an attempt to connect failed.
    pub fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::NoConnection,
            _ => Self::Unreachable,
        }
    }

    /// Whether there was a connection at all.
    pub const fn connected(self) -> bool {
        !matches!(self, Self::Refused | Self::NoConnection | Self::Unreachable)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Silent => f.write_str("silent"),
            Self::Closed => f.write_str("closed"),
            Self::Malformed => f.write_str("malformed"),
            Self::Alert(number) => write!(f, "alert {number}"),
            Self::Refused => f.write_str("refused"),
            Self::NoConnection => f.write_str("no connection"),
            Self::Unreachable => f.write_str("unreachable"),
        }
    }
}

/// What a TLS handshake attempt showed.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    pub result: HandshakeResult,
    pub facts: TlsFacts,
    /// Alert that ended the handshake or the first read after it.
    pub alert: Option<u8>,
    pub client_certificate: ClientCertificate,
}

impl Handshake {
    /// Whether the peer speaks TLS at all, even if not with us.
    pub fn is_tls(&self) -> bool {
        matches!(self.result, HandshakeResult::Completed | HandshakeResult::Refused)
    }
}

/// How the handshake attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HandshakeResult {
    /// Requests may be sent, unless a client certificate turned out to be required.
    Completed,
    /// The peer speaks TLS and refused: alert, or no common version or cipher.
    Refused,
    /// The peer answered with something else; its first bytes.
    NotTls(Vec<u8>),
    /// Closed, reset or silent.
    #[default]
    NoAnswer,
}

/// What the server wants from the client in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    #[default]
    NotRequested,
    /// Asked for, and went on without: optional.
    Requested,
    Required,
}

impl ClientCertificate {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRequested => "not-requested",
            Self::Requested => "requested",
            Self::Required => "required",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_json_value_only() {
        let answer = Answer::bytes(br#"{"error":"x"}Grpc-Trailer-Foo: 1"#.to_vec());
        assert_eq!(answer.json().and_then(|json| json.pointer("/error")).and_then(|value| value.as_str()), Some("x"));
    }

    #[test]
    fn deep_nesting_is_no_json_and_no_overflow() {
        assert!(Answer::bytes("[".repeat(60_000).into_bytes()).json().is_none());
        assert!(Answer::bytes(b"<html>".to_vec()).json().is_none());
    }
}
