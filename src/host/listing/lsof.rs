//! `lsof -i -Pn` on Linux.
//!
//! Columns: `COMMAND PID [TID TASKCMD] USER FD TYPE DEVICE SIZE/OFF NODE NAME`, where TYPE is the family, DEVICE the
//! socket's inode, NODE the protocol. Every descriptor has a row: one socket may have many.

use std::collections::BTreeMap;

use super::address::{self, ANY_V4, ANY_V6, Address};
use super::draft::Draft;
use super::error::ListingError;
use super::rows::{Row, rows};
use crate::host::owner::{self, Holder};
use crate::model::Transport;
use crate::model::host_report::{HostReport, Listener, Source};

pub(super) fn parse(text: &str, name: &str) -> Result<HostReport, ListingError> {
    let found = rows(text, is_row, is_noise, |line| line == "(LISTEN)");
    if found.rows.is_empty() && !text.lines().any(|line| is_header(line.trim())) {
        return Err(ListingError::Empty { name: name.to_owned(), listing: Source::Lsof });
    }
    let mut sockets: BTreeMap<String, (Listener, Vec<(Holder, String)>)> = BTreeMap::new();
    for row in &found.rows {
        let Some(columns) = split(row, name)? else { continue };
        // Without an inode two rows cannot be told to be one socket, and both are kept.
        let key = columns.inode.map_or_else(|| format!("line {}", row.line), str::to_owned);
        let holder = (Holder { pid: columns.pid, name: unescape(columns.command) }, columns.user.to_owned());
        match sockets.get_mut(&key) {
            Some((_, holders)) => holders.push(holder),
            None => {
                let listener = listener(&columns, row, name)?;
                sockets.insert(key, (listener, vec![holder]));
            }
        }
    }
    let mut draft = Draft::new(Source::Lsof);
    for (mut listener, holders) in sockets.into_values() {
        let plain: Vec<Holder> = holders.iter().map(|(holder, _)| holder.clone()).collect();
        if let Some((owner, activated)) = owner::choose(&plain) {
            listener.pid = Some(owner.pid);
            listener.process = Some(owner.name.clone());
            listener.socket_activated = activated;
            listener.user = holders.iter().find(|(holder, _)| holder == owner).map(|(_, user)| user.clone());
        }
        draft.listeners.push(listener);
    }
    draft.strange(&found.strange);
    Ok(draft.finish())
}

/// Has a family, and later a protocol.
pub(super) fn is_row(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(2);
    words.any(|word| matches!(word, "IPv4" | "IPv6")) && words.any(|word| matches!(word, "TCP" | "UDP"))
}

pub(super) fn is_header(line: &str) -> bool {
    line.starts_with("COMMAND ") && line.contains(" PID ")
}

fn is_noise(line: &str) -> bool {
    is_header(line) || line.starts_with("lsof:") || line.starts_with("Output information may be incomplete")
}

/// A row that is a listener, cut into its columns.
struct Columns<'a> {
    command: &'a str,
    pid: u32,
    user: &'a str,
    v6: bool,
    inode: Option<&'a str>,
    transport: Transport,
    socket: &'a str,
}

fn split<'a>(row: &'a Row, name: &str) -> Result<Option<Columns<'a>>, ListingError> {
    let short = || ListingError::row(name, row.line, &row.text, ("cut short", HINT));
    let words: Vec<&str> = row.text.split_whitespace().collect();
    let family = words.iter().position(|word| matches!(*word, "IPv4" | "IPv6")).ok_or_else(short)?;
    let node =
        words.iter().position(|word| matches!(*word, "TCP" | "UDP")).filter(|at| *at > family).ok_or_else(short)?;
    let socket = *words.get(node + 1).ok_or_else(short)?;
    let transport = if words[node] == "TCP" { Transport::Tcp } else { Transport::Udp };
    let waits = match transport {
        Transport::Tcp => words.get(node + 2) == Some(&"(LISTEN)"),
        // `*:*` is a socket that is not bound yet.
        Transport::Udp => !socket.contains("->") && socket != "*:*",
    };
    if !waits {
        return Ok(None);
    }
    // COMMAND PID … USER FD TYPE.
    let user = words.get(family.checked_sub(2).ok_or_else(short)?).ok_or_else(short)?;
    let pid = words[1].parse();
    let pid = pid.map_err(|_| ListingError::row(name, row.line, words[1], ("no process number", HINT)))?;
    let inode = words.get(family + 1).filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())).copied();
    Ok(Some(Columns { command: words[0], pid, user, v6: words[family] == "IPv6", inode, transport, socket }))
}

fn listener(columns: &Columns<'_>, row: &Row, name: &str) -> Result<Listener, ListingError> {
    let bad = |problem| ListingError::row(name, row.line, columns.socket, (problem, HINT));
    let (host, port) = address::split(columns.socket).ok_or_else(|| bad("no ADDRESS:PORT"))?;
    let port = port.parse().map_err(|_| bad("an address without a port number"))?;
    let host = address::host(host).ok_or_else(|| bad("no IP address"))?;
    let address = match host.address {
        Address::Ip(address) => address,
        Address::Any if columns.v6 => ANY_V6,
        Address::Any => ANY_V4,
    };
    Ok(Listener { device: host.scope, ..Listener::at(columns.transport, address, port) })
}

/// lsof writes unprintable characters and spaces of names as `\x20`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.get(at + 2..at + 4).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[at + 4..];
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = &rest[at + 2..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

const HINT: &str = "save the unedited output of `lsof -i -Pn` on Linux (-P: port numbers, -n: addresses)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_with_several_descriptors_is_one_listener() {
        let text = "nginx 12 www 6u IPv4 777 0t0 TCP *:80 (LISTEN)\nnginx 11 root 6u IPv4 777 0t0 TCP *:80 (LISTEN)\n\
                    systemd 1 root 9u IPv6 778 0t0 TCP *:22 (LISTEN)\n";
        let report = parse(text, "test").unwrap();
        let found: Vec<_> = report
            .listeners
            .iter()
            .map(|one| (one.port, one.address, one.pid, one.user.as_deref(), one.socket_activated))
            .collect();
        assert_eq!(found, [(22, ANY_V6, Some(1), Some("root"), true), (80, ANY_V4, Some(11), Some("root"), false)]);
    }

    #[test]
    fn clients_and_unbound_sockets_are_left_out() {
        let text = "x 1 u 3u IPv4 1 0t0 UDP 127.0.0.1:33425->127.0.0.1:53 \nx 1 u 4u IPv4 2 0t0 UDP *:* \n\
                    x 1 u 5u IPv4 3 0t0 TCP 127.0.0.1:40001->127.0.0.1:22 (ESTABLISHED)\n";
        assert_eq!(parse(text, "test").unwrap().listeners, []);
    }

    #[test]
    fn thread_columns_escapes_and_warnings() {
        let text = "lsof: WARNING: can't stat() tracefs\n      Output information may be incomplete.\n\
                    my\\x20app 12 13 worker u 6u IPv6 777 0t0 UDP [fe80::1%eth0]:546 \n";
        let report = parse(text, "test").unwrap();
        let one = &report.listeners[0];
        assert_eq!(
            (one.process.as_deref(), one.user.as_deref(), one.device.as_deref()),
            (Some("my app"), Some("u"), Some("eth0"))
        );
        assert_eq!(unescape("a\\xzz\\x"), "a\\xzz\\x");
    }

    #[test]
    fn a_listing_of_one_plain_user_says_that_it_may_lack_the_rest() {
        let gaps = |user| {
            let text = format!("x 12 {user} 6u IPv4 777 0t0 TCP *:80 (LISTEN)\n");
            parse(&text, "test").unwrap().gaps.iter().any(|gap| gap.what == "sockets of other users")
        };
        assert!(gaps("alice"));
        assert!(!gaps("root"));
    }

    #[test]
    fn errors_name_file_line_and_value() {
        let error = parse("x 12 u 6u IPv4 777 0t0 TCP *:http (LISTEN)\n", "l.txt").unwrap_err();
        assert!(
            error.to_string().starts_with("l.txt: line 1: `*:http` is an address without a port number; hint:"),
            "{error}"
        );
        let error = parse("x y u 6u IPv4 777 0t0 TCP *:80 (LISTEN)\n", "l.txt").unwrap_err();
        assert!(error.to_string().contains("`y` is no process number"), "{error}");
        assert!(matches!(parse("", "l.txt"), Err(ListingError::Empty { .. })));
    }
}
