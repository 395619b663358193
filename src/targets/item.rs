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
    pub item: String,
    pub problem: &'static str,
    pub hint: &'static str,
}

impl Item {
    /// Parses one item. A network may have host bits set: it is the network around that address.
    pub fn parse(text: &str) -> Result<Self, ItemError> {
        let error = |problem, hint| ItemError { item: text.to_owned(), problem, hint };
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
                "scoped addresses are not swept",
                "name the host by a global or unique local address; link-local ones are found by neighbour discovery",
            ));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Range(address, address));
        }
        if text.contains('/') {
            let network: IpNetwork = text.parse().map_err(|_| {
                error("no network", "write ADDRESS/PREFIX: 198.18.0.0/24 (prefix 0 to 32), 2001:db8::/120 (0 to 128)")
            })?;
            return Ok(Self::Range(network.network(), network.broadcast()));
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
            return Ok(Self::Range(first, last));
        }
        if is_host_name(text) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err(error(
            "neither address, network, range nor host name",
            "write 198.18.0.1, 198.18.0.0/24, 198.18.0.1-50, 2001:db8::1, a host name, @FILE or - for stdin",
        ))
    }
}

/// Items of a text with the number of their line: separated by white space or commas, `#` starts a comment.
pub fn items_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        let line = line.split('#').next().unwrap_or("");
        line.split(|c: char| c.is_whitespace() || c == ',')
            .filter(|item| !item.is_empty())
            .map(move |item| (index + 1, item))
    })
}

/// `50` behind 198.18.0.1 is 198.18.0.50; anything else is a full address of the same family.
fn range_end(first: IpAddr, last: &str) -> Option<IpAddr> {
    if let IpAddr::V4(first) = first
        && last.bytes().all(|byte| byte.is_ascii_digit())
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
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    (1..=253).contains(&name.len()) && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(numeric)
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
            "a..b",
        ] {
            let error = Item::parse(text).unwrap_err();
            assert_eq!(error.item, text);
            assert!(error.to_string().contains("hint: "), "{error}");
        }
    }

    #[test]
    fn items_of_a_text_have_lines_and_no_comments() {
        let items: Vec<_> = items_of("a b # c\n\n#d\ne,f\r\n").collect();
        assert_eq!(items, [(1, "a"), (1, "b"), (4, "e"), (4, "f")]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Item::parse(&text);
        }
    }
}
