//! What options and matches mean.

use super::*;

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
