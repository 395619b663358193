//! Reads target lists from files and stdin and asks the resolver for names. The only IO of this stage.
#![expect(clippy::disallowed_methods, reason = "reads the target files that the operator names")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;

use trust_dns_resolver::TokioResolver;

use super::item::{Item, ItemError, Origin, items_of};
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
    /// Names by which addresses were asked for.
    pub names: BTreeMap<IpAddr, Vec<String>>,
    /// Names that do not resolve: the rest is swept, the run is incomplete.
    pub gaps: Vec<Gap>,
}

/// Resolves `targets` less `excluded`.
///
/// # Errors
/// Bad items, unreadable files, and names among the exclusions that do not resolve: what was to be left out must not be
/// asked by mistake. A target name that does not resolve is a gap.
pub async fn load(targets: &[String], excluded: &[String]) -> Result<Loaded, LoadError> {
    let mut source = Source::default();
    let wanted = source.expand(targets)?;
    let unwanted = source.expand(excluded)?;
    let mut loaded = Loaded::default();

    let mut ranges = Vec::new();
    for (item, _) in wanted {
        match item {
            Wanted::Range(first, last) => {
                ranges.push((first, last));
            }
            Wanted::Name(name) => match source.resolve(&name).await {
                Ok(addresses) => {
                    let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                    loaded.described.push(format!("{name} ({})", list.join(", ")));
                    for address in addresses {
                        loaded.names.entry(address).or_default().push(name.clone());
                        ranges.push((address, address));
                    }
                }
                Err(cause) => loaded.gaps.push(Gap {
                    what: format!("target {name}"),
                    cause: format!("the name does not resolve: {cause}"),
                    settled_by: "its address, or a resolver that knows it".to_owned(),
                    incomplete: true,
                }),
            },
        }
    }
    let named = TargetSet::from_ranges(loaded.names.keys().map(|&address| (address, address)));
    let set = TargetSet::from_ranges(ranges);
    loaded.described.splice(0..0, set.without(&named).describe());

    let mut removed = Vec::new();
    for (item, origin) in unwanted {
        match item {
            Wanted::Range(first, last) => removed.push((first, last)),
            Wanted::Name(name) => match source.resolve(&name).await {
                Ok(addresses) => removed.extend(addresses.into_iter().map(|address| (address, address))),
                Err(cause) => return Err(LoadError::Exclusion { name, origin, cause }),
            },
        }
    }
    let removed = TargetSet::from_ranges(removed);
    loaded.excluded = removed.describe();
    loaded.set = set.without(&removed);
    Ok(loaded)
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

/// Files, stdin and the resolver, each opened when first needed.
#[derive(Default)]
struct Source {
    stdin_taken: bool,
    resolver: Option<TokioResolver>,
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
                return Err(LoadError::Nested { origin: origin.clone(), item: text.to_owned() });
            }
            Item::File(path) => {
                let content = std::fs::read_to_string(&path).map_err(|error| LoadError::Read {
                    origin: origin.clone(),
                    path: path.clone(),
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
        for (line, item) in items_of(&content) {
            self.expand_item(item, &Origin::Line { file: name.clone(), line }, depth + 1, wanted)?;
        }
        Ok(())
    }

    /// All addresses of a name, sorted; the text of an error is for people.
    async fn resolve(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        if self.resolver.is_none() {
            let built = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            self.resolver = Some(built.map_err(|error| format!("no resolver: {error}"))?);
        }
        let Some(resolver) = &self.resolver else { return Err("no resolver".to_owned()) };
        let answer = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = answer.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load_texts(targets: &[&str], excluded: &[&str]) -> Result<Loaded, LoadError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        load(&owned(targets), &owned(excluded)).await
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
    async fn a_missing_file_is_named() {
        let error = load_texts(&["@/nonexistent/list"], &[]).await.unwrap_err().to_string();
        assert!(error.contains("`/nonexistent/list`") && error.contains("hint"), "{error}");
    }

    #[tokio::test]
    async fn an_unresolvable_target_is_a_gap_and_an_unresolvable_exclusion_an_error() {
        // RFC 6761 section 6.4: names below .invalid never resolve.
        let loaded = load_texts(&["no-such-host.invalid", "198.18.0.1"], &[]).await.unwrap();
        assert_eq!(loaded.set.describe(), ["198.18.0.1"]);
        assert_eq!(loaded.gaps.len(), 1);
        assert!(loaded.gaps[0].incomplete && loaded.gaps[0].what.contains("no-such-host.invalid"));
        let error = load_texts(&["198.18.0.1"], &["no-such-host.invalid"]).await.unwrap_err();
        assert!(matches!(error, LoadError::Exclusion { .. }), "{error}");
    }

    #[tokio::test]
    async fn localhost_comes_with_its_addresses() {
        let loaded = load_texts(&["localhost"], &[]).await.unwrap();
        assert!(loaded.set.contains("127.0.0.1".parse().unwrap()));
        assert!(loaded.described[0].starts_with("localhost ("), "{:?}", loaded.described);
    }
}
