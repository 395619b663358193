//! The SYN sweep's machine against simulated networks: scenario files, a virtual clock, seeds.
//!
//! `scenarios/*.toml` say what the network is like and what a sweep of it must come to; [`network`] plays it, [`drive`]
//! turns the clock, [`checks`] holds the results against the truth. [`driver`] and [`router`] run the real driver on links in memory,
//! and [`parts`] sends results from one process's end to the other's.
//! No packet leaves this process.
#![expect(clippy::unwrap_used, reason = "a failure of its own is a failed test")]
#![expect(clippy::print_stdout, reason = "says what each scenario came to")]

mod cases;
mod checks;
mod drive;
mod driver;
mod network;
mod parts;
mod router;
mod scenario;
