//! `ip -j` of iproute2: addresses, routes, policy rules, neighbours. Pure.
//!
//! With `-N` kinds and tables are numbers, without they are names; both are read. What is not understood is left out and
//! counted, never guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::model::network::{Interface, InterfaceAddress, NeighbourEntry, PolicyRule, Route, RouteKind};

/// What was read, and how many entries could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    pub entries: Vec<T>,
    pub left_out: usize,
}

/// `ip -d -j addr`.
pub fn interfaces(text: &str) -> Result<Read<Interface>, String> {
    read(text, interface)
}

/// `ip -j -4 route show table all`, or `-6`.
pub fn routes(text: &str, ipv6: bool) -> Result<Read<Route>, String> {
    read(text, |object| route(object, ipv6))
}

/// `ip -j -4 rule`, or `-6`.
pub fn rules(text: &str, ipv6: bool) -> Result<Read<PolicyRule>, String> {
    read(text, |object| rule(object, ipv6))
}

/// `ip -j neigh`.
pub fn neighbours(text: &str) -> Result<Read<NeighbourEntry>, String> {
    read(text, neighbour)
}

fn read<T>(text: &str, entry: impl Fn(&Map<String, Value>) -> Option<T>) -> Result<Read<T>, String> {
    // ip prints nothing at all where there is nothing, or `[{},{…}]` in some versions.
    let text = if text.trim().is_empty() { "[]" } else { text };
    let values: Vec<Value> = serde_json::from_str(text).map_err(|error| format!("no JSON array: {error}"))?;
    let objects: Vec<&Map<String, Value>> =
        values.iter().filter_map(Value::as_object).filter(|object| !object.is_empty()).collect();
    let entries: Vec<T> = objects.iter().filter_map(|object| entry(object)).collect();
    Ok(Read { left_out: objects.len() - entries.len(), entries })
}

fn interface(object: &Map<String, Value>) -> Option<Interface> {
    let flags = object.get("flags").and_then(Value::as_array);
    let addresses = object.get("addr_info").and_then(Value::as_array).into_iter().flatten();
    Some(Interface {
        index: number(object, "ifindex")?,
        name: text(object, "ifname")?,
        kind: object.get("linkinfo").and_then(|info| Some(info.get("info_kind")?.as_str()?.to_owned())),
        // Of interfaces without Ethernet addresses ip shows an IP address here.
        mac: text(object, "address").filter(|mac| is_mac(mac)),
        up: flags.is_some_and(|flags| flags.iter().any(|flag| flag == "UP")),
        master: text(object, "master"),
        peer_namespace: None,
        addresses: addresses
            .filter_map(Value::as_object)
            .filter_map(|one| {
                Some(InterfaceAddress { address: text(one, "local")?.parse().ok()?, prefix: number(one, "prefixlen")? })
            })
            .collect(),
        bpf: bpf(object),
    })
}

fn bpf(object: &Map<String, Value>) -> Vec<String> {
    let Some(program) = object.get("xdp").and_then(Value::as_object) else { return Vec::new() };
    let name = program.get("prog").and_then(|prog| Some(prog.get("name")?.as_str()?.to_owned()));
    vec![format!("xdp:{}", name.unwrap_or_default())]
}

fn route(object: &Map<String, Value>, ipv6: bool) -> Option<Route> {
    let (destination, prefix) = prefix(&text(object, "dst")?, None, ipv6)?;
    let hops = object.get("nexthops").and_then(Value::as_array);
    let hop = hops.and_then(|hops| hops.first()?.as_object()).unwrap_or(object);
    Some(Route {
        table: object.get("table").map_or(Some(MAIN), table)?,
        kind: object.get("type").map_or(RouteKind::Unicast, kind),
        destination,
        prefix,
        interface: text(hop, "dev"),
        gateway: gateway(hop),
        source: text(object, "prefsrc").and_then(|source| source.parse().ok()),
        metric: number(object, "metric").unwrap_or(0),
        multipath: hops.is_some_and(|hops| hops.len() > 1),
    })
}

/// `via` is the gateway of another family.
fn gateway(hop: &Map<String, Value>) -> Option<IpAddr> {
    let via = || text(hop.get("via")?.as_object()?, "host");
    text(hop, "gateway").or_else(via)?.parse().ok()
}

fn rule(object: &Map<String, Value>, ipv6: bool) -> Option<PolicyRule> {
    let end = |name: &str, length: &str| match text(object, name) {
        None => Some(None),
        Some(all) if all == "all" => Some(None),
        Some(address) => {
            let (address, prefix) = prefix(&address, number(object, length), ipv6)?;
            Some(Some(format!("{address}/{prefix}")))
        }
    };
    let mark = match text(object, "fwmark") {
        None => None,
        Some(mark) => {
            let mask = text(object, "fwmask").map_or(Some(u32::MAX), |mask| hexadecimal(&mask))?;
            Some((hexadecimal(&mark)?, mask))
        }
    };
    let other = object.iter().filter(|(key, _)| !RULE_KEYS.contains(&key.as_str()));
    let other = other.map(|(key, value)| match value {
        Value::Null => key.clone(),
        Value::String(value) if key == "action" => action(value),
        Value::String(value) => format!("{key} {value}"),
        value => format!("{key} {value}"),
    });
    Some(PolicyRule {
        priority: number(object, "priority")?,
        ipv6,
        invert: object.contains_key("not"),
        from: end("src", "srclen")?,
        to: end("dst", "dstlen")?,
        iif: text(object, "iif"),
        oif: text(object, "oif"),
        mark,
        table: match object.get("table") {
            None => None,
            Some(value) => Some(table(value)?),
        },
        other: other.collect(),
    })
}

fn neighbour(object: &Map<String, Value>) -> Option<NeighbourEntry> {
    let states = object.get("state").and_then(Value::as_array);
    Some(NeighbourEntry {
        address: text(object, "dst")?.parse().ok()?,
        interface: text(object, "dev")?,
        mac: text(object, "lladdr").filter(|mac| is_mac(mac)),
        state: states.and_then(|states| states.first()?.as_str()).unwrap_or("none").to_lowercase(),
    })
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn number<T: TryFrom<u64>>(object: &Map<String, Value>, key: &str) -> Option<T> {
    T::try_from(object.get(key)?.as_u64()?).ok()
}

/// `default`, `198.18.0.0/24`, or an address whose length stands beside it or is whole.
fn prefix(text: &str, length: Option<u8>, ipv6: bool) -> Option<(IpAddr, u8)> {
    let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    if matches!(text, "default" | "all") {
        return Some((any, 0));
    }
    let (address, behind) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv6() { 128 } else { 32 };
    let length = match behind {
        Some(length) => length.parse().ok()?,
        None => length.unwrap_or(whole),
    };
    (length <= whole).then_some((address, length))
}

/// A name that only the machine's own rt_tables knows is no number.
fn table(value: &Value) -> Option<u32> {
    match value.as_str() {
        Some("main") => Some(MAIN),
        Some("local") => Some(255),
        Some("default") => Some(253),
        Some(text) => text.parse().ok(),
        None => u32::try_from(value.as_u64()?).ok(),
    }
}

/// Names and numbers of rtm_type (linux/rtnetlink.h).
fn kind(value: &Value) -> RouteKind {
    match value.as_str().unwrap_or_default() {
        "unicast" | "1" => RouteKind::Unicast,
        "local" | "2" => RouteKind::Local,
        "broadcast" | "3" => RouteKind::Broadcast,
        "anycast" | "4" => RouteKind::Anycast,
        "multicast" | "5" => RouteKind::Multicast,
        "blackhole" | "6" => RouteKind::Blackhole,
        "unreachable" | "7" => RouteKind::Unreachable,
        "prohibit" | "8" => RouteKind::Prohibit,
        "throw" | "9" => RouteKind::Throw,
        _ => RouteKind::Other,
    }
}

/// Rules use the numbers of route kinds for what is no lookup.
fn action(value: &str) -> String {
    match value {
        "6" => "blackhole".to_owned(),
        "7" => "unreachable".to_owned(),
        "8" => "prohibit".to_owned(),
        name if name.bytes().all(|byte| byte.is_ascii_digit()) => format!("action {name}"),
        name => name.to_owned(),
    }
}

fn hexadecimal(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok())
}

fn is_mac(text: &str) -> bool {
    text.len() == 17
        && text.bytes().enumerate().all(|(at, b)| if at % 3 == 2 { b == b':' } else { b.is_ascii_hexdigit() })
}

const MAIN: u32 = 254;
/// Keys that have a field of their own, and those that say nothing about packets.
const RULE_KEYS: [&str; 13] = [
    "dst",
    "dstlen",
    "fwmark",
    "fwmask",
    "iif",
    "not",
    "oif",
    "priority",
    "protocol",
    "src",
    "srclen",
    "table",
    "iif_detached",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn interfaces_with_kind_master_and_addresses() {
        let text = r#"[{},{"ifindex":2,"ifname":"br0","flags":["BROADCAST","UP"],"address":"6e:44:3e:c8:74:65","linkinfo":{"info_kind":"bridge"},
            "addr_info":[{"family":"inet","local":"198.18.0.2","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64}]},
            {"ifindex":5,"ifname":"v0","flags":[],"address":"198.18.0.1","master":"br0","xdp":{"mode":1,"prog":{"id":7,"name":"drop_all"}},"addr_info":[]},
            {"ifname":"odd"}]"#;
        let found = interfaces(text).unwrap();
        assert_eq!(found.left_out, 1);
        let [bridge, port] = &found.entries[..] else { panic!("{found:?}") };
        assert_eq!((bridge.kind.as_deref(), bridge.up, bridge.addresses.len()), (Some("bridge"), true, 2));
        assert_eq!(bridge.addresses[0], InterfaceAddress { address: ip("198.18.0.2"), prefix: 24 });
        assert_eq!((port.mac.as_deref(), port.master.as_deref(), port.up), (None, Some("br0"), false));
        assert_eq!(port.bpf, ["xdp:drop_all"]);
    }

    #[test]
    fn routes_by_name_and_by_number() {
        // ip -j and ip -N -d -j of the same routes.
        let names = r#"[{"dst":"default","gateway":"198.18.0.1","dev":"br0","flags":[]},
            {"dst":"198.19.0.0/24","flags":[],"nexthops":[{"gateway":"198.18.0.3","dev":"br0","weight":1},{"gateway":"198.18.0.4","dev":"br0","weight":1}]},
            {"type":"blackhole","dst":"198.19.1.0/24","flags":[]},
            {"type":"local","dst":"127.0.0.1","dev":"lo","table":"local","prefsrc":"127.0.0.1","flags":[]},
            {"dst":"198.19.2.0/24","via":{"family":"inet6","host":"fe80::1"},"dev":"br0","table":"77","metric":5,"flags":[]}]"#;
        let numbers = r#"[{"type":"1","dst":"default","gateway":"198.18.0.1","dev":"br0","table":"254","protocol":"3","scope":"0","flags":[]},
            {"type":"1","dst":"198.19.0.0/24","table":"254","flags":[],"nexthops":[{"gateway":"198.18.0.3","dev":"br0","weight":1},{"gateway":"198.18.0.4","dev":"br0","weight":1}]},
            {"type":"6","dst":"198.19.1.0/24","table":"254","flags":[]},
            {"type":"2","dst":"127.0.0.1","dev":"lo","table":"255","prefsrc":"127.0.0.1","flags":[]},
            {"type":"1","dst":"198.19.2.0/24","via":{"family":"inet6","host":"fe80::1"},"dev":"br0","table":"77","metric":5,"flags":[]}]"#;
        let found = routes(names, false).unwrap();
        assert_eq!(found, routes(numbers, false).unwrap());
        let [default, multi, hole, local, via] = &found.entries[..] else { panic!("{found:?}") };
        assert_eq!((default.destination, default.prefix, default.table), (ip("0.0.0.0"), 0, 254));
        assert_eq!((multi.multipath, multi.gateway), (true, Some(ip("198.18.0.3"))));
        assert_eq!((hole.kind, hole.interface.as_deref()), (RouteKind::Blackhole, None));
        assert_eq!((local.kind, local.table, local.prefix), (RouteKind::Local, 255, 32));
        assert_eq!((via.gateway, via.metric, via.table), (Some(ip("fe80::1")), 5, 77));
        let v6 = routes(r#"[{"dst":"default","gateway":"fe80::1","dev":"eth0","metric":1024}]"#, true).unwrap();
        assert_eq!((v6.entries[0].destination, v6.entries[0].prefix), (ip("::"), 0));
    }

    #[test]
    fn a_table_that_only_the_machine_can_name_is_left_out() {
        let found = routes(r#"[{"dst":"default","dev":"a","table":"vpn"},{"dst":"x/9","dev":"a"}]"#, false).unwrap();
        assert_eq!((found.entries.len(), found.left_out), (0, 2));
    }

    #[test]
    fn policy_rules() {
        let text = r#"[{"priority":0,"src":"all","table":"255","protocol":"2"},
            {"priority":32763,"src":"all","ipproto":"ipproto-6","dport":80,"table":"254","suppress_prefixlen":0,"protocol":"0"},
            {"priority":32764,"not":null,"src":"all","dst":"198.18.6.0","dstlen":24,"action":"7","protocol":"0"},
            {"priority":32765,"src":"198.18.5.0","srclen":24,"fwmark":"0x1","fwmask":"0xf","iif":"br0","table":"77","protocol":"0"},
            {"priority":32766,"src":"198.18.5.9","action":"unreachable"}]"#;
        let found = rules(text, false).unwrap();
        let [local, other, not, mark, one] = &found.entries[..] else { panic!("{found:?}") };
        assert_eq!((local.table, local.from.as_deref(), local.other.len()), (Some(255), None, 0));
        assert_eq!(other.other, ["dport 80", "ipproto ipproto-6", "suppress_prefixlen 0"]);
        assert_eq!((not.invert, not.to.as_deref(), not.table), (true, Some("198.18.6.0/24"), None));
        assert_eq!(not.other, ["unreachable"]);
        assert_eq!(
            (mark.mark, mark.from.as_deref(), mark.iif.as_deref()),
            (Some((1, 15)), Some("198.18.5.0/24"), Some("br0"))
        );
        assert_eq!((one.from.as_deref(), &one.other[..]), (Some("198.18.5.9/32"), &["unreachable".to_owned()][..]));
    }

    #[test]
    fn neighbours_and_their_states() {
        let text = r#"[{"dst":"198.18.0.9","dev":"br0","lladdr":"02:00:00:00:00:09","state":["PERMANENT"]},{"dst":"fe80::2","dev":"br0","state":["FAILED"]}]"#;
        let found = neighbours(text).unwrap().entries;
        assert_eq!((found[0].mac.as_deref(), found[0].state.as_str()), (Some("02:00:00:00:00:09"), "permanent"));
        assert_eq!((found[1].mac.as_deref(), found[1].state.as_str()), (None, "failed"));
    }

    #[test]
    fn nothing_is_nothing_and_no_json_is_an_error() {
        assert_eq!(neighbours("\n").unwrap().entries, []);
        assert!(routes("Option \"-j\" is unknown", false).unwrap_err().starts_with("no JSON array"));
        assert!(routes("{}", false).is_err());
    }
}
