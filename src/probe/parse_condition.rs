//! Conditions of a definition's rules, and what is taken out of answers.

use toml::Spanned;

use super::condition::*;
use super::definition::*;
use super::parse::Checker;
use super::parse_raw::*;
use super::parse_value::{At, unhex};

impl Checker {
    pub(super) fn conditions(&mut self, raw: &[Spanned<RawCondition>]) -> Result<Vec<Condition>, At> {
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

    pub(super) fn extract(&mut self, spanned: &Spanned<RawExtract>) -> Result<Extract, At> {
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
}
