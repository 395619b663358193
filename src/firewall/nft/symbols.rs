//! Names that nft prints for numbers.
//!
//! Sources: nft's own tables (`nft describe TYPE`), /etc/protocols and /etc/services of Debian 12 for the rest. Every
//! table is sorted by name; a number with several names has them all.

type Names = &'static [(&'static str, u16)];

/// The number of a name.
pub(super) fn number(names: Names, name: &str) -> Option<u128> {
    let at = names.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(names[at].1.into())
}

/// Protocols, as `meta l4proto` and `ip protocol` name them.
pub(super) const PROTOCOLS: Names = &[
    ("ah", 51),
    ("comp", 108),
    ("dccp", 33),
    ("egp", 8),
    ("eigrp", 88),
    ("encap", 98),
    ("esp", 50),
    ("etherip", 97),
    ("fc", 133),
    ("ggp", 3),
    ("gre", 47),
    ("hip", 139),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ip", 0),
    ("ipcomp", 108),
    ("ipencap", 4),
    ("ipip", 94),
    ("ipv6", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("isis", 124),
    ("l2tp", 115),
    ("manet", 138),
    ("mobility-header", 135),
    ("mpls-in-ip", 137),
    ("mptcp", 262),
    ("ospf", 89),
    ("pim", 103),
    ("rdp", 27),
    ("rohc", 142),
    ("rspf", 73),
    ("rsvp", 46),
    ("sctp", 132),
    ("shim6", 140),
    ("skip", 57),
    ("st", 5),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vmtp", 81),
    ("vrrp", 112),
    ("wesp", 141),
    ("xtp", 36),
];

/// `meta nfproto`.
pub(super) const NETWORK_FAMILIES: Names = &[("arp", 3), ("bridge", 7), ("inet", 1), ("ipv4", 2), ("ipv6", 10)];

/// `ether type`, `meta protocol`.
pub(super) const ETHER_TYPES: Names =
    &[("8021ad", 0x88a8), ("8021q", 0x8100), ("arp", 0x0806), ("ip", 0x0800), ("ip6", 0x86dd), ("vlan", 0x8100)];

/// `meta pkttype` (linux/if_packet.h).
pub(super) const PACKET_TYPES: Names = &[("broadcast", 1), ("host", 0), ("multicast", 2), ("other", 3), ("unicast", 0)];

/// `fib ... type` (RTN_* of linux/rtnetlink.h).
pub(super) const ADDRESS_TYPES: Names = &[
    ("anycast", 4),
    ("blackhole", 6),
    ("broadcast", 3),
    ("local", 2),
    ("multicast", 5),
    ("nat", 10),
    ("prohibit", 8),
    ("throw", 9),
    ("unicast", 1),
    ("unreachable", 7),
    ("unspec", 0),
    ("xresolve", 11),
];

/// `tcp flags`.
pub(super) const TCP_FLAGS: Names =
    &[("ack", 16), ("cwr", 128), ("ecn", 64), ("fin", 1), ("psh", 8), ("rst", 4), ("syn", 2), ("urg", 32)];

/// `ct state`.
pub(super) const CONNECTION_STATES: Names =
    &[("established", 2), ("invalid", 1), ("new", 8), ("related", 4), ("untracked", 64)];

/// `ct status` (IPS_* of linux/netfilter/nf_conntrack_common.h).
pub(super) const CONNECTION_STATUS: Names =
    &[("assured", 4), ("confirmed", 8), ("dnat", 32), ("dying", 512), ("expected", 1), ("seen-reply", 2), ("snat", 16)];

/// `ct direction`.
pub(super) const DIRECTIONS: Names = &[("original", 0), ("reply", 1)];

/// `ip dscp`.
pub(super) const DSCP: Names = &[
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("be", 0),
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("df", 0),
    ("ef", 46),
    ("le", 1),
    ("lephb", 1),
    ("va", 44),
];

/// `icmp type`.
pub(super) const ICMP_TYPES: Names = &[
    ("address-mask-reply", 18),
    ("address-mask-request", 17),
    ("destination-unreachable", 3),
    ("echo-reply", 0),
    ("echo-request", 8),
    ("info-reply", 16),
    ("info-request", 15),
    ("parameter-problem", 12),
    ("redirect", 5),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("source-quench", 4),
    ("time-exceeded", 11),
    ("timestamp-reply", 14),
    ("timestamp-request", 13),
];

/// `icmp code`, `reject with icmp`.
pub(super) const ICMP_CODES: Names = &[
    ("admin-prohibited", 13),
    ("frag-needed", 4),
    ("host-prohibited", 10),
    ("host-unreachable", 1),
    ("net-prohibited", 9),
    ("net-unreachable", 0),
    ("port-unreachable", 3),
    ("prot-unreachable", 2),
];

/// `icmpv6 type`.
pub(super) const ICMP6_TYPES: Names = &[
    ("destination-unreachable", 1),
    ("echo-reply", 129),
    ("echo-request", 128),
    ("ind-neighbor-advert", 142),
    ("ind-neighbor-solicit", 141),
    ("mld-listener-done", 132),
    ("mld-listener-query", 130),
    ("mld-listener-reduction", 132),
    ("mld-listener-report", 131),
    ("mld2-listener-report", 143),
    ("nd-neighbor-advert", 136),
    ("nd-neighbor-solicit", 135),
    ("nd-redirect", 137),
    ("nd-router-advert", 134),
    ("nd-router-solicit", 133),
    ("packet-too-big", 2),
    ("parameter-problem", 4),
    ("router-renumbering", 138),
    ("time-exceeded", 3),
];

/// `icmpv6 code`, `reject with icmpv6`.
pub(super) const ICMP6_CODES: Names = &[
    ("addr-unreachable", 3),
    ("admin-prohibited", 1),
    ("no-route", 0),
    ("policy-fail", 5),
    ("port-unreachable", 4),
    ("reject-route", 6),
];

/// `reject with icmpx` (NFT_REJECT_ICMPX_* of linux/netfilter/nf_tables.h).
pub(super) const ICMPX_CODES: Names =
    &[("admin-prohibited", 3), ("host-unreachable", 2), ("no-route", 0), ("port-unreachable", 1)];

/// Ports, which nft before 0.9.1 and `nft -S` print by name.
pub(super) const SERVICES: Names = &[
    ("bgp", 179),
    ("bootpc", 68),
    ("bootps", 67),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("domain", 53),
    ("domain-s", 853),
    ("ftp", 21),
    ("ftp-data", 20),
    ("git", 9418),
    ("gopher", 70),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap2", 143),
    ("imaps", 993),
    ("ipp", 631),
    ("irc", 194),
    ("isakmp", 500),
    ("kerberos", 88),
    ("ldap", 389),
    ("ldaps", 636),
    ("mdns", 5353),
    ("microsoft-ds", 445),
    ("ms-sql-s", 1433),
    ("mysql", 3306),
    ("netbios-dgm", 138),
    ("netbios-ns", 137),
    ("netbios-ssn", 139),
    ("nfs", 2049),
    ("nntp", 119),
    ("ntp", 123),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("printer", 515),
    ("radius", 1812),
    ("radius-acct", 1813),
    ("redis", 6379),
    ("rsync", 873),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("smtp", 25),
    ("snmp", 161),
    ("snmp-trap", 162),
    ("socks", 1080),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
    ("sunrpc", 111),
    ("svn", 3690),
    ("syslog", 514),
    ("syslog-tls", 6514),
    ("telnet", 23),
    ("tftp", 69),
    ("time", 37),
    ("whois", 43),
    ("xmpp-client", 5222),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_unique() {
        for names in [
            PROTOCOLS,
            NETWORK_FAMILIES,
            ETHER_TYPES,
            PACKET_TYPES,
            ADDRESS_TYPES,
            TCP_FLAGS,
            CONNECTION_STATES,
            CONNECTION_STATUS,
            DIRECTIONS,
            DSCP,
            ICMP_TYPES,
            ICMP_CODES,
            ICMP6_TYPES,
            ICMP6_CODES,
            ICMPX_CODES,
            SERVICES,
        ] {
            for pair in names.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{} before {}", pair[0].0, pair[1].0);
            }
        }
    }

    #[test]
    fn names_are_found() {
        assert_eq!(number(PROTOCOLS, "ipv6-icmp"), Some(58));
        assert_eq!(number(SERVICES, "ssh"), Some(22));
        assert_eq!(number(SERVICES, "no-such-service"), None);
    }
}
