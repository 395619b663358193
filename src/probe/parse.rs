//! TOML text into a checked [`Definition`]. Errors name file, line and value.

use std::sync::Arc;

use toml::Spanned;

use super::answer::{Answer, Outcome};
use super::codec;
use super::definition::*;
use super::parse_raw::*;
use crate::model::{Access, PortRanges, TlsFacts, Transport};

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

/// A problem at a byte of the text.
struct At {
    offset: usize,
    problem: String,
}

impl At {
    fn new(offset: usize, problem: impl Into<String>) -> Self {
        Self { offset, problem: problem.into() }
    }
}

struct Checker {
    exchanges: Vec<Exchange>,
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

    fn conditions(&mut self, raw: &[Spanned<RawCondition>]) -> Result<Vec<Condition>, At> {
        raw.iter().map(|row| self.condition(row.get_ref(), row.span().start)).collect()
    }

    fn condition(&mut self, raw: &RawCondition, offset: usize) -> Result<Condition, At> {
        let mut tests = Vec::new();
        if let Some(exists) = raw.exists {
            tests.push(Test::Exists(exists));
        }
        if let Some(texts) = &raw.equals {
            tests.push(Test::Equals(texts.bytes()));
        }
        if let Some(texts) = &raw.prefix {
            tests.push(Test::Prefix(texts.bytes()));
        }
        if let Some(hex) = &raw.prefix_hex {
            tests.push(Test::Prefix(vec![unhex(hex)?]));
        }
        if let Some(texts) = &raw.suffix {
            tests.push(Test::Suffix(texts.bytes()));
        }
        if let Some(texts) = &raw.contains {
            tests.push(Test::Contains(texts.bytes()));
        }
        if let Some(kind) = &raw.is {
            let found = JsonKind::ALL.iter().find(|(_, name)| name == kind.get_ref());
            let kind = found.ok_or_else(|| At::new(kind.span().start, "unknown JSON kind"))?;
            tests.push(Test::Is(kind.0));
        }
        let mut subjects = self.subjects(&raw.subject())?;
        if let Some(outcome) = &raw.outcome {
            subjects.push(Subject::Outcome);
            tests.push(Test::Equals(outcome.bytes()));
        }
        if let Some(layer) = &raw.layer {
            subjects.push(Subject::Layer);
            tests.push(Test::Equals(layer.bytes()));
        }
        if subjects.len() > 1 || tests.len() > 1 {
            return Err(At::new(offset, "a condition looks at one thing with one test (besides `status`)"));
        }
        let test = match (subjects.pop(), tests.pop()) {
            (None, None) => None,
            (None, Some(test)) => Some((Subject::Body, test)),
            (Some(subject), Some(test)) => Some((subject, test)),
            (Some(_), None) => return Err(At::new(offset, "a condition without a test")),
        };
        if matches!(test, Some((ref subject, Test::Is(_))) if !matches!(subject, Subject::Json(_))) {
            return Err(At::new(offset, "`is` tests `json` only"));
        }
        let of_endpoint = matches!(test, Some((Subject::Tls(_) | Subject::Layer, _)));
        let of = match (&raw.of, of_endpoint) {
            (Some(name), false) => Some(self.position(name)?),
            (None, true) => None,
            (Some(name), true) => return Err(At::new(name.span().start, "`tls` and `layer` take no `of`")),
            (None, false) => return Err(At::new(offset, "a condition needs `of`, the name of an exchange")),
        };
        Ok(Condition { of, status: raw.status.as_ref().map(OneOrMany::list).unwrap_or_default(), test })
    }

    fn subjects(&self, raw: &RawSubject<'_>) -> Result<Vec<Subject>, At> {
        let mut subjects = Vec::new();
        if let Some(name) = raw.header {
            subjects.push(Subject::Header(name.to_ascii_lowercase()));
        }
        if let Some(pointer) = raw.json {
            if !pointer.get_ref().is_empty() && !pointer.get_ref().starts_with('/') {
                return Err(At::new(pointer.span().start, "a JSON pointer begins with `/`"));
            }
            subjects.push(Subject::Json(pointer.get_ref().clone()));
        }
        if let Some(name) = raw.fact {
            subjects.push(Subject::Fact(name.clone()));
        }
        if let Some(field) = raw.tls {
            let found = TlsField::ALL.iter().find(|(_, name)| name == field.get_ref());
            let (field, _) = found.ok_or_else(|| At::new(field.span().start, "unknown TLS fact"))?;
            subjects.push(Subject::Tls(*field));
        }
        Ok(subjects)
    }

    fn extract(&mut self, spanned: &Spanned<RawExtract>) -> Result<Extract, At> {
        let offset = spanned.span().start;
        let raw = spanned.get_ref();
        let subject = RawSubject {
            header: raw.header.as_ref(),
            json: raw.json.as_ref(),
            fact: raw.fact.as_ref(),
            tls: raw.tls.as_ref(),
        };
        let mut subjects = self.subjects(&subject)?;
        if subjects.len() > 1 {
            return Err(At::new(offset, "a source looks at one thing"));
        }
        let subject = subjects.pop().unwrap_or(Subject::Body);
        if subject == Subject::Body && raw.after.is_none() {
            // A whole body is never a short fact.
            return Err(At::new(offset, "text of a body needs `after`"));
        }
        let of = match (&raw.of, &subject) {
            (None, Subject::Tls(_)) => None,
            (Some(name), _) => Some(self.position(name)?),
            (None, _) => return Err(At::new(offset, "a source needs `of`, the name of an exchange")),
        };
        Ok(Extract { of, subject, after: raw.after.clone(), before: raw.before.clone() })
    }

    fn detail_name(&self, spanned: &Spanned<RawExtract>) -> Result<String, At> {
        spanned.get_ref().name.clone().ok_or_else(|| At::new(spanned.span().start, "a detail needs a `name`"))
    }

    /// Position of an exchange by name; the two that are always there are added when first used.
    fn position(&mut self, name: &Spanned<String>) -> Result<usize, At> {
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

    fn example(&mut self, spanned: &Spanned<RawExample>, shape: Shape) -> Result<Example, At> {
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

/// Default ports of the examples.
#[derive(Clone, Copy)]
struct Shape {
    tcp_port: Option<u16>,
    udp_port: Option<u16>,
}

fn http_request(raw: &RawHttp) -> Result<HttpRequest, At> {
    let offset = raw.path.span().start;
    let path = raw.path.get_ref();
    if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        return Err(At::new(offset, "an HTTP path begins with `/` and has no spaces"));
    }
    let method = raw.method.as_deref().unwrap_or("GET");
    if !["GET", "HEAD", "POST", "OPTIONS"].contains(&method) {
        return Err(At::new(offset, format!("HTTP method `{method}` is not for reading")));
    }
    if method != "POST" && !raw.body.is_empty() {
        return Err(At::new(offset, "only POST has a body"));
    }
    let redirects = match raw.redirects.as_deref() {
        None => Redirects::Refused,
        Some("same-origin") => Redirects::SameOrigin,
        Some(other) => return Err(At::new(offset, format!("redirects `{other}` is not `same-origin`"))),
    };
    Ok(HttpRequest {
        method: method.to_owned(),
        path: path.clone(),
        headers: raw.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
        body: raw.body.clone(),
        limit: raw.limit.unwrap_or(BODY_LIMIT).min(BODY_LIMIT),
        find: raw.find.clone(),
        redirects,
    })
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

fn ports(raw: &[Spanned<RawPort>]) -> Result<PortRanges, At> {
    let mut ranges = PortRanges::default();
    for port in raw {
        let text = match port.get_ref() {
            RawPort::Number(number) => number.to_string(),
            RawPort::Range(text) => text.clone(),
        };
        let parsed: PortRanges = text.parse().map_err(|error| At::new(port.span().start, format!("{error}")))?;
        ranges = ranges.union(&parsed);
    }
    Ok(ranges)
}

fn layers(raw: Option<&Spanned<Vec<String>>>) -> Result<Vec<Layer>, At> {
    let Some(raw) = raw else {
        return Ok(vec![Layer::Plain, Layer::Tls]);
    };
    let one = |word: &String| match word.as_str() {
        "plain" => Ok(Layer::Plain),
        "tls" => Ok(Layer::Tls),
        _ => Err(At::new(raw.span().start, format!("layer `{word}` is neither `plain` nor `tls`"))),
    };
    raw.get_ref().iter().map(one).collect()
}

fn class(raw: Option<&Spanned<String>>) -> Result<Class, At> {
    match raw.map(|word| (word.get_ref().as_str(), word.span().start)) {
        None | Some(("default", _)) => Ok(Class::Default),
        Some(("opt-in", _)) => Ok(Class::OptIn),
        Some((word, offset)) => Err(At::new(offset, format!("class `{word}` is neither `default` nor `opt-in`"))),
    }
}

fn unhex(text: &Spanned<String>) -> Result<Vec<u8>, At> {
    let error = || At::new(text.span().start, "not an even number of hexadecimal digits");
    let digits: Vec<u32> = text
        .get_ref()
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or_else(error))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(error());
    }
    // Two digits below 16 make a byte.
    Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
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
