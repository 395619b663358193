//! Services that stop or start between the host report before the sweep and the one after it. One ends because it is
//! asked; the others the host's `postern` changes itself, right behind the first report and right before the second: the
//! sweep lies between, however long anything takes. `cases/changes.toml` has the answers.

use std::fs;

use crate::case::{Case, entry};
use crate::door::{Doors, POSTERN, host_sh, install};

/// What the host's own scripts know: `start PORT` and `stop PORT` of a web server, `once PORT` of a listener that ends
/// with its first connection. Each is done when it returns.
const SERVICES: &str = r#"
is_there() { [ -n "$(ss -Htln "sport = :$1")" ]; }
start() {
    setsid busybox httpd -f -p "$1" -h /run/www </dev/null >/dev/null 2>&1 &
    echo $! >"/run/$1.pid"
    until is_there "$1"; do sleep 0.02; done
}
once() {
    setsid busybox nc -l -p "$1" </dev/null >/dev/null 2>&1 &
    until is_there "$1"; do sleep 0.02; done
}
stop() {
    kill "$(cat "/run/$1.pid")"
    gone "$1"
}
gone() { while is_there "$1"; do sleep 0.02; done; }
"#;

#[test]
fn what_stops_and_starts_during_a_sweep_is_no_contradiction() {
    let case = Case::load("changes.toml");
    let needs: Vec<&str> = case.needs.iter().map(String::as_str).collect();
    let Some(mut doors) = Doors::new("changes.toml", &needs) else { return };
    let door = doors.open(116, "");
    let host = doors.lab.host(116);
    let services = host.directory.join("services.sh");
    fs::write(&services, SERVICES).unwrap();
    let services = services.display();
    host_sh(host, &format!("mkdir /run/www; . '{services}'; start 7000; start 7001; start 7003; once 7005"));
    let script = format!(
        r#"#!/bin/sh
[ "$1" = host ] || exec '{POSTERN}' "$@"
. '{services}'
if mkdir /run/looked-at 2>/dev/null; then
    '{POSTERN}' "$@" || exit
    stop 7001; start 7002
else
    gone 7005; stop 7003; start 7004
    exec '{POSTERN}' "$@"
fi
"#
    );
    install(host, Some(&script));

    let ran = doors.postern(&case.arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let report = ran.json();
    assert_eq!(door.log_ins(), 2, "before and after:\n{}\n{ran}", door.server.output());
    let differences = case.differences_of_run(ran.code(), &report);
    assert!(differences.is_empty(), "{}\n{ran}", differences.join("\n"));
    // Of the one that was there all the time nothing of the kind is said.
    let steady = entry(&report, "198.18.0.116:7000/tcp").unwrap().to_string();
    assert!(!steady.contains("during the sweep"), "{steady}");
}
