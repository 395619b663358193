"""What each golden case is made of: the real tool where it can be installed, else its rules loaded as they are known."""

import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))

# An administrator's own rules: answers, loopback and ssh come in.
GUARD = """table inet guard {
 chain in {
  type filter hook input priority filter; policy drop;
  ct state established,related accept
  iifname lo accept
  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  tcp dport 22 accept
  tcp dport 23 reject with tcp reset
 }
}
"""


def load(lab, tool, name):
    with open(os.path.join(HERE, name)) as file:
        lab.host([tool, "-n"] if tool.endswith("restore") else [tool, "-f", "-"], stdin=file)


def guard(lab):
    lab.host(["nft", "-f", lab.file("guard.nft", GUARD)])


def dockerd(lab, *publish):
    """Real dockerd with a container a name: (name, options of docker run)."""
    environment = dict(os.environ, XTABLES_LOCKFILE=os.path.join(lab.directory, "xtables.lock"))
    words = ["dockerd", "-H", "unix:///run/docker.sock"]
    for option in ("data-root", "exec-root", "pidfile"):
        words += [f"--{option}", os.path.join(lab.directory, f"docker-{option}")]
    lab.start(words, lambda text: "API listen on" in text, env=environment)
    lab.host(["docker", "import", lab.busybox(), "lab/web"])
    for name, options in publish:
        lab.host(["docker", "run", "-d", "--stop-signal", "KILL", "--name", name, *options, "lab/web", "/bin/busybox",
                  "sleep", "600"])
        pid = lab.host(["docker", "inspect", "-f", "{{.State.Pid}}", name]).strip()
        lab.namespaces[f"container:{name}"] = f"/proc/{pid}/ns/net"
    lab.proxies = True


WEB = ("web", ["-p", "8080:80", "-p", "5353:53/udp"])
DATABASE = ("db", ["-p", "127.0.0.1:5432:5432"])
HIDDEN = ("hidden", [])


def docker_20(lab):
    for rule in ("-P INPUT DROP", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -i lo -j ACCEPT",
                 "-A INPUT -p tcp --dport 22 -j ACCEPT", "-A INPUT -p tcp --dport 8080 -j DROP"):
        lab.host(f"iptables -w 5 {rule}")
    dockerd(lab, WEB, DATABASE, HIDDEN)


def docker_networks(lab):
    lab.host("sysctl -qw net.ipv4.ip_forward=1")
    lab.bridge("docker0", "172.17.0.1/16")
    lab.bridge("br-web", "198.19.44.1/24")
    lab.behind("web", "br-web", "198.19.44.2/24", "198.19.44.1")
    lab.behind("db", "br-web", "198.19.44.3/24", "198.19.44.1")


def docker_28(lab):
    docker_networks(lab)
    load(lab, "iptables-restore", "docker-28/rules.txt")
    guard(lab)


def docker_29(lab):
    docker_networks(lab)
    load(lab, "nft", "../nft/docker-29.nft")
    guard(lab)


def cluster(lab, prefix, pods):
    """Pods on a bridge, a name and the last number of the address each; services lead to them."""
    lab.host("sysctl -qw net.ipv4.ip_forward=1")
    lab.bridge("cni0", f"{prefix}.1/24")
    for name, number in pods.items():
        lab.behind(name, "cni0", f"{prefix}.{number}/24", f"{prefix}.1")


def kube_proxy_iptables(lab):
    cluster(lab, "10.244.0", {"cart-a": 5, "cart-b": 6, "dns": 7})
    lab.host("sysctl -qw net.ipv4.conf.all.route_localnet=1")
    load(lab, "iptables-restore", "kube-proxy-iptables/rules.txt")


def kube_proxy_nft(lab):
    cluster(lab, "10.244.0", {"cart-a": 5, "cart-b": 6, "dns": 7})
    load(lab, "nft", "../nft/kube-proxy.nft")


def k3s(lab):
    cluster(lab, "10.42.0", {"traefik": 8, "db": 9})
    for words in ("create KUBE-SRC-AAAA hash:ip", "add KUBE-SRC-AAAA 203.0.113.7", "create KUBE-DST-BBBB hash:ip",
                  "add KUBE-DST-BBBB 10.42.0.9"):
        lab.host(f"ipset {words}")
    load(lab, "iptables-restore", "k3s/rules.txt")


def ufw_files(lab, after=""):
    """ufw keeps its state in /etc: here in files of the case's own."""
    etc = os.path.join(lab.directory, "ufw")
    lab.host(["sh", "-c", f"mkdir -p {etc}/applications.d && cp -L /usr/share/ufw/iptables/*.rules "
              f"/usr/share/ufw/ufw.conf /etc/ufw/sysctl.conf {etc}/ && cp /etc/default/ufw {lab.directory}/default-ufw"])
    with open(os.path.join(etc, "after.rules"), "a") as file:
        file.write(after)
    lab.host(f"mount --bind {etc} /etc/ufw")
    lab.host(f"mount --bind {lab.directory}/default-ufw /etc/default/ufw")


def ufw(lab):
    lab.host("sysctl -qw net.ipv4.ip_forward=1")
    lab.bridge("inner", "198.19.7.1/24")
    lab.behind("web", "inner", "198.19.7.2/24", "198.19.7.1")
    ufw_files(lab)
    for rule in ("allow 22/tcp", "reject 23/tcp", "deny 25", "allow from 192.168.0.0/16 to any port 5432 proto tcp",
                 "limit 2222/tcp", "allow 6000:6007/tcp", "allow in on eth0 to any port 53 proto udp",
                 "route allow proto tcp from 203.0.113.0/24 to any port 81", "route reject proto tcp to 198.19.7.2 port 82"):
        lab.host(f"ufw {rule}")
    lab.host("ufw --force enable")


def ufw_docker(lab):
    with open(os.path.join(HERE, "ufw-docker", "after.rules")) as file:
        ufw_files(lab, file.read())
    lab.host("ufw allow 22/tcp")
    lab.host("ufw route allow proto tcp from 203.0.113.0/24 to any port 80")
    lab.host("ufw --force enable")
    dockerd(lab, WEB, DATABASE, HIDDEN)


BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
<allow send_requested_reply="true"/><allow receive_requested_reply="true"/></policy></busconfig>
"""


def firewalld(lab):
    bus = os.path.join(lab.directory, "bus")
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={bus}"
    lab.start(["dbus-daemon", f"--config-file={lab.file('bus.conf', BUS % bus)}", "--nofork", "--nopidfile"],
              lambda _: os.path.exists(bus))
    configuration = os.path.join(lab.directory, "firewalld")
    os.makedirs(configuration)
    lab.start(["firewalld", "--nofork", "--nopid", "--system-config", configuration, "--log-target=file", "--log-file",
               os.path.join(lab.directory, "firewalld.log")], lambda _: running())
    dockerd(lab, WEB, DATABASE, HIDDEN)
    for words in (["--zone=public", "--change-interface=eth0"], ["--zone=public", "--add-port=8443/tcp"],
                  ["--zone=public", "--add-forward-port=port=2022:proto=tcp:toport=22"],
                  ["--zone=public", "--add-forward-port=port=7000:proto=tcp:toport=80:toaddr=172.17.0.4"],
                  ["--zone=public", "--add-rich-rule=rule family=ipv4 source address=203.0.113.0/24 port port=9090 "
                   "protocol=tcp accept"],
                  ["--zone=public", "--add-rich-rule=rule family=ipv4 source address=192.0.2.0/24 port port=8443 protocol=tcp "
                   "reject"],
                  ["--zone=drop", "--add-source=198.51.100.0/24"], ["--zone=trusted", "--add-source=192.168.7.0/24"]):
        lab.host(["firewall-cmd", *words])


def running():
    return subprocess.run(["firewall-cmd", "--state"], capture_output=True).returncode == 0


def netavark(lab):
    guard(lab)
    podman = ["podman", "--runtime", "runc", "--cgroup-manager=cgroupfs", "--events-backend=file"]
    for option in ("root", "runroot", "tmpdir", "network-config-dir"):
        path = os.path.join(lab.directory, f"podman-{option}")
        os.makedirs(path)
        podman += [f"--{option}", path]
    lab.host([*podman, "import", lab.busybox(), "lab/web"])
    for name, address, publish in (("web", "10.88.0.10", ["-p", "8080:80", "-p", "5353:53/udp"]),
                                   ("db", "10.88.0.11", ["-p", "127.0.0.1:5432:5432"]),
                                   ("range", "10.88.0.12", ["-p", "198.18.0.2:9000-9002:9000-9002"])):
        lab.host([*podman, "run", "-d", "--name", name, "--ip", address, "--ulimit", "nofile=1024:1024", "--ulimit",
                  "nproc=1024:1024", *publish, "lab/web", "/bin/busybox", "sleep", "600"])
        pid = lab.host([*podman, "inspect", "-f", "{{.State.Pid}}", name]).strip()
        lab.namespaces[f"container:{name}"] = f"/proc/{pid}/ns/net"
    lab.proxies = True


CASES = {
    "docker-20": docker_20,
    "docker-28": docker_28,
    "docker-29": docker_29,
    "firewalld": firewalld,
    "k3s": k3s,
    "kube-proxy-iptables": kube_proxy_iptables,
    "kube-proxy-nft": kube_proxy_nft,
    "netavark": netavark,
    "ufw": ufw,
    "ufw-docker": ufw_docker,
}
