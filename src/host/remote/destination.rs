//! `ssh://[USER@]HOST[:PORT]`. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Where ssh is to go. HOST may be an alias of the user's ssh configuration.
///
/// Nothing in it can be an option of ssh, nor means anything to a shell: ssh puts host and user into the ProxyCommand of
/// the user's configuration (`%h`, `%r`), which a shell reads (CVE-2023-51385).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SshDestination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

/// Why a text is no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("it does not begin with ssh://")]
    Scheme,
    #[error("the host is missing")]
    NoHost,
    #[error("`{0}` is no host name or address")]
    Host(String),
    #[error("`{0}` is no user name")]
    User(String),
    #[error("`{0}` is no port (1 to 65535)")]
    Port(String),
    #[error("a password does not belong on a command line; ssh is asked with keys and agent only")]
    Password,
    #[error("nothing follows the port, but `{0}` does")]
    Path(String),
}

impl SshDestination {
    /// How such an argument begins.
    pub const SCHEME: &str = "ssh://";

    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for SshDestination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let rest = text.strip_prefix(Self::SCHEME).ok_or(DestinationError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((_, path)) = rest.split_once('/') {
            return Err(DestinationError::Path(shown(&format!("/{path}"))));
        }
        // A directory service's users have an `@` of their own: the last one counts.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(DestinationError::Password);
        }
        if let Some(user) = user.filter(|user| !is_user(user)) {
            return Err(DestinationError::User(shown(user)));
        }
        let (host, port) = split_port(place)?;
        if host.is_empty() {
            return Err(DestinationError::NoHost);
        }
        if !is_host(host) {
            return Err(DestinationError::Host(shown(host)));
        }
        let port = port
            .map(|port| match port.parse::<u16>() {
                Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
                _ => Err(DestinationError::Port(shown(port))),
            })
            .transpose()?;
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for SshDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::SCHEME)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `[2001:db8::1]:22`, `2001:db8::1`, `web:22`, `web`.
fn split_port(place: &str) -> Result<(&str, Option<&str>), DestinationError> {
    if let Some(inside) = place.strip_prefix('[') {
        let (host, behind) = inside.split_once(']').ok_or_else(|| DestinationError::Host(shown(place)))?;
        if !is_ipv6(host) {
            return Err(DestinationError::Host(shown(host)));
        }
        return match behind {
            "" => Ok((host, None)),
            _ => match behind.strip_prefix(':') {
                Some(port) => Ok((host, Some(port))),
                None => Err(DestinationError::Host(shown(place))),
            },
        };
    }
    if is_ipv6(place) {
        return Ok((place, None));
    }
    Ok(place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))))
}

fn is_user(user: &str) -> bool {
    !user.is_empty()
        && !user.starts_with('-')
        && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte))
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    is_ipv6(host) || (!host.starts_with('-') && host.bytes().all(plain))
}

/// With the interface of a link-local address behind `%`.
fn is_ipv6(host: &str) -> bool {
    let (address, scope) = host.split_once('%').map_or((host, None), |(address, scope)| (address, Some(scope)));
    let scope_is_name =
        scope.is_none_or(|scope| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'));
    matches!(address.parse(), Ok(IpAddr::V6(_))) && scope_is_name
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<SshDestination, DestinationError> {
        text.parse()
    }

    #[test]
    fn user_host_and_port() {
        for (text, user, host, port) in [
            ("ssh://web", None, "web", None),
            ("ssh://root@web.lan:2222", Some("root"), "web.lan", Some(2222)),
            ("ssh://198.18.0.7/", None, "198.18.0.7", None),
            ("ssh://a.b@corp@198.18.0.7", Some("a.b@corp"), "198.18.0.7", None),
            ("ssh://[2001:db8::7]:22", None, "2001:db8::7", Some(22)),
            ("ssh://2001:db8::7", None, "2001:db8::7", None),
            ("ssh://x@[fe80::1%eth0]", Some("x"), "fe80::1%eth0", None),
        ] {
            let found = parse(text).unwrap();
            assert_eq!((found.user(), found.host(), found.port()), (user, host, port), "{text}");
            assert_eq!(parse(&found.to_string()), Ok(found), "{text}");
        }
    }

    #[test]
    fn options_and_shell_words_are_refused() {
        let host = |text: &str| DestinationError::Host(text.to_owned());
        assert_eq!(parse("ssh://-oProxyCommand=touch"), Err(host("-oProxyCommand=touch")));
        assert_eq!(parse("ssh://x@-web"), Err(host("-web")));
        assert_eq!(parse("ssh://-lroot@web"), Err(DestinationError::User("-lroot".to_owned())));
        for bad in ["a b", "a;b", "$(id)", "`id`", "a|b", "a&b", "a'b", "a\"b", "a\\b", "a\nb", "a*b", "é", "a%b"] {
            assert!(matches!(parse(&format!("ssh://{bad}")), Err(DestinationError::Host(_))), "{bad}");
            assert!(matches!(parse(&format!("ssh://{bad}@web")), Err(DestinationError::User(_))), "{bad}");
        }
        assert!(matches!(parse("ssh://[fe80::1%e$x]"), Err(DestinationError::Host(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("http://web"), Err(DestinationError::Scheme));
        assert_eq!(parse("ssh://"), Err(DestinationError::NoHost));
        assert_eq!(parse("ssh://x@:22"), Err(DestinationError::NoHost));
        for port in ["0", "65536", "+22", "x", ""] {
            assert_eq!(parse(&format!("ssh://web:{port}")), Err(DestinationError::Port(port.to_owned())));
        }
        assert_eq!(parse("ssh://me:secret@web"), Err(DestinationError::Password));
        assert_eq!(parse("ssh://web/etc"), Err(DestinationError::Path("/etc".to_owned())));
        assert!(matches!(parse("ssh://[web]"), Err(DestinationError::Host(_))));
        assert!(matches!(parse("ssh://[::1]x"), Err(DestinationError::Host(_))));
    }

    proptest! {
        #[test]
        fn what_passes_is_no_option_and_no_shell_text(text in "(ssh://)?\\PC{0,40}") {
            if let Ok(found) = text.parse::<SshDestination>() {
                for word in [Some(found.host()), found.user()].into_iter().flatten() {
                    prop_assert!(!word.is_empty() && !word.starts_with('-'));
                    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-+@:%".contains(c);
                    prop_assert!(word.chars().all(harmless));
                }
            }
        }
    }
}
