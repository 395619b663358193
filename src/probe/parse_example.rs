//! Recorded conversations of a definition: its examples and look-alikes.

use toml::Spanned;

use super::answer::{Answer, Outcome};
use super::codec;
use super::definition::*;
use super::parse::Checker;
use super::parse_raw::*;
use super::parse_value::{At, unhex};
use crate::model::{TlsFacts, Transport};

/// Default ports of the examples.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) tcp_port: Option<u16>,
    pub(super) udp_port: Option<u16>,
}

impl Checker {
    pub(super) fn example(&mut self, spanned: &Spanned<RawExample>, shape: Shape) -> Result<Example, At> {
        let raw = spanned.get_ref();
        let layer = match (raw.transport.as_deref(), &raw.tls) {
            (Some("udp"), _) => Layer::Datagram,
            (None, _) if shape.tcp_port.is_none() => Layer::Datagram,
            (_, Some(_)) => Layer::Tls,
            _ => Layer::Plain,
        };
        let hinted = if layer == Layer::Datagram { shape.udp_port } else { shape.tcp_port };
        let mut answers = Vec::new();
        for answer in &raw.answers {
            let position = self.position(&answer.get_ref().to)?;
            let request = self.exchanges[position].request.clone();
            let value = example_answer(&answer.get_ref().answer, answer.span().start)?;
            let value = match &*request {
                Request::Codec(name) if !value.body.is_empty() => {
                    recorded(name, layer, &value.body).ok_or_else(|| {
                        At::new(answer.span().start, format!("codec `{name}` makes nothing of these bytes"))
                    })?
                }
                _ => value,
            };
            answers.push((request, value));
        }
        let other = match &raw.other {
            Some(other) => Some(example_answer(other, spanned.span().start)?),
            None => None,
        };
        Ok(Example {
            name: raw.name.clone(),
            layer,
            port: raw.port.or(hinted).unwrap_or(0),
            tls: raw.tls.as_ref().map(example_tls),
            answers,
            other,
            expect: raw.expect.clone().into(),
        })
    }
}

fn example_answer(raw: &RawAnswer, offset: usize) -> Result<Answer, At> {
    let body = match (&raw.body, &raw.hex) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(hex)) => unhex(hex)?,
        (None, None) => Vec::new(),
        _ => return Err(At::new(offset, "an answer has either `body` or `hex`")),
    };
    let headers = raw.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let mut answer = Answer::facts(raw.facts.clone());
    answer.status = raw.status;
    answer.headers = headers;
    answer.body = body;
    answer.outcome = match raw.outcome.as_deref() {
        None | Some("answered") => Outcome::Answered,
        Some("silent") => Outcome::Silent,
        Some("closed") => Outcome::Closed,
        Some("malformed") => Outcome::Malformed,
        Some(other) => return Err(At::new(offset, format!("unknown outcome `{other}`"))),
    };
    Ok(answer)
}

/// The recorded bytes of a codec's answer, understood by the codec.
fn recorded(codec: &str, layer: Layer, bytes: &[u8]) -> Option<Answer> {
    let transport = if layer == Layer::Datagram { Transport::Udp } else { Transport::Tcp };
    (codec::find(codec, transport)?.facts)(&[bytes]).map(Answer::facts)
}

fn example_tls(raw: &RawTls) -> ExampleTls {
    ExampleTls {
        alert: raw.alert,
        facts: TlsFacts {
            subject: raw.subject.clone(),
            issuer: raw.issuer.clone(),
            names: raw.names.clone(),
            alpn: raw.alpn.clone(),
            protocol: raw.protocol.clone(),
            client_certificate_requested: raw.client_certificate.as_deref().is_some_and(|word| word != "not-requested"),
            client_certificate_authorities: raw.authorities.clone(),
            ..TlsFacts::default()
        },
    }
}
