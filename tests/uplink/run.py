#!/usr/bin/env python3
"""What a relay does with its owner's line, seen from outside: `tests/uplink/run.py [SCENARIO...]`.

Real nodes in network namespaces, measured with nft's counters, a packet tap, and the delay of other people's packets. Needs root, iproute2
and nftables; says so and passes without them. `fast` is what .ci/run does: a minute, and no figure that wants a quiet machine.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from rig import Call, House, Node, Probe, Tap, Upload, inside, most_in_a_second, run, wait_for, weir


def limit() -> None:
    """No second holds more than the limit; the ledger says what nft says."""
    for limit_bps, bitrate_bps in ((200_000, 48_000), (1_500_000, 320_000), (20_000_000, 4_000_000)):
        _limited(limit_bps, bitrate_bps, 20)


def _limited(limit_bps: int, bitrate_bps: int, seconds: float) -> None:
    with House() as house:
        source = house.source(bitrate_bps, "--max-children", "1")
        tap = Tap()
        relay = house.relay(source, "--upload-limit", f"{limit_bps}bit", "--quota", "unlimited", "--delay-target", "0")
        # A player there makes it take the whole stream, and with it the source's only place.
        keep_the_stream(relay)
        listeners = [house.listener(n, relay.uri_of(source)) for n in range(8)]
        wait_for("somebody is fed", lambda: relay.children() > 0)
        time.sleep(seconds)
        before = house.counted()
        status = relay.status()
        received, sent = house.counted()
        seen = tap.stop()
        most, least = most_in_a_second(seen), sum(size for at, size in seen if at > seen[-1][0] - 5) / 5
        print(
            f"limit {limit_bps // 8} bytes a second: {most} in the fullest one, {least:.0f} in the last five on average, "
            f"{sum(node.heard > 0 for node in listeners)} of {len(listeners)} listeners fed"
        )
        assert most <= limit_bps / 8, "more than the limit in a second"
        assert least > limit_bps / 8 * 0.5, "the limit is not used"
        compare(status, before, (received, sent), limit_bps / 4)


def compare(status: dict, before: tuple[int, int], after: tuple[int, int], second_bytes: float) -> None:
    """The ledger's sums, asked for between two looks at nft's counters, lie between them."""
    upload, ledger, streams = (status[name] for name in ("upload", "ledger", "streams"))
    networks = [*ledger["networks"], ledger["others"]]
    for at, (name, all_of_it) in enumerate(
        (("received", upload["download_bytes_total"]), ("sent", upload["bytes_total"]))
    ):
        key = "rx" if name == "received" else "tx"
        sums = {
            "in all": all_of_it,
            "by network": sum(row[f"{key}_bytes_total"] for row in networks),
            "by day": sum(row[f"{key}_bytes"] for row in ledger["days"]),
            "by stream": sum(row[f"{key}_bytes_total"] for row in streams),
        }
        print(f"  {name}: nft {after[at]}, " + ", ".join(f"{what} {n}" for what, n in sums.items()))
        for what, n in sums.items():
            # Handshakes are of no stream; the table of networks is a second behind.
            near = 0.03 if what == "by stream" else 0.01
            slack = second_bytes if what == "by network" else 1_000
            least = before[at] * (1 - near) - slack
            assert least <= n <= after[at] * (1 + near), f"{name} {what} is not what nft counts"


def six() -> None:
    """IPv6 headers are 20 bytes longer; and a player beyond this network is served over the owner's line, within limit and ledger."""
    with House(six=True) as house:
        limit_bps = 3_000_000
        source = house.source(320_000)
        relay = house.relay(
            source, "--upload-limit", f"{limit_bps}bit", "--quota", "1GB", "--delay-target", "0", "--http-public"
        )
        listeners = [house.listener(n, relay.uri_of(source)) for n in range(2)]
        wait_for("both are fed", lambda: all(node.heard > 50_000 for node in listeners))
        before = house.counted()
        status = relay.status()
        compare(status, before, house.counted(), limit_bps / 4)
        # From outside: what nft sees of it is TCP, with headers and acknowledged in the other direction.
        used, sent = status["upload"]["quota_used_bytes"], status["upload"]["bytes_total"]
        udp = house.counted()[1]
        player = Player(relay, House.WORLD)
        wait_for("the player hears", lambda: player.heard > 600_000, 60)
        seen = house.counted()[1] - udp, house.served()
        upload = relay.status()["upload"]
        counted, of_quota = upload["bytes_total"] - sent, upload["quota_used_bytes"] - used
        print(f"  a player beyond: nft {seen[0]} UDP and {seen[1]} TCP, counted {counted}, of the quota {of_quota}")
        # What was written and has not left yet is in the kernel's buffer; the quota is looked at once a second.
        assert sum(seen) * 0.99 <= counted <= (house.counted()[1] - udp + house.served()) * 1.01 + 300_000, "not what nft saw"
        assert of_quota >= sum(seen) - limit_bps / 4, "what a player beyond gets is not of the quota"


EVERYWHERE = ("--http", "[::]:8480", "--http-public")


def beyond() -> None:
    """Who asks from beyond this network waits for room on the line, and nobody else does; all that is sent there is counted."""
    with House(six=True) as house:
        limit_bps = 500_000
        source = house.source(64_000, "--max-children", "1")
        relay = house.relay(source, "--upload-limit", f"{limit_bps}bit", "--delay-target", "0", *EVERYWHERE)
        keep_the_stream(relay)
        listeners = [house.listener(n, relay.uri_of(source)) for n in range(2)]
        wait_for("both are fed", lambda: all(node.heard > 20_000 for node in listeners))
        gaps = [node.gaps() for node in (relay, *listeners)]
        line = lambda: house.counted()[1] + house.served()
        counted, seen, begun = relay.status()["upload"]["bytes_total"], line(), time.monotonic()
        asking = [Asking(relay, path) for path in ("/", "/", "/", "/", "/live", "/status.json", "/metrics", "/nothing")]
        slowest_s = 0.0
        while time.monotonic() < begun + 15:
            asked = time.monotonic()
            relay.get("/")
            slowest_s = max(slowest_s, time.monotonic() - asked)
        more, rate_bps = line() - seen, (line() - seen) * 8 / (time.monotonic() - begun)
        for it in asking:
            it.stop()
        answers = sum(it.answers for it in asking)
        print(
            f"limit {limit_bps}, {len(asking)} who ask from beyond: {rate_bps:.0f} bit/s, {answers} answers; "
            f"a page at home takes at most {slowest_s * 1_000:.0f} ms"
        )
        assert rate_bps <= limit_bps, "more than the limit"
        assert answers > 10, "nobody is answered"
        assert slowest_s < 1, "the own network waits"
        assert gaps == [node.gaps() for node in (relay, *listeners)], "it was heard"
        time.sleep(1)
        counted, seen = relay.status()["upload"]["bytes_total"] - counted, line() - seen
        print(f"  nft {seen}, counted {counted}")
        # A client that closes first spares us an acknowledgement that is counted.
        assert more > 100_000 and seen * 0.99 <= counted <= seen * 1.02, "not what nft saw"


class Asking:
    """Somebody in the world who asks a node for the same again and again."""

    def __init__(self, node: Node, path: str) -> None:
        self.answers, self.running = 0, True
        url = f"http://{node.host}:8480{path}"
        self.command = ["ip", "netns", "exec", House.WORLD, "curl", "-gsf", "--max-time", "20", "-o", "/dev/null", url]
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        while self.running:
            self.answers += subprocess.run(self.command, check=False).returncode == 0
            time.sleep(0.1)

    def stop(self) -> None:
        self.running = False
        self.thread.join()


def refused() -> None:
    """What the kernel would not take is counted nowhere."""
    with House() as house:
        source = house.source(320_000, "--max-children", "1")
        relay = house.relay(source, "--upload-limit", "unlimited", "--quota", "unlimited", "--delay-target", "0")
        keep_the_stream(relay)
        listeners = [house.listener(n, relay.uri_of(source)) for n in range(2)]
        wait_for("both are fed", lambda: all(node.heard > 50_000 for node in listeners))
        route = ("route", "unreachable", f"{house.at(3, 3)}/32")
        for _ in range(6):
            # Not for so long that the child is given up.
            run("ip", "-n", House.BOX, route[0], "add", *route[1:])
            time.sleep(1.2)
            run("ip", "-n", House.BOX, route[0], "del", *route[1:])
            time.sleep(0.8)
        before = house.counted()
        status = relay.status()
        print("a child without a route, six times")
        compare(status, before, house.counted(), 100_000)


def fast() -> None:
    """What needs no quiet machine: the limit, the ledger and nft, over IPv4 and IPv6, who asks from beyond, what is refused, and the quota over kill -9."""
    _limited(1_500_000, 320_000, 6)
    six()
    beyond()
    refused()
    killed(4)


def killed(times: int = 30) -> None:
    """kill -9 again and again, at any moment of a write: what the disk says is never less than what was sent."""
    with House() as house:
        source = house.source(400_000)
        state = house.path("state")
        flags = ("--quota", "10GB", "--state", state, "--upload-limit", "unlimited", "--delay-target", "0")
        moments = random.Random(7)
        said = []
        for _ in range(times):
            relay = house.relay(source, *flags)
            used = relay.status()["upload"]["quota_used_bytes"]
            assert used >= house.counted()[1], f"{used} are said, nft saw {house.counted()[1]}"
            begun = house.counted()[1]
            listeners = [house.listener(n, relay.uri_of(source)) for n in range(2)]
            time.sleep(moments.uniform(1.0, 3.0))
            for node in (relay, *listeners):
                node.kill()
            sent, leased = house.counted()[1], int(Path(state, "quota").read_text().split()[2])
            said.append(sent - begun)
            assert sent <= leased <= 10**10, f"the disk says {leased}, nft saw {sent}"
        assert sum(more > 20_000 for more in said) > times / 2, f"nothing was sent: {said}"
        print(f"killed {times} times: {house.counted()[1]} bytes sent, {leased} on disk; each time {min(said)} to {max(said)}")
        for damage in (b"", b"weir-quota-v1 1", bytes(range(256)), Path(state, "quota").read_bytes()[:-9]):
            Path(state, "quota").write_bytes(damage)
            relay = house.relay(source, *flags)
            time.sleep(0.5)
            line = relay.status()
            assert line["upload"]["quota_used_bytes"] == 10**10 and relay.children() == 0, f"{damage!r} was believed"
            relay.kill()
        print("  a file that is empty, cut short, of other bytes: the quota counts as used up")


QUOTA_BYTES = 8_000_000


def quota() -> None:
    """Never more than the quota, over kill -9; children leave in good order, and the relay's own player hears on."""
    with House() as house:
        source = house.source(400_000)
        state = house.path("state")
        flags = ("--quota", f"{QUOTA_BYTES}B", "--state", state, "--upload-limit", "4Mbit", "--delay-target", "0")
        relay = house.relay(source, *flags)
        listeners = [house.listener(n, relay.uri_of(source)) for n in range(3)]
        wait_for("a million bytes are sent", lambda: house.counted()[1] > 1_000_000)
        relay.kill()
        sent = house.counted()[1]
        leased = int(Path(state, "quota").read_text().split()[2])
        print(f"quota {QUOTA_BYTES}: killed at {sent} bytes, {leased} on disk")
        assert sent <= leased <= QUOTA_BYTES, "the disk says less than was sent"
        relay = house.relay(source, *flags)
        assert relay.status()["upload"]["quota_used_bytes"] >= sent, "sent bytes were forgotten"
        player = Player(relay)
        wait_for("they are fed again", lambda: relay.children() > 0)
        # What the crash cost them is known when their window has gone by.
        time.sleep(5)
        gaps_before = [node.gaps() for node in listeners]
        wait_for("the sharing ends", lambda: relay.status()["uplink"]["sharing"] == "ended", 120)
        wait_for("the children are let go", lambda: relay.children() == 0, 30)
        at_end, heard = house.counted()[1], player.heard
        gaps = [node.gaps() for node in listeners]
        time.sleep(10)
        received, after = house.counted()
        print(
            f"  ended at {at_end} bytes, {after} ten seconds later; the player there heard {player.heard - heard} bytes meanwhile; "
            f"listeners' gaps: {gaps_before} before, {gaps} after"
        )
        assert after <= QUOTA_BYTES, "more than the quota"
        assert player.heard - heard > 400_000 / 8 * 7, "the relay's own player hears no more"
        heard_it = [line for node in listeners for line in node.log.splitlines() if "skipped" in line]
        assert gaps == gaps_before == [node.gaps() for node in listeners], f"the end was heard: {heard_it}\n{relay.log}"
        assert "as good as used up" in relay.log and "as good as used up" in relay.get("/status.txt").decode()
        relay.stop()
        kept = int(Path(state, "quota").read_text().split()[2])
        assert house.counted()[1] <= kept <= house.counted()[1] * 1.01 + leased - sent, "a clean stop writes the sum"


def disk() -> None:
    """A disk that is full: it is said, and nothing is passed on that could not be remembered."""
    with House() as house:
        source = house.source(200_000)
        state = house.path("state")
        os.mkdir(state)
        run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", state)
        try:
            fill = Path(state, "fill")
            try:
                fill.write_bytes(bytes(65_536))
            except OSError:
                pass
            relay = house.relay(source, "--quota", "1GB", "--state", state, "--delay-target", "0")
            listener = house.listener(0, source.uri(), "--peers", f"{House.RELAY}:8479")
            wait_for("the listener hears", lambda: listener.heard > 100_000)
            line = relay.status()["uplink"]
            print(f"full disk: {line['quota_trouble']!r}, {relay.children()} stripes passed on")
            assert "cannot be kept on disk" in line["quota_trouble"] and relay.children() == 0
            assert "cannot be written" in relay.log
        finally:
            for node in house.nodes:
                node.kill()
            run("umount", state)


LINE_BPS = 3_000_000
CALL_BPS = 2_300_000
TARGET_MS = 50


def _evening(house: House) -> tuple[Node, list[Node], Probe]:
    """A relay that feeds listeners over a line of 3 Mbit/s with a buffer of half a second; another relay in the world could."""
    source = house.source(400_000, "--max-children", "2")
    house.squeeze(LINE_BPS, 500)
    probe = Probe()
    relay = house.relay(source, "--upload-limit", "2500kbit", "--delay-target", f"{TARGET_MS}ms")
    other = house.start(
        House.WORLD, "10.77.3.19", "relay", source.uri(), "--upload-limit", "2500kbit", "--delay-target", "0"
    )
    for node in (relay, other):
        keep_the_stream(node)
    listeners = [house.listener(n, relay.uri_of(source)) for n in range(5)]
    wait_for("the line is used", lambda: relay.status()["upload"]["rate_bps"] > 1_000_000)
    wait_for("everybody hears", lambda: all(node.heard > 200_000 for node in listeners))
    return relay, listeners, probe


def gentle() -> None:
    """A video call gets its part, the queue is short again, nobody hears it, and the children come back."""
    with House() as house:
        relay, listeners, probe = _evening(house)
        begun = time.monotonic()
        time.sleep(5)
        before = relay.status()
        quiet_ms = probe.median_ms(begun)
        call = Call(CALL_BPS)
        begun = time.monotonic()
        wait_for("the pace falls", lambda: relay.status()["uplink"]["pace_bps"] is not None, 15)
        reacted_s = time.monotonic() - begun
        time.sleep(max(0.0, 15 - reacted_s))
        arrived, settled = call.arrived, time.monotonic()
        time.sleep(15)
        during = relay.status()
        got_bps = (call.arrived - arrived) * 8 / (time.monotonic() - settled)
        busy_ms, peak_ms = probe.median_ms(settled), probe.median_ms(begun, begun + 3)
        late = probe.share_above(TARGET_MS + quiet_ms, settled)
        short_s = max((at for at, delay in probe.delays if at < settled and delay * 1_000 > TARGET_MS), default=begun) - begun
        print(
            f"a call of {CALL_BPS / 1e6:.1f} Mbit/s on a line of {LINE_BPS / 1e6:.1f}: delay {quiet_ms:.0f} ms before, {peak_ms:.0f} ms in its first 3 s, "
            f"below the target after {short_s:.1f} s, {busy_ms:.0f} ms after 15 ({late:.0%} of packets above the target); "
            f"it got {got_bps / 1e6:.2f} Mbit/s"
        )
        print(
            f"  the relay noticed after {reacted_s:.1f} s and went from {before['upload']['rate_bps'] / 1e6:.2f} to "
            f"{during['upload']['rate_bps'] / 1e6:.2f} Mbit/s (pace {during['uplink']['pace_bps']}, its queue {during['uplink']['queue_ms']} ms)"
        )
        call.stop()
        ended = time.monotonic()
        wait_for("the pace is free again", lambda: relay.status()["uplink"]["pace_bps"] is None, 150)
        print(
            f"  free again {time.monotonic() - ended:.0f} s after the call; "
            f"gaps: {[node.gaps() for node in listeners]}"
        )
        assert busy_ms < TARGET_MS + quiet_ms, "the queue stays long"
        assert got_bps > 0.95 * CALL_BPS, "the call does not get its part"
        # While the queue is long, the call itself costs datagrams; one gap among all listeners is forgiven.
        assert sum(node.gaps() for node in listeners) <= 1, "it was heard"
        probe.stop()


def narrow() -> None:
    """A line half as wide as the owner said, and listeners who would take all of it: the household waits no longer than it is willing to."""
    with House() as house:
        source = house.source(128_000, "--max-children", "1")
        house.squeeze(1_000_000, 500)
        probe = Probe()
        relay = house.relay(source, "--upload-limit", "2Mbit", "--delay-target", f"{TARGET_MS}ms")
        keep_the_stream(relay)
        listeners = [house.listener(n, relay.uri_of(source)) for n in range(6)]
        wait_for("the line is used", lambda: relay.status()["upload"]["rate_bps"] > 600_000)
        begun, before = time.monotonic(), relay.status()["upload"]["bytes_total"]
        time.sleep(120)
        sent_bps = (relay.status()["upload"]["bytes_total"] - before) * 8 / (time.monotonic() - begun)
        delays = sorted(delay * 1_000 for at, delay in probe.delays if at >= begun)
        median_ms, most_ms = delays[len(delays) // 2], delays[-1]
        mean_ms, late = sum(delays) / len(delays), probe.share_above(TARGET_MS, begun)
        print(
            f"a limit of 2 Mbit/s on a line of 1: {sent_bps / 1e6:.2f} sent; other people's packets waited {median_ms:.0f} ms in the median, "
            f"{mean_ms:.0f} on average, {most_ms:.0f} at most, {late:.0%} longer than the target; gaps: {[node.gaps() for node in listeners]}"
        )
        assert mean_ms < TARGET_MS / 2 and late < 0.2, "the queue stays long"
        assert sent_bps > 700_000, "the line is not used"
        probe.stop()


def upload() -> None:
    """An upload that takes what it can get is given the line."""
    with House() as house:
        relay, listeners, probe = _evening(house)
        upload = Upload()
        time.sleep(15)
        arrived, since = upload.arrived, time.monotonic()
        time.sleep(10)
        got_bps = (upload.arrived - arrived) * 8 / (time.monotonic() - since)
        rate_bps = relay.status()["upload"]["rate_bps"]
        print(
            f"an upload over TCP on a line of {LINE_BPS / 1e6:.1f} Mbit/s: it gets {got_bps / 1e6:.2f}, the relay sends {rate_bps / 1e6:.2f} (pace {relay.status()['uplink']['pace_bps']}); "
            f"gaps: {[node.gaps() for node in listeners]}"
        )
        assert got_bps > 0.8 * LINE_BPS * 0.95, "the upload does not get the line"
        upload.stop()
        probe.stop()


def keep_the_stream(node: Node) -> None:
    """Somebody listens at this node, from now on."""
    player = Player(node)
    wait_for("the node's own player hears", lambda: player.heard > 0)


class Player:
    """Somebody in the relay's box who listens over HTTP."""

    def __init__(self, relay: Node, namespace: str = "") -> None:
        self.heard = 0
        key = relay.status()["streams"][0]["key"]
        host = relay.host if namespace else relay.home
        url = f"http://{host}:8480/streams/{key}"
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace or relay.namespace, "curl", "-gsN", "--max-time", "300", url], stdout=subprocess.PIPE
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        while data := self.process.stdout.read1(65_536):
            self.heard += len(data)


SCENARIOS = {it.__name__: it for it in (fast, limit, six, beyond, refused, killed, quota, disk, gentle, narrow, upload)}


def skipped() -> str:
    """Why nothing can be looked at here; empty if it can."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in ("ip", "tc", "nft", "curl") if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} not installed"
    try:
        with House():
            with inside(House.BOX):
                pass
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"
    return ""


def main() -> int:
    wanted = sys.argv[1:] or [name for name in SCENARIOS if name != "fast"]
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        print(f"no scenario is called {unknown[0]}; there are: {' '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    if why := skipped():
        print(f"skipped: {why}")
        return 0
    if not weir().exists():
        print(f"{weir()} is not there: cargo build", file=sys.stderr)
        return 1
    failed = []
    for name in wanted:
        print(f"-- {name}", flush=True)
        try:
            SCENARIOS[name]()
        except (AssertionError, TimeoutError, RuntimeError) as error:
            print(f"{name} FAILED: {error}", flush=True)
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
