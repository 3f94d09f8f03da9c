"""The tree over the chunks of a block ("Proving a chunk")."""

from __future__ import annotations

from blake3 import blake3

from .postcard import Malformed

NODE_BYTES = 16
NO_LEAF = bytes(NODE_BYTES)


def depth(n: int) -> int:
    return (n - 1).bit_length()


class Hasher:
    """The hash keys of one stream."""

    def __init__(self, stream_key: bytes) -> None:
        self.leaf_key = blake3(stream_key, derive_key_context="weir v1 merkle leaf").digest()
        self.node_key = blake3(stream_key, derive_key_context="weir v1 merkle node").digest()

    def leaf(self, header: bytes, payload: bytes) -> bytes:
        return blake3(header + payload, key=self.leaf_key).digest(NODE_BYTES)

    def parent(self, left: bytes, right: bytes) -> bytes:
        return blake3(left + right, key=self.node_key).digest(NODE_BYTES)

    def levels(self, leaves: list[bytes]) -> list[list[bytes]]:
        """The tree from the leaves up to the root."""
        level = leaves + [NO_LEAF] * ((1 << depth(len(leaves))) - len(leaves))
        out = [level]
        while len(level) > 1:
            level = [self.parent(level[i], level[i + 1]) for i in range(0, len(level), 2)]
            out.append(level)
        return out

    def root_from_path(self, leaf: bytes, index: int, path: bytes) -> bytes:
        node = leaf
        if len(path) % NODE_BYTES or index >> len(path) // NODE_BYTES:
            raise Malformed("no path of this chunk")
        for at in range(0, len(path), NODE_BYTES):
            sibling = path[at : at + NODE_BYTES]
            node = self.parent(sibling, node) if index & 1 else self.parent(node, sibling)
            index >>= 1
        return node


def path(levels: list[list[bytes]], index: int) -> bytes:
    return b"".join(level[(index >> i) ^ 1] for i, level in enumerate(levels[:-1]))
