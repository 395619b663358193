//! Destinations that rules translate: ports of a host that may be open although nobody listens on them.
//!
//! What is told is what can be read off the rules: a translation that a chain is reached for by other conditions than
//! its own (a jump with a port match) is told with the conditions of the whole way.

use std::net::IpAddr;

use super::packet::address;
use super::rules::{ChainId, Rules, table_name};
use super::ruleset::{
    ChainKind, Datum, ElementData, Expression, Field, Hook, Match, Operator, Pattern, Rule, SetReference, Statement,
    Verdict,
};
use crate::model::Transport;
use crate::model::path::Translated;

/// All ports that a nat rule on the way in translates, sorted, each once.
pub fn destinations(rules: &Rules) -> Vec<Translated> {
    let mut gatherer = Gatherer { rules, found: Vec::new() };
    for ipv6 in [false, true] {
        for &base in rules.base_chains(Hook::Prerouting, ipv6) {
            let is_nat = rules.chain(base).base.as_ref().is_some_and(|base| base.kind == ChainKind::Nat);
            if is_nat {
                gatherer.chain(base, &Conditions::default(), 0);
            }
        }
    }
    let mut found = gatherer.found;
    found.sort_by(|one, other| {
        let key = |one: &Translated| (one.port, one.address, one.transport);
        key(one).cmp(&key(other)).then_with(|| one.rule.cmp(&other.rule))
    });
    found.dedup();
    found
}

/// What the rules on the way to a translation ask for.
#[derive(Clone, Debug, Default)]
struct Conditions {
    transport: Option<Transport>,
    address: Option<IpAddr>,
    ports: Vec<u16>,
}

/// Walks the chains and keeps what it finds.
struct Gatherer<'a> {
    rules: &'a Rules,
    found: Vec<Translated>,
}

impl Gatherer<'_> {
    fn chain(&mut self, id: ChainId, so_far: &Conditions, depth: usize) {
        if depth > DEEPEST || self.found.len() > MOST {
            return;
        }
        let rules = self.rules;
        for rule in &rules.chain(id).rules {
            let mut conditions = so_far.clone();
            for statement in &rule.statements {
                match statement {
                    Statement::Match(matching) => narrow(&mut conditions, matching),
                    Statement::Jump(name) | Statement::Goto(name) => {
                        if let Some(next) = rules.find(id.table, name) {
                            self.chain(next, &conditions, depth + 1);
                        }
                    }
                    Statement::VerdictMap { key, map } => {
                        for (name, conditions) in verdicts(rules, id, (key, map), &conditions) {
                            if let Some(next) = rules.find(id.table, name) {
                                self.chain(next, &conditions, depth + 1);
                            }
                        }
                    }
                    Statement::DestinationNat(_) | Statement::Redirect(_) => self.add(id, rule, &conditions),
                    _ => {}
                }
            }
        }
    }

    fn add(&mut self, id: ChainId, rule: &Rule, conditions: &Conditions) {
        let place = format!("{} {}", table_name(self.rules.table(id)), self.rules.chain(id).name);
        let handle = rule.handle.map_or_else(|| format!("rule {}", rule.number), |handle| format!("handle {handle}"));
        let text = format!("{place} {handle}: {}", rule.text);
        let Conditions { transport, address, ports } = conditions;
        let of_port = |&port| Translated { transport: *transport, address: *address, port, rule: text.clone() };
        self.found.extend(ports.iter().map(of_port));
    }
}

fn narrow(conditions: &mut Conditions, matching: &Match) {
    let (Expression::Field(field), Operator::Equal) = (&matching.left, matching.operator) else { return };
    field_is(conditions, *field, &matching.right);
}

fn field_is(conditions: &mut Conditions, field: Field, pattern: &Pattern) {
    match field {
        Field::DestinationPort(transport) => {
            conditions.transport = transport.or(conditions.transport);
            conditions.ports = ports(pattern);
        }
        Field::TransportProtocol | Field::IpProtocol | Field::Ip6NextHeader => {
            conditions.transport = match pattern {
                Pattern::Exactly(Datum::Number(6)) => Some(Transport::Tcp),
                Pattern::Exactly(Datum::Number(17)) => Some(Transport::Udp),
                _ => conditions.transport,
            };
        }
        Field::IpDestination => conditions.address = exact(pattern, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        Field::Ip6Destination => conditions.address = exact(pattern, IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
        _ => {}
    }
}

fn exact(pattern: &Pattern, like: IpAddr) -> Option<IpAddr> {
    match pattern {
        Pattern::Exactly(Datum::Number(number)) => address(*number, like),
        Pattern::Prefix { value, length, width } if length == width => address(*value, like),
        _ => None,
    }
}

fn ports(pattern: &Pattern) -> Vec<u16> {
    match pattern {
        Pattern::Exactly(Datum::Number(port)) => u16::try_from(*port).into_iter().collect(),
        Pattern::Range(first, last) => match (u16::try_from(*first), u16::try_from(*last)) {
            (Ok(first), Ok(last)) if usize::from(last.saturating_sub(first)) < MOST => (first..=last).collect(),
            _ => Vec::new(),
        },
        Pattern::Set(SetReference::Anonymous(set)) => {
            set.elements.iter().flat_map(|element| ports(&element.key)).collect()
        }
        _ => Vec::new(),
    }
}

/// The chains that a verdict map leads to, each with what its element asks for, as kube-proxy's nft mode writes it:
/// `ip daddr . meta l4proto . th dport vmap @service-ips`.
fn verdicts<'a>(
    rules: &'a Rules,
    id: ChainId,
    (key, map): (&Expression, &'a SetReference),
    so_far: &Conditions,
) -> Vec<(&'a str, Conditions)> {
    let Some((set, _)) = rules.set(id.table, map) else { return Vec::new() };
    let fields: Vec<&Expression> = match key {
        Expression::Concatenation(parts) => parts.iter().collect(),
        one => vec![one],
    };
    let mut found = Vec::new();
    for element in &set.elements {
        let Some(ElementData::Verdict(Verdict::Jump(name) | Verdict::Goto(name))) = &element.data else { continue };
        let parts: Vec<&Pattern> = match &element.key {
            Pattern::Concatenation(parts) => parts.iter().collect(),
            one => vec![one],
        };
        let mut conditions = so_far.clone();
        for (field, pattern) in fields.iter().zip(parts) {
            if let Expression::Field(field) = field {
                field_is(&mut conditions, *field, pattern);
            }
        }
        found.push((name.as_str(), conditions));
    }
    found
}

const DEEPEST: usize = 16;
/// More are not listed one by one.
const MOST: usize = 4096;
