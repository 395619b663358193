//! What is said of hosts that answered and then fell silent. Pure.

use std::net::IpAddr;

use crate::model::report::Gap;

/// Addresses that are named.
const NAMED: usize = 3;

/// The gap that they are, if there are any.
pub fn gap(mut fallen: Vec<IpAddr>) -> Option<Gap> {
    if fallen.is_empty() {
        return None;
    }
    fallen.sort_unstable();
    let named: Vec<String> = fallen.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if fallen.len() > NAMED { ", ..." } else { "" };
    let hosts = if fallen.len() == 1 { "host" } else { "hosts" };
    Some(Gap {
        what: format!(
            "{} {hosts} ({}{more}) answered and then fell silent: what else is open there is not known",
            fallen.len(),
            named.join(", ")
        ),
        cause: "ports that had answered did not do so again, however often they were asked: a firewall bans scanners or does \
                not let a port be asked twice, or the way there is down"
            .to_owned(),
        settled_by: "a rule that lets this vantage pass, or another run with a lower --host-rate".to_owned(),
        incomplete: true,
    })
}
