//! What the listings mean, as snapshots to read, and what other versions of nft print, by hand.

use std::fmt::Write as _;

use postern::firewall::nft::read as read_json;
use postern::firewall::ruleset::{Chain, Expression, Field, Match, Operator, Pattern, Ruleset, Statement};
use postern::model::unread::{Lack, Unread};
use serde_json::{Value, json};

use super::{json_of, names, read};

#[test]
fn listings_become_models() {
    for name in names() {
        insta::assert_snapshot!(format!("nft-{name}"), shown(&read(&name)));
    }
}

#[test]
fn a_table_is_dormant_by_the_text_listing() {
    let json: Value = serde_json::from_str(&json_of("features")).unwrap();
    let of = |dormant: &[&str]| {
        let dormant: Vec<String> = dormant.iter().map(|&name| name.to_owned()).collect();
        let ruleset = read_json(&json, &dormant).unwrap();
        let table = |name: &str| ruleset.tables.iter().find(|table| table.name == name).unwrap().dormant;
        (table("dm"), table("t"))
    };
    // nft 1.0.6 has garbage where the flags should be.
    assert_eq!(of(&[]), (None, Some(false)));
    assert_eq!(of(&["ip dm"]), (Some(true), Some(false)));
    // The text was read, and showed another table.
    assert_eq!(of(&["ip other"]), (Some(false), Some(false)));
    let flags = |flags: Value| {
        read_json(&json!({"nftables": [{"table": {"family": "ip", "name": "t", "flags": flags}}]}), &[]).unwrap().tables
            [0]
        .dormant
    };
    assert_eq!(flags(json!("dormant")), Some(true));
    assert_eq!(flags(json!(["owner", "dormant"])), Some(true));
    assert_eq!(flags(json!(["owner"])), Some(false));
    assert_eq!(flags(json!("ip")), None);
}

#[test]
fn priorities_have_names_with_offsets() {
    for (family, prio, expected) in [
        ("inet", json!(-5), -5),
        ("inet", json!("filter - 5"), -5),
        ("inet", json!("filter"), 0),
        ("ip", json!("mangle+1"), -149),
        ("ip6", json!("dstnat"), -100),
        ("bridge", json!("dstnat"), -300),
        ("bridge", json!("filter"), -200),
        ("bridge", json!("out + 2"), 102),
        ("netdev", json!("-500"), -500),
        ("ip", json!("security"), 50),
    ] {
        let chain = json!({"chain": {"family": family, "table": "t", "name": "c", "type": "filter", "hook": "input",
            "prio": prio, "policy": "drop"}});
        let ruleset =
            read_json(&json!({"nftables": [{"table": {"family": family, "name": "t"}}, chain]}), &[]).unwrap();
        assert_eq!(ruleset.tables[0].chains[0].base.as_ref().unwrap().priority, expected, "{prio}");
    }
}

#[test]
fn devices_are_one_or_many() {
    for (dev, expected) in [(json!("eth0"), vec!["eth0"]), (json!(["a", "b"]), vec!["a", "b"]), (json!(null), vec![])] {
        let chain = json!({"chain": {"family": "netdev", "table": "t", "name": "c", "type": "filter", "hook": "ingress",
            "prio": 0, "policy": "accept", "dev": dev}});
        let ruleset =
            read_json(&json!({"nftables": [{"table": {"family": "netdev", "name": "t"}}, chain]}), &[]).unwrap();
        assert_eq!(ruleset.tables[0].chains[0].base.as_ref().unwrap().devices, expected);
    }
}

#[test]
fn what_later_versions_print_is_read_as_what_this_one_does() {
    let dport = json!({"payload": {"protocol": "tcp", "field": "dport"}});
    let flags = json!({"payload": {"protocol": "tcp", "field": "flags"}});
    let equal = |left: &Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
    for (later, now) in [
        (equal(&dport, json!("ssh")), equal(&dport, json!(22))),
        (json!({"match": {"left": dport, "right": 22}}), equal(&dport, json!(22))),
        (
            equal(&json!({"&": [flags, {"|": ["syn", "ack", "rst"]}]}), json!("syn")),
            equal(&json!({"&": [flags, ["syn", "ack", "rst"]]}), json!("syn")),
        ),
        (
            json!({"match": {"op": "in", "left": flags, "right": {"|": ["syn", "ack"]}}}),
            json!({"match": {"op": "in", "left": flags, "right": ["syn", "ack"]}}),
        ),
        (
            equal(&json!({"meta": {"key": "l4proto"}}), json!("icmpv6")),
            equal(&json!({"meta": {"key": "l4proto"}}), json!(58)),
        ),
        (equal(&json!({"meta": "mark"}), json!("0x10")), equal(&json!({"meta": {"key": "mark"}}), json!(16))),
        (
            equal(&json!({"fib": {"result": "check", "flags": ["saddr", "iif"]}}), json!(false)),
            equal(&json!({"fib": {"result": "oif", "flags": ["iif", "saddr"]}}), json!(false)),
        ),
        (
            equal(&json!({"fib": {"result": "type", "flags": "daddr"}}), json!("local")),
            equal(&json!({"fib": {"result": "type", "flags": ["daddr"]}}), json!(2)),
        ),
        (json!({"reject": null}), json!({"reject": {"type": "icmpx", "expr": "port-unreachable"}})),
        (json!({"reject": {"type": "icmp"}}), json!({"reject": {"type": "icmp", "expr": 3}})),
        (json!({"masquerade": {"flags": ["random"]}}), json!({"masquerade": {"flags": "random"}})),
        (
            json!({"dnat": {"family": "ip", "addr": "10.0.0.1", "flags": ["random"]}}),
            json!({"dnat": {"family": "ip", "addr": "10.0.0.1", "flags": "random"}}),
        ),
    ] {
        assert_eq!(statements(&later), statements(&now), "{later}");
    }
}

#[test]
fn anonymous_chains_are_unknown_with_their_text() {
    // As nft 1.0.6 prints `tcp dport 22 jump { ip saddr 10.0.0.1 accept; drop; }`.
    let text = "jump {\n\t\t\tip saddr 10.0.0.1 accept\n\t\t\tdrop\n\t\t}";
    assert_eq!(statements(&json!(text)), [Statement::Unknown("jump { ip saddr 10.0.0.1 accept drop }".to_owned())]);
}

#[test]
fn unknown_objects_are_named() {
    let listing = json!({"nftables": [
        {"novelty": {"family": "ip", "name": "n"}},
        {"table": {"family": "quantum", "name": "t"}},
        {"table": {"family": "ip", "name": "t"}},
        {"chain": {"family": "ip", "table": "t", "name": "c", "type": "filter", "hook": "teleport", "prio": 0}},
        {"chain": {"family": "ip", "table": "t", "name": "d"}},
        {"rule": {"family": "ip", "table": "t", "chain": "d", "expr": [{"jump": {"target": "gone"}}]}},
        {"map": {"family": "ip", "table": "t", "name": "m", "type": "mark", "map": "verdict",
            "elem": [[1, {"goto": {"target": "lost"}}], 7]}},
    ]});
    let ruleset = read_json(&listing, &[]).unwrap();
    assert_eq!(
        ruleset.unread,
        [
            (Lack::Novel, "nft novelty: not known to this version"),
            (Lack::Novel, "nft table of family quantum: not known to this version"),
            (Lack::Novel, "chain ip t c: hook teleport is not known to this version"),
            (Lack::Broken, "chain ip t gone: led to, but not listed"),
            (Lack::Broken, "chain ip t lost: led to, but not listed"),
        ]
        .map(|(lack, what)| Unread::new(lack, what))
    );
    assert_eq!(ruleset.tables[0].sets["m"].incomplete.as_deref(), Some("an element without data: 7"));
}

#[test]
fn what_iptables_wrote_is_unknown_by_name() {
    assert_eq!(
        statements(&json!({"xt": {"type": "match", "name": "addrtype"}})),
        [Statement::Unknown("xt match \"addrtype\"".to_owned())]
    );
}

#[test]
fn unknown_payload_is_asked_of_its_own_packets_only() {
    let found = statements(
        &json!({"match": {"op": "==", "left": {"payload": {"protocol": "sctp", "field": "dport"}}, "right": 80}}),
    );
    let [Statement::Match(guard), Statement::Match(unknown)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(guard.left, Expression::Field(Field::TransportProtocol));
    assert_eq!(guard.operator, Operator::Equal);
    assert_eq!(unknown.left, Expression::Unknown("sctp dport".to_owned()));
}

#[test]
fn an_unknown_operator_is_an_unknown_match() {
    let found = statements(&json!({"match": {"op": "~", "left": {"meta": {"key": "mark"}}, "right": 1}}));
    let [Statement::Match(Match { left, right, .. })] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(*left, Expression::Unknown("meta mark ~ 0x00000001".to_owned()));
    assert_eq!(*right, Pattern::Unknown("what `~` compares".to_owned()));
}

#[test]
fn sets_that_rules_fill_are_dynamic() {
    let ruleset = read("features");
    let sets = &ruleset.tables[0].sets;
    let dynamic: Vec<&str> = {
        let mut names: Vec<&str> = sets.iter().filter(|(_, set)| set.dynamic).map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(dynamic, ["dyn", "timed"]);
}

/// The statements of a rule with this one in a table of both families.
fn statements(statement: &Value) -> Vec<Statement> {
    let listing = json!({"nftables": [
        {"table": {"family": "inet", "name": "t"}},
        {"chain": {"family": "inet", "table": "t", "name": "c"}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [statement]}},
    ]});
    let ruleset = read_json(&listing, &[]).unwrap();
    ruleset.tables[0].chains[0].rules[0].statements.clone()
}

/// A model to read: each rule with its statements.
fn shown(ruleset: &Ruleset) -> String {
    let mut text = String::new();
    for line in &ruleset.unread {
        writeln!(text, "unread: {line}").unwrap();
    }
    for table in &ruleset.tables {
        writeln!(text, "{:?} {} dormant {:?}", table.family, table.name, table.dormant).unwrap();
        let mut sets: Vec<_> = table.sets.values().collect();
        sets.sort_by(|one, other| one.name.cmp(&other.name));
        for set in sets {
            let dynamic = if set.dynamic { " dynamic" } else { "" };
            writeln!(text, "  set {}: {}{dynamic} {:?}", set.name, set.key_types.join(" . "), set.incomplete).unwrap();
            for element in &set.elements {
                writeln!(text, "    {:?} -> {:?}", element.key, element.data).unwrap();
            }
        }
        for Chain { name, base, rules } in &table.chains {
            writeln!(text, "  chain {name} {base:?}").unwrap();
            for rule in rules {
                let number = rule.number;
                writeln!(text, "    {number} ({:?}, {:?}) {}", rule.handle, rule.counter, rule.text).unwrap();
                for statement in &rule.statements {
                    writeln!(text, "      {}", short(&format!("{statement:?}"))).unwrap();
                }
            }
        }
    }
    text
}

fn short(debug: &str) -> String {
    let mut text = debug.to_owned();
    for (long, short) in [
        ("Match(Match { left: ", "Match("),
        (", operator: ", ", "),
        (", right: ", ", "),
        (" })", ")"),
        ("Exactly(Number", "(="),
        ("Exactly(Name", "(="),
        ("Set { name: \"\", key_types: [], elements: ", "{"),
        (", dynamic: false, incomplete: None", ""),
    ] {
        text = text.replace(long, short);
    }
    text
}
