"""What a node answers to an address that it cannot know to be real ("Rules", the third)."""

from __future__ import annotations

import io
import secrets
import select
import socket
import time
from dataclasses import dataclass

from protocol import noise
from protocol.datagram import Chunk, Control, Cookie, Finish, Hello, Initiate, Reply, TryThese, parse
from protocol.messages import Join, Message, Ping, Pong, Want, WantDescriptor, read_all, write_all
from protocol.postcard import Address
from protocol.uri import Uri

from .endpoint import Endpoint, Session
from .listener import Listener

ANSWER_S = 0.5
# Within this time a Ping to a new address is answered here.
PROMPT_S = 0.15
# The longest datagram with one Ping that measures nothing: header, message, tag.
PING_BYTES = 17 + 7 + 16
JOIN_S = 5.0


@dataclass(frozen=True)
class Answer:
    name: str
    sent_bytes: int
    received_bytes: int
    # What should not have come, or did not come and should have.
    wrong: str = ""


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
        "chunk": [Chunk(session, 0, 0, tag.to_bytes(4, "big") + bytes(500)).write()],
        "try these": [TryThese(session, b"\0").write()],
        "another version": [b"\x21" + hello[1:]],
        "noise": [secrets.token_bytes(n) for n in (1, 13, 32, 61, 1232)],
        "nothing": [b""],
    }


def _received(sock: socket.socket, wait_s: float = ANSWER_S) -> list[bytes]:
    came, deadline = [], time.monotonic() + wait_s
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sock], [], [], left)[0]:
            came.append(sock.recv(65536))
    return came


def _bytes(datagrams: list[bytes]) -> int:
    return sum(map(len, datagrams))


def probe(node: Address, tag: int) -> list[Answer]:
    """Asks each question from a port of its own and counts what comes back."""
    answers = []
    for name, said in questions(tag).items():
        with socket.socket(socket.AF_INET6 if ":" in node[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for data in said:
                sock.sendto(data, node)
            answers.append(Answer(name, _bytes(said), _bytes(_received(sock))))
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
        "a ping": (Ping(1, 1),),
        "want descriptor": (want,),
        "join": (Join(stream.key, 7, 0),),
    }
    answers = [_say_from_elsewhere(endpoint, session, name, said) for name, said in words.items()]
    # A Want may be shorter than the Ping that would answer it: how long it is depends on the stream's tag.
    answers.append(_move(endpoint, session, Join(stream.key, 7, 0)))
    endpoint.close()
    return answers


def _say_from_elsewhere(endpoint: Endpoint, session: Session, name: str, said: tuple[Message, ...]) -> Answer:
    """Says something where the session never was: what is long enough is answered with one Ping, alone, and nothing else is."""
    sealed = session.keys.seal(session.theirs, write_all(said))
    with socket.socket(endpoint.socket.family, socket.SOCK_DGRAM) as sock:
        sock.sendto(sealed, session.address)
        came = _received(sock)
    heard = [_opened(session, data) for data in came]
    fits = len(sealed) >= PING_BYTES
    asked = len(heard) == 1 and [type(message) for message in heard[0]] == [Ping]
    wrong = "" if (asked if fits else not heard) else f"{heard}"
    return Answer(f"{name} from another address", len(sealed), _bytes(came), wrong)


def _move(endpoint: Endpoint, session: Session, join: Join) -> Answer:
    """Proves the new address: the same question after a while has the same token, and a Pong moves the session."""
    with socket.socket(endpoint.socket.family, socket.SOCK_DGRAM) as sock:

        def say(said: Message, wait_s: float) -> list[Message]:
            nonlocal sent_bytes, received_bytes
            sealed = session.keys.seal(session.theirs, write_all((said,)))
            sock.sendto(sealed, session.address)
            came = _received(sock, wait_s)
            sent_bytes, received_bytes = sent_bytes + len(sealed), received_bytes + _bytes(came)
            return [message for data in came for message in _opened(session, data)]

        sent_bytes = received_bytes = 0
        asked = say(join, ANSWER_S) + say(join, PROMPT_S)
        match asked:
            case [Ping(token, _), Ping(again, _)] if token == again:
                unproven = sent_bytes, received_bytes
                heard = say(Pong(token, 0), 0.0) + say(Ping(7, 0), ANSWER_S)
                return Answer("a move", *unproven, "" if any(isinstance(it, Pong) and it.token == 7 for it in heard) else f"not moved: {heard}")
            case _:
                return Answer("a move", sent_bytes, received_bytes, f"asked {asked}")


def _opened(session: Session, data: bytes) -> list[Message]:
    it = parse(data)
    return read_all(session.keys.open(it)) if isinstance(it, Control) else []
