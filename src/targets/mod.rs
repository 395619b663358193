//! Strings become a lazy, permuted, excluded space of endpoints; names by the resolver; guards.
//!
//! [`item`] parses one item of text, [`load`](mod@load) reads files and stdin and [`names`] asks the resolver (the only IO
//! here), [`set`] holds the addresses as ranges, [`ports`] the ports, [`guard`] refuses what must not be asked, [`order`]
//! permutes positions without memory, [`space`] puts addresses × ports × order together, and [`plan`] says what a sweep
//! would send.

pub mod guard;
pub mod item;
pub mod load;
pub mod names;
pub mod order;
pub mod plan;
pub mod ports;
pub mod set;
pub mod space;

pub use guard::GuardError;
pub use load::{LoadError, Loaded, load};
pub use order::Order;
pub use plan::Plan;
pub use set::TargetSet;
pub use space::Space;
