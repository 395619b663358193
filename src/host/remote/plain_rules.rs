//! The packet filter of a machine that has only its own commands: what `nft` and `iptables-save` printed. Pure.

use serde_json::{Value, json};

use super::plain::{Missing, Sections, why};
use super::plan::Probe;
use crate::model::host_report::OWN_WORD_OF_ROOT;
use crate::model::network::{FirewallDump, IptablesBackend, IptablesDump};
use crate::model::report::Gap;

/// The packet filter as far as its tools printed it; `None` where none of them did. What is missing becomes a gap.
pub(super) fn firewall(sections: &Sections, probe: &Probe, gaps: &mut Vec<Gap>) -> Option<FirewallDump> {
    let mut dump = FirewallDump::default();
    let mut causes: Vec<String> = Vec::new();
    let mut seen = 0;
    match ruleset(sections) {
        Ok(document) => {
            seen += 1;
            dump.nft_dormant = dormant(&sections.text("nft-text").unwrap_or_default());
            let holds = |one: &Value| one.get("metainfo").is_none();
            if document["nftables"].as_array().is_some_and(|all| all.iter().any(holds)) {
                dump.nft = Some(document);
            } else if dump.nft_dormant.is_empty() {
                dump.empty.push("nft".to_owned());
            }
        }
        Err(cause) => causes.push(cause),
    }
    for (tool, ipv6, names) in [("iptables", false, "ip_tables_names"), ("ip6tables", true, "ip6_tables_names")] {
        for (backend, ending) in [(IptablesBackend::Nft, "nft"), (IptablesBackend::Legacy, "legacy")] {
            let name = format!("{tool}-{ending}");
            let legacy = backend == IptablesBackend::Legacy;
            match sections.text(&name) {
                Ok(text) if text.lines().any(|line| line.starts_with('*')) => {
                    seen += 1;
                    dump.iptables.push(IptablesDump { ipv6, backend, text });
                }
                Ok(_) if legacy => {
                    seen += 1;
                    dump.empty.push(name);
                }
                Ok(_) => {}
                // Without the program, the kernel tells whether there is anything to print.
                Err(_) if legacy && sections.text(names).is_ok_and(|names| names.trim().is_empty()) => {
                    dump.empty.push(name);
                }
                // Nothing is amiss where nft tells that it holds nothing.
                Err(_) if !legacy && dump.empty.iter().any(|empty| empty == "nft") => {}
                Err(missing) => causes.push(why(&format!("{name}-save"), &missing)),
            }
        }
    }
    dump.ipset = sections.text("ipset").ok().filter(|text| !text.trim().is_empty());
    if !causes.is_empty() {
        let (cause, settled_by) = if probe.is_root() {
            (causes.join("; "), format!("nft and iptables installed there, or {OWN_WORD_OF_ROOT}"))
        } else {
            (
                "they are shown to root only".to_owned(),
                "a user that is root or may use sudo without a password".to_owned(),
            )
        };
        gaps.push(Gap { what: "packet filter rules".to_owned(), cause, settled_by, incomplete: false });
    }
    (seen > 0).then_some(dump)
}

/// What nft prints of all tables; where that is broken by a dormant one, what it prints of each of the others.
fn ruleset(sections: &Sections) -> Result<Value, String> {
    let text = sections.text("nft").map_err(|missing| why("nft", &missing))?;
    let error = match serde_json::from_str::<Value>(&text) {
        Ok(document) => return Ok(document),
        Err(error) => format!("`nft -j list ruleset` printed no JSON: {error}"),
    };
    let dormant = dormant(&sections.text("nft-text").unwrap_or_default()).len();
    let mut objects = Vec::new();
    let mut broken = 0;
    for number in 1.. {
        let text = match sections.text(&format!("nft-table-{number}")) {
            Ok(text) => text,
            Err(Missing::Failed(_)) => String::new(),
            Err(Missing::NoCommand) => break,
        };
        match serde_json::from_str::<Value>(&text) {
            Ok(mut document) => {
                objects.extend(document["nftables"].as_array_mut().map(std::mem::take).unwrap_or_default());
            }
            Err(_) => broken += 1,
        }
    }
    // The dormant ones are not evaluated and need not be read; another one may not be missing.
    if dormant == 0 || broken > dormant { Err(error) } else { Ok(json!({ "nftables": objects })) }
}

/// `FAMILY NAME` of the dormant tables in the text that nft prints.
fn dormant(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut table = None;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("table ") {
            table = Some(head.trim_end_matches('{').trim().to_owned());
        } else if let Some(flags) = line.trim().strip_prefix("flags ")
            && line.starts_with('\t')
            && !line.starts_with("\t\t")
            && flags.split([',', ' ', ';']).any(|flag| flag == "dormant")
        {
            found.extend(table.take());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::remote::frames::Frame;

    #[test]
    fn nft_that_stops_at_a_dormant_table_is_read_table_by_table() {
        let mut given = Sections::default();
        let mut add = |name: &str, body: &str| {
            given.add(Frame { name: name.to_owned(), body: body.as_bytes().to_vec(), status: 0 });
        };
        add("nft-text", "table inet x {\n\tflags dormant\n\n\tset s {\n\t\tflags interval\n\t}\n}\ntable ip y {\n}\n");
        add("nft", r#"{"nftables": [{"table": {"family": "inet", "name": "x", "handle": 2, "flags": "#);
        add("nft-table-1", r#"{"nftables": [{"table": {"family": "inet", "name": "x", "handle": 2, "flags": "#);
        add("nft-table-2", r#"{"nftables": [{"table": {"family": "ip", "name": "y"}}]}"#);
        assert_eq!(ruleset(&given).unwrap()["nftables"][0]["table"]["name"], "y");
        given.add(Frame { name: "nft-text".to_owned(), body: Vec::new(), status: 0 });
        assert!(ruleset(&given).unwrap_err().contains("printed no JSON"));
    }
}
