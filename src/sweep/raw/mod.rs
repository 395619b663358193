//! The raw sweep's drivers: two processes. [`process`] is the one that was called: it opens the sockets ([`prepare`]), which
//! takes CAP_NET_RAW, hands them over, and has [`collect`] take the results in. [`child`] is this program once more, without
//! any privilege and with hardly a system call; it alone reads what the network sends to the raw sockets, and runs the
//! machine of [`syn`](super::syn).
//!
//! Pure: [`exits`] (what is to be opened, and how probes leave), [`closed`] (what cannot be opened), [`dress`] (probes
//! become frames), [`routers`] (where those are), [`messages`], [`parts`] (results in pieces), [`kept`] (what came of
//! them), [`loss`] (why there is no end), [`translated`] (answers that own rules change). In the child: [`opened`] (the
//! sockets in use), [`driver`], and behind [`link`] the transmitting threads, [`sender`].

pub mod child;
pub mod closed;
pub mod collect;
pub mod dress;
pub mod driver;
pub mod exits;
pub mod kept;
pub mod link;
pub mod loss;
pub mod messages;
pub mod opened;
pub mod parts;
pub mod prepare;
pub mod process;
pub mod routers;
pub mod sender;
pub mod translated;

pub use process::{RawError, RawSettings, sweep};
