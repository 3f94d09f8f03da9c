"""A listener: takes a stream from whoever has places, proves and rebuilds it, and writes the media ("The life of a listener")."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

from blake3 import blake3

from protocol import block, descriptor, merkle, seal
from protocol.datagram import CHUNK_HEADER_BYTES, Chunk
from protocol.descriptor import Descriptor
from protocol.messages import (
    Grant, Join, Message, Offer, PeerExchange, Preamble, Refuse, Standing, Subscribe, Want, WantChunks,
    WantDescriptor, WantPreamble, WantSeals,
)
from protocol import messages
from protocol.postcard import Address, Malformed
from protocol.seal import NOWHERE, Mark
from protocol.uri import Uri

from .endpoint import Endpoint, Session

ASK_S = 0.3
RENEW_S = 5.0
REFUSED_S = 2.0
WINDOW_S = 4.0
MAX_PARKED = 48
BACK_MS = 1000


@dataclass
class Block:
    """A block whose seal is here."""

    mark: Mark
    sealed_at: float
    payloads: dict[int, bytes] = field(default_factory=dict)
    asked_at: float = 0.0
    media: bytes | None = None


@dataclass
class Parent:
    """What a neighbour offers, and what it was asked for."""

    session: Session
    offered: int = 0
    places: int = 0
    wanted: int = 0
    granted: int = 0
    refused: int = 0
    refused_until: float = 0.0
    seals: bool = False
    asked_at: float = 0.0
    joined_at: float = 0.0
    version: int = 0


def _lowest(parent: Parent) -> tuple[bool, int]:
    """Sorts parents by their lowest stripe, those that granted some first."""
    stripes = parent.granted & parent.wanted
    return not stripes, (stripes or parent.wanted) & -(stripes or parent.wanted)


class Listener:
    def __init__(self, endpoint: Endpoint, uri: Uri, out: BinaryIO, standing: int = Standing.PLAYS) -> None:
        self.endpoint = endpoint
        self.uri = uri
        self.out = out
        self.standing = standing
        self.tag = block.tag_of(uri.key)
        self.hasher = merkle.Hasher(uri.key)
        self.card: Descriptor | None = None
        self.card_bytes = b""
        self.preamble = b""
        self.preamble_asked_at = 0.0
        self.parents: dict[int, Parent] = {}
        self.blocks: dict[int, Block] = {}
        self.seals: dict[int, bytes] = {}
        self.parked: list[Chunk] = []
        self.seals_asked_at = 0.0
        # Next block to play; None until the first seal. What is played but not yet released waits for its cut.
        self.next: int | None = None
        # Output has begun; after a gap it begins once more, at a sync point.
        self.began = False
        self.flowing = False
        self.held = b""
        self.played_bytes = 0
        self.counts: Counter[str] = Counter()
        endpoint.role = self
        self.reconnect_at = 0.0

    # Sessions

    def on_session(self, session: Session) -> None:
        parent = self.parents[session.ours] = Parent(session)
        # Whoever calls says for what; the other side answers.
        if session.outgoing:
            self._join(parent)

    def _join(self, parent: Parent) -> None:
        parent.joined_at = time.monotonic()
        version = self.card.version if self.card else 0
        self.endpoint.send(parent.session, Join(self.uri.key, int(self.standing), version))

    def on_closed(self, session: Session) -> None:
        self.parents.pop(session.ours, None)

    def on_turned_away(self, address: Address, others: tuple[Address, ...]) -> None:
        for other in others:
            self.endpoint.connect(other, self.tag)

    def on_message(self, session: Session, message: Message) -> None:
        parent = self.parents[session.ours]
        match message:
            case Join() if message.key == self.uri.key:
                parent.version = message.version
                if not parent.joined_at:
                    self._join(parent)
            case messages.Descriptor():
                self._on_descriptor(message.bytes)
            case messages.Seal():
                self._on_seal(session, message)
            case Preamble(tag=self.tag):
                self._on_preamble(session, message)
            case Offer(tag=self.tag):
                parent.offered, parent.places = message.stripes, message.places
            case Grant(tag=self.tag):
                parent.granted = message.stripes
            case Refuse(tag=self.tag):
                parent.wanted &= ~message.stripes
                parent.refused |= message.stripes
                parent.refused_until = time.monotonic() + REFUSED_S
                for other in message.try_these:
                    self.endpoint.connect(other, self.tag)
            case PeerExchange(tag=self.tag):
                for hint in message.peers:
                    self.endpoint.connect(hint.addr, self.tag)

    # What is proved

    def _on_descriptor(self, data: bytes) -> None:
        card = descriptor.verify(data, self.uri.key)
        if self.card is None or card.version > self.card.version:
            if self.card and (self.card.k, self.card.n, self.card.chunk_bytes) != (card.k, card.n, card.chunk_bytes):
                self.blocks.clear()
                self.parked.clear()
                self.next = None
            if self.card is None or self.card.preamble_hash != card.preamble_hash:
                self.preamble = b""
            self.card, self.card_bytes = card, data

    def _on_preamble(self, session: Session, piece: Preamble) -> None:
        card = self.card
        if not card or piece.version != card.version or piece.offset != len(self.preamble) or self._has_preamble():
            return
        self.preamble += piece.bytes
        if len(self.preamble) >= card.preamble_bytes and not self._has_preamble():
            self.counts["bad_preambles"] += 1
            self.preamble = b""
        if not self._has_preamble():
            self.endpoint.send(session, Want(self.tag, WantPreamble(card.version, len(self.preamble))))

    def _has_preamble(self) -> bool:
        card = self.card
        if not card or len(self.preamble) != card.preamble_bytes:
            return False
        return card.preamble_bytes == 0 or blake3(self.preamble).digest() == card.preamble_hash

    def _on_seal(self, session: Session, message: messages.Seal) -> None:
        if not self.card or message.bytes[:4] != self.tag.to_bytes(4, "big"):
            return
        if seal.parse(message.bytes).version > self.card.version:
            self.endpoint.send(session, Want(self.tag, WantDescriptor()))
            return
        group = seal.parse(message.bytes)
        if group.first_block in self.blocks or (self.began and self.next is not None and group.end_block <= self.next):
            return
        try:
            seal.verify(message.bytes, self.uri.key)
        except Malformed:
            self.counts["invalid_seals"] += 1
            raise
        self.counts["seals"] += 1
        self.seals[group.first_block] = message.bytes
        for number, mark in enumerate(group.marks, group.first_block):
            self.blocks.setdefault(number, Block(mark, time.monotonic()))
        if not self.began:
            self.next = min(self.blocks)
        waiting, self.parked = self.parked, []
        for chunk in waiting:
            self.on_chunk(session, chunk)

    def on_chunk(self, session: Session, chunk: Chunk) -> None:
        if not self.card or chunk.tag != self.tag:
            return
        number, known = chunk.block, self.blocks.get(chunk.block)
        if known is None:
            if self.next is None or number >= self.next:
                self.parked = self.parked[-(MAX_PARKED - 1) :] + [chunk]
                self.counts["parked"] += 1
                self._want_seals(session, number, 1)
            return
        if chunk.index in known.payloads:
            self.counts["duplicates"] += 1
        elif not block.proves(self.hasher, self.card, known.mark, chunk):
            self.counts["invalid_chunks"] += 1
        else:
            self.counts["chunks"] += 1
            known.payloads[chunk.index] = chunk.body[block.payload_offset(self.card.n) :]
            self.on_proved(number, chunk)

    def on_proved(self, number: int, chunk: Chunk) -> None:
        """For those who forward."""

    # What is played

    def _play(self, now: float) -> None:
        card = self.card
        if not card or self.next is None or not self._has_preamble():
            return
        while (known := self.blocks.get(self.next)) and len(known.payloads) >= card.k:
            missing = [i for i in range(card.k) if i not in known.payloads]
            self.counts["rebuilt"] += len(missing)
            known.media = block.media(card, known.mark, known.payloads)
            self._release(known)
            self.next += 1
        self._skip_lost(now)
        for old in [number for number in self.blocks if number < self.next - 256]:
            del self.blocks[old]

    def _release(self, known: Block) -> None:
        assert known.media is not None
        if not self.flowing:
            if known.mark.sync == NOWHERE:
                return
            if not self.began:
                self.out.write(self.preamble)
            self.began = self.flowing = True
            piece, start = known.media[known.mark.sync :], known.mark.sync
        else:
            piece, start = known.media, 0
        self.held += piece
        # Up to the last cut the output may be followed by anything; behind it only by what follows in the stream.
        if known.mark.cut != NOWHERE and known.mark.cut >= start:
            ready = len(self.held) - (known.mark.length - known.mark.cut)
            self.out.write(self.held[:ready])
            self.played_bytes += ready
            self.held = self.held[ready:]

    def _skip_lost(self, now: float) -> None:
        """Goes on at the next sync point when a block does not come in time."""
        assert self.next is not None
        later = [number for number in self.blocks if number > self.next]
        if not later or now - self.blocks[min(later)].sealed_at < WINDOW_S:
            return
        begins = [n for n in sorted(later) if self.blocks[n].mark.sync != NOWHERE and n > self.next]
        if begins:
            self.counts["gaps"] += 1
            self.next, self.held, self.flowing = begins[0], b"", False

    # What is asked for

    def tick(self, now: float) -> None:
        self._play(now)
        if now >= self.reconnect_at:
            self.reconnect_at = now + 1.0
            if len(self.parents) < max(1, len(self.uri.hosts)):
                for host in self.uri.hosts:
                    self.endpoint.connect(host, self.tag)
        for parent in list(self.parents.values()):
            silent = parent.offered == 0 and now - parent.joined_at > 0.4
            if parent.joined_at and silent and now - parent.session.since < 5:
                self._join(parent)
        if not self.card:
            self._ask_everybody(now, WantDescriptor())
            return
        if not self._has_preamble():
            self._ask_everybody(now, WantPreamble(self.card.version, len(self.preamble)))
        self._choose_parents(now)
        self._repair(now)

    def _ask_everybody(self, now: float, wanted: messages.Wanted) -> None:
        if now - self.preamble_asked_at > ASK_S:
            self.preamble_asked_at = now
            for parent in self.parents.values():
                self.endpoint.send(parent.session, Want(self.tag, wanted))

    def _choose_parents(self, now: float) -> None:
        assert self.card
        taken = 0
        for parent in self.parents.values():
            taken |= parent.wanted
        changed = set()
        for stripe in range(self.card.n):
            if taken >> stripe & 1:
                continue
            able = [p for p in self.parents.values() if self._may_ask(now, p, stripe)]
            if able:
                best = min(able, key=lambda p: p.wanted.bit_count())
                best.wanted |= 1 << stripe
                changed.add(best.session.ours)
        # Seals are taken from one parent; a lost one is asked for.
        sealing = min((p for p in self.parents.values() if p.wanted), key=_lowest, default=None)
        for ours, parent in self.parents.items():
            pause = RENEW_S if parent.granted == parent.wanted else ASK_S
            turned = parent.seals != (parent is sealing)
            if ours in changed or turned or (parent.wanted and now - parent.asked_at > pause):
                parent.asked_at, parent.seals = now, parent is sealing
                self.endpoint.send(parent.session, Subscribe(self.tag, parent.wanted, 0, parent.seals, BACK_MS))

    @staticmethod
    def _may_ask(now: float, parent: Parent, stripe: int) -> bool:
        refused = parent.refused >> stripe & 1 and now < parent.refused_until
        open_places = parent.places - (parent.wanted & ~parent.granted).bit_count()
        return bool(parent.offered >> stripe & 1) and not refused and open_places > 0

    def _repair(self, now: float) -> None:
        assert self.card
        if self.next is None:
            return
        late_s = self.card.group_ms / 1000 + 0.1
        parents = list(self.parents.values())
        for number in range(self.next, self.next + 64):
            known = self.blocks.get(number)
            if known is None or len(known.payloads) >= self.card.k or now - known.sealed_at < late_s:
                continue
            if parents and now - known.asked_at > ASK_S:
                known.asked_at = now
                missing = [i for i in range(self.card.n) if i not in known.payloads][: self.card.k - len(known.payloads)]
                mask = sum(1 << i for i in missing)
                asked = parents[(number + int(now / ASK_S)) % len(parents)]
                self.endpoint.send(asked.session, Want(self.tag, WantChunks(number, mask)))
                self.counts["asked"] += len(missing)
        unsealed = [c.block for c in self.parked]
        newest = max(self.blocks, default=self.next)
        hole = next((n for n in range(self.next, newest) if n not in self.blocks), None)
        first = hole if hole is not None else min(unsealed, default=None)
        if first is not None and parents:
            self._want_seals(parents[int(now / ASK_S) % len(parents)].session, first, 64)

    def _want_seals(self, session: Session, first: int, count: int) -> None:
        now = time.monotonic()
        if now - self.seals_asked_at > ASK_S:
            self.seals_asked_at = now
            self.endpoint.send(session, Want(self.tag, WantSeals(first, count)))
