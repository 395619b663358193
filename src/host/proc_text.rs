//! Pieces of /proc in their written forms. Pure.

use std::path::PathBuf;

use super::caps;
use super::sockets::KernelRaw;
use crate::model::host_report::RawKind;

/// A link of `/proc/PID/fd` or `/proc/PID/ns`: `socket:[4242]`, `net:[4026531833]`.
pub fn link_inode(target: &[u8], kind: &str) -> Option<u64> {
    let inside = target.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inside).ok()?.parse().ok()
}

/// What `/proc/PID/status` (proc_pid_status(5)) tells of a process's rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Effective.
    pub uid: Option<u32>,
    pub effective: Option<u64>,
    pub bounding: Option<u64>,
    pub no_new_privileges: Option<bool>,
    /// 0 disabled, 1 strict, 2 filter.
    pub seccomp: Option<u8>,
}

impl Status {
    pub fn seccomp_name(self) -> Option<&'static str> {
        Some(match self.seccomp? {
            0 => "disabled",
            1 => "strict",
            _ => "filter",
        })
    }
}

/// Reads `/proc/PID/status`.
pub fn status(text: &str) -> Status {
    let mut status = Status::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name {
            // Real, effective, saved, file system.
            "Uid" => status.uid = value.split_whitespace().nth(1).and_then(|uid| uid.parse().ok()),
            "CapEff" => status.effective = caps::mask(value),
            "CapBnd" => status.bounding = caps::mask(value),
            "NoNewPrivs" => status.no_new_privileges = Some(value == "1"),
            "Seccomp" => status.seccomp = value.parse().ok(),
            _ => {}
        }
    }
    status
}

/// Raw sockets of `/proc/net/raw` and `/proc/net/raw6` (net/ipv4/raw.c): for kernels whose sock_diag does not know them.
pub fn raw_sockets(table: &str, ipv6: bool) -> Vec<KernelRaw> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, protocol) = fields.get(1)?.rsplit_once(':')?;
        Some(KernelRaw {
            kind: RawKind::Raw,
            protocol: u16::from_str_radix(protocol, 16).ok()?,
            ipv6,
            interface: None,
            uid: fields.get(7)?.parse().ok(),
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// The name to show: the kernel keeps 15 bytes of it (TASK_COMM_LEN), and the executable may tell the rest.
pub fn process_name(comm: &str, exe: Option<&str>) -> String {
    let comm = comm.trim_end_matches('\n');
    let file = exe.and_then(|exe| exe.rsplit('/').next()).unwrap_or_default();
    let cut = comm.len() == COMM_LENGTH && file.starts_with(comm);
    if cut { file.to_owned() } else { comm.to_owned() }
}

/// `/proc/PID/exe` without what the kernel adds to a file that was replaced or removed since.
pub fn executable(target: &str) -> String {
    target.strip_suffix(" (deleted)").unwrap_or(target).to_owned()
}

/// Low and high end of `/proc/sys/net/ipv4/ip_local_port_range`.
pub fn port_range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// Bind mounts of network namespaces (proc_pid_mountinfo(5)): inode and mount point of each.
pub fn namespace_mounts(mountinfo: &str) -> Vec<(u64, PathBuf)> {
    let mount = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("nsfs") {
            return None;
        }
        let mut fields = fields.split(' ').skip(3);
        let inode = link_inode(fields.next()?.as_bytes(), "net")?;
        Some((inode, PathBuf::from(unescape(fields.next()?))))
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain + rest
}

const COMM_LENGTH: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_kind_and_inode() {
        assert_eq!(link_inode(b"socket:[4242]", "socket"), Some(4242));
        assert_eq!(link_inode(b"net:[4026531833]", "net"), Some(4_026_531_833));
        for link in
            [&b"socket:[]"[..], b"socket:4242", b"/dev/null", b"socket:[x]", b"pipe:[1]", b"", b"socket:[1] (deleted)"]
        {
            assert_eq!(link_inode(link, "socket"), None);
        }
    }

    #[test]
    fn user_and_names() {
        let text = "Name:\tx\nUid:\t1000\t33\t33\t33\nCapEff:\t0000000000000400\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let read = status(text);
        assert_eq!((read.uid, read.effective, read.bounding), (Some(33), Some(0x400), Some(0x1ff_ffff_ffff)));
        assert_eq!((read.no_new_privileges, read.seccomp_name()), (Some(true), Some("filter")));
        assert_eq!(status("Uid:\t1000\n").uid, None);
        assert_eq!(process_name("systemd-resolve\n", Some("/usr/lib/systemd/systemd-resolved")), "systemd-resolved");
        assert_eq!(process_name("nginx\n", Some("/usr/sbin/nginx-debug")), "nginx");
        assert_eq!(process_name("a-rather-long-n", None), "a-rather-long-n");
        assert_eq!(executable("/usr/sbin/nginx (deleted)"), "/usr/sbin/nginx");
    }

    /// `cat /proc/net/raw`, Linux 6.18, two sockets.
    #[test]
    fn raw_sockets_of_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n 172: 00000000:0059 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1281267 2 000000000a2f8354 0\n 243: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 1281266 2 00000000c7347e90 0\nodd\n";
        let found = raw_sockets(table, false);
        let shown: Vec<_> = found.iter().map(|one| (one.protocol, one.uid, one.inode)).collect();
        assert_eq!(shown, [(0x59, Some(0), 1_281_267), (1, Some(101), 1_281_266)]);
    }

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(port_range("32768"), None);
    }

    #[test]
    fn mounts_of_network_namespaces_only() {
        let text = "22 26 0:21 / /proc rw,nosuid - proc proc rw\n\
            300 26 0:4 net:[4026532458] /run/netns/lab\\040a rw shared:2 - nsfs nsfs rw\n\
            301 26 0:4 mnt:[4026532460] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
            302 26 0:4 net:[4026532461] /run/docker/netns/8f2c rw - nsfs nsfs rw\nshort\n";
        let mounts = namespace_mounts(text);
        assert_eq!(
            mounts,
            [
                (4_026_532_458, PathBuf::from("/run/netns/lab a")),
                (4_026_532_461, PathBuf::from("/run/docker/netns/8f2c"))
            ]
        );
        assert_eq!(unescape("a\\x\\1é\\134"), "a\\x\\1é\\");
    }
}
