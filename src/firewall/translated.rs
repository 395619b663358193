//! Destinations that rules translate: ports of a host that may be open although nobody listens on them.
//!
//! What is told is what can be read off the rules: a translation that a chain is reached for by other conditions than
//! its own (a jump with a port match) is told with the conditions of the whole way.

use std::net::IpAddr;

use super::packet::address;
use super::rules::{ChainId, Rules, table_name};
use super::ruleset::{
    ChainKind, Datum, ElementData, Expression, Field, Hook, Match, Operator, Pattern, Ports, Rule, SetReference,
    Statement, Translation, TranslationTarget, Verdict,
};
use crate::model::path::Translated;
use crate::model::{PortRanges, Transport};

/// All destinations that a nat rule on the way in translates, sorted, each once.
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
    found.sort_by_cached_key(|one| (first_port(&one.ports), one.clone()));
    found.dedup();
    found
}

fn first_port(ports: &str) -> u16 {
    let digits = ports.split(|other: char| !other.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// What the rules on the way to a translation ask for.
#[derive(Clone, Debug, Default)]
struct Conditions {
    transport: Option<Transport>,
    address: Option<IpAddr>,
    /// `None`: no rule names a port. Empty: one does in a way that this cannot tell.
    ports: Option<PortRanges>,
    /// The rule that names it.
    named_by: Option<String>,
}

/// Walks the chains and keeps what it finds.
struct Gatherer<'a> {
    rules: &'a Rules,
    found: Vec<Translated>,
}

impl<'a> Gatherer<'a> {
    fn chain(&mut self, id: ChainId, so_far: &Conditions, depth: usize) {
        if depth > DEEPEST || self.found.len() > MOST {
            return;
        }
        let rules = self.rules;
        for rule in &rules.chain(id).rules {
            let reader = Reader { rules, id, rule };
            let mut conditions = so_far.clone();
            for statement in &rule.statements {
                match statement {
                    Statement::Match(matching) => reader.narrow(&mut conditions, matching),
                    Statement::Jump(name) | Statement::Goto(name) => {
                        if let Some(next) = rules.find(id.table, name) {
                            self.chain(next, &conditions, depth + 1);
                        }
                    }
                    Statement::VerdictMap { key, map } => {
                        for (name, conditions) in reader.verdicts(key, map, &conditions) {
                            if let Some(next) = rules.find(id.table, name) {
                                self.chain(next, &conditions, depth + 1);
                            }
                        }
                    }
                    Statement::DestinationNat(to) => self.found.extend(reader.translations(to, &conditions)),
                    Statement::Redirect(ports) => {
                        let to = Translation { ports: ports.clone(), ..Translation::default() };
                        self.found.extend(reader.translations(&to, &conditions));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Reads one rule.
#[derive(Clone, Copy)]
struct Reader<'a> {
    rules: &'a Rules,
    id: ChainId,
    rule: &'a Rule,
}

impl<'a> Reader<'a> {
    fn text(self) -> String {
        let place = format!("{} {}", table_name(self.rules.table(self.id)), self.rules.chain(self.id).name);
        let rule = self.rule;
        let handle = rule.handle.map_or_else(|| format!("rule {}", rule.number), |handle| format!("handle {handle}"));
        format!("{place} {handle}: {}", rule.text)
    }

    fn narrow(self, conditions: &mut Conditions, matching: &Match) {
        let (Expression::Field(field), Operator::Equal) = (&matching.left, matching.operator) else { return };
        self.field_is(conditions, *field, &matching.right);
    }

    fn field_is(self, conditions: &mut Conditions, field: Field, pattern: &Pattern) {
        match field {
            Field::DestinationPort(transport) => {
                conditions.transport = transport.or(conditions.transport);
                conditions.ports = Some(PortRanges::from_ranges(self.ports(pattern)));
                conditions.named_by = Some(self.text());
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

    fn ports(self, pattern: &Pattern) -> Vec<(u16, u16)> {
        let number = |number: u128| u16::try_from(number).ok();
        match pattern {
            Pattern::Exactly(Datum::Number(port)) => number(*port).map(|port| (port, port)).into_iter().collect(),
            Pattern::Range(first, last) => number(*first).zip(number(*last)).into_iter().collect(),
            Pattern::Set(reference) => {
                let set = self.rules.set(self.id.table, reference);
                let elements = set.iter().flat_map(|(set, _)| &set.elements);
                elements.flat_map(|element| self.ports(&element.key)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A translation, or one for each element of the map that it asks for the target.
    fn translations(self, to: &Translation, conditions: &Conditions) -> Vec<Translated> {
        let ((TranslationTarget::Computed(Expression::Map { key, map }), _)
        | (_, Ports::Computed(Expression::Map { key, map }))) = (&to.to, &to.ports)
        else {
            return self.translated(target(to), conditions).into_iter().collect();
        };
        let Some((set, _)) = self.rules.set(self.id.table, map) else {
            return self.translated(COMPUTED.to_owned(), conditions).into_iter().collect();
        };
        let address = !matches!(to.to, TranslationTarget::Unchanged | TranslationTarget::Address(_));
        let with_target = set.elements.iter().filter_map(|element| Some((element, element.data.as_ref()?)));
        let of = |(element, data): (&super::ruleset::Element, &ElementData)| {
            let conditions = self.element(key, &element.key, conditions);
            let to = match (mapped(data, address), &to.to) {
                (port, TranslationTarget::Address(address)) => format!("{address}{port}"),
                (mapped, _) => mapped,
            };
            self.translated(to, &conditions)
        };
        with_target.take(MOST).filter_map(of).collect()
    }

    fn translated(self, to: String, conditions: &Conditions) -> Option<Translated> {
        let Conditions { transport, address, ports, named_by } = conditions.clone();
        let ports = ports.map_or_else(|| "1-65535".to_owned(), |ports| ports.to_string());
        let rule = self.text();
        let named_by = named_by.filter(|other| *other != rule);
        // Named in a way that this cannot tell.
        (!ports.is_empty()).then_some(Translated { transport, address, ports, to, rule, named_by })
    }

    /// The conditions with what an element of a map adds.
    fn element(self, key: &Expression, pattern: &Pattern, so_far: &Conditions) -> Conditions {
        let fields: Vec<&Expression> = match key {
            Expression::Concatenation(parts) => parts.iter().collect(),
            one => vec![one],
        };
        let parts: Vec<&Pattern> = match pattern {
            Pattern::Concatenation(parts) => parts.iter().collect(),
            one => vec![one],
        };
        let mut conditions = so_far.clone();
        for (field, pattern) in fields.iter().zip(parts) {
            if let Expression::Field(field) = field {
                self.field_is(&mut conditions, *field, pattern);
            }
        }
        conditions
    }

    /// The chains that a verdict map leads to, each with what its element asks for, as kube-proxy's nft mode writes it:
    /// `ip daddr . meta l4proto . th dport vmap @service-ips`.
    fn verdicts(self, key: &Expression, map: &'a SetReference, so_far: &Conditions) -> Vec<(&'a str, Conditions)> {
        let Some((set, _)) = self.rules.set(self.id.table, map) else { return Vec::new() };
        let chain = |element: &'a super::ruleset::Element| match &element.data {
            Some(ElementData::Verdict(Verdict::Jump(name) | Verdict::Goto(name))) => {
                Some((name.as_str(), self.element(key, &element.key, so_far)))
            }
            _ => None,
        };
        set.elements.iter().filter_map(chain).collect()
    }
}

fn exact(pattern: &Pattern, like: IpAddr) -> Option<IpAddr> {
    match pattern {
        Pattern::Exactly(Datum::Number(number)) => address(*number, like),
        Pattern::Prefix { value, length, width } if length == width => address(*value, like),
        _ => None,
    }
}

fn target(to: &Translation) -> String {
    let ports = match &to.ports {
        Ports::Unchanged => String::new(),
        Ports::Exactly(port) => format!(":{port}"),
        Ports::Range(first, last) => format!(":{first}-{last}"),
        Ports::Computed(_) => format!(" port {COMPUTED}"),
    };
    match &to.to {
        TranslationTarget::Unchanged if ports.is_empty() => "the host itself".to_owned(),
        TranslationTarget::Unchanged => ports,
        TranslationTarget::Address(address) if address.is_ipv6() && !ports.is_empty() => format!("[{address}]{ports}"),
        TranslationTarget::Address(address) => format!("{address}{ports}"),
        TranslationTarget::Range(first, last) => format!("{first}-{last}{ports}"),
        TranslationTarget::Computed(_) => COMPUTED.to_owned(),
    }
}

/// What a map's element leads to: an address, with a port perhaps; or a port alone.
fn mapped(data: &ElementData, address: bool) -> String {
    match data {
        ElementData::Values(values) => match values[..] {
            [Datum::Number(number)] if address => number_text(number),
            [Datum::Number(port)] => format!(":{port}"),
            [Datum::Number(host), Datum::Number(port)] => format!("{}:{port}", number_text(host)),
            _ => COMPUTED.to_owned(),
        },
        ElementData::Pattern(_) | ElementData::Verdict(_) => COMPUTED.to_owned(),
    }
}

/// The address that a number of a map's data is: IPv4 as far as it may be.
fn number_text(number: u128) -> String {
    match u32::try_from(number) {
        Ok(number) => std::net::Ipv4Addr::from_bits(number).to_string(),
        Err(_) => std::net::Ipv6Addr::from_bits(number).to_string(),
    }
}

const COMPUTED: &str = "by a map";
const DEEPEST: usize = 16;
/// More are not listed one by one.
const MOST: usize = 4096;
