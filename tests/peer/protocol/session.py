"""Sealed control datagrams and the replay window ("Control datagrams")."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .datagram import AEAD_TAG_BYTES, MAX_CONTROL_BYTES, Control
from .noise import nonce_bytes
from .postcard import Malformed

WINDOW = 64


def seal(key: bytes, session: int, nonce: int, plain: bytes) -> bytes:
    """One control datagram to the receiver's session id."""
    header = Control(session, nonce, b"").header()
    return header + ChaCha20Poly1305(key).encrypt(nonce_bytes(nonce), plain, header)


def open_sealed(key: bytes, datagram: Control) -> bytes:
    if len(datagram.sealed) < AEAD_TAG_BYTES:
        raise Malformed("too short for a tag")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce_bytes(datagram.nonce), datagram.sealed, datagram.header())
    except InvalidTag as error:
        raise Malformed("does not open") from error


@dataclass
class ReplayWindow:
    """Which of the last 64 nonces were seen."""

    highest: int = -1
    seen: set[int] = field(default_factory=set)

    def is_new(self, nonce: int) -> bool:
        return nonce > self.highest - WINDOW and nonce not in self.seen and nonce != 2**64 - 1

    def mark(self, nonce: int) -> None:
        self.highest = max(self.highest, nonce)
        self.seen.add(nonce)
        self.seen = {n for n in self.seen if n > self.highest - WINDOW}


@dataclass
class Keys:
    """Keys and counters of one established session."""

    send: bytes
    receive: bytes
    next_nonce: int = 0
    window: ReplayWindow = field(default_factory=ReplayWindow)

    def seal(self, session: int, plain: bytes) -> bytes:
        if len(plain) > MAX_CONTROL_BYTES:
            raise ValueError("too much for one datagram")
        self.next_nonce += 1
        return seal(self.send, session, self.next_nonce - 1, plain)

    def open(self, datagram: Control) -> bytes:
        if not self.window.is_new(datagram.nonce):
            raise Malformed("seen before")
        plain = open_sealed(self.receive, datagram)
        self.window.mark(datagram.nonce)
        return plain
