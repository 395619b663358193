//! Conditions against answers, in three values: holds, fails, or not known before a certain exchange is asked.
//!
//! The decision table drives the requests: whoever evaluates a rule learns which exchange it needs next, so nothing
//! is sent that no rule waits for.

use std::borrow::Cow;

use super::answer::{Answer, ClientCertificate, Handshake};
use super::condition::{Condition, JsonKind, Rule, Subject, Test, TlsField};
use super::definition::{Extract, Layer};
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
            Some((subject, test)) => truth(holds(test, &endpoint_values(subject, view))),
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
        return truth(holds(test, &answer_values(&Subject::Outcome, answer)));
    }
    if !answer.answered() {
        return Truth::False;
    }
    if !condition.status.is_empty() && !answer.status.is_some_and(|status| condition.status.contains(&status)) {
        return Truth::False;
    }
    match &condition.test {
        None => Truth::True,
        Some((subject, test)) => truth(holds(test, &answer_values(subject, answer))),
    }
}

/// The condition with, of its alternatives, only the first that fits: what the evidence cites.
pub fn fitting(found: &Condition, view: &impl View) -> Condition {
    let Some((subject, test)) = &found.test else {
        return found.clone();
    };
    let texts = match test {
        Test::Equals(texts) | Test::Prefix(texts) | Test::Suffix(texts) | Test::Contains(texts) => texts,
        Test::Exists(_) | Test::Is(_) => return found.clone(),
    };
    let single = |text: &Vec<u8>| {
        let text = vec![text.clone()];
        let test = match test {
            Test::Prefix(_) => Test::Prefix(text),
            Test::Suffix(_) => Test::Suffix(text),
            Test::Contains(_) => Test::Contains(text),
            Test::Equals(_) | Test::Exists(_) | Test::Is(_) => Test::Equals(text),
        };
        Condition { test: Some((subject.clone(), test)), ..found.clone() }
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
    let cut = |value: Cow<'_, [u8]>| {
        let value = String::from_utf8_lossy(&value);
        let rest = match &extract.after {
            Some(after) => value.split_once(after.as_str())?.1,
            None => &*value,
        };
        let found = match &extract.before {
            Some(before) => rest.split_once(before.as_str())?.0,
            None => rest,
        };
        let found = text::clean(found.trim());
        (!found.is_empty()).then_some(found)
    };
    values.texts.into_iter().find_map(cut).map_or(Extracted::Nothing, Extracted::Text)
}

/// Values of a subject: none when it is absent.
struct Values<'a> {
    texts: Vec<Cow<'a, [u8]>>,
    kind: Option<(JsonKind, bool)>,
}

impl<'a> Values<'a> {
    fn none() -> Self {
        Self::texts([])
    }

    fn texts(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { texts: texts.into_iter().map(Cow::Borrowed).collect(), kind: None }
    }

    fn made(text: String) -> Self {
        Self { texts: vec![Cow::Owned(text.into_bytes())], kind: None }
    }

    fn optional(text: Option<&'a String>) -> Self {
        Self::texts(text.map(String::as_bytes))
    }
}

fn truth(holds: bool) -> Truth {
    if holds { Truth::True } else { Truth::False }
}

fn holds(test: &Test, values: &Values<'_>) -> bool {
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

fn answer_values<'a>(subject: &Subject, answer: &'a Answer) -> Values<'a> {
    match subject {
        Subject::Header(name) => {
            Values::texts(answer.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_bytes()))
        }
        Subject::Json(pointer) => answer.json().and_then(|json| json.pointer(pointer)).map_or_else(Values::none, json),
        Subject::Body => Values::texts([answer.body.as_slice()]),
        Subject::Fact(name) => Values::optional(answer.facts.get(name)),
        Subject::Outcome => Values::made(answer.outcome.to_string()),
        Subject::Tls(_) | Subject::Layer => Values::none(),
    }
}

fn json(value: &serde_json::Value) -> Values<'_> {
    use serde_json::Value;
    let (kind, filled) = match value {
        Value::Null => (JsonKind::Null, false),
        Value::Bool(_) => (JsonKind::Bool, false),
        Value::Number(_) => (JsonKind::Number, false),
        Value::String(text) => (JsonKind::String, !text.is_empty()),
        Value::Array(items) => (JsonKind::Array, !items.is_empty()),
        Value::Object(items) => (JsonKind::Object, !items.is_empty()),
    };
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_bytes()),
        other => Cow::Owned(other.to_string().into_bytes()),
    };
    Values { texts: vec![text], kind: Some((kind, filled)) }
}

fn endpoint_values<'a>(subject: &Subject, view: &'a impl View) -> Values<'a> {
    let field = match subject {
        Subject::Layer => return Values::texts([view.layer().as_str().as_bytes()]),
        Subject::Tls(field) => field,
        _ => return Values::none(),
    };
    let Some(handshake) = view.handshake() else {
        return Values::none();
    };
    let facts = &handshake.facts;
    match field {
        TlsField::Subject => Values::optional(facts.subject.as_ref()),
        TlsField::Issuer => Values::optional(facts.issuer.as_ref()),
        TlsField::Names => Values::texts(facts.names.iter().map(String::as_bytes)),
        TlsField::Authorities => Values::texts(facts.client_certificate_authorities.iter().map(String::as_bytes)),
        TlsField::Alpn => Values::optional(facts.alpn.as_ref()),
        TlsField::Protocol => Values::optional(facts.protocol.as_ref()),
        TlsField::ClientCertificate => Values::texts([view.client_certificate().as_str().as_bytes()]),
        TlsField::Alert => handshake.alert.map_or_else(Values::none, |alert| Values::made(alert.to_string())),
        TlsField::SelfSigned => Values::made(facts.self_signed.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::answer::Outcome;
    use crate::probe::definition::Definition;

    /// Exchange 0 is answered by the body; exchange 1 is open, 2 never asked, 3 waits for 1.
    struct Fixed(Answer);

    impl View for Fixed {
        fn exchange(&self, position: usize) -> Lookup<'_> {
            match position {
                0 => Lookup::Answer(&self.0),
                1 => Lookup::Open,
                2 => Lookup::Never,
                _ => Lookup::Waits(1),
            }
        }

        fn layer(&self) -> Layer {
            Layer::Plain
        }

        fn handshake(&self) -> Option<&Handshake> {
            None
        }

        fn client_certificate(&self) -> ClientCertificate {
            ClientCertificate::NotRequested
        }
    }

    fn body(of: usize, text: &str) -> Condition {
        let test = Some((Subject::Body, Test::Contains(vec![text.as_bytes().to_vec()])));
        Condition { of: Some(of), status: Vec::new(), test }
    }

    fn view() -> Fixed {
        Fixed(Answer::http(200, vec![("a".into(), "1".into()), ("a".into(), "2".into())], b"{\"x\":[]} ok".to_vec()))
    }

    #[test]
    fn conditions_come_in_three_values() {
        let view = view();
        let truths = |of| condition(&body(of, "ok"), &view);
        assert_eq!(
            [truths(0), truths(1), truths(2), truths(3)],
            [Truth::True, Truth::Pending(1), Truth::False, Truth::Pending(1)]
        );
        assert_eq!(condition(&body(0, "no"), &view), Truth::False);
    }

    #[test]
    fn rules_ask_no_more_than_they_need() {
        let view = view();
        let of = |all: &[usize], any: &[usize], none: &[usize]| {
            let list = |positions: &[usize]| positions.iter().map(|of| body(*of, "ok")).collect();
            rule(&Rule { all: list(all), any: list(any), none: list(none) }, &view)
        };
        // A condition that fails before an open one ends it; an alternative that holds behind one decides.
        assert_eq!(of(&[2, 1], &[], &[]), Truth::False);
        assert_eq!(of(&[0, 1], &[], &[]), Truth::Pending(1));
        assert_eq!(of(&[], &[1, 0], &[]), Truth::True);
        assert_eq!(of(&[], &[2, 1], &[]), Truth::Pending(1));
        assert_eq!(of(&[0], &[], &[2]), Truth::True);
        assert_eq!(of(&[0], &[], &[0]), Truth::False);
        assert_eq!(of(&[0], &[], &[1]), Truth::Pending(1));
    }

    #[test]
    fn what_failed_fulfils_only_conditions_on_the_outcome() {
        let view = Fixed(Answer::failed(Outcome::Closed));
        let absent = Condition {
            of: Some(0),
            status: Vec::new(),
            test: Some((Subject::Header("x".to_owned()), Test::Exists(false))),
        };
        let closed =
            Condition { test: Some((Subject::Outcome, Test::Equals(vec![b"closed".to_vec()]))), ..absent.clone() };
        assert_eq!(condition(&absent, &view), Truth::False);
        assert_eq!(condition(&closed, &view), Truth::True);
    }

    #[test]
    fn headers_may_come_twice_and_json_has_kinds() {
        let view = view();
        let test = |subject: Subject, test: Test| {
            condition(&Condition { of: Some(0), status: vec![200, 201], test: Some((subject, test)) }, &view)
        };
        assert_eq!(test(Subject::Header("a".to_owned()), Test::Equals(vec![b"2".to_vec()])), Truth::True);
        assert_eq!(test(Subject::Json("/x".to_owned()), Test::Is(JsonKind::Array)), Truth::True);
        assert_eq!(test(Subject::Json("/x".to_owned()), Test::Is(JsonKind::NonEmpty)), Truth::False);
        assert_eq!(test(Subject::Json("/y".to_owned()), Test::Exists(false)), Truth::True);
    }

    #[test]
    fn sources_cut_and_clean_and_skip_what_does_not_fit() {
        let source = |after: &str, before: &str| Extract {
            of: Some(0),
            subject: Subject::Body,
            after: Some(after.to_owned()),
            before: Some(before.to_owned()),
        };
        let view = Fixed(Answer::bytes(b"version=1.\x1b2; end".to_vec()));
        assert_eq!(extract(&source("version=", ";"), &view), Extracted::Text("1.\\u{1b}2".to_owned()));
        assert_eq!(extract(&source("missing=", ";"), &view), Extracted::Nothing);
        assert_eq!(extract(&source("version=", "|"), &view), Extracted::Nothing);
        assert_eq!(extract(&Extract { of: Some(1), ..source("a", "b") }, &view), Extracted::Pending(1));
    }

    #[test]
    fn the_evidence_names_the_alternative_that_fits() {
        let both = Condition {
            test: Some((Subject::Body, Test::Contains(vec![b"nope".to_vec(), b"ok".to_vec()]))),
            ..body(0, "")
        };
        assert_eq!(fitting(&both, &view()).to_string(), "body contains `ok`");
    }

    #[test]
    fn no_marker_repeats_what_the_peer_sent() {
        // Markers are made of the definition's words: evaluating one against an answer must not bring in the answer.
        let definition = Definition::parse("etcd.toml", include_str!("../../probes/etcd.toml")).unwrap();
        let secret = Fixed(Answer::bytes(b"s3cret".to_vec()));
        for row in &definition.access {
            for one in row.rule.conditions() {
                let one = Condition { of: one.of.map(|_| 0), ..one.clone() };
                assert!(!fitting(&one, &secret).to_string().contains("s3cret"));
            }
        }
    }
}
