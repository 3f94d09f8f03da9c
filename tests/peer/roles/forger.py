"""A neighbour that tells lies: it takes the real stream, offers all of it, and gives its children something else.

Whatever it does, an honest node must count it, drop it and play on.
"""

from __future__ import annotations

import io
import secrets
import time
from dataclasses import dataclass, field, replace

from protocol import block, messages, seal
from protocol.datagram import CHUNK_HEADER_BYTES, MAX_CONTROL_BYTES, MAX_DATAGRAM_BYTES, Chunk, Control
from protocol.merkle import NODE_BYTES
from protocol.messages import Grant, Have, Join, Message, Offer, Standing, Subscribe, Want, WantChunks, WantDescriptor, WantNews, WantSeals
from protocol.postcard import varint
from protocol.session import seal as seal_control
from protocol.uri import Uri

from .endpoint import Endpoint, Session
from .listener import Listener

NEWS_S = 3.0

MODES = {
    "payload": "chunks with a flipped bit in the payload",
    "path": "chunks with a flipped bit in the Merkle path",
    "index": "chunks that claim another stripe",
    "stale": "old chunks under new block numbers",
    "seal": "seals with false roots, and chunks that fit them",
    "garbage": "noise, sealed and unsealed, beside honest chunks",
    "replay": "every control datagram many times over, beside honest chunks",
    "oversize": "chunks, messages and datagrams that are too long, beside honest chunks",
    "silent": "promises and nothing else",
}


@dataclass
class Victim:
    session: Session
    granted: int = 0
    told_at: float = 0.0
    said: list[bytes] = field(default_factory=list)


class Forger(Listener):
    def __init__(self, endpoint: Endpoint, uri: Uri, mode: str) -> None:
        super().__init__(endpoint, uri, io.BytesIO(), standing=Standing.FORWARDS | Standing.PLAYS)
        self.mode = mode
        self.victims: dict[int, Victim] = {}
        self.old: dict[int, bytes] = {}

    # Towards the victims: sessions that others opened.

    def on_session(self, session: Session) -> None:
        if session.outgoing:
            super().on_session(session)
        else:
            self.victims[session.ours] = Victim(session)

    def on_closed(self, session: Session) -> None:
        super().on_closed(session)
        self.victims.pop(session.ours, None)

    def on_message(self, session: Session, message: Message) -> None:
        victim = self.victims.get(session.ours)
        if victim is None:
            super().on_message(session, message)
            if isinstance(message, messages.Seal):
                self._spread_seal(message)
            return
        match message:
            case Join():
                self._say(victim, Join(self.uri.key, int(Standing.FORWARDS), self.card.version if self.card else 0))
                self._tell_news(victim)
            case Subscribe():
                victim.granted = message.stripes
                self.counts["promises"] += 1
                self._say(victim, Grant(self.tag, message.stripes))
            case Want(wanted=WantDescriptor()):
                if self.card_bytes:
                    self._say(victim, messages.Descriptor(self.card_bytes))
            case Want(wanted=WantNews()):
                self._tell_news(victim)
            case Want(wanted=WantSeals(first=first)):
                for data in [data for begin, data in self.seals.items() if begin + 36 > first][:8]:
                    self._lie_about_seal(victim, messages.Seal(100, data))
            case Want(wanted=WantChunks(block=number, stripes=stripes)) if self.card:
                body = self.old.get(number)
                for index in range(self.card.n):
                    if body and stripes >> index & 1:
                        self._lie_about_chunk(victim, number, index, body)

    def tick(self, now: float) -> None:
        super().tick(now)
        for victim in self.victims.values():
            if now - victim.told_at > NEWS_S:
                self._tell_news(victim)

    def _tell_news(self, victim: Victim) -> None:
        if not self.card:
            return
        victim.told_at = time.monotonic()
        n = self.card.n
        head = max(self.blocks, default=self.card.first_block) + 4
        everything = (1 << n) - 1
        self._say(
            victim,
            Offer(self.tag, everything, everything, (1,) * n, 1000),
            Have(self.tag, max(0, head - 200), head, (0,) * n),
        )

    def _say(self, victim: Victim, *said: Message) -> None:
        self._say_plain(victim, messages.write_all(said))

    def _say_plain(self, victim: Victim, plain: bytes) -> None:
        sealed = self.endpoint.send_plain(victim.session, plain)
        if self.mode == "replay":
            victim.said = victim.said[-20:] + [sealed]
            for old in victim.said:
                self.counts["replays"] += 1
                self.endpoint.send_raw(victim.session.address, old)

    # The stream, and what becomes of it here.

    def on_proved(self, number: int, chunk: Chunk) -> None:
        self.old[number] = chunk.body
        if len(self.old) > 200:
            del self.old[min(self.old)]
        for victim in list(self.victims.values()):
            if victim.granted >> chunk.index & 1:
                self._lie_about_chunk(victim, number, chunk.index, chunk.body)

    def _spread_seal(self, message: messages.Seal) -> None:
        for victim in list(self.victims.values()):
            if victim.granted:
                self._lie_about_seal(victim, message)

    def _lie_about_seal(self, victim: Victim, message: messages.Seal) -> None:
        if self.mode == "silent":
            return
        if self.mode == "seal":
            self.counts["seals"] += 1
            data = bytearray(message.bytes)
            data[27 + secrets.randbelow(NODE_BYTES)] ^= 0x40
            self._say(victim, messages.Seal(message.age_ms, bytes(data)))
            # The same lie under the liar's own signature.
            lie = seal.parse(bytes(data))
            self._say(victim, messages.Seal(message.age_ms, lie.sign(secrets.token_bytes(32))))
            # And about the next group, before its true seal can have come: only the signature tells.
            ahead = replace(lie, first_block=lie.end_block)
            self._say(victim, messages.Seal(0, ahead.sign(secrets.token_bytes(32))))
            return
        self._say(victim, message)

    def _lie_about_chunk(self, victim: Victim, number: int, index: int, body: bytes) -> None:
        assert self.card
        session = victim.session
        header = block.header(self.tag, number, index)
        body = header + body[CHUNK_HEADER_BYTES:]
        offset = block.payload_offset(self.card.n)
        match self.mode:
            case "payload":
                self._send_lie(session, _flipped(body, offset, len(body)))
            case "path":
                self._send_lie(session, _flipped(body, CHUNK_HEADER_BYTES, offset))
            case "index":
                other = (index + 1) % self.card.n
                self._send_lie(session, block.header(self.tag, number, other) + body[CHUNK_HEADER_BYTES:])
            case "stale":
                oldest = self.old[min(self.old)]
                self._send_lie(session, oldest)
                if number > min(self.old):
                    self._send_lie(session, header + oldest[CHUNK_HEADER_BYTES:])
            case "seal":
                self._send_lie(session, header + bytes(offset - CHUNK_HEADER_BYTES) + body[offset:])
            case "garbage":
                self._noise(victim)
                self.endpoint.send_chunk(session, body)
            case "oversize":
                self._oversize(victim, body)
                self.endpoint.send_chunk(session, body)
            case "replay":
                self.endpoint.send_chunk(session, body)
                self.endpoint.send_chunk(session, body)
            case "silent":
                pass

    def _send_lie(self, session: Session, body: bytes) -> None:
        self.counts["chunks_forged"] += 1
        self.endpoint.send_chunk(session, body)

    def _noise(self, victim: Victim) -> None:
        self.counts["noise"] += 1
        address = victim.session.address
        # Every message number with random fields, sealed with the right key.
        which = secrets.randbelow(20)
        self._say_plain(victim, bytes([which]) + secrets.token_bytes(secrets.randbelow(80)))
        # A message that claims to be longer than its datagram; lists longer than any may be.
        self._say_plain(victim, b"\x01" + varint(2**40) + secrets.token_bytes(8))
        self._say_plain(victim, b"\x04" + varint(self.tag) + b"\x01\x01" + varint(5000) + bytes(40))
        # Sealed with a wrong key, with a used-up nonce, and not at all.
        self.endpoint.send_raw(address, seal_control(secrets.token_bytes(32), victim.session.theirs, 2**63, bytes(20)))
        self.endpoint.send_raw(address, Control(victim.session.theirs, 2**64 - 1, bytes(40)).write())
        for kind in range(16):
            self.endpoint.send_raw(address, bytes([0x10 | kind]) + secrets.token_bytes(secrets.randbelow(200)))
        self.endpoint.send_raw(address, b"")

    def _oversize(self, victim: Victim, body: bytes) -> None:
        address, session = victim.session.address, victim.session
        self._send_lie(session, body + b"\0")
        self._send_lie(session, body.ljust(MAX_DATAGRAM_BYTES - 12, b"\0"))
        self._send_lie(session, body[:-1])
        self._send_lie(session, body.ljust(8000, b"\0"))
        self.counts["oversize"] += 1
        self.endpoint.send_raw(address, bytes([0x16]) + secrets.token_bytes(60_000))
        longest = seal_control(session.keys.send, session.theirs, session.keys.next_nonce, bytes(MAX_CONTROL_BYTES + 1))
        self.endpoint.send_raw(address, longest)
        self._say_plain(victim, messages.MESSAGE.write(messages.Seal(0, secrets.token_bytes(1190))))
        self._say_plain(victim, messages.MESSAGE.write(messages.Descriptor(self.uri.key + secrets.token_bytes(1100))))


def _flipped(body: bytes, begin: int, end: int) -> bytes:
    """The body with one bit flipped between two places."""
    at = begin + secrets.randbelow(max(1, end - begin))
    return body[:at] + bytes([body[at] ^ 1 << secrets.randbelow(8)]) + body[at + 1 :]
