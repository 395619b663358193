//! Parses the command line, runs the command, returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = postern::cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    postern::run::main(args).into()
}
