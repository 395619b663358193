//! The readers of iptables-save and ipset listings, on what the real tools printed (tests/data/firewall/iptables) and on
//! broken text.
#![expect(clippy::disallowed_methods, reason = "reads recorded listings")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::net::IpAddr;
use std::path::Path;

use postern::firewall::ipset::{self, Catalogue};
use postern::firewall::iptables::{IptablesError, read};
use postern::firewall::ruleset::*;
use postern::model::Transport;
use postern::model::network::{FirewallDump, IptablesBackend, IptablesDump};
use postern::model::path::{Lack, Unread};
use proptest::prelude::*;

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
fn basic_options() {
    assert_eq!(
        statements("-s 10.0.0.0/8 ! -d 198.18.0.1/32 -i eth+ ! -o docker0 -p tcp -j ACCEPT"),
        [
            is(Field::IpSource, Operator::Equal, Pattern::Prefix { value: 10 << 24, length: 8, width: 32 }),
            is(Field::IpDestination, Operator::NotEqual, number(0xc612_0001)),
            is(Field::InputInterface, Operator::Equal, Pattern::NameStart("eth".into())),
            Statement::NoneOf(vec![matching(Field::OutputInterface, Operator::Equal, name("docker0"))]),
            is(Field::TransportProtocol, Operator::Equal, number(6)),
            Statement::Accept,
        ]
    );
    assert_eq!(statements("-p 0 -i + -s 0.0.0.0/0 -j DROP"), [Statement::Drop], "these ask nothing");
    assert_eq!(
        statements("-s 10.0.0.5/255.0.0.255"),
        [Statement::Match(Match {
            left: and(Field::IpSource, 0xff00_00ff),
            operator: Operator::Equal,
            right: number(0x0a00_0005)
        })]
    );
    assert_eq!(
        statements("! -f"),
        [Statement::Match(Match {
            left: and(Field::IpFragmentOffset, 0x1fff),
            operator: Operator::Equal,
            right: number(0)
        })]
    );
}

#[test]
fn ports_flags_and_types() {
    let tcp = is(Field::TransportProtocol, Operator::Equal, number(6));
    let to = Field::DestinationPort(Some(Transport::Tcp));
    let from = Field::SourcePort(Some(Transport::Tcp));
    let expected = [tcp.clone(), is(to, Operator::NotEqual, Pattern::Range(22, 23)), Statement::Drop];
    assert_eq!(statements("-p tcp -m tcp ! --dport 22:23 -j DROP"), expected);
    assert_eq!(statements("-p tcp ! --dport 22:23 -j DROP"), expected, "without -m");
    let syn = Match { left: and(Field::TcpFlags, 0x17), operator: Operator::Equal, right: number(2) };
    assert_eq!(statements("-p tcp -m tcp --syn"), [tcp.clone(), Statement::Match(syn.clone())]);
    assert_eq!(statements("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"), [tcp.clone(), Statement::Match(syn)]);
    let Statement::AnyOf(either) = &statements("-p tcp -m multiport --ports 80,8000:8100")[1] else { panic!() };
    assert_eq!(either.len(), 2);
    assert_eq!(either[0].left, Expression::Field(from));
    assert_eq!(either[1].left, Expression::Field(to));
    let Pattern::Set(SetReference::Anonymous(set)) = &either[1].right else { panic!("{either:?}") };
    assert_eq!(
        set.elements.iter().map(|element| element.key.clone()).collect::<Vec<_>>(),
        [number(80), Pattern::Range(8000, 8100)]
    );
    assert!(
        matches!(&statements("-p tcp -m multiport ! --ports 80")[1], Statement::NoneOf(matches) if matches.len() == 2)
    );
    assert_eq!(
        statements("-p icmp -m icmp --icmp-type 3/4")[1],
        Statement::Match(Match {
            left: Expression::Concatenation(vec![
                Expression::Field(Field::IcmpType),
                Expression::Field(Field::IcmpCode)
            ]),
            operator: Operator::Equal,
            right: Pattern::Concatenation(vec![number(3), number(4)]),
        })
    );
    assert_eq!(statements("-p icmp --icmp-type echo-request")[1], is(Field::IcmpType, Operator::Equal, number(8)));
}

#[test]
fn connections() {
    let state = |bits| is(Field::ConnectionState, Operator::AnyBit, number(bits));
    assert_eq!(statements("-m conntrack --ctstate RELATED,ESTABLISHED"), [state(6)]);
    assert_eq!(statements("-m state --state NEW"), [state(8)]);
    let snat = matching(Field::ConnectionStatus, Operator::AnyBit, number(0x10));
    assert_eq!(
        statements("-m conntrack --ctstate NEW,SNAT"),
        [Statement::AnyOf(vec![matching(Field::ConnectionState, Operator::AnyBit, number(8)), snat])]
    );
    assert_eq!(
        statements("-m conntrack ! --ctstate NEW"),
        [Statement::NoneOf(vec![matching(Field::ConnectionState, Operator::AnyBit, number(8))])]
    );
    assert_eq!(
        statements("-m conntrack --ctorigdst 198.18.0.1 --ctorigdstport 8080 --ctdir ORIGINAL"),
        [
            is(Field::OriginalDestination, Operator::Equal, number(0xc612_0001)),
            is(Field::OriginalDestinationPort, Operator::Equal, number(8080)),
            is(Field::ConnectionDirection, Operator::Equal, number(0)),
        ]
    );
    // Untracked packets pass the other questions in the kernel.
    assert!(is_unknown(&statements("-m conntrack --ctstate NEW,UNTRACKED --ctorigdstport 80")[0]));
}

#[test]
fn sets_are_asked_for_their_own_fields() {
    let ask = |left, name: &str| Match {
        left,
        operator: Operator::Equal,
        right: Pattern::Set(SetReference::Ipset(name.to_owned())),
    };
    let source = || Expression::Field(Field::IpSource);
    assert_eq!(statements("-m set --match-set addresses src"), [Statement::AnyOf(vec![ask(source(), "addresses")])]);
    // A list is asked member by member.
    assert_eq!(
        statements("-m set ! --match-set all src"),
        [Statement::NoneOf(vec![ask(source(), "addresses"), ask(source(), "nets")])]
    );
    // ICMP elements stand where ports do.
    let Statement::AnyOf(asked) = &statements("-m set --match-set services dst,dst")[0] else { panic!() };
    assert_eq!(asked.len(), 2);
    assert_eq!(
        asked[0].left,
        Expression::Concatenation(vec![
            Expression::Field(Field::IpDestination),
            Expression::Field(Field::TransportProtocol),
            Expression::Field(Field::DestinationPort(None)),
        ])
    );
    // Too few directions, or the other family: the kernel finds nothing.
    assert_eq!(statements("-m set --match-set services dst"), [Statement::AnyOf(Vec::new())]);
    assert_eq!(statements("-m set --match-set services6 dst,dst"), [Statement::AnyOf(Vec::new())]);
    assert!(is_unknown(&statements("-m set --match-set nowhere src")[0]), "a set that was not listed");
    assert!(is_unknown(&statements("-m set --match-set addresses src --packets-gt 5")[0]));
}

#[test]
fn marks_are_computed_as_the_kernel_does() {
    let changed = |rule: &str| match statements(rule).remove(0) {
        Statement::SetMark(value) | Statement::SetConnectionMark(value) => value,
        other => panic!("{other:?}"),
    };
    let old = 0xffff_0fff;
    for (rule, new) in [
        ("-j MARK --set-mark 0x10/0xf0", 0xffff_0f1f_u128),
        ("-j MARK --set-xmark 0x10/0xf0", 0xffff_0f1f),
        // The value reaches beyond the mask: set-mark sets the bits, set-xmark flips them.
        ("-j MARK --set-mark 0x1f/0xf0", 0xffff_0f1f),
        ("-j MARK --set-xmark 0x1f/0xf0", 0xffff_0f10),
        ("-j MARK --set-mark 7", 7),
        ("-j MARK --and-mark 0xff", 0xff),
        ("-j MARK --or-mark 0x4000", 0xffff_4fff),
        ("-j MARK --xor-mark 0x3", 0xffff_0ffc),
        ("-j CONNMARK --set-xmark 0x1/0xff", 0xffff_0f01),
    ] {
        assert_eq!(value(&changed(rule), old, old), new, "{rule}");
    }
    // Packet mark 0x1234, connection mark 0xff00ff.
    for (rule, new) in [
        ("-j CONNMARK --save-mark", 0x1234_u128),
        ("-j CONNMARK --restore-mark", 0x00ff_00ff),
        ("-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf0", 0x12f0),
        ("-j CONNMARK --save-mark --mask 0xff", 0x00ff_0034),
    ] {
        assert_eq!(value(&changed(rule), 0x1234, 0x00ff_00ff), new, "{rule}");
    }
}

#[test]
fn targets() {
    let to = |text: &str| text.parse::<IpAddr>().unwrap();
    let translation = |to, ports| Translation { to, ports, flags: Vec::new() };
    let last = |rule: &str| statements(rule).pop().unwrap();
    let address = TranslationTarget::Address(to("172.17.0.2"));
    for (rule, expected) in [
        ("-j REJECT", Statement::Reject(Reject::Icmp(3))),
        ("-j REJECT --reject-with icmp-admin-prohibited", Statement::Reject(Reject::Icmp(13))),
        ("-p tcp -j REJECT --reject-with tcp-reset", Statement::Reject(Reject::TcpReset)),
        (
            "-p tcp -j DNAT --to-destination 172.17.0.2:80",
            Statement::DestinationNat(translation(address.clone(), Ports::Exactly(80))),
        ),
        (
            "-p tcp -j DNAT --to-destination :80",
            Statement::DestinationNat(translation(TranslationTarget::Unchanged, Ports::Exactly(80))),
        ),
        (
            "-p tcp -j DNAT --to-destination 172.17.0.2-172.17.0.5:80-90/8000",
            Statement::DestinationNat(translation(
                TranslationTarget::Range(to("172.17.0.2"), to("172.17.0.5")),
                Ports::Range(80, 90),
            )),
        ),
        (
            "-j SNAT --to-source 172.17.0.2 --persistent",
            Statement::SourceNat(Translation {
                to: address,
                ports: Ports::Unchanged,
                flags: vec!["persistent".to_owned()],
            }),
        ),
        ("-j MASQUERADE", Statement::Masquerade(Ports::Unchanged)),
        ("-p tcp -j REDIRECT --to-ports 80", Statement::Redirect(Ports::Exactly(80))),
        ("-p tcp -j REDIRECT --to-ports 80-90", Statement::Redirect(Ports::Range(80, 90))),
        ("-j CT --notrack", Statement::NoTrack),
        ("-j LOG --log-prefix \"-j DROP \"", Statement::Passive("-j LOG --log-prefix \"-j DROP \"".to_owned())),
        ("-j USER", Statement::Jump("USER".to_owned())),
        ("-g USER", Statement::Goto("USER".to_owned())),
        ("-j TARPIT --tarpit", Statement::Unknown("-j TARPIT --tarpit".to_owned())),
        ("-j RETURN", Statement::Return),
    ] {
        assert_eq!(last(rule), expected, "{rule}");
    }
    assert_eq!(
        statements("-p tcp -j TPROXY --on-port 50080 --on-ip 127.0.0.1 --tproxy-mark 0x1/0x1")[1..],
        [
            Statement::SetMark(Expression::Xor(
                Box::new(and(Field::Mark, 0xffff_fffe)),
                Box::new(Expression::Value(Datum::Number(1)))
            )),
            Statement::TransparentProxy(translation(
                TranslationTarget::Address(to("127.0.0.1")),
                Ports::Exactly(50080)
            )),
        ]
    );
}

#[test]
fn targets_of_ipv6() {
    let tables = read(&recorded("ip6tables-nft-save.txt", true, IptablesBackend::Nft), &sets()).unwrap();
    let target = |text: &str| {
        let rule = rules(&tables).find(|rule| rule.text.contains(text)).unwrap_or_else(|| panic!("{text}"));
        rule.statements.last().unwrap().clone()
    };
    let to = TranslationTarget::Address("2001:db8::2".parse().unwrap());
    let dnat = |to, ports| Statement::DestinationNat(Translation { to, ports, flags: Vec::new() });
    assert_eq!(target("--dport 8080 "), dnat(to.clone(), Ports::Exactly(80)));
    assert_eq!(target("--dport 8082 "), dnat(to, Ports::Unchanged));
    assert_eq!(target("--dport 8085 "), dnat(TranslationTarget::Unchanged, Ports::Exactly(85)));
    assert_eq!(target("icmp6-port-unreachable"), Statement::Reject(Reject::Icmp6(4)));
    assert_eq!(target("icmp6-policy-fail"), Statement::Reject(Reject::Icmp6(5)));
    let Statement::DestinationNat(Translation { to: TranslationTarget::Computed(Expression::Or(host, net)), .. }) =
        target("NETMAP")
    else {
        panic!("{:?}", target("NETMAP"));
    };
    assert_eq!(*host, and(Field::Ip6Destination, u64::MAX.into()));
    assert_eq!(*net, Expression::Value(Datum::Number(0x2001_0db8_0008 << 80)));
    let rule = |text: &str| {
        let tables =
            read(&dump(&format!("*nat\n:PREROUTING ACCEPT\n-A PREROUTING {text}\nCOMMIT"), true), &sets()).unwrap();
        rules(&tables).next().unwrap().statements.last().unwrap().clone()
    };
    assert_eq!(
        rule("-p tcp -j DNAT --to-destination [2001:db8::2-2001:db8::5]:80-90"),
        dnat(
            TranslationTarget::Range("2001:db8::2".parse().unwrap(), "2001:db8::5".parse().unwrap()),
            Ports::Range(80, 90)
        )
    );
}

#[test]
fn a_net_map_translates_by_its_hook() {
    let dump = dump(
        "*nat\n:PREROUTING ACCEPT\n:POSTROUTING ACCEPT\n:IN -\n:OUT -\n:BOTH -\n:NOWHERE -\n\
         -A PREROUTING -j IN\n-A POSTROUTING -j OUT\n-A IN -j BOTH\n-A OUT -g BOTH\n\
         -A IN -j NETMAP --to 10.8.0.0/16\n-A OUT -j NETMAP --to 10.8.0.0/16\n-A BOTH -j NETMAP --to 10.8.0.0/16\n\
         -A NOWHERE -j NETMAP --to 10.8.0.0/16\nCOMMIT\n",
        false,
    );
    let tables = read(&dump, &Catalogue::default()).unwrap();
    let last = |chain: &str| {
        let chain = tables[0].chains.iter().find(|known| known.name == chain).unwrap();
        chain.rules.last().unwrap().statements.last().unwrap()
    };
    assert!(matches!(last("IN"), Statement::DestinationNat(_)));
    assert!(matches!(last("OUT"), Statement::SourceNat(_)));
    assert!(matches!(last("BOTH"), Statement::Unknown(_)));
    assert!(matches!(last("NOWHERE"), Statement::Unknown(_)));
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
fn joined_with_nft_each_rule_has_its_handle_and_its_content() {
    let dump = whole_dump();
    let ruleset = Ruleset::of_dump(&dump);
    assert_eq!(ruleset.unread, Vec::new());
    let handles = |value: &serde_json::Value| {
        value["nftables"].as_array().unwrap().iter().filter(|object| object.get("rule").is_some()).count()
    };
    assert_eq!(rules(&ruleset.tables).count(), handles(dump.nft.as_ref().unwrap()));
    assert!(rules(&ruleset.tables).all(|rule| rule.handle.is_some()));
    assert!(ruleset.tables.iter().all(|table| table.backend == Backend::IptablesNft));
    // What nft shows as closed is open now: the same statements as iptables-save alone gives.
    let alone = read(&recorded("iptables-nft-save.txt", false, IptablesBackend::Nft), &sets()).unwrap();
    for (family, alone) in alone.iter().map(|table| (Family::Ip, table)) {
        let joined = ruleset.tables.iter().find(|table| table.family == family && table.name == alone.name).unwrap();
        for chain in &alone.chains {
            let Some(joined) = joined.chains.iter().find(|known| known.name == chain.name) else {
                assert!(chain.rules.is_empty(), "{}", chain.name);
                continue;
            };
            assert_eq!(joined.base, chain.base, "{}", chain.name);
            for (joined, alone) in joined.rules.iter().zip(&chain.rules) {
                assert_eq!((&joined.text, joined.number, &joined.comment), (&alone.text, alone.number, &alone.comment));
                if joined.statements != alone.statements {
                    // nft was clearer there.
                    assert!(alone.statements.iter().any(is_unknown), "{}: {:?}", joined.text, joined.statements);
                }
            }
        }
    }
    assert!(ruleset.ipsets["filled"].dynamic, "-j SET fills it");
    assert!(!ruleset.ipsets["addresses"].dynamic);
}

#[test]
fn dumps_of_two_moments_leave_closed_parts_unknown() {
    let mut dump = whole_dump();
    for one in &mut dump.iptables {
        one.text = one.text.replace("-A DIVERT -j ACCEPT", "-A DIVERT -j ACCEPT\n[0:0] -A DIVERT -j DROP");
    }
    let ruleset = Ruleset::of_dump(&dump);
    let mangle = ruleset.tables.iter().find(|table| table.name == "mangle" && table.family == Family::Ip).unwrap();
    let divert = mangle.chains.iter().find(|chain| chain.name == "DIVERT").unwrap();
    assert_eq!(divert.rules.len(), 2, "as nft shows it");
    assert!(
        divert.rules[0].statements.iter().any(|statement| {
            matches!(statement, Statement::Unknown(text) if text.contains("the iptables dump has other rules"))
        }),
        "{:?}",
        divert.rules[0]
    );
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
