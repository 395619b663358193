//! `--plan`: what a run would send, by the numbers of the engine that it would take.

use super::audit::Ports;
use super::looking::MAX_ROUNDS;
use crate::cli::settings::ProbeUse;
use crate::cli::{Destination, EngineChoice, OutputSpec, ScanSettings};
use crate::model::{PortRanges, ProbeSpace as _, Transport};
use crate::net::link::open::may_send_raw;
use crate::sweep::datagram;
use crate::sweep::raw::process::SOURCE_PORTS;
use crate::targets::plan::{PlannedEngine, PlannedSweep};
use crate::targets::{Loaded, Plan, Space};

/// The plan of a run on this machine. Opens a raw socket to see whether it may, and sends nothing.
pub(super) fn plan(scan: &ScanSettings, targets: &Loaded, ports: &Ports) -> Plan {
    let engine = match (scan.engine, may_send_raw()) {
        (EngineChoice::Connect, _) => PlannedEngine::Connect { without_privilege: false },
        (EngineChoice::Auto, false) => PlannedEngine::Connect { without_privilege: true },
        (EngineChoice::Syn, false) => PlannedEngine::NoSyn,
        (EngineChoice::Auto | EngineChoice::Syn, true) => PlannedEngine::Syn,
    };
    let tcp_rounds = match engine {
        // One of the ports is no round's.
        PlannedEngine::Syn | PlannedEngine::NoSyn => u32::try_from(SOURCE_PORTS).unwrap_or(u32::MAX).saturating_sub(1),
        PlannedEngine::Connect { .. } => MAX_ROUNDS,
    };
    let sweep = |ports: &PortRanges, transport, rounds, own_host_rate| PlannedSweep {
        ports: ports.to_string(),
        // The order does not matter to how many they are.
        endpoints: Space::new(targets.set.clone(), ports, transport, 0).sharded(scan.shard).len(),
        rounds,
        own_host_rate,
    };
    Plan {
        targets: targets.described.clone(),
        excluded: targets.excluded.clone(),
        addresses: targets.set.len(),
        shard: if scan.shard.is_whole() { String::new() } else { scan.shard.to_string() },
        tcp: sweep(&ports.tcp, Transport::Tcp, tcp_rounds, None),
        udp: sweep(&ports.udp, Transport::Udp, datagram::ROUNDS, Some(datagram::HOST_RATE as u32)),
        engine,
        probes: scan.probes != ProbeUse::None,
        rate: scan.rate,
        host_rate: scan.host_rate,
        results: scan.result.outputs.iter().map(result).collect(),
    }
}

fn result(output: &OutputSpec) -> String {
    match &output.destination {
        Destination::Stdout => format!("{} to stdout", output.format.name()),
        Destination::File(path) => format!("{} to {}", output.format.name(), path.display()),
    }
}
