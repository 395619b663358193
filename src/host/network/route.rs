//! Routes, policy rules and neighbours as rtnetlink tells (linux/rtnetlink.h, linux/fib_rules.h, linux/neighbour.h).
//! Pure; interfaces are numbers here and get their names from the caller.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::mac;
use super::wire::{AF_INET, AF_INET6, address, attribute, attributes, text, u16_at, u32_at};
use crate::model::network::{NeighbourEntry, PolicyRule, Route, RouteKind};

/// Gives interfaces their names.
pub type Names<'a> = &'a dyn Fn(u32) -> String;

/// Reads the body of RTM_NEWROUTE: `struct rtmsg` and attributes. `None` for other families and for what the kernel only
/// remembers of past look-ups.
pub fn route(body: &[u8], name: Names<'_>) -> Option<Route> {
    let &[family, prefix, _, _, table, _, _, kind] = body.first_chunk::<8>()?;
    if u32_at(body, 8)? & RTM_F_CLONED != 0 {
        return None;
    }
    let mut route = Route {
        table: u32::from(table),
        kind: match kind {
            1 => RouteKind::Unicast,
            2 => RouteKind::Local,
            3 => RouteKind::Broadcast,
            4 => RouteKind::Anycast,
            5 => RouteKind::Multicast,
            6 => RouteKind::Blackhole,
            7 => RouteKind::Unreachable,
            8 => RouteKind::Prohibit,
            9 => RouteKind::Throw,
            _ => RouteKind::Other,
        },
        destination: unspecified(family)?,
        prefix,
        interface: None,
        gateway: None,
        source: None,
        metric: 0,
        multipath: false,
    };
    for (kind, value) in attributes(body.get(ROUTE_HEADER..)?) {
        match kind {
            RTA_DST => route.destination = address(value)?,
            RTA_OIF => route.interface = u32_at(value, 0).map(name),
            RTA_GATEWAY => route.gateway = address(value),
            RTA_VIA => route.gateway = value.get(2..).and_then(address),
            RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            RTA_PREFSRC => route.source = address(value),
            RTA_TABLE => route.table = u32_at(value, 0)?,
            RTA_MULTIPATH => {
                route.multipath = true;
                // `struct rtnexthop`: length, flags, hops, interface; then attributes.
                let length = usize::from(u16_at(value, 0)?);
                let (first, inside) = (u32_at(value, 4)?, value.get(8..length)?);
                route.interface = Some(name(first));
                route.gateway = attribute(inside, RTA_GATEWAY)
                    .and_then(address)
                    .or_else(|| attribute(inside, RTA_VIA).and_then(|via| address(via.get(2..)?)));
            }
            _ => {}
        }
    }
    Some(route)
}

/// Reads the body of RTM_NEWRULE: `struct fib_rule_hdr` and attributes.
pub fn rule(body: &[u8]) -> Option<PolicyRule> {
    let &[family, to_length, from_length, tos, table, _, _, action] = body.first_chunk::<8>()?;
    unspecified(family)?;
    let flags = u32_at(body, 8)?;
    let mut rule =
        PolicyRule { ipv6: family == AF_INET6, invert: flags & FIB_RULE_INVERT != 0, ..PolicyRule::default() };
    let (mut mark, mut mask, mut target, mut jump) = (0, None, u32::from(table), None);
    let prefix = |value: &[u8], length| address(value).map(|address| format!("{address}/{length}"));
    if tos != 0 {
        rule.other.push(format!("tos 0x{tos:02x}"));
    }
    for (kind, value) in attributes(body.get(RULE_HEADER..)?) {
        let number = || u32_at(value, 0);
        match kind {
            FRA_DST => rule.to = prefix(value, to_length),
            FRA_SRC => rule.from = prefix(value, from_length),
            FRA_IIFNAME => rule.iif = Some(text(value)),
            FRA_OIFNAME => rule.oif = Some(text(value)),
            FRA_PRIORITY => rule.priority = number()?,
            FRA_FWMARK => mark = number()?,
            FRA_FWMASK => mask = number(),
            FRA_TABLE => target = number()?,
            FRA_GOTO => jump = number(),
            FRA_SUPPRESS_IFGROUP => rule.other.push(format!("suppress_ifgroup {}", number()?)),
            // -1 stands for none, and is always there.
            FRA_SUPPRESS_PREFIXLEN => {
                rule.other.extend(
                    number().filter(|length| *length != u32::MAX).map(|n| format!("suppress_prefixlength {n}")),
                );
            }
            FRA_L3MDEV if value.first().is_some_and(|on| *on != 0) => rule.other.push("l3mdev".to_owned()),
            FRA_UID_RANGE => rule.other.push(format!("uidrange {}-{}", number()?, u32_at(value, 4)?)),
            FRA_IP_PROTO => rule.other.push(format!("ipproto {}", value.first()?)),
            FRA_SPORT_RANGE => rule.other.push(format!("sport {}-{}", u16_at(value, 0)?, u16_at(value, 2)?)),
            FRA_DPORT_RANGE => rule.other.push(format!("dport {}-{}", u16_at(value, 0)?, u16_at(value, 2)?)),
            FRA_FLOW | FRA_TUN_ID | FRA_DSCP.. => rule.other.push(format!("attribute {kind}")),
            _ => {}
        }
    }
    // The mask alone is there when it is not the default one.
    if mark != 0 || mask.is_some_and(|mask| mask != 0) {
        rule.mark = Some((mark, mask.unwrap_or(u32::MAX)));
    }
    match action {
        FR_ACT_TO_TBL => rule.table = Some(target),
        FR_ACT_GOTO => rule.other.push(format!("goto {}", jump.unwrap_or_default())),
        FR_ACT_NOP => rule.other.push("nop".to_owned()),
        FR_ACT_BLACKHOLE => rule.other.push("blackhole".to_owned()),
        FR_ACT_UNREACHABLE => rule.other.push("unreachable".to_owned()),
        FR_ACT_PROHIBIT => rule.other.push("prohibit".to_owned()),
        other => rule.other.push(format!("action {other}")),
    }
    if rule.other.iter().any(|word| word == "l3mdev") {
        // The table is that of the packet's own VRF.
        rule.table = None;
    }
    Some(rule)
}

/// Reads the body of RTM_NEWNEIGH: `struct ndmsg` and attributes. `None` for multicast and other addresses that are never
/// asked for (NUD_NOARP).
pub fn neighbour(body: &[u8], name: Names<'_>) -> Option<NeighbourEntry> {
    unspecified(*body.first()?)?;
    let state = match u16_at(body, 8)? {
        0x01 => "incomplete",
        0x02 => "reachable",
        0x04 => "stale",
        0x08 => "delay",
        0x10 => "probe",
        0x20 => "failed",
        0x80 => "permanent",
        _ => return None,
    };
    let inside = body.get(NEIGHBOUR_HEADER..)?;
    Some(NeighbourEntry {
        address: address(attribute(inside, NDA_DST)?)?,
        interface: name(u32_at(body, 4)?),
        mac: attribute(inside, NDA_LLADDR).and_then(mac),
        state: state.to_owned(),
    })
}

fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::UNSPECIFIED.into()),
        AF_INET6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

/// Sizes of `struct rtmsg`, `fib_rule_hdr`, `ndmsg`; also bodies of requests when filled with zeros.
pub const ROUTE_HEADER: usize = 12;
pub const RULE_HEADER: usize = 12;
pub const NEIGHBOUR_HEADER: usize = 12;

const RTM_F_CLONED: u32 = 0x200;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

const FIB_RULE_INVERT: u32 = 2;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_GOTO: u8 = 2;
const FR_ACT_NOP: u8 = 3;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

#[cfg(test)]
mod tests {
    use super::super::recorded::{bodies, cut, recorded};
    use super::*;

    fn name(index: u32) -> String {
        ["?", "lo", "br0", "v0", "bond9", "mv7"][index as usize].to_owned()
    }

    #[test]
    fn routes_of_all_tables_and_kinds() {
        let recorded = bodies(recorded!("routes"), 24);
        let routes: Vec<Route> = recorded.iter().filter_map(|body| route(body, &name)).collect();
        let find = |text: &str| {
            let (destination, prefix) = text.split_once('/').unwrap();
            let (destination, prefix): (IpAddr, u8) = (destination.parse().unwrap(), prefix.parse().unwrap());
            let found = routes.iter().find(|route| (route.destination, route.prefix) == (destination, prefix));
            found.unwrap_or_else(|| panic!("{text}: {routes:?}"))
        };
        let default = find("0.0.0.0/0");
        assert_eq!((default.table, default.kind, default.interface.as_deref()), (254, RouteKind::Unicast, Some("br0")));
        assert_eq!(default.gateway, Some("198.18.0.254".parse().unwrap()));
        let metric = find("203.0.113.0/24");
        assert_eq!((metric.metric, metric.source, metric.gateway), (50, Some("198.18.0.1".parse().unwrap()), None));
        assert_eq!(find("198.19.0.0/16").kind, RouteKind::Unreachable);
        assert_eq!(find("192.0.2.0/24").gateway, Some("2001:db8::9".parse().unwrap()));
        let several = find("198.51.100.0/24");
        assert_eq!((several.multipath, several.gateway), (true, Some("198.18.0.2".parse().unwrap())));
        assert_eq!(several.interface.as_deref(), Some("br0"));
        let hole = find("2001:db8:bad::/48");
        assert_eq!((hole.table, hole.kind), (77, RouteKind::Blackhole));
        let local = find("198.18.5.1/32");
        assert_eq!((local.table, local.kind, local.interface.as_deref()), (255, RouteKind::Local, Some("bond9")));
        assert_eq!(find("198.18.0.255/32").kind, RouteKind::Broadcast);
        cut(&recorded, |body| route(body, &name));
    }

    #[test]
    fn policy_rules_with_what_is_not_modelled_in_words() {
        let recorded = bodies(recorded!("rules"), 32);
        let rules: Vec<PolicyRule> = recorded.iter().filter_map(|body| rule(body)).collect();
        let at = |priority, ipv6| rules.iter().find(|rule| (rule.priority, rule.ipv6) == (priority, ipv6)).unwrap();
        assert_eq!(*at(0, false), PolicyRule { table: Some(255), ..PolicyRule::default() });
        assert_eq!(
            *at(100, false),
            PolicyRule {
                priority: 100,
                from: Some("10.0.0.0/8".to_owned()),
                to: Some("198.18.0.0/24".to_owned()),
                iif: Some("br0".to_owned()),
                mark: Some((0x10, 0xf0)),
                table: Some(77),
                ..PolicyRule::default()
            }
        );
        let inverted = at(200, false);
        assert_eq!((inverted.invert, inverted.oif.as_deref(), inverted.table), (true, Some("bond9"), None));
        assert_eq!(inverted.other, ["dport 80-90", "ipproto 6", "unreachable"]);
        assert_eq!(
            (at(300, true).table, &at(300, true).other[..]),
            (Some(254), &["suppress_prefixlength 0".to_owned()][..])
        );
        assert_eq!(at(400, false).other, ["tos 0x10", "uidrange 1000-1999", "goto 32766"]);
        cut(&recorded, rule);
    }

    #[test]
    fn neighbours_with_their_state() {
        let recorded = bodies(recorded!("neighbours"), 28);
        let found: Vec<_> = recorded.iter().filter_map(|body| neighbour(body, &name)).collect();
        let shown: Vec<_> = found
            .iter()
            .map(|one| format!("{} {} {} {}", one.address, one.interface, one.mac.as_deref().unwrap_or("-"), one.state))
            .collect();
        assert!(shown.contains(&"198.18.0.9 br0 02:00:00:00:00:09 permanent".to_owned()), "{shown:?}");
        assert!(shown.contains(&"2001:db8::9 br0 02:00:00:00:00:99 stale".to_owned()), "{shown:?}");
        assert_eq!(shown.len(), 2, "multicast is left out: {shown:?}");
        cut(&recorded, |body| neighbour(body, &name));
    }
}
