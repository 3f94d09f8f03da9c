"""The descriptor: the signed card of a stream ("The descriptor")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from . import signing
from .messages import KEY
from .postcard import U8, U16, U32, U64, Malformed, Reader, read_record, text, write_record

MAX_DESCRIPTOR_BYTES = 1024
MAX_PAYLOAD_BYTES = 1126
MAX_PREAMBLE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Descriptor:
    key: Annotated[bytes, KEY]
    version: Annotated[int, U32]
    first_block: Annotated[int, U64]
    k: Annotated[int, U8]
    n: Annotated[int, U8]
    chunk_bytes: Annotated[int, U16]
    group_ms: Annotated[int, U16]
    bitrate_bps: Annotated[int, U32]
    preamble_bytes: Annotated[int, U32]
    preamble_hash: Annotated[bytes, KEY]
    preamble_from_block: Annotated[int, U64]
    content_type: Annotated[str, text(64)]
    title: Annotated[str, text(128)]
    genre: Annotated[str, text(64)]
    url: Annotated[str, text(128)]
    disclosure: Annotated[str, text(256)]

    def sign(self, seed: bytes) -> bytes:
        signed = write_record(self)
        return signed + signing.sign(seed, signing.DESCRIPTOR_DOMAIN, signed)


def parse(data: bytes) -> Descriptor:
    """Takes a descriptor apart and checks what it says, not who signed it."""
    if not signing.SIGNATURE_BYTES < len(data) <= MAX_DESCRIPTOR_BYTES:
        raise Malformed("no descriptor has this length")
    r = Reader(data[: -signing.SIGNATURE_BYTES])
    card: Descriptor = read_record(Descriptor, r)
    r.end()
    fits = (
        card.k in (2, 4, 8, 16)
        and card.k < card.n <= 32
        and 1 <= card.chunk_bytes <= MAX_PAYLOAD_BYTES
        and 20 <= card.group_ms <= 5000
        and card.preamble_bytes <= MAX_PREAMBLE_BYTES
        and card.first_block <= card.preamble_from_block
    )
    if not fits:
        raise Malformed("an impossible descriptor")
    return card


def verify(data: bytes, stream_key: bytes) -> Descriptor:
    card = parse(data)
    if card.key != stream_key:
        raise Malformed("another stream's descriptor")
    signing.verify(stream_key, data[-64:], signing.DESCRIPTOR_DOMAIN, data[:-64])
    return card
