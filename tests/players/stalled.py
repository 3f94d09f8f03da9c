#!/usr/bin/env python3
"""What players that stop reading cost a relay: `tests/players/stalled.py WEIR [MINUTES]`.

Some read, some read for a second and then never again, and one more of that kind comes every five seconds, for as long as it runs. Every
ten seconds: the relay's resident memory, and what the kernel holds for its connections (`ss -tm`), those that the relay has closed
among them. Fails when either still grows after the first two minutes (of what comes and goes the mean counts), or when somebody who
reads misses anything.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

RATE_BPS = 4_000_000
READERS, STALLED = 5, 20
EVERY_S = 5
SAMPLE_S = 10


def feed(source: subprocess.Popen) -> None:
    piece = os.urandom(RATE_BPS // 8 // 50)
    due = time.monotonic()
    while source.poll() is None:
        try:
            source.stdin.write(piece)
            source.stdin.flush()
        except BrokenPipeError:
            return
        due += 0.02
        time.sleep(max(0.0, due - time.monotonic()))


class Player:
    """A connection that reads for so long and then stays as it is."""

    def __init__(self, port: int, path: str, seconds: float) -> None:
        self.heard, self.seconds = 0, seconds
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            data = self.socket.recv(1 << 16)
            if not data:
                return
            self.heard += len(data)


def kernel_memory(port: int) -> tuple[int, int, int]:
    """Of the relay's connections: how many are open, how many only the kernel still has, and the bytes it holds for all."""
    text = subprocess.run(["ss", "-tmnH", "sport", "=", f":{port}"], capture_output=True, text=True, check=True).stdout
    states = [line.split()[0] for line in text.splitlines() if line and not line[0].isspace()]
    # skmem:(r0,rb131072,t0,tb2626560,f0,w0,o0,bl0,d0): what is held to be read, to be sent, and beside it.
    held = sum(int(n) for _, n in re.findall(r"[(,](r|w|f)(\d+)", text))
    is_open = states.count("ESTAB")
    return is_open, len(states) - is_open, held


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def status_of(port: int) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=10) as answer:
        return json.load(answer)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def start(weir: str, *arguments: str) -> tuple[subprocess.Popen, int]:
    port = free_port()
    common = ["--bind", "127.0.0.1:0", "--http", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [weir, *arguments, *common], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return process, port


def watch(relay: subprocess.Popen, port: int, path: str, minutes: float) -> list[tuple[int, int]]:
    readers = [Player(port, path, 1e9) for _ in range(READERS)]
    stalled = [Player(port, path, 1) for _ in range(STALLED)]
    began, samples = time.monotonic(), []
    while (ran := time.monotonic() - began) < minutes * 60:
        if len(stalled) < STALLED + ran / EVERY_S:
            stalled.append(Player(port, path, 1))
        if len(samples) * SAMPLE_S <= ran:
            here, gone, held = kernel_memory(port)
            samples.append((resident_kib(relay.pid), held))
            print(
                f"{ran:5.0f} s: {len(stalled)} have stopped reading; the relay holds {here} connections, the kernel {gone} closed ones; "
                f"VmRSS {samples[-1][0]} KiB, sockets {held // 1024} KiB",
                flush=True,
            )
        time.sleep(1)
    seconds = time.monotonic() - began
    for reader in readers:
        assert reader.heard > RATE_BPS / 8 * (seconds - 5), f"a reader had {reader.heard} bytes in {seconds:.0f} s"
    return samples


def main() -> None:
    weir, minutes = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 16.0
    with tempfile.TemporaryDirectory() as scratch:
        key = f"{scratch}/stream.key"
        subprocess.run([weir, "keygen", "--out", key], check=True, stdout=subprocess.DEVNULL)
        source, _ = start(weir, "source", "--key", key, "--input", "-", "--bitrate", f"{RATE_BPS // 1000}kbit")
        uri = source.stdout.readline().decode().strip()
        threading.Thread(target=feed, args=(source,), daemon=True).start()
        relay, port = start(weir, "relay", uri, "--max-players", "64", "--quota", "unlimited", "--memory", "8MiB")
        try:
            time.sleep(5)
            samples = watch(relay, port, "/streams/" + uri.rsplit("/", 1)[1], minutes)
            gaps = status_of(port)["streams"][0]["gaps_total"]
        finally:
            relay.kill()
            source.kill()
    settled = samples[120 // SAMPLE_S :]
    halves = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    for what, at in (("VmRSS in KiB", 0), ("bytes that sockets hold", 1)):
        first, second = (sum(sample[at] for sample in half) / len(half) for half in halves)
        print(f"{what}: {first:.0f} on average in the first half, {second:.0f} in the second")
        assert second <= first * 1.25, f"{what} grows"
    print(f"gaps: {gaps}")


if __name__ == "__main__":
    main()
