//! A big listing is read whole; how fast is measured by `cargo bench --bench firewall`.

use std::fmt::Write as _;

use postern::firewall::nft::read_text;

const RULES: usize = 20_000;
const SETS: usize = 200;

#[test]
fn the_big_listing_is_read() {
    let ruleset = read_text(&listing(), &[]).unwrap();
    assert_eq!(ruleset.tables[0].chains[1].rules.len(), RULES);
    assert_eq!(ruleset.tables[0].sets.len(), SETS);
    assert_eq!(ruleset.unread, Vec::new());
}

fn listing() -> String {
    let mut text = String::from(
        "{\"nftables\": [{\"metainfo\": {\"version\": \"1.0.6\"}}, {\"table\": {\"family\": \"inet\", \"name\": \"t\", \
         \"handle\": 1}}, {\"chain\": {\"family\": \"inet\", \"table\": \"t\", \"name\": \"other\", \"handle\": 1}}, \
         {\"chain\": {\"family\": \"inet\", \"table\": \"t\", \"name\": \"in\", \"handle\": 2, \"type\": \"filter\", \
         \"hook\": \"input\", \"prio\": 0, \"policy\": \"drop\"}}",
    );
    for set in 0..SETS {
        let elements: Vec<String> = (0..100)
            .map(|at| match set % 2 {
                0 => format!("{{\"prefix\": {{\"addr\": \"10.{set}.{at}.0\", \"len\": 24}}}}"),
                _ => format!("{{\"concat\": [\"198.18.{at}.{set}\", {{\"range\": [{at}, {}]}}]}}", at + 1000),
            })
            .collect();
        let kind = if set % 2 == 0 { "\"ipv4_addr\"" } else { "[\"ipv4_addr\", \"inet_service\"]" };
        write!(
            text,
            ", {{\"set\": {{\"family\": \"inet\", \"table\": \"t\", \"name\": \"s{set}\", \"type\": {kind}, \"flags\": \
             [\"interval\"], \"elem\": [{}]}}}}",
            elements.join(", ")
        )
        .unwrap();
    }
    for rule in 0..RULES {
        let port = rule % 65_536;
        let expression = match rule % 4 {
            0 => format!(
                "{{\"match\": {{\"op\": \"==\", \"left\": {{\"payload\": {{\"protocol\": \"ip\", \"field\": \"saddr\"}}}}, \
                 \"right\": \"@s{}\"}}}}, {{\"match\": {{\"op\": \"==\", \"left\": {{\"payload\": {{\"protocol\": \"tcp\", \
                 \"field\": \"dport\"}}}}, \"right\": {port}}}}}, {{\"counter\": {{\"packets\": 0, \"bytes\": 0}}}}, \
                 {{\"accept\": null}}",
                rule % SETS / 2 * 2
            ),
            1 => format!(
                "{{\"match\": {{\"op\": \"==\", \"left\": {{\"meta\": {{\"key\": \"iifname\"}}}}, \"right\": \"eth*\"}}}}, \
                 {{\"match\": {{\"op\": \"==\", \"left\": {{\"payload\": {{\"protocol\": \"ip6\", \"field\": \"daddr\"}}}}, \
                 \"right\": {{\"prefix\": {{\"addr\": \"2001:db8:{port:x}::\", \"len\": 48}}}}}}}}, {{\"drop\": null}}"
            ),
            2 => format!(
                "{{\"match\": {{\"op\": \"in\", \"left\": {{\"ct\": {{\"key\": \"state\"}}}}, \"right\": [\"new\"]}}}}, \
                 {{\"match\": {{\"op\": \"==\", \"left\": {{\"payload\": {{\"protocol\": \"udp\", \"field\": \"dport\"}}}}, \
                 \"right\": {{\"set\": [{port}, {{\"range\": [1, 9]}}, 53]}}}}}}, {{\"jump\": {{\"target\": \"other\"}}}}"
            ),
            _ => "{\"mangle\": {\"key\": {\"meta\": {\"key\": \"mark\"}}, \"value\": {\"|\": [{\"meta\": {\"key\": \
                  \"mark\"}}, 16384]}}}"
                .to_owned(),
        };
        write!(
            text,
            ", {{\"rule\": {{\"family\": \"inet\", \"table\": \"t\", \"chain\": \"in\", \"handle\": {}, \"comment\": \
             \"rule {rule}\", \"expr\": [{expression}]}}}}",
            rule + 10
        )
        .unwrap();
    }
    text.push_str("]}");
    text
}
