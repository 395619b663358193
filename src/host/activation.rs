//! What a socket that waits for its service would start: by systemd's socket units (systemd.socket(5)), by the arguments
//! of systemd-socket-activate(1). Pure.

use std::net::IpAddr;

use crate::model::Transport;
use crate::model::host_report::Listener;

/// A `.socket` unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketUnit {
    pub name: String,
    /// The unit that the first connection starts.
    pub service: String,
    listens: Vec<(Transport, Option<IpAddr>, u16)>,
}

impl SocketUnit {
    /// Reads a unit's file, with its drop-ins behind it. `None`: it listens on no port.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let stem = name.strip_suffix(".socket")?;
        let mut listens: Vec<(Transport, Option<IpAddr>, u16)> = Vec::new();
        let (mut service, mut accept) = (None, false);
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if line.starts_with('[') {
                section = line;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| section == "[Socket]") else { continue };
            let (key, value) = (key.trim(), value.trim());
            let transport = match key {
                "ListenStream" => Transport::Tcp,
                "ListenDatagram" => Transport::Udp,
                "Service" => {
                    service = Some(value.to_owned());
                    continue;
                }
                "Accept" => {
                    accept = matches!(value, "yes" | "true" | "on" | "1");
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                // An empty assignment takes back what was listed before.
                listens.retain(|(known, ..)| *known != transport);
            } else if let Some((address, port)) = address_and_port(value) {
                listens.push((transport, address, port));
            }
        }
        let instance = if accept { format!("{stem}@.service") } else { format!("{stem}.service") };
        (!listens.is_empty()).then(|| Self { name: name.to_owned(), service: service.unwrap_or(instance), listens })
    }

    /// Whether the unit may have opened this listener.
    pub fn opened(&self, listener: &Listener) -> bool {
        self.listens.iter().any(|(transport, address, port)| {
            let bound = address.is_none_or(|address| address == listener.address);
            (*transport, *port) == (listener.transport, listener.port)
                && if address.is_none() { listener.address.is_unspecified() } else { bound }
        })
    }
}

/// `22`, `0.0.0.0:22`, `[::1]:631`; `None` for paths, names and vsock.
fn address_and_port(value: &str) -> Option<(Option<IpAddr>, u16)> {
    if let Ok(port) = value.parse() {
        return Some((None, port));
    }
    let (address, port) = value.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Some((Some(address.split('%').next()?.parse().ok()?), port.parse().ok()?))
}

/// What systemd-socket-activate would start, from its (redacted) arguments.
pub fn activated_program(arguments: &[String]) -> Option<String> {
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-l" | "--listen" | "-E" | "--setenv" | "--fdname" => {
                words.next();
            }
            "--" => {}
            option if option.starts_with('-') => {}
            program => {
                let rest = words.map(String::as_str);
                return Some(std::iter::once(program).chain(rest).collect::<Vec<_>>().join(" "));
            }
        }
    }
    None
}

/// Name of the process that [`activated_program`] is about.
pub const ACTIVATOR: &str = "systemd-socket-activate";

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(transport: Transport, address: &str, port: u16) -> Listener {
        Listener::at(transport, address.parse().unwrap(), port)
    }

    #[test]
    fn units_by_what_they_listen_on() {
        let ssh =
            SocketUnit::parse("ssh.socket", "[Unit]\nDescription=x\n[Socket]\nListenStream=22\nAccept=no\n").unwrap();
        assert_eq!(ssh.service, "ssh.service");
        assert!(ssh.opened(&listener(Transport::Tcp, "::", 22)));
        assert!(
            !ssh.opened(&listener(Transport::Udp, "::", 22)) && !ssh.opened(&listener(Transport::Tcp, "127.0.0.1", 22))
        );
        let text =
            "[Socket]\nListenStream=/run/cups.sock\nListenStream = [::1]:631\nListenDatagram=0.0.0.0:631\nAccept=yes";
        let cups = SocketUnit::parse("cups.socket", text).unwrap();
        assert_eq!(cups.service, "cups@.service");
        assert!(
            cups.opened(&listener(Transport::Tcp, "::1", 631))
                && cups.opened(&listener(Transport::Udp, "0.0.0.0", 631))
        );
        let moved = format!("{text}\n[Socket]\nListenStream=\nListenStream=8631\nService=other.service\n");
        let moved = SocketUnit::parse("cups.socket", &moved).unwrap();
        assert!(
            !moved.opened(&listener(Transport::Tcp, "::1", 631)) && moved.opened(&listener(Transport::Tcp, "::", 8631))
        );
        assert_eq!(moved.service, "other.service");
        assert_eq!(SocketUnit::parse("docker.socket", "[Socket]\nListenStream=/run/docker.sock"), None);
        assert_eq!(SocketUnit::parse("x.service", "[Socket]\nListenStream=1"), None);
    }

    #[test]
    fn the_program_behind_systemd_socket_activate() {
        let program = |line: &str| activated_program(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            program("systemd-socket-activate -l 8080 --inetd -a -E A=*** /bin/cat -n").as_deref(),
            Some("/bin/cat -n")
        );
        assert_eq!(program("systemd-socket-activate --listen=1 -- prog").as_deref(), Some("prog"));
        assert_eq!(program("systemd-socket-activate -l 8080"), None);
    }
}
