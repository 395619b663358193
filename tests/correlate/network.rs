//! The network state that a kernel makes of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postern::model::NetworkState;
use postern::model::host_report::HostAddress;
use postern::model::network::{FirewallDump, Interface, InterfaceAddress, Route, RouteKind};

/// Interfaces with these addresses, the routes that the kernel makes of them, and forwarding.
pub fn network(addresses: &[HostAddress], sysctls: &[String]) -> NetworkState {
    let mut state = NetworkState::default();
    state.sysctls.insert("ipv4.ip_forward".to_owned(), "1".to_owned());
    let given = sysctls.iter().filter_map(|text| text.split_once('='));
    state.sysctls.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for entry in addresses {
        let own = InterfaceAddress { address: entry.address, prefix: entry.prefix };
        let index = u32::try_from(state.interfaces.len()).unwrap() + 2;
        match state.interfaces.iter_mut().find(|interface| interface.name == entry.interface) {
            Some(known) => known.addresses.push(own),
            None => state.interfaces.push(Interface {
                index,
                name: entry.interface.clone(),
                up: true,
                addresses: vec![own],
                ..Interface::default()
            }),
        }
        for name in ["all", &entry.interface] {
            for (setting, value) in [("route_localnet", "0"), ("rp_filter", "0"), ("forwarding", "1")] {
                let name = format!("ipv4.conf.{name}.{setting}");
                state.sysctls.entry(name).or_insert_with(|| value.to_owned());
            }
        }
        let route = |table, kind, destination, prefix| Route {
            table,
            kind,
            destination,
            prefix,
            interface: Some(entry.interface.clone()),
            gateway: None,
            source: None,
            metric: 0,
            multipath: false,
        };
        let width = if entry.address.is_ipv4() { 32 } else { 128 };
        state.routes.push(route(255, RouteKind::Local, entry.address, width));
        state.routes.push(route(254, RouteKind::Unicast, first_of(entry.address, entry.prefix), entry.prefix));
    }
    state.routes.push(Route {
        table: 255,
        kind: RouteKind::Local,
        destination: [127, 0, 0, 0].into(),
        prefix: 8,
        interface: Some("lo".to_owned()),
        gateway: None,
        source: None,
        metric: 0,
        multipath: false,
    });
    state
}

/// Every backend was looked at and holds nothing.
pub fn no_rules() -> FirewallDump {
    FirewallDump {
        empty: ["nft", "iptables-legacy", "ip6tables-legacy"].map(str::to_owned).to_vec(),
        ..FirewallDump::default()
    }
}

fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into()
        }
    }
}
