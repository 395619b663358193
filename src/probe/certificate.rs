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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["node1".to_owned(), "198.18.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(rcgen::DnType::CommonName, "node\u{1b}[31m");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn describes_and_escapes() {
        let at = |text: &str| -> TlsFacts {
            let mut facts = TlsFacts::default();
            describe(&certificate(), text.parse().unwrap(), &mut facts);
            facts
        };
        let facts = at("2020-06-01T00:00:00Z");
        assert_eq!(facts.subject.as_deref(), Some("CN=node\\u{1b}[31m,O=Acme\\, Inc."));
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(facts.names, ["node1", "198.18.0.1"]);
        assert_eq!(facts.not_after.as_deref(), Some("2021-01-01T00:00:00Z"));
        assert!(facts.self_signed && !facts.expired);
        assert!(at("2021-06-01T00:00:00Z").expired);
    }

    #[test]
    fn a_cut_or_broken_certificate_adds_nothing() {
        let whole = certificate();
        for end in 0..whole.len() {
            let mut facts = TlsFacts::default();
            describe(&whole[..end], Timestamp::UNIX_EPOCH, &mut facts);
            assert_eq!(facts, TlsFacts::default(), "{end}");
        }
        assert!(authorities(&[whole, Vec::new()]).is_empty());
    }
}
