//! The listings that the real tools printed, rule by rule.

use super::*;

#[test]
fn every_rule_of_the_real_listings_is_read() {
    let sets = sets();
    for (file, ipv6, backend) in LISTINGS {
        let tables = read(&recorded(file, *ipv6, *backend), &sets).unwrap();
        let text = data(file);
        let wanted = text.lines().filter(|line| line.contains("-A ")).count();
        assert!(wanted > 20, "{file}");
        assert_eq!(rules(&tables).count(), wanted, "{file}");
        assert_eq!(tables.len(), text.lines().filter(|line| *line == "COMMIT").count(), "{file}");
        for rule in rules(&tables) {
            assert!(text.contains(&rule.text), "{file}: the text is the tool's own: {}", rule.text);
            assert!(rule.counter.is_some(), "{file}: {}", rule.text);
        }
    }
}

#[test]
fn what_is_not_understood_is_just_this() {
    let sets = sets();
    let mut found = std::collections::BTreeSet::new();
    for (file, ipv6, backend) in LISTINGS {
        for rule in rules(&read(&recorded(file, *ipv6, *backend), &sets).unwrap()) {
            for statement in &rule.statements {
                match statement {
                    Statement::Unknown(text) => _ = found.insert(format!("does {text}")),
                    Statement::Perhaps(text) => {
                        let name = text.split(' ').nth(1).unwrap();
                        found.insert(format!("perhaps {name}"));
                    }
                    Statement::Match(Match { left: Expression::Unknown(text), .. }) => {
                        _ = found.insert(format!("matches {text}"));
                    }
                    Statement::SetMark(Expression::Unknown(text))
                    | Statement::SetField { value: Expression::Unknown(text), .. } => {
                        _ = found.insert(format!("sets {text}"));
                    }
                    _ => {}
                }
            }
        }
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "does -j NFQUEUE --queue-num 3",
            "matches --tcp-option 8",
            "matches -m addrtype ! --dst-type LOCAL --limit-iface-out",
            "matches -m addrtype --dst-type UNICAST",
            "matches -m esp --espspi 1:5",
            "matches -m ipv6header --header ipv6-frag --soft",
            "matches -m policy --dir in --pol ipsec --proto esp",
            "matches -m rpfilter --loose",
            "matches -m socket",
            "matches -m string --string \"GET /\" --algo bm",
            "matches -m time --timestart 08:00:00 --timestop 18:00:00 --datestop 2038-01-19T03:14:07",
            "matches -m tos --tos 0x10/0x3f",
            "matches -m u32 --u32 \"0x0>>0x16&0x3c@0x0&0xff=0x8\"",
            "perhaps connlimit",
            "perhaps hashlimit",
            "perhaps limit",
            "perhaps quota",
            "perhaps recent",
            "perhaps statistic",
            "sets -j TOS --set-tos 0x10/0xff",
            "sets -j TTL --ttl-inc 1",
        ]
    );
}

#[test]
fn both_tools_give_the_same_rules() {
    let sets = sets();
    for ipv6 in [false, true] {
        let [nft, legacy] = [IptablesBackend::Nft, IptablesBackend::Legacy].map(|wanted| {
            let (file, ..) = LISTINGS.iter().find(|(_, six, backend)| *six == ipv6 && *backend == wanted).unwrap();
            let mut tables = read(&recorded(file, ipv6, wanted), &sets).unwrap();
            tables.sort_by(|one, other| one.name.cmp(&other.name));
            tables
        });
        for (nft, legacy) in nft.iter().zip(&legacy) {
            assert_eq!((nft.backend, legacy.backend), (Backend::IptablesNft, Backend::IptablesLegacy));
            let mut chains = legacy.chains.clone();
            if legacy.name == "security" {
                let places = chains.iter_mut().filter_map(|chain| chain.base.as_mut());
                places.for_each(|base| base.priority += 100);
            }
            assert_eq!(nft.chains, chains, "{}", nft.name);
        }
    }
}

#[test]
fn built_in_chains_have_their_place() {
    let tables = read(&recorded("iptables-nft-save.txt", false, IptablesBackend::Nft), &sets()).unwrap();
    let place = |table: &str, chain: &str| {
        let table = tables.iter().find(|known| known.name == table).unwrap();
        let base = table.chains.iter().find(|known| known.name == chain).unwrap().base.clone().unwrap();
        (base.kind, base.hook, base.priority, base.policy)
    };
    assert_eq!(place("raw", "PREROUTING"), (ChainKind::Filter, Hook::Prerouting, -300, Policy::Accept));
    assert_eq!(place("mangle", "OUTPUT"), (ChainKind::Route, Hook::Output, -150, Policy::Accept));
    assert_eq!(place("mangle", "FORWARD"), (ChainKind::Filter, Hook::Forward, -150, Policy::Accept));
    assert_eq!(place("nat", "PREROUTING"), (ChainKind::Nat, Hook::Prerouting, -100, Policy::Accept));
    assert_eq!(place("nat", "INPUT"), (ChainKind::Nat, Hook::Input, 100, Policy::Accept));
    assert_eq!(place("filter", "INPUT"), (ChainKind::Filter, Hook::Input, 0, Policy::Drop));
    assert_eq!(place("security", "FORWARD"), (ChainKind::Filter, Hook::Forward, 150, Policy::Accept));
    let user = tables.iter().flat_map(|table| &table.chains).find(|chain| chain.name == "DOCKER").unwrap();
    assert_eq!(user.base, None);
}

#[test]
fn counters_comments_and_numbers() {
    let dump = dump(
        "# Generated\n*filter\n:INPUT ACCEPT [5:6]\n[12:345] -A INPUT -p tcp -m comment --comment \"a \\\"b\\\" it\\'s\" \
         -j ACCEPT\n-A INPUT\nCOMMIT\n# Completed\n",
        false,
    );
    let tables = read(&dump, &Catalogue::default()).unwrap();
    let rules: Vec<&Rule> = rules(&tables).collect();
    assert_eq!(rules[0].counter, Some((12, 345)));
    assert_eq!(rules[0].comment.as_deref(), Some("a \"b\" it's"));
    assert_eq!((rules[0].number, rules[1].number), (1, 2));
    assert_eq!((rules[1].text.as_str(), &rules[1].statements), ("", &Vec::new()));
}
