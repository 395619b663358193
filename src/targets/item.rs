//! One item of a target list: an address, a network, a range, a name, a file, stdin. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

/// What one item of a target list asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Addresses from the first to the last, inclusive, of one family.
    Range(IpAddr, IpAddr),
    /// A host name, to be resolved.
    Name(String),
    /// `@PATH`: items, one or several a line.
    File(String),
    /// `-`.
    Stdin,
}

/// Where an item was written: for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Argument,
    Line { file: String, line: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => f.write_str("command line"),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

/// An item that is none of what a target can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{item}`: {problem}; hint: {hint}")]
pub struct ItemError {
    /// As written, but fit to be shown: control characters escaped, cut to 80 characters.
    pub item: String,
    pub problem: &'static str,
    pub hint: &'static str,
}

impl Item {
    /// Parses one item. A network may have host bits set: it is the network around that address, with its first and
    /// last address, which are hosts like others wherever the network is not cut as we think.
    pub fn parse(text: &str) -> Result<Self, ItemError> {
        let error = |problem, hint| ItemError { item: shown(text), problem, hint };
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(path) = text.strip_prefix('@') {
            if path.is_empty() {
                return Err(error("no file after @", "write @FILE, or - for stdin"));
            }
            return Ok(Self::File(path.to_owned()));
        }
        if text.contains('%') {
            return Err(error(
                "an address of one link is no target",
                "name the host by its global, unique local (fd00::/8) or IPv4 address",
            ));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::range(address, address));
        }
        if let Some((problem, hint)) = misplaced(text) {
            return Err(error(problem, hint));
        }
        if text.contains('/') {
            let network: IpNetwork = text.parse().map_err(|_| {
                error("no network", "write ADDRESS/PREFIX: 198.18.0.0/24 (prefix 0 to 32), 2001:db8::/120 (0 to 128)")
            })?;
            return Ok(Self::range(network.network(), network.broadcast()));
        }
        if let Some((first, last)) = text.split_once('-')
            && let Ok(first) = first.parse::<IpAddr>()
        {
            let last = range_end(first, last).ok_or_else(|| {
                error("no range", "write 198.18.0.1-50, 198.18.0.1-198.18.3.7 or 2001:db8::1-2001:db8::9")
            })?;
            if last < first {
                return Err(error("the range ends before it starts", "write the smaller address first"));
            }
            return Ok(Self::range(first, last));
        }
        if is_host_name(text) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err(error(
            "neither address, network, range nor host name",
            "write 198.18.0.1, 198.18.0.0/24, 198.18.0.1-50, 2001:db8::1, a host name, @FILE or - for stdin",
        ))
    }

    /// An IPv4 address written as IPv6 (RFC 4291 section 2.5.5.2) is that IPv4 address to the kernel. So it is to us,
    /// else excluding one form would leave the other.
    fn range(first: IpAddr, last: IpAddr) -> Self {
        match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Self::Range(first.into(), last.into()),
            _ => Self::Range(first, last),
        }
    }
}

/// What people write for a target that belongs elsewhere.
fn misplaced(text: &str) -> Option<(&'static str, &'static str)> {
    if text.contains("://") {
        return Some(("a URL is no target", "give the host alone, and its port with -p"));
    }
    if text.contains('*') {
        return Some(("wildcards are not known", "write 198.18.0.0/24 for 198.18.0.*"));
    }
    let has_port = |(host, port): (&str, &str)| !host.contains(':') && !host.is_empty() && is_number(port);
    if text.starts_with('[') || text.rsplit_once(':').is_some_and(has_port) {
        return Some(("a target has no port and no brackets", "give the host alone, and its port with -p"));
    }
    None
}

/// Items of a text with the number of their line: separated by white space or commas, `#` starts a comment.
pub fn items_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Some editors begin a file with a byte order mark.
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate().flat_map(|(index, line)| {
        let line = line.split('#').next().unwrap_or("");
        line.split(|c: char| c.is_whitespace() || c == ',')
            .filter(|item| !item.is_empty())
            .map(move |item| (index + 1, item))
    })
}

/// `50` behind 198.18.0.1 is 198.18.0.50; anything else is a full address of the same family.
fn range_end(first: IpAddr, last: &str) -> Option<IpAddr> {
    if let IpAddr::V4(first) = first
        && is_number(last)
    {
        let [a, b, c, _] = first.octets();
        return last.parse::<u8>().ok().map(|last| Ipv4Addr::new(a, b, c, last).into());
    }
    last.parse::<IpAddr>().ok().filter(|last| last.is_ipv4() == first.is_ipv4())
}

/// RFC 1123 section 2.1 with underscores, which are in use; a name whose last label is numeric is a mistyped address.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // `198.18.0-50`: a range that is not one of ours, and no name to ask a server for.
    let digits = name.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    (1..=253).contains(&name.len())
        && name.split('.').all(label)
        && !digits
        && !name.rsplit('.').next().is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `text` fit for a message: a file may hold anything.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> Item {
        Item::Range(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn parses_every_kind() {
        for (text, item) in [
            ("198.18.0.1", range("198.18.0.1", "198.18.0.1")),
            ("198.18.0.77/24", range("198.18.0.0", "198.18.0.255")),
            ("198.18.0.1-50", range("198.18.0.1", "198.18.0.50")),
            ("198.18.0.1-198.18.3.7", range("198.18.0.1", "198.18.3.7")),
            ("2001:db8::7", range("2001:db8::7", "2001:db8::7")),
            ("2001:db8::/120", range("2001:db8::", "2001:db8::ff")),
            ("2001:db8::1-2001:db8::9", range("2001:db8::1", "2001:db8::9")),
            // To the kernel these are IPv4.
            ("::ffff:198.18.0.7", range("198.18.0.7", "198.18.0.7")),
            ("::ffff:198.18.0.0/120", range("198.18.0.0", "198.18.0.255")),
            ("::ffff:198.18.0.1-::ffff:198.18.0.2", range("198.18.0.1", "198.18.0.2")),
            ("198.18.0.0/255.255.255.0", range("198.18.0.0", "198.18.0.255")),
            ("10-0-0-1.nodes.lan", Item::Name("10-0-0-1.nodes.lan".to_owned())),
            ("DB-1.lan.", Item::Name("db-1.lan.".to_owned())),
            ("a-b", Item::Name("a-b".to_owned())),
            ("@hosts.txt", Item::File("hosts.txt".to_owned())),
            ("-", Item::Stdin),
        ] {
            assert_eq!(Item::parse(text).unwrap(), item, "{text}");
        }
    }

    #[test]
    fn refuses_with_a_hint_and_the_item() {
        for text in [
            "",
            "@",
            "198.18.0",
            "198.18.0.256",
            "198.18.0.0/33",
            "198.18.0.9-1",
            "198.18.0.1-2001:db8::1",
            "fe80::1%eth0",
            "http://host/",
            "host name",
            "-x",
            "x-",
            "198.18.0.1-300",
            "198.18.0.1:80",
            "db.lan:80",
            "[2001:db8::1]",
            "198.18.0.*",
            "198.18.0-50",
            "198.018.0.1",
            "198.18.0.1-",
            "2001:db8::1-9",
            "db.lan/24",
            "a..b",
        ] {
            let error = Item::parse(text).unwrap_err();
            assert_eq!(error.item, text);
            assert!(error.to_string().contains("hint: "), "{error}");
        }
        // With an interface or without (which the guard refuses), the way out is the same.
        let scoped = Item::parse("fe80::1%eth0").unwrap_err();
        assert_eq!(scoped.hint, "name the host by its global, unique local (fd00::/8) or IPv4 address");
    }

    #[test]
    fn items_of_a_text_have_lines_and_no_comments() {
        let items: Vec<_> = items_of("a b # c\n\n#d\ne,f\r\n").collect();
        assert_eq!(items, [(1, "a"), (1, "b"), (4, "e"), (4, "f")]);
    }

    #[test]
    fn errors_carry_no_control_characters_and_stay_short() {
        let error = Item::parse(&"\u{1b}[2J".repeat(100)).unwrap_err().to_string();
        assert!(!error.chars().any(char::is_control) && error.len() < 600, "{error}");
        let advice = Item::parse("http://db.lan/").unwrap_err();
        assert_eq!(advice.hint, "give the host alone, and its port with -p");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_item() {
        assert_eq!(items_of("\u{feff}a\n").collect::<Vec<_>>(), [(1, "a")]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Item::parse(&text);
        }
    }
}
