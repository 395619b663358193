//! `ss -tulpn` of iproute2, with or without header, `-e`, other states and socket kinds.
//!
//! Columns: `[Netid] State Recv-Q Send-Q Local:Port Peer:Port [Process and more]`. ss writes an IPv6 wildcard socket
//! that takes IPv4 too as `*`, one that does not as `[::]` (misc/ss.c, inet_addr_print); the peer column says the
//! same of bound addresses. Before iproute2 4.10 or so `*` stood for the IPv4 wildcard and `:::80` for the IPv6 one.

use std::net::IpAddr;

use super::address::{self, ANY_V4, ANY_V6, Address};
use super::draft::Draft;
use super::error::ListingError;
use super::rows::{Row, rows, words};
use crate::host::cgroup;
use crate::host::owner::{self, Holder};
use crate::model::Transport;
use crate::model::host_report::{HostReport, Listener, Source};

pub(super) fn parse(text: &str, name: &str) -> Result<HostReport, ListingError> {
    let found = rows(text, is_row, is_header, |line| line.starts_with("users:("));
    if found.rows.is_empty() && !text.lines().any(|line| is_header(line.trim())) {
        return Err(ListingError::Empty { name: name.to_owned(), listing: Source::Ss });
    }
    let mut raw = Vec::new();
    for row in &found.rows {
        raw.extend(split(row, name)?);
    }
    let old = raw.iter().any(|row| is_old(row));
    let mut draft = Draft::new(Source::Ss);
    for row in &raw {
        draft.listeners.push(listener(row, old, name)?);
    }
    draft.strange(&found.strange);
    Ok(draft.finish())
}

/// Begins with a kind of socket and a state, or (with one kind only, `ss -tln`) with a state.
pub(super) fn is_row(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(state), _) if NETIDS.contains(&kind) && STATES.contains(&state) => true,
        (Some(state), Some(queue), Some(_)) => STATES.contains(&state) && queue.bytes().all(|b| b.is_ascii_digit()),
        _ => false,
    }
}

/// The header is never translated.
pub(super) fn is_header(line: &str) -> bool {
    line.contains("Recv-Q") && (line.starts_with("Netid") || line.starts_with("State"))
}

/// A row that is a listener, cut into its columns.
struct Columns<'a> {
    line: usize,
    transport: Transport,
    local: &'a str,
    peer: &'a str,
    rest: &'a str,
}

fn split<'a>(row: &'a Row, name: &str) -> Result<Option<Columns<'a>>, ListingError> {
    let short = || ListingError::row(name, row.line, &row.text, ("cut short", HINT));
    let (kind, text) = match words::<1>(&row.text) {
        Some(([kind], rest)) if NETIDS.contains(&kind) => (Some(kind), rest),
        _ => (None, row.text.as_str()),
    };
    let ([state], after) = words::<1>(text).ok_or_else(short)?;
    let transport = match (kind, state) {
        (Some("tcp"), "LISTEN") | (None, "LISTEN") => Transport::Tcp,
        // A TCP socket that is UNCONN is neither bound to wait nor listed by `ss -l`.
        (Some("udp"), "UNCONN") | (None, "UNCONN") => Transport::Udp,
        _ => return Ok(None),
    };
    let ([_, _, local, peer], rest) = words::<4>(after).ok_or_else(short)?;
    Ok(Some(Columns { line: row.line, transport, local, peer, rest }))
}

/// Written by an iproute2 that had no `*` for dual-stack sockets.
fn is_old(row: &Columns<'_>) -> bool {
    let Some((host, _)) = address::split(row.local) else { return false };
    let bare_v6 = !host.starts_with('[') && host.contains(':');
    let v4 = matches!(address::host(host), Some(found) if matches!(found.address, Address::Ip(IpAddr::V4(_))));
    bare_v6 || (v4 && !host.starts_with('[') && row.peer == "*:*")
}

fn listener(row: &Columns<'_>, old: bool, name: &str) -> Result<Listener, ListingError> {
    let bad = |problem| ListingError::row(name, row.line, row.local, (problem, HINT));
    let (host, port) = address::split(row.local).ok_or_else(|| bad("no ADDRESS:PORT"))?;
    let port = port.parse().map_err(|_| bad("an address without a port number"))?;
    let host = address::host(host).ok_or_else(|| bad("no IP address"))?;
    let (address, v6only) = match (host.address, old) {
        (Address::Any, false) => (ANY_V6, Some(false)),
        (Address::Any, true) => (ANY_V4, None),
        (Address::Ip(address), true) => (address, None),
        (Address::Ip(address), false) if address.is_ipv4() => (address, None),
        (Address::Ip(address), false) if address.is_unspecified() => (address, Some(true)),
        (Address::Ip(address), false) => (address, Some(row.peer != "*:*")),
    };
    let mut listener = Listener { v6only, device: host.scope, ..Listener::at(row.transport, address, port) };
    if let Some((owner, activated)) = owner::choose(&holders(row.rest)) {
        listener.pid = Some(owner.pid);
        listener.process = Some(owner.name.clone());
        listener.socket_activated = activated;
    }
    extended(row.rest, &mut listener);
    Ok(listener)
}

/// What `ss -e` adds: `uid:65534 ino:1329940 sk:d cgroup:/system.slice/x.service v6only:1 <->`.
fn extended(rest: &str, listener: &mut Listener) {
    // Process names may hold anything, so look behind them.
    let tail = rest.rfind("fd=").map_or(rest, |end| &rest[end..]);
    let value = |key: &str| tail.split_whitespace().find_map(|word| word.strip_prefix(key));
    if value("ino:").is_some() {
        // ss leaves uid:0 out.
        listener.user = Some(value("uid:").map_or_else(|| "root".to_owned(), str::to_owned));
    }
    if let Some(path) = value("cgroup:") {
        let membership = cgroup::from_path(path);
        listener.unit = membership.unit;
        listener.container = membership.container.map(|container| container.id.chars().take(12).collect());
    }
}

/// `users:(("nginx",pid=1,fd=6),("nginx",pid=2,fd=6))`; old versions write `("nginx",1,6)`.
fn holders(rest: &str) -> Vec<Holder> {
    let mut holders = Vec::new();
    let Some(start) = rest.find("users:(") else { return holders };
    let mut rest = &rest[start + "users:(".len()..];
    while let Some(after) = rest.strip_prefix("(\"") {
        let Some((name, tail)) = process_name(after) else { break };
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let Ok(pid) = tail[..digits].parse() else { break };
        holders.push(Holder { pid, name: name.to_owned() });
        let Some(end) = tail.find(')') else { break };
        rest = tail[end + 1..].strip_prefix(',').unwrap_or_default();
    }
    holders
}

/// Splits `NAME",pid=REST`. The name may hold quotes, brackets and commas and is not escaped, but the kernel keeps only
/// 15 bytes of it: the last end within them is the right one, as no second entry fits in.
fn process_name(text: &str) -> Option<(&str, &str)> {
    let new = text.match_indices(NEW_END).take_while(|(at, _)| *at <= MAX_NAME).last();
    let (at, end) =
        new.or_else(|| text.match_indices(NEW_END).next()).or_else(|| text.match_indices(OLD_END).next())?;
    Some((&text[..at], &text[at + end.len()..]))
}

const NEW_END: &str = "\",pid=";
const OLD_END: &str = "\",";

/// TASK_COMM_LEN without its zero byte.
const MAX_NAME: usize = 15;

const HINT: &str = "save the unedited output of `ss -tulpn` (with -n: numbers in place of names)";

const NETIDS: &[&str] = &[
    "???", "dccp", "icmp6", "mptcp", "nl", "p_dgr", "p_raw", "raw", "sctp", "tcp", "ti_dg", "ti_rd", "ti_sq", "ti_st",
    "tipc", "u_dgr", "u_seq", "u_str", "udp", "v_dgr", "v_str", "xdp",
];

const STATES: &[&str] = &[
    "CLOSE",
    "CLOSE-WAIT",
    "CLOSING",
    "ESTAB",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "LAST-ACK",
    "LISTEN",
    "NEW-SYN-RECV",
    "SYN-RECV",
    "SYN-SENT",
    "TIME-WAIT",
    "UNCONN",
    "UNKNOWN",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Listener {
        let mut report = parse(text, "test").unwrap();
        assert_eq!(report.listeners.len(), 1, "{text}");
        report.listeners.remove(0)
    }

    #[test]
    fn v6_only_is_read_from_the_way_the_wildcard_is_written() {
        let dual = one("tcp LISTEN 0 16 *:80 *:* ");
        assert_eq!((dual.address, dual.v6only), (ANY_V6, Some(false)));
        let v6only = one("tcp LISTEN 0 16 [::]:80 [::]:* ");
        assert_eq!((v6only.address, v6only.v6only), (ANY_V6, Some(true)));
        let v4 = one("tcp LISTEN 0 16 0.0.0.0:80 0.0.0.0:* ");
        assert_eq!((v4.address, v4.v6only), (ANY_V4, None));
    }

    #[test]
    fn old_versions_wrote_the_ipv4_wildcard_as_a_star() {
        let text = "tcp LISTEN 0 128 *:22 *:* users:((\"sshd\",1234,3))\ntcp LISTEN 0 128 :::22 :::* users:((\"sshd\",1234,4))\n";
        let report = parse(text, "test").unwrap();
        let found: Vec<_> = report.listeners.iter().map(|one| (one.address, one.v6only, one.pid)).collect();
        assert_eq!(found, [(ANY_V4, None, Some(1234)), (ANY_V6, None, Some(1234))]);
        let text = "tcp LISTEN 0 128 *:22 *:*\ntcp LISTEN 0 128 127.0.0.1:25 *:*\n";
        assert_eq!(parse(text, "test").unwrap().listeners[0].address, ANY_V4);
    }

    #[test]
    fn several_holders_and_socket_activation() {
        let nginx = one("tcp LISTEN 0 1 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=12,fd=6),(\"nginx\",pid=11,fd=6))");
        assert_eq!((nginx.pid, nginx.process.as_deref(), nginx.socket_activated), (Some(11), Some("nginx"), false));
        let ssh = one("tcp LISTEN 0 1 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=70,fd=3),(\"systemd\",pid=1,fd=50))");
        assert_eq!((ssh.pid, ssh.process.as_deref(), ssh.socket_activated), (Some(70), Some("sshd"), true));
        let idle = one("tcp LISTEN 0 1 0.0.0.0:22 0.0.0.0:* users:((\"systemd\",pid=1,fd=50))");
        assert_eq!((idle.process.as_deref(), idle.socket_activated), (Some("systemd"), true));
    }

    #[test]
    fn process_names_may_hold_anything() {
        for name in ["odd \"n),(\"x", "a\",pid=1,fd=3)", "", "(((", "a b", "\",pid=7"] {
            let text =
                format!("tcp LISTEN 0 1 0.0.0.0:80 0.0.0.0:* users:((\"{name}\",pid=99,fd=6),(\"b\",pid=98,fd=6))");
            assert_eq!(holders(&text).first(), Some(&Holder { pid: 99, name: name.to_owned() }), "{name}");
            assert_eq!(one(&text).pid, Some(98), "{name}");
        }
    }

    #[test]
    fn unknown_owner_is_unknown_and_named_as_a_gap() {
        let report = parse("tcp LISTEN 0 1 0.0.0.0:80 0.0.0.0:*\n", "test").unwrap();
        assert_eq!(report.listeners[0].process, None);
        assert!(report.gaps.iter().any(|gap| gap.what == "the owners of 1 of 1 sockets"), "{:?}", report.gaps);
    }

    #[test]
    fn units_and_containers_by_dash_e() {
        let text = "udp UNCONN 0 0 0.0.0.0:53 0.0.0.0:* users:((\"x\",pid=9,fd=3)) ino:7 sk:1 cgroup:/system.slice/x.service <->";
        let listener = one(text);
        assert_eq!((listener.unit.as_deref(), listener.user.as_deref()), (Some("x.service"), Some("root")));
        let text = text.replace("ino:7", "uid:101 ino:7");
        assert_eq!(one(&text).user.as_deref(), Some("101"));
    }

    #[test]
    fn wrapped_rows_and_junk() {
        let text = "State Recv-Q Send-Q Local Peer\nLISTEN 0 16\n     [2001:db8::1]:80 [::]:*\n  users:((\"x\",pid=3,fd=3))\n$ exit\n";
        let report = parse(text, "test").unwrap();
        assert_eq!(report.listeners[0].pid, Some(3));
        assert!(report.gaps.iter().any(|gap| gap.what.contains("first line 5")), "{:?}", report.gaps);
    }

    #[test]
    fn errors_name_file_line_and_value() {
        let error = parse("Netid State Recv-Q\ntcp LISTEN 0 128 0.0.0.0:ssh 0.0.0.0:*\n", "ss.txt").unwrap_err();
        assert!(
            error.to_string().starts_with("ss.txt: line 2: `0.0.0.0:ssh` is an address without a port number; hint: ")
        );
        let error = parse("tcp LISTEN 0 128 nohost:22 0.0.0.0:*\n", "ss.txt").unwrap_err();
        assert!(error.to_string().starts_with("ss.txt: line 1: `nohost:22` is no IP address"), "{error}");
        let error = parse("tcp LISTEN 0 128\n", "ss.txt").unwrap_err();
        assert!(error.to_string().contains("cut short"), "{error}");
        assert!(matches!(parse("hello\n", "ss.txt"), Err(ListingError::Empty { .. })));
        assert_eq!(parse("Netid State Recv-Q Send-Q\n", "ss.txt").unwrap().listeners, []);
    }
}
