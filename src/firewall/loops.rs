//! Chains that lead back to themselves. The kernel loads no such rules (`nft_chain_validate`, `mark_source_chains`), so
//! they are in broken or hostile dumps only, where a walk would never end.

use std::collections::HashMap;

use super::ruleset::{ElementData, Ruleset, Set, SetReference, Statement, Table, Verdict};
use crate::model::unread::{Lack, Unread};

/// Empties the chains that close a circle below a base chain, and says so in [`Ruleset::unread`]: nothing is known then.
pub fn cut(ruleset: &mut Ruleset) {
    for table in &mut ruleset.tables {
        for chain in closing(table) {
            let chain = &mut table.chains[chain];
            chain.rules.clear();
            let what = format!("table {}: chain {} leads back to itself", table.name, chain.name);
            ruleset.unread.push(Unread::new(Lack::Broken, what));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// On the way that is followed now.
    Open,
    Done,
}

/// Positions of the chains whose rules lead to a chain that leads to them.
fn closing(table: &Table) -> Vec<usize> {
    let places: HashMap<&str, usize> =
        table.chains.iter().enumerate().map(|(at, chain)| (chain.name.as_str(), at)).collect();
    let mut seen = vec![Seen::No; table.chains.len()];
    let mut found = Vec::new();
    let bases = (0..table.chains.len()).filter(|&at| table.chains[at].base.is_some());
    for base in bases {
        if seen[base] != Seen::No {
            continue;
        }
        seen[base] = Seen::Open;
        // No recursion: a hostile dump may be deep.
        let mut way = vec![(base, targets(table, base, &places))];
        while let Some((chain, left)) = way.last_mut() {
            let chain = *chain;
            match left.pop() {
                None => {
                    seen[chain] = Seen::Done;
                    way.pop();
                }
                Some(next) if seen[next] == Seen::Open => {
                    if !found.contains(&chain) {
                        found.push(chain);
                    }
                }
                Some(next) if seen[next] == Seen::No => {
                    seen[next] = Seen::Open;
                    way.push((next, targets(table, next, &places)));
                }
                Some(_) => {}
            }
        }
    }
    found
}

/// Chains that a chain's rules lead to, each once.
fn targets(table: &Table, chain: usize, places: &HashMap<&str, usize>) -> Vec<usize> {
    let mut found = Vec::new();
    for statement in table.chains[chain].rules.iter().flat_map(|rule| &rule.statements) {
        match statement {
            Statement::Jump(name) | Statement::Goto(name) => found.extend(places.get(name.as_str())),
            Statement::VerdictMap { map: SetReference::Anonymous(set), .. } => led_to(set, places, &mut found),
            Statement::VerdictMap { map: SetReference::Named(name), .. } => {
                if let Some(set) = table.sets.get(name) {
                    led_to(set, places, &mut found);
                }
            }
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn led_to(set: &Set, places: &HashMap<&str, usize>, found: &mut Vec<usize>) {
    for element in &set.elements {
        if let Some(ElementData::Verdict(Verdict::Jump(name) | Verdict::Goto(name))) = &element.data {
            found.extend(places.get(name.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::firewall::nft;

    fn read(rules: &[(&str, serde_json::Value)]) -> Ruleset {
        let chain = |name: &str| json!({"chain": {"family": "ip", "table": "t", "name": name}});
        let mut objects = vec![
            json!({"table": {"family": "ip", "name": "t"}}),
            json!({"chain": {"family": "ip", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0,
                "policy": "accept"}}),
            chain("a"),
            chain("b"),
            chain("alone"),
        ];
        for (chain, statement) in rules {
            objects.push(json!({"rule": {"family": "ip", "table": "t", "chain": chain, "expr": [statement]}}));
        }
        let mut ruleset = nft::read(&json!({"nftables": objects}), &[]).unwrap();
        cut(&mut ruleset);
        ruleset
    }

    fn to(kind: &str, name: &str) -> serde_json::Value {
        json!({kind: {"target": name}})
    }

    #[test]
    fn circles_below_a_base_chain_are_cut() {
        let ruleset = read(&[("in", to("jump", "a")), ("a", to("goto", "b")), ("b", to("jump", "a"))]);
        let circle = |name: &str| [Unread::new(Lack::Broken, format!("table t: chain {name} leads back to itself"))];
        assert_eq!(ruleset.unread, circle("b"));
        let by_map = json!({"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}},
            "data": {"set": [[22, to("goto", "in")]]}}});
        assert_eq!(read(&[("in", by_map)]).unread, circle("in"));
    }

    #[test]
    fn what_is_no_circle_stays() {
        // Twice to the same chain, and a circle that no packet comes to: the kernel takes both.
        let ruleset = read(&[
            ("in", to("jump", "a")),
            ("in", to("jump", "b")),
            ("a", to("jump", "b")),
            ("alone", to("goto", "alone")),
        ]);
        assert_eq!(ruleset.unread, Vec::<Unread>::new());
        assert_eq!(ruleset.tables[0].chains.iter().map(|chain| chain.rules.len()).sum::<usize>(), 4);
    }
}
