//! Cases on which model and kernel once differed, kept as files and asked again.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::compare::{Fit, words};
use crate::lab::Shot;
use crate::rules::Rules;

/// Rules with packets, and what the kernel did with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// What was wrong.
    pub note: String,
    pub rules: Rules,
    #[serde(rename = "shot")]
    pub shots: Vec<Remembered>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// As [`words`] tells it.
    /// Several, where it depends on what was loaded before: `nothing or tcp-reset`.
    pub seen: String,
    #[serde(flatten)]
    pub shot: Shot,
}

impl Regression {
    /// Writes it where the default tier finds it.
    pub fn keep(&self, name: &str) -> PathBuf {
        let path = folder().join(format!("{name}.toml"));
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, toml::to_string_pretty(self).unwrap()).unwrap();
        path
    }

    pub fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What is not as it should be, now.
    pub fn differences(&self, bench: &mut Bench) -> Vec<String> {
        let shots: Vec<Shot> = self.shots.iter().map(|remembered| remembered.shot).collect();
        let outcomes = match bench.play(&self.rules, &shots) {
            Ok(outcomes) => outcomes,
            Err(error) => return vec![error],
        };
        let mut lines = Vec::new();
        for (remembered, outcome) in self.shots.iter().zip(outcomes) {
            let seen = words(&outcome.seen);
            if remembered.seen.split(" or ").all(|known| known != seen) {
                lines.push(format!("the kernel did `{}` and does `{seen}` now: {:?}", remembered.seen, outcome.shot));
            }
            if let Fit::Wrong(told) = outcome.fit {
                lines.push(format!("seen is `{seen}`, told is {told}\n    {:?}", outcome.shot));
            }
        }
        lines
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/regressions")
}

/// All that are kept.
pub fn all() -> Vec<(String, Regression)> {
    let mut found: Vec<(String, Regression)> = fs::read_dir(folder())
        .map(|entries| {
            let paths = entries.map(|entry| entry.unwrap().path());
            let tomls = paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
            tomls
                .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), Regression::load(&path)))
                .collect()
        })
        .unwrap_or_default();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
