"""Making and checking the chunks of a block ("Chunks")."""

from __future__ import annotations

from dataclasses import dataclass

from . import erasure, merkle
from .datagram import CHUNK_HEADER_BYTES, Chunk
from .descriptor import Descriptor
from .seal import NOWHERE, Mark


def tag_of(stream_key: bytes) -> int:
    return int.from_bytes(stream_key[:4], "big")


def header(tag: int, block: int, index: int) -> bytes:
    return tag.to_bytes(4, "big") + block.to_bytes(8, "big") + bytes([index])


def payload_offset(n: int) -> int:
    return CHUNK_HEADER_BYTES + merkle.depth(n) * merkle.NODE_BYTES


def payload_bytes(length: int, k: int) -> int:
    return max(1, -(-length // k))


@dataclass(frozen=True)
class Block:
    """A block as its source makes it: its mark, and its chunks from the header on."""

    mark: Mark
    leaves: list[bytes]
    chunks: list[bytes]


def make(hasher: merkle.Hasher, card: Descriptor, number: int, media: bytes, sync: int = NOWHERE, cut: int = NOWHERE) -> Block:
    size = payload_bytes(len(media), card.k)
    padded = media.ljust(card.k * size, b"\0")
    data = [padded[i * size : (i + 1) * size] for i in range(card.k)]
    payloads = erasure.encode(card.k, card.n, data)
    headers = [header(tag_of(card.key), number, index) for index in range(card.n)]
    leaves = [hasher.leaf(h, p) for h, p in zip(headers, payloads)]
    levels = hasher.levels(leaves)
    chunks = [h + merkle.path(levels, index) + p for index, (h, p) in enumerate(zip(headers, payloads))]
    return Block(Mark(levels[-1][0], len(media), sync, cut), leaves, chunks)


def proves(hasher: merkle.Hasher, card: Descriptor, mark: Mark, chunk: Chunk) -> bool:
    """Whether a chunk leads to its block's root and is as long as it must be."""
    offset = payload_offset(card.n)
    if chunk.index >= card.n or len(chunk.body) != offset + payload_bytes(mark.length, card.k):
        return False
    leaf = hasher.leaf(chunk.body[:CHUNK_HEADER_BYTES], chunk.body[offset:])
    return hasher.root_from_path(leaf, chunk.index, chunk.body[CHUNK_HEADER_BYTES:offset]) == mark.root


def media(card: Descriptor, mark: Mark, payloads: dict[int, bytes]) -> bytes:
    """The media bytes of a block from any K of its payloads."""
    return b"".join(erasure.rebuild(card.k, card.n, payloads))[: mark.length]
