"""Control messages, in the order of their numbers ("Messages")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Annotated, Union

from .postcard import (
    ADDRESS, BOOL, BYTES, U8, U16, U32, U64, Address, Codec, Malformed, Reader, array, choice, record, sequence,
)

MAX_STRIPES = 32
MAX_TRY = 8
MAX_EXCHANGE = 12


class Standing(IntFlag):
    SOURCE = 1
    FORWARDS = 2
    PLAYS = 4


class Reason(IntEnum):
    FULL = 0
    NOT_CARRIED = 1
    UNKNOWN_STREAM = 2
    LEAVING = 3


def _read_reason(r: Reader) -> Reason:
    try:
        return Reason(r.varint(32))
    except ValueError as error:
        raise Malformed("no such reason") from error


REASON = Codec(lambda v: bytes([v]), _read_reason)
KEY = array(32)
STRIPE_BYTES = sequence(U8, MAX_STRIPES)
TRY_THESE = sequence(ADDRESS, MAX_TRY)


@dataclass(frozen=True)
class PeerHint:
    addr: Annotated[Address, ADDRESS]
    home: Annotated[int, U32]


@dataclass(frozen=True)
class WantDescriptor:
    pass


@dataclass(frozen=True)
class WantPreamble:
    version: Annotated[int, U32]
    offset: Annotated[int, U32]


@dataclass(frozen=True)
class WantSeals:
    first: Annotated[int, U64]
    count: Annotated[int, U16]


@dataclass(frozen=True)
class WantChunks:
    block: Annotated[int, U64]
    stripes: Annotated[int, U32]


@dataclass(frozen=True)
class WantPeers:
    pass


@dataclass(frozen=True)
class WantNews:
    pass


@dataclass(frozen=True)
class WantTitle:
    mark: Annotated[int, U32]


Wanted = Union[WantDescriptor, WantPreamble, WantSeals, WantChunks, WantPeers, WantNews, WantTitle]
WANTED = choice(WantDescriptor, WantPreamble, WantSeals, WantChunks, WantPeers, WantNews, WantTitle)


@dataclass(frozen=True)
class Join:
    key: Annotated[bytes, KEY]
    standing: Annotated[int, U8]
    version: Annotated[int, U32]


@dataclass(frozen=True)
class Descriptor:
    bytes: Annotated[bytes, BYTES]


@dataclass(frozen=True)
class Preamble:
    tag: Annotated[int, U32]
    version: Annotated[int, U32]
    offset: Annotated[int, U32]
    bytes: Annotated[bytes, BYTES]


@dataclass(frozen=True)
class Seal:
    age_ms: Annotated[int, U32]
    bytes: Annotated[bytes, BYTES]


@dataclass(frozen=True)
class Offer:
    tag: Annotated[int, U32]
    stripes: Annotated[int, U32]
    home: Annotated[int, U32]
    hops: Annotated[tuple[int, ...], STRIPE_BYTES]
    places: Annotated[int, U16]


@dataclass(frozen=True)
class Subscribe:
    tag: Annotated[int, U32]
    stripes: Annotated[int, U32]
    spare: Annotated[int, U32]
    seals: Annotated[bool, BOOL]
    back_ms: Annotated[int, U32]


@dataclass(frozen=True)
class Grant:
    tag: Annotated[int, U32]
    stripes: Annotated[int, U32]


@dataclass(frozen=True)
class Refuse:
    tag: Annotated[int, U32]
    stripes: Annotated[int, U32]
    reason: Annotated[Reason, REASON]
    try_these: Annotated[tuple[Address, ...], TRY_THESE]


@dataclass(frozen=True)
class Unsubscribe:
    tag: Annotated[int, U32]
    stripes: Annotated[int, U32]


@dataclass(frozen=True)
class Have:
    tag: Annotated[int, U32]
    tail: Annotated[int, U64]
    head: Annotated[int, U64]
    behind: Annotated[tuple[int, ...], STRIPE_BYTES]


@dataclass(frozen=True)
class Want:
    tag: Annotated[int, U32]
    wanted: Annotated[Wanted, WANTED]


@dataclass(frozen=True)
class PeerExchange:
    tag: Annotated[int, U32]
    peers: Annotated[tuple[PeerHint, ...], sequence(record(PeerHint), MAX_EXCHANGE)]


@dataclass(frozen=True)
class Audience:
    tag: Annotated[int, U32]
    listeners: Annotated[int, U32]


@dataclass(frozen=True)
class Ping:
    token: Annotated[int, U32]
    sent: Annotated[int, U32]


@dataclass(frozen=True)
class Pong:
    token: Annotated[int, U32]
    delay: Annotated[int, U32]
    waited: Annotated[int, U32] = 0


@dataclass(frozen=True)
class Bye:
    reason: Annotated[Reason, REASON]


@dataclass(frozen=True)
class Lack:
    tag: Annotated[int, U32]
    block: Annotated[int, U64]
    stripes: Annotated[int, U32]


KINDS = (
    Join, Descriptor, Preamble, Seal, Offer, Subscribe, Grant, Refuse, Unsubscribe, Have, Want, PeerExchange, Audience,
    Ping, Pong, Bye, Lack,
)
Message = Union[
    Join, Descriptor, Preamble, Seal, Offer, Subscribe, Grant, Refuse, Unsubscribe, Have, Want, PeerExchange, Audience,
    Ping, Pong, Bye, Lack,
]
MESSAGE = choice(*KINDS)


def write_all(messages: tuple[Message, ...]) -> bytes:
    return b"".join(map(MESSAGE.write, messages))


def read_all(plain: bytes) -> list[Message]:
    """The messages of one control datagram, back to back."""
    reader = Reader(plain)
    out = []
    while reader.at < len(plain):
        out.append(MESSAGE.read(reader))
    return out
