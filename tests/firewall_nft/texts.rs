//! Rules are shown as nft shows them.

use std::collections::BTreeMap;

use postern::firewall::ruleset::Table;

use super::{names, read, text_of};

#[test]
fn rules_are_shown_as_nft_shows_them() {
    let mut compared = 0;
    for name in names() {
        let ruleset = read(&name);
        let mut expected = rules_of(&text_of(&name));
        for table in &ruleset.tables {
            for chain in &table.chains {
                let place = format!("{name}, {} {}", table.name, chain.name);
                let lines = expected.remove(&(family(table), chain.name.clone())).unwrap_or_default();
                assert_eq!(chain.rules.len(), lines.len(), "{place}");
                for (rule, line) in chain.rules.iter().zip(&lines) {
                    assert_eq!(rule.text, *line, "{place}");
                }
                compared += lines.len();
            }
        }
        assert!(expected.is_empty(), "{name}: chains that were not read: {:?}", expected.keys());
    }
    assert!(compared >= 400, "only {compared} rules were compared");
}

fn family(table: &Table) -> String {
    format!("{:?} {}", table.family, table.name).to_lowercase()
}

/// The rules of a text listing by table and chain, without counters.
fn rules_of(text: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut rules = BTreeMap::new();
    let (mut table, mut chain) = (String::new(), None);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
            table = name.to_lowercase();
        } else if let Some(name) = line.strip_prefix("\tchain ").and_then(|rest| rest.strip_suffix(" {")) {
            rules.insert((table.clone(), name.to_owned()), Vec::new());
            chain = Some(name.to_owned());
        } else if line == "\t}" {
            chain = None;
        } else if let (Some(chain), Some(rule)) = (&chain, line.strip_prefix("\t\t"))
            && !(rule.starts_with("type ") && rule.contains(" hook "))
        {
            rules.get_mut(&(table.clone(), chain.clone())).unwrap().push(without_counters(rule));
        }
    }
    rules
}

fn without_counters(rule: &str) -> String {
    let words: Vec<&str> = rule.split(' ').collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match words[at..] {
            ["counter", "packets", _, "bytes", _, ..] => at += 5,
            _ => {
                kept.push(words[at]);
                at += 1;
            }
        }
    }
    kept.join(" ")
}
