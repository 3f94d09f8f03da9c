"""A grid of weir processes, some of them for other processors, and a programme whose every byte can be checked."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLD_KERNEL = Path(__file__).resolve().parent / "old_kernel.py"
# Of another byte order than this machine.
BIG_ENDIAN = {"mips"}
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
OUT = TARGET / "cross" / "out"
TOOLS = Path(
    os.environ.get("WEIR_CROSS_TOOLS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir-cross"
)
DEADLINE_S = 120
PAGE_BYTES = 4096
MAGIC = b"WEIRPAGE"


class Failed(Exception):
    """Something is not as it must be."""


def wait_for(what: str, good, deadline_s: float = DEADLINE_S, every_s: float = 0.05):
    """Calls `good` until its answer is true, and returns that."""
    end = time.monotonic() + deadline_s
    while True:
        answer = good()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"not within {deadline_s} s: {what}")
        time.sleep(every_s)


def page(number: int) -> bytes:
    """Page `number` of the programme: its number, then noise that follows from it."""
    return MAGIC + number.to_bytes(8, "big") + random.Random(number).randbytes(PAGE_BYTES - 16)


class Check:
    """Takes what a listener or player heard, in any pieces. Every byte has to be the programme's; where some are left out
    it counts a gap, and fails when there are more than `gaps_allowed`."""

    def __init__(self, name: str, gaps_allowed: int = 0):
        self.name, self.bytes, self.gaps, self.gaps_allowed = name, 0, 0, gaps_allowed
        self._held, self._next = b"", None

    def take(self, data: bytes) -> None:
        self.bytes += len(data)
        self._held += data
        while (self._next is not None or self._begin()) and len(self._held) >= PAGE_BYTES:
            wanted = page(self._next)
            if self._held[:PAGE_BYTES] == wanted:
                self._held, self._next = self._held[PAGE_BYTES:], self._next + 1
            else:
                self._skip(wanted)

    def _begin(self) -> bool:
        """Finds where in the programme the bytes go on; what is before the first whole page has to fit, too."""
        at = self._held.find(MAGIC)
        if at < 0 or len(self._held) < at + 16:
            return False
        self._next = int.from_bytes(self._held[at + 8 : at + 16], "big")
        if at > 0 and self._held[:at] != page(self._next - 1)[-at:]:
            raise Failed(f"{self.name}: wrong bytes before page {self._next}")
        self._held = self._held[at:]
        return True

    def _skip(self, wanted: bytes) -> None:
        """The programme goes on elsewhere within this page: what is right of it is dropped, the rest begins anew."""
        self.gaps += 1
        if self.gaps > self.gaps_allowed:
            raise Failed(f"{self.name}: page {self._next} does not go on as it should, {self.gaps} times so far")
        right = next(i for i, (a, b) in enumerate(zip(self._held, wanted)) if a != b)
        self._held, self._next = self._held[right:], None


class Process:
    """A program whose standard error is kept, and which ends with this one."""

    def __init__(self, name: str, command: list[str], stdin=None, stdout=subprocess.DEVNULL, env=None):
        self.name, self.log = name, ""
        environment = {**os.environ, "WEIR_LOG": "info", **(env or {})}
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment
        )
        everything.append(self)
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read_log(self) -> None:
        for line in self.process.stderr:
            self.log += line.decode(errors="replace")

    def said(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match:
        """Waits for a line in its log."""

        def look():
            found = re.search(pattern, self.log)
            if not found and self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}")
            return found

        return wait_for(f"{self.name} says {pattern!r}", look, deadline_s)

    def end(self, limit_s: float = 30) -> int:
        """SIGTERM, and how it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


everything: list[Process] = []


def end_everything() -> None:
    """Nothing outlives the script."""
    for process in everything:
        if process.process.poll() is None:
            process.kill()


class Asked:
    """Whatever has weir's pages at `http`."""

    http: str

    def get(self, path: str, timeout_s: float = 60) -> bytes:
        """The body of a page."""
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=timeout_s) as answer:
            return answer.read()

    def status(self) -> dict:
        return json.loads(self.get("/status.json"))


class Node(Process, Asked):
    """A running node."""

    def __init__(self, name: str, program: list[str], arguments: list[str], **how):
        bind = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        super().__init__(name, [*program, *arguments, *bind], **how)
        found = self.said(r"udp ([0-9.:]+), page and players at http://([0-9.:]+)/")
        self.udp, self.http = found.group(1), found.group(2)


class Source(Node):
    """A native source of the programme, at `bitrate_bps`."""

    def __init__(self, folder: Path, bitrate_bps: int, max_children: int, *flags: str):
        key = folder / "stream.key"
        if not key.exists():
            subprocess.run([*native(), "keygen", "--out", key], check=True, stdout=subprocess.DEVNULL)
        arguments = ["source", "--key", str(key), "--input", "-", "--bitrate", f"{bitrate_bps // 1000}kbit"]
        arguments += ["--content-type", "application/octet-stream", "--name", "Test programme"]
        arguments += ["--max-children", str(max_children), *flags]
        super().__init__("source", native(), arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.key = self.process.stdout.readline().decode().strip().rsplit("/", 1)[1]
        self.bitrate_bps, self._fed = bitrate_bps, True
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        """Pages at the rate of the programme, by the clock."""
        began, number = time.monotonic(), 1
        while self._fed:
            due = began + number * PAGE_BYTES * 8 / self.bitrate_bps
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self.process.stdin.write(page(number))
                self.process.stdin.flush()
            except OSError:
                return
            number += 1

    def pause(self) -> None:
        """No more media from now on."""
        self._fed = False


def uri(key: str, *nodes) -> str:
    """The stream's URI by way of these nodes, or addresses."""
    hosts = ",".join(node if isinstance(node, str) else node.udp for node in nodes)
    return f"weir://{hosts}/{key}"


class Listener(Node):
    """A native listener that checks what it hears."""

    def __init__(self, name: str, at: str, *flags: str, program: list[str] | None = None, gaps_allowed: int = 0):
        super().__init__(name, program or native(), ["listen", at, *flags], stdout=subprocess.PIPE)
        self.check, self.failure = Check(name, gaps_allowed), None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while data := os.read(self.process.stdout.fileno(), 1 << 16):
            try:
                self.check.take(data)
            except Failed as failure:
                self.failure = failure
                return

    def hear(self, more_bytes: int, deadline_s: float = DEADLINE_S) -> None:
        """Waits until so much more was heard, every byte of it right."""
        enough = self.check.bytes + more_bytes

        def look():
            if self.failure:
                gaps = self.status()["streams"][0]["gaps_total"]
                raise Failed(f"{self.failure}; the listener knows of {gaps} gaps")
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended")
            return self.check.bytes >= enough

        wait_for(f"{self.name} hears {more_bytes} bytes", look, deadline_s)


def play(http: str, key: str, bytes_wanted: int) -> None:
    """Plays the stream over HTTP as a player would, and checks it."""
    check = Check(f"player at {http}")
    with urllib.request.urlopen(f"http://{http}/streams/{key}", timeout=60) as answer:
        while check.bytes < bytes_wanted:
            data = answer.read(8192)
            if not data:
                raise Failed(f"{check.name}: ended after {check.bytes} bytes")
            check.take(data)


def native() -> list[str]:
    """This machine's own weir, built once: $WEIR, or cargo's release build."""
    if "WEIR" in os.environ:
        return [os.environ["WEIR"]]
    weir = TARGET / "release" / "weir"
    if not native.built:
        subprocess.run(["cargo", "build", "--quiet", "--release", "--locked"], cwd=ROOT, check=True)
        native.built = True
    return [str(weir)]


native.built = False


def emulated(board: dict, *options: str) -> list[str]:
    """The command for a board's weir on the board's processor."""
    program = OUT / f"weir-{board['target']}"
    if not program.exists():
        sys.exit(f"{program} is not there; run cross/build {board['name']}")
    how = board["emulation"]
    # To a program of the other byte order qemu gives the length of joined datagrams (UDP_GRO) the wrong way round, so that a
    # busy grid hears nonsense. It is told that the kernel cannot join them, as those of most such routers cannot.
    kernel = [sys.executable, str(OLD_KERNEL)] if how["qemu"] in BIG_ENDIAN else []
    return [*kernel, f"qemu-{how['qemu']}", "-cpu", how["cpu"], *options, str(program)]


def free_port(kind=socket.SOCK_DGRAM) -> int:
    """A port nobody has at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(main, words: list[str]) -> None:
    """A script from its arguments to its exit status; a scratch folder lives as long as it does."""

    def stopped(*_):
        raise Failed("stopped")

    signal.signal(signal.SIGTERM, stopped)
    try:
        with tempfile.TemporaryDirectory(prefix="weir-cross-") as folder:
            main(words, Path(folder))
    except Failed as failure:
        for process in everything:
            print(f"-- {process.name}:\n{process.log[-3000:]}", file=sys.stderr)
        sys.exit(f"{Path(sys.argv[0]).name}: {failure}")
    finally:
        end_everything()
