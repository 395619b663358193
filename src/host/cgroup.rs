//! A process's systemd unit and container, from `/proc/PID/cgroup` (cgroups(7), version 1 and 2). Pure.
//!
//! Cannot see: engines that put containers into cgroups of free choice (`--cgroup-parent` keeps the last part, so that
//! is fine; runc by hand does not). Where containers nest, the outermost is named: only its engine is this host's.

/// What the cgroup path of a process tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// `nginx.service`, `session-3.scope`.
    pub unit: Option<String>,
    pub container: Option<ContainerRef>,
}

/// A container as its cgroup names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerRef {
    /// Full id (64 hexadecimal digits), for lxc the name.
    pub id: String,
    /// `docker`, `podman`, `containerd`, `crio`, `lxc`.
    pub engine: &'static str,
}

/// Reads the content of `/proc/PID/cgroup`: lines of `HIERARCHY:CONTROLLERS:PATH`.
pub fn parse(text: &str) -> Membership {
    let mut membership = Membership::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let found = from_path(path);
        if membership.container.is_none() {
            membership.container = found.container;
        }
        // Units exist in systemd's own hierarchy (version 1) and in the unified one; the others may lag behind.
        if membership.unit.is_none() && (controllers.is_empty() || controllers == "name=systemd") {
            membership.unit = found.unit;
        }
    }
    membership
}

/// Reads one cgroup path, `/system.slice/nginx.service`.
pub fn from_path(path: &str) -> Membership {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let container = segments.iter().enumerate().find_map(|(index, segment)| {
        let parent = index.checked_sub(1).map_or("", |before| segments[before]);
        container(parent, segment)
    });
    let unit = segments.iter().rev().find(|segment| is_unit(segment)).map(|segment| (*segment).to_owned());
    Membership { unit, container }
}

fn container(parent: &str, segment: &str) -> Option<ContainerRef> {
    let reference = |id: &str, engine| Some(ContainerRef { id: id.to_owned(), engine });
    if let Some(name) = segment.strip_prefix("lxc.payload.") {
        return reference(name, "lxc");
    }
    if matches!(parent, "lxc" | "lxc.payload") && !segment.starts_with("lxc.") {
        return reference(segment, "lxc");
    }
    // `SLICE:PREFIX:ID` is how runc names a scope that it makes below a slice without systemd.
    let name = segment.rsplit(':').next().unwrap_or(segment);
    let name = name.strip_suffix(".scope").unwrap_or(name);
    if !is_id(name.rsplit('-').next().unwrap_or(name)) {
        return None;
    }
    let (prefix, id) = name.rsplit_once('-').unwrap_or(("", name));
    let prefix = match segment.rsplit(':').nth(1) {
        Some(named) if prefix.is_empty() => named,
        _ => prefix,
    };
    let engine = match prefix {
        "docker" => "docker",
        "libpod" => "podman",
        "crio" => "crio",
        "cri-containerd" | "nerdctl" => "containerd",
        "" => match parent {
            "docker" => "docker",
            "libpod_parent" => "podman",
            _ => "containerd",
        },
        // `libpod-conmon-ID`, `crio-conmon-ID`: the monitor outside the container.
        _ => return None,
    };
    reference(id, engine)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_unit(segment: &str) -> bool {
    let Some((stem, kind)) = segment.rsplit_once('.') else { return false };
    match kind {
        "service" | "socket" | "mount" | "swap" => true,
        "scope" => !is_id(stem.rsplit('-').next().unwrap_or(stem)),
        _ => false,
    }
}

/// SHA-256 in hexadecimal: what Docker, Podman, containerd and CRI-O use as container id.
const ID_LENGTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e1c2d5b6a79880011223344556677889900aabbccddeeff00112233445566";

    #[test]
    fn engines_by_the_forms_that_they_write() {
        for (path, engine) in [
            (format!("/docker/{ID}"), "docker"),
            (format!("/system.slice/docker-{ID}.scope"), "docker"),
            (format!("/machine.slice/libpod-{ID}.scope"), "podman"),
            (format!("/machine.slice/libpod-{ID}.scope/container"), "podman"),
            (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"), "podman"),
            (format!("/libpod_parent/{ID}"), "podman"),
            (format!("/kubepods/burstable/pod1b9b/{ID}"), "containerd"),
            (format!("/kubepods.slice/kubepods-pod1b9b.slice/cri-containerd-{ID}.scope"), "containerd"),
            (format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"), "containerd"),
            (format!("/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"), "crio"),
            (format!("/default/{ID}"), "containerd"),
        ] {
            let container = from_path(&path).container;
            assert_eq!(container, Some(ContainerRef { id: ID.to_owned(), engine }), "{path}");
        }
        for path in ["/lxc/web", "/lxc.payload.web", "/lxc.payload/web/init.scope"] {
            assert_eq!(from_path(path).container, Some(ContainerRef { id: "web".to_owned(), engine: "lxc" }), "{path}");
        }
    }

    #[test]
    fn monitors_and_plain_units_are_no_containers() {
        for path in [
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/kubepods.slice/crio-conmon-{ID}.scope"),
            "/lxc.monitor.web".to_owned(),
            "/system.slice/docker.service".to_owned(),
            "/".to_owned(),
            String::new(),
        ] {
            assert_eq!(from_path(&path).container, None, "{path}");
        }
    }

    #[test]
    fn units_are_the_innermost_service() {
        for (path, unit) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service", Some("syncthing.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/init.scope", Some("init.scope")),
            ("/system.slice", None),
            ("/", None),
        ] {
            assert_eq!(from_path(path).unit.as_deref(), unit, "{path}");
        }
        assert_eq!(from_path(&format!("/system.slice/docker-{ID}.scope")).unit, None);
    }

    #[test]
    fn version_1_takes_the_unit_from_systemds_hierarchy() {
        let text = format!("12:pids:/docker/{ID}\n1:name=systemd:/system.slice/x.service\n0::/\n");
        let found = parse(&text);
        assert_eq!(found.unit.as_deref(), Some("x.service"));
        assert_eq!(found.container.map(|container| container.id), Some(ID.to_owned()));
        assert_eq!(parse("4:cpu:/system.slice/lagging.service\n").unit, None);
        assert_eq!(parse("junk\n\n:::\n"), Membership::default());
    }
}
