//! Driver: the way into the network namespace of a container, by the word of its engine, else by what the kernel shows.

use std::path::PathBuf;

use super::collect::collect;
use super::collect_settings::CollectSettings;
use super::engine::{self, EngineContainer, label};
use super::engine_fetch;
use crate::model::host_report::{Container, HostReport};

/// Why there is no way in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    #[error("no engine here has a running container of that name or id; hint: {}", running(others))]
    NoSuchContainer {
        /// What is running instead.
        others: Vec<String>,
    },
    #[error("it shares the host's own network: look from `self` or `neighbour`")]
    HostNetwork,
    #[error("several containers have an id that begins like this: {0}")]
    Several(String),
}

fn running(others: &[String]) -> String {
    if others.is_empty() {
        "none is running, or its engine does not answer (root?)".to_owned()
    } else {
        format!("running are {}", others.join(", "))
    }
}

/// The files that lead into the container's network namespace, best first; the last ones may be another process's by now.
///
/// Blocks for as long as [`collect`] does, and less where an engine answers.
pub fn container_doors(
    name: &str,
    settings: &CollectSettings,
    now: jiff::Timestamp,
) -> Result<Vec<PathBuf>, DoorError> {
    let (sockets, _) =
        engine::sockets(settings.docker_host.as_deref(), settings.container_host.as_deref(), &settings.engine_sockets);
    let answers = engine_fetch::ask_all(&sockets, settings.engine_limit);
    let told: Vec<EngineContainer> = answers.into_iter().flatten().flat_map(|answer| answer.containers).collect();
    match of_engine(name, &told) {
        Err(DoorError::NoSuchContainer { .. }) => of_report(name, &collect(settings, now)),
        result => result,
    }
}

fn of_engine(name: &str, told: &[EngineContainer]) -> Result<Vec<PathBuf>, DoorError> {
    let named = told.iter().find(|one| one.container.name.as_deref() == Some(name));
    let found = match named {
        Some(found) => found,
        None => {
            let by_id: Vec<&EngineContainer> =
                told.iter().filter(|one| name.len() >= SHORTEST_ID && one.container.id.starts_with(name)).collect();
            match by_id[..] {
                [found] => found,
                [] => return Err(none_such(told.iter().map(|one| &one.container))),
                _ => {
                    let labels: Vec<String> = by_id.iter().map(|one| label(&one.container)).collect();
                    return Err(DoorError::Several(labels.join(", ")));
                }
            }
        }
    };
    if found.container.host_network {
        return Err(DoorError::HostNetwork);
    }
    // A pid is the engine's own, which may count otherwise; the file of the namespace is the same for all.
    let by_pid = found.pid.filter(|pid| *pid > 0).map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
    let doors: Vec<PathBuf> = found.network.iter().map(PathBuf::from).chain(by_pid).collect();
    if doors.is_empty() { Err(none_such(told.iter().map(|one| &one.container))) } else { Ok(doors) }
}

/// A host's network is no place beside it.
fn none_such<'a>(containers: impl Iterator<Item = &'a Container>) -> DoorError {
    DoorError::NoSuchContainer { others: containers.filter(|one| !one.host_network).map(label).collect() }
}

fn of_report(name: &str, report: &HostReport) -> Result<Vec<PathBuf>, DoorError> {
    let container = report
        .containers
        .iter()
        .find(|one| one.name.as_deref() == Some(name) || (name.len() >= SHORTEST_ID && one.id.starts_with(name)));
    if container.is_some_and(|container| container.host_network) {
        return Err(DoorError::HostNetwork);
    }
    let known = container.map(label);
    let namespace = report.namespaces.iter().find(|namespace| {
        let of = namespace.container.as_deref();
        of.is_some() && (of == Some(name) || of == known.as_deref())
    });
    let pids = namespace.into_iter().flat_map(|namespace| &namespace.pids);
    let doors: Vec<PathBuf> = pids.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net"))).collect();
    if doors.is_empty() { Err(none_such(report.containers.iter())) } else { Ok(doors) }
}

/// Fewer digits of an id may be anybody's.
const SHORTEST_ID: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, id: &str, pid: Option<u32>, host_network: bool) -> EngineContainer {
        EngineContainer {
            container: Container {
                id: id.to_owned(),
                name: Some(name.to_owned()),
                host_network,
                ..Container::default()
            },
            published: Vec::new(),
            pid,
            network: None,
        }
    }

    #[test]
    fn a_container_is_found_by_name_or_by_the_begin_of_its_id() {
        let told = [
            container("web", "aabbccdd", Some(7), false),
            container("db", "aabb1122", Some(8), false),
            container("hostly", "ffff0000", Some(9), true),
            container("dead", "eeee0000", Some(0), false),
        ];
        let door = |name: &str| of_engine(name, &told);
        assert_eq!(door("web"), Ok(vec![PathBuf::from("/proc/7/ns/net")]));
        assert_eq!(door("aabb11"), Ok(vec![PathBuf::from("/proc/8/ns/net")]));
        assert_eq!(door("hostly"), Err(DoorError::HostNetwork));
        assert!(matches!(door("aabb"), Err(DoorError::Several(_))));
        for none in ["aab", "nobody", "dead"] {
            let error = door(none).unwrap_err();
            assert!(matches!(error, DoorError::NoSuchContainer { .. }), "{none}: {error}");
            let told = error.to_string();
            assert!(told.contains("running are") && told.contains("web") && told.contains("db"), "{told}");
            assert!(!told.contains("hostly"), "{told}");
        }
    }
}
