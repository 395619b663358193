//! The shape of a definition as TOML has it: only what is spelled where, before anything is checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::definition::*;
use crate::model::{Access, Severity, Triage};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDefinition {
    pub title: String,
    pub product: Option<String>,
    #[serde(default)]
    pub processes: Vec<String>,
    pub ports: RawPorts,
    pub layers: Option<Spanned<Vec<String>>>,
    pub class: Option<Spanned<String>>,
    #[serde(default)]
    pub client_certificate_ports: Vec<Spanned<RawPort>>,
    pub triage: Triage,
    pub references: Vec<String>,
    #[serde(default)]
    pub exchange: Vec<Spanned<RawExchange>>,
    #[serde(default)]
    pub hint: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub identify: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub access: Vec<Spanned<RawAccess>>,
    #[serde(default)]
    pub version: Vec<Spanned<RawExtract>>,
    #[serde(default)]
    pub detail: Vec<Spanned<RawExtract>>,
    #[serde(default)]
    pub examples: Vec<Spanned<RawExample>>,
    #[serde(default)]
    pub lookalikes: Vec<Spanned<RawExample>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPorts {
    #[serde(default)]
    pub tcp: Vec<Spanned<RawPort>>,
    #[serde(default)]
    pub udp: Vec<Spanned<RawPort>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a port or a range like \"8000-8100\"")]
pub(super) enum RawPort {
    Number(u16),
    Range(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExchange {
    pub name: String,
    #[serde(default)]
    pub guarded: bool,
    pub class: Option<Spanned<String>>,
    #[serde(default)]
    pub when: Vec<Spanned<RawCondition>>,
    pub http: Option<RawHttp>,
    pub bytes: Option<RawBytes>,
    pub grpc: Option<RawGrpc>,
    pub codec: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    pub method: Option<String>,
    pub path: Spanned<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    pub limit: Option<usize>,
    pub find: Option<String>,
    pub redirects: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBytes {
    pub text: Option<String>,
    pub hex: Option<Spanned<String>>,
    #[serde(default = "default_bytes_limit")]
    pub limit: usize,
    pub until: Option<String>,
}

pub(super) fn default_bytes_limit() -> usize {
    4096
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGrpc {
    pub path: String,
    pub message: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    #[serde(default)]
    pub all: Vec<Spanned<RawCondition>>,
    #[serde(default)]
    pub any: Vec<Spanned<RawCondition>>,
    #[serde(default)]
    pub none: Vec<Spanned<RawCondition>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccess {
    pub is: Access,
    pub severity: Severity,
    pub summary: String,
    #[serde(default)]
    pub all: Vec<Spanned<RawCondition>>,
    #[serde(default)]
    pub any: Vec<Spanned<RawCondition>>,
    #[serde(default)]
    pub none: Vec<Spanned<RawCondition>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    pub of: Option<Spanned<String>>,
    pub status: Option<OneOrMany<u16>>,
    pub header: Option<String>,
    pub json: Option<Spanned<String>>,
    pub fact: Option<String>,
    pub tls: Option<Spanned<String>>,
    pub outcome: Option<OneOrMany<Scalar>>,
    pub layer: Option<OneOrMany<Scalar>>,
    pub exists: Option<bool>,
    pub equals: Option<OneOrMany<Scalar>>,
    pub prefix: Option<OneOrMany<Scalar>>,
    pub prefix_hex: Option<Spanned<String>>,
    pub suffix: Option<OneOrMany<Scalar>>,
    pub contains: Option<OneOrMany<Scalar>>,
    pub is: Option<Spanned<String>>,
}

impl RawCondition {
    pub fn subject(&self) -> RawSubject<'_> {
        RawSubject {
            header: self.header.as_ref(),
            json: self.json.as_ref(),
            fact: self.fact.as_ref(),
            tls: self.tls.as_ref(),
        }
    }
}

pub(super) struct RawSubject<'a> {
    pub header: Option<&'a String>,
    pub json: Option<&'a Spanned<String>>,
    pub fact: Option<&'a String>,
    pub tls: Option<&'a Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExtract {
    pub name: Option<String>,
    pub of: Option<Spanned<String>>,
    pub header: Option<String>,
    pub json: Option<Spanned<String>>,
    pub fact: Option<String>,
    pub tls: Option<Spanned<String>>,
    pub after: Option<String>,
    pub before: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExample {
    pub name: String,
    pub transport: Option<String>,
    pub port: Option<u16>,
    pub tls: Option<RawTls>,
    #[serde(default)]
    pub answers: Vec<Spanned<RawNamedAnswer>>,
    pub other: Option<RawAnswer>,
    #[serde(default)]
    pub expect: RawExpectation,
}

// `flatten` and `deny_unknown_fields` do not go together, so the fields of an answer are here twice.
#[derive(Deserialize)]
#[serde(from = "RawFlatAnswer")]
pub(super) struct RawNamedAnswer {
    pub to: Spanned<String>,
    pub answer: RawAnswer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFlatAnswer {
    pub to: Spanned<String>,
    pub status: Option<u16>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub hex: Option<Spanned<String>>,
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    pub outcome: Option<String>,
}

impl From<RawFlatAnswer> for RawNamedAnswer {
    fn from(flat: RawFlatAnswer) -> Self {
        let RawFlatAnswer { to, status, headers, body, hex, facts, outcome } = flat;
        Self { to, answer: RawAnswer { status, headers, body, hex, facts, outcome } }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAnswer {
    pub status: Option<u16>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub hex: Option<Spanned<String>>,
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    pub outcome: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub subject: Option<String>,
    pub issuer: Option<String>,
    #[serde(default)]
    pub names: Vec<String>,
    pub alpn: Option<String>,
    pub protocol: Option<String>,
    pub client_certificate: Option<String>,
    #[serde(default)]
    pub authorities: Vec<String>,
    pub alert: Option<u8>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpectation {
    pub access: Option<Access>,
    pub severity: Option<Severity>,
    pub version: Option<String>,
    #[serde(default)]
    pub details: BTreeMap<String, String>,
}

impl From<RawExpectation> for Expectation {
    fn from(raw: RawExpectation) -> Self {
        Self { access: raw.access, severity: raw.severity, version: raw.version, details: raw.details }
    }
}

#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "a value or a list of values")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    pub fn list(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

impl OneOrMany<Scalar> {
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.list().into_iter().map(|scalar| scalar.text().into_bytes()).collect()
    }
}

#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "a text, number or boolean")]
pub(super) enum Scalar {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl Scalar {
    pub fn text(self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value,
        }
    }
}
