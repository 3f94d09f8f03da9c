"""The outermost layer: kinds of datagrams and their fixed fields ("Datagrams")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Union

from .postcard import Malformed, Reader

VERSION = 1
MAX_DATAGRAM_BYTES = 1232
HELLO_BYTES = 32
COOKIE_BYTES = 16
CONTROL_HEADER_BYTES = 17
AEAD_TAG_BYTES = 16
MAX_CONTROL_BYTES = MAX_DATAGRAM_BYTES - CONTROL_HEADER_BYTES - AEAD_TAG_BYTES
CHUNK_PREFIX_BYTES = 13
CHUNK_HEADER_BYTES = 13
MAX_STRIPES = 32


def u24(value: int) -> bytes:
    return (value & 0xFFFFFF).to_bytes(3, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def first_byte(kind: int) -> bytes:
    return bytes([VERSION << 4 | kind])


@dataclass(frozen=True)
class Hello:
    KIND: ClassVar[int] = 1
    session: int
    tag: int

    def write(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + u32(self.tag) + bytes(HELLO_BYTES - 13)


@dataclass(frozen=True)
class Cookie:
    KIND: ClassVar[int] = 2
    session: int
    cookie: bytes

    def write(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + self.cookie


@dataclass(frozen=True)
class Initiate:
    KIND: ClassVar[int] = 3
    session: int
    tag: int
    cookie: bytes
    noise: bytes

    def write(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + u32(self.tag) + self.cookie + self.noise


@dataclass(frozen=True)
class Reply:
    KIND: ClassVar[int] = 4
    session: int
    noise: bytes

    def write(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + self.noise


@dataclass(frozen=True)
class Finish:
    KIND: ClassVar[int] = 5
    session: int
    noise: bytes

    def write(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + self.noise


@dataclass(frozen=True)
class Control:
    KIND: ClassVar[int] = 6
    session: int
    nonce: int
    sealed: bytes

    def header(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + u64(self.nonce)

    def write(self) -> bytes:
        return self.header() + self.sealed


@dataclass(frozen=True)
class Chunk:
    KIND: ClassVar[int] = 7
    session: int
    sent: int
    behind: int
    body: bytes

    def write(self) -> bytes:
        return first_byte(self.KIND) + u24(self.sent) + u64(self.session) + bytes([self.behind]) + self.body

    @property
    def tag(self) -> int:
        return int.from_bytes(self.body[:4], "big")

    @property
    def block(self) -> int:
        return int.from_bytes(self.body[4:12], "big")

    @property
    def index(self) -> int:
        return self.body[12]


@dataclass(frozen=True)
class TryThese:
    KIND: ClassVar[int] = 8
    session: int
    addresses: bytes

    def write(self) -> bytes:
        return first_byte(self.KIND) + u64(self.session) + self.addresses


Datagram = Union[Hello, Cookie, Initiate, Reply, Finish, Control, Chunk, TryThese]


def parse(data: bytes) -> Datagram:
    """Takes a datagram apart; every length is checked, nothing is believed."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise Malformed("longer than any datagram")
    r = Reader(data)
    first = r.uint(1)
    if first >> 4 != VERSION:
        raise Malformed("another version")
    kind = first & 0xF
    if kind == Chunk.KIND:
        sent, session, behind = r.uint(3), r.uint(8), r.uint(1)
        chunk = Chunk(session, sent, behind, r.rest())
        if len(chunk.body) < CHUNK_HEADER_BYTES or chunk.index >= MAX_STRIPES:
            raise Malformed("no chunk")
        return chunk
    session = r.uint(8)
    if kind == Hello.KIND:
        hello = Hello(session, r.uint(4))
        r.take(HELLO_BYTES - 13)
        r.end()
        return hello
    if kind == Cookie.KIND:
        cookie = Cookie(session, r.take(COOKIE_BYTES))
        r.end()
        return cookie
    if kind == Initiate.KIND:
        return Initiate(session, r.uint(4), r.take(COOKIE_BYTES), r.rest())
    if kind == Reply.KIND:
        return Reply(session, r.rest())
    if kind == Finish.KIND:
        return Finish(session, r.rest())
    if kind == Control.KIND:
        return Control(session, r.uint(8), r.rest())
    if kind == TryThese.KIND:
        return TryThese(session, r.rest())
    raise Malformed("no such kind")
