//! What is wrong with a command line that parses, and what would be right.

use std::net::IpAddr;

use super::vantage::VantageError;
use crate::host::remote::DestinationError;
use crate::model::{Endpoint, Transport};

/// An argument that parses and makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UsageError {
    #[error("--{option} `{value}` is no rate; hint: a whole number of probes a second above 0, or `max`")]
    Rate { option: &'static str, value: String },
    #[error("{option} is for the raw sweep, which --engine connect declines; hint: drop one of them")]
    RawOnly { option: &'static str },
    #[error("`{value}` behind --udp is taken for a target; hint: UDP ports follow with =: --udp={value}")]
    UdpValue { value: String },
    #[error("no file behind `{value}`; hint: --host-report {value}FILE")]
    NoFile { value: String },
    #[error("-o {format} goes to stdout twice; hint: give one of them a file: -o {format}=FILE")]
    TwiceOnStdout { format: &'static str },
    #[error("`{path}` is to be written twice; hint: give each -o a file of its own")]
    SameFile { path: String },
    #[error("{options} both read stdin; hint: save one of them to a file")]
    TwiceFromStdin { options: String },
    #[error("neither TCP nor UDP ports are left to ask; hint: drop `-p none`, or say --udp=PORTS")]
    NoPorts,
    #[error("--to {to} and --from {from} are of different families; hint: a packet has two addresses of one family")]
    Families { to: Endpoint, from: IpAddr },
    #[error("`{value}`: {problem}; hint: ssh://USER@HOST:PORT, with an alias of ssh's configuration for anything else")]
    Ssh { value: String, problem: DestinationError },
    #[error("correlate is offline and takes no `{value}`; hint: save it before: postern host {value} -o json=FILE")]
    SshOffline { value: String },
    #[error(
        "--vantage `{value}`: {problem}; hint: eth0, netns:NAME, container:NAME, neighbour, self or ssh://USER@HOST"
    )]
    Vantage { value: String, problem: VantageError },
    #[error("--vantage {value} is given twice; hint: once is enough")]
    SameVantage { value: String },
    #[error(
        "{endpoint} was not asked: printers on this port print and controllers stop; hint: --probe-fragile if you know \
         what listens there"
    )]
    FragilePort { endpoint: Endpoint },
    #[error("`{name}` does not speak over {transport}; hint: `postern probes list` names its ports")]
    ProbeTransport { name: String, transport: Transport },
}
