"""Sends the packets of a case for real, and compares what becomes of them with what is expected.

Run as a program it is a server or a client in some namespace: `serve PORT...` answers on each port with the address that
was reached and the peer's, `send` (JSON on standard input) sends one packet a line and tells how it was answered.
"""

import errno
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time

# An error that comes while the first SYN is still being sent is only noted by the kernel: the second one, after a
# second, tells.
WAIT = 1.5


def endpoint(text):
    """`198.18.0.2:80/tcp`, `[2001:db8::2]:53/udp`."""
    address, port, transport = re.fullmatch(r"\[?([0-9a-f.:]+?)\]?:(\d+)/(tcp|udp)", text).groups()
    return address, int(port), transport


def check(lab, packets):
    """How many packets are not answered as expected."""
    ports = {endpoint(packet["to"])[1] for packet in packets}
    ports |= {int(packet["delivered"].rsplit(":", 1)[1]) for packet in packets if "delivered" in packet}
    servers = []
    for name, path in lab.namespaces.items():
        command = ["nsenter", f"--net={path}", sys.executable, __file__, "serve", name, *map(str, sorted(ports))]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "ready\n", name
        servers.append(server)
    sent = [packet for packet in packets if "unsent" not in packet]
    for address in sorted({packet["from"] for packet in sent} - {"198.18.0.1", "2001:db8::1"}):
        six = ":" in address
        lab.scanner(f"ip addr add {address}/{128 if six else 32} dev eth0" + (" nodad" if six else ""))
    lines = "".join(json.dumps({"to": packet["to"], "from": packet["from"]}) + "\n" for packet in sent)
    client = subprocess.run(
        ["nsenter", "--net=/run/netns/scanner", sys.executable, __file__, "send"],
        input=lines, stdout=subprocess.PIPE, text=True, check=True,
    )
    wrong = 0
    for packet, line in zip(sent, client.stdout.splitlines(), strict=True):
        answer = json.loads(line)
        differs = answer["path"] != packet["path"]
        if not differs and answer["path"] == "accept" and "delivered" in packet:
            differs = answer["by"] != packet["delivered"]
            if not differs and "namespace" in packet:
                differs = answer["namespace"] != packet["namespace"]
            if differs and lab.proxies and answer["peer"] != answer["own"]:
                # A proxy of the host took it, which asked the container by itself.
                differs = packet["delivered"] != packet["to"].rsplit("/", 1)[0]
        if differs:
            wrong += 1
            print(f"  {packet['from']} to {packet['to']}: {answer}, expected {packet}")
    for server in servers:
        server.terminate()
        server.wait()
    return wrong


def shown(address):
    name = address[0].removeprefix("::ffff:")
    return f"[{name}]:{address[1]}" if ":" in name else f"{name}:{address[1]}"


def serve(name, ports):
    """Ports that are taken already are left to those who have them."""
    selector = selectors.DefaultSelector()
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for family in (socket.AF_INET, socket.AF_INET6):
                server = socket.socket(family, kind)
                try:
                    if family == socket.AF_INET6:
                        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    server.bind(("" if family == socket.AF_INET else "::", port))
                    if kind == socket.SOCK_STREAM:
                        server.listen(64)
                    elif family == socket.AF_INET:
                        server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
                    else:
                        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                except OSError:
                    server.close()
                    continue
                selector.register(server, selectors.EVENT_READ, kind)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            try:
                answer(name, key.fileobj, key.data)
            except OSError:
                pass


def answer(name, server, kind):
    if kind == socket.SOCK_STREAM:
        connection, peer = server.accept()
        text = f"{name} {shown(connection.getsockname())} {shown(peer)}\n"
        connection.sendall(text.encode())
        connection.close()
        return
    _, control, _, peer = server.recvmsg(64, 256)
    data = control[0][2]
    if server.family == socket.AF_INET:
        reached = socket.inet_ntop(socket.AF_INET, data[8:12])
    else:
        reached = socket.inet_ntop(socket.AF_INET6, data[:16])
    text = f"{name} {shown((reached, server.getsockname()[1]))} {shown(peer)}\n"
    # With the control data the answer leaves from the address that was asked.
    server.sendmsg([text.encode()], control, 0, peer)


REJECTED = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EACCES}


def send():
    for line in sys.stdin:
        packet = json.loads(line)
        address, port, transport = endpoint(packet["to"])
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        client = socket.socket(family, socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM)
        client.settimeout(WAIT)
        found = {}
        try:
            client.bind((packet["from"], 0))
            client.connect((address, port))
            if transport == "udp":
                client.send(b"?")
            text = client.recv(512).decode()
            name, reached, peer = text.split()
            own = shown(client.getsockname())
            found = {"path": "accept", "namespace": name, "by": reached, "peer": peer, "own": own}
        except TimeoutError:
            found = {"path": "drop"}
        except OSError as error:
            found = {"path": "reject" if error.errno in REJECTED else "unknown", "error": str(error)}
        except ValueError:
            found = {"path": "accept", "namespace": "?", "by": "?", "peer": "?", "own": "!"}
        client.close()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], [int(port) for port in sys.argv[3:]])
    else:
        send()
