//! The file that iptables-save writes: tables, chains, rules.

use std::collections::{HashMap, HashSet};

use super::matches::{self, Context};
use super::targets::{self, Action};
use super::values::protocol;
use super::words::{Line, bracketed_counter, split};
use crate::firewall::ipset::Catalogue;
use crate::firewall::ruleset::{Backend, BaseChain, Chain, ChainKind, Family, Hook, Policy, Rule, Statement, Table};
use crate::model::network::{IptablesBackend, IptablesDump};

/// A dump that iptables-restore would not take either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tool} line {line}: {cause}: {text:?}")]
pub struct IptablesError {
    /// `iptables-save` or `ip6tables-save`, with `-legacy` where it is that.
    pub tool: &'static str,
    /// From 1.
    pub line: usize,
    pub cause: String,
    /// The line, or the beginning of a long one.
    pub text: String,
}

/// Reads what iptables-save or ip6tables-save printed. `ipsets` tells `-m set` what its sets are made of.
pub fn read(dump: &IptablesDump, ipsets: &Catalogue) -> Result<Vec<Table>, IptablesError> {
    let tool = match (dump.ipv6, dump.backend) {
        (false, IptablesBackend::Nft) => "iptables-save",
        (true, IptablesBackend::Nft) => "ip6tables-save",
        (false, IptablesBackend::Legacy) => "iptables-legacy-save",
        (true, IptablesBackend::Legacy) => "ip6tables-legacy-save",
    };
    let mut tables: Vec<Table> = Vec::new();
    let mut open: Option<OpenTable> = None;
    let mut last = 0;
    for (index, line) in dump.text.lines().enumerate() {
        let line = line.trim();
        last = index + 1;
        let error = |cause: String| IptablesError { tool, line: index + 1, cause, text: excerpt(line) };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('*') {
            if let Some(table) = &open {
                return Err(error(format!("table {} was not committed", table.table.name)));
            }
            if !TABLES.contains(&name) {
                return Err(error("no table of iptables".to_owned()));
            }
            if tables.iter().any(|table| table.name == name) {
                return Err(error("the table came before".to_owned()));
            }
            open = Some(OpenTable::new(name, dump));
        } else if line == "COMMIT" {
            let Some(table) = open.take() else { return Err(error("no table is open".to_owned())) };
            tables.push(table.close());
        } else {
            let Some(table) = &mut open else { return Err(error("no table is open".to_owned())) };
            table.line(line, ipsets).map_err(error)?;
        }
    }
    match open {
        Some(table) => Err(IptablesError {
            tool,
            line: last,
            cause: format!("the dump ends inside table {}", table.table.name),
            text: excerpt(dump.text.lines().last().unwrap_or_default()),
        }),
        None => Ok(tables),
    }
}

/// A table between `*NAME` and `COMMIT`.
struct OpenTable {
    ipv6: bool,
    table: Table,
    index: HashMap<String, usize>,
    maps: Vec<PendingMap>,
}

/// A rule of NETMAP, whose place in the packet's path is known when all rules are.
struct PendingMap {
    chain: usize,
    rule: usize,
    destination: Box<Statement>,
    source: Box<Statement>,
    text: String,
}

impl OpenTable {
    fn new(name: &str, dump: &IptablesDump) -> Self {
        let table = Table {
            backend: match dump.backend {
                IptablesBackend::Legacy => Backend::IptablesLegacy,
                IptablesBackend::Nft => Backend::IptablesNft,
            },
            family: if dump.ipv6 { Family::Ip6 } else { Family::Ip },
            name: name.to_owned(),
            dormant: Some(false),
            chains: Vec::new(),
            sets: HashMap::new(),
        };
        Self { ipv6: dump.ipv6, table, index: HashMap::new(), maps: Vec::new() }
    }

    fn line(&mut self, line: &str, ipsets: &Catalogue) -> Result<(), String> {
        if let Some(chain) = line.strip_prefix(':') {
            return self.chain(chain);
        }
        let (counter, rule) = match line.starts_with('[').then(|| line.split_once(' ')).flatten() {
            Some((counter, rule)) => (Some(bracketed_counter(counter).ok_or("bad counters")?), rule.trim_start()),
            None => (None, line),
        };
        let rule = rule.strip_prefix("-A ").ok_or("neither chain, rule nor COMMIT")?.trim_start();
        let (chain, text) = rule.split_once(' ').map_or((rule, ""), |(chain, text)| (chain, text.trim()));
        let Some(&chain) = self.index.get(chain) else { return Err(format!("chain {chain} was not declared")) };
        self.rule(chain, text, counter, ipsets)
    }

    /// `NAME POLICY [PACKETS:BYTES]`, with `-` as policy of chains that are not built in.
    fn chain(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace();
        let (Some(name), Some(policy)) = (words.next(), words.next()) else {
            return Err("a chain needs a name and a policy".to_owned());
        };
        if words.next().is_some_and(|counter| bracketed_counter(counter).is_none()) || words.next().is_some() {
            return Err("bad counters".to_owned());
        }
        let place = built_in(&self.table.name, name);
        let base = match (policy, place) {
            ("-", None) => None,
            ("ACCEPT" | "DROP", Some((kind, hook, priority))) => Some(BaseChain {
                kind,
                hook,
                priority,
                policy: if policy == "DROP" { Policy::Drop } else { Policy::Accept },
                devices: Vec::new(),
            }),
            ("-", Some(_)) => return Err("a built-in chain without a policy".to_owned()),
            (_, Some(_)) => return Err(format!("policy {policy} is not known")),
            (_, None) => return Err("a policy of a chain that is not built in".to_owned()),
        };
        if self.index.insert(name.to_owned(), self.table.chains.len()).is_some() {
            return Err("the chain came before".to_owned());
        }
        self.table.chains.push(Chain { name: name.to_owned(), base, rules: Vec::new() });
        Ok(())
    }

    fn rule(
        &mut self,
        chain: usize,
        text: &str,
        counter: Option<(u64, u64)>,
        ipsets: &Catalogue,
    ) -> Result<(), String> {
        let line = Line::parse(&split(text)?)?;
        let mut context = Context { ipv6: self.ipv6, protocol: None, ipsets };
        if let Some(choice) = line.basic.iter().find(|choice| choice.name == "p" && !choice.negated) {
            context.protocol = choice.values.first().and_then(|name| protocol(name).ok()).filter(|number| *number != 0);
        }
        let mut statements = Vec::new();
        for choice in &line.basic {
            statements.extend(matches::basic(choice, context)?);
        }
        let mut comment = None;
        for part in &line.matches {
            if part.name == "comment" {
                comment = part.choices.iter().find_map(|choice| choice.values.first().cloned()).or(comment);
            }
            statements.extend(matches::statements(part, context)?);
        }
        let rules = self.table.chains[chain].rules.len();
        if let Some(target) = &line.target {
            let known = self.index.contains_key(&target.name);
            match (known, line.goes) {
                (true, true) => statements.push(Statement::Goto(target.name.clone())),
                (true, false) => statements.push(Statement::Jump(target.name.clone())),
                (false, true) => return Err(format!("chain {} was not declared", target.name)),
                (false, false) => match targets::action(target, context)? {
                    Action::Statements(action) => statements.extend(action),
                    Action::NetworkMap { destination, source } => {
                        let text = target.text.clone();
                        self.maps.push(PendingMap { chain, rule: rules, destination, source, text });
                    }
                },
            }
        }
        self.table.chains[chain].rules.push(Rule {
            handle: None,
            number: u32::try_from(rules + 1).unwrap_or(u32::MAX),
            text: text.to_owned(),
            comment,
            counter: counter.or(line.counter),
            statements,
        });
        Ok(())
    }

    fn close(mut self) -> Table {
        for map in std::mem::take(&mut self.maps) {
            let before = self.reached_from(&[Hook::Prerouting, Hook::Output], map.chain);
            let after = self.reached_from(&[Hook::Input, Hook::Postrouting], map.chain);
            let statement = match (before, after) {
                (true, false) => *map.destination,
                (false, true) => *map.source,
                // In no packet's path, or in both.
                _ => Statement::Unknown(map.text),
            };
            self.table.chains[map.chain].rules[map.rule].statements.push(statement);
        }
        self.table
    }

    /// Whether packets of these hooks come to a chain.
    fn reached_from(&self, hooks: &[Hook], wanted: usize) -> bool {
        let mut waiting: Vec<usize> = (0..self.table.chains.len())
            .filter(|&chain| self.table.chains[chain].base.as_ref().is_some_and(|base| hooks.contains(&base.hook)))
            .collect();
        let mut seen = HashSet::new();
        while let Some(chain) = waiting.pop() {
            if !seen.insert(chain) {
                continue;
            }
            for statement in self.table.chains[chain].rules.iter().flat_map(|rule| &rule.statements) {
                if let Statement::Jump(name) | Statement::Goto(name) = statement {
                    waiting.extend(self.index.get(name));
                }
            }
        }
        seen.contains(&wanted)
    }
}

/// Kind, hook and priority of a built-in chain (`enum nf_ip_hook_priorities`; iptables/nft.c for the nft-backed tool,
/// which takes the same).
fn built_in(table: &str, chain: &str) -> Option<(ChainKind, Hook, i32)> {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    let hook = match chain {
        "PREROUTING" => Prerouting,
        "INPUT" => Input,
        "FORWARD" => Forward,
        "OUTPUT" => Output,
        "POSTROUTING" => Postrouting,
        _ => return None,
    };
    let (kind, priority) = match (table, hook) {
        ("filter", Input | Forward | Output) => (ChainKind::Filter, 0),
        ("security", Input | Forward | Output) => (ChainKind::Filter, 50),
        ("raw", Prerouting | Output) => (ChainKind::Filter, -300),
        ("mangle", Output) => (ChainKind::Route, -150),
        ("mangle", _) => (ChainKind::Filter, -150),
        ("nat", Prerouting | Output) => (ChainKind::Nat, -100),
        ("nat", Input | Postrouting) => (ChainKind::Nat, 100),
        _ => return None,
    };
    Some((kind, hook, priority))
}

/// Enough of a line to find it by.
fn excerpt(line: &str) -> String {
    let mut text: String = line.chars().take(LONGEST_EXCERPT).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
}

const TABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// Characters of a broken line that an error shows.
const LONGEST_EXCERPT: usize = 120;
