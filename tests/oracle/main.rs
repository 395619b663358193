//! The kernel as oracle of the packet path: rules are loaded into a namespace, packets are sent, and what became of them is
//! compared with what the model says.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test driver: it runs processes, and a failure of its own is a failed test"
)]

mod bench;
mod compare;
mod fixed;
mod generate;
mod lab;
mod mutation;
mod regression;
mod rules;
mod run;
mod shrink;
mod space;
mod wire;
mod wiring;

/// Says so when this cannot run here.
fn missing(what: &str, programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: {what}: needs root");
        return true;
    }
    for program in ["ip", "bridge", "nft"].iter().chain(programs) {
        if std::process::Command::new(program).arg("--version").output().is_err() {
            println!("SKIPPED: {what}: needs {program}");
            return true;
        }
    }
    false
}
