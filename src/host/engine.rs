//! Container engines: where their sockets are and what their API answers (Docker Engine API 1.24 and later, and Podman's
//! compatible one). Pure.
//!
//! Small types of our own, and every field may be missing: engines differ, and one odd container must not hide the
//! others. Environment, arguments and labels are not read; of the mounts only whether an engine's socket is among them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::model::Transport;
use crate::model::host_report::{Container, PublishedPort};
use crate::model::report::Gap;

/// A socket that an engine may listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSocket {
    pub path: PathBuf,
    /// Somebody named it, so that its absence is worth a word.
    pub named: bool,
}

/// The sockets to ask. `DOCKER_HOST` and `CONTAINER_HOST` stand in place of the usual places of Docker and Podman, as they
/// do for the engines' own clients; `extra` adds to them. A host over the network may be another machine: not asked.
pub fn sockets(
    docker_host: Option<&str>,
    container_host: Option<&str>,
    extra: &[PathBuf],
) -> (Vec<EngineSocket>, Vec<Gap>) {
    let mut sockets: Vec<EngineSocket> = Vec::new();
    let mut gaps = Vec::new();
    let mut add = |path: &Path, named| {
        if !sockets.iter().any(|known| known.path == path) {
            sockets.push(EngineSocket { path: path.to_owned(), named });
        }
    };
    for (variable, value, usual) in
        [("DOCKER_HOST", docker_host, DOCKER_SOCKETS), ("CONTAINER_HOST", container_host, PODMAN_SOCKETS)]
    {
        let value = value.filter(|value| !value.is_empty());
        match value
            .map(|value| (value, value.strip_prefix("unix://").or_else(|| value.starts_with('/').then_some(value))))
        {
            None => usual.iter().for_each(|path| add(Path::new(path), false)),
            Some((_, Some(path))) => add(Path::new(path), true),
            Some((value, None)) => gaps.push(Gap {
                what: format!("the engine that {variable} names"),
                cause: format!(
                    "`{}` is no socket of this machine",
                    value.split("://").next().unwrap_or_default().escape_debug()
                ),
                settled_by: format!("`{variable}=unix:///run/docker.sock`, or run postern on that machine"),
                incomplete: false,
            }),
        }
    }
    extra.iter().for_each(|path| add(path, true));
    (sockets, gaps)
}

/// A container with what its engine publishes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineContainer {
    pub container: Container,
    pub published: Vec<PublishedPort>,
    /// First process, in the engine's own pid namespace.
    pub pid: Option<u32>,
    /// File of its network namespace.
    pub network: Option<String>,
}

/// Reads the answer to `GET /containers/json`. Entries without an id are left out.
pub fn containers(answer: &[u8], engine: &str) -> Result<Vec<EngineContainer>, serde_json::Error> {
    let entries: Vec<Value> = serde_json::from_slice(answer)?;
    Ok(entries.into_iter().filter_map(|entry| Entry::deserialize(entry).ok()).map(|entry| entry.read(engine)).collect())
}

/// What `GET /containers/ID/json` adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub privileged: Option<bool>,
    pub pid: Option<u32>,
    pub added_capabilities: Vec<String>,
    pub no_new_privileges: Option<bool>,
    pub seccomp: Option<String>,
    pub security_label: Option<String>,
    pub engine_sockets: Vec<String>,
    /// File of its network namespace.
    pub network: Option<String>,
}

impl EngineContainer {
    pub fn add(&mut self, details: Details) {
        let Details {
            privileged,
            pid,
            added_capabilities,
            no_new_privileges,
            seccomp,
            security_label,
            engine_sockets,
            network,
        } = details;
        self.pid = pid;
        self.network = network;
        let container = &mut self.container;
        *container = Container {
            privileged,
            added_capabilities,
            no_new_privileges,
            seccomp,
            security_label,
            engine_sockets,
            ..std::mem::take(container)
        };
    }
}

/// Reads the answer to `GET /containers/ID/json`.
pub fn details(answer: &[u8]) -> Result<Details, serde_json::Error> {
    let value: Value = serde_json::from_slice(answer)?;
    let pid = value.pointer("/State/Pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok());
    let list = |pointer: &str| value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let words = |pointer: &str| list(pointer).filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let text = |pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let privileged = value.pointer("/HostConfig/Privileged").and_then(Value::as_bool);
    // `seccomp=unconfined`, `no-new-privileges`; Docker before 1.13 wrote colons.
    let options: Vec<String> =
        words("/HostConfig/SecurityOpt").iter().map(|option| option.replacen(':', "=", 1)).collect();
    let option = |name: &str| options.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    let known = value.pointer("/HostConfig").is_some();
    let seccomp = match (option("seccomp"), privileged) {
        (Some("unconfined"), _) | (None, Some(true)) => "unconfined",
        (Some(_), _) => "custom",
        (None, _) => "default",
    };
    let plain = options.iter().any(|one| one == "no-new-privileges") || option("no-new-privileges") == Some("true");
    let mut added: Vec<String> = words("/HostConfig/CapAdd")
        .iter()
        .map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_ascii_lowercase())
        .collect();
    if privileged == Some(true) || added.iter().any(|name| name == "all") {
        added = vec!["all".to_owned()];
    }
    // `/run/docker.sock:/var/run/docker.sock:ro`; the mounts say the same of volumes and the long form.
    let binds = words("/HostConfig/Binds");
    let sources = binds.iter().filter_map(|bind| bind.split(':').next());
    let mounted: Vec<String> =
        list("/Mounts").filter_map(|mount| Some(mount.get("Source")?.as_str()?.to_owned())).collect();
    Ok(Details {
        privileged,
        pid: pid.filter(|pid| *pid > 0),
        added_capabilities: added,
        no_new_privileges: known.then_some(plain),
        seccomp: known.then(|| seccomp.to_owned()),
        security_label: text("/AppArmorProfile").or_else(|| text("/ProcessLabel")),
        engine_sockets: engine_sockets(sources.chain(mounted.iter().map(String::as_str))),
        network: text("/NetworkSettings/SandboxKey"),
    })
}

/// Of mounted files and folders of the host those that are, or hold, an engine's socket.
pub fn engine_sockets<'a>(sources: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock"];
    let holds = |source: &&str| {
        let plain = if *source == "/" { "/" } else { source.trim_end_matches('/') };
        matches!(plain, "/" | "/run" | "/var/run" | "/run/podman" | "/run/containerd" | "/run/crio")
            || names.iter().any(|name| plain.rsplit('/').next() == Some(name))
    };
    let mut found: Vec<String> = sources.filter(holds).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(default)]
    names: Value,
    #[serde(default)]
    image: Value,
    #[serde(default)]
    ports: Value,
    #[serde(default)]
    host_config: Value,
    #[serde(default)]
    network_settings: Value,
}

impl Entry {
    fn read(self, engine: &str) -> EngineContainer {
        let names = self.names.as_array().into_iter().flatten().filter_map(Value::as_str);
        // Links of other containers appear as `/other/alias`.
        let name = names.map(|name| name.trim_start_matches('/')).find(|name| !name.is_empty() && !name.contains('/'));
        let networks = self.network_settings.get("Networks").and_then(Value::as_object);
        let mut addresses: Vec<IpAddr> = networks
            .into_iter()
            .flat_map(|networks| networks.values())
            .flat_map(|network| [network.get("IPAddress"), network.get("GlobalIPv6Address")])
            .filter_map(|address| address?.as_str()?.parse().ok())
            .filter(|address: &IpAddr| !address.is_unspecified())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let container = Container {
            name: name.map(str::to_owned),
            image: self.image.as_str().filter(|image| !image.is_empty()).map(str::to_owned),
            engine: engine.to_owned(),
            host_network: self.host_config.get("NetworkMode").and_then(Value::as_str) == Some("host"),
            id: self.id,
            addresses,
            ..Container::default()
        };
        let published =
            self.ports.as_array().into_iter().flatten().filter_map(|port| publish(port, &container)).collect();
        EngineContainer { container, published, pid: None, network: None }
    }
}

fn publish(port: &Value, container: &Container) -> Option<PublishedPort> {
    let number = |key: &str| {
        port.get(key).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
    };
    let host_address = match port.get("IP").and_then(Value::as_str) {
        None | Some("") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(address) => address.parse().ok()?,
    };
    let same_family = container.addresses.iter().filter(|address| address.is_ipv4() == host_address.is_ipv4());
    let candidates: Vec<&IpAddr> = same_family.collect();
    let candidates = if candidates.is_empty() { container.addresses.iter().collect() } else { candidates };
    Some(PublishedPort {
        transport: match port.get("Type").and_then(Value::as_str) {
            Some("tcp") | None => Transport::Tcp,
            Some("udp") => Transport::Udp,
            Some(_) => return None,
        },
        host_address,
        host_port: number("PublicPort")?,
        // On several networks the API does not say which one the port leads to.
        container_address: if let [one] = candidates[..] { Some(*one) } else { None },
        container_port: number("PrivatePort")?,
        container: Some(label(container)),
        source: "engine".to_owned(),
    })
}

/// How a container is called elsewhere in the report: its name, else the first twelve digits of its id.
pub fn label(container: &Container) -> String {
    container.name.clone().unwrap_or_else(|| short_id(&container.id))
}

/// As the engines shorten ids.
pub fn short_id(id: &str) -> String {
    id.chars().take(12).collect()
}

/// Containers by address, leaving out addresses that several have (networks may overlap).
pub fn by_address(containers: &[Container]) -> HashMap<IpAddr, &Container> {
    let mut found: HashMap<IpAddr, Option<&Container>> = HashMap::new();
    for container in containers {
        for address in &container.addresses {
            found.entry(*address).and_modify(|known| *known = None).or_insert(Some(container));
        }
    }
    found.into_iter().filter_map(|(address, container)| Some((address, container?))).collect()
}

const DOCKER_SOCKETS: &[&str] = &["/run/docker.sock", "/var/run/docker.sock"];
const PODMAN_SOCKETS: &[&str] = &["/run/podman/podman.sock"];

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(docker: Option<&str>, container: Option<&str>, extra: &[&str]) -> (Vec<String>, usize) {
        let extra: Vec<PathBuf> = extra.iter().map(PathBuf::from).collect();
        let (sockets, gaps) = sockets(docker, container, &extra);
        (sockets.iter().map(|socket| socket.path.display().to_string()).collect(), gaps.len())
    }

    #[test]
    fn sockets_by_environment_else_the_usual_places() {
        let usual = ["/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock"];
        assert_eq!(paths(None, Some(""), &[]), (usual.map(str::to_owned).to_vec(), 0));
        let (found, gaps) = paths(Some("unix:///a.sock"), Some("/b.sock"), &["/c.sock", "/a.sock"]);
        assert_eq!((found, gaps), (["/a.sock", "/b.sock", "/c.sock"].map(str::to_owned).to_vec(), 0));
        let (found, gaps) = paths(Some("tcp://198.18.0.1:2375"), None, &[]);
        assert_eq!((found, gaps), (vec!["/run/podman/podman.sock".to_owned()], 1));
    }

    #[test]
    fn odd_entries_do_not_hide_the_others() {
        let answer = br#"[{"no":"id"}, 7, {"Id":"aa","Names":null,"Ports":{"x":1},"State":"new-state"},
            {"Id":"bb","Names":["/a/alias","/b"],"Image":"i","Ports":[{"PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
              {"IP":"::","PrivatePort":53,"PublicPort":53,"Type":"udp"},{"PrivatePort":81,"Type":"tcp"},
              {"IP":"zz","PrivatePort":82,"PublicPort":82},{"PrivatePort":1,"PublicPort":70000},{"PrivatePort":5,"PublicPort":5,"Type":"sctp"}],
             "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2","GlobalIPv6Address":""}}}}]"#;
        let found = containers(answer, "docker").unwrap();
        assert_eq!(found.iter().map(|one| label(&one.container)).collect::<Vec<_>>(), ["aa", "b"]);
        let published: Vec<_> = found[1]
            .published
            .iter()
            .map(|one| (one.transport, one.host_address.to_string(), one.host_port, one.container_address))
            .collect();
        let address = Some("172.17.0.2".parse().unwrap());
        assert_eq!(
            published,
            [(Transport::Tcp, "0.0.0.0".to_owned(), 8080, address), (Transport::Udp, "::".to_owned(), 53, address)]
        );
        assert!(containers(b"{\"message\":\"no\"}", "docker").is_err());
    }

    #[test]
    fn details_are_about_rights_and_nothing_else() {
        let answer = br#"{"Config":{"Env":["TOKEN=CANARY"]},"State":{"Pid":321},"AppArmorProfile":"docker-default",
            "HostConfig":{"Privileged":false,"CapAdd":["CAP_NET_ADMIN","SYS_PTRACE"],"SecurityOpt":["seccomp=unconfined","no-new-privileges"],
              "Binds":["/var/run/docker.sock:/d.sock:ro","/srv:/srv"]},
            "Mounts":[{"Source":"/var/run/docker.sock"},{"Source":"/run/"}],"NetworkSettings":{"SandboxKey":"/var/run/docker/netns/8f"}}"#;
        let read = details(answer).unwrap();
        assert_eq!((read.privileged, read.pid), (Some(false), Some(321)));
        assert_eq!(read.added_capabilities, ["net_admin", "sys_ptrace"]);
        assert_eq!((read.no_new_privileges, read.seccomp.as_deref()), (Some(true), Some("unconfined")));
        assert_eq!(read.engine_sockets, ["/run/", "/var/run/docker.sock"]);
        assert_eq!(read.network.as_deref(), Some("/var/run/docker/netns/8f"));
        assert_eq!(read.security_label.as_deref(), Some("docker-default"));
        let read = details(br#"{"HostConfig":{"Privileged":true,"SecurityOpt":null}}"#).unwrap();
        assert_eq!((read.added_capabilities, read.seccomp.as_deref()), (vec!["all".to_owned()], Some("unconfined")));
        assert_eq!(details(b"{}").unwrap(), Details::default());
    }

    #[test]
    fn addresses_that_two_have_name_nobody() {
        let container = |id: &str, addresses: &[&str]| Container {
            id: id.to_owned(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ..Container::default()
        };
        let all = [container("a", &["172.17.0.2"]), container("b", &["172.17.0.2", "172.18.0.2"])];
        let found = by_address(&all);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&"172.18.0.2".parse::<IpAddr>().unwrap()].id, "b");
    }
}
