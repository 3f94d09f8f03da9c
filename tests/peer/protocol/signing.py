"""Ed25519 over domain-separated hashes ("Signatures")."""

from __future__ import annotations

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .postcard import Malformed

SIGNATURE_BYTES = 64
DESCRIPTOR_DOMAIN = "weir v1 descriptor"
SEAL_DOMAIN = "weir v1 seal"


def signed_hash(domain: str, *parts: bytes) -> bytes:
    hasher = blake3(derive_key_context=domain)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "little") + part)
    return hasher.digest()


def public_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed: bytes, domain: str, *parts: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(signed_hash(domain, *parts))


def verify(public: bytes, signature: bytes, domain: str, *parts: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_hash(domain, *parts))
    except InvalidSignature as error:
        raise Malformed("a signature that does not fit") from error
