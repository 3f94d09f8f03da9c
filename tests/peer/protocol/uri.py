"""The name of a stream ("The URI")."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from .postcard import Malformed

KEY_CHARS = 52


@dataclass(frozen=True)
class Uri:
    key: bytes
    hosts: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        return f"weir://{hosts}/{key_text(self.key)}"


def key_text(key: bytes) -> str:
    return base64.b32encode(key).decode().rstrip("=").lower()


def parse(text: str) -> Uri:
    scheme, _, rest = text.strip().partition("weir://")
    hosts, slash, key = rest.rpartition("/")
    if scheme or not slash or len(key) != KEY_CHARS:
        raise Malformed(f"no stream URI: {text}")
    try:
        raw = base64.b32decode(key.upper() + "====")
    except binascii.Error as error:
        raise Malformed("the key is not base32") from error
    return Uri(raw, tuple(_host(host) for host in hosts.split(",")))


def _host(text: str) -> tuple[str, int]:
    name, _, port = text.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if not name or not port.isdigit() or not 0 < int(port) < 65536 or (":" in name and not bracketed):
        raise Malformed(f"a host needs a port: {text}")
    return name.strip("[]"), int(port)
