"""A house, its line and the world, in network namespaces: nodes run in them, and every packet on the line is seen."""

from __future__ import annotations

import ctypes
import json
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 40.0
UDP_PORT = 8479
HTTP_PORT = 8480
CLONE_NEWNET = 0x40000000
# linux/if_packet.h
PACKET_OUTGOING = 4
# asm-generic/socket.h, and the two 64-bit halves of its timestamp
SO_TIMESTAMPNS = 35
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def weir() -> Path:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("WEIR", target / "debug" / "weir"))


def wait_for(what: str, holds: Callable[[], object], limit_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.05)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread is in a namespace; sockets made meanwhile stay there."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


class House:
    """The relay's box and another one of the same house behind one modem, whose line leads to the world.

    box 10.77.1.2 --- modem --- world 10.77.3.2 to .19
    desk 10.77.2.2 --/
    """

    BOX, DESK, MODEM, WORLD = "line-box", "line-desk", "line-modem", "line-world"
    RELAY = "10.77.1.2"
    # With `six`: addresses of the Internet, so that nobody there is of the house.
    V6 = "2a0e:77:{}::{}"

    def __init__(self, six: bool = False) -> None:
        self.six = six
        self.nodes: list[Node] = []
        self.scratch = tempfile.TemporaryDirectory(prefix="weir-line-")

    def __enter__(self) -> "House":
        self._remove()
        for name in (self.BOX, self.DESK, self.MODEM, self.WORLD):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for number, name in ((1, self.BOX), (2, self.DESK), (3, self.WORLD)):
            inner = f"m{number}"
            run("ip", "-n", self.MODEM, "link", "add", inner, "type", "veth", "peer", "name", "eth", "netns", name)
            # Datagrams are cut apart before they leave, as a modem sees them.
            for ns, link in ((self.MODEM, inner), (name, "eth")):
                run("ip", "-n", ns, "link", "set", link, "gso_max_segs", "1", "up")
            run("ip", "-n", self.MODEM, "addr", "add", f"10.77.{number}.1/24", "dev", inner)
            run("ip", "-n", name, "addr", "add", f"10.77.{number}.2/24", "dev", "eth")
            run("ip", "-n", name, "route", "add", "default", "via", f"10.77.{number}.1")
        for last in range(3, 20):
            run("ip", "-n", self.WORLD, "addr", "add", f"10.77.3.{last}/24", "dev", "eth")
        run("ip", "netns", "exec", self.MODEM, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        if self.six:
            self._add_six()
        rules = f"""
            table inet count {{
                counter sent {{ }}
                counter received {{ }}
                counter served {{ }}
                chain forward {{
                    type filter hook forward priority 0
                    ip saddr {self.RELAY} udp sport {UDP_PORT} counter name sent
                    ip daddr {self.RELAY} udp dport {UDP_PORT} counter name received
                    ip6 saddr {self.V6.format(1, 2)} udp sport {UDP_PORT} counter name sent
                    ip6 daddr {self.V6.format(1, 2)} udp dport {UDP_PORT} counter name received
                    ip6 saddr {self.V6.format(1, 2)} tcp sport {HTTP_PORT} counter name served
                }}
            }}"""
        subprocess.run(["ip", "netns", "exec", self.MODEM, "nft", "-f", "-"], input=rules, text=True, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
        self._remove()
        self.scratch.cleanup()

    def _remove(self) -> None:
        for name in (self.BOX, self.DESK, self.MODEM, self.WORLD):
            if Path(f"/run/netns/{name}").exists():
                run("ip", "netns", "del", name)

    def _add_six(self) -> None:
        for number, name in ((1, self.BOX), (3, self.WORLD)):
            for ns, link, last in ((self.MODEM, f"m{number}", 1), (name, "eth", 2)):
                run("ip", "-n", ns, "addr", "add", f"{self.V6.format(number, last)}/64", "dev", link, "nodad")
            run("ip", "-n", name, "route", "add", "default", "via", self.V6.format(number, 1))
        for last in range(3, 20):
            run("ip", "-n", self.WORLD, "addr", "add", f"{self.V6.format(3, last)}/64", "dev", "eth", "nodad")
        run("ip", "netns", "exec", self.MODEM, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")

    def _counters(self) -> dict[str, int]:
        listed = json.loads(run("ip", "netns", "exec", self.MODEM, "nft", "-j", "list", "counters"))
        return {it["counter"]["name"]: it["counter"]["bytes"] for it in listed["nftables"] if "counter" in it}

    def counted(self) -> tuple[int, int]:
        """Bytes received and sent by the relay as nft counts them, IP header and all behind it."""
        bytes_of = self._counters()
        return bytes_of["received"], bytes_of["sent"]

    def served(self) -> int:
        """Bytes sent over HTTP to players beyond, headers and all."""
        return self._counters()["served"]

    def at(self, number: int, last: int) -> str:
        """The address of a box: 1 of the relay's network, 3 of the world."""
        return self.V6.format(number, last) if self.six else f"10.77.{number}.{last}"

    def squeeze(self, rate_bps: int, queue_ms: int) -> None:
        """The line to the world is this fast, and its modem has a buffer of so many milliseconds."""
        run(
            *("tc", "-n", self.MODEM, "qdisc", "replace", "dev", "m3", "root", "tbf", "rate", f"{rate_bps}bit"),
            *("burst", "3000", "latency", f"{queue_ms}ms"),
        )

    def path(self, name: str) -> str:
        return str(Path(self.scratch.name) / name)

    def start(self, namespace: str, address: str, *arguments: str) -> "Node":
        node = Node(namespace, address, arguments)
        self.nodes.append(node)
        return node

    def source(self, bitrate_bps: int, *arguments: str) -> "Node":
        """A source of random bytes at 10.77.3.2."""
        run(str(weir()), "keygen", "--out", self.path("stream.key"))
        usual = ("--key", self.path("stream.key"), "--input", "-", "--bitrate", f"{bitrate_bps}bit", "--name", "noise")
        node = self.start(self.WORLD, self.at(3, 2), "source", *usual, *arguments)
        node.feed(bitrate_bps)
        return node

    def relay(self, source: "Node", *arguments: str) -> "Node":
        return self.start(self.BOX, self.at(1, 2), "relay", source.uri(), *arguments)

    def listener(self, number: int, uri: str, *arguments: str) -> "Node":
        """A listener at 10.77.3.(3 + number)."""
        return self.start(self.WORLD, self.at(3, 3 + number), "listen", uri, "--upload-limit", "0", *arguments)


class Node:
    """A running weir. What it writes is counted, its log kept."""

    def __init__(self, namespace: str, address: str, arguments: tuple[str, ...]) -> None:
        self.namespace = namespace
        # As it stands in front of a port.
        self.host = f"[{address}]" if ":" in address else address
        self.home = self.host
        bind = ("--bind", f"{self.host}:{UDP_PORT}")
        if "--http" in arguments:
            # At all addresses: it is asked at the one that is its own alone.
            self.home = "[::1]"
        else:
            bind = (*bind, "--http", f"{self.host}:{HTTP_PORT}")
        if "--http-public" not in arguments and ":" in address:
            bind = (*bind, "--http-public")
        environment = {**os.environ, "WEIR_LOG": "info"}
        environment.pop("STATE_DIRECTORY", None)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, str(weir()), *arguments, *bind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.log, self.heard, self.first_line = "", 0, ""
        threading.Thread(target=self._read_log, daemon=True).start()
        threading.Thread(target=self._read_out, daemon=True).start()
        wait_for(f"{arguments} runs", lambda: ": udp " in self.log or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise RuntimeError(f"{arguments} ended:\n{self.log}")

    def _read_log(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log += line.decode(errors="replace")

    def _read_out(self) -> None:
        assert self.process.stdout
        while data := self.process.stdout.read1(65_536):
            if not self.heard:
                self.first_line = data.decode(errors="replace").split("\n")[0]
            self.heard += len(data)

    def uri(self) -> str:
        """The stream's, of a source: the first line it prints."""
        wait_for("the URI", lambda: self.first_line.startswith("weir://"))
        return self.first_line

    def uri_of(self, source: "Node") -> str:
        """The stream's URI through this node."""
        return re.sub("//[^/]*/", f"//{self.host}:{UDP_PORT}/", source.uri())

    def feed(self, bitrate_bps: int) -> None:
        """Random bytes into its standard input, for ever."""

        def pour() -> None:
            begun, sent = time.monotonic(), 0
            assert self.process.stdin
            try:
                while True:
                    due = int((time.monotonic() - begun) * bitrate_bps / 8) - sent
                    self.process.stdin.write(os.urandom(due))
                    self.process.stdin.flush()
                    sent += due
                    time.sleep(0.02)
            except (BrokenPipeError, ValueError):
                pass

        threading.Thread(target=pour, daemon=True).start()

    def get(self, path: str) -> bytes:
        with inside(self.namespace), urllib.request.urlopen(f"http://{self.home}:{HTTP_PORT}{path}", timeout=10) as answer:
            return answer.read()

    def status(self) -> dict:
        return json.loads(self.get("/status.json"))

    def children(self) -> int:
        """Stripes it sends to others."""
        return sum(peer["stripes_to"] for peer in self.status()["peers"])

    def gaps(self) -> int:
        return sum(stream["gaps_total"] for stream in self.status()["streams"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(5)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Tap:
    """Sees every UDP datagram that leaves the relay's box, with the kernel's time."""

    def __init__(self) -> None:
        with inside(House.BOX):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.seen: list[tuple[float, int]] = []
        self.running = True
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.socket, selectors.EVENT_READ)
        while self.running:
            if not selector.select(0.1):
                continue
            data, extra, _, (device, _, kind, *_rest) = self.socket.recvmsg(64, 64)
            if device != "eth" or kind != PACKET_OUTGOING or len(data) < 24 or data[9] != socket.IPPROTO_UDP:
                continue
            if struct.unpack_from("!H", data, (data[0] & 15) * 4)[0] != UDP_PORT:
                continue
            seconds, nanoseconds = struct.unpack("qq", extra[0][2])
            self.seen.append((seconds + nanoseconds / 1e9, struct.unpack_from("!H", data, 2)[0]))

    def stop(self) -> list[tuple[float, int]]:
        """Times and bytes, IP header and all behind it."""
        self.running = False
        self.thread.join()
        self.socket.close()
        return self.seen


def most_in_a_second(seen: list[tuple[float, int]]) -> int:
    """The most bytes in any second, wherever it begins."""
    window: deque[tuple[float, int]] = deque()
    total = most = 0
    for at, size in seen:
        window.append((at, size))
        total += size
        while window[0][0] <= at - 1.0:
            total -= window.popleft()[1]
        most = max(most, total)
    return most


class Probe:
    """One-way delay from the desk to the world, on one clock: small datagrams that say when they were sent."""

    PORT = 9_999
    EVERY_S = 0.02

    def __init__(self) -> None:
        with inside(House.WORLD):
            self.there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.there.bind(("10.77.3.2", self.PORT))
            self.there.settimeout(0.2)
        with inside(House.DESK):
            self.here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.delays: list[tuple[float, float]] = []
        self.running = True
        for work in (self._send, self._receive):
            threading.Thread(target=work, daemon=True).start()

    def _send(self) -> None:
        try:
            while self.running:
                self.here.sendto(struct.pack("d", time.monotonic()), ("10.77.3.2", self.PORT))
                time.sleep(self.EVERY_S)
        except OSError:
            # The world has been taken down.
            pass

    def _receive(self) -> None:
        while self.running:
            try:
                data = self.there.recv(64)
            except TimeoutError:
                continue
            now = time.monotonic()
            self.delays.append((now, now - struct.unpack("d", data)[0]))

    def median_ms(self, since: float, until: float = float("inf")) -> float:
        """The middle of the delays in a stretch of time, in milliseconds."""
        delays = sorted(delay for at, delay in self.delays if since <= at <= until)
        return delays[len(delays) // 2] * 1_000 if delays else float("inf")

    def share_above(self, limit_ms: float, since: float) -> float:
        late = [delay * 1_000 > limit_ms for at, delay in self.delays if at >= since]
        return sum(late) / max(len(late), 1)

    def stop(self) -> None:
        self.running = False


class Call:
    """Somebody at the desk sends at an even rate, as a video call does; what arrives is counted."""

    PORT = 9_998
    BYTES = 1_200

    def __init__(self, rate_bps: int) -> None:
        with inside(House.WORLD):
            self.there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.there.bind(("10.77.3.2", self.PORT))
            self.there.settimeout(0.2)
        with inside(House.DESK):
            self.here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rate_bps, self.running = rate_bps, True
        self.sent = self.arrived = 0
        for work in (self._send, self._receive):
            threading.Thread(target=work, daemon=True).start()

    def _send(self) -> None:
        begun = time.monotonic()
        while self.running:
            while self.sent < (time.monotonic() - begun) * self.rate_bps / 8:
                self.here.sendto(bytes(self.BYTES), ("10.77.3.2", self.PORT))
                self.sent += self.BYTES + 28
            time.sleep(0.005)

    def _receive(self) -> None:
        while self.running:
            try:
                self.arrived += len(self.there.recv(2_048)) + 28
            except TimeoutError:
                continue

    def stop(self) -> None:
        self.running = False


class Upload:
    """Somebody at the desk uploads as fast as TCP can; what arrives is counted."""

    PORT = 9_997

    def __init__(self) -> None:
        with inside(House.WORLD):
            self.server = socket.create_server(("10.77.3.2", self.PORT))
        self.running, self.arrived = True, 0
        threading.Thread(target=self._receive, daemon=True).start()
        with inside(House.DESK):
            self.client = socket.create_connection(("10.77.3.2", self.PORT), timeout=10)
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        try:
            while self.running:
                self.client.sendall(bytes(65_536))
        except OSError:
            pass

    def _receive(self) -> None:
        connection, _ = self.server.accept()
        with connection:
            while data := connection.recv(65_536):
                self.arrived += len(data)

    def stop(self) -> None:
        self.running = False
        self.client.close()
        self.server.close()
