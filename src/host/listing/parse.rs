//! Which listing a text is, and reading it.

use super::{ListingError, lsof, netstat, osquery, ss};
use crate::model::host_report::{HostReport, Source};

/// Reads the listing of a known program. `name` is the file's name, for errors.
///
/// Fails for a row that does not say what such a row says, and for a text without any row or header.
/// [`Source::Native`] and [`Source::Agentless`] are no listings: their JSON is read by [`read`](fn@crate::host::read).
pub fn parse(source: Source, text: &str, name: &str) -> Result<HostReport, ListingError> {
    match source {
        Source::Ss => ss::parse(text, name),
        Source::Netstat => netstat::parse(text, name),
        Source::Lsof => lsof::parse(text, name),
        Source::Osquery => osquery::parse(text, name),
        Source::Native | Source::Agentless => Err(ListingError::Empty { name: name.to_owned(), listing: source }),
    }
}

/// The program that printed `text`, by its first header or row that can be told.
pub fn detect(text: &str) -> Option<Source> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with(['[', '{']) && osquery::is_rows(text) {
        return Some(Source::Osquery);
    }
    text.lines().map(str::trim).find_map(|line| {
        if ss::is_header(line) || ss::is_row(line) {
            Some(Source::Ss)
        } else if lsof::is_header(line) || lsof::is_row(line) {
            Some(Source::Lsof)
        } else if netstat::is_header(line) || netstat::is_row(line) {
            Some(Source::Netstat)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Transport;

    const ALL: [Source; 4] = [Source::Ss, Source::Netstat, Source::Lsof, Source::Osquery];

    #[test]
    fn each_listing_is_known() {
        for (text, source) in [
            ("Netid State Recv-Q Send-Q Local Address:Port", Some(Source::Ss)),
            ("$ ss\nLISTEN 0 16 *:80 *:*", Some(Source::Ss)),
            ("Proto Recv-Q Send-Q Local Address", Some(Source::Netstat)),
            ("Aktive Internetverbindungen\ntcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN -", Some(Source::Netstat)),
            ("COMMAND   PID   USER   FD", Some(Source::Lsof)),
            ("[]", Some(Source::Osquery)),
            ("hello", None),
            ("", None),
            ("{\"schema\": \"x\"}", None),
        ] {
            assert_eq!(detect(text), source, "{text}");
        }
    }

    /// A socket, printed as each tool would.
    fn socket() -> impl Strategy<Value = (Transport, std::net::IpAddr, u16, u32)> {
        (
            prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)],
            any::<std::net::IpAddr>().prop_map(|address| address.to_canonical()),
            1..u16::MAX,
            2..1_000_000_u32,
        )
    }

    fn printed(source: Source, (transport, address, port, pid): (Transport, std::net::IpAddr, u16, u32)) -> String {
        let bracketed = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        match source {
            Source::Ss => {
                let (state, peer) =
                    if transport == Transport::Tcp { ("LISTEN", "[::]:*") } else { ("UNCONN", "0.0.0.0:*") };
                format!("{transport}  {state} 0  128  {bracketed}:{port}  {peer}  users:((\"x y\",pid={pid},fd=3))\n")
            }
            Source::Netstat => {
                let state = if transport == Transport::Tcp { "LISTEN " } else { "" };
                format!("{transport}  0   0  {address}:{port}   0.0.0.0:*  {state}  {pid}/x y   \n")
            }
            Source::Lsof => {
                let (family, node, state) = match (address.is_ipv6(), transport) {
                    (true, Transport::Tcp) => ("IPv6", "TCP", "(LISTEN)"),
                    (false, Transport::Tcp) => ("IPv4", "TCP", "(LISTEN)"),
                    (true, Transport::Udp) => ("IPv6", "UDP", ""),
                    (false, Transport::Udp) => ("IPv4", "UDP", ""),
                };
                format!("x\\x20y {pid} root 3u {family} 77 0t0 {node} {bracketed}:{port} {state}\n")
            }
            _ => {
                let protocol = if transport == Transport::Tcp { 6 } else { 17 };
                format!(
                    "[{{\"pid\":\"{pid}\",\"port\":\"{port}\",\"protocol\":\"{protocol}\",\"address\":\"{address}\",\"name\":\"x y\"}}]"
                )
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            for source in ALL {
                let _ = parse(source, &text, "fuzz");
            }
            let _ = detect(&text);
        }

        /// Text made of the words that the readers look for, so that it gets far.
        #[test]
        fn rows_in_disorder_are_read_or_refused(words in prop::collection::vec(prop::sample::select(vec![
            "tcp", "udp", "tcp6", "LISTEN", "UNCONN", "0", "0", "*:80", "[::]:80", ":::80", "0.0.0.0:*", "%", "[", "]", "*:*",
            "users:((\"", "\",pid=", "9", "fd=3))", "((", "\"", "IPv4", "IPv6", "TCP", "UDP", "(LISTEN)", "9/x", "-", "\n", "\n",
            "\t", "uid:", "ino:", "cgroup:/a", "é", "\u{0}", "[fe80::1%eth0]:1", "2001:db8:1234:5678:4343", "{", "}", "\"port\":",
        ]), 0..60)) {
            for text in [words.join(" "), words.concat()] {
                for source in ALL {
                    let _ = parse(source, &text, "fuzz");
                }
                let _ = detect(&text);
            }
        }

        #[test]
        fn what_a_tool_prints_is_what_is_read(socket in socket()) {
            for source in ALL {
                let text = printed(source, socket);
                prop_assert_eq!(detect(&text), Some(source), "{}", text);
                let report = parse(source, &text, "generated").unwrap();
                let one = &report.listeners[0];
                prop_assert_eq!((one.transport, one.address, one.port, one.pid), (socket.0, socket.1, socket.2, Some(socket.3)));
                prop_assert_eq!(one.process.as_deref(), Some("x y"));
            }
        }
    }
}
