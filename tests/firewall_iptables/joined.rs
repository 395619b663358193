//! The dumps of both tools as one ruleset.

use super::*;

#[test]
fn joined_with_nft_each_rule_has_its_handle_and_its_content() {
    let dump = whole_dump();
    let ruleset = Ruleset::of_dump(&dump);
    assert_eq!(ruleset.unread, Vec::new());
    let handles = |value: &serde_json::Value| {
        value["nftables"].as_array().unwrap().iter().filter(|object| object.get("rule").is_some()).count()
    };
    assert_eq!(rules(&ruleset.tables).count(), handles(dump.nft.as_ref().unwrap()));
    assert!(rules(&ruleset.tables).all(|rule| rule.handle.is_some()));
    assert!(ruleset.tables.iter().all(|table| table.backend == Backend::IptablesNft));
    // What nft shows as closed is open now: the same statements as iptables-save alone gives.
    let alone = read(&recorded("iptables-nft-save.txt", false, IptablesBackend::Nft), &sets()).unwrap();
    for (family, alone) in alone.iter().map(|table| (Family::Ip, table)) {
        let joined = ruleset.tables.iter().find(|table| table.family == family && table.name == alone.name).unwrap();
        for chain in &alone.chains {
            let Some(joined) = joined.chains.iter().find(|known| known.name == chain.name) else {
                assert!(chain.rules.is_empty(), "{}", chain.name);
                continue;
            };
            assert_eq!(joined.base, chain.base, "{}", chain.name);
            for (joined, alone) in joined.rules.iter().zip(&chain.rules) {
                assert_eq!((&joined.text, joined.number, &joined.comment), (&alone.text, alone.number, &alone.comment));
                if joined.statements != alone.statements {
                    // nft was clearer there.
                    assert!(alone.statements.iter().any(is_unknown), "{}: {:?}", joined.text, joined.statements);
                }
            }
        }
    }
    assert!(ruleset.ipsets["filled"].dynamic, "-j SET fills it");
    assert!(!ruleset.ipsets["addresses"].dynamic);
}

#[test]
fn dumps_of_two_moments_leave_closed_parts_unknown() {
    let mut dump = whole_dump();
    for one in &mut dump.iptables {
        one.text = one.text.replace("-A DIVERT -j ACCEPT", "-A DIVERT -j ACCEPT\n[0:0] -A DIVERT -j DROP");
    }
    let ruleset = Ruleset::of_dump(&dump);
    let mangle = ruleset.tables.iter().find(|table| table.name == "mangle" && table.family == Family::Ip).unwrap();
    let divert = mangle.chains.iter().find(|chain| chain.name == "DIVERT").unwrap();
    assert_eq!(divert.rules.len(), 2, "as nft shows it");
    assert!(
        divert.rules[0].statements.iter().any(|statement| {
            matches!(statement, Statement::Unknown(text) if text.contains("the iptables dump has other rules"))
        }),
        "{:?}",
        divert.rules[0]
    );
}
