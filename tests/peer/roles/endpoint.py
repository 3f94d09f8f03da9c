"""A UDP socket with sessions on it: handshakes in both directions, control messages, chunks ("Opening a session")."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from protocol import datagram, messages, noise
from protocol.datagram import Chunk, Control, Cookie, Finish, Hello, Initiate, Reply, TryThese
from protocol.messages import Bye, Message, Ping, Pong, Reason
from protocol.postcard import Address, Malformed, Reader
from protocol.session import Keys

FIRST_RETRY_S = 0.25
MAX_TRIES = 4
HALF_OPEN_S = 4.0
QUIET_S = 8.0
TICKS = 1 << 24
COOKIE_BUCKET_S = 8
CROSSED_S = 3.0


def ticks() -> int:
    """This node's clock as it is told to others: units of 16 us, modulo 2^24."""
    return time.monotonic_ns() // 16_000 % TICKS


def least(delays: list[int]) -> int:
    """The least of some differences of clocks that may have turned over between them."""
    first = delays[0]
    return min(((delay - first + TICKS // 2) % TICKS - TICKS // 2, delay) for delay in delays)[1]


@dataclass
class Session:
    """An established session with a neighbour."""

    address: Address
    ours: int
    theirs: int
    node: bytes
    keys: Keys
    outgoing: bool
    since: float
    heard_at: float
    # Said again until the other side is heard in the session.
    finish: bytes = b""
    finish_tries: int = 0
    finish_at: float = 0.0
    pinged_at: float = 0.0
    unanswered: int = 0
    # One-way delays of the chunks since the last Pong, as told there: ticks modulo 2^24.
    delays: list[int] = field(default_factory=list)


@dataclass
class Attempt:
    """A session that this side opens, or half of one that the other side opens."""

    address: Address
    ours: int
    tag: int
    outgoing: bool
    next_at: float
    tries: int = 0
    theirs: int = 0
    handshake: noise.Handshake | None = None
    said: bytes = b""


class Role(Protocol):
    """What is built on an endpoint."""

    def on_session(self, session: Session) -> None: ...
    def on_message(self, session: Session, message: Message) -> None: ...
    def on_chunk(self, session: Session, chunk: Chunk) -> None: ...
    def on_closed(self, session: Session) -> None: ...
    def on_turned_away(self, address: Address, others: tuple[Address, ...]) -> None: ...
    def tick(self, now: float) -> None: ...


@dataclass
class Endpoint:
    bind: Address = ("127.0.0.1", 0)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    keylog: Path | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.bind[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.socket.bind(self.bind)
        self.socket.setblocking(False)
        self.address: Address = self.socket.getsockname()[:2]
        self.public = noise.public_key(self.secret)
        self.cookie_secret = secrets.token_bytes(32)
        self.sessions: dict[int, Session] = {}
        self.attempts: dict[int, Attempt] = {}
        self.role: Role

    # What a role does

    def connect(self, address: Address, tag: int) -> None:
        busy = [a.address for a in self.attempts.values()] + [s.address for s in self.sessions.values()]
        if address in busy or address == self.address:
            return
        attempt = Attempt(address, secrets.randbits(64) | 1, tag, outgoing=True, next_at=0.0)
        attempt.said = Hello(attempt.ours, tag).write()
        self.attempts[attempt.ours] = attempt

    def send(self, session: Session, *said: Message) -> None:
        self.send_plain(session, messages.write_all(said))

    def send_plain(self, session: Session, plain: bytes) -> bytes:
        sealed = session.keys.seal(session.theirs, plain)
        self.send_raw(session.address, sealed)
        return sealed

    def send_chunk(self, session: Session, body: bytes) -> None:
        sent = ticks()
        self.send_raw(session.address, Chunk(session.theirs, sent, 0, body).write())

    def send_raw(self, address: Address, data: bytes) -> None:
        try:
            self.socket.sendto(data, address)
            self.counts["sent"] += 1
        except (BlockingIOError, ConnectionRefusedError):
            self.counts["send_failed"] += 1

    def close(self) -> None:
        for session in list(self.sessions.values()):
            self.send(session, Bye(Reason.LEAVING))
        self.sessions.clear()

    def run(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Turns until `done`; false when that took too long."""
        deadline = time.monotonic() + timeout_s
        while not done():
            now = time.monotonic()
            if now > deadline:
                return False
            select.select([self.socket], [], [], 0.01)
            self._drain()
            now = time.monotonic()
            self._tick(now)
            self.role.tick(now)
        return True

    # What comes in

    def _drain(self) -> None:
        for _ in range(500):
            try:
                data, address = self.socket.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.counts["received"] += 1
            try:
                self._take(data, address[:2])
            except Malformed:
                self.counts["malformed"] += 1

    def _take(self, data: bytes, address: Address) -> None:
        now = time.monotonic()
        it = datagram.parse(data)
        match it:
            case Chunk():
                session = self.sessions.get(it.session)
                if session:
                    session.heard_at = now
                    session.delays.append((ticks() - it.sent) % TICKS)
                    self.role.on_chunk(session, it)
            case Control():
                self._on_control(now, it)
            case Hello():
                self.send_raw(address, Cookie(it.session, self._cookie(address, it.session)).write())
            case Cookie():
                self._on_cookie(address, it)
            case Initiate():
                self._on_initiate(now, address, it)
            case Reply():
                self._on_reply(now, address, it)
            case Finish():
                self._on_finish(now, address, it)
            case TryThese():
                self._on_try_these(address, it)

    def _cookie(self, address: Address, session: int, ago: int = 0) -> bytes:
        bucket = int(time.monotonic()) // COOKIE_BUCKET_S - ago
        return hmac.new(self.cookie_secret, repr((bucket, address, session)).encode(), hashlib.sha256).digest()[:16]

    def _on_cookie(self, address: Address, it: Cookie) -> None:
        attempt = self.attempts.get(it.session)
        if not attempt or attempt.address != address or not attempt.outgoing or attempt.handshake:
            return
        prologue = noise.prologue(attempt.ours, attempt.tag)
        attempt.handshake = noise.Handshake(True, self.secret, secrets.token_bytes(32), prologue)
        attempt.said = Initiate(attempt.ours, attempt.tag, it.cookie, attempt.handshake.write()).write()
        attempt.tries, attempt.next_at = 0, 0.0

    def _on_initiate(self, now: float, address: Address, it: Initiate) -> None:
        if it.cookie not in (self._cookie(address, it.session), self._cookie(address, it.session, ago=1)):
            raise Malformed("not our cookie")
        for attempt in self.attempts.values():
            if not attempt.outgoing and attempt.theirs == it.session and attempt.address == address:
                self.send_raw(address, attempt.said)
                return
        ours = secrets.randbits(64) | 1
        prologue = noise.prologue(it.session, it.tag)
        handshake = noise.Handshake(False, self.secret, secrets.token_bytes(32), prologue)
        handshake.read(it.noise)
        said = Reply(it.session, handshake.write(datagram.u64(ours))).write()
        self.attempts[ours] = Attempt(
            address, ours, it.tag, False, now + HALF_OPEN_S, MAX_TRIES, it.session, handshake, said
        )
        self.send_raw(address, said)

    def _on_reply(self, now: float, address: Address, it: Reply) -> None:
        session = self.sessions.get(it.session)
        if session and session.finish:
            self.send_raw(session.address, session.finish)
            return
        attempt = self.attempts.get(it.session)
        if not attempt or not attempt.outgoing or not attempt.handshake or attempt.address != address:
            return
        theirs = attempt.handshake.read(it.noise)
        if len(theirs) != 8:
            raise Malformed("no session id")
        attempt.theirs = int.from_bytes(theirs, "big")
        finish = Finish(attempt.theirs, attempt.handshake.write()).write()
        self._install(now, attempt, finish)

    def _on_finish(self, now: float, address: Address, it: Finish) -> None:
        attempt = self.attempts.get(it.session)
        if not attempt or attempt.outgoing or not attempt.handshake or attempt.address != address:
            return
        if attempt.handshake.read(it.noise):
            raise Malformed("the third message has no payload")
        self._install(now, attempt, b"")

    def _on_try_these(self, address: Address, it: TryThese) -> None:
        attempt = self.attempts.get(it.session)
        if attempt and attempt.outgoing and attempt.address == address:
            r = Reader(it.addresses)
            others = messages.TRY_THESE.read(r)
            r.end()
            del self.attempts[it.session]
            self.role.on_turned_away(address, others)

    def _install(self, now: float, attempt: Attempt, finish: bytes) -> None:
        assert attempt.handshake
        del self.attempts[attempt.ours]
        node = attempt.handshake.their_public
        twin = next((s for s in self.sessions.values() if s.node == node), None)
        crossed = twin and twin.outgoing != attempt.outgoing and now - twin.since < CROSSED_S
        if node == self.public or (crossed and (self.public < node) != attempt.outgoing):
            return
        if twin:
            self._drop(twin)
        send, receive = attempt.handshake.keys()
        session = Session(
            attempt.address, attempt.ours, attempt.theirs, node, Keys(send, receive), attempt.outgoing, now, now, finish
        )
        self.sessions[session.ours] = session
        if self.keylog:
            with self.keylog.open("a") as log:
                log.write(f"{session.theirs:016x} {send.hex()}\n{session.ours:016x} {receive.hex()}\n")
        if finish:
            self._say_finish(now, session)
        self.role.on_session(session)

    def _on_control(self, now: float, it: Control) -> None:
        session = self.sessions.get(it.session)
        if not session:
            self.counts["stray"] += 1
            return
        said = messages.read_all(session.keys.open(it))
        session.heard_at, session.finish, session.unanswered = now, b"", 0
        for message in said:
            self.counts[type(message).__name__] += 1
            match message:
                case Ping():
                    delays, session.delays = [*session.delays, (ticks() - message.sent) % TICKS], []
                    self.send(session, Pong(message.token, least(delays)))
                case Bye():
                    self._drop(session)
                    return
                case _:
                    self.role.on_message(session, message)

    # What time brings

    def _tick(self, now: float) -> None:
        for attempt in list(self.attempts.values()):
            if attempt.next_at > now:
                continue
            if attempt.tries >= MAX_TRIES:
                del self.attempts[attempt.ours]
                if attempt.outgoing:
                    self.role.on_turned_away(attempt.address, ())
                continue
            attempt.next_at = now + FIRST_RETRY_S * 2**attempt.tries
            attempt.tries += 1
            self.send_raw(attempt.address, attempt.said)
        for session in list(self.sessions.values()):
            if session.finish and session.finish_at <= now and session.finish_tries < MAX_TRIES:
                self._say_finish(now, session)
            if now - max(session.heard_at, session.pinged_at) > QUIET_S:
                session.pinged_at = now
                session.unanswered += 1
                if session.unanswered > 3:
                    self._drop(session)
                else:
                    self.send(session, Ping(secrets.randbits(32), ticks()))

    def _say_finish(self, now: float, session: Session) -> None:
        session.finish_at = now + FIRST_RETRY_S * 2**session.finish_tries
        session.finish_tries += 1
        self.send_raw(session.address, session.finish)

    def _drop(self, session: Session) -> None:
        self.sessions.pop(session.ours, None)
        self.role.on_closed(session)
