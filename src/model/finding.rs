//! A finding: what is wrong, how bad, how sure, why, and what to do about it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::EndpointEntry;

/// One finding of one rule about one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Name of the rule, as in `correlate/rules/`.
    pub rule: String,
    pub severity: Severity,
    pub confidence: Confidence,
    /// `ADDRESS:PORT/tcp`, or an address when the finding is about a host.
    pub endpoint: String,
    /// The host through which the endpoint was reached; absent for an address of the network. The addresses behind a host
    /// are its own: other hosts have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    pub title: String,
    /// The reasons, one sentence each: packets, sockets, rules.
    pub why: Vec<String>,
    pub triage: Triage,
    pub references: Vec<String>,
}

impl Finding {
    /// Whether it is about this endpoint.
    pub fn is_about(&self, entry: &EndpointEntry) -> bool {
        self.via == entry.via && self.endpoint == entry.endpoint().to_string()
    }

    /// What tells one finding from all others of a report: the rule, and what it is about.
    pub fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.rule, &self.endpoint, self.via.as_deref())
    }
}

/// The six triage questions for a service, answered in the operator's words; empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Triage {
    /// Can it be turned off?
    #[serde(default)]
    pub disable: String,
    /// Can it bind to localhost (exact option)?
    #[serde(default)]
    pub bind: String,
    /// Does it authenticate (exact option)?
    #[serde(default)]
    pub authenticate: String,
    /// Can access be narrowed (tcp wrapper, configuration)?
    #[serde(default)]
    pub restrict: String,
    /// Known design flaws.
    #[serde(default)]
    pub known_flaws: String,
    /// If none of these: which firewall rule?
    #[serde(default)]
    pub firewall: String,
}

/// How bad a finding is. Ordered: `Info < Low < Medium < High < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no severity; hint: one of critical, high, medium, low, info"))
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    Possible,
    Likely,
    Certain,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}
