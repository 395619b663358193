//! What targets mean.

use super::*;

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
