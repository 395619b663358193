//! Holds the layout that `src/lib.rs` draws: who may import whom, how long files are, what the map names.
#![expect(clippy::disallowed_methods, reason = "reads the source tree")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Stages do not know each other; each entry is a layer and what it may import besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("cli", EVERYTHING),
    ("correlate", &["model"]),
    ("firewall", &["model"]),
    ("host", &["model", "net"]),
    ("main", EVERYTHING),
    ("model", &[]),
    ("net", &["model", "wire"]),
    ("probe", &["model", "net"]),
    ("report", &["model"]),
    ("run", EVERYTHING),
    ("sweep", &["model", "net", "wire"]),
    ("targets", &["model", "net"]),
    ("wire", &["model"]),
];

const EVERYTHING: &[&str] =
    &["cli", "correlate", "firewall", "host", "model", "net", "probe", "report", "run", "sweep", "targets", "wire"];

/// Lines that `main.rs` may have: it parses, runs and exits.
const MAIN_LINES: usize = 40;
/// Lines that a file may have, tests included; half of it is what to aim at.
const FILE_LINES: usize = 800;

#[test]
fn layers_import_only_what_they_may() {
    let mut wrong = Vec::new();
    let mut edges = BTreeSet::new();
    for file in sources() {
        let layer = layer_of(&file);
        let text = read(&file);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == layer) else {
            assert_eq!(layer, "lib", "{} belongs to no layer of this test's table", file.display());
            continue;
        };
        for (line, imported) in imports(&text, supers_to_root(&file)) {
            if imported == layer {
                continue;
            }
            edges.insert((layer.clone(), imported.clone()));
            if !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{}:{line}: {layer} imports {imported}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "layers meet in `model` and are joined in `run`:\n{}", wrong.join("\n"));
    // The reading of imports itself works: these two edges exist as long as the project does.
    for edge in [("sweep", "model"), ("targets", "model")] {
        assert!(edges.contains(&(edge.0.to_owned(), edge.1.to_owned())), "no import {edge:?} was seen: {edges:?}");
    }
}

#[test]
fn every_layer_is_on_the_map() {
    let map: String = read(&root().join("lib.rs")).lines().filter(|line| line.starts_with("//!")).collect();
    let table: Vec<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    assert!(table.is_sorted(), "the table is sorted");
    let mut layers = 0;
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(map.contains(&format!("[`{name}`]:")), "src/{name}/ is missing in the map of src/lib.rs");
            assert!(table.contains(&name.as_str()), "src/{name}/ is missing in this test's table");
            layers += 1;
        }
    }
    assert_eq!(layers + 1, table.len(), "the table names a layer (besides main) that is not there");
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for file in sources() {
        let lines = read(&file).lines().count();
        let limit = if layer_of(&file) == "main" { MAIN_LINES } else { FILE_LINES };
        if lines > limit {
            long.push(format!("{}: {lines} lines, {limit} are allowed", file.display()));
        }
    }
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn index_files_hold_no_logic_in_pure_layers() {
    // `mod.rs` is docs, `mod` and `pub use` (tests aside) where nothing else was decided.
    for layer in ["cli", "model", "net", "report", "run", "targets"] {
        let path = root().join(layer).join("mod.rs");
        for line in read(&path).lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
            assert!(!line.trim_start().starts_with("impl "), "{}: {line}", path.display());
        }
    }
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let text = "\
use crate::model::Endpoint;
pub use crate::net::{a, b};
use crate::{probe, sweep::{x, y}, report as r};
    let x = crate::host::read();
use postern::correlate::join;
use super::super::targets::x;
use super::super::super::targets::x;
// crate::cli in a comment, and \"crate::run\" // crate::run after code
//! [`crate::cli`]
let y = a_crate::run::z;
use crate::{
    cli,
    run::{audit, inside},
};
#[cfg(test)]
mod tests {
    use super::super::host;
    use crate::net;
}
";
    let seen: Vec<_> = imports(text, 2).into_iter().map(|(line, layer)| format!("{line} {layer}")).collect();
    assert_eq!(
        seen,
        [
            "1 model",
            "2 net",
            "3 probe",
            "3 sweep",
            "3 report",
            "4 host",
            "5 correlate",
            "6 targets",
            "11 cli",
            "11 run",
            "18 net"
        ]
    );
}

/// Layers that a text names by `crate::`, `postern::` or as many `super::` as lead to the root, with the line each path
/// starts on.
fn imports(text: &str, supers: usize) -> Vec<(usize, String)> {
    let code = without_comments(text);
    // Inside the module of unit tests the same `super::` leads one step less far.
    let tests = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
    let mut found = Vec::new();
    for (prefix, end) in [("crate::", code.len()), ("postern::", code.len()), (&"super::".repeat(supers), tests)] {
        for (at, _) in code[..end].match_indices(prefix) {
            let before = code[..at].chars().next_back();
            // Part of another name, or of a longer path.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            for name in first_names(&code[at + prefix.len()..]) {
                if MAY_IMPORT.iter().any(|(layer, _)| *layer == name) {
                    found.push((at, line, name));
                }
            }
        }
    }
    found.sort_by_key(|(at, ..)| *at);
    found.into_iter().map(|(_, line, name)| (line, name)).collect()
}

/// `model::x` names `model`; `{probe, sweep::{x, y}}` names `probe` and `sweep`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut item, mut items) = (1, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            items.push(name(&item));
            item.clear();
        } else {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    items
}

/// Line comments blanked, string literals emptied, lines kept.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| {
            let (mut code, mut in_string) = (String::new(), false);
            let mut characters = line.chars().peekable();
            while let Some(c) = characters.next() {
                match c {
                    '\\' if in_string => {
                        characters.next();
                    }
                    // A quote in a character literal opens no string.
                    '\'' if !in_string && characters.peek() == Some(&'"') => {
                        characters.next();
                    }
                    '"' => in_string = !in_string,
                    '/' if !in_string && characters.peek() == Some(&'/') => break,
                    _ if !in_string => code.push(c),
                    _ => {}
                }
            }
            code + "\n"
        })
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 20, "only {} files found below src", files.len());
    files.sort();
    files
}

/// `src/sweep/pace.rs` is of `sweep`, `src/main.rs` of `main`.
fn layer_of(file: &Path) -> String {
    let inside = file.strip_prefix(root()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

/// `super::super::` is the root in `src/sweep/pace.rs`, `super::` in `src/sweep/mod.rs`.
fn supers_to_root(file: &Path) -> usize {
    let depth = file.strip_prefix(root()).unwrap().components().count();
    if file.file_name().is_some_and(|name| name == "mod.rs") { depth - 1 } else { depth }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
