//! The readers of iptables-save and ipset listings, on what the real tools printed (tests/data/firewall/iptables) and on
//! broken text.
#![expect(clippy::disallowed_methods, reason = "reads recorded listings")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::net::IpAddr;
use std::path::Path;

use postern::firewall::ipset::{self, Catalogue};
use postern::firewall::iptables::read;
use postern::firewall::ruleset::*;
use postern::model::Transport;
use postern::model::network::{FirewallDump, IptablesBackend, IptablesDump};

mod broken;
mod joined;
mod listings;
mod matches;
mod targets;

/// File, IPv6, backend.
const LISTINGS: &[(&str, bool, IptablesBackend)] = &[
    ("iptables-nft-save.txt", false, IptablesBackend::Nft),
    ("iptables-legacy-save.txt", false, IptablesBackend::Legacy),
    ("ip6tables-nft-save.txt", true, IptablesBackend::Nft),
    ("ip6tables-legacy-save.txt", true, IptablesBackend::Legacy),
];

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/iptables").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn recorded(name: &str, ipv6: bool, backend: IptablesBackend) -> IptablesDump {
    IptablesDump { ipv6, backend, text: data(name) }
}

/// nft's view of the same rules, and the listings of iptables-nft.
fn whole_dump() -> FirewallDump {
    FirewallDump {
        nft: Some(serde_json::from_str(&data("nft.json")).unwrap()),
        iptables: vec![
            recorded("iptables-nft-save.txt", false, IptablesBackend::Nft),
            recorded("ip6tables-nft-save.txt", true, IptablesBackend::Nft),
        ],
        ipset: Some(data("ipset-save.txt")),
        empty: vec!["iptables-legacy".to_owned(), "ip6tables-legacy".to_owned()],
        ..FirewallDump::default()
    }
}

fn dump(text: &str, ipv6: bool) -> IptablesDump {
    IptablesDump { ipv6, backend: IptablesBackend::Nft, text: text.to_owned() }
}

fn sets() -> Catalogue {
    ipset::read(&data("ipset-save.txt")).unwrap()
}

fn rules(tables: &[Table]) -> impl Iterator<Item = &Rule> {
    tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules)
}

/// Statements of one rule of IPv4's filter table, which has a chain USER too.
fn statements(rule: &str) -> Vec<Statement> {
    let text = format!("*filter\n:INPUT ACCEPT [0:0]\n:USER - [0:0]\n-A INPUT {rule}\nCOMMIT\n");
    let tables = read(&dump(&text, false), &sets()).unwrap_or_else(|error| panic!("{error}"));
    rules(&tables).next().unwrap().statements.clone()
}

fn is_unknown(statement: &Statement) -> bool {
    matches!(statement, Statement::Match(Match { left: Expression::Unknown(_), .. }))
}

fn matching(field: Field, operator: Operator, right: Pattern) -> Match {
    Match { left: Expression::Field(field), operator, right }
}

fn is(field: Field, operator: Operator, right: Pattern) -> Statement {
    Statement::Match(matching(field, operator, right))
}

fn number(number: u128) -> Pattern {
    Pattern::Exactly(Datum::Number(number))
}

fn name(name: &str) -> Pattern {
    Pattern::Exactly(Datum::Name(name.to_owned()))
}

fn and(field: Field, mask: u128) -> Expression {
    Expression::And(Box::new(Expression::Field(field)), Box::new(Expression::Value(Datum::Number(mask))))
}

/// The worth of a mark's expression.
fn value(expression: &Expression, mark: u128, connection: u128) -> u128 {
    match expression {
        Expression::Field(Field::Mark) => mark,
        Expression::Field(Field::ConnectionMark) => connection,
        Expression::Value(Datum::Number(number)) => *number,
        Expression::And(one, other) => value(one, mark, connection) & value(other, mark, connection),
        Expression::Xor(one, other) => value(one, mark, connection) ^ value(other, mark, connection),
        other => panic!("{other:?}"),
    }
}
