//! The reader of `nft -j list ruleset` against listings of the real nft.
//!
//! `tests/data/firewall/nft/NAME.json` and `NAME.nft` are what one nft printed of the same rules, as JSON and as text.
#![expect(clippy::disallowed_methods, reason = "reads test data")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::path::{Path, PathBuf};

use postern::firewall::nft;
use postern::firewall::ruleset::{Ruleset, Table};

#[test]
fn rules_are_shown_as_nft_shows_them() {
    let mut compared = 0;
    for listing in listings() {
        let ruleset = read(&listing);
        let text = std::fs::read_to_string(listing.with_extension("nft")).unwrap();
        let mut expected = rules_of(&text);
        for table in &ruleset.tables {
            for chain in &table.chains {
                let place = format!("{} {} {}", listing.display(), table.name, chain.name);
                let lines = expected.remove(&(family(table), chain.name.clone())).unwrap_or_default();
                assert_eq!(chain.rules.len(), lines.len(), "{place}");
                for (rule, line) in chain.rules.iter().zip(&lines) {
                    assert_eq!(rule.text, *line, "{place}");
                }
                compared += lines.len();
            }
        }
        assert!(expected.is_empty(), "{}: chains that were not read: {:?}", listing.display(), expected.keys());
    }
    assert!(compared >= 239, "only {compared} rules were compared");
}

fn listings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/nft");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn read(listing: &Path) -> Ruleset {
    let text = std::fs::read_to_string(listing).unwrap();
    nft::read_text(&text, &[]).unwrap_or_else(|error| panic!("{}: {error}", listing.display()))
}

fn family(table: &Table) -> String {
    format!("{:?} {}", table.family, table.name).to_lowercase()
}

/// The rules of a text listing by table and chain, without counters.
fn rules_of(text: &str) -> std::collections::BTreeMap<(String, String), Vec<String>> {
    let mut rules = std::collections::BTreeMap::new();
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
