//! iptables-save and ip6tables-save, of both backends. The text is a dump, and after a line `%%` the sets that it may name.
#![no_main]

use postern::model::network::{IptablesBackend, IptablesDump};

#[path = "../invariants.rs"]
#[allow(dead_code, reason = "each target takes one of them")]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (text, ipsets) = text.split_once("%%\n").unwrap_or((text, ""));
    for (ipv6, backend) in [(false, IptablesBackend::Legacy), (true, IptablesBackend::Nft)] {
        invariants::of_iptables(&IptablesDump { ipv6, backend, text: text.to_owned() }, ipsets);
    }
});
