//! The servers that a case file can name, and how each is started.
//!
//! Real ones keep all they write in the host's directory and in its /run. All of them end with the lab.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::pki::Authority;
use crate::replay::{Acceptor, Recording, TlsShape};
use crate::support::{Background, Host, Lab, dockerd, finish, run, runtime, wait_until};

/// A server on one host. Its ports are where it listens, usual or not.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Server {
    /// Publishes the host name `NAME.local`.
    Avahi {
        name: String,
        shows: AvahiShows,
    },
    /// With `publish`, a container `web` that serves HTTP on port 80, published on that port of the host; with
    /// `privileged`, another one that is `boss`.
    Docker {
        port: u16,
        guard: DockerGuard,
        publish: Option<u16>,
        privileged: Option<u16>,
        /// dockerd holds the ports itself.
        #[serde(default)]
        without_proxy: bool,
    },
    Etcd {
        port: u16,
        guard: EtcdGuard,
    },
    /// A recorded component: the directory below tests/data/captures and the port it was recorded on.
    Recorded {
        capture: String,
        recorded: u16,
        port: u16,
        layer: Layer,
    },
    /// Accepts and hangs up.
    HangingUp {
        port: u16,
    },
    /// A web server that knows no path.
    NotFound {
        port: u16,
    },
    Prometheus {
        port: u16,
        guard: PrometheusGuard,
    },
    /// Accepts and resets at once.
    Resetting {
        port: u16,
    },
    /// TCP and UDP, port 111.
    Rpcbind,
    /// Accepts and says nothing.
    Silent {
        port: u16,
    },
    Ssh {
        port: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AvahiShows {
    /// One service, `_lab._tcp` on port 4242, with the secret in its text.
    Service,
    /// As service; the host's firewall drops unicast and admits the group, as ufw's stock rules do.
    ServiceToGroup,
    /// Nothing but the name, as Debian's package does.
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerGuard {
    /// Plain HTTP.
    None,
    /// Encrypted, and nobody asks who comes.
    TlsOnly,
    ClientCertificate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EtcdGuard {
    None,
    /// As none, without the JSON gateway: only gRPC.
    NoGateway,
    /// Users and roles, `auth enable`.
    Users,
    ClientCertificate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrometheusGuard {
    None,
    Password,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    Plain,
    Tls,
}

impl Server {
    /// The programs that it needs.
    pub const fn programs(&self) -> &'static [&'static str] {
        match self {
            Self::Avahi { .. } => &["avahi-daemon", "nft"],
            Self::Docker { .. } => &["dockerd", "docker", "docker-proxy", "iptables", "busybox"],
            Self::Etcd { .. } => &["etcd", "etcdctl"],
            Self::Prometheus { .. } => &["prometheus"],
            Self::Rpcbind => &["rpcbind"],
            Self::Ssh { .. } => &["sshd", "ssh-keygen"],
            Self::HangingUp { .. }
            | Self::Recorded { .. }
            | Self::NotFound { .. }
            | Self::Resetting { .. }
            | Self::Silent { .. } => &[],
        }
    }

    /// Starts it on a host of the lab, with `secret` planted where it keeps its data, and waits until it answers.
    pub fn start(&self, lab: &mut Lab, host: u8, secret: &str) {
        let host = lab.host(host);
        // Dropping it ends the server.
        let running: Box<dyn Debug> = match self {
            Self::Avahi { name, shows } => Box::new(avahi(host, name, *shows, secret)),
            Self::Docker { port, guard, publish, privileged, without_proxy } => {
                let shape = DockerShape { publish: *publish, privileged: *privileged, without_proxy: *without_proxy };
                Box::new(docker(host, *port, *guard, shape, secret))
            }
            Self::Etcd { port, guard } => Box::new(etcd(host, *port, *guard, secret)),
            Self::Recorded { capture, recorded, port, layer } => {
                let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures").join(capture);
                let recording = Recording::load(&directory, *recorded, secret);
                match layer {
                    Layer::Plain => Box::new(Acceptor::plain(host, *port, recording)),
                    Layer::Tls => {
                        Box::new(Acceptor::tls(host, *port, recording, &TlsShape::load(&directory, *recorded)))
                    }
                }
            }
            Self::HangingUp { port } => Box::new(Acceptor::hanging_up(host, *port)),
            Self::NotFound { port } => Box::new(Acceptor::saying(
                &host.namespace,
                *port,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\nConnection: close\r\n\r\nnot found\n",
            )),
            Self::Prometheus { port, guard } => Box::new(prometheus(host, *port, *guard, secret)),
            Self::Resetting { port } => Box::new(Acceptor::resetting(host, *port)),
            Self::Rpcbind => Box::new(rpcbind(host)),
            Self::Silent { port } => Box::new(Acceptor::silent(host, *port)),
            Self::Ssh { port } => Box::new(sshd(host, *port)),
        };
        lab.keep(running);
    }
}

fn avahi(host: &Host, name: &str, shows: AvahiShows, secret: &str) -> Background {
    let directory = host.directory.join("avahi");
    let services = directory.join("services");
    fs::create_dir_all(&services).unwrap();
    let configuration = directory.join("avahi-daemon.conf");
    // As Debian has it, but without the machine's own message bus.
    fs::write(
        &configuration,
        format!("[server]\nhost-name={name}\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=no\n[publish]\npublish-hinfo=no\npublish-workstation=no\n"),
    )
    .unwrap();
    if shows != AvahiShows::Name {
        fs::write(
            services.join("lab.service"),
            format!(
                "<?xml version=\"1.0\" standalone='no'?><!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
                 <service-group><name>lab door of {name}</name><service><type>_lab._tcp</type><port>4242</port>\
                 <txt-record>token={secret}</txt-record></service></service-group>\n"
            ),
        )
        .unwrap();
    }
    if shows == AvahiShows::ServiceToGroup {
        let rules = format!(
            "add table inet lab; add chain inet lab input {{ type filter hook input priority 0; }}; \
             add rule inet lab input ip daddr {} udp dport 5353 drop; add rule inet lab input ip6 daddr {} udp dport 5353 drop",
            host.address(),
            host.address6()
        );
        finish(host.namespace.command("nft").arg(rules));
    }
    finish(host.command("mount").arg("--bind").arg(&services).arg("/etc/avahi/services"));
    let mut command = host.command("avahi-daemon");
    command.args(["--no-drop-root", "--no-chroot", "--no-rlimits", "-f"]).arg(&configuration);
    let mut process = Background::start("avahi", &host.directory, &mut command);
    process.wait_until("established service", |output| {
        output.contains("Server startup complete")
            && (shows == AvahiShows::Name || output.contains("successfully established"))
    });
    process
}

/// What it publishes, and how.
#[derive(Clone, Copy, Debug)]
struct DockerShape {
    publish: Option<u16>,
    privileged: Option<u16>,
    without_proxy: bool,
}

fn docker(host: &Host, port: u16, guard: DockerGuard, shape: DockerShape, secret: &str) -> Background {
    let directory = host.directory.join("docker");
    let mut command = dockerd(host);
    command.args(["-H", "unix:///run/docker.sock", "-H", &format!("tcp://[::]:{port}")]);
    if shape.without_proxy {
        command.arg("--userland-proxy=false");
    }
    if shape.publish.is_none() {
        // Only the API is wanted.
        command.args(["--iptables=false", "--bridge=none"]);
    }
    if shape.privileged.is_some() {
        let runtime = runtime(&directory);
        command.arg("--add-runtime").arg(format!("lab={}", runtime.display())).args(["--default-runtime", "lab"]);
    }
    if guard == DockerGuard::None {
        command.arg("--tls=false");
    } else {
        let names = host.addresses().map(|address| address.to_string());
        let files = Authority::new("docker-ca").server("docker", &names).write(&directory);
        command.arg(if guard == DockerGuard::TlsOnly { "--tlsverify=false" } else { "--tlsverify" }).arg("--tls");
        command.arg("--tlscacert").arg(files.authority).arg("--tlscert").arg(files.certificate);
        command.arg("--tlskey").arg(files.key);
    }
    let mut process = Background::start("docker", &host.directory, &mut command);
    process.wait_until("API", |output| output.contains("API listen on [::]:"));
    let Some(published) = shape.publish else { return process };
    let image = busybox_root(&directory);
    let docker = |arguments: &[&str]| finish(host.command("docker").args(arguments));
    docker(&["import", &image, "lab/web"]);
    let environment = format!("DB_PASSWORD={secret}");
    let containers = [("web", Some(published), None), ("boss", shape.privileged, Some("--privileged"))];
    for (name, published, option) in containers {
        let Some(published) = published else { continue };
        let publish = format!("{published}:80");
        // httpd as process 1 does not heed SIGTERM, and the engine would wait 10 s for it.
        let mut arguments =
            vec!["run", "-d", "--stop-signal", "KILL", "--name", name, "-p", &publish, "-e", &environment];
        arguments.extend(option);
        arguments.extend(["lab/web", "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]);
        docker(&arguments);
        wait_until("published port", Duration::from_secs(20), || host.listens("tcp", published));
    }
    process
}

/// A root file system with nothing but busybox, as a tar file.
pub fn busybox_root(directory: &Path) -> String {
    let root = directory.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("www")).unwrap();
    fs::write(root.join("www/index.html"), "lab\n").unwrap();
    run("sh", &["-c", "cp \"$(command -v busybox)\" \"$0/bin/busybox\"", &root.display().to_string()]);
    let tar = directory.join("root.tar").display().to_string();
    run("tar", &["-C", &root.display().to_string(), "-cf", &tar, "."]);
    tar
}

fn etcd(host: &Host, port: u16, guard: EtcdGuard, secret: &str) -> Background {
    let tls = guard == EtcdGuard::ClientCertificate;
    let scheme = if tls { "https" } else { "http" };
    let directory = host.directory.join(format!("etcd-{port}"));
    fs::create_dir(&directory).unwrap();
    let peer = format!("http://127.0.0.1:{}", port + 1);
    let client = format!("{scheme}://[::]:{port}");
    let advertised = format!("{scheme}://{}:{port}", host.address());
    let mut command = host.command("etcd");
    command.arg("--data-dir").arg(directory.join("data")).args(["--name", "lab", "--initial-cluster"]);
    command.arg(format!("lab={peer}"));
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &advertised]);
    if guard == EtcdGuard::NoGateway {
        command.arg("--enable-grpc-gateway=false");
    }
    let names = ["127.0.0.1".to_owned(), host.address().to_string(), host.address6().to_string()];
    let files = tls.then(|| Authority::new("etcd-ca").server("etcd", &names).write(&directory));
    if let Some(files) = &files {
        command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&files.authority);
        command.arg("--cert-file").arg(&files.certificate).arg("--key-file").arg(&files.key);
    }
    let mut process = Background::start(&format!("etcd-{port}"), &host.directory, &mut command);
    process.wait_until("client port", |output| output.contains("ready to serve client requests"));

    let etcdctl = |words: &[&str]| {
        let mut command = host.command("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={scheme}://127.0.0.1:{port}"));
        if let Some(files) = &files {
            command.arg("--cacert").arg(&files.authority).arg("--cert").arg(&files.certificate);
            command.arg("--key").arg(&files.key);
        }
        finish(command.args(words))
    };
    etcdctl(&["put", "/registry/secrets/default/db", secret]);
    if guard == EtcdGuard::Users {
        etcdctl(&["user", "add", "root:lab-password"]);
        etcdctl(&["user", "grant-role", "root", "root"]);
        etcdctl(&["auth", "enable"]);
    }
    // What it keeps goes with the lab.
    process.killed_at_once()
}

fn prometheus(host: &Host, port: u16, guard: PrometheusGuard, secret: &str) -> Background {
    let directory = host.directory.join(format!("prometheus-{port}"));
    fs::create_dir(&directory).unwrap();
    let configuration = directory.join("prometheus.yml");
    // A token in a target's parameters: the configuration and target pages show it.
    fs::write(
        &configuration,
        format!(
            "scrape_configs:\n  - job_name: lab\n    params: {{ token: ['{secret}'] }}\n    static_configs:\n      - \
             targets: ['127.0.0.1:{port}']\n"
        ),
    )
    .unwrap();
    let mut command = host.command("prometheus");
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
    command.arg(format!("--web.listen-address=[::]:{port}"));
    if guard == PrometheusGuard::Password {
        let web = directory.join("web.yml");
        // bcrypt of `lab-password`.
        fs::write(&web, "basic_auth_users:\n  lab: $2b$05$abcdefghijklmnopqrstuuL/Ej5MNdcjasz4Sr7bjTMIxZn.WGpgG\n")
            .unwrap();
        command.arg(format!("--web.config.file={}", web.display()));
    }
    let mut process = Background::start(&format!("prometheus-{port}"), &host.directory, &mut command);
    process.wait_until("web server", |output| output.contains("Server is ready to receive web requests"));
    process
}

fn rpcbind(host: &Host) -> Background {
    let mut process = Background::start("rpcbind", &host.directory, host.command("rpcbind").arg("-f"));
    process.wait_until("port 111", |_| host.listens("tcp", 111) && host.listens("udp", 111));
    process
}

fn sshd(host: &Host, port: u16) -> Background {
    let key = host.directory.join("ssh_host_key").display().to_string();
    if !Path::new(&key).exists() {
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]);
    }
    // sshd wants to be called by its full path.
    let program = run("sh", &["-c", "command -v sshd"]);
    let mut command = host.command(program.trim());
    command.args(["-D", "-e", "-f", "/dev/null", "-h", &key, "-p", &port.to_string()]);
    let mut process = Background::start(&format!("ssh-{port}"), &host.directory, &mut command);
    process.wait_until("port", |_| host.listens("tcp", port));
    process.killed_at_once()
}
