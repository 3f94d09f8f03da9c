"""Noise_XX_25519_ChaChaPoly_BLAKE2s, written from the Noise specification (revision 34), and X25519 keys."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .postcard import Malformed

PROTOCOL_NAME = b"Noise_XX_25519_ChaChaPoly_BLAKE2s"
KEY_BYTES = 32
TAG_BYTES = 16

# Who writes which tokens (section 7.5).
PATTERN = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


def prologue(initiator_session: int, tag: int) -> bytes:
    return b"weir v1" + initiator_session.to_bytes(8, "big") + tag.to_bytes(4, "big")


def public_key(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _dh(secret: bytes, public: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise Malformed("a weak key") from error


def _hash(data: bytes) -> bytes:
    return hashlib.blake2s(data).digest()


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.blake2s).digest()


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    temp = _hmac(chaining_key, material)
    first = _hmac(temp, b"\x01")
    return first, _hmac(temp, first + b"\x02")


def nonce_bytes(nonce: int) -> bytes:
    return bytes(4) + nonce.to_bytes(8, "little")


@dataclass
class Handshake:
    """One side of a handshake."""

    initiator: bool
    secret: bytes
    ephemeral: bytes
    prologue: bytes
    their_public: bytes = b""
    their_ephemeral: bytes = b""
    step: int = 0
    nonce: int = 0
    key: bytes | None = None
    hash: bytes = field(init=False)
    chaining_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        # The name is longer than a hash, so it is hashed (section 5.2).
        self.hash = self.chaining_key = _hash(PROTOCOL_NAME)
        self._mix_hash(self.prologue)

    def write(self, payload: bytes = b"") -> bytes:
        out = b""
        for token in self._turn(writing=True):
            if token == "e":
                public = public_key(self.ephemeral)
                self._mix_hash(public)
                out += public
            elif token == "s":
                out += self._encrypt(public_key(self.secret))
            else:
                self._mix_dh(token)
        return out + self._encrypt(payload)

    def read(self, message: bytes) -> bytes:
        for token in self._turn(writing=False):
            if token == "e":
                self.their_ephemeral, message = self._split(message, KEY_BYTES)
                self._mix_hash(self.their_ephemeral)
            elif token == "s":
                sealed, message = self._split(message, KEY_BYTES + (TAG_BYTES if self.key else 0))
                self.their_public = self._decrypt(sealed)
            else:
                self._mix_dh(token)
        return self._decrypt(message)

    def keys(self) -> tuple[bytes, bytes]:
        """Keys for sending and receiving, once all three messages are through."""
        if self.step != len(PATTERN):
            raise Malformed("the handshake is not finished")
        up, down = _hkdf(self.chaining_key, b"")
        return (up, down) if self.initiator else (down, up)

    def _turn(self, writing: bool) -> tuple[str, ...]:
        initiators_turn = self.step % 2 == 0
        if self.step >= len(PATTERN) or writing != (initiators_turn == self.initiator):
            raise Malformed("out of turn")
        self.step += 1
        return PATTERN[self.step - 1]

    @staticmethod
    def _split(message: bytes, count: int) -> tuple[bytes, bytes]:
        if len(message) < count:
            raise Malformed("too short")
        return message[:count], message[count:]

    def _mix_hash(self, data: bytes) -> None:
        self.hash = _hash(self.hash + data)

    def _mix_dh(self, token: str) -> None:
        # The first letter names the initiator's key, the second the responder's.
        mine = token[0 if self.initiator else 1]
        theirs = token[1 if self.initiator else 0]
        secret = self.ephemeral if mine == "e" else self.secret
        public = self.their_ephemeral if theirs == "e" else self.their_public
        self.chaining_key, self.key = _hkdf(self.chaining_key, _dh(secret, public))
        self.nonce = 0

    def _encrypt(self, plain: bytes) -> bytes:
        sealed = plain
        if self.key is not None:
            sealed = ChaCha20Poly1305(self.key).encrypt(nonce_bytes(self.nonce), plain, self.hash)
            self.nonce += 1
        self._mix_hash(sealed)
        return sealed

    def _decrypt(self, sealed: bytes) -> bytes:
        plain = sealed
        if self.key is not None:
            try:
                plain = ChaCha20Poly1305(self.key).decrypt(nonce_bytes(self.nonce), sealed, self.hash)
            except InvalidTag as error:
                raise Malformed("a handshake message that does not open") from error
            self.nonce += 1
        self._mix_hash(sealed)
        return plain
