"""What a node answers to an address that it cannot know to be real ("What an unproven address gets")."""

from __future__ import annotations

import io
import secrets
import select
import socket
import time
from dataclasses import dataclass

from protocol import noise
from protocol.datagram import Chunk, Control, Cookie, Finish, Hello, Initiate, Reply, TryThese
from protocol.messages import Join, Message, Ping, Want, WantDescriptor, write_all
from protocol.postcard import Address
from protocol.uri import Uri

from .endpoint import Endpoint, Session
from .listener import Listener

ANSWER_S = 0.4
JOIN_S = 5.0


@dataclass(frozen=True)
class Answer:
    name: str
    sent_bytes: int
    received_bytes: int


def questions(tag: int) -> dict[str, list[bytes]]:
    session = secrets.randbits(64)
    ephemeral = noise.public_key(secrets.token_bytes(32))
    hello = Hello(session, tag).write()
    return {
        "hello": [hello],
        "ten hellos": [Hello(secrets.randbits(64), tag).write() for _ in range(10)],
        "short hello": [hello[:-1]],
        "long hello": [hello + bytes(1000)],
        "cookie": [Cookie(session, bytes(16)).write()],
        "initiate with a wrong cookie": [Initiate(session, tag, secrets.token_bytes(16), ephemeral).write()],
        "reply": [Reply(session, secrets.token_bytes(104)).write()],
        "finish": [Finish(session, secrets.token_bytes(64)).write()],
        "control": [Control(session, 0, secrets.token_bytes(40)).write()],
        "chunk": [Chunk(session, 0, tag.to_bytes(4, "big") + bytes(500)).write()],
        "try these": [TryThese(session, b"\0").write()],
        "another version": [b"\x21" + hello[1:]],
        "noise": [secrets.token_bytes(n) for n in (1, 13, 32, 61, 1232)],
        "nothing": [b""],
    }


def _received(sock: socket.socket) -> int:
    total, deadline = 0, time.monotonic() + ANSWER_S
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sock], [], [], left)[0]:
            total += len(sock.recv(65536))
    return total


def probe(node: Address, tag: int) -> list[Answer]:
    """Asks each question from a port of its own and counts what comes back."""
    answers = []
    for name, said in questions(tag).items():
        with socket.socket(socket.AF_INET6 if ":" in node[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for data in said:
                sock.sendto(data, node)
            answers.append(Answer(name, sum(map(len, said)), _received(sock)))
    return answers


def probe_moved(node: Address, stream: Uri) -> list[Answer]:
    """Opens a session, then says things in it from addresses that it never had; counts what comes to those."""
    endpoint = Endpoint()
    listener = Listener(endpoint, Uri(stream.key, (node,)), io.BytesIO())
    if not endpoint.run(lambda: any(p.offered for p in listener.parents.values()), JOIN_S):
        raise TimeoutError("no session")
    [session] = endpoint.sessions.values()
    want = Want(listener.tag, WantDescriptor())
    words: dict[str, tuple[Message, ...]] = {
        "nothing": (),
        "a ping": (Ping(1),),
        "want descriptor": (want,),
        "join": (Join(stream.key, 7, 0),),
    }
    answers = [_say_from_elsewhere(endpoint, session, name, said) for name, said in words.items()]
    endpoint.close()
    return answers


def _say_from_elsewhere(endpoint: Endpoint, session: Session, name: str, said: tuple[Message, ...]) -> Answer:
    sealed = session.keys.seal(session.theirs, write_all(said))
    with socket.socket(endpoint.socket.family, socket.SOCK_DGRAM) as sock:
        sock.sendto(sealed, session.address)
        return Answer(f"{name} from another address", len(sealed), _received(sock))
