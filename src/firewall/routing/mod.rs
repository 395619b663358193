//! The routing decision: for this host, to be forwarded, or neither (net/ipv4/route.c, net/ipv6/route.c).
//!
//! - `router`: routes, addresses and settings of a namespace. `lookup`: what the routing tables say.
//! - `decide`: what becomes of a packet; `source_check`: whether its source may come in where it did.
//! - `kinds`: what kind of address one is (`fib`, `-m addrtype`, `-m rpfilter`).

mod decide;
mod kinds;
mod lookup;
mod router;
mod source_check;

pub use decide::Decision;
pub use lookup::Flow;
pub use router::{LO, Router};
