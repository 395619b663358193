//! Driver: the settings that decide about packets, from /proc/sys/net. That folder is the one of the namespace of
//! whoever reads it.
#![expect(clippy::disallowed_methods, reason = "reads /proc/sys/net")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use super::link::Link;

/// Settings by their names without `net.`; what the kernel does not have is left out. Of interfaces it has told most with
/// the interfaces themselves.
pub fn read(links: &[Link]) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut buffer = [0; LONGEST];
    let mut take = |folder: &str, names: &[&str]| {
        for name in names {
            if let Some(value) = text(&format!("/proc/sys/net/{folder}/{name}"), &mut buffer) {
                // An interface's name may have dots; it is kept as it is.
                let key = format!("{}.{name}", folder.replacen('/', ".", 2));
                settings.insert(key, value.trim().replace('\t', " "));
            }
        }
    };
    take("ipv4", IPV4);
    take("ipv6", IPV6);
    take("bridge", BRIDGE);
    take("netfilter", NETFILTER);
    take("core", CORE);
    let untold = links.iter().filter(|link| link.settings.is_empty()).map(|link| link.name.as_str());
    for interface in ["all", "default"].into_iter().chain(untold) {
        // A name with a slash cannot be: the kernel refuses it (dev_valid_name).
        take(&format!("ipv4/conf/{interface}"), IPV4_INTERFACE);
        take(&format!("ipv6/conf/{interface}"), IPV6_INTERFACE);
    }
    for link in links {
        for (family, name, value) in &link.settings {
            settings.insert(format!("{family}.conf.{}.{name}", link.name), value.cast_signed().to_string());
        }
    }
    settings
}

/// A file that is shorter than the buffer.
fn text<'a>(path: &str, buffer: &'a mut [u8]) -> Option<&'a str> {
    let length = File::open(path).ok()?.read(buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

/// A setting is given whole to the first read; the reserved ports may be a long list.
const LONGEST: usize = 16 << 10;
const IPV4: &[&str] = &[
    "icmp_echo_ignore_all",
    "ip_forward",
    "ip_local_port_range",
    "ip_local_reserved_ports",
    "ip_nonlocal_bind",
    "ip_unprivileged_port_start",
    "tcp_l3mdev_accept",
    "tcp_syncookies",
    "udp_l3mdev_accept",
];
const IPV6: &[&str] = &["bindv6only", "ip_nonlocal_bind"];
const BRIDGE: &[&str] = &["bridge-nf-call-ip6tables", "bridge-nf-call-iptables"];
const NETFILTER: &[&str] = &["nf_conntrack_count", "nf_conntrack_max"];
const CORE: &[&str] = &["somaxconn"];
const IPV4_INTERFACE: &[&str] =
    &["accept_local", "arp_ignore", "forwarding", "route_localnet", "rp_filter", "src_valid_mark"];
const IPV6_INTERFACE: &[&str] = &["disable_ipv6", "forwarding"];
