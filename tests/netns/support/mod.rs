//! Namespaces, processes and the lab that owns them: everything ends with the value that made it.

mod bpf;
mod cgroup;
mod docker;
mod lab;
mod namespace;
mod podman;
mod process;
mod runtime;
mod scan;

pub use bpf::BPF;
pub use cgroup::{Cgroup, innermost};
pub use docker::dockerd;
pub use lab::{Host, Lab};
pub use namespace::Namespace;
pub use podman::{LIMITS, Podman, RootlessPodman};
pub use process::{Background, finish, run, wait_until};
pub use runtime::runtime;
pub use scan::{Outcome, Postern};
