//! `nft -j list ruleset`, as text.
#![no_main]

#[path = "../invariants.rs"]
#[allow(dead_code, reason = "each target takes one of them")]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| invariants::of_nft(text));
