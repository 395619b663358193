//! Parses the command line, runs the command, returns the exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    postern::run::main(postern::cli::Args::parse()).into()
}
