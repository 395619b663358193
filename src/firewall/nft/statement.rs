//! What a rule does, statement by statement.

use std::collections::BTreeSet;

use super::expression::{self, Known};
use super::json::Value;
use super::kind::Kind;
use super::{nat, render, sets, value};
use crate::firewall::ruleset::{Datum, Expression, Family, Field, Match, Operator, Pattern, Statement};

/// Reads the statements of one rule.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) family: Family,
    pub(super) known: Known,
    pub(super) statements: Vec<Statement>,
    pub(super) counter: Option<(u64, u64)>,
    /// Sets of the table that rules fill: found while reading.
    pub(super) filled: &'a mut BTreeSet<String>,
    /// Chains of the table that rules lead to.
    pub(super) targets: &'a mut BTreeSet<String>,
}

/// What a statement should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Reader<'_> {
    pub(super) fn read(&mut self, value: &Value) -> Result<(), Malformed> {
        // What nft 1.0.6 has no JSON for it prints as text: `jump { ... }` with an anonymous chain.
        if value.is_string() {
            self.add(Statement::Unknown(render::statement(value)));
            return Ok(());
        }
        let object = value.as_object().ok_or(Malformed("a statement is an object"))?;
        let Some((name, body)) = object.only() else {
            self.add(Statement::Unknown(render::statement(value)));
            return Ok(());
        };
        let statement = match name {
            "match" => return self.comparison(body),
            "accept" => Statement::Accept,
            "drop" => Statement::Drop,
            "return" => Statement::Return,
            "continue" => Statement::Continue,
            "jump" => Statement::Jump(self.target(body)?),
            "goto" => Statement::Goto(self.target(body)?),
            "vmap" => self.verdict_map(body)?,
            "counter" => {
                let number = |key| body.get(key).and_then(Value::as_u64);
                match (number("packets"), number("bytes")) {
                    (Some(packets), Some(bytes)) if self.counter.is_none() => {
                        self.counter = Some((packets, bytes));
                        return Ok(());
                    }
                    // By name, or a second one. Without numbers: `nft --stateless`.
                    _ if body.is_string() || body.get("map").is_some() => Statement::Passive(render::statement(value)),
                    _ => Statement::Passive("counter".to_owned()),
                }
            }
            "log" | "last" | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "reset" => {
                Statement::Passive(render::statement(value))
            }
            "limit" | "quota" | "ct count" | "connlimit" | "flow" => Statement::Perhaps(render::statement(value)),
            "set" | "map" | "meter" => self.update(name, body, value),
            "mangle" => self.mangle(body, value)?,
            "notrack" => Statement::NoTrack,
            "reject" => {
                // nft checks these itself, and leaves them out of its listing.
                match body.get("type").and_then(Value::as_str) {
                    Some("icmp") => self.guard("ip"),
                    Some("icmpv6") => self.guard("ip6"),
                    Some("tcp reset") => self.guard("tcp"),
                    _ => {}
                }
                nat::reject(self.family, body).unwrap_or_else(|| Statement::Unknown(render::statement(value)))
            }
            "dnat" | "snat" | "redirect" | "masquerade" | "tproxy" => {
                // nft_nat.c and nft_tproxy.c leave packets of the other family alone.
                if let (Family::Inet, Some(family)) = (self.family, body.get("family").and_then(Value::as_str)) {
                    self.guard(family);
                }
                nat::translation(self.family, self.known, name, body)
                    .unwrap_or_else(|| Statement::Unknown(render::statement(value)))
            }
            // queue, synproxy, dup, fwd, xt and what comes after this version.
            _ => Statement::Unknown(render::statement(value)),
        };
        self.add(statement);
        Ok(())
    }

    fn add(&mut self, statement: Statement) {
        self.statements.push(statement);
    }

    fn target(&mut self, body: &Value) -> Result<String, Malformed> {
        let target = body.get("target").and_then(Value::as_str).ok_or(Malformed("a jump has a target"))?;
        if !self.targets.contains(target) {
            self.targets.insert(target.to_owned());
        }
        Ok(target.to_owned())
    }

    fn comparison(&mut self, body: &Value) -> Result<(), Malformed> {
        const SHAPE: Malformed = Malformed("a match has op, left and right");
        let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else { return Err(SHAPE) };
        let sign = match body.get("op") {
            Some(Value::String(sign)) => sign.as_ref(),
            // The first versions of the JSON left it out for `==`.
            None => "==",
            Some(_) => return Err(SHAPE),
        };
        self.guard_for(left);
        if let (Some(header), "==" | "!=") = (left.get("exthdr"), sign) {
            // The packets that are asked about are plain ones: no extension header is in them.
            let asks_for_absence = header.get("field").is_none()
                && matches!((sign, right), ("==", Value::Bool(false)) | ("!=", Value::Bool(true)));
            self.add(if asks_for_absence { Statement::NoneOf(Vec::new()) } else { Statement::AnyOf(Vec::new()) });
            return Ok(());
        }
        let expression = expression::read(self.known, &[Kind::Unknown], left);
        let found = compare(expression, sign, right);
        self.matched(found.unwrap_or_else(|| Match {
            left: Expression::Unknown(render::comparison(body)),
            operator: Operator::Equal,
            // Both sides may be plain: what nobody knows is the operator between them.
            right: Pattern::Unknown(format!("what `{sign}` compares")),
        }));
        Ok(())
    }

    /// Packets without the headers that this expression needs leave the rule here.
    fn guard_for(&mut self, value: &Value) {
        let mut needed = Vec::new();
        expression::needs(value, &mut needed);
        for protocol in needed {
            self.guard(protocol);
        }
    }

    fn guard(&mut self, protocol: &str) {
        if let Some(guard) = expression::guard(self.family, self.known, protocol) {
            self.matched(guard);
        }
    }

    fn matched(&mut self, found: Match) {
        self.known.learn(&found);
        self.add(Statement::Match(found));
    }

    fn verdict_map(&mut self, body: &Value) -> Result<Statement, Malformed> {
        const SHAPE: Malformed = Malformed("a verdict map has key and data");
        let (key, data) = body.get("key").zip(body.get("data")).ok_or(SHAPE)?;
        self.guard_for(key);
        let expression = expression::read(self.known, &[Kind::Unknown], key);
        let map = sets::reference(&Kind::of_parts(&expression), &[], data).ok_or(SHAPE)?;
        for element in data.get("set").and_then(Value::as_array).into_iter().flatten() {
            let verdict = element.at(1).and_then(|verdict| verdict.get("jump").or_else(|| verdict.get("goto")));
            if let Some(verdict) = verdict {
                self.target(verdict)?;
            }
        }
        Ok(Statement::VerdictMap { key: expression, map })
    }

    /// `add @set { KEY }`: the rule goes on when the element could be added and what is said of it passes.
    fn update(&mut self, name: &str, body: &Value, value: &Value) -> Statement {
        if let Some(set) = body.get(name).and_then(Value::as_str) {
            self.filled.insert(set.trim_start_matches('@').to_owned());
        }
        match body.get("op").and_then(Value::as_str) {
            Some("delete") => Statement::Passive(render::statement(value)),
            // A set may be full, then the rule ends here.
            _ => Statement::Perhaps(render::statement(value)),
        }
    }

    fn mangle(&self, body: &Value, whole: &Value) -> Result<Statement, Malformed> {
        let pair = body.get("key").zip(body.get("value"));
        let (key, value) = pair.ok_or(Malformed("a change has key and value"))?;
        if let Some(key) = key.get("meta").or_else(|| key.get("ct")).and_then(|of| of.get("key")) {
            // Nothing that a rule or the way of this packet is decided by.
            if matches!(key.as_str(), Some("priority" | "nftrace" | "secmark" | "label" | "event" | "zone" | "helper"))
            {
                return Ok(Statement::Passive(render::statement(whole)));
            }
        }
        if key.get("tcp option").is_some() {
            return Ok(Statement::Passive(render::statement(whole)));
        }
        let Expression::Field(field) = expression::read(self.known, &[Kind::Unknown], key) else {
            return Ok(Statement::Unknown(render::statement(whole)));
        };
        let kind = Kind::of(&Expression::Field(field));
        let value = expression::read(self.known, &[kind], value);
        Ok(match field {
            Field::Mark => Statement::SetMark(value),
            Field::ConnectionMark => Statement::SetConnectionMark(value),
            field => Statement::SetField { field, value },
        })
    }
}

/// `None`: an operator that this version does not know.
fn compare(left: Expression, sign: &str, right: &Value) -> Option<Match> {
    let kinds = Kind::of_parts(&left);
    let bits = matches!(kinds.as_slice(), [kind] if kind.is_bits() || matches!(kind, Kind::Number(_)));
    let set = matches!(right, Value::Object(object) if object.contains_key("set"))
        || matches!(right, Value::String(name) if name.starts_with('@'));
    let operator = match sign {
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        "in" if bits && !set => Operator::AnyBit,
        "in" => Operator::Equal,
        "!" => Operator::NoBit,
        _ => return None,
    };
    if let (Expression::Field(Field::FibSourceInterface | Field::FibSourceInterfaceByMark), Value::Bool(exists)) =
        (&left, right)
    {
        let operator = match (operator, exists) {
            (Operator::Equal, false) | (Operator::NotEqual, true) => Operator::Equal,
            (Operator::Equal, true) | (Operator::NotEqual, false) => Operator::NotEqual,
            _ => return None,
        };
        return Some(Match { left, operator, right: Pattern::Exactly(Datum::Number(0)) });
    }
    let right = value::pattern(&kinds, right);
    Some(Match { left, operator, right })
}
