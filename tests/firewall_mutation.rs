//! Real listings, changed: a reader of rules never stops, an error names its place, and a dump that was cut short never
//! lets a packet in that the whole one refuses. The same changes each time; `tests/fuzz/run` looks further.
#![expect(clippy::disallowed_methods, reason = "reads test data")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[path = "fuzz/invariants.rs"]
mod invariants;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use postern::firewall::ruleset::Ruleset;
use postern::firewall::{HostPath, Question};
use postern::model::host_report::HOST_NAMESPACE;
use postern::model::network::{FirewallDump, IptablesBackend, IptablesDump};
use postern::model::{HostReport, NetworkState, PathOutcome};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/firewall")
}

/// Files of a folder with this ending, by name.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(data().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn golden(name: &str) -> NetworkState {
    let text = fs::read_to_string(data().join("golden").join(name).join("state.json")).unwrap();
    let report: HostReport = serde_json::from_str(&text).unwrap();
    report.namespaces.into_iter().find(|namespace| namespace.name == HOST_NAMESPACE).unwrap().network.unwrap()
}

/// Xorshift: the same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// A stretch of a text, between two characters.
    fn stretch(&mut self, text: &str, longest: usize) -> (usize, usize) {
        let from = boundary(text, self.below(text.len()));
        let to = boundary(text, (from + 1 + self.below(longest)).min(text.len()));
        (from, to.max(from))
    }
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One to four changes: cut, taken out, doubled, moved, replaced by what other listings have, or by what none has.
fn changed(text: &str, others: &[String], dice: &mut Dice) -> String {
    const ODD: [&str; 18] = [
        "",
        "\"",
        "{",
        "]",
        "null",
        "-1",
        "4294967296",
        "1e999",
        "\0",
        "é",
        "! ",
        "--",
        "\n",
        " ",
        "*",
        "@",
        "/129",
        ":",
    ];
    let mut text = text.to_owned();
    for _ in 0..=dice.below(4) {
        if text.is_empty() {
            break;
        }
        match dice.below(7) {
            0 => text.truncate(boundary(&text, dice.below(text.len()))),
            1 => {
                let (from, to) = dice.stretch(&text, 80);
                text.replace_range(from..to, "");
            }
            2 => {
                let (from, to) = dice.stretch(&text, 200);
                let copy = text[from..to].to_owned();
                text.insert_str(to, &copy);
            }
            3 => {
                let (from, to) = dice.stretch(&text, 80);
                let moved = text[from..to].to_owned();
                let at = boundary(&text, dice.below(text.len()));
                text.insert_str(at, &moved);
            }
            4 => {
                let other = &others[dice.below(others.len())];
                let (from, to) = dice.stretch(other, 120);
                let at = dice.stretch(&text, 60);
                text.replace_range(at.0..at.1, &other[from..to]);
            }
            _ => {
                let (from, to) = dice.stretch(&text, 3);
                text.replace_range(from..to, ODD[dice.below(ODD.len())]);
            }
        }
    }
    text
}

/// Many of the seeds are long: rounds are shared out by length.
fn rounds(text: &str, budget: usize) -> usize {
    (budget / text.len().max(1)).clamp(10, 1_500)
}

const BUDGET: usize = 3_000_000;

#[test]
fn changed_nft_listings_are_read_or_refused() {
    let mut seeds = files("nft", ".json");
    seeds.extend(files("broken", ".json"));
    let mut dice = Dice(0x6c61_7465_7261_6c31);
    for seed in &seeds {
        invariants::of_nft(seed);
        for _ in 0..rounds(seed, BUDGET) {
            invariants::of_nft(&changed(seed, &seeds, &mut dice));
        }
    }
}

#[test]
fn changed_iptables_dumps_are_read_or_refused() {
    let mut seeds = files("iptables", "-save.txt");
    seeds.extend(files("golden/k3s", "rules.txt"));
    seeds.extend(files("golden/kube-proxy-iptables", "rules.txt"));
    seeds.extend(files("broken", ".iptables"));
    let ipsets = fs::read_to_string(data().join("iptables/ipset-save.txt")).unwrap();
    let mut dice = Dice(0x6970_7461_626c_6573);
    for seed in &seeds {
        for round in 0..rounds(seed, BUDGET) {
            let text = if round == 0 { seed.clone() } else { changed(seed, &seeds, &mut dice) };
            let ipv6 = dice.below(2) == 0;
            let backend = if dice.below(2) == 0 { IptablesBackend::Legacy } else { IptablesBackend::Nft };
            let sets = if dice.below(3) == 0 { changed(&ipsets, &seeds, &mut dice) } else { ipsets.clone() };
            invariants::of_iptables(&IptablesDump { ipv6, backend, text }, &sets);
        }
    }
}

#[test]
fn changed_ipset_listings_are_read_or_refused() {
    let mut seeds = files("iptables", "ipset-save.txt");
    seeds.extend(files("broken", ".ipset"));
    let mut dice = Dice(0x6970_7365_7473_2121);
    for seed in &seeds {
        for _ in 0..3 * rounds(seed, BUDGET) {
            invariants::of_ipset(&changed(seed, &seeds, &mut dice));
        }
    }
}

/// Packets that the whole rules refuse, of the golden cases.
fn refused(name: &str) -> Vec<Question> {
    #[derive(serde::Deserialize)]
    struct Case {
        packet: Vec<Packet>,
    }
    #[derive(serde::Deserialize)]
    struct Packet {
        to: String,
        from: IpAddr,
        path: PathOutcome,
    }
    let text = fs::read_to_string(data().join("golden").join(name).join("packets.toml")).unwrap();
    let case: Case = toml::from_str(&text).unwrap();
    let refused = case.packet.into_iter().filter(|packet| packet.path.is_refusal());
    refused.map(|packet| Question::new(packet.to.parse().unwrap(), packet.from)).collect()
}

/// None of the packets gets in by the rules of a dump that was cut.
fn none_gets_in(name: &str, what: &str, network: &NetworkState, dump: &FirewallDump, packets: &[Question]) {
    let path = HostPath::of_namespace(network, Ruleset::of_dump(dump));
    for packet in packets {
        let answer = path.ask(packet);
        let (to, from) = (&answer.to, packet.source);
        assert!(answer.path != PathOutcome::Accept, "{name}, {what}: {to} from {from} gets in");
    }
}

#[test]
fn a_cut_dump_lets_nothing_in() {
    for name in ["docker-20", "k3s", "ufw"] {
        let network = golden(name);
        let whole = network.firewall.clone().unwrap();
        let packets = refused(name);
        assert!(packets.len() >= 4 && !whole.iptables.is_empty(), "{name}");
        for cut in 0..whole.iptables.len() {
            let text = whole.iptables[cut].text.clone();
            // Within lines and at their ends.
            let ends = (0..text.len()).step_by(211).chain(text.match_indices('\n').map(|(at, _)| at + 1).step_by(5));
            for end in ends {
                let mut dump = whole.clone();
                dump.iptables[cut].text = text[..boundary(&text, end)].to_owned();
                none_gets_in(name, &format!("iptables dump {cut} cut at {end}"), &network, &dump, &packets);
            }
        }
        if let Some(text) = &whole.ipset {
            for end in 0..text.len() {
                let dump = FirewallDump { ipset: Some(text[..end].to_owned()), ..whole.clone() };
                none_gets_in(name, &format!("ipset listing cut at {end}"), &network, &dump, &packets);
            }
        }
        // All of nft's is missing: what iptables shows is not all there may be.
        let dump = FirewallDump { nft: None, ..whole.clone() };
        none_gets_in(name, "without nft's dump", &network, &dump, &packets);
    }
}

#[test]
fn a_cut_dump_of_legacy_iptables_is_whole_tables_or_unread() {
    let text = fs::read_to_string(data().join("iptables/iptables-legacy-save.txt")).unwrap();
    let done: Vec<usize> = text.match_indices("# Completed on ").map(|(at, _)| at).collect();
    assert!(done.len() >= 4);
    for end in (0..text.len()).filter(|end| end % 13 == 0 || text[..*end].ends_with('\n')) {
        let dump = IptablesDump { ipv6: false, backend: IptablesBackend::Legacy, text: text[..end].to_owned() };
        let dump = FirewallDump {
            iptables: vec![dump],
            empty: ["nft", "ip6tables-legacy"].map(str::to_owned).into(),
            ..FirewallDump::default()
        };
        // Only right after a table that its tool was done with nothing tells that more was there.
        let complete = end == 0 || done.iter().any(|at| (at + 15..=at + 15 + 30).contains(&end));
        assert!(
            complete || !Ruleset::of_dump(&dump).unread.is_empty(),
            "cut at {end}: {:?}",
            &text[end.saturating_sub(60)..end]
        );
    }
}
