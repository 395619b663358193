//! `--vantage`: a place to look from.

use std::fmt;
use std::str::FromStr;

use crate::host::remote::{DestinationError, SshDestination};
use crate::model::report::VantageKind;

/// One `--vantage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VantageChoice {
    /// Through this interface, whatever the route.
    Interface(String),
    /// The namespace of this name (below /run/netns), or of the process with this id.
    Netns(String),
    /// The network namespace of a container, by name or id.
    Container(String),
    Neighbour,
    /// Over `lo`.
    Own,
    Ssh(SshDestination),
}

/// Text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VantageError {
    #[error("no name behind `{scheme}:`")]
    NoName { scheme: &'static str },
    #[error("no place of this kind; an interface's name has at most 15 characters and none of `/`, `:` and blanks")]
    Interface,
    #[error("a namespace is named as `ip netns list` does, or by a process id")]
    Netns,
    #[error(transparent)]
    Ssh(#[from] DestinationError),
}

impl VantageChoice {
    pub const fn kind(&self) -> VantageKind {
        match self {
            Self::Interface(_) => VantageKind::Interface,
            Self::Netns(_) => VantageKind::Netns,
            Self::Container(_) => VantageKind::Container,
            Self::Neighbour => VantageKind::Neighbour,
            Self::Own => VantageKind::Own,
            Self::Ssh(_) => VantageKind::Ssh,
        }
    }
}

impl FromStr for VantageChoice {
    type Err = VantageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(SshDestination::SCHEME) {
            return Ok(Self::Ssh(text.parse()?));
        }
        let named = |scheme, name: &str| {
            if name.is_empty() { Err(VantageError::NoName { scheme }) } else { Ok(name.to_owned()) }
        };
        match (text, text.split_once(':')) {
            (NEIGHBOUR, _) => Ok(Self::Neighbour),
            (OWN, _) => Ok(Self::Own),
            (_, Some(("netns", name))) => {
                let name = named("netns", name)?;
                // It becomes part of a path.
                let plain = !name.contains(['/', '\0']) && name != "." && name != "..";
                if plain { Ok(Self::Netns(name)) } else { Err(VantageError::Netns) }
            }
            (_, Some(("container", name))) => Ok(Self::Container(named("container", name)?)),
            // dev_valid_name of net/core/dev.c.
            _ if (1..16).contains(&text.len())
                && !matches!(text, "." | "..")
                && !text.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace()) =>
            {
                Ok(Self::Interface(text.to_owned()))
            }
            _ => Err(VantageError::Interface),
        }
    }
}

/// As the operator wrote it: the name of the vantage in reports.
impl fmt::Display for VantageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => f.write_str(name),
            Self::Netns(name) => write!(f, "netns:{name}"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Neighbour => f.write_str(NEIGHBOUR),
            Self::Own => f.write_str(OWN),
            Self::Ssh(destination) => write!(f, "{destination}"),
        }
    }
}

const NEIGHBOUR: &str = "neighbour";
const OWN: &str = "self";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_as_it_was_written() {
        for (text, kind) in [
            ("eth0", VantageKind::Interface),
            ("netns:blue", VantageKind::Netns),
            ("netns:4711", VantageKind::Netns),
            ("container:web", VantageKind::Container),
            ("neighbour", VantageKind::Neighbour),
            ("self", VantageKind::Own),
            ("ssh://ops@198.18.0.9", VantageKind::Ssh),
        ] {
            let choice: VantageChoice = text.parse().unwrap();
            assert_eq!((choice.to_string().as_str(), choice.kind()), (text, kind));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in
            ["", "netns:", "container:", "netns:../../proc", "an-interface-too-long", "a b", "moon:x", "ssh://-oX"]
        {
            assert!(text.parse::<VantageChoice>().is_err(), "{text}");
        }
    }
}
