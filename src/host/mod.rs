//! The inside view: sockets of every network namespace and their owners, containers, text listings.
//!
//! - [`read`](fn@read): a file that is a host report (`postern.host/1`) or a listing of another program.
//! - [`listing`]: `ss`, `netstat`, `lsof`, osquery's `listening_ports`. Pure.
//! - [`collect`](fn@collect): this machine, asked directly ([`CollectSettings`]: how far). Drivers bring home what there is
//!   ([`collected`]): `processes` (/proc), `visit` (namespaces; sock_diag, and all of `network`), `engine_fetch` (Docker,
//!   Podman), `collect` (small files, wiring). What they bring is read by pure files of their own (`proc_text`, `cgroup`,
//!   `docker_proxy`, `sockets`, `engine`, `system`) and put together by `assemble` (`attribution`: whose a socket is;
//!   `namespaces`: their names).
//! - [`remote`]: another machine, over ssh.

mod activation;
mod assemble;
mod attribution;
mod caps;
pub mod cgroup;
pub mod client;
mod collect;
mod collect_settings;
mod collected;
mod container_door;
mod containers;
mod docker_proxy;
mod engine;
mod engine_fetch;
pub mod listing;
mod namespaces;
mod network;
mod oci;
mod owner;
mod peers;
mod proc_text;
mod processes;
mod publisher;
mod read;
mod redact;
pub mod remote;
mod sockets;
mod state_files;
mod support;
mod system;
mod visit;

pub use collect::collect;
pub use collect_settings::{CollectSettings, NamespaceScope};
pub use container_door::{DoorError, container_doors};
pub use network::network_here;
pub use read::{ReadError, read};
