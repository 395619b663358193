//! What a scenario file says.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A simulated network, and what a sweep of it must come to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about.
    pub about: String,
    /// How many seeds it is run with.
    pub runs: u64,
    pub targets: Targets,
    #[serde(default)]
    pub path: Way,
    #[serde(default)]
    pub hosts: Hosts,
    #[serde(default)]
    pub middlebox: Option<Middlebox>,
    /// What the own kernel says that it dropped, and when.
    #[serde(default)]
    pub own_drops: Vec<OwnDrops>,
    #[serde(default)]
    pub sweep: Sweep,
    pub expect: Expect,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Addresses that are asked, and how many of them live.
    pub addresses: u32,
    pub living: u32,
    pub ports: String,
    /// Open ports of each living host.
    pub open: usize,
    /// What its other ports do.
    pub others: Others,
    #[serde(default)]
    pub on_link: bool,
    #[serde(default)]
    pub ipv6: bool,
    /// One shard of them alone: `1/3`.
    #[serde(default)]
    pub shard: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    Drop,
    Refuse,
    /// ICMP port unreachable, within the host's budget.
    Reject,
}

/// What happens on the way, each way.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Way {
    /// Chance that a packet is lost.
    pub loss: f64,
    /// Outages: from time to time most is lost.
    pub burst: Option<Burst>,
    /// From these times on the chance is another one, in ascending order.
    pub steps: Vec<Step>,
    /// Microseconds, from and to.
    pub delay_us: [u64; 2],
    /// Chance that an answer comes twice, and that it comes late, by up to so much.
    pub duplicate: f64,
    pub reorder: f64,
    pub reorder_us: u64,
    /// Chance that a probe is followed by an answer that is not one to it.
    pub forged: f64,
    /// Chance that a box resets in the host's name before its answer comes.
    pub resets: f64,
    /// Until then the last router knows no way to any host, and says so.
    pub unreachable_until_ms: u64,
    /// Until then this machine can send no question for a neighbour.
    pub no_questions_until_ms: u64,
    /// Probes per second that pass; more are lost.
    pub capacity: Option<f64>,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: None,
            steps: Vec::new(),
            delay_us: [200, 400],
            duplicate: 0.0,
            reorder: 0.0,
            reorder_us: 0,
            forged: 0.0,
            resets: 0.0,
            unreachable_until_ms: 0,
            no_questions_until_ms: 0,
            capacity: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    pub every_ms: u64,
    pub lasts_ms: u64,
    pub loss: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at_ms: u64,
    pub loss: f64,
}

/// What hosts are like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hosts {
    /// So many of the living ones are SYN proxies: every port answers, with window 0 and no options.
    pub syn_proxies: u32,
    /// Likewise, with a small window, and slow.
    pub tarpits: u32,
    /// Chance that an open port holds half-open state of an earlier SYN from our port.
    pub half_open: f64,
    /// From every one of our ports, and for good.
    pub always_half_open: bool,
    /// ICMP errors per second and in a burst; 0 is no limit.
    pub icmp_per_second: f64,
    pub icmp_burst: f64,
    /// So many ordinary hosts are behind a way of their own that loses so much, each way.
    pub far: u32,
    pub far_loss: f64,
    /// So many ordinary hosts let each of their ports be asked once, and so many others answer to the first SYNs alone.
    pub once: u32,
    pub banning: u32,
    pub ban_after: u32,
    /// The first of each host's open ports is one hop further away.
    pub forwarded: bool,
}

/// A box on the way with a table of connections.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Middlebox {
    pub table: usize,
    /// How long an entry of an unanswered SYN stays.
    pub timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnDrops {
    pub at_ms: u64,
    pub packets: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub recall: Option<f64>,
    /// Rounds at most; 12 unless told otherwise.
    pub rounds: Option<u16>,
    /// Hosts with nothing open that are remembered; any number unless told otherwise.
    pub most_hosts: Option<usize>,
    /// Interrupted after this long.
    pub stop_ms: Option<u64>,
}

/// What all runs must come to, beside what every run must.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Mean share of the open ports that is found.
    pub found: f64,
    /// Most probes for each endpoint that was asked for, on average.
    pub probes_each: f64,
    /// Most virtual seconds, on average.
    pub seconds: f64,
    /// Every run declares itself incomplete or short of the recall that was wanted.
    #[serde(default)]
    pub declared: bool,
}

/// All scenario files, sorted.
#[expect(clippy::disallowed_methods, reason = "reads the scenario files")]
pub fn all() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 12, "only {} scenarios", files.len());
    files.iter().map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), read(file))).collect()
}

pub fn named(name: &str) -> Scenario {
    all().into_iter().find(|(its, _)| its == name).unwrap_or_else(|| panic!("no scenario {name}")).1
}

#[expect(clippy::disallowed_methods, reason = "reads the scenario files")]
fn read(file: &Path) -> Scenario {
    let text = std::fs::read_to_string(file).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
