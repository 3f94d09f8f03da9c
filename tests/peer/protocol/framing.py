"""Datagrams over a byte stream ("Over a serial line"): COBS and CRC-32C."""

from __future__ import annotations

from .datagram import MAX_DATAGRAM_BYTES
from .postcard import Malformed


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def encode(datagram: bytes) -> bytes:
    rest = datagram + crc32c(datagram).to_bytes(4, "little")
    out = bytearray()
    # Runs without a zero, each behind its length plus one; a run of 254 has no zero of its own behind it.
    while True:
        zero = rest.find(0)
        run = len(rest) if zero < 0 else zero
        if run >= 254:
            out += b"\xff" + rest[:254]
            rest = rest[254:]
            if not rest:
                break
            continue
        out += bytes([run + 1]) + rest[:run]
        if zero < 0:
            break
        rest = rest[run + 1 :]
    return bytes(out) + b"\0"


def decode(frame: bytes) -> bytes:
    """The datagram of one frame, its final zero included."""
    out = bytearray()
    at = 0
    body = frame[:-1]
    while at < len(body):
        code = body[at]
        out += body[at + 1 : at + code]
        at += code
        if code < 255 and at < len(body):
            out.append(0)
    datagram, crc = bytes(out[:-4]), bytes(out[-4:])
    if at != len(body) or not 1 <= len(datagram) <= MAX_DATAGRAM_BYTES or crc != crc32c(datagram).to_bytes(4, "little"):
        raise Malformed("a damaged frame")
    return datagram
