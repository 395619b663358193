//! Machines with container engines: Docker, Podman with and without root, containerd alone.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Background, Host, LIMITS, Lab, Podman, RootlessPodman, dockerd, finish, run, runtime, wait_until,
};
use crate::view::{CANARY, View};

/// A root file system with nothing but busybox.
fn root(host: &Host) -> PathBuf {
    let root = host.directory.join("root");
    for folder in ["bin", "proc", "sys", "dev", "etc", "run", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    run("sh", &["-c", "cp \"$(command -v busybox)\" \"$0/bin/busybox\"", &root.display().to_string()]);
    root
}

/// The same as a tar file, which the engines import as an image.
fn image(host: &Host) -> String {
    let tar = host.directory.join("root.tar").display().to_string();
    run("tar", &["-C", &root(host).display().to_string(), "-cf", &tar, "."]);
    tar
}

fn httpd(port: &str) -> [&str; 6] {
    ["/bin/busybox", "httpd", "-f", "-p", port, "-h"]
}

fn machine(what: &str, programs: &[&str]) -> Option<Lab> {
    let mut lab = Lab::new(what, programs)?;
    lab.add_host(10);
    Some(lab)
}

#[test]
fn docker() {
    let Some(lab) = machine("docker", &["dockerd", "docker", "docker-proxy", "iptables", "busybox"]) else { return };
    let host = lab.host(10);
    let mut command = dockerd(host);
    command
        .arg("--add-runtime")
        .arg(format!("lab={}", runtime(&host.directory).display()))
        .args(["--default-runtime", "lab"]);
    let mut engine = Background::start("dockerd", &host.directory, command.args(["-H", "unix:///run/docker.sock"]));
    engine.wait_until("API", |output| output.contains("API listen on"));
    let docker = |arguments: &[&str]| finish(host.command("docker").args(arguments));
    docker(&["import", &image(host), "lab/web"]);
    let environment = format!("DB_PASSWORD={CANARY}");
    for (name, options, port) in [
        ("web", &["-p", "8080:80", "--security-opt", "no-new-privileges", "--cap-add", "NET_ADMIN"][..], "80"),
        ("hostly", &["--network", "host"], "8090"),
        ("boss", &["--privileged"], "81"),
        ("keys", &["-v", "/run/docker.sock:/var/run/docker.sock:ro"], "82"),
    ] {
        let common = ["run", "-d", "--stop-signal", "KILL", "--name", name, "-e", &environment];
        docker(&[&common[..], options, &["lab/web"], &httpd(port), &["/", "-r", CANARY]].concat());
    }
    wait_until("docker-proxy", Duration::from_secs(20), || host.listens("tcp", 8080) && host.listens("tcp", 8090));

    let view = View::by_root(host);
    let proxy = view.listener(8080, "host");
    assert_eq!((proxy["process"].as_str(), proxy["container"].as_str()), (Some("docker-proxy"), Some("web")));
    let inside = view.listener(80, "container:web");
    assert_eq!((inside["process"].as_str(), inside["container"].as_str()), (Some("busybox"), Some("web")));
    assert_eq!(view.listener(8090, "host")["container"], "hostly");
    for (port, name) in [(81, "boss"), (82, "keys")] {
        assert_eq!(view.listener(port, &format!("container:{name}"))["container"], name);
    }
    let web = view.container("web");
    assert_eq!((web["image"].as_str(), web["privileged"].as_bool()), (Some("lab/web"), Some(false)));
    assert_eq!((&web["added_capabilities"], &web["no_new_privileges"]), (&json!(["net_admin"]), &json!(true)));
    assert_eq!(web["seccomp"], "default");
    assert_eq!(view.container("hostly")["host_network"], true);
    let boss = view.container("boss");
    assert_eq!((&boss["privileged"], &boss["added_capabilities"]), (&json!(true), &json!(["all"])));
    assert_eq!(view.container("keys")["engine_sockets"], json!(["/run/docker.sock"]));
    let published = view.list("published").iter().find(|one| one["host_port"] == 8080).unwrap();
    assert_eq!((published["container"].as_str(), published["container_port"].as_u64()), (Some("web"), Some(80)));
    // The bridge, and the other end of each container's veth pair.
    let network = &view.namespace("host")["network"];
    let interfaces = network["interfaces"].as_array().unwrap();
    assert!(interfaces.iter().any(|one| one["name"] == "docker0" && one["kind"] == "bridge"));
    let peers: Vec<&str> = interfaces
        .iter()
        .filter(|one| one["master"] == "docker0")
        .filter_map(|one| one["peer_namespace"].as_str())
        .collect();
    for name in ["container:web", "container:boss", "container:keys"] {
        assert!(peers.contains(&name), "{peers:?}");
    }
    let rules: Vec<&str> =
        network["firewall"]["iptables"].as_array().unwrap().iter().filter_map(|one| one["text"].as_str()).collect();
    assert!(rules.iter().any(|text| text.contains("--dport 8080 -j DNAT --to-destination 172.17.0.")), "{rules:?}");

    let view = View::by_nobody(host);
    assert!(view.listener(8080, "host")["process"].is_null());
    view.assert_gap("containers and published ports of the engine at /run/docker.sock");
    view.assert_gap("the network namespaces of");
    view.assert_gap("the owners of");
    docker(&["rm", "-f", "web", "hostly", "boss", "keys"]);
    drop(engine);
}

#[test]
fn containerd_without_docker() {
    let Some(lab) = machine("containerd", &["containerd", "ctr", "runc", "busybox"]) else { return };
    let host = lab.host(10);
    let data = host.directory.join("containerd");
    let mut command = host.command("containerd");
    command.arg("--root").arg(&data).args([
        "--state",
        "/run/containerd",
        "--address",
        "/run/containerd/containerd.sock",
    ]);
    let mut engine = Background::start("containerd", &host.directory, &mut command);
    engine.wait_until("socket", |output| output.contains("containerd successfully booted"));
    let rootfs = root(host).display().to_string();
    let ctr = |arguments: &[&str]| finish(host.command("ctr").args(["-n", "lab"]).args(arguments));
    let start = ["run", "-d", "--env", &format!("TOKEN={CANARY}"), "--rootfs"];
    ctr(&[&start[..], &[&rootfs, "web"], &httpd("80"), &["/"]].concat());
    ctr(&[&start[..], &["--net-host", "--privileged", &rootfs, "hostly"], &httpd("8090"), &["/"]].concat());
    wait_until("httpd", Duration::from_secs(20), || host.listens("tcp", 8090));

    let view = View::by_root(host);
    assert_eq!(view.listener(80, "container:web")["container"], "web");
    let (web, hostly) = (view.container("web"), view.container("hostly"));
    assert_eq!((web["engine"].as_str(), web["host_network"].as_bool()), (Some("containerd"), Some(false)));
    assert_eq!((web["privileged"].as_bool(), hostly["privileged"].as_bool()), (Some(false), Some(true)));
    assert_eq!(hostly["host_network"], true);
    assert_eq!(hostly["seccomp"], "unconfined");

    let view = View::by_nobody(host);
    assert!(view.listener(8090, "host")["process"].is_null());
    view.assert_gap("the network namespaces of");
    for name in ["web", "hostly"] {
        ctr(&["task", "kill", "-s", "KILL", name]);
    }
    wait_until("end", Duration::from_secs(20), || !host.listens("tcp", 8090));
    drop(engine);
}

#[test]
fn podman_without_its_service() {
    let Some(lab) = machine("podman", &["podman", "conmon", "runc", "iptables", "busybox"]) else { return };
    let host = lab.host(10);
    let engine = Podman::new(host);
    let podman = |arguments: &[&str]| engine.run(arguments);
    podman(&["import", &image(host), "lab/web"]);
    let start = ["run", "-d", "--name", "web", "-p", "8080:80", "--ip", "10.88.0.10", "-e", &format!("TOKEN={CANARY}")];
    podman(&[&start[..], &LIMITS, &["lab/web"], &httpd("80"), &["/"]].concat());

    let view = View::by_root(host);
    let held = view.listener(8080, "host");
    assert_eq!((held["process"].as_str(), held["container"].as_str()), (Some("conmon"), Some("web")));
    assert_eq!(view.inside("web", 80)["process"], "busybox");
    let web = view.container("web");
    assert_eq!((web["engine"].as_str(), web["image"].as_str()), (Some("podman"), Some("localhost/lab/web:latest")));
    assert_eq!((web["privileged"].as_bool(), web["host_network"].as_bool()), (Some(false), Some(false)));
    let view = View::by_nobody(host);
    assert!(view.listener(8080, "host")["process"].is_null());
    view.assert_gap("the owners of");
    podman(&["rm", "-t", "0", "-fa"]);
}

/// A user's own engine: no rule is written, a helper (rootlessport) holds the port on the host.
#[test]
fn podman_of_an_ordinary_user() {
    let programs = ["podman", "conmon", "crun", "slirp4netns", "newuidmap", "busybox", "setpriv"];
    let Some(lab) = machine("rootless podman", &programs) else { return };
    let host = lab.host(10);
    let engine = RootlessPodman::new(host, &image(host));
    let podman = |arguments: &[&str]| engine.run(arguments);
    let says = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    let imported = podman(&["import", RootlessPodman::IMAGE, "lab/web"]);
    let start = ["run", "-d", "--cgroups=disabled"];
    let names = ["--name", "web", "-p", "8080:80", "localhost/lab/web"];
    let started = podman(&[&start[..], &LIMITS, &names, &httpd("80"), &["/"]].concat());
    if !imported.status.success() || !started.status.success() {
        println!("SKIPPED: rootless podman: it does not run here: {} {}", says(&imported), says(&started));
        return;
    }
    wait_until("rootlessport", Duration::from_secs(20), || host.listens("tcp", 8080));

    let view = View::by_root(host);
    let held = view.listener(8080, "host");
    assert_eq!(held["process"].as_str(), Some("rootlessport"), "{held:#}");
    assert_eq!(view.inside("web", 80)["process"], "busybox");
    assert_eq!(held["container"].as_str(), Some("web"), "{held:#}");
    let view = View::by_nobody(host);
    assert!(view.listener(8080, "host")["process"].is_null());
    podman(&["rm", "-t", "0", "-fa"]);
}
