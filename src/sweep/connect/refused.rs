//! What this machine itself did not send, and why. Pure.

use crate::model::Endpoint;
use crate::model::report::Gap;

/// Endpoints that this machine itself did not send to, by cause, with an example.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub(super) no_route: u64,
    pub(super) forbidden: u64,
    pub(super) exhausted: u64,
    example: Option<Endpoint>,
}

impl Refused {
    /// One more, under the cause that `count` picks.
    pub(super) fn note(&mut self, endpoint: Endpoint, count: impl Fn(&mut Self) -> &mut u64) {
        *count(self) += 1;
        self.example.get_or_insert(endpoint);
    }

    /// Those of another worker.
    pub fn add(&mut self, other: &Self) {
        self.no_route += other.no_route;
        self.forbidden += other.forbidden;
        self.exhausted += other.exhausted;
        self.example = self.example.or(other.example);
    }

    /// What this machine did not ask, as gaps.
    pub fn gaps(&self) -> Vec<Gap> {
        let example = self.example.map(|endpoint| endpoint.to_string()).unwrap_or_default();
        [
            (self.no_route, "there is no route", "a route, or a vantage that has one"),
            (self.forbidden, "this machine's own output rules forbid it", "a rule that lets the scanner out"),
            (
                self.exhausted,
                "this machine ran out of descriptors, ports or buffers",
                "a higher ulimit -n, or --parallel",
            ),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, cause, settled_by)| Gap {
            what: format!("{count} attempts were not sent ({example} among them)"),
            cause: cause.to_owned(),
            settled_by: settled_by.to_owned(),
            incomplete: true,
        })
        .collect()
    }
}
