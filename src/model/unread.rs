//! What of a host's packet filter is not known, and the gaps that it leaves.

use std::fmt;

use super::host_report::OWN_WORD_OF_ROOT;
use super::report::Gap;

/// A part of a host's rules that is not known, so that nobody can tell what a packet would meet there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// `iptables-save line 3: …`, `chain ip t gone: led to, but not listed`: the part with its place, and the problem.
    pub what: String,
    pub lack: Lack,
    /// Network namespace, when it is not the host's own.
    pub namespace: Option<String>,
}

/// Why a part of the rules is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The dump is none that its tool prints, or of rules that no kernel loads.
    Broken,
    /// The dumps were taken while the rules changed: each is whole, and they do not fit.
    Changed,
    /// This version does not know it.
    Novel,
    /// Nobody could or did look.
    NotRead,
}

impl Unread {
    /// Of the host's own namespace.
    pub fn new(lack: Lack, what: impl Into<String>) -> Self {
        Self { what: what.into(), lack, namespace: None }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}, in namespace {namespace}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// The gaps that `unread` leaves in the packet filter rules of `host`. A dump that was given and cannot be understood was
/// asked for, and what was asked is incomplete without it; rules that nobody read are a limit of the report.
pub fn gaps<'a>(unread: impl IntoIterator<Item = &'a Unread>, host: &str) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for Unread { what, lack, namespace } in unread {
        let place = namespace.as_ref().map_or_else(String::new, |namespace| format!(", in namespace {namespace}"));
        let (settled_by, incomplete) = match lack {
            Lack::Broken | Lack::Changed => (format!("the report taken anew, by {OWN_WORD_OF_ROOT}"), true),
            Lack::Novel => ("a version of postern that knows it".to_owned(), true),
            Lack::NotRead => (OWN_WORD_OF_ROOT.to_owned(), false),
        };
        let gap = Gap { what: packet_filter(host) + &place, cause: what.clone(), settled_by, incomplete };
        // All that nobody read in one namespace is one gap: one look settles it.
        match gaps.iter_mut().find(|known| !incomplete && !known.incomplete && known.what == gap.what) {
            Some(known) => known.cause = format!("{}; {what}", known.cause),
            None => gaps.push(gap),
        }
    }
    gaps
}

/// The gap that a host leaves of which no report has rules.
pub fn no_rules(host: &str) -> Gap {
    Gap {
        what: packet_filter(host),
        cause: "no host report of it has them".to_owned(),
        settled_by: OWN_WORD_OF_ROOT.to_owned(),
        incomplete: false,
    }
}

fn packet_filter(host: &str) -> String {
    format!("packet filter rules of {host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_read_is_one_gap_a_namespace_and_what_is_broken_one_each() {
        let inside = |unread: Unread| Unread { namespace: Some("container:web".to_owned()), ..unread };
        let unread = [
            Unread::new(Lack::NotRead, "nftables: not read"),
            Unread::new(Lack::Broken, "iptables-save line 3: no table"),
            inside(Unread::new(Lack::NotRead, "nftables: not read")),
            Unread::new(Lack::NotRead, "iptables-legacy: not read (IPv4)"),
            Unread::new(Lack::Novel, "chain inet t in: hook `x`"),
        ];
        let told: Vec<String> = gaps(&unread, "web1")
            .iter()
            .map(|gap| format!("{}: {} [{}] {}", gap.what, gap.cause, gap.settled_by, gap.incomplete))
            .collect();
        assert_eq!(
            told,
            [
                "packet filter rules of web1: nftables: not read; iptables-legacy: not read (IPv4) [`postern host` on the \
                 machine, as root] false",
                "packet filter rules of web1: iptables-save line 3: no table [the report taken anew, by `postern host` on \
                 the machine, as root] true",
                "packet filter rules of web1, in namespace container:web: nftables: not read [`postern host` on the \
                 machine, as root] false",
                "packet filter rules of web1: chain inet t in: hook `x` [a version of postern that knows it] true",
            ]
        );
        assert!(!gaps(&unread[..1], "web1").is_empty() && gaps([], "web1").is_empty());
    }
}
