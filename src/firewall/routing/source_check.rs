//! Whether a packet's source may come in where it did: martians, rp_filter.

use super::decide::Decision;
use super::lookup::{Flow, Lookup};
use super::router::{LO, Router};
use crate::model::network::RouteKind;

impl Router {
    /// fib_validate_source: nothing when the source may come in there.
    pub(super) fn checked(&self, flow: Flow<'_>, input: &str, output: Option<&str>) -> Vec<Decision> {
        let source = flow.source;
        let Some(mode) = self.setting("ipv4", input, "rp_filter", i64::max) else {
            return vec![Decision::Unknown(format!("rp_filter of {input}"))];
        };
        let accepts_local = self.setting("ipv4", input, "accept_local", |a, b| a | b).unwrap_or(0) != 0;
        let martian = |what: &str| vec![Decision::Drop(format!("martian source {source} on {input}: {what}"))];
        let custom = self.rules[0].len() != 3 || self.rules[0].iter().any(|rule| !rule.other.is_empty());
        if mode == 0 && !custom && output != Some(input) {
            let own = self.is_own(source) && !accepts_local;
            return if own { martian("it is an address of this host") } else { Vec::new() };
        }
        let source_mark = self.setting("ipv4", input, "src_valid_mark", |a, b| a | b).unwrap_or(0) != 0;
        let mark = if source_mark { flow.mark } else { Some(0) };
        let back = Flow { source: flow.destination, destination: source, input: Some(LO), output: None, mark };
        match self.lookup(back) {
            Lookup::Found(routes) => {
                let first = routes[0];
                match first.kind {
                    RouteKind::Unicast => {}
                    RouteKind::Local if accepts_local => {}
                    RouteKind::Local => return martian("it is an address of this host"),
                    _ => return martian("no unicast address"),
                }
                let by_input = routes.iter().any(|route| route.interface.as_deref() == Some(input));
                if by_input || mode != 1 {
                    return Vec::new();
                }
                if first.multipath && routes.len() == 1 {
                    return vec![Decision::Unknown(format!("all next hops of the route to {source}"))];
                }
                let other = first.interface.as_deref().unwrap_or("none");
                martian(&format!("rp_filter is strict, and the way back is by {other}"))
            }
            Lookup::NotFound if !self.known[0] && mode != 0 => {
                vec![Decision::Unknown("the routes, which the report lacks".to_owned())]
            }
            Lookup::NotFound | Lookup::Refused(_) if mode == 0 => Vec::new(),
            Lookup::NotFound | Lookup::Refused(_) => martian("rp_filter finds no route back"),
            Lookup::Unknown(what) => vec![Decision::Unknown(what)],
        }
    }
}
