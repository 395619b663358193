//! The definitions that are built into the binary, sorted by name. A test holds this table against `probes/`.

macro_rules! definitions {
    ($($name:literal),* $(,)?) => {
        /// File name and text.
        pub(super) static BUILTIN: &[(&str, &str)] =
            &[$((concat!($name, ".toml"), include_str!(concat!("../../probes/", $name, ".toml")))),*];
    };
}

definitions![
    "avahi",
    "cadvisor",
    "consul",
    "docker",
    "etcd-metrics",
    "etcd-peer",
    "etcd",
    "grafana",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kubernetes-dashboard",
    "podman",
    "portainer",
    "prometheus",
    "rpcbind",
    "ssh",
    "traefik",
    "weave-scope",
];
