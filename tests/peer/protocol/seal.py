"""The seal of a group of blocks ("The seal")."""

from __future__ import annotations

from dataclasses import dataclass

from . import signing
from .postcard import Malformed, Reader

MAX_SEAL_BYTES = 1152
MAX_GROUP_BLOCKS = 35
NOWHERE = 0xFFFF
HAS_METADATA = 1
BEGINS_SEGMENT = 2


@dataclass(frozen=True)
class Mark:
    """What a seal says about one block."""

    root: bytes
    length: int
    sync: int = NOWHERE
    cut: int = NOWHERE

    def write(self) -> bytes:
        return self.root + b"".join(v.to_bytes(2, "big") for v in (self.length, self.sync, self.cut))


@dataclass(frozen=True)
class SegmentStart:
    """Where a segment begins, its number and its media time."""

    index: int
    number: int
    discontinuities: int
    time_us: int

    def write(self) -> bytes:
        return b"".join([
            bytes([self.index]),
            self.number.to_bytes(4, "big"),
            self.discontinuities.to_bytes(4, "big"),
            self.time_us.to_bytes(8, "big"),
        ])


@dataclass(frozen=True)
class Seal:
    tag: int
    version: int
    first_block: int
    clock_ms: int
    marks: tuple[Mark, ...]
    metadata: str | None = None
    segment: SegmentStart | None = None

    @property
    def end_block(self) -> int:
        return self.first_block + len(self.marks)

    def signed_part(self) -> bytes:
        metadata = (self.metadata or "").encode()
        return b"".join([
            self.tag.to_bytes(4, "big"),
            self.version.to_bytes(4, "big"),
            self.first_block.to_bytes(8, "big"),
            self.clock_ms.to_bytes(8, "big"),
            bytes([self._flags(), len(self.marks), len(metadata)]),
            *(mark.write() for mark in self.marks),
            self.segment.write() if self.segment else b"",
            metadata,
        ])

    def _flags(self) -> int:
        return HAS_METADATA * (self.metadata is not None) + BEGINS_SEGMENT * (self.segment is not None)

    def sign(self, seed: bytes) -> bytes:
        signed = self.signed_part()
        return signed + signing.sign(seed, signing.SEAL_DOMAIN, signing.public_key(seed), signed)


def parse(data: bytes) -> Seal:
    """Takes a seal apart; the signature is not checked."""
    if len(data) > MAX_SEAL_BYTES:
        raise Malformed("no seal is so long")
    r = Reader(data)
    tag, version, first_block, clock_ms = r.uint(4), r.uint(4), r.uint(8), r.uint(8)
    flags, count, metadata_bytes = r.uint(1), r.uint(1), r.uint(1)
    marks = tuple(Mark(r.take(16), r.uint(2), r.uint(2), r.uint(2)) for _ in range(count))
    segment = SegmentStart(r.uint(1), r.uint(4), r.uint(4), r.uint(8)) if flags & BEGINS_SEGMENT else None
    try:
        metadata = r.take(metadata_bytes).decode()
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error
    r.take(signing.SIGNATURE_BYTES)
    r.end()
    if not 1 <= count <= MAX_GROUP_BLOCKS or first_block + count >= 2**64:
        raise Malformed("an impossible group")
    if segment and segment.index >= count:
        raise Malformed("a segment that begins outside its group")
    return Seal(tag, version, first_block, clock_ms, marks, metadata if flags & HAS_METADATA else None, segment)


def verify(data: bytes, stream_key: bytes) -> Seal:
    seal = parse(data)
    signing.verify(stream_key, data[-64:], signing.SEAL_DOMAIN, stream_key, data[:-64])
    return seal
