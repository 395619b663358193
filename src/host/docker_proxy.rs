//! docker-proxy's command line: which container a listener of the host publishes. Pure.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::Transport;

/// What a docker-proxy forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub transport: Transport,
    pub host_address: IpAddr,
    pub host_port: u16,
    pub container_address: IpAddr,
    pub container_port: u16,
}

/// Reads `/proc/PID/cmdline` (arguments end in zero bytes): `docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080
/// -container-ip 172.17.0.2 -container-port 80`. `None` for any other program.
pub fn parse(cmdline: &[u8]) -> Option<Forward> {
    let text = String::from_utf8_lossy(cmdline);
    let mut arguments = text.split('\0');
    let program = arguments.next()?;
    if program.rsplit('/').next() != Some(PROGRAM) {
        return None;
    }
    let (mut proto, mut host_ip, mut host_port, mut container_ip, mut container_port) = (None, None, None, None, None);
    while let Some(argument) = arguments.next() {
        let name = argument.trim_start_matches('-');
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        let slot = match name {
            "proto" => &mut proto,
            "host-ip" => &mut host_ip,
            "host-port" => &mut host_port,
            "container-ip" => &mut container_ip,
            "container-port" => &mut container_port,
            _ => continue,
        };
        *slot = value.or_else(|| arguments.next());
    }
    Some(Forward {
        transport: match proto.unwrap_or("tcp") {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return None,
        },
        host_address: host_ip.map_or(Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |ip| ip.parse().ok())?,
        host_port: host_port?.parse().ok()?,
        container_address: container_ip?.parse().ok()?,
        container_port: container_port?.parse().ok()?,
    })
}

/// Name of the program and so of its process.
pub const PROGRAM: &str = "docker-proxy";

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        text.split(' ').flat_map(|argument| argument.bytes().chain([0])).collect()
    }

    #[test]
    fn reads_what_dockerd_writes() {
        let text =
            "/usr/bin/docker-proxy -proto tcp -host-ip :: -host-port 8080 -container-ip 172.17.0.2 -container-port 80";
        let forward = Forward {
            transport: Transport::Tcp,
            host_address: "::".parse().unwrap(),
            host_port: 8080,
            container_address: "172.17.0.2".parse().unwrap(),
            container_port: 80,
        };
        assert_eq!(parse(&line(text)), Some(forward.clone()));
        assert_eq!(parse(&line(&(text.to_owned() + " -use-listen-fd"))), Some(forward.clone()));
        assert_eq!(parse(&line(&text.replace("-host-port 8080", "--host-port=8080"))), Some(forward));
    }

    #[test]
    fn other_programs_and_broken_lines_are_none() {
        for text in [
            "/usr/sbin/nginx -proto tcp -host-port 1 -container-ip 172.17.0.2 -container-port 80",
            "docker-proxy",
            "docker-proxy -proto sctp -host-ip :: -host-port 1 -container-ip 172.17.0.2 -container-port 80",
            "docker-proxy -proto tcp -host-port 80808 -container-ip 172.17.0.2 -container-port 80",
            "docker-proxy -host-port",
            "",
        ] {
            assert_eq!(parse(&line(text)), None, "{text}");
        }
        assert_eq!(parse(&[0xff, 0, 0]), None);
    }
}
