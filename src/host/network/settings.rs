//! Driver: the settings that decide about packets, from /proc/sys/net. That folder is the one of the namespace of
//! whoever reads it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::link::Link;

/// Settings by their names without `net.`; what the kernel does not have is left out. Of interfaces it has told most with
/// the interfaces themselves.
pub fn read(links: &[Link]) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut buffer = [0; LONGEST];
    let untold = || links.iter().filter(|link| link.settings.is_empty()).map(|link| link.name.as_str());
    for (folder, names, of_interfaces) in FOLDERS {
        // Every namespace has a folder of that name, and the kernel goes through all of them to find this one's: once.
        let Ok(open) =
            rustix::fs::open(format!("/proc/sys/net/{folder}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        else {
            continue;
        };
        let mut take = |place: &str, key: &str, name: &str| {
            if let Some(value) = text(&open, &format!("{place}{name}"), &mut buffer) {
                settings.insert(format!("{folder}.{key}{name}"), value.trim().replace('\t', " "));
            }
        };
        names.iter().for_each(|name| take("", "", name));
        for interface in ["all", "default"].into_iter().chain(untold()) {
            // A name with a slash cannot be: the kernel refuses it (dev_valid_name). One with dots is kept as it is.
            let (place, key) = (format!("conf/{interface}/"), format!("conf.{interface}."));
            of_interfaces.iter().for_each(|name| take(&place, &key, name));
        }
    }
    for link in links {
        for (family, name, value) in &link.settings {
            settings.insert(format!("{family}.conf.{}.{name}", link.name), value.cast_signed().to_string());
        }
    }
    settings
}

/// A file that is shorter than the buffer.
fn text<'a>(folder: &OwnedFd, path: &str, buffer: &'a mut [u8]) -> Option<&'a str> {
    let file = rustix::fs::openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = rustix::io::read(&file, &mut *buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

/// A setting is given whole to the first read; the reserved ports may be a long list.
const LONGEST: usize = 16 << 10;
/// Folders of /proc/sys/net, what is read there, and what of each interface.
const FOLDERS: [(&str, &[&str], &[&str]); 5] = [
    (
        "ipv4",
        &[
            "icmp_echo_ignore_all",
            "ip_forward",
            "ip_local_port_range",
            "ip_local_reserved_ports",
            "ip_nonlocal_bind",
            "ip_unprivileged_port_start",
            "tcp_l3mdev_accept",
            "tcp_syncookies",
            "udp_l3mdev_accept",
        ],
        &["accept_local", "arp_ignore", "forwarding", "route_localnet", "rp_filter", "src_valid_mark"],
    ),
    ("ipv6", &["bindv6only", "ip_nonlocal_bind"], &["disable_ipv6", "forwarding"]),
    ("bridge", &["bridge-nf-call-ip6tables", "bridge-nf-call-iptables"], &[]),
    ("netfilter", &["nf_conntrack_count", "nf_conntrack_max"], &[]),
    ("core", &["somaxconn"], &[]),
];
