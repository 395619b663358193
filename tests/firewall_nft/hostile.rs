//! Broken and hostile listings: an error with its place, or something kept as unknown; never a panic.

use postern::firewall::nft::{NftError, read as read_json, read_text};
use postern::firewall::ruleset::{Ruleset, Statement};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json_of, names};

#[test]
fn a_cut_listing_is_an_error_with_its_place() {
    for name in ["docker-29", "kube-proxy"] {
        let text = json_of(name);
        let text = text.trim_end();
        let lengths = (0..text.len()).filter(|at| text.is_char_boundary(*at));
        // Every length near both ends, and some between: each costs a parse of all before it.
        for length in lengths.filter(|at| *at < 600 || at + 600 > text.len() || at % 37 == 0) {
            match read_text(&text[..length], &[]) {
                Err(NftError::Syntax { line, column, .. }) => {
                    // Of a text of one line; the place is where it ends.
                    assert!((line, column) == (1, length) || length == 0, "{name} cut at {length}: {line}, {column}");
                }
                other => panic!("{name} cut at {length}: {other:?}"),
            }
        }
    }
}

#[test]
fn errors_name_their_place() {
    let table = json!({"table": {"family": "ip", "name": "t"}});
    let chain = json!({"chain": {"family": "ip", "table": "t", "name": "c"}});
    let listing = |rule: Value| json!({"nftables": [table, chain, rule]});
    let rule = |expr: Value| listing(json!({"rule": {"family": "ip", "table": "t", "chain": "c", "expr": expr}}));
    for (json, pointer) in [
        (json!(7), ""),
        (json!([]), ""),
        (json!({}), ""),
        (json!({"nftables": {}}), "/nftables"),
        (json!({"nftables": [5]}), "/nftables/0"),
        (json!({"nftables": [{"table": 1, "chain": 2}]}), "/nftables/0"),
        (json!({"nftables": [{"table": []}]}), "/nftables/0/table"),
        (json!({"nftables": [{"table": {"name": "t"}}]}), "/nftables/0/table"),
        (json!({"nftables": [{"table": {"family": 4, "name": "t"}}]}), "/nftables/0/table/family"),
        (json!({"nftables": [table, table]}), "/nftables/1/table/name"),
        (json!({"nftables": [table, chain, chain]}), "/nftables/2/chain/name"),
        (json!({"nftables": [chain]}), "/nftables/0/chain/table"),
        (
            json!({"nftables": [table, {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input",
                "type": "filter", "prio": "nonsense", "policy": "drop"}}]}),
            "/nftables/1/chain/prio",
        ),
        (
            json!({"nftables": [table, {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input",
                "type": "filter", "prio": 0, "policy": "perhaps"}}]}),
            "/nftables/1/chain/policy",
        ),
        (
            json!({"nftables": [table, {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input",
                "type": "filter", "policy": "drop"}}]}),
            "/nftables/1/chain",
        ),
        // No acceptance that nobody proved.
        (
            json!({"nftables": [table, {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input",
                "type": "filter", "prio": 0}}]}),
            "/nftables/1/chain",
        ),
        (
            json!({"nftables": [table, {"chain": {"family": "ip", "table": "t", "name": "c", "type": "filter",
                "prio": 0, "policy": "drop"}}]}),
            "/nftables/1/chain",
        ),
        (listing(json!({"rule": {"family": "ip", "table": "t", "chain": "d", "expr": []}})), "/nftables/2/rule/chain"),
        (rule(json!({})), "/nftables/2/rule/expr"),
        (rule(json!([{"accept": null}, 5])), "/nftables/2/rule/expr/1"),
        (rule(json!([{"match": 5}])), "/nftables/2/rule/expr/0"),
        (rule(json!([{"match": {"op": 5, "left": 1, "right": 1}}])), "/nftables/2/rule/expr/0"),
        (rule(json!([{"jump": "c"}])), "/nftables/2/rule/expr/0"),
        (rule(json!([{"vmap": {"key": 1}}])), "/nftables/2/rule/expr/0"),
        (rule(json!([{"mangle": {"key": {"meta": {"key": "mark"}}}}])), "/nftables/2/rule/expr/0"),
    ] {
        match read_json(&json, &[]) {
            Err(NftError::Structure { pointer: found, .. }) => assert_eq!(found, pointer, "{json}"),
            other => panic!("{json}: {other:?}"),
        }
    }
}

#[test]
fn messages_say_where_and_what_to_do() {
    let error = read_text("{\"nftables\": [\n  {\"table\": nonsense}]}", &[]).unwrap_err();
    assert_eq!(error.to_string(), "nft listing, line 2, column 14: expected ident");
    let error = read_text("{\"nftables\": [{\"rule\": {}}]}", &[]).unwrap_err();
    assert_eq!(error.to_string(), "nft listing, at `/nftables/0/rule`: has no `family`");
}

#[test]
fn deep_nesting_is_an_error() {
    let text = format!("{{\"nftables\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(read_text(&text, &[]), Err(NftError::Syntax { line: 1, .. })));
}

/// A change of one value somewhere in a listing.
#[derive(Clone, Debug)]
enum Change {
    Remove,
    Replace(Value),
    Rename(String),
    /// With what is found at another place.
    Copy(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("@")),
        Just(json!("*")),
        Just(json!("")),
        Just(json!({"range": [5, 4]})),
        Just(json!({"prefix": {"addr": "::", "len": 255}})),
        Just(json!({"concat": []})),
        Just(json!({"set": [[]]})),
        Just(json!({"map": {"key": 1, "data": {"set": [1]}}})),
        Just(json!({"payload": {"base": "nh", "offset": u32::MAX, "len": u32::MAX}})),
        Just(json!(1.5)),
        Just(json!(-1)),
        any::<u64>().prop_map(|number| json!(number)),
        "[a-z@*/\\\\.:0-9]{0,12}".prop_map(|text| json!(text)),
    ];
    prop_oneof![
        Just(Change::Remove),
        value.prop_map(Change::Replace),
        "[a-z ]{1,8}|&|\\||<<|set|elem|range|prefix|xt".prop_map(Change::Rename),
        any::<usize>().prop_map(Change::Copy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_listings_are_read_or_refused(
        name in proptest::sample::select(names()),
        changes in proptest::collection::vec((any::<usize>(), change()), 1..6),
    ) {
        let mut json: Value = serde_json::from_str(&json_of(&name)).unwrap();
        for (place, change) in changes {
            let count = count(&json);
            let copy = match change {
                Change::Copy(from) => nth(&json, &mut (from % count)).cloned(),
                _ => None,
            };
            apply(&mut json, &mut (place % count), &change, copy.as_ref());
        }
        match read_json(&json, &[]) {
            Ok(ruleset) => nothing_is_lost(&json, &ruleset),
            Err(NftError::Structure { pointer, .. }) => {
                // The pointer leads to what is wrong; `expr/N` of a rule included.
                prop_assert!(json.pointer(&pointer).is_some(), "{pointer} leads nowhere");
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn noise_is_refused(text in ".{0,200}") {
        prop_assert!(read_text(&text, &[]).is_err());
    }
}

/// Each statement of each rule is in the model; unknown ones with their text.
fn nothing_is_lost(json: &Value, ruleset: &Ruleset) {
    let rules = ruleset.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let read: usize = rules.clone().map(|rule| rule.statements.len() + usize::from(rule.counter.is_some())).sum();
    let listed: usize = json["nftables"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|object| object["rule"]["family"].is_string())
        .filter(|object| {
            ["arp", "bridge", "inet", "ip", "ip6", "netdev"].contains(&object["rule"]["family"].as_str().unwrap())
        })
        .map(|object| object["rule"]["expr"].as_array().map_or(0, Vec::len))
        .sum();
    assert!(read >= listed, "{read} of {listed} statements");
    for rule in rules {
        for statement in &rule.statements {
            if let Statement::Unknown(text) | Statement::Perhaps(text) | Statement::Passive(text) = statement {
                assert!(!text.is_empty(), "{rule:?}");
            }
        }
    }
}

fn count(json: &Value) -> usize {
    1 + match json {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(object) => object.values().map(count).sum(),
        _ => 0,
    }
}

fn nth<'a>(json: &'a Value, place: &mut usize) -> Option<&'a Value> {
    if *place == 0 {
        return Some(json);
    }
    *place -= 1;
    match json {
        Value::Array(values) => values.iter().find_map(|value| nth(value, place)),
        Value::Object(object) => object.values().find_map(|value| nth(value, place)),
        _ => None,
    }
}

fn apply(json: &mut Value, place: &mut usize, change: &Change, copy: Option<&Value>) -> bool {
    if *place == 0 {
        match change {
            Change::Replace(value) => *json = value.clone(),
            Change::Remove => *json = Value::Null,
            Change::Copy(_) => *json = copy.cloned().unwrap_or_default(),
            Change::Rename(name) => {
                if let Value::Object(object) = json
                    && let Some(key) = object.keys().next().cloned()
                {
                    let body = object.remove(&key).unwrap();
                    object.insert(name.clone(), body);
                }
            }
        }
        return true;
    }
    *place -= 1;
    match json {
        Value::Array(values) => values.iter_mut().any(|value| apply(value, place, change, copy)),
        Value::Object(object) => object.values_mut().any(|value| apply(value, place, change, copy)),
        _ => false,
    }
}
