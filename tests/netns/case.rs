//! A case file: hosts with their servers, the scan, and the answers that the report must hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postern::model::Endpoint;
use serde::Deserialize;
use serde_json::Value;

use crate::servers::Server;
use crate::support::{Lab, Outcome};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Arguments of `postern`, targets included.
    pub arguments: Vec<String>,
    /// Exit code that the run must end with.
    pub exit_code: i32,
    /// Programs beside those of the servers.
    #[serde(default)]
    pub needs: Vec<String>,
    #[serde(rename = "host")]
    pub hosts: Vec<HostCase>,
    #[serde(rename = "expect")]
    pub expectations: Vec<Expectation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCase {
    /// Last part of its addresses.
    pub number: u8,
    pub servers: Vec<Server>,
}

/// One endpoint; what is left out is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    pub endpoint: String,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub service: Option<String>,
    pub access: Option<String>,
    /// Start of the version.
    pub version: Option<String>,
    pub severity: Option<String>,
    pub tls_subject: Option<String>,
    pub verdict: Option<String>,
    /// Process that listens.
    pub process: Option<String>,
    /// Name of the container that the port leads to.
    pub container: Option<String>,
    /// Network namespace of what listens.
    pub namespace: Option<String>,
    /// Rules of the findings about it, all of them.
    pub findings: Option<BTreeSet<String>>,
    /// Words that must stand somewhere in the endpoint or in a finding about it.
    #[serde(default)]
    pub says: Vec<String>,
}

impl Case {
    pub fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netns/cases").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Builds the lab with all servers running; `None` when that is not possible here.
    pub fn lab(&self, what: &str, secret: &str) -> Option<Lab> {
        let programs: BTreeSet<&str> =
            self.hosts.iter().flat_map(|host| &host.servers).flat_map(Server::programs).copied().collect();
        let programs = programs.into_iter().chain(self.needs.iter().map(String::as_str));
        let mut lab = Lab::new(what, &programs.collect::<Vec<_>>())?;
        for host in &self.hosts {
            lab.add_host(host.number);
            for server in &host.servers {
                server.start(&mut lab, host.number, secret);
            }
        }
        Some(lab)
    }

    /// Runs the case with these host reports; everything must be as expected, the exit code, too.
    pub fn run(&self, lab: &Lab, reports: &[String]) -> Outcome {
        let outcome = lab.postern(&self.arguments_with(reports)).all_formats(lab.directory()).run();
        let differences = self.differences_of_run(Some(outcome.code), &outcome.report());
        assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), outcome.shown());
        outcome
    }

    /// Those of the case, and these host reports.
    pub fn arguments_with<'a>(&'a self, reports: &'a [String]) -> Vec<&'a str> {
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        for report in reports {
            arguments.extend(["--host-report", report]);
        }
        arguments
    }

    /// Those of the report, and the exit code if it is another.
    pub fn differences_of_run(&self, code: Option<i32>, report: &Value) -> Vec<String> {
        let mut differences = self.differences(report);
        if code != Some(self.exit_code) {
            differences.push(format!("exit code {code:?}, not {}", self.exit_code));
        }
        differences
    }

    /// All that is not as expected, one line each.
    pub fn differences(&self, report: &Value) -> Vec<String> {
        self.expectations.iter().flat_map(|expectation| expectation.differences(report)).collect()
    }
}

impl Expectation {
    fn differences(&self, report: &Value) -> Vec<String> {
        let findings: Vec<&Value> = report["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|finding| finding["endpoint"] == self.endpoint.as_str())
            .collect();
        let Some(entry) = entry(report, &self.endpoint) else {
            return vec![format!("{}: not in the report", self.endpoint)];
        };
        let mut lines = Vec::new();
        let mut compare = |what: &str, wanted: &Option<String>, found: &Value| {
            let Some(wanted) = wanted else { return };
            let found = found.as_str().unwrap_or("(none)");
            let equal = match what {
                "version" => found.starts_with(wanted.as_str()),
                _ => found == wanted,
            };
            if !equal {
                lines.push(format!("{}: {what} is {found}, not {wanted}", self.endpoint));
            }
        };
        compare("state", &self.state, &entry["state"]);
        compare("reason", &self.reason, &entry["reason"]);
        compare("service", &self.service, &entry["service"]["name"]);
        compare("access", &self.access, &entry["service"]["access"]);
        compare("version", &self.version, &entry["service"]["version"]);
        compare("severity", &self.severity, &entry["service"]["severity"]);
        compare("TLS subject", &self.tls_subject, &entry["service"]["tls"]["subject"]);
        compare("verdict", &self.verdict, &entry["verdict"]);
        compare("process", &self.process, &entry["listener"]["process"]);
        compare("container", &self.container, &entry["listener"]["container"]);
        compare("namespace", &self.namespace, &entry["listener"]["namespace"]);
        if let Some(wanted) = &self.findings {
            let found: BTreeSet<String> =
                findings.iter().filter_map(|finding| Some(finding["rule"].as_str()?.to_owned())).collect();
            if found != *wanted {
                lines.push(format!("{}: findings are {found:?}, not {wanted:?}", self.endpoint));
            }
        }
        let text = format!("{entry} {}", findings.iter().map(ToString::to_string).collect::<String>());
        for word in self.says.iter().filter(|word| !text.contains(word.as_str())) {
            lines.push(format!("{}: says nothing of `{word}`", self.endpoint));
        }
        if !lines.is_empty() {
            lines.push(format!("    {text}"));
        }
        lines
    }
}

/// The entry of one endpoint, wherever in the report it is.
pub fn entry<'a>(report: &'a Value, endpoint: &str) -> Option<&'a Value> {
    let wanted: Endpoint = endpoint.parse().unwrap_or_else(|error| panic!("{error}"));
    report["hosts"].as_array()?.iter().flat_map(|host| host["endpoints"].as_array().into_iter().flatten()).find(
        |entry| {
            entry["address"] == wanted.address.to_string().as_str()
                && entry["port"] == wanted.port
                && entry["transport"] == wanted.transport.as_str()
        },
    )
}
