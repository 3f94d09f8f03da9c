"""A minimal source: cuts media into blocks, signs, seals and sends to whoever subscribes ("The life of a source")."""

from __future__ import annotations

import time
from dataclasses import dataclass

from blake3 import blake3

from protocol import block, messages, signing
from protocol.datagram import Chunk
from protocol.descriptor import Descriptor
from protocol.merkle import Hasher
from protocol.messages import (
    Grant, Have, Join, Message, Offer, Preamble, Reason, Refuse, Standing, Subscribe, Unsubscribe, Want, WantChunks,
    WantDescriptor, WantNews, WantPreamble, WantSeals,
)
from protocol.postcard import Address
from protocol.seal import MAX_GROUP_BLOCKS, Seal

from .endpoint import Endpoint, Session

NEWS_S = 3.0
LEASE_S = 18.0
PREAMBLE_PIECE_BYTES = 1024
KEPT_BLOCKS = 512
MAX_SEALS_ASKED = 64


@dataclass(frozen=True)
class Programme:
    """What is broadcast and how it is cut."""

    title: str = "Weir in Python"
    content_type: str = "application/octet-stream"
    bitrate_bps: int = 400_000
    k: int = 4
    n: int = 6
    chunk_bytes: int = 900
    group_ms: int = 250


@dataclass
class Group:
    """One sealed group."""

    seal: bytes
    first: int
    end: int
    made_at: float


@dataclass
class Child:
    """What a neighbour gets."""

    session: Session
    joined: bool = False
    granted: int = 0
    seals: bool = False
    lease_until: float = 0.0
    told_at: float = 0.0


class Source:
    def __init__(self, endpoint: Endpoint, seed: bytes, media: bytes, programme: Programme, preamble: bytes = b"") -> None:
        self.endpoint = endpoint
        self.seed = seed
        self.key = signing.public_key(seed)
        self.tag = block.tag_of(self.key)
        self.hasher = Hasher(self.key)
        self.media = media
        self.taken = 0
        self.preamble = preamble
        # Time makes both grow from run to run.
        clock_ms = time.time_ns() // 1_000_000
        self.card = Descriptor(
            key=self.key, version=clock_ms // 1000, first_block=clock_ms, k=programme.k, n=programme.n,
            chunk_bytes=programme.chunk_bytes, group_ms=programme.group_ms, bitrate_bps=programme.bitrate_bps,
            preamble_bytes=len(preamble), preamble_hash=blake3(preamble).digest(), preamble_from_block=clock_ms,
            content_type=programme.content_type, title=programme.title, genre="", url="", disclosure="",
        )
        self.card_bytes = self.card.sign(seed)
        self.blocks: dict[int, block.Block] = {}
        self.groups: list[Group] = []
        self.children: dict[int, Child] = {}
        self.started_at: float | None = None
        self.next_group_at = 0.0
        endpoint.role = self

    @property
    def tail(self) -> int:
        return min(self.blocks, default=self.card.first_block)

    @property
    def head(self) -> int:
        return max(self.blocks, default=self.card.first_block - 1) + 1

    # Sessions

    def on_session(self, session: Session) -> None:
        self.children[session.ours] = Child(session)

    def on_closed(self, session: Session) -> None:
        self.children.pop(session.ours, None)

    def on_turned_away(self, address: Address, others: tuple[Address, ...]) -> None:
        pass

    def on_chunk(self, session: Session, chunk: Chunk) -> None:
        pass

    def on_message(self, session: Session, message: Message) -> None:
        child = self.children[session.ours]
        match message:
            case Join():
                self._on_join(child, message)
            case Subscribe(tag=self.tag):
                self._on_subscribe(child, message)
            case Unsubscribe(tag=self.tag):
                child.granted &= ~message.stripes
                self.endpoint.send(session, Grant(self.tag, child.granted))
            case Want(tag=self.tag):
                self._on_want(child, message.wanted)

    def _on_join(self, child: Child, message: Join) -> None:
        if message.key != self.key:
            self.endpoint.send(child.session, Refuse(block.tag_of(message.key), 0, Reason.UNKNOWN_STREAM, ()))
            return
        first, child.joined = not child.joined, True
        said: list[Message] = []
        if first:
            said.append(Join(self.key, int(Standing.SOURCE | Standing.FORWARDS), self.card.version))
        if message.version < self.card.version:
            said.append(messages.Descriptor(self.card_bytes))
        self.endpoint.send(child.session, *said, *self._news())

    def _news(self) -> tuple[Message, ...]:
        n = self.card.n
        everything = (1 << n) - 1
        return (
            Offer(self.tag, everything, everything, (0,) * n, 100),
            Have(self.tag, self.tail, self.head, (0,) * n),
        )

    def _on_subscribe(self, child: Child, message: Subscribe) -> None:
        now = time.monotonic()
        begins = message.seals and not child.seals
        child.granted = message.stripes & ((1 << self.card.n) - 1)
        child.seals = message.seals
        child.lease_until = now + LEASE_S
        self.endpoint.send(child.session, Grant(self.tag, child.granted))
        if begins:
            for group in self.groups:
                if (now - group.made_at) * 1000 <= message.back_ms:
                    self._send_seal(child, group)

    def _on_want(self, child: Child, wanted: messages.Wanted) -> None:
        match wanted:
            case WantDescriptor():
                self.endpoint.send(child.session, messages.Descriptor(self.card_bytes))
            case WantPreamble(version=self.card.version):
                piece = self.preamble[wanted.offset : wanted.offset + PREAMBLE_PIECE_BYTES]
                if piece:
                    self.endpoint.send(child.session, Preamble(self.tag, self.card.version, wanted.offset, piece))
            case WantSeals():
                end = wanted.first + min(wanted.count, MAX_SEALS_ASKED)
                for group in self.groups:
                    if group.first < end and group.end > wanted.first:
                        self._send_seal(child, group)
            case WantChunks():
                made = self.blocks.get(wanted.block)
                for index in range(self.card.n):
                    if made and wanted.stripes >> index & 1:
                        self.endpoint.send_chunk(child.session, made.chunks[index])
            case WantNews():
                self.endpoint.send(child.session, *self._news())

    # The stream

    def tick(self, now: float) -> None:
        for child in self.children.values():
            if child.granted and now > child.lease_until:
                child.granted, child.seals = 0, False
            if child.joined and now - child.told_at > NEWS_S:
                child.told_at = now
                self.endpoint.send(child.session, *self._news())
        # The stream begins when somebody listens, so that nothing of it is missed.
        if self.started_at is None and any(child.granted for child in self.children.values()):
            self.started_at = self.next_group_at = now
        if self.started_at is not None and now >= self.next_group_at and self.taken < len(self.media):
            self.next_group_at += self.card.group_ms / 1000
            self._make_group(now)

    def _make_group(self, now: float) -> None:
        size = max(1, self.card.bitrate_bps * self.card.group_ms // 8000)
        media = self.media[self.taken : self.taken + size]
        self.taken += len(media)
        most = self.card.k * self.card.chunk_bytes
        pieces = [media[i : i + most] for i in range(0, len(media), most)][:MAX_GROUP_BLOCKS]
        first = self.head
        # Raw bytes: a player can begin anywhere, and the output can end anywhere.
        made = [
            block.make(self.hasher, self.card, number, piece, sync=0, cut=len(piece))
            for number, piece in enumerate(pieces, first)
        ]
        marks = tuple(one.mark for one in made)
        seal = Seal(self.tag, self.card.version, first, time.time_ns() // 1_000_000, marks).sign(self.seed)
        group = Group(seal, first, first + len(made), now)
        self.groups.append(group)
        self.blocks.update(enumerate(made, first))
        self._send_group(group)
        while len(self.blocks) > KEPT_BLOCKS:
            oldest = self.groups.pop(0)
            for number in range(oldest.first, oldest.end):
                del self.blocks[number]

    def _send_group(self, group: Group) -> None:
        for child in self.children.values():
            if child.seals and child.granted:
                self._send_seal(child, group)
        for number in range(group.first, group.end):
            for index, body in enumerate(self.blocks[number].chunks):
                for child in self.children.values():
                    if child.granted >> index & 1:
                        self.endpoint.send_chunk(child.session, body)

    def _send_seal(self, child: Child, group: Group) -> None:
        age_ms = int((time.monotonic() - group.made_at) * 1000)
        self.endpoint.send(child.session, messages.Seal(age_ms, group.seal))
