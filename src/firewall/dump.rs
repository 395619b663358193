//! One ruleset of all that a host's dumps hold: nftables, iptables over nftables, legacy iptables, ipsets.

use std::collections::HashMap;

use super::ipset::{self, Catalogue};
use super::ruleset::{Backend, Chain, Expression, Match, Pattern, Rule, Ruleset, Statement, Table};
use super::{iptables, nft};
use crate::model::network::{FirewallDump, IptablesBackend};
use crate::model::unread::{Lack, Unread};

impl Ruleset {
    /// All that a namespace's dumps hold. What cannot be read is in [`Ruleset::unread`], with the reason.
    pub fn of_dump(dump: &FirewallDump) -> Self {
        let nft = match dump.nft.as_ref().map(|json| nft::read(json, &dump.nft_dormant)) {
            None => Self::default(),
            Some(Ok(ruleset)) => ruleset,
            Some(Err(error)) => Self { unread: vec![Unread::new(Lack::Broken, error.to_string())], ..Self::default() },
        };
        merge(nft, dump)
    }
}

/// Joins what the nft reader found with the other dumps. nft shows the tables of iptables-nft too, with their xt
/// matches closed: what is in those comes from iptables-save, the handles from nft, by position.
pub fn merge(nft: Ruleset, dump: &FirewallDump) -> Ruleset {
    let mut ruleset = nft;
    name_devices(&mut ruleset, dump);
    let mut catalogue = match dump.ipset.as_deref().map(ipset::read) {
        None => Catalogue::default(),
        Some(Ok(catalogue)) => catalogue,
        Some(Err(error)) => {
            ruleset.unread.push(Unread::new(Lack::Broken, error.to_string()));
            Catalogue::default()
        }
    };
    for text in &dump.iptables {
        let tables = match iptables::read(text, &catalogue) {
            Ok(tables) => tables,
            Err(error) => {
                ruleset.unread.push(Unread::new(Lack::Broken, error.to_string()));
                continue;
            }
        };
        for table in tables {
            for name in filled_sets(&table) {
                catalogue.mark_dynamic(&name);
            }
            match text.backend {
                IptablesBackend::Legacy => ruleset.tables.push(table),
                IptablesBackend::Nft => join(&mut ruleset, table, dump.nft.is_some()),
            }
        }
    }
    ruleset.ipsets = catalogue.into_sets();
    for (backend, families) in unread_backends(dump) {
        ruleset.unread.push(Unread::new(Lack::NotRead, format!("{backend}: not read{families}")));
    }
    ruleset
}

/// Interfaces of chains at ingress, where nft did not print them.
fn name_devices(ruleset: &mut Ruleset, dump: &FirewallDump) {
    for table in &mut ruleset.tables {
        let place = title(table);
        for chain in &mut table.chains {
            if let Some(base) = &mut chain.base
                && base.devices.is_empty()
                && let Some(devices) = dump.nft_devices.get(&format!("{place} {}", chain.name))
            {
                base.devices.clone_from(devices);
            }
        }
    }
}

/// Puts a table of iptables-save in place of what nft shows of it.
fn join(ruleset: &mut Ruleset, table: Table, nft_was_read: bool) {
    let place = ruleset.tables.iter().position(|known| {
        known.backend != Backend::IptablesLegacy && known.family == table.family && known.name == table.name
    });
    let Some(place) = place else {
        // Chains without any rule are not in the kernel until the first one is written: iptables-save shows them all the
        // same. With rules, the two dumps are of different moments.
        let empty = table.chains.iter().all(|chain| chain.rules.is_empty());
        if nft_was_read && !empty {
            let what = format!("table {}: in the iptables dump and not in nft's", title(&table));
            ruleset.unread.push(Unread::new(Lack::Changed, what));
        }
        ruleset.tables.push(table);
        return;
    };
    let shown = &mut ruleset.tables[place];
    shown.backend = Backend::IptablesNft;
    let mut contents: HashMap<String, Chain> =
        table.chains.iter().map(|chain| (chain.name.clone(), chain.clone())).collect();
    let mut unread = Vec::new();
    for chain in &mut shown.chains {
        match contents.remove(&chain.name) {
            Some(content) if content.rules.len() == chain.rules.len() => {
                for (rule, content) in chain.rules.iter_mut().zip(content.rules) {
                    joined_rule(rule, content);
                }
            }
            // Dumps of two moments: nft's is whole in itself, but for the parts that it does not show.
            _ => chain.rules.iter_mut().for_each(explain_closed_parts),
        }
    }
    // What only iptables-save shows: built-in chains that were never made, and chains of a later moment.
    for chain in table.chains.iter().filter(|chain| contents.contains_key(&chain.name)) {
        if !chain.rules.is_empty() {
            let what = format!("chain {} of table {}: not in nft's dump", chain.name, title(&table));
            unread.push(Unread::new(Lack::Changed, what));
        }
        if chain.base.is_none() {
            shown.chains.push(chain.clone());
        }
    }
    ruleset.unread.extend(unread);
}

/// One rule of both dumps. iptables-nft gives each of its rules a counter: one without was written by nft itself, and is
/// better read there. So is a rule that only nft's dump is clear about.
fn joined_rule(rule: &mut Rule, content: Rule) {
    let by_nft = rule.counter.is_none() && !opaque(rule);
    let clearer = opaque(&content) && !opaque(rule);
    if by_nft || clearer {
        return;
    }
    *rule = Rule {
        handle: rule.handle,
        number: rule.number,
        counter: content.counter.or(rule.counter),
        comment: content.comment.or_else(|| rule.comment.take()),
        text: content.text,
        statements: content.statements,
    };
}

/// Says why the parts of a rule that nft does not show stay unknown.
fn explain_closed_parts(rule: &mut Rule) {
    for statement in &mut rule.statements {
        if let Statement::Unknown(text) = statement {
            text.push_str(" (the iptables dump has other rules in this chain)");
        }
    }
}

/// Whether something in a rule is not known.
fn opaque(rule: &Rule) -> bool {
    rule.statements.iter().any(|statement| match statement {
        Statement::Unknown(_) => true,
        Statement::Match(found) => opaque_match(found),
        Statement::AnyOf(found) | Statement::NoneOf(found) => found.iter().any(opaque_match),
        Statement::SetMark(value) | Statement::SetConnectionMark(value) => opaque_expression(value),
        _ => false,
    })
}

fn opaque_match(found: &Match) -> bool {
    opaque_expression(&found.left) || matches!(found.right, Pattern::Unknown(_))
}

fn opaque_expression(expression: &Expression) -> bool {
    match expression {
        Expression::Choice { .. } | Expression::Unknown(_) => true,
        Expression::Field(_) | Expression::Value(_) => false,
        Expression::And(left, right)
        | Expression::Or(left, right)
        | Expression::Xor(left, right)
        | Expression::ShiftLeft(left, right)
        | Expression::ShiftRight(left, right) => opaque_expression(left) || opaque_expression(right),
        Expression::Concatenation(parts) => parts.iter().any(opaque_expression),
        Expression::Map { key, .. } => opaque_expression(key),
    }
}

/// Sets that a table's rules fill or empty (`-j SET --add-set NAME src`).
fn filled_sets(table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for statement in table.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.statements) {
        let Statement::Passive(text) = statement else { continue };
        if !text.starts_with("-j SET ") {
            continue;
        }
        let words: Vec<&str> = text.split(' ').collect();
        for pair in words.windows(2).filter(|pair| matches!(pair[0], "--add-set" | "--del-set")) {
            found.push(pair[1].to_owned());
        }
    }
    found
}

/// Backends that nobody looked at, with the families that are missing.
fn unread_backends(dump: &FirewallDump) -> Vec<(&'static str, &'static str)> {
    let empty = |name: &str| dump.empty.iter().any(|known| known == name);
    let legacy = |ipv6| {
        dump.iptables.iter().any(|text| text.ipv6 == ipv6 && text.backend == IptablesBackend::Legacy)
            || empty(if ipv6 { "ip6tables-legacy" } else { "iptables-legacy" })
    };
    let mut found = Vec::new();
    if dump.nft.is_none() && !empty("nft") {
        found.push(("nftables", ""));
    }
    if !legacy(false) {
        found.push(("iptables-legacy", " (IPv4)"));
    }
    if !legacy(true) {
        found.push(("iptables-legacy", " (IPv6)"));
    }
    found
}

fn title(table: &Table) -> String {
    format!("{} {}", table.family.as_str(), table.name)
}
