//! Postern beside its peers, in the same run, on networks of this bench's own making.
//!
//! `cargo bench --bench throughput` builds two network namespaces joined by a veth pair; one kernel answers for many hosts
//! there (AnyIP). Each installed peer sweeps them in turn. Needs root; says so and skips otherwise.
//!
//! `-- --quick` only checks on small networks that everything is found; `-- CASE...` runs the cases of these names;
//! `-- --slow` includes peers and cases that take minutes. The numbers are also written as JSON.
#![expect(clippy::disallowed_methods, reason = "runs and times programs")]
#![allow(clippy::print_stdout, reason = "prints its table")]

mod cases;
mod ceiling;
mod delay;
mod distinct;
mod lab;
mod measure;
mod peers;
mod table;

use std::process::ExitCode;

use cases::CASES;
use table::Results;

fn main() -> ExitCode {
    // Cargo's own argument.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = named.iter().find(|name| !CASES.iter().any(|case| case.name == name.as_str())) {
        println!("no case is called {unknown}; there are: {}", CASES.map(|case| case.name).join(" "));
        return ExitCode::FAILURE;
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: throughput needs root for its network namespaces");
        return ExitCode::SUCCESS;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("over a veth pair, {cores} cores");
    let mut results = Results::default();
    for case in CASES {
        let wanted = if named.is_empty() {
            if has("--quick") { case.quick } else { !case.slow || has("--slow") }
        } else {
            named.iter().any(|name| *name == case.name)
        };
        if !wanted {
            continue;
        }
        println!("\n{}: {}", case.name, case.title);
        if let Err(error) = (case.run)(&mut results, has("--slow")) {
            println!("FAILED: {error}");
            results.failed = true;
        }
    }
    results.finish()
}
