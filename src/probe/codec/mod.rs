//! Binary protocols that need more than send and expect: bytes in, facts out, no IO.
//!
//! A definition names one by `codec = "NAME"` and decides on its facts like on a JSON answer. One protocol a
//! file ([`dns_sd`] with what its replies tell in [`discovery`], [`rpcbind`] with the numbers of [`rpc_programs`]);
//! [`exchange`] has the shape they share, [`table`] finds them by name.

pub mod banner;
pub mod conversation;
pub mod discovery;
pub mod dns_sd;
pub mod exchange;
pub mod rpc;
pub mod rpc_programs;
pub mod rpcbind;
pub mod ssh;
pub mod table;

pub use exchange::{Ask, CodecExchange, Facts, Framing, MAX_ROUNDS, Replies};
pub use table::{CODECS, find};
