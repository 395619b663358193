//! Every scenario file: what the sweep saw and what the hosts said, and exactly the verdicts, findings, hosts and gaps
//! that follow.
#![expect(clippy::disallowed_methods, reason = "reads the scenario files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use postern::correlate::{Context, InsideView, correlate};
use postern::model::Report;
use serde::Deserialize;

use crate::build::{Inside, Scan, facts, paths};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    /// Which row of the design or which trap this is.
    about: String,
    scan: Scan,
    #[serde(default)]
    inside: Vec<Inside>,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// All endpoints of the result, no more and no less.
    verdicts: BTreeMap<String, String>,
    /// All findings in their order: `severity confidence rule endpoint`.
    #[serde(default)]
    findings: Vec<String>,
    /// Pieces of the sentences of an endpoint; `!` in front: must not be in any.
    #[serde(default)]
    says: BTreeMap<String, Vec<String>>,
    /// `PROCESS` or `PROCESS container=NAME` of an endpoint's listener.
    #[serde(default)]
    listeners: BTreeMap<String, String>,
    /// Pieces of gaps, one each; the number of gaps is exact.
    #[serde(default)]
    gaps: Vec<String>,
    /// Whether one of them makes the run incomplete.
    #[serde(default)]
    incomplete: bool,
    /// `ID ADDRESS` of all hosts, where that is the point.
    hosts: Option<Vec<String>>,
    /// Folded ports after it: `tcp open accepted 1-100`, where that is the point.
    others: Option<Vec<String>>,
}

#[test]
fn scenarios_give_exactly_what_they_expect() {
    let mut names = BTreeSet::new();
    let mut failures = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for scenario in file.scenario {
            assert!(!scenario.about.is_empty());
            assert!(names.insert(scenario.name.clone()), "{} is there twice", scenario.name);
            failures.extend(problems(&scenario).into_iter().map(|problem| format!("{}: {problem}", scenario.name)));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(names.len() >= 60, "only {} scenarios were found", names.len());
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/correlate");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn problems(scenario: &Scenario) -> Vec<String> {
    let Scenario { scan, expect, .. } = scenario;
    let views: Vec<InsideView> = scenario.inside.iter().map(Inside::view).collect();
    let facts = facts();
    let context = Context { facts: &facts, own_addresses: &scan.own_addresses, paths };
    let report = correlate(scan.report(), &views, &context);
    let mut problems = Vec::new();
    let mut compare = |what: &str, is: String, expected: String| {
        if is != expected {
            problems.push(format!("{what}\n    is       {is}\n    expected {expected}"));
        }
    };
    compare("verdicts", format!("{:?}", verdicts(&report)), format!("{:?}", expect.verdicts));
    compare("findings", format!("{:#?}", findings(&report)), format!("{:#?}", expect.findings));
    for (endpoint, listener) in &expect.listeners {
        compare(&format!("listener of {endpoint}"), self::listener(&report, endpoint), listener.clone());
    }
    if let Some(hosts) = &expect.hosts {
        let is: Vec<String> = report.hosts.iter().map(|host| format!("{} {}", host.id, host.address)).collect();
        compare("hosts", format!("{is:?}"), format!("{hosts:?}"));
    }
    if let Some(others) = &expect.others {
        let groups = report.hosts.iter().flat_map(|host| &host.other_ports);
        let is: Vec<String> = groups
            .map(|group| format!("{} {} {} {}", group.transport, group.state, group.reason, group.ports))
            .collect();
        compare("other_ports", format!("{is:?}"), format!("{others:?}"));
    }
    for (endpoint, pieces) in &expect.says {
        let also = sentences(&report, endpoint);
        for piece in pieces {
            let missing = match piece.strip_prefix('!') {
                Some(piece) => also.contains(piece),
                None => !also.contains(piece.as_str()),
            };
            if missing {
                problems.push(format!("{endpoint} should say `{piece}`:\n{also}"));
            }
        }
    }
    let gaps: Vec<String> =
        report.run.gaps.iter().map(|gap| format!("{}: {}: {}", gap.what, gap.cause, gap.settled_by)).collect();
    for piece in &expect.gaps {
        if !gaps.iter().any(|gap| gap.contains(piece.as_str())) {
            problems.push(format!("no gap says `{piece}`: {gaps:#?}"));
        }
    }
    if report.run.gaps.iter().any(|gap| gap.incomplete) != expect.incomplete {
        problems.push(format!("the run is incomplete: {} expected", expect.incomplete));
    }
    if gaps.len() != expect.gaps.len() {
        problems.push(format!("{} gaps expected: {gaps:#?}", expect.gaps.len()));
    }
    let again = correlate(report.clone(), &views, &context);
    if again != report {
        problems.push("a second correlation differs from the first".to_owned());
    }
    problems
}

fn verdicts(report: &Report) -> BTreeMap<String, String> {
    let entries = report.hosts.iter().flat_map(|host| &host.endpoints);
    entries
        .map(|entry| {
            let verdict = entry.verdict.map_or_else(|| "none".to_owned(), |verdict| verdict.to_string());
            (entry.endpoint().to_string(), verdict)
        })
        .collect()
}

fn findings(report: &Report) -> Vec<String> {
    let findings = report.findings.iter();
    findings
        .map(|finding| format!("{} {} {} {}", finding.severity, finding.confidence, finding.rule, finding.endpoint))
        .collect()
}

fn listener(report: &Report, endpoint: &str) -> String {
    let entry =
        report.hosts.iter().flat_map(|host| &host.endpoints).find(|entry| entry.endpoint().to_string() == endpoint);
    let Some(listener) = entry.and_then(|entry| entry.listener.as_ref()) else { return "none".to_owned() };
    let process = listener.process.as_deref().unwrap_or("unknown");
    match &listener.container {
        Some(container) => format!("{process} container={container}"),
        None => process.to_owned(),
    }
}

fn sentences(report: &Report, endpoint: &str) -> String {
    let entries = report.hosts.iter().flat_map(|host| &host.endpoints);
    let entry = entries.filter(|entry| entry.endpoint().to_string() == endpoint).flat_map(|entry| &entry.also);
    entry.map(String::as_str).collect::<Vec<_>>().join("\n")
}
