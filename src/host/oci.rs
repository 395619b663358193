//! State that engines leave in files, for those that have no service to ask: OCI's `config.json` (runtime-spec, config.md)
//! as runc, crun and containerd keep it beside a running container, and Podman's list of containers. Pure; of the
//! environment and the arguments nothing is taken.

use serde_json::Value;

use super::caps;
use super::engine::engine_sockets;
use crate::model::host_report::Container;

/// A container by its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    pub container: Container,
    /// File of the network namespace that it joined; `None`: one that the runtime made, or the host's.
    pub network: Option<String>,
    /// Its first process, where a file of the runtime says it.
    pub pid: Option<u32>,
}

/// Reads a `config.json`. `whole`: the caller's own bounding set.
pub fn config(id: &str, engine: &str, text: &[u8], whole: u64) -> Option<Stated> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let linux = value.get("linux")?;
    let annotation = |key: &str| value.get("annotations")?.get(key)?.as_str().map(str::to_owned);
    let text_at = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let namespaces = || linux.get("namespaces").and_then(Value::as_array).into_iter().flatten();
    let network = namespaces().find(|one| one.get("type").and_then(Value::as_str) == Some("network"));
    let bounding = value.pointer("/process/capabilities/bounding").and_then(Value::as_array).into_iter().flatten();
    let mask = caps::mask_of(bounding.filter_map(Value::as_str));
    let seccomp = linux.get("seccomp").is_some_and(|seccomp| !seccomp.is_null());
    let added = caps::added(mask, whole);
    let masked = linux.get("maskedPaths").and_then(Value::as_array).is_some_and(|paths| !paths.is_empty());
    let mounts = value.get("mounts").and_then(Value::as_array).into_iter().flatten();
    let sources = mounts.filter(|mount| {
        // A bind mount; the others' sources are words like `tmpfs`.
        mount.get("source").and_then(Value::as_str).is_some_and(|source| source.starts_with('/'))
    });
    let name = ["io.kubernetes.cri.container-name", "io.kubernetes.container.name", "nerdctl/name"]
        .iter()
        .find_map(|key| annotation(key));
    let sandbox = annotation("io.kubernetes.cri.container-type").as_deref() == Some("sandbox");
    let pod = annotation("io.kubernetes.cri.sandbox-name").or_else(|| annotation("io.kubernetes.pod.name"));
    let name = match (pod, name, sandbox) {
        (Some(pod), Some(name), false) => Some(format!("{pod}/{name}")),
        (Some(pod), _, _) => Some(pod),
        (None, name, _) => name,
    };
    let container = Container {
        id: id.to_owned(),
        name,
        image: annotation("io.kubernetes.cri.image-name").or_else(|| annotation("io.kubernetes.cri-o.ImageName")),
        engine: engine.to_owned(),
        host_network: network.is_none(),
        privileged: Some(added == ["all"] && !seccomp && !masked),
        added_capabilities: added,
        no_new_privileges: value.pointer("/process/noNewPrivileges").and_then(Value::as_bool).or(Some(false)),
        seccomp: Some(if seccomp { "filter" } else { "unconfined" }.to_owned()),
        security_label: text_at("/process/apparmorProfile")
            .or_else(|| text_at("/process/selinuxLabel"))
            .map(str::to_owned),
        engine_sockets: engine_sockets(sources.filter_map(|mount| mount.get("source")?.as_str())),
        addresses: Vec::new(),
    };
    Some(Stated { container, pid: None, network: network.and_then(|one| one.get("path")?.as_str()).map(str::to_owned) })
}

/// Names and images by id from Podman's (containers/storage's) `containers.json`.
pub fn podman_names(text: &[u8]) -> Vec<(String, Option<String>, Option<String>)> {
    let entries: Vec<Value> = serde_json::from_slice(text).unwrap_or_default();
    let read = |entry: &Value| {
        let id = entry.get("id")?.as_str()?.to_owned();
        let name = entry.get("names").and_then(|names| names.get(0)?.as_str()).map(str::to_owned);
        // A JSON document inside a string.
        let metadata = entry.get("metadata").and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
        let image = metadata.and_then(|value: Value| value.get("image-name")?.as_str().map(str::to_owned));
        Some((id, name, image))
    };
    entries.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u64 = 0x1ff_ffff_ffff;

    #[test]
    fn a_container_that_joined_a_namespace_and_has_the_engines_socket() {
        let text = br#"{"ociVersion":"1.0.2","process":{"args":["sh","--password=CANARY"],"env":["TOKEN=CANARY"],
            "noNewPrivileges":true,"apparmorProfile":"cri-containerd.apparmor.d",
            "capabilities":{"bounding":["CAP_CHOWN","CAP_NET_ADMIN"]}},
            "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
              {"destination":"/var/run/docker.sock","type":"bind","source":"/run/docker.sock","options":["rbind"]}],
            "annotations":{"io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-name":"front-1",
              "io.kubernetes.cri.image-name":"nginx:1.27"},
            "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/var/run/netns/cni-7"}],
              "seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},"maskedPaths":["/proc/kcore"]}}"#;
        let found = config("abc", "containerd", text, WHOLE).unwrap();
        assert_eq!(found.network.as_deref(), Some("/var/run/netns/cni-7"));
        let container = found.container;
        assert_eq!((container.name.as_deref(), container.image.as_deref()), (Some("front-1/web"), Some("nginx:1.27")));
        assert_eq!((container.privileged, container.host_network), (Some(false), false));
        assert_eq!(container.added_capabilities, ["net_admin"]);
        assert_eq!((container.no_new_privileges, container.seccomp.as_deref()), (Some(true), Some("filter")));
        assert_eq!(container.security_label.as_deref(), Some("cri-containerd.apparmor.d"));
        assert_eq!(container.engine_sockets, ["/run/docker.sock"]);
        assert!(!format!("{container:?}").contains("CANARY"));
    }

    #[test]
    fn privileged_in_the_hosts_network() {
        let text =
            br#"{"process":{"capabilities":{"bounding":["CAP_SYS_ADMIN"]}},"linux":{"namespaces":[{"type":"pid"}]}}"#;
        let found = config("abc", "containerd", text, 1 << 21).unwrap().container;
        assert_eq!((found.privileged, found.host_network), (Some(true), true));
        assert_eq!(found.seccomp.as_deref(), Some("unconfined"));
        assert_eq!(config("abc", "x", b"{}", WHOLE), None);
        assert_eq!(config("abc", "x", b"nonsense", WHOLE), None);
    }

    #[test]
    fn podmans_names() {
        let text = br#"[{"id":"aa","names":["web"],"image":"sha","metadata":"{\"image-name\":\"docker.io/library/nginx:1\",\"name\":\"web\"}"},{"names":["x"]},{"id":"bb"}]"#;
        assert_eq!(
            podman_names(text),
            [
                ("aa".to_owned(), Some("web".to_owned()), Some("docker.io/library/nginx:1".to_owned())),
                ("bb".to_owned(), None, None)
            ]
        );
        assert_eq!(podman_names(b"{"), []);
    }
}
