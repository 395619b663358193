//! The command line read, as clap reads it; subcommands that are hidden in the help are hidden in errors, too.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser as _};

use super::Args;

/// Reads the words of a command line, the program's name first.
///
/// # Errors
/// What clap has to say instead: an error, the help or the version.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    Args::try_parse_from(words).map_err(without_hidden)
}

/// clap names every subcommand where one is missing, and proposes any that is spelled alike.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    let command = Args::command();
    let is_hidden = |name: &String| command.find_subcommand(name).is_some_and(clap::Command::is_hide_set);
    for kind in [ContextKind::ValidSubcommand, ContextKind::SuggestedSubcommand] {
        let shown = match error.get(kind) {
            Some(ContextValue::Strings(names)) => {
                let shown: Vec<String> = names.iter().filter(|name| !is_hidden(name)).cloned().collect();
                (!shown.is_empty()).then_some(ContextValue::Strings(shown))
            }
            Some(ContextValue::String(name)) if is_hidden(name) => None,
            Some(_) | None => continue,
        };
        match shown {
            Some(shown) => error.insert(kind, shown),
            None => error.remove(kind),
        };
    }
    // An empty list is printed as an empty line.
    if matches!(error.get(ContextKind::Suggested), Some(ContextValue::StyledStrs(tips)) if tips.is_empty()) {
        error.remove(ContextKind::Suggested);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        parse(line.split(' ').map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn hidden_subcommands_are_in_no_error() {
        let missing = told("postern -q");
        assert!(missing.contains("[subcommands: audit, scan, host, correlate, explain, probes, help]"), "{missing}");
        for line in ["postern loo", "postern swep", "postern sweepin", "postern help loo", "postern --help", "postern"]
        {
            let told = told(line);
            assert!(!told.contains("look'") && !told.contains("sweeping"), "{line}: {told}");
            assert!(!told.contains("\n\n\n"), "{line}: {told}");
        }
        // What is not hidden is proposed.
        assert!(told("postern scam").contains("'scan'"), "{}", told("postern scam"));
        assert!(told("postern probes lst").contains("'list'"));
    }

    #[test]
    fn hidden_subcommands_work() {
        let words = ["postern", "look"].map(OsString::from);
        assert!(matches!(parse(words).unwrap().command, crate::cli::Command::Look));
    }
}
