//! Why a listing could not be read.

use crate::model::host_report::Source;

/// A listing that is none, or that has a row which does not say what such a row says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    #[error("{name}: line {line}: `{value}` is {problem}; hint: {hint}")]
    Row { name: String, line: usize, value: String, problem: &'static str, hint: &'static str },
    #[error("{name}: no row of a {} listing in it; hint: save the output of `{}`, run as root", .listing.as_str(), command(*.listing))]
    Empty { name: String, listing: Source },
    #[error("{name}: line {line}: no JSON ({problem}); hint: save the output of `{}`", command(Source::Osquery))]
    Json { name: String, line: usize, problem: String },
}

impl ListingError {
    /// `value` comes from a file that may hold anything: it is cut and escaped here.
    pub(super) fn row(name: &str, line: usize, value: &str, (problem, hint): (&'static str, &'static str)) -> Self {
        Self::Row { name: name.to_owned(), line, value: shown(value), problem, hint }
    }
}

/// The command whose output is expected.
pub(super) const fn command(listing: Source) -> &'static str {
    match listing {
        Source::Native | Source::Agentless => "postern host -o json",
        Source::Ss => "ss -tulpn",
        Source::Netstat => "netstat -tulpnW",
        Source::Lsof => "lsof -i -Pn",
        Source::Osquery => "osqueryi --json \"SELECT * FROM listening_ports\"",
    }
}

/// At most 80 characters, control characters escaped.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_what_and_how_to_go_on() {
        let error = ListingError::row("a.txt", 7, "x\u{1b}[31m", ("no port", "run `ss -tulpn`"));
        assert_eq!(error.to_string(), "a.txt: line 7: `x\\u{1b}[31m` is no port; hint: run `ss -tulpn`");
        let error = ListingError::Empty { name: "a.txt".to_owned(), listing: Source::Lsof };
        assert_eq!(
            error.to_string(),
            "a.txt: no row of a lsof listing in it; hint: save the output of `lsof -i -Pn`, run as root"
        );
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 81);
    }
}
