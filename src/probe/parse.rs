//! TOML text into a checked [`Definition`]. Errors name file, line and value.
//!
//! `parse_raw` is what serde reads; here it is put together, with `parse_condition`, `parse_example` and `parse_value` for
//! its parts.

use std::sync::Arc;

use toml::Spanned;

use super::codec;
use super::condition::*;
use super::definition::*;
use super::parse_example::Shape;
use super::parse_raw::*;
use super::parse_value::{At, class, http_request, layers, ports, unhex};
use crate::model::{Access, Transport};

/// A definition that cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem} in `{value}`; hint: `postern probes show etcd` prints a complete definition")]
pub struct DefinitionError {
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// The source line.
    pub value: String,
    pub problem: String,
}

pub(super) fn definition(file: &str, text: &str) -> Result<Definition, DefinitionError> {
    let error = |offset: usize, problem: String| {
        let start = offset.min(text.len());
        let line = text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
        let value = text.lines().nth(line).unwrap_or("").trim().chars().take(120).collect();
        DefinitionError { file: file.to_owned(), line: line + 1, value, problem }
    };
    let raw: RawDefinition = toml::from_str(text)
        .map_err(|failure| error(failure.span().map_or(0, |span| span.start), failure.message().replace('\n', " ")))?;
    Checker { exchanges: Vec::new() }.definition(file, raw).map_err(|At { offset, problem }| error(offset, problem))
}

/// What was read so far.
pub(super) struct Checker {
    pub(super) exchanges: Vec<Exchange>,
}

impl Checker {
    fn definition(mut self, file: &str, raw: RawDefinition) -> Result<Definition, At> {
        let stem = file.rsplit('/').next().unwrap_or(file);
        let name = stem.strip_suffix(".toml").unwrap_or(stem);
        let plain_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name == "unknown" || !name.chars().all(plain_name) {
            return Err(At::new(0, format!("file name `{stem}` is no service name (a-z, 0-9, `-`, not `unknown`)")));
        }
        let tcp_ports = ports(&raw.ports.tcp)?;
        let udp_ports = ports(&raw.ports.udp)?;
        if tcp_ports.is_empty() && udp_ports.is_empty() {
            return Err(At::new(0, "no `ports.tcp` and no `ports.udp`"));
        }
        let client_certificate_ports = ports(&raw.client_certificate_ports)?;
        let class = class(raw.class.as_ref())?;
        for exchange in &raw.exchange {
            self.exchange(exchange, class)?;
        }
        // `when` may name exchanges that come later, so it is read once all names are known.
        for (position, exchange) in raw.exchange.iter().enumerate() {
            let when = self.conditions(&exchange.get_ref().when)?;
            self.exchanges[position].when = when;
        }
        let hints = self.rules(&raw.hint)?;
        let identify = self.rules(&raw.identify)?;
        if identify.is_empty() && client_certificate_ports.is_empty() {
            return Err(At::new(0, "no `[[identify]]`"));
        }
        let access = raw.access.iter().map(|row| self.access_rule(row)).collect::<Result<Vec<_>, _>>()?;
        let version = raw.version.iter().map(|source| self.extract(source)).collect::<Result<Vec<_>, _>>()?;
        let details = raw
            .detail
            .iter()
            .map(|detail| Ok((self.detail_name(detail)?, self.extract(detail)?)))
            .collect::<Result<Vec<_>, At>>()?;
        let shape = Shape { tcp_port: tcp_ports.nth(0), udp_port: udp_ports.nth(0) };
        let examples = raw.examples.iter().map(|row| self.example(row, shape)).collect::<Result<Vec<_>, _>>()?;
        let lookalikes = raw.lookalikes.iter().map(|row| self.example(row, shape)).collect::<Result<Vec<_>, _>>()?;
        Ok(Definition {
            name: name.to_owned(),
            title: raw.title,
            product: raw.product,
            processes: if raw.processes.is_empty() { vec![name.to_owned()] } else { raw.processes },
            tcp_ports,
            udp_ports,
            layers: layers(raw.layers.as_ref())?,
            class,
            client_certificate_ports,
            exchanges: self.exchanges,
            hints,
            identify,
            access,
            version,
            details,
            triage: raw.triage,
            references: raw.references,
            examples,
            lookalikes,
        })
    }

    fn exchange(&mut self, spanned: &Spanned<RawExchange>, class_of_all: Class) -> Result<(), At> {
        let offset = spanned.span().start;
        let raw = spanned.get_ref();
        if raw.name == ROOT || raw.name == GREETING {
            return Err(At::new(offset, format!("exchange name `{}` is reserved: it is always there", raw.name)));
        }
        if self.exchanges.iter().any(|exchange| exchange.name == raw.name) {
            return Err(At::new(offset, format!("exchange `{}` is there twice", raw.name)));
        }
        let mut kinds = Vec::new();
        if let Some(http) = &raw.http {
            kinds.push(Request::Http(http_request(http)?));
        }
        if let Some(bytes) = &raw.bytes {
            let send = match (&bytes.text, &bytes.hex) {
                (Some(text), None) => text.clone().into_bytes(),
                (None, Some(hex)) => unhex(hex)?,
                _ => return Err(At::new(offset, "`bytes` needs either `text` or `hex`")),
            };
            let until = bytes.until.clone().map(String::into_bytes);
            kinds.push(Request::Bytes(BytesRequest { send, limit: bytes.limit.min(BODY_LIMIT), until }));
        }
        if let Some(grpc) = &raw.grpc {
            if !grpc.path.starts_with('/') {
                return Err(At::new(offset, "gRPC path does not begin with `/`"));
            }
            kinds.push(Request::Grpc(GrpcRequest { path: grpc.path.clone(), message: unhex(&grpc.message)? }));
        }
        if let Some(codec) = &raw.codec {
            let name = codec.get_ref();
            if [Transport::Tcp, Transport::Udp].iter().all(|transport| codec::find(name, *transport).is_none()) {
                return Err(At::new(codec.span().start, format!("no codec is named `{name}`")));
            }
            kinds.push(Request::Codec(name.clone()));
        }
        let (Some(request), true) = (kinds.pop(), kinds.is_empty()) else {
            return Err(At::new(offset, "an exchange needs exactly one of `http`, `bytes`, `grpc`, `codec`"));
        };
        let own_class = class(raw.class.as_ref())?;
        self.exchanges.push(Exchange {
            name: raw.name.clone(),
            request: Arc::new(request),
            guarded: raw.guarded,
            class: own_class.max(class_of_all),
            when: Vec::new(),
        });
        Ok(())
    }

    fn rules(&mut self, raw: &[Spanned<RawRule>]) -> Result<Vec<Rule>, At> {
        raw.iter().map(|row| self.rule(row.get_ref(), row.span().start)).collect()
    }

    fn rule(&mut self, raw: &RawRule, offset: usize) -> Result<Rule, At> {
        let rule = Rule {
            all: self.conditions(&raw.all)?,
            any: self.conditions(&raw.any)?,
            none: self.conditions(&raw.none)?,
        };
        if rule.all.is_empty() && rule.any.is_empty() {
            return Err(At::new(offset, "a rule without `all` and `any` holds for everything"));
        }
        Ok(rule)
    }

    fn access_rule(&mut self, spanned: &Spanned<RawAccess>) -> Result<AccessRule, At> {
        let offset = spanned.span().start;
        let raw = spanned.get_ref();
        let rule = RawRule { all: raw.all.clone(), any: raw.any.clone(), none: raw.none.clone() };
        let rule = self.rule(&rule, offset)?;
        let guarded = |condition: &Condition| condition.of.is_some_and(|of| self.exchanges[of].guarded);
        let cites = rule.all.iter().any(guarded) || (!rule.any.is_empty() && rule.any.iter().all(guarded));
        if raw.is == Access::Unauthenticated && !cites {
            return Err(At::new(offset, "`unauthenticated` must rest on the answer to a `guarded` exchange"));
        }
        Ok(AccessRule { rule, access: raw.is, severity: raw.severity, summary: raw.summary.clone() })
    }

    fn detail_name(&self, spanned: &Spanned<RawExtract>) -> Result<String, At> {
        spanned.get_ref().name.clone().ok_or_else(|| At::new(spanned.span().start, "a detail needs a `name`"))
    }

    /// Position of an exchange by name; the two that are always there are added when first used.
    pub(super) fn position(&mut self, name: &Spanned<String>) -> Result<usize, At> {
        if let Some(position) = self.exchanges.iter().position(|exchange| exchange.name == *name.get_ref()) {
            return Ok(position);
        }
        let request = match name.get_ref().as_str() {
            ROOT => Request::root(),
            GREETING => Request::Greeting,
            other => return Err(At::new(name.span().start, format!("no exchange is named `{other}`"))),
        };
        self.exchanges.push(Exchange {
            name: name.get_ref().clone(),
            request: Arc::new(request),
            guarded: false,
            class: Class::Default,
            when: Vec::new(),
        });
        Ok(self.exchanges.len() - 1)
    }
}

const ROOT: &str = "root";
const GREETING: &str = "greeting";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
title = "Thing"
references = ["https://example.org/"]
ports = { tcp = [80, "8000-8100"] }
triage = {}

[[exchange]]
name = "secret"
guarded = true
http = { path = "/secret" }

[[identify]]
all = [{ of = "root", status = 200, json = "/thing", exists = true }]

[[access]]
is = "unauthenticated"
severity = "high"
summary = "open"
all = [{ of = "secret", status = [200, 204] }]
"#;

    fn error(from: &str, to: &str) -> DefinitionError {
        assert!(GOOD.contains(from), "{from}");
        definition("dir/thing.toml", &GOOD.replace(from, to)).unwrap_err()
    }

    #[test]
    fn reads_a_small_definition() {
        let definition = definition("dir/thing.toml", GOOD).unwrap();
        assert_eq!(definition.name, "thing");
        assert_eq!(definition.tcp_ports.to_string(), "80,8000-8100");
        assert_eq!(definition.layers, [Layer::Plain, Layer::Tls]);
        // `root` is always there, and was added behind the definition's own.
        let names: Vec<&str> = definition.exchanges.iter().map(|exchange| exchange.name.as_str()).collect();
        assert_eq!(names, ["secret", "root"]);
        assert_eq!(*definition.exchanges[1].request, Request::root());
        assert!(!definition.listens());
        assert!(definition.missing().contains(&"triage.bind".to_owned()));
    }

    #[test]
    fn errors_name_file_line_and_value() {
        let found = error(r#"of = "root", status"#, r#"of = "roof", status"#);
        assert_eq!((found.file.as_str(), found.line), ("dir/thing.toml", 13));
        assert!(found.problem.contains("roof") && found.value.contains("json"), "{found}");
        assert!(found.to_string().starts_with("dir/thing.toml:13: "), "{found}");
    }

    #[test]
    fn unknown_fields_are_refused_with_their_line() {
        let found = error("guarded = true", "gaurded = true");
        assert_eq!(found.line, 9);
        assert!(found.problem.contains("gaurded"), "{found}");
    }

    #[test]
    fn unauthenticated_rests_on_a_guarded_answer() {
        let found = error(r#"of = "secret", status"#, r#"of = "root", status"#);
        assert!(found.problem.contains("guarded"), "{found}");
        assert_eq!(found.line, 15);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (from, to, word) in [
            (r#"path = "/secret""#, r#"path = "secret""#, "begins with"),
            (r#"path = "/secret""#, r#"path = "/a b""#, "no spaces"),
            (r#"path = "/secret""#, r#"method = "DELETE", path = "/secret""#, "DELETE"),
            (r#"path = "/secret""#, r#"path = "/secret", body = "x""#, "POST"),
            (r#"http = { path = "/secret" }"#, r#"codec = "nope""#, "nope"),
            (r#"http = { path = "/secret" }"#, r#"bytes = { hex = "0" }"#, "hexadecimal"),
            (r#"http = { path = "/secret" }"#, r#"bytes = { text = "a", hex = "00" }"#, "either"),
            (r#"http = { path = "/secret" }"#, "", "exactly one"),
            (r#"name = "secret""#, r#"name = "greeting""#, "reserved"),
            ("exists = true", "", "without a test"),
            ("exists = true", r#"exists = true, prefix = "a""#, "one test"),
            (r#"json = "/thing""#, r#"json = "thing""#, "begins with"),
            (r#"json = "/thing", exists = true"#, r#"tls = "names", exists = true"#, "no `of`"),
            (r#"json = "/thing", exists = true"#, r#"is = "array""#, "json"),
            (r#"json = "/thing", exists = true"#, r#"json = "/thing", is = "arrow""#, "JSON kind"),
            ("ports = { tcp = [80, \"8000-8100\"] }", "ports = {}", "ports.tcp"),
            ("ports = { tcp = [80, \"8000-8100\"] }", "ports = { tcp = [\"9-8\"] }", "9-8"),
            (r#"severity = "high""#, r#"severity = "huge""#, "huge"),
            (r#"all = [{ of = "secret", status = [200, 204] }]"#, "", "holds for everything"),
        ] {
            let found = error(from, to);
            assert!(found.problem.contains(word), "{to}: {found}");
        }
        assert!(definition("Thing.toml", GOOD).is_err());
        assert!(definition("unknown.toml", GOOD).is_err());
        assert!(definition("thing.toml", "").is_err());
        assert!(definition("thing.toml", "\u{0}").is_err());
    }
}
