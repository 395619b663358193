//! Reads target lists from files and stdin and puts targets, exclusions and resolved names together. A driver.
#![expect(clippy::disallowed_methods, reason = "reads the target files that the operator names")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::IpAddr;

use super::guard::is_no_target;
use super::item::{Item, ItemError, Origin, items_of, shown};
use super::names::{Names, Resolved};
use super::set::TargetSet;
use crate::model::report::Gap;

/// What the target and exclusion arguments come to.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Targets less exclusions.
    pub set: TargetSet,
    /// The targets as asked for: ranges, and names with their addresses.
    pub described: Vec<String>,
    pub excluded: Vec<String>,
    /// Names by which addresses of the set were asked for.
    pub names: BTreeMap<IpAddr, Vec<String>>,
    /// Names that do not resolve, or not wholly: the rest is swept, the run is incomplete.
    pub gaps: Vec<Gap>,
}

/// Resolves `targets` less `excluded`.
///
/// # Errors
/// Bad items, unreadable files, and names among the exclusions that do not resolve: what was to be left out must not be
/// asked by mistake. A target name that does not resolve is a gap.
pub async fn load(targets: &[String], excluded: &[String]) -> Result<Loaded, LoadError> {
    load_by(Names::system, targets, excluded).await
}

async fn load_by(
    names: impl FnOnce() -> Result<Names, String>,
    targets: &[String],
    excluded: &[String],
) -> Result<Loaded, LoadError> {
    let mut source = Source::default();
    let wanted = source.expand(targets)?;
    // A list of exclusions may well be empty; an empty list of targets is a mistake, or nothing to do.
    source.may_be_empty = true;
    let unwanted = source.expand(excluded)?;
    let asked: BTreeSet<String> = [&wanted, &unwanted].into_iter().flatten().filter_map(Wanted::name).collect();
    let answers = if asked.is_empty() {
        BTreeMap::new()
    } else {
        match names() {
            Ok(names) => names.resolve_all(asked).await,
            Err(cause) => asked.into_iter().map(|name| (name, Err(cause.clone()))).collect(),
        }
    };
    assemble(wanted, unwanted, &answers)
}

/// Answers by name; every name that was wanted or excluded has one.
type Answers = BTreeMap<String, Result<Resolved, String>>;

fn assemble(
    wanted: Vec<(Wanted, Origin)>,
    unwanted: Vec<(Wanted, Origin)>,
    answers: &Answers,
) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    let mut ranges = Vec::new();
    let mut names = BTreeSet::new();
    for (item, _) in wanted {
        match item {
            Wanted::Range(first, last) => ranges.push((first, last)),
            Wanted::Name(name) => {
                names.insert(name);
            }
        }
    }
    loaded.described = TargetSet::from_ranges(ranges.iter().copied()).describe();
    for name in names {
        match answer(answers, &name) {
            Ok(resolved) => {
                let list: Vec<String> = resolved.addresses.iter().map(IpAddr::to_string).collect();
                loaded.described.push(format!("{name} ({})", list.join(", ")));
                loaded.gaps.extend(resolved.missing.as_ref().map(|cause| gap(&name, cause.clone())));
                for &address in &resolved.addresses {
                    if is_no_target(address) {
                        // Beside another address it is no loss: hosts often publish their link-local one too.
                        let incomplete = resolved.addresses.iter().all(|&address| is_no_target(address));
                        loaded.gaps.push(Gap { incomplete, ..gap(&name, format!("{address} can be no target")) });
                    } else {
                        loaded.names.entry(address).or_default().push(name.clone());
                        ranges.push((address, address));
                    }
                }
            }
            Err(cause) => {
                loaded.described.push(format!("{name} (does not resolve)"));
                loaded.gaps.push(gap(&name, format!("the name does not resolve: {cause}")));
            }
        }
    }

    let mut removed = Vec::new();
    for (item, origin) in unwanted {
        match item {
            Wanted::Range(first, last) => removed.push((first, last)),
            Wanted::Name(name) => match answer(answers, &name) {
                Ok(Resolved { addresses, missing: None }) => {
                    removed.extend(addresses.into_iter().map(|address| (address, address)));
                }
                Ok(Resolved { missing: Some(cause), .. }) | Err(cause) => {
                    return Err(LoadError::Exclusion { name, origin, cause });
                }
            },
        }
    }
    let removed = TargetSet::from_ranges(removed);
    loaded.excluded = removed.describe();
    loaded.set = TargetSet::from_ranges(ranges).without(&removed);
    loaded.names.retain(|address, _| loaded.set.contains(*address));
    Ok(loaded)
}

fn answer(answers: &Answers, name: &str) -> Result<Resolved, String> {
    answers.get(name).cloned().unwrap_or_else(|| Err("it was not asked for".to_owned()))
}

fn gap(name: &str, cause: String) -> Gap {
    Gap {
        what: format!("target {name}"),
        cause,
        settled_by: "its address, or a resolver that knows it".to_owned(),
        incomplete: true,
    }
}

/// Targets that cannot be made out.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{origin}: {error}")]
    Item { origin: Origin, error: ItemError },
    #[error("{origin}: cannot read targets from `{path}`: {error}; hint: @FILE names a readable text file")]
    Read { origin: Origin, path: String, error: std::io::Error },
    #[error(
        "{origin}: `{item}` is nested too deep; hint: a target file may name files, those may not name further ones"
    )]
    Nested { origin: Origin, item: String },
    #[error("{origin}: {list} names no target; hint: addresses, networks or names, some a line; # starts a comment")]
    Empty { origin: Origin, list: String },
    #[error("{origin}: stdin is named twice; hint: - may stand once")]
    Stdin { origin: Origin },
    #[error(
        "{origin}: exclusion `{name}` does not resolve ({cause}), so it might be asked; hint: exclude it by address"
    )]
    Exclusion { name: String, origin: Origin, cause: String },
}

enum Wanted {
    Range(IpAddr, IpAddr),
    Name(String),
}

impl Wanted {
    fn name((wanted, _): &(Self, Origin)) -> Option<String> {
        match wanted {
            Self::Range(..) => None,
            Self::Name(name) => Some(name.clone()),
        }
    }
}

/// Files and stdin.
#[derive(Default)]
struct Source {
    stdin_taken: bool,
    may_be_empty: bool,
}

impl Source {
    fn expand(&mut self, items: &[String]) -> Result<Vec<(Wanted, Origin)>, LoadError> {
        let mut wanted = Vec::new();
        for item in items {
            self.expand_item(item, &Origin::Argument, 0, &mut wanted)?;
        }
        Ok(wanted)
    }

    fn expand_item(
        &mut self,
        text: &str,
        origin: &Origin,
        depth: u8,
        wanted: &mut Vec<(Wanted, Origin)>,
    ) -> Result<(), LoadError> {
        let item = Item::parse(text).map_err(|error| LoadError::Item { origin: origin.clone(), error })?;
        let (name, content) = match item {
            Item::Range(first, last) => {
                wanted.push((Wanted::Range(first, last), origin.clone()));
                return Ok(());
            }
            Item::Name(name) => {
                wanted.push((Wanted::Name(name), origin.clone()));
                return Ok(());
            }
            Item::File(_) | Item::Stdin if depth >= 2 => {
                return Err(LoadError::Nested { origin: origin.clone(), item: shown(text) });
            }
            Item::File(path) => {
                let content = std::fs::read_to_string(&path).map_err(|error| LoadError::Read {
                    origin: origin.clone(),
                    path: shown(&path),
                    error,
                })?;
                (path, content)
            }
            Item::Stdin => {
                if std::mem::replace(&mut self.stdin_taken, true) {
                    return Err(LoadError::Stdin { origin: origin.clone() });
                }
                let mut content = String::new();
                std::io::stdin().read_to_string(&mut content).map_err(|error| LoadError::Read {
                    origin: origin.clone(),
                    path: "-".to_owned(),
                    error,
                })?;
                ("stdin".to_owned(), content)
            }
        };
        let before = wanted.len();
        for (line, item) in items_of(&content) {
            self.expand_item(item, &Origin::Line { file: name.clone(), line }, depth + 1, wanted)?;
        }
        if wanted.len() == before && !self.may_be_empty {
            let list = if text == "-" { name } else { format!("file `{}`", shown(&name)) };
            return Err(LoadError::Empty { origin: origin.clone(), list });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::targets::names::tests::against_a_server;

    /// Names are asked of a server on loopback.
    async fn load_texts(targets: &[&str], excluded: &[&str]) -> Result<Loaded, LoadError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let names = against_a_server().await;
        load_by(|| Ok(names), &owned(targets), &owned(excluded)).await
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn files_name_their_line_in_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("targets");
        std::fs::write(&path, "# ours\n198.18.0.1 198.18.0.3-4\n198.18.0.300\n").unwrap();
        let error = load_texts(&[&format!("@{}", path.display())], &[]).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{}:3: `198.18.0.300`", path.display())), "{error}");
        std::fs::write(&path, "# ours\n198.18.0.1 198.18.0.3-4\n").unwrap();
        let loaded = load_texts(&[&format!("@{}", path.display()), "198.18.0.2"], &["198.18.0.4"]).await.unwrap();
        assert_eq!(loaded.set.describe(), ["198.18.0.1-198.18.0.3"]);
        assert_eq!(loaded.described, ["198.18.0.1-198.18.0.4"]);
        assert_eq!(loaded.excluded, ["198.18.0.4"]);
    }

    #[tokio::test]
    async fn a_file_that_names_itself_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("loop");
        std::fs::write(&path, format!("@{}", path.display())).unwrap();
        let error = load_texts(&[&format!("@{}", path.display())], &[]).await.unwrap_err();
        assert!(matches!(error, LoadError::Nested { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_empty_list_of_targets_is_named_and_one_of_exclusions_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("today");
        std::fs::write(&path, "# nothing to do\n").unwrap();
        let item = format!("@{}", path.display());
        for targets in [&[&*item][..], &["198.18.0.1", &item]] {
            let error = load_texts(targets, &[]).await.unwrap_err().to_string();
            assert!(error.contains(&format!("file `{}` names no target", path.display())), "{error}");
        }
        assert_eq!(load_texts(&["198.18.0.1"], &[&item]).await.unwrap().set.len(), 1);
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let error = load_texts(&["@/nonexistent/list"], &[]).await.unwrap_err().to_string();
        assert!(error.contains("`/nonexistent/list`") && error.contains("hint"), "{error}");
    }

    #[tokio::test]
    async fn an_unresolvable_target_is_a_gap_and_an_unresolvable_exclusion_an_error() {
        let loaded = load_texts(&["nobody.lan", "198.18.0.1"], &[]).await.unwrap();
        assert_eq!(loaded.set.describe(), ["198.18.0.1"]);
        assert_eq!(loaded.described, ["198.18.0.1", "nobody.lan (does not resolve)"]);
        assert_eq!(loaded.gaps.len(), 1);
        assert!(loaded.gaps[0].incomplete && loaded.gaps[0].what.contains("nobody.lan"));
        // Half an answer is enough to scan by, not to leave out by.
        let loaded = load_texts(&["half.lan"], &[]).await.unwrap();
        assert_eq!((loaded.set.describe(), loaded.gaps.len()), (vec!["198.18.0.8".to_owned()], 1));
        for name in ["nobody.lan", "half.lan", "broken.lan"] {
            let error = load_texts(&["198.18.0.1"], &[name]).await.unwrap_err();
            assert!(matches!(&error, LoadError::Exclusion { name: named, .. } if named == name), "{error}");
        }
        let without = load_by(|| Err("no resolver".to_owned()), &["a.lan".to_owned()], &[]).await.unwrap();
        assert!(without.set.is_empty() && without.gaps[0].cause.contains("no resolver"));
    }

    #[tokio::test]
    async fn names_come_with_their_addresses_and_ranges_stay_as_they_were_asked() {
        let loaded =
            load_texts(&["both.lan", "198.18.0.0/24", "BOTH.lan", "files.lan"], &["198.18.0.9"]).await.unwrap();
        assert_eq!(
            loaded.described,
            ["198.18.0.0/24", "both.lan (198.18.0.7, 198.18.0.9, 2001:db8::7)", "files.lan (198.18.7.7, 2001:db8::77)"]
        );
        assert_eq!(loaded.set.len(), 256 + 1 + 2 - 1);
        assert_eq!(loaded.names.get(&ip("198.18.0.7")), Some(&vec!["both.lan".to_owned()]));
        assert_eq!(loaded.names.get(&ip("198.18.0.9")), None);
        assert!(loaded.gaps.is_empty());
    }

    #[tokio::test]
    async fn a_name_for_what_can_be_no_target_is_a_gap() {
        let loaded = load_texts(&["local.lan", "198.18.0.1"], &[]).await.unwrap();
        assert_eq!(loaded.set.describe(), ["198.18.0.1"]);
        assert_eq!(loaded.gaps.len(), 2);
        assert!(loaded.gaps.iter().all(|gap| gap.incomplete));
        let loaded = load_texts(&["mixed.lan"], &[]).await.unwrap();
        assert_eq!(loaded.set.describe(), ["198.18.0.4"]);
        assert!(loaded.gaps.len() == 1 && !loaded.gaps[0].incomplete);
    }

    #[tokio::test]
    async fn an_exclusion_in_the_other_notation_counts() {
        let loaded = load_texts(&["198.18.0.4/30"], &["::ffff:198.18.0.6", "mapped.lan"]).await.unwrap();
        assert_eq!(loaded.set.describe(), ["198.18.0.4", "198.18.0.7"]);
    }
}
