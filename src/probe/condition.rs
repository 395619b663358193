//! What a definition tests of an answer: conditions, and the rules made of them.

use std::fmt;

/// Holds when every condition of `all`, at least one of `any` (if there are any) and none of `none` hold.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub all: Vec<Condition>,
    pub any: Vec<Condition>,
    pub none: Vec<Condition>,
}

impl Rule {
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.all.iter().chain(&self.any).chain(&self.none)
    }
}

/// One test of one answer.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Position of the exchange in the definition; `None` tests the endpoint itself (TLS facts, layer).
    pub of: Option<usize>,
    /// HTTP status, any of these; empty: any.
    pub status: Vec<u16>,
    /// What is looked at, and how; `None` where the status alone decides (or, without a status, that an answer came).
    pub test: Option<(Subject, Test)>,
}

/// A part of an answer or of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Header by lower-case name; several lines are several values.
    Header(String),
    /// RFC 6901 pointer into the first JSON value of the body.
    Json(String),
    Body,
    /// Fact of a codec or gRPC answer.
    Fact(String),
    /// How the exchange ended: `answered`, `silent`, `closed`, `malformed`, ….
    Outcome,
    /// Fact of the TLS handshake.
    Tls(TlsField),
    /// `plain`, `tls`, `datagram`.
    Layer,
}

/// A fact of the TLS handshake that a condition can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsField {
    Subject,
    Issuer,
    Names,
    Authorities,
    Alpn,
    Protocol,
    /// `not-requested`, `requested`, `required`.
    ClientCertificate,
    /// Number of the alert that ended the handshake.
    Alert,
    SelfSigned,
}

impl TlsField {
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Subject, "subject"),
        (Self::Issuer, "issuer"),
        (Self::Names, "names"),
        (Self::Authorities, "authorities"),
        (Self::Alpn, "alpn"),
        (Self::Protocol, "protocol"),
        (Self::ClientCertificate, "client-certificate"),
        (Self::Alert, "alert"),
        (Self::SelfSigned, "self-signed"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }
}

/// How a value is tested. Of several alternatives one must fit; of several values one must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Exists(bool),
    Equals(Vec<Vec<u8>>),
    Prefix(Vec<Vec<u8>>),
    Suffix(Vec<Vec<u8>>),
    Contains(Vec<Vec<u8>>),
    /// JSON only.
    Is(JsonKind),
}

/// Kind of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
    /// A string, array or object that is not empty.
    NonEmpty,
}

impl JsonKind {
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Null, "null"),
        (Self::Bool, "bool"),
        (Self::Number, "number"),
        (Self::String, "string"),
        (Self::Array, "array"),
        (Self::Object, "object"),
        (Self::NonEmpty, "non-empty"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Condition {
    /// A short marker for the evidence, made of the definition's words only: nothing that the peer sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((subject, test)) = &self.test else {
            return f.write_str("answered");
        };
        match subject {
            Subject::Header(name) => write!(f, "header {name}")?,
            Subject::Json(pointer) if pointer.is_empty() => f.write_str("JSON")?,
            Subject::Json(pointer) => write!(f, "JSON {pointer}")?,
            Subject::Body => f.write_str("body")?,
            Subject::Fact(name) => f.write_str(name)?,
            Subject::Outcome => f.write_str("outcome")?,
            Subject::Tls(field) => write!(f, "TLS {}", field.as_str())?,
            Subject::Layer => f.write_str("layer")?,
        }
        let alternatives = |f: &mut fmt::Formatter<'_>, verb: &str, texts: &[Vec<u8>]| {
            write!(f, " {verb} ")?;
            for (position, text) in texts.iter().enumerate() {
                let or = if position == 0 { "" } else { " or " };
                write!(f, "{or}`{}`", String::from_utf8_lossy(text).trim_end().escape_debug())?;
            }
            Ok(())
        };
        match test {
            Test::Exists(true) => f.write_str(" present"),
            Test::Exists(false) => f.write_str(" absent"),
            Test::Equals(texts) => alternatives(f, "is", texts),
            Test::Prefix(texts) => alternatives(f, "begins", texts),
            Test::Suffix(texts) => alternatives(f, "ends", texts),
            Test::Contains(texts) => alternatives(f, "contains", texts),
            Test::Is(JsonKind::NonEmpty) => f.write_str(" is not empty"),
            Test::Is(kind) => write!(f, " is of kind {}", kind.as_str()),
        }
    }
}
