//! The Docker engine, with all that it keeps below the host's own directory.

use std::fs;
use std::process::Command;

use super::Host;

/// `dockerd` of the host, not started yet, and nothing said of its sockets.
pub fn dockerd(host: &Host) -> Command {
    let directory = host.directory.join("docker");
    fs::create_dir(&directory).unwrap();
    let mut command = host.command("dockerd");
    command.env("XTABLES_LOCKFILE", directory.join("xtables.lock"));
    for (option, file) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(option).arg(directory.join(file));
    }
    command
}
