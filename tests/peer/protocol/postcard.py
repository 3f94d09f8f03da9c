"""Postcard, as far as the protocol uses it ("How messages are encoded")."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints


class Malformed(ValueError):
    """Bytes from outside that the document does not explain."""


class Reader:
    """Takes fields off the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if len(self.data) - self.at < count:
            raise Malformed("too short")
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self, size: int) -> int:
        """A fixed big-endian number."""
        return int.from_bytes(self.take(size), "big")

    def varint(self, bits: int) -> int:
        value = 0
        for i in range(-(-bits // 7)):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise Malformed(f"no number of {bits} bits")

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        if self.at != len(self.data):
            raise Malformed("bytes left over")


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True)
class Codec:
    """How one type is written and read."""

    write: Callable[[Any], bytes]
    read: Callable[[Reader], Any]


def number(bits: int) -> Codec:
    return Codec(varint, lambda r: r.varint(bits))


def array(size: int) -> Codec:
    return Codec(bytes, lambda r: r.take(size))


def _read_bool(r: Reader) -> bool:
    byte = r.take(1)[0]
    if byte > 1:
        raise Malformed("neither true nor false")
    return byte == 1


def _read_length(r: Reader, most: int) -> int:
    length = r.varint(64)
    if length > most:
        raise Malformed(f"{length} where at most {most} are allowed")
    return length


def text(most: int) -> Codec:
    def read(r: Reader) -> str:
        try:
            return r.take(_read_length(r, most)).decode()
        except UnicodeDecodeError as error:
            raise Malformed("not UTF-8") from error

    return Codec(lambda s: varint(len(s.encode())) + s.encode(), read)


def sequence(item: Codec, most: int) -> Codec:
    def write(items: Any) -> bytes:
        return varint(len(items)) + b"".join(map(item.write, items))

    def read(r: Reader) -> tuple[Any, ...]:
        return tuple(item.read(r) for _ in range(_read_length(r, most)))

    return Codec(write, read)


U8 = Codec(lambda v: bytes([v]), lambda r: r.take(1)[0])
U16, U32, U64 = number(16), number(32), number(64)
BOOL = Codec(lambda v: bytes([v]), _read_bool)
BYTES = Codec(lambda b: varint(len(b)) + b, lambda r: r.take(_read_length(r, 1232)))

Address = tuple[str, int]


def _write_address(address: Address) -> bytes:
    ip = ipaddress.ip_address(address[0])
    return bytes([ip.version == 6]) + ip.packed + varint(address[1])


def _read_address(r: Reader) -> Address:
    family = r.varint(32)
    if family > 1:
        raise Malformed("neither IPv4 nor IPv6")
    ip = ipaddress.ip_address(r.take(16 if family else 4))
    return str(ip), r.varint(16)


ADDRESS = Codec(_write_address, _read_address)


def codecs_of(record: type) -> list[tuple[str, Codec]]:
    """The fields of a dataclass whose annotations are `Annotated[type, Codec]`, in order."""
    hints = get_type_hints(record, include_extras=True)
    return [(name, hint.__metadata__[0]) for name, hint in hints.items() if hasattr(hint, "__metadata__")]


def write_record(value: Any) -> bytes:
    return b"".join(codec.write(getattr(value, name)) for name, codec in codecs_of(type(value)))


def read_record(record: type, r: Reader) -> Any:
    return record(**{name: codec.read(r) for name, codec in codecs_of(record)})


def record(kind: type) -> Codec:
    return Codec(write_record, lambda r: read_record(kind, r))


def choice(*kinds: type) -> Codec:
    """An enum: its variants are dataclasses, numbered in this order."""

    def write(value: Any) -> bytes:
        return varint(kinds.index(type(value))) + write_record(value)

    def read(r: Reader) -> Any:
        which = r.varint(32)
        if which >= len(kinds):
            raise Malformed(f"no variant {which}")
        return read_record(kinds[which], r)

    return Codec(write, read)
