//! The reader of `nft -j list ruleset` against listings of the real nft.
//!
//! `tests/data/firewall/nft/NAME.json` and `NAME.nft` are what one nft (its version is in the JSON) printed of the same
//! rules, as JSON and as text. The rules of `features` are one of each kind; `docker-29` and `kube-proxy` are written
//! after the rules that these document and test for themselves, with other names and addresses; `firewalld` is what
//! firewalld 1.3.3 made of a zone with an open port, a forwarded port, masquerading and a rich rule.
#![expect(clippy::disallowed_methods, reason = "reads test data")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod big;
mod hostile;
mod models;
mod texts;

use std::path::{Path, PathBuf};

use postern::firewall::nft;
use postern::firewall::ruleset::Ruleset;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall/nft")
}

/// Names of all listings.
fn names() -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}

fn json_of(name: &str) -> String {
    std::fs::read_to_string(folder().join(name).with_extension("json")).unwrap()
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(folder().join(name).with_extension("nft")).unwrap()
}

fn read(name: &str) -> Ruleset {
    nft::read_text(&json_of(name), &[]).unwrap_or_else(|error| panic!("{name}: {error}"))
}
