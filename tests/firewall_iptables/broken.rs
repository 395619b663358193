//! Text that is broken, cut or changed.

use postern::firewall::iptables::IptablesError;
use postern::model::unread::{Lack, Unread};
use proptest::prelude::*;

use super::*;

#[test]
fn broken_lines_are_named() {
    for (text, line, cause) in [
        ("*filter\n:INPUT ACCEPT [0:0]\n", 2, "the dump ends inside table filter"),
        ("*filter\nCOMMIT\n*filter\nCOMMIT\n", 3, "the table came before"),
        ("*filter\n*nat\n", 2, "table filter was not committed"),
        ("*broute\n", 1, "no table of iptables"),
        ("-A INPUT -j DROP\n", 1, "no table is open"),
        ("*filter\n-A INPUT -j DROP\nCOMMIT\n", 2, "chain INPUT was not declared"),
        ("*filter\n:INPUT MAYBE [0:0]\nCOMMIT\n", 2, "policy MAYBE is not known"),
        ("*filter\n:INPUT ACCEPT [0:x]\nCOMMIT\n", 2, "bad counters"),
        ("*filter\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", 2, "a policy of a chain that is not built in"),
        ("*filter\n:INPUT ACCEPT\n-A INPUT -s 10.0.0.300 -j DROP\nCOMMIT\n", 3, "\"10.0.0.300\" is no IPv4 address"),
        ("*filter\n:INPUT ACCEPT\n-A INPUT -p tcp --dport 70000\nCOMMIT\n", 3, "\"70000\" is no port"),
        ("*filter\n:INPUT ACCEPT\n[1:2 -A INPUT\nCOMMIT\n", 3, "bad counters"),
        ("*filter\n:INPUT ACCEPT\n-A INPUT -g GONE\nCOMMIT\n", 3, "chain GONE was not declared"),
        ("*filter\n:INPUT ACCEPT\n-D INPUT 1\nCOMMIT\n", 3, "neither chain, rule nor COMMIT"),
        ("*filter\n:INPUT ACCEPT\n-A INPUT -m comment --comment \"x\nCOMMIT\n", 3, "a quote is not closed"),
    ] {
        let error: IptablesError = read(&dump(text, false), &Catalogue::default()).unwrap_err();
        assert_eq!((error.line, error.cause.as_str()), (line, cause), "{text}");
        assert!(error.to_string().starts_with(&format!("iptables-save line {line}: {cause}")), "{error}");
    }
}

#[test]
fn cut_short_anywhere_it_is_an_error_or_whole_tables() {
    let sets = sets();
    for (file, ipv6, backend) in LISTINGS {
        let whole = recorded(file, *ipv6, *backend);
        let tables = read(&whole, &sets).unwrap();
        // The long ones are like the short ones: not at every length.
        for end in (0..whole.text.len()).step_by(if *ipv6 { 1 } else { 7 }) {
            let cut = IptablesDump { text: whole.text[..end].to_owned(), ..whole.clone() };
            match read(&cut, &sets) {
                Ok(read) => assert_eq!(read, tables[..read.len()], "{file} cut at {end}"),
                Err(error) => assert_eq!(error.line, cut.text.lines().count(), "{file} cut at {end}: {error}"),
            }
        }
    }
}

#[test]
fn what_nobody_read_is_said() {
    let dump = FirewallDump {
        iptables: vec![dump("*filter\n:INPUT ACCEPT\n-A INPUT -s x\nCOMMIT\n", false)],
        ipset: Some("add nothing 1.2.3.4".to_owned()),
        ..FirewallDump::default()
    };
    assert_eq!(
        Ruleset::of_dump(&dump).unread,
        [
            (Lack::Broken, "ipset save line 1: set nothing was not created: \"add nothing 1.2.3.4\""),
            (Lack::Broken, "iptables-save line 3: \"x\" is no IPv4 address: \"-A INPUT -s x\""),
            (Lack::NotRead, "nftables: not read"),
            (Lack::NotRead, "iptables-legacy: not read (IPv4)"),
            (Lack::NotRead, "iptables-legacy: not read (IPv6)"),
        ]
        .map(|(lack, what)| Unread::new(lack, what))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is put in, taken out or changed never stops the reader, and what it still reads is as long as it says.
    #[test]
    fn mutated_listings_never_panic(
        file in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, "[ -~]{0,6}"), 1..6),
    ) {
        let (name, ipv6, backend) = LISTINGS[file];
        let mut lines: Vec<String> = data(name).lines().map(str::to_owned).collect();
        for (at, kind, text) in changes {
            let index = at.index(lines.len());
            let line = &mut lines[index];
            let place = at.index(line.len() + 1);
            match kind {
                0 => line.insert_str(place, &text),
                1 => line.truncate(place),
                2 => *line = text,
                _ => { lines.remove(index); }
            }
        }
        let text = lines.join("\n");
        let committed = text.lines().filter(|line| line.trim() == "COMMIT").count();
        let appended = text.lines().filter(|line| line.contains("-A ") && !line.trim().starts_with('#')).count();
        if let Ok(tables) = read(&IptablesDump { ipv6, backend, text }, &sets()) {
            prop_assert_eq!(tables.len(), committed);
            prop_assert_eq!(rules(&tables).count(), appended);
        }
    }

    #[test]
    fn mutated_ipset_listings_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,6}"), 1..6),
    ) {
        let mut text = data("ipset-save.txt");
        for (at, put) in changes {
            text.insert_str(at.index(text.len()), &put);
        }
        let _ = ipset::read(&text);
    }
}
