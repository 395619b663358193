//! `netstat -tulpn` of net-tools (also `-W`, `-e`, `-a`, `-o`) and of busybox.
//!
//! Columns: `Proto Recv-Q Send-Q Local Foreign [State] [User Inode] [PID/Program] [Timer]`. Headers and states may be
//! translated: a socket that waits is known by its foreign address, which has the port `*`. Without `-W` net-tools cuts
//! IPv6 addresses so that the column stays 23 characters wide; what was cut is not guessed. busybox writes `tcp` for
//! IPv6 too and has no owners unless built with them.

use super::address::{self, ANY_V4, ANY_V6, Address};
use super::draft::{Draft, port_of};
use super::error::{ListingError, shown};
use super::rows::{Row, rows, words};
use crate::model::Transport;
use crate::model::host_report::{HostReport, Listener, Source};
use crate::model::report::Gap;

pub(super) fn parse(text: &str, name: &str) -> Result<HostReport, ListingError> {
    let found = rows(text, is_row, is_noise, |line| is_owner(line.split(' ').next().unwrap_or(line)));
    if found.rows.is_empty() && !text.lines().any(|line| is_header(line.trim())) {
        return Err(ListingError::Empty { name: name.to_owned(), listing: Source::Netstat });
    }
    let mut raw = Vec::new();
    for row in &found.rows {
        raw.extend(split(row, name)?);
    }
    let wide = raw.iter().any(|row| row.local.len() > NARROW);
    let mut draft = Draft::new(Source::Netstat);
    for row in &raw {
        listener(row, wide, name, &mut draft)?;
    }
    draft.strange(&found.strange);
    Ok(draft.finish())
}

/// Begins with a protocol and two queue lengths.
pub(super) fn is_row(line: &str) -> bool {
    let Some(([kind, received, sent], _)) = words::<3>(line) else { return false };
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    KINDS.contains(&kind) && number(received) && number(sent)
}

pub(super) fn is_header(line: &str) -> bool {
    line.starts_with("Proto ") || line.starts_with("Active Internet")
}

fn is_noise(line: &str) -> bool {
    // The rows of the other sockets (`unix  2  [ ACC ] …`) and the warnings of a netstat without root.
    let kind = line.split_whitespace().next().unwrap_or_default();
    is_header(line)
        || matches!(kind, "unix" | "bluetooth" | "rfcm" | "l2cap" | "(No" | "(Not" | "Active")
        || line.starts_with("will not be shown")
        || line.starts_with("netstat:")
}

/// `-` or `24310/python3`.
fn is_owner(word: &str) -> bool {
    word == "-"
        || word.split_once('/').is_some_and(|(pid, _)| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
}

/// A row that is a listener, cut into its columns.
struct Columns<'a> {
    line: usize,
    transport: Transport,
    v6: bool,
    local: &'a str,
    user: Option<&'a str>,
    owner: Option<&'a str>,
}

fn split<'a>(row: &'a Row, name: &str) -> Result<Option<Columns<'a>>, ListingError> {
    let short = || ListingError::row(name, row.line, &row.text, ("cut short", HINT));
    let ([kind, _, _, local, foreign], rest) = words::<5>(&row.text).ok_or_else(short)?;
    let transport = match kind {
        "tcp" | "tcp6" => Transport::Tcp,
        "udp" | "udp6" => Transport::Udp,
        _ => return Ok(None),
    };
    if !foreign.ends_with(":*") {
        return Ok(None);
    }
    let state = words::<1>(rest).filter(|([word], _)| !is_owner(word) && !word.bytes().all(|b| b.is_ascii_digit()));
    // With -e and without -n a user's name follows; then its inode does too, which no state is followed by.
    let state = state.filter(|(_, after)| transport == Transport::Tcp || !starts_with_inode(after));
    let (state, rest) = state.map_or(("", rest), |([word], after)| (word, after));
    if transport == Transport::Tcp && NOT_LISTENING.contains(&state) {
        return Ok(None);
    }
    let (user, rest) = match words::<1>(rest) {
        Some(([user], after)) if !is_owner(user) && starts_with_inode(after) => {
            (Some(user), words::<1>(after).map_or("", |(_, after)| after))
        }
        _ => (None, rest),
    };
    let owner = words::<1>(rest).filter(|([word], _)| is_owner(word)).map(|_| rest);
    let v6 = kind.ends_with('6') || local.matches(':').count() > 1;
    Ok(Some(Columns { line: row.line, transport, v6, local, user, owner }))
}

fn starts_with_inode(text: &str) -> bool {
    words::<1>(text).is_some_and(|([word], _)| word.bytes().all(|byte| byte.is_ascii_digit()))
}

fn listener(row: &Columns<'_>, wide: bool, name: &str, draft: &mut Draft) -> Result<(), ListingError> {
    let bad = |problem| ListingError::row(name, row.line, row.local, (problem, HINT));
    let (host, port) = address::split(row.local).ok_or_else(|| bad("no ADDRESS:PORT"))?;
    let port: u16 = port.parse().map_err(|_| bad("an address without a port number"))?;
    let may_be_cut = row.v6 && !wide && row.local.len() == NARROW;
    let Some(host_part) = address::host(host) else {
        if may_be_cut && host.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
            draft.gaps.push(cut(row, port, "left out: its address is cut to"));
            return Ok(());
        }
        return Err(bad("no IP address"));
    };
    if may_be_cut {
        draft.gaps.push(cut(row, port, "taken as it stands, but its address may be cut:"));
    }
    let address = match host_part.address {
        Address::Ip(address) => address,
        Address::Any if row.v6 => ANY_V6,
        Address::Any => ANY_V4,
    };
    let mut listener = Listener { device: host_part.scope, ..Listener::at(row.transport, address, port) };
    listener.user = row.user.map(|user| if user == "0" { "root".to_owned() } else { user.to_owned() });
    if let Some((pid, program)) = row.owner.and_then(|owner| owner.split_once('/')) {
        listener.pid = pid.parse().ok();
        listener.process = Some(process(program)).filter(|process| !process.is_empty());
        listener.socket_activated = listener.pid == Some(1) && matches!(program_name(program), "systemd" | "init");
    }
    draft.listeners.push(listener);
    Ok(())
}

fn cut(row: &Columns<'_>, port: u16, how: &str) -> Gap {
    Gap {
        what: format!(
            "socket on port {} (line {}), {how} `{}`",
            port_of(port, row.transport),
            row.line,
            shown(row.local)
        ),
        cause: "netstat without -W cuts long IPv6 addresses".to_owned(),
        settled_by: "`netstat -tulpnW`, `ss -tulpn`, or `postern host` on the machine".to_owned(),
        incomplete: true,
    }
}

/// netstat takes the name from the command line, so `sshd: /usr/sbin/sshd -D` and `nginx: master` are names too.
fn process(program: &str) -> String {
    let name = program_name(program);
    name.split_once(": ").map_or(name, |(name, _)| name).trim_end_matches(':').to_owned()
}

/// Without what `-o` adds: the column is padded to 20 characters.
fn program_name(program: &str) -> &str {
    let end = ["  ", " off (", " keepalive ("].iter().filter_map(|mark| program.find(mark)).min();
    program[..end.unwrap_or(program.len())].trim_end()
}

const HINT: &str = "save the unedited output of `netstat -tulpnW` on Linux (with -n: numbers in place of names)";

/// Width of net-tools' address columns without `-W` (ADDR_LEN and port, netstat.c).
const NARROW: usize = 23;

const KINDS: &[&str] = &["raw", "raw6", "sctp", "tcp", "tcp6", "udp", "udp6", "udpl", "udpl6"];

/// Untranslated states of sockets whose peer is unset, too.
const NOT_LISTENING: &[&str] = &["CLOSE", "CLOSE_WAIT", "CLOSING", "ESTABLISHED", "TIME_WAIT"];

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Listener {
        let mut report = parse(text, "test").unwrap();
        assert_eq!(report.listeners.len(), 1, "{text}");
        report.listeners.remove(0)
    }

    #[test]
    fn addresses_of_both_families() {
        assert_eq!(one("tcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN -").address, ANY_V4);
        assert_eq!(one("tcp6 0 0 :::22 :::* LISTEN -").address, ANY_V6);
        assert_eq!(one("tcp 0 0 :::22 :::* LISTEN").address, ANY_V6);
        let scoped = one("udp 0 0 fe80::77%eth0:546 :::* ");
        assert_eq!((scoped.address.to_string(), scoped.device), ("fe80::77".to_owned(), Some("eth0".to_owned())));
    }

    #[test]
    fn owners_users_and_what_follows_them() {
        let sshd = one("tcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN 734/sshd: /usr/sbin  off (0.00/0/0)");
        assert_eq!((sshd.pid, sshd.process.as_deref(), sshd.user), (Some(734), Some("sshd"), None));
        let nginx = one("tcp 0 0 0.0.0.0:80 0.0.0.0:* LISTEN 0 21345 12/nginx: master p");
        assert_eq!((nginx.process.as_deref(), nginx.user.as_deref()), (Some("nginx"), Some("root")));
        let dns = one("udp 0 0 127.0.0.53:53 0.0.0.0:* systemd-resolve 18000 500/systemd-resolve");
        assert_eq!((dns.pid, dns.user.as_deref()), (Some(500), Some("systemd-resolve")));
        let dash = one("udp 0 0 0.0.0.0:68 0.0.0.0:* 0 18000 -");
        assert_eq!((dash.pid, dash.process, dash.user.as_deref()), (None, None, Some("root")));
        let systemd = one("tcp6 0 0 :::22 :::* LISTEN 1/systemd");
        assert!(systemd.socket_activated);
    }

    #[test]
    fn translated_states_and_sockets_that_do_not_wait() {
        assert_eq!(one("tcp 0 0 0.0.0.0:22 0.0.0.0:* ESCUCHAR 9/sshd").process.as_deref(), Some("sshd"));
        let text = "tcp 0 0 127.0.0.1:22 127.0.0.1:40001 ESTABLISHED 9/sshd\nudp 0 0 127.0.0.1:33425 127.0.0.1:53 ESTABLISHED 9/x\nraw 0 0 0.0.0.0:1 0.0.0.0:* 7 9/ping\n";
        assert_eq!(parse(text, "test").unwrap().listeners, []);
    }

    #[test]
    fn cut_addresses_are_not_guessed() {
        let report = parse("tcp6 0 0 2001:db8:1234:5678:4343 :::* LISTEN 9/x", "test").unwrap();
        assert_eq!(report.listeners, []);
        let gap = report.gaps.iter().find(|gap| gap.what.contains("4343/tcp")).unwrap();
        assert!(gap.incomplete && gap.what.contains("left out") && gap.what.contains("line 1"), "{gap:?}");
        // Exactly as wide as the column: may or may not be whole.
        let report = parse("tcp6 0 0 fe80::1234:5678:9abc:80 :::* LISTEN 9/x", "test").unwrap();
        assert_eq!(report.listeners.len(), 1);
        assert!(report.gaps.iter().any(|gap| gap.what.contains("may be cut")), "{:?}", report.gaps);
        // Not in a listing that has longer ones.
        let text =
            "tcp6 0 0 fe80::1234:5678:9abc:80 :::* LISTEN\ntcp6 0 0 2001:db8:1234:5678:9abc:def0:1:1:80 :::* LISTEN\n";
        assert!(!parse(text, "test").unwrap().gaps.iter().any(|gap| gap.what.contains("cut")));
    }

    #[test]
    fn errors_name_file_line_and_value() {
        let error = parse("Proto x\ntcp 0 0 0.0.0.0:ssh 0.0.0.0:* LISTEN\n", "n.txt").unwrap_err();
        assert!(
            error.to_string().starts_with("n.txt: line 2: `0.0.0.0:ssh` is an address without a port number; hint:")
        );
        let error = parse("tcp 0 0 *.22 *:*\n", "n.txt").unwrap_err();
        assert!(error.to_string().contains("`*.22` is no ADDRESS:PORT"), "{error}");
        assert!(matches!(parse("tcp4 0 0 *.22 *.* LISTEN\n", "n.txt"), Err(ListingError::Empty { .. })));
    }
}
