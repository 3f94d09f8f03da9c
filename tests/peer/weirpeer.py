"""A second implementation of docs/PROTOCOL.md, sharing no code with weir, to test both.

    weirpeer.py listen URI --bytes N          the stream's media on stdout
    weirpeer.py source --seed HEX < media     a source; prints its URI as the first line
    weirpeer.py forge MODE URI                a neighbour that tells lies about a stream; prints its address as the first line
    weirpeer.py probe URI                     what the first host answers to an unproven address

What was counted goes to stderr as JSON at the end.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from protocol import block, uri
from protocol.postcard import Address
from roles import forger, probe
from roles.endpoint import Endpoint
from roles.listener import Listener
from roles.source import Programme, Source


STOP = threading.Event()


def report(*counts: Counter[str]) -> None:
    total: Counter[str] = sum(counts, Counter())
    print(json.dumps(total), file=sys.stderr, flush=True)


def address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def listen(args: argparse.Namespace) -> int:
    endpoint = Endpoint(keylog=args.keylog)
    listener = Listener(endpoint, uri.parse(args.uri), sys.stdout.buffer)
    whole = endpoint.run(lambda: STOP.is_set() or listener.played_bytes >= args.bytes, args.timeout)
    sys.stdout.buffer.flush()
    endpoint.close()
    report(endpoint.counts, listener.counts)
    return 0 if whole and not STOP.is_set() else 1


def source(args: argparse.Namespace) -> int:
    endpoint = Endpoint(bind=args.bind, keylog=args.keylog)
    programme = Programme(bitrate_bps=args.bitrate, k=args.k, n=args.n)
    made = Source(endpoint, args.seed, sys.stdin.buffer.read(), programme, args.preamble.encode())
    print(uri.Uri(made.key, (endpoint.address,)), flush=True)
    endpoint.run(STOP.is_set, args.timeout)
    endpoint.close()
    report(endpoint.counts)
    return 0


def forge(args: argparse.Namespace) -> int:
    endpoint = Endpoint(bind=args.bind, keylog=args.keylog)
    liar = forger.Forger(endpoint, uri.parse(args.uri), args.mode)
    print(f"{endpoint.address[0]}:{endpoint.address[1]}", flush=True)
    endpoint.run(STOP.is_set, args.timeout)
    endpoint.close()
    report(endpoint.counts, liar.counts)
    return 0


def run_probe(args: argparse.Namespace) -> int:
    stream = uri.parse(args.uri)
    node = stream.hosts[0]
    answers = probe.probe_moved(node, stream) if args.moved else probe.probe(node, block.tag_of(stream.key))
    for answer in answers:
        print(f"{answer.name}: {answer.sent_bytes} bytes sent, {answer.received_bytes} received {answer.wrong}".rstrip())
    return 1 if any(answer.wrong or answer.received_bytes > answer.sent_bytes for answer in answers) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        it = commands.add_parser(name)
        it.set_defaults(run=run)
        it.add_argument("--timeout", type=float, default=60.0, help="seconds")
        it.add_argument("--bind", type=address, default=("127.0.0.1", 0))
        it.add_argument("--keylog", type=Path, help="write session ids and keys here, for dissect.py")
        return it

    it = command("listen", listen)
    it.add_argument("uri")
    it.add_argument("--bytes", type=int, required=True, help="media bytes, preamble not counted")

    it = command("source", source)
    it.add_argument("--seed", type=bytes.fromhex, required=True)
    it.add_argument("--bitrate", type=int, default=400_000, help="bits a second")
    it.add_argument("--k", type=int, default=4)
    it.add_argument("--n", type=int, default=6)
    it.add_argument("--preamble", default="")

    it = command("forge", forge)
    it.add_argument("mode", choices=forger.MODES, help='; '.join(f'{mode}: {what}' for mode, what in forger.MODES.items()))
    it.add_argument("uri")

    it = command("probe", run_probe)
    it.add_argument("uri")
    it.add_argument("--moved", action="store_true", help="in a session, from an address that the session never had")

    args = parser.parse_args()
    # The end from outside is the end as planned: Bye is said and the counts are printed.
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    signal.signal(signal.SIGINT, lambda *_: STOP.set())
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
