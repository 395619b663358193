//! The verdict on an endpoint: what the outside view, the inside view and the rules say together.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// First match wins, in this order; what else applies goes to `also`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Open on improbable ports too: SYN proxy, tarpit, middlebox.
    AnswersEverything,
    /// Open although bound to, or published on, loopback only.
    LeakedLocal,
    /// Open although the host's INPUT rules refuse it: the packet never gets there.
    FirewallBypass,
    /// Open although the evaluated path drops it.
    Contradiction,
    /// Open without a socket that could take it.
    Unreported,
    /// Open (or UDP silence settled by the host) with a socket that takes it.
    Exposed,
    /// Only the host's firewall protects a listening socket.
    Guarded,
    /// Something between vantage and host protects a listening socket.
    GuardedElsewhere,
    /// Bound to loopback and not reachable: as it should be.
    LocalOnly,
    Closed,
    /// The evidence does not decide; the reason says what would.
    Undetermined,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnswersEverything => "answers-everything",
            Self::LeakedLocal => "leaked-local",
            Self::FirewallBypass => "firewall-bypass",
            Self::Contradiction => "contradiction",
            Self::Unreported => "unreported",
            Self::Exposed => "exposed",
            Self::Guarded => "guarded",
            Self::GuardedElsewhere => "guarded-elsewhere",
            Self::LocalOnly => "local-only",
            Self::Closed => "closed",
            Self::Undetermined => "undetermined",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
