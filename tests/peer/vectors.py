"""The vectors of docs/PROTOCOL.md, computed with this implementation.

`vectors.py check DOCUMENT` compares them with the fenced blocks ```` ```vector NAME ```` of the document; `vectors.py write
DOCUMENT` puts them there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from blake3 import blake3

from protocol import block, datagram, framing, messages, noise, signing, uri
from protocol.descriptor import Descriptor
from protocol.merkle import Hasher
from protocol.messages import MESSAGE, Message, PeerHint, Reason, Standing
from protocol.postcard import varint
from protocol.seal import Seal, SegmentStart
from protocol.session import Keys

Vector = dict[str, bytes | str]

SEED = bytes(range(0x00, 0x20))
STREAM_KEY = signing.public_key(SEED)
TAG = block.tag_of(STREAM_KEY)
INITIATOR_SESSION = 0x0102030405060708
RESPONDER_SESSION = 0x1112131415161718
COOKIE = bytes(range(0xC0, 0xD0))
PREAMBLE = b"preamble"
ADDRESSES = (("192.0.2.1", 8479), ("2001:db8::1", 8479))
SEGMENT = SegmentStart(0, 830_078_125, 1_700_000_000, 2_000_000)
FENCE = re.compile(r"^```vector (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def varints() -> Vector:
    numbers = (0, 1, 127, 128, 300, 8479, 2**32 - 1, 2**64 - 1)
    return {f"{number}": varint(number) for number in numbers}


def handshake() -> dict[str, Vector]:
    secrets = {
        "initiator secret": bytes(range(0x20, 0x40)),
        "responder secret": bytes(range(0x40, 0x60)),
        "initiator ephemeral": bytes(range(0x60, 0x80)),
        "responder ephemeral": bytes(range(0x80, 0xA0)),
    }
    prologue = noise.prologue(INITIATOR_SESSION, TAG)
    initiator, responder = (
        noise.Handshake(side == "initiator", secrets[f"{side} secret"], secrets[f"{side} ephemeral"], prologue)
        for side in ("initiator", "responder")
    )
    first = initiator.write()
    responder.read(first)
    second = responder.write(datagram.u64(RESPONDER_SESSION))
    initiator.read(second)
    third = initiator.write()
    responder.read(third)
    up, down = initiator.keys()
    assert responder.keys() == (down, up)

    ping = (messages.Ping(0x1234, 0x5678), messages.Want(TAG, messages.WantDescriptor()))
    plain = messages.write_all(ping)
    session = Keys(up, down, next_nonce=7)
    return {
        "hello": {
            "session": datagram.u64(INITIATOR_SESSION),
            "tag": datagram.u32(TAG),
            "datagram": datagram.Hello(INITIATOR_SESSION, TAG).write(),
        },
        "cookie": {
            "session": datagram.u64(INITIATOR_SESSION),
            "cookie": COOKIE,
            "datagram": datagram.Cookie(INITIATOR_SESSION, COOKIE).write(),
        },
        "try-these": {
            "session": datagram.u64(INITIATOR_SESSION),
            "list": messages.TRY_THESE.write(ADDRESSES),
            "datagram": datagram.TryThese(INITIATOR_SESSION, messages.TRY_THESE.write(ADDRESSES)).write(),
        },
        "handshake": {
            **secrets,
            "initiator session": datagram.u64(INITIATOR_SESSION),
            "responder session": datagram.u64(RESPONDER_SESSION),
            "initiator public": noise.public_key(secrets["initiator secret"]),
            "responder public": noise.public_key(secrets["responder secret"]),
            "prologue": prologue,
            "message 1": first,
            "message 2": second,
            "message 3": third,
            "initiate": datagram.Initiate(INITIATOR_SESSION, TAG, COOKIE, first).write(),
            "reply": datagram.Reply(INITIATOR_SESSION, second).write(),
            "finish": datagram.Finish(RESPONDER_SESSION, third).write(),
            "key to responder": up,
            "key to initiator": down,
        },
        "control": {
            "key": up,
            "session": datagram.u64(RESPONDER_SESSION),
            "nonce": datagram.u64(7),
            "plaintext": plain,
            "header": datagram.Control(RESPONDER_SESSION, 7, b"").header(),
            "aead nonce": noise.nonce_bytes(7),
            "datagram": session.seal(RESPONDER_SESSION, plain),
        },
    }


def card() -> Descriptor:
    return Descriptor(
        key=STREAM_KEY, version=1_700_000_000, first_block=1000, k=2, n=3, chunk_bytes=600, group_ms=500,
        bitrate_bps=16_000, preamble_bytes=len(PREAMBLE), preamble_hash=blake3(PREAMBLE).digest(), preamble_from_block=1000,
        content_type="audio/ogg", title="Radio Weir", genre="", url="https://radio.example/",
        disclosure="We play music.",
    )


def stream() -> dict[str, Vector]:
    media = bytes.fromhex("7765697200017f")
    hasher = Hasher(STREAM_KEY)
    made = block.make(hasher, card(), 1000, media, sync=0, cut=4)
    seal = Seal(TAG, card().version, 1000, 1_700_000_000_000, (made.mark,), "A – B", SEGMENT)
    prefix = datagram.Chunk(INITIATOR_SESSION, 0x123456, 2, b"").write()
    chunks: Vector = {}
    for index, (leaf, chunk) in enumerate(zip(made.leaves, made.chunks)):
        chunks[f"leaf {index}"] = leaf
        chunks[f"chunk {index}"] = chunk
    return {
        "descriptor": {
            "seed": SEED, "key": STREAM_KEY, "preamble": PREAMBLE,
            "signed hash": signing.signed_hash(signing.DESCRIPTOR_DOMAIN, card().sign(SEED)[:-64]),
            "descriptor": card().sign(SEED),
        },
        "block": {
            "media": media,
            "leaf key": hasher.leaf_key, "node key": hasher.node_key,
            **chunks,
            "root": made.mark.root,
            "prefix": prefix,
            "datagram 0": prefix + made.chunks[0],
        },
        "seal": {
            "seed": SEED,
            "signed hash": signing.signed_hash(signing.SEAL_DOMAIN, STREAM_KEY, seal.signed_part()),
            "seal": seal.sign(SEED),
        },
    }


def every_message() -> Vector:
    everything: dict[str, Message] = {
        "join": messages.Join(STREAM_KEY, Standing.FORWARDS | Standing.PLAYS, 300),
        "descriptor": messages.Descriptor(b"\xaa\xbb\xcc"),
        "preamble": messages.Preamble(TAG, 300, 1024, b"\xaa\xbb"),
        "seal": messages.Seal(250, b"\xaa\xbb\xcc"),
        "offer": messages.Offer(TAG, 0b101, 0b100, (0, 3), 40),
        "subscribe": messages.Subscribe(TAG, 0b111, 0b100, True, 2500),
        "grant": messages.Grant(TAG, 0b011),
        "refuse": messages.Refuse(TAG, 0b100, Reason.FULL, ADDRESSES),
        "refuse unknown": messages.Refuse(TAG, 0, Reason.UNKNOWN_STREAM, ()),
        "unsubscribe": messages.Unsubscribe(TAG, 0b001),
        "have": messages.Have(TAG, 900, 1000, (0, 1, 255)),
        "want descriptor": messages.Want(TAG, messages.WantDescriptor()),
        "want preamble": messages.Want(TAG, messages.WantPreamble(300, 1024)),
        "want seals": messages.Want(TAG, messages.WantSeals(1000, 64)),
        "want chunks": messages.Want(TAG, messages.WantChunks(1000, 0b110)),
        "want peers": messages.Want(TAG, messages.WantPeers()),
        "want news": messages.Want(TAG, messages.WantNews()),
        "want title": messages.Want(TAG, messages.WantTitle(1)),
        "peer exchange": messages.PeerExchange(TAG, tuple(PeerHint(a, 0b100) for a in ADDRESSES)),
        "audience": messages.Audience(TAG, 1234),
        "ping": messages.Ping(2**32 - 1, 2**24 - 1),
        "pong": messages.Pong(2**32 - 1, 300, 1000),
        "bye": messages.Bye(Reason.LEAVING),
        "lack": messages.Lack(TAG, 1000, 0b110),
    }
    return {name: MESSAGE.write(message) for name, message in everything.items()}


def names() -> dict[str, Vector]:
    frame = bytes.fromhex("00017fff")
    return {
        "uri": {"key": STREAM_KEY, "uri": str(uri.Uri(STREAM_KEY, (("radio.example", 8479), ("2001:db8::1", 8479))))},
        "frame": {"datagram": frame, "frame": framing.encode(frame)},
    }


def all_vectors() -> dict[str, Vector]:
    return {"varint": varints(), **handshake(), **stream(), "messages": every_message(), **names()}


def render(vector: Vector) -> str:
    width = max(map(len, vector))
    values = ((key, f'"{value}"' if isinstance(value, str) else value.hex()) for key, value in vector.items())
    return "".join(f"{key.ljust(width)} = {value}\n" for key, value in values)


def main() -> int:
    action, document = sys.argv[1], Path(sys.argv[2])
    text = document.read_text()
    vectors = all_vectors()
    found = [match[1] for match in FENCE.finditer(text)]
    complaints = [f"{name}: no such vector" for name in found if name not in vectors]
    complaints += [f"{name}: {found.count(name)} times in the document" for name in vectors if found.count(name) != 1]
    if not complaints:
        rendered = FENCE.sub(lambda match: f"```vector {match[1]}\n{render(vectors[match[1]])}```", text)
        if action == "write":
            document.write_text(rendered)
        elif rendered != text:
            pairs = zip(text.splitlines(), rendered.splitlines())
            complaints = [f"the document says {a!r}, it should be {b!r}" for a, b in pairs if a != b]
    print("\n".join(complaints), file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
