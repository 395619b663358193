"""The namespaces of a golden case: this process is on the host; the scanner and what is behind the host have names."""

import os
import signal
import subprocess
import time


class Lab:
    """`eth0` of the host is 198.18.0.2 and 2001:db8::2; the scanner is 198.18.0.1 and 2001:db8::1 and the way to all else."""

    def __init__(self, directory):
        self.directory = directory
        self.children = []
        # Proxies of a container engine hold published ports.
        self.proxies = False
        # Name of a namespace in the report, and its file.
        self.namespaces = {"host": "/proc/1/ns/net"}
        self.host("hostname golden")
        self.host("ip link set lo up")
        self.host("ip netns add scanner")
        self.host("ip link add eth0 type veth peer name eth0 netns scanner")
        for setting in (
            "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.eth0.accept_dad=0",
            "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", "net.ipv4.conf.all.route_localnet=0",
            "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0",
            "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0",
        ):
            self.host(["sysctl", "-qw", setting])
        self.host("ip addr add 198.18.0.2/24 dev eth0")
        self.host("ip addr add 2001:db8::2/64 dev eth0 nodad")
        self.host("ip link set eth0 up")
        self.scanner("sysctl -qw net.ipv6.conf.all.accept_dad=0")
        self.scanner("ip link set lo up")
        self.scanner("ip addr add 198.18.0.1/24 dev eth0")
        self.scanner("ip addr add 2001:db8::1/64 dev eth0 nodad")
        self.scanner("ip link set eth0 up")
        self.host("ip route add default via 198.18.0.1")
        self.host("ip -6 route add default via 2001:db8::1")
        # What is behind the host is reached by it.
        self.scanner("ip route add default via 198.18.0.2")
        self.scanner("ip -6 route add default via 2001:db8::2")
        # Packets to loopback addresses leave the scanner too, as those of an attacker on the link would.
        self.scanner("sysctl -qw net.ipv4.conf.all.route_localnet=1")
        for words in ("local 127.0.0.0/8", "local 127.0.0.1", "broadcast 127.255.255.255"):
            self.scanner(f"ip route del table local {words} dev lo")
        self.scanner("ip route add 127.0.0.1/32 via 198.18.0.2")
        # Answers to neighbour solicitations may be dropped by the rules.
        for near, far in ((self.host, self.scanner), (self.scanner, self.host)):
            mac = far("ip -o link show eth0").split("link/ether ")[1].split()[0]
            for address in (("198.18.0.1", "2001:db8::1") if near == self.host else ("198.18.0.2", "2001:db8::2")):
                near(f"ip neigh replace {address} lladdr {mac} dev eth0 nud permanent")

    def host(self, command, **options):
        """Runs a command to its end; its output."""
        words = command.split() if isinstance(command, str) else command
        done = subprocess.run(words, capture_output=True, text=True, **options)
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def scanner(self, command):
        return self.in_namespace("/run/netns/scanner", command)

    def in_namespace(self, path, command):
        words = command.split() if isinstance(command, str) else command
        return self.host(["nsenter", f"--net={path}", *words])

    def start(self, command, ready, **options):
        """Starts a server; `ready` tells when it is."""
        log = open(os.path.join(self.directory, f"{len(self.children)}.log"), "w+")
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
        self.children.append(child)
        for _ in range(600):
            log.seek(0)
            text = log.read()
            if ready(text):
                return child
            if child.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"{command}: not ready\n{text}")

    def bridge(self, name, *addresses):
        self.host(f"ip link add {name} type bridge")
        for address in addresses:
            self.host(f"ip addr add {address} dev {name}" + (" nodad" if ":" in address else ""))
        self.host(f"ip link set {name} up")

    def behind(self, name, bridge, address, gateway):
        """A namespace on a bridge of the host: a container or a pod."""
        self.host(f"ip netns add {name}")
        self.namespaces[name] = f"/run/netns/{name}"
        self.host(f"ip link add v-{name} type veth peer name eth0 netns {name}")
        self.host(f"ip link set v-{name} master {bridge} up")
        for words in ("link set lo up", f"addr add {address} dev eth0", "link set eth0 up", f"route add default via {gateway}"):
            self.in_namespace(self.namespaces[name], f"ip {words}")

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def busybox(self):
        """A root file system with nothing but busybox, as a tar file."""
        root = os.path.join(self.directory, "root")
        os.makedirs(os.path.join(root, "bin"))
        self.host(["sh", "-c", f"cp $(command -v busybox) {root}/bin/busybox"])
        tar = os.path.join(self.directory, "root.tar")
        self.host(["tar", "-C", root, "-cf", tar, "."])
        return tar

    def end(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
