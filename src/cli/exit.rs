//! Exit codes: documented constants, the same for `scan`, `audit` and `correlate`.

use std::process::ExitCode;

use crate::model::report::Status;
use crate::model::{Report, Severity};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was looked at, nothing at or above `--fail-on`.
    Clean = 0,
    /// The command failed; stderr says where.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Findings at or above `--fail-on`.
    Findings = 3,
    /// No such finding, but something could not be looked at.
    Incomplete = 4,
}

impl Exit {
    /// Exit code of a finished run: findings outrank incompleteness, which outranks clean.
    pub fn of_report(report: &Report, fail_on: Severity) -> Self {
        if report.findings.iter().any(|finding| finding.severity >= fail_on) {
            Self::Findings
        } else if report.run.status == Status::Interrupted || report.run.gaps.iter().any(|gap| gap.incomplete) {
            Self::Incomplete
        } else {
            Self::Clean
        }
    }

    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::{Gap, Run, SCHEMA, Scope, Tool};
    use crate::model::{Confidence, Finding, Triage};

    fn report() -> Report {
        Report {
            schema: SCHEMA.to_owned(),
            tool: Tool::this(),
            run: Run::begun(String::new(), String::new(), Scope::default()),
            hosts: Vec::new(),
            silent: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn finding(severity: Severity) -> Finding {
        Finding {
            rule: "unreported".to_owned(),
            severity,
            confidence: Confidence::Certain,
            endpoint: "198.18.0.1:80/tcp".to_owned(),
            via: None,
            title: String::new(),
            why: Vec::new(),
            triage: Triage::default(),
            references: Vec::new(),
        }
    }

    #[test]
    fn findings_outrank_incomplete_which_outranks_clean() {
        let mut report = report();
        assert_eq!(Exit::of_report(&report, Severity::High), Exit::Clean);
        report.run.gaps.push(Gap {
            what: "a name".to_owned(),
            cause: "does not resolve".to_owned(),
            settled_by: "a resolver that knows it".to_owned(),
            incomplete: false,
        });
        assert_eq!(Exit::of_report(&report, Severity::High), Exit::Clean);
        report.run.gaps[0].incomplete = true;
        assert_eq!(Exit::of_report(&report, Severity::High), Exit::Incomplete);
        report.findings.push(finding(Severity::Medium));
        assert_eq!(Exit::of_report(&report, Severity::High), Exit::Incomplete);
        assert_eq!(Exit::of_report(&report, Severity::Medium), Exit::Findings);
    }

    #[test]
    fn an_interrupted_run_is_incomplete() {
        let mut report = report();
        report.run.status = Status::Interrupted;
        assert_eq!(Exit::of_report(&report, Severity::High), Exit::Incomplete);
    }

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [Exit::Clean, Exit::Failed, Exit::Usage, Exit::Findings, Exit::Incomplete].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4]);
    }
}
