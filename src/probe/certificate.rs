//! X.509 certificates and names as text. Nothing is verified: these are facts about what was shown.

use jiff::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::text;
use crate::model::TlsFacts;

/// Names that are kept of one certificate or CertificateRequest.
const NAME_LIMIT: usize = 32;

/// Adds the facts of a leaf certificate (DER); what cannot be parsed adds nothing.
pub fn describe(der: &[u8], now: Timestamp, facts: &mut TlsFacts) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return;
    };
    facts.subject = Some(name(certificate.subject()));
    facts.issuer = Some(name(certificate.issuer()));
    facts.self_signed = certificate.subject().as_raw() == certificate.issuer().as_raw();
    let validity = certificate.validity();
    facts.not_before = time(validity.not_before.timestamp());
    facts.not_after = time(validity.not_after.timestamp());
    facts.expired = validity.not_after.timestamp() < now.as_second();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        facts.names = alternative.value.general_names.iter().filter_map(general_name).take(NAME_LIMIT).collect();
    }
}

/// CA names of a CertificateRequest (DER each).
pub fn authorities(names: &[Vec<u8>]) -> Vec<String> {
    let parsed = names.iter().filter_map(|der| X509Name::from_der(der).ok());
    parsed.map(|(_, found)| name(&found)).filter(|found| !found.is_empty()).take(NAME_LIMIT).collect()
}

/// RFC 4514: the last component first, special characters escaped.
fn name(found: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = found
        .iter_rdn()
        .map(|rdn| {
            let values = rdn.iter().map(|attribute| {
                let key = x509_parser::objects::oid2abbrev(attribute.attr_type(), x509_parser::objects::oid_registry())
                    .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
                format!("{key}={}", escape(attribute.as_str().unwrap_or("?")))
            });
            values.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    text::clean(&parts.join(","))
}

fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for (position, c) in value.chars().enumerate() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || position == 0 && matches!(c, '#' | ' ') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn general_name(found: &GeneralName<'_>) -> Option<String> {
    match found {
        GeneralName::DNSName(dns) => Some(text::clean(dns)),
        GeneralName::URI(uri) => Some(text::clean(uri)),
        GeneralName::RFC822Name(mail) => Some(text::clean(mail)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|at| at.to_string())
}
