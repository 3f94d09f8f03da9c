"""A tap on the wire: passes datagrams on between whoever calls it and one node, and writes them all down.

    tap.py NODE_HOST:PORT CAPTURE        prints its own address as the first line; ends with SIGTERM

CAPTURE gets one line for each datagram: microseconds, sender, receiver, hex. The tap has a port of its own for each caller, so that
the node sees as many addresses as there are callers; each caller stands in the capture under its own address.
"""

from __future__ import annotations

import selectors
import signal
import socket
import sys
import threading
import time
from typing import TextIO

from protocol.postcard import Address

STOP = threading.Event()


def text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def run(node: Address, out: TextIO) -> None:
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.bind(("127.0.0.1", 0))
    print(text(front.getsockname()), flush=True)
    backs: dict[Address, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(front, selectors.EVENT_READ, None)
        while not STOP.is_set():
            for key, _ in selector.select(0.05):
                caller: Address | None = key.data
                data, sender = key.fileobj.recvfrom(65536)  # type: ignore[union-attr]
                if caller is None:
                    if sender not in backs:
                        backs[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        backs[sender].connect(node)
                        selector.register(backs[sender], selectors.EVENT_READ, sender)
                    write(out, sender, node, data)
                    backs[sender].send(data)
                else:
                    write(out, node, caller, data)
                    front.sendto(data, caller)
            out.flush()


def write(out: TextIO, sender: Address, receiver: Address, data: bytes) -> None:
    out.write(f"{time.monotonic_ns() // 1000} {text(sender)} {text(receiver)} {data.hex()}\n")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    host, _, port = sys.argv[1].rpartition(":")
    with open(sys.argv[2], "w") as out:
        run((host, int(port)), out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
