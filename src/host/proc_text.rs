//! Pieces of /proc in their written forms. Pure.

use std::path::PathBuf;

/// A link of `/proc/PID/fd` or `/proc/PID/ns`: `socket:[4242]`, `net:[4026531833]`.
pub fn link_inode(target: &[u8], kind: &str) -> Option<u64> {
    let inside = target.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inside).ok()?.parse().ok()
}

/// Effective user id from `/proc/PID/status` (`Uid: real effective saved file-system`).
pub fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
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
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t33\t33\t33\n"), Some(33));
        assert_eq!(effective_uid("Uid:\t1000\n"), None);
        assert_eq!(process_name("systemd-resolve\n", Some("/usr/lib/systemd/systemd-resolved")), "systemd-resolved");
        assert_eq!(process_name("nginx\n", Some("/usr/sbin/nginx-debug")), "nginx");
        assert_eq!(process_name("a-rather-long-n", None), "a-rather-long-n");
        assert_eq!(executable("/usr/sbin/nginx (deleted)"), "/usr/sbin/nginx");
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
