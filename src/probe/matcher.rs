//! Conditions against answers, in three values: holds, fails, or not known before a certain exchange is asked.
//!
//! The decision table drives the requests: whoever evaluates a rule learns which exchange it needs next, so nothing
//! is sent that no rule waits for.

use super::answer::{Answer, ClientCertificate, Handshake};
use super::definition::{Condition, Extract, JsonKind, Layer, Rule, Subject, Test, TlsField};
use super::text;

/// What is known about one exchange of a definition.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    Answer(&'a Answer),
    /// May be asked.
    Open,
    /// Another exchange decides whether it may be asked.
    Waits(usize),
    /// Will not be asked here.
    Never,
}

/// The endpoint as one definition sees it.
pub trait View {
    fn exchange(&self, position: usize) -> Lookup<'_>;
    fn layer(&self) -> Layer;
    fn handshake(&self) -> Option<&Handshake>;
    fn client_certificate(&self) -> ClientCertificate;
}

/// Three-valued truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// Decided by the answer to this exchange.
    Pending(usize),
}

/// Evaluates a rule; conditions are looked at in the order written, and no further than needed.
pub fn rule(rule: &Rule, view: &impl View) -> Truth {
    let all = all(&rule.all, view);
    if all != Truth::True {
        return all;
    }
    for one in &rule.none {
        match condition(one, view) {
            Truth::True => return Truth::False,
            Truth::False => {}
            pending @ Truth::Pending(_) => return pending,
        }
    }
    if rule.any.is_empty() {
        return Truth::True;
    }
    let mut result = Truth::False;
    for one in &rule.any {
        match (condition(one, view), result) {
            (Truth::True, _) => return Truth::True,
            // A later alternative may hold already; only else is the first open one asked.
            (pending @ Truth::Pending(_), Truth::False) => result = pending,
            _ => {}
        }
    }
    result
}

/// Evaluates a conjunction.
pub fn all(conditions: &[Condition], view: &impl View) -> Truth {
    for one in conditions {
        let truth = condition(one, view);
        if truth != Truth::True {
            return truth;
        }
    }
    Truth::True
}

/// Evaluates one condition. What was never asked, or not answered, fulfils only conditions on the outcome.
pub fn condition(condition: &Condition, view: &impl View) -> Truth {
    let Some(position) = condition.of else {
        return match &condition.test {
            Some((subject, test)) => truth(holds(test, endpoint_values(subject, view))),
            None => Truth::False,
        };
    };
    let answer = match view.exchange(position) {
        Lookup::Answer(answer) => answer,
        Lookup::Open => return Truth::Pending(position),
        Lookup::Waits(other) => return Truth::Pending(other),
        Lookup::Never => return Truth::False,
    };
    if let Some((Subject::Outcome, test)) = &condition.test {
        return truth(holds(test, Values::texts([answer.outcome.to_string().into_bytes()])));
    }
    if !answer.answered() {
        return Truth::False;
    }
    if !condition.status.is_empty() && !answer.status.is_some_and(|status| condition.status.contains(&status)) {
        return Truth::False;
    }
    match &condition.test {
        None => Truth::True,
        Some((subject, test)) => truth(holds(test, answer_values(subject, answer))),
    }
}

/// The condition with, of its alternatives, only the first that fits: what the evidence cites.
pub fn fitting(found: &Condition, view: &impl View) -> Condition {
    let Some((subject, test)) = &found.test else {
        return found.clone();
    };
    type Rebuild = fn(Vec<Vec<u8>>) -> Test;
    let (texts, rebuild): (_, Rebuild) = match test {
        Test::Equals(texts) => (texts, Test::Equals),
        Test::Prefix(texts) => (texts, Test::Prefix),
        Test::Suffix(texts) => (texts, Test::Suffix),
        Test::Contains(texts) => (texts, Test::Contains),
        Test::Exists(_) | Test::Is(_) => return found.clone(),
    };
    let single = |text: &Vec<u8>| {
        let test = Some((subject.clone(), rebuild(vec![text.clone()])));
        Condition { test, ..found.clone() }
    };
    let fits = |one: &Condition| condition(one, view) == Truth::True;
    texts.iter().map(single).find(fits).unwrap_or_else(|| found.clone())
}

/// What a source yields: the text, nothing, or the exchange to ask first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extracted {
    Text(String),
    Nothing,
    Pending(usize),
}

/// Takes the text; cleaned, and cut to a short one.
pub fn extract(extract: &Extract, view: &impl View) -> Extracted {
    let values = match extract.of {
        None => endpoint_values(&extract.subject, view),
        Some(position) => match view.exchange(position) {
            Lookup::Answer(answer) if answer.answered() => answer_values(&extract.subject, answer),
            Lookup::Answer(_) | Lookup::Never => return Extracted::Nothing,
            Lookup::Open => return Extracted::Pending(position),
            Lookup::Waits(other) => return Extracted::Pending(other),
        },
    };
    let cut = |value: Vec<u8>| {
        let value = String::from_utf8_lossy(&value).into_owned();
        let rest = match &extract.after {
            Some(after) => value.split_once(after.as_str())?.1,
            None => &value,
        };
        let found = match &extract.before {
            Some(before) => rest.split_once(before.as_str())?.0,
            None => rest,
        };
        let found = match extract.subject {
            // Bounded by the codec, and often a list.
            Subject::Fact(_) => text::clean_list(found.trim()),
            _ => text::clean(found.trim()),
        };
        (!found.is_empty()).then_some(found)
    };
    values.texts.into_iter().find_map(cut).map_or(Extracted::Nothing, Extracted::Text)
}

/// Values of a subject: none when it is absent.
struct Values {
    texts: Vec<Vec<u8>>,
    kind: Option<(JsonKind, bool)>,
}

impl Values {
    fn none() -> Self {
        Self { texts: Vec::new(), kind: None }
    }

    fn texts(texts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { texts: texts.into_iter().collect(), kind: None }
    }

    fn optional(text: Option<&String>) -> Self {
        Self::texts(text.map(|text| text.clone().into_bytes()))
    }
}

fn truth(holds: bool) -> Truth {
    if holds { Truth::True } else { Truth::False }
}

fn holds(test: &Test, values: Values) -> bool {
    let some = |texts: &[Vec<u8>], fits: fn(&[u8], &[u8]) -> bool| {
        values.texts.iter().any(|value| texts.iter().any(|text| fits(value, text)))
    };
    match test {
        Test::Exists(wanted) => values.texts.is_empty() != *wanted,
        Test::Equals(texts) => some(texts, |value, text| value == text),
        Test::Prefix(texts) => some(texts, |value, text| value.starts_with(text)),
        Test::Suffix(texts) => some(texts, |value, text| value.ends_with(text)),
        Test::Contains(texts) => some(texts, text::contains),
        Test::Is(JsonKind::NonEmpty) => values.kind.is_some_and(|(_, filled)| filled),
        Test::Is(kind) => values.kind.is_some_and(|(found, _)| found == *kind),
    }
}

fn answer_values(subject: &Subject, answer: &Answer) -> Values {
    match subject {
        Subject::Header(name) => Values::texts(
            answer.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone().into_bytes()),
        ),
        Subject::Json(pointer) => answer.json().and_then(|json| json.pointer(pointer)).map_or_else(Values::none, json),
        Subject::Body => Values::texts([answer.body.clone()]),
        Subject::Fact(name) => Values::optional(answer.facts.get(name)),
        Subject::Outcome => Values::texts([answer.outcome.to_string().into_bytes()]),
        Subject::Tls(_) | Subject::Layer => Values::none(),
    }
}

fn json(value: &serde_json::Value) -> Values {
    use serde_json::Value;
    let (text, kind, filled) = match value {
        Value::Null => ("null".to_owned(), JsonKind::Null, false),
        Value::Bool(value) => (value.to_string(), JsonKind::Bool, false),
        Value::Number(value) => (value.to_string(), JsonKind::Number, false),
        Value::String(value) => (value.clone(), JsonKind::String, !value.is_empty()),
        Value::Array(items) => (value.to_string(), JsonKind::Array, !items.is_empty()),
        Value::Object(items) => (value.to_string(), JsonKind::Object, !items.is_empty()),
    };
    Values { texts: vec![text.into_bytes()], kind: Some((kind, filled)) }
}

fn endpoint_values(subject: &Subject, view: &impl View) -> Values {
    let field = match subject {
        Subject::Layer => return Values::texts([view.layer().as_str().as_bytes().to_vec()]),
        Subject::Tls(field) => field,
        _ => return Values::none(),
    };
    let Some(handshake) = view.handshake() else {
        return Values::none();
    };
    let facts = &handshake.facts;
    let list = |names: &[String]| Values::texts(names.iter().map(|name| name.clone().into_bytes()));
    match field {
        TlsField::Subject => Values::optional(facts.subject.as_ref()),
        TlsField::Issuer => Values::optional(facts.issuer.as_ref()),
        TlsField::Names => list(&facts.names),
        TlsField::Authorities => list(&facts.client_certificate_authorities),
        TlsField::Alpn => Values::optional(facts.alpn.as_ref()),
        TlsField::Protocol => Values::optional(facts.protocol.as_ref()),
        TlsField::ClientCertificate => Values::texts([view.client_certificate().as_str().as_bytes().to_vec()]),
        TlsField::Alert => Values::texts(handshake.alert.map(|alert| alert.to_string().into_bytes())),
        TlsField::SelfSigned => Values::texts([facts.self_signed.to_string().into_bytes()]),
    }
}
