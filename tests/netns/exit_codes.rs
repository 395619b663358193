//! The exit codes of `scan`, as documented: 0 clean, 1 failed, 2 usage, 3 findings, 4 incomplete.

use crate::servers::{EtcdGuard, Server};
use crate::support::Lab;

#[test]
fn exit_codes_are_the_documented_ones() {
    let door = Server::Etcd { port: 2379, guard: EtcdGuard::None };
    let Some(mut lab) = Lab::new("exit codes", door.programs()) else { return };
    lab.add_host(80);
    door.start(&mut lab, 80, "unused");
    let table: [(i32, &str, &[&str]); 7] = [
        (0, "nothing is open", &["scan", "198.18.0.80", "-p", "2222"]),
        (0, "open, and nobody asked what it is", &["scan", "198.18.0.80", "-p", "2379", "--no-probes"]),
        (1, "the report cannot be written", &["scan", "198.18.0.80", "-p", "2379", "-o", "json=/proc/no/such/file"]),
        (2, "a port that is none", &["scan", "198.18.0.80", "-p", "70000"]),
        (2, "a public address without --allow-public", &["scan", "192.0.2.1", "-p", "80"]),
        (3, "etcd without authentication", &["scan", "198.18.0.80", "-p", "2379"]),
        (4, "a name that nobody can resolve here", &["scan", "198.18.0.80", "no-such-host.invalid", "-p", "2222"]),
    ];
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(code, what, arguments)| {
            let outcome = lab.postern(arguments).run();
            (outcome.code != *code).then(|| format!("{what}: {}, not {code}\n{}", outcome.code, outcome.shown()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
