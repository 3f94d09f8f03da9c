"""Explains every datagram of a capture, or says which it cannot explain.

    dissect.py CAPTURE [--keylog FILE] [--key STREAM_KEY_IN_BASE32] [--print]

Without keys it knows kinds and lengths; with a key log (see weirpeer.py) it opens control datagrams and reads every message; with
the stream's key it verifies descriptors, seals and chunks as well. It also counts what each address sent and got until it had
proved that it is there. Status 1 when something is unexplained or an answer was too long; the summary is JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from protocol import block, datagram, descriptor, merkle, messages, seal, uri
from protocol.datagram import Chunk, Control, Cookie, Datagram, Finish, Hello, Initiate, Reply, TryThese
from protocol.descriptor import Descriptor
from protocol.postcard import Malformed, Reader
from protocol.seal import Mark
from protocol.session import open_sealed

# Kinds whose length never differs ("Datagrams").
FIXED_BYTES = {Hello: 32, Cookie: 25, Initiate: 61, Reply: 113, Finish: 73}


@dataclass
class Unproven:
    """What passed between a node and an address before the address was proved."""

    sent: int = 0
    got: int = 0


@dataclass
class Dissector:
    keys: dict[int, bytes]
    stream_key: bytes | None
    verbose: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    unproven: dict[tuple[str, str], Unproven] = field(default_factory=dict)
    # (asker, asked) pairs in which the asker has returned the asked node's cookie.
    proved: set[tuple[str, str]] = field(default_factory=set)
    cookies: dict[tuple[str, str, int], set[bytes]] = field(default_factory=dict)
    sessions: set[int] = field(default_factory=set)
    nonces: dict[int, set[int]] = field(default_factory=dict)
    cards: dict[int, Descriptor] = field(default_factory=dict)
    marks: dict[int, Mark] = field(default_factory=dict)
    waiting: list[Chunk] = field(default_factory=list)

    def take(self, sender: str, receiver: str, data: bytes) -> None:
        try:
            it = datagram.parse(data)
            said = self._explain(sender, receiver, it, len(data))
        except Malformed as error:
            self.unexplained.append(f"{sender} -> {receiver}: {error}: {data[:40].hex()}")
            return
        self.counts[type(it).__name__] += 1
        self._count_unproven(sender, receiver, it, len(data))
        if self.verbose:
            print(f"{sender} -> {receiver} {len(data):4} {type(it).__name__} {said}", file=sys.stderr)

    def _explain(self, sender: str, receiver: str, it: Datagram, size: int) -> str:
        expected = FIXED_BYTES.get(type(it))
        if expected is not None and size != expected:
            raise Malformed(f"{type(it).__name__} has {expected} bytes, not {size}")
        match it:
            case Cookie():
                self.cookies.setdefault((receiver, sender, it.session), set()).add(it.cookie)
            case Initiate():
                if it.cookie not in self.cookies.get((sender, receiver, it.session), set()):
                    raise Malformed("a cookie that was not given")
                self.sessions.add(it.session)
            case Reply() | TryThese():
                if it.session not in self.sessions:
                    raise Malformed("an answer to nothing")
                if isinstance(it, TryThese):
                    r = Reader(it.addresses)
                    messages.TRY_THESE.read(r)
                    r.end()
            case Finish():
                self.sessions.add(it.session)
            case Control():
                return self._control(it)
            case Chunk():
                return self._chunk(it)
            case Hello():
                pass
        return ""

    def _control(self, it: Control) -> str:
        if it.session not in self.sessions:
            raise Malformed("no such session")
        if len(it.sealed) < datagram.AEAD_TAG_BYTES:
            raise Malformed("too short for a tag")
        used = self.nonces.setdefault(it.session, set())
        if it.nonce in used:
            raise Malformed("a nonce used twice")
        used.add(it.nonce)
        if it.session not in self.keys:
            return "sealed"
        said = messages.read_all(open_sealed(self.keys[it.session], it))
        for message in said:
            self.counts[f"message {type(message).__name__}"] += 1
            self._verify(message)
        return repr(said)

    def _verify(self, message: messages.Message) -> None:
        if self.stream_key is None:
            return
        if isinstance(message, messages.Descriptor):
            card = descriptor.verify(message.bytes, self.stream_key)
            self.cards[block.tag_of(card.key)] = card
            self.counts["descriptors verified"] += 1
        if isinstance(message, messages.Seal):
            group = seal.verify(message.bytes, self.stream_key)
            self.marks.update(enumerate(group.marks, group.first_block))
            self.counts["seals verified"] += 1
            waiting, self.waiting = self.waiting, []
            for chunk in waiting:
                self._chunk(chunk)

    def _chunk(self, it: Chunk) -> str:
        if it.session not in self.sessions:
            raise Malformed("no such session")
        card, mark = self.cards.get(it.tag), self.marks.get(it.block)
        if card is None or mark is None or self.stream_key is None:
            self.waiting.append(it)
        elif not block.proves(merkle.Hasher(self.stream_key), card, mark, it):
            raise Malformed("a chunk that is not proved")
        else:
            self.counts["chunks proved"] += 1
        return f"block {it.block} index {it.index}"

    def _count_unproven(self, sender: str, receiver: str, it: Datagram, size: int) -> None:
        """Sums for (stranger, node): the stranger asks, the node answers."""
        if isinstance(it, Initiate):
            self.proved.add((sender, receiver))
        asks, answers = (sender, receiver), (receiver, sender)
        if asks not in self.proved and not isinstance(it, (Cookie, Reply, TryThese)):
            self.unproven.setdefault(asks, Unproven()).sent += size
        if answers not in self.proved and isinstance(it, (Cookie, Reply, TryThese)):
            self.unproven.setdefault(answers, Unproven()).got += size

    def too_long(self) -> list[str]:
        return [
            f"{stranger} got {sums.got} bytes from {node} for {sums.sent}, unproven"
            for (stranger, node), sums in self.unproven.items()
            if sums.got > sums.sent
        ]


def read_keylog(path: Path | None) -> dict[int, bytes]:
    lines = path.read_text().splitlines() if path else []
    return {int(session, 16): bytes.fromhex(key) for session, key in map(str.split, lines)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--keylog", type=Path)
    parser.add_argument("--key", help="the stream's key in base32")
    parser.add_argument("--print", action="store_true", help="a line for each datagram on stderr")
    args = parser.parse_args()
    stream_key = uri.parse(f"weir://x:1/{args.key}").key if args.key else None
    dissector = Dissector(read_keylog(args.keylog), stream_key, args.print)
    for line in args.capture.read_text().splitlines():
        _, sender, receiver, data = line.split(" ")
        dissector.take(sender, receiver, bytes.fromhex(data))
    complaints = dissector.unexplained + dissector.too_long()
    print(json.dumps({**dissector.counts, "unexplained": len(dissector.unexplained), "complaints": complaints[:20]}))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
