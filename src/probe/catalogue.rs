//! All definitions: those built in, and those of a directory that override them.

#![expect(clippy::disallowed_methods, reason = "the directory of --probes is read here")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builtin::BUILTIN;
use super::codec::{self, Ask};
use super::definition::{Definition, Request};
use super::parse::DefinitionError;
use crate::model::{Endpoint, Payloads, PortRanges, ServiceFacts, Transport};

/// The definitions, sorted by name.
#[derive(Clone, Debug)]
pub struct Catalogue {
    definitions: Vec<Arc<Definition>>,
    /// The texts of those that are not built in, by name.
    own: BTreeMap<String, String>,
}

/// Why a directory of definitions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot read `{path}`: {source}; hint: --probes takes a directory of <service>.toml files")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` holds no .toml file; hint: --probes takes a directory of <service>.toml files")]
    Empty { path: PathBuf },
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

impl Catalogue {
    /// The definitions of `probes/`.
    pub fn builtin() -> Self {
        Self::from_definitions(
            BUILTIN.iter().map(|(file, text)| Definition::parse(file, text).expect("a test parses every one of them")),
        )
    }

    /// The built-in definitions, with those of `directory` added or put in their place by name.
    pub fn with_overrides(directory: &Path) -> Result<Self, CatalogueError> {
        let read = |path: &Path, source| CatalogueError::Read { path: path.to_owned(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(|error| read(directory, error))? {
            let path = entry.map_err(|error| read(directory, error))?.path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(CatalogueError::Empty { path: directory.to_owned() });
        }
        files.sort();
        let mut definitions = Self::builtin().by_name();
        let mut own = BTreeMap::new();
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(|error| read(&path, error))?;
            let definition = Definition::parse(&path.to_string_lossy(), &text)?;
            own.insert(definition.name.clone(), text);
            definitions.insert(definition.name.clone(), Arc::new(definition));
        }
        Ok(Self { definitions: definitions.into_values().collect(), own })
    }

    /// Exactly these.
    pub fn from_definitions(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let named = definitions.into_iter().map(|definition| (definition.name.clone(), Arc::new(definition)));
        Self { definitions: named.collect::<BTreeMap<_, _>>().into_values().collect(), own: BTreeMap::new() }
    }

    /// The catalogue with this one definition, for `postern probes test`.
    pub fn only(&self, name: &str) -> Option<Self> {
        let definition = self.definitions.iter().find(|definition| definition.name == name)?;
        Some(Self { definitions: vec![definition.clone()], own: self.own.clone() })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter().map(|definition| &**definition)
    }

    pub fn definitions(&self) -> &[Arc<Definition>] {
        &self.definitions
    }

    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.iter().find(|definition| definition.name == name)
    }

    /// The text of a definition as it was written.
    pub fn text(&self, name: &str) -> Option<&str> {
        let builtin = || BUILTIN.iter().find(|(file, _)| file.strip_suffix(".toml") == Some(name));
        self.own.get(name).map(String::as_str).or_else(|| builtin().map(|(_, text)| *text))
    }

    /// Every TCP port that a definition names.
    pub fn tcp_ports(&self) -> PortRanges {
        self.ports(Transport::Tcp)
    }

    /// Every UDP port that a definition names.
    pub fn udp_ports(&self) -> PortRanges {
        self.ports(Transport::Udp)
    }

    /// What each service's definition says apart from any one answer, by service name.
    pub fn facts(&self) -> BTreeMap<String, ServiceFacts> {
        let facts = |definition: &Definition| ServiceFacts {
            title: definition.title.clone(),
            triage: definition.triage.clone(),
            references: definition.references.clone(),
            processes: definition.processes.clone(),
            tcp_ports: definition.tcp_ports.iter().collect(),
            udp_ports: definition.udp_ports.iter().collect(),
            worst: definition.access.iter().map(|row| row.severity).max(),
        };
        self.iter().map(|definition| (definition.name.clone(), facts(definition))).collect()
    }

    fn ports(&self, transport: Transport) -> PortRanges {
        self.iter().fold(PortRanges::default(), |all, definition| all.union(definition.ports(transport)))
    }

    fn by_name(self) -> BTreeMap<String, Arc<Definition>> {
        self.definitions.into_iter().map(|definition| (definition.name.clone(), definition)).collect()
    }
}

impl Payloads for Catalogue {
    fn payload(&self, endpoint: Endpoint) -> Option<Arc<[u8]>> {
        let own = self.iter().filter(|definition| definition.udp_ports.contains(endpoint.port));
        own.flat_map(|definition| &definition.exchanges).find_map(|exchange| match &*exchange.request {
            Request::Bytes(bytes) => Some(Arc::from(bytes.send.as_slice())),
            Request::Codec(name) => {
                // Any reply counts, to whichever of the sweep's datagrams: the id tells nothing apart.
                let ask = Ask { id: 1, peer: endpoint.address };
                codec::find(name, Transport::Udp).map(|codec| Arc::from((codec.request)(&ask)))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::replay;

    #[test]
    fn the_table_is_sorted_unique_and_the_directory() {
        let names: Vec<&str> = BUILTIN.iter().map(|(file, _)| *file).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/probes");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(names, files);
    }

    #[test]
    fn every_definition_parses_and_is_complete() {
        for (file, text) in BUILTIN {
            let definition = Definition::parse(file, text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(definition.missing(), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn every_example_comes_to_what_it_expects() {
        for definition in Catalogue::builtin().definitions() {
            replay::check(definition).unwrap_or_else(|failure| panic!("{failure}"));
        }
    }

    #[test]
    fn all_definitions_together_tell_the_examples_apart() {
        let catalogue = Catalogue::builtin();
        for definition in catalogue.iter() {
            for example in &definition.examples {
                let service = replay::replay(catalogue.definitions(), example, example.port);
                replay::check_one(definition, example, &service).unwrap_or_else(|failure| panic!("{failure}"));
            }
            for example in &definition.lookalikes {
                let service = replay::replay(catalogue.definitions(), example, example.port);
                assert_ne!(service.name, definition.name, "{}", example.name);
            }
        }
    }

    #[test]
    fn udp_ports_with_a_definition_have_a_payload_of_their_own() {
        let catalogue = Catalogue::builtin();
        let payload = |last, port| catalogue.payload(Endpoint::udp([198, 18, 0, last].into(), port));
        for port in catalogue.udp_ports().iter() {
            assert!(payload(1, port).is_some_and(|payload| !payload.is_empty()), "{port}");
        }
        // Asks for the name of the very host: without services to tell, nothing else is answered.
        assert_ne!(payload(1, 5353), payload(2, 5353));
        assert_eq!(payload(1, 111), payload(2, 111));
        assert_eq!(payload(1, 9), None);
    }

    #[test]
    fn facts_and_ports_cover_every_definition() {
        let catalogue = Catalogue::builtin();
        assert_eq!(catalogue.facts().len(), BUILTIN.len());
        for port in [2379, 10250] {
            assert!(catalogue.tcp_ports().contains(port), "{port}");
        }
    }
}
