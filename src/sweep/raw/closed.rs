//! Ways out that are not to be had: the others go on, and what would have left by these is said not to have been asked.
//! Pure.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::model::report::Gap;
use crate::net::interface::Interface;

/// A way out that is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// The name of the interface.
    pub interface: String,
    pub why: String,
}

impl Closed {
    /// What keeps an interface from taking frames, if anything does: one without a carrier drops them and tells nobody.
    pub fn by_state(interface: &Interface) -> Option<Self> {
        let why = match (interface.up, interface.carrier) {
            (true, true) => return None,
            (true, false) => "it has no carrier: no cable, or its other end is down",
            (false, _) => "it is down",
        };
        Some(Self { interface: interface.name.clone(), why: why.to_owned() })
    }

    pub fn by_error(interface: &str, error: impl Display) -> Self {
        Self { interface: interface.to_owned(), why: format!("it could not be opened to send: {error}") }
    }

    pub fn gap(&self) -> Gap {
        let Self { interface, why } = self;
        Gap {
            what: format!("targets that are reached by {interface} were not asked"),
            cause: format!("{interface}: {why}"),
            settled_by: format!("another run when {interface} is up, or another --vantage"),
            incomplete: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interface::LinkLayer;

    #[test]
    fn an_interface_takes_frames_when_it_is_up_and_has_a_carrier() {
        let interface = |up, carrier| Interface {
            index: 2,
            name: "eth7".to_owned(),
            link: LinkLayer::Ethernet([2, 0, 0, 0, 0, 1]),
            up,
            carrier,
            is_port: false,
        };
        assert_eq!(Closed::by_state(&interface(true, true)), None);
        let cause = |up, carrier| Closed::by_state(&interface(up, carrier)).unwrap().gap().cause;
        assert!(cause(true, false).starts_with("eth7: it has no carrier"));
        assert_eq!([cause(false, false), cause(false, true)], ["eth7: it is down", "eth7: it is down"]);
    }
}
