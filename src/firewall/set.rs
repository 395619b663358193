//! What rules compare with: single values, patterns, and the sets and maps of them.

use std::sync::Arc;

/// A value: numbers in host order (addresses too: 198.18.0.1 is 0xc6120001), or an interface name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Datum {
    Number(u128),
    Name(String),
}

/// The right side of a comparison, or the key of a set element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exactly(Datum),
    /// The upper `length` of `width` bits are those of `value`.
    Prefix {
        value: u128,
        length: u8,
        width: u8,
    },
    /// Both ends included.
    Range(u128, u128),
    /// `eth*`, iptables' `eth+`: the name begins like this.
    NameStart(String),
    /// Matches anything (nft's `*` element).
    Any,
    /// One pattern a part of a concatenation.
    Concatenation(Vec<Pattern>),
    Set(SetReference),
    /// With its text.
    Unknown(String),
}

/// A set, map or verdict map: anonymous, or by name in the rule's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetReference {
    Anonymous(Arc<Set>),
    Named(String),
    /// An ipset of `-m set`, with the direction (`src`, `dst`) of each part put into the match's left side.
    Ipset(String),
}

/// Elements of a set, a map or a verdict map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    /// Names of the key's parts as nft prints them: `ipv4_addr`, `inet_service`, `ifname`.
    pub key_types: Vec<String>,
    pub elements: Vec<Element>,
    /// Filled at run time by rules or with time-outs: what it holds now is not what it held, or will.
    pub dynamic: bool,
    /// Could not be read wholly: an element that is not here may be there.
    pub incomplete: Option<String>,
}

/// An element of a set; of a map with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Pattern,
    pub data: Option<ElementData>,
}

/// What a map's element maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementData {
    /// One datum, or one a part of a concatenation (`addr . port`).
    Values(Vec<Datum>),
    /// A range or a prefix, as `dnat to ... map` may have.
    Pattern(Pattern),
    Verdict(Verdict),
}

/// A verdict as data of a verdict map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Continue,
    Jump(String),
    Goto(String),
    /// With its text (`queue`).
    Unknown(String),
}
