"""The hello of two nodes, without I/O: both prove that they belong to the cluster.

Each message is two bytes of length and a JSON object. The node that connected speaks first::

    > {"hello": {"versions": [1, 1], "nonce": "…"}}
    < {"hello": {"versions": [1, 1], "nonce": "…"}}
    > {"identity": "…", "proof": "…"}
    < {"identity": "…", "proof": "…"}
    > {"ready": true}

Either may answer ``{"refused": "in words"}`` instead. A proof is an HMAC over all that was said
before and over the TLS session (RFC 9266), so that nothing can be replayed, changed or passed on.
The node that was called proves itself last: a stranger who calls learns nothing to guess
the secret by.
"""

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from mongoosetw import __version__
from mongoosetw.cluster.config import is_name
from mongoosetw.cluster.mesh import Node
from mongoosetw.ids import NODES

VERSIONS: Final = (1, 1)
"""Oldest and newest version of the links that this program speaks."""
_LENGTH: Final = 2
_LONGEST: Final = 4096


class Why(Enum):
    """Whether an operator has to do something about a refusal."""

    FAULT = auto()
    """Something is configured wrong, or a stranger is at the door."""
    ALREADY = auto()
    """There is a link, or another one is being made."""


class Refused(Exception):
    """There will be no link; the text says why, for the log of either node.

    :ivar tell: bytes that tell it to the other node; empty if that is who refused.
    """

    def __init__(self, text: str, why: Why = Why.FAULT, tell: bytes = b"") -> None:
        super().__init__(text)
        self.why = why
        self.tell = tell


@dataclass(frozen=True, slots=True)
class Member:
    """What a node says of itself.

    :ivar cluster: the cluster's name.
    :ivar versions: of the links, oldest and newest.
    :ivar software: version of the program.
    """

    node: Node
    cluster: str
    versions: tuple[int, int] = VERSIONS
    software: str = __version__


@dataclass(frozen=True, slots=True)
class Agreed:
    """The hello is done.

    :ivar version: of the link, the newest that both speak.
    :ivar rest: bytes that arrived behind it.
    """

    member: Member
    version: int
    rest: bytes


Judge = Callable[[Node], "Refused | None"]
"""Asked when a node has proven itself; what it returns refuses the node."""


class Handshake:
    """One node's part of a hello.

    :param secret: of the cluster; empty where certificates have proven enough.
    :param calling: this node has connected.
    :param binding: data of the TLS session, equal at both ends of it and nowhere else.
    """

    def __init__(
        self, own: Member, secret: bytes, judge: Judge, *, calling: bool, binding: bytes = b""
    ) -> None:
        self._own = own
        self._secret = secret
        self._judge = judge
        self._calling = calling
        self._binding = binding
        self._buffer = b""
        self._hellos: dict[bool, bytes] = {}
        self._member: Member | None = None
        self._version = 0
        self._step = self._take_hello

    def start(self) -> bytes:
        """What to send at first."""
        return self._hello() if self._calling else b""

    def receive(self, data: bytes) -> tuple[bytes, Agreed | None]:
        """Takes what has arrived.

        :returns: what to send, and the outcome when the hello is done.
        :raises Refused: there will be no link; send its ``tell`` and close.
        """
        self._buffer += data
        answer = b""
        while len(self._buffer) >= _LENGTH:
            length = int.from_bytes(self._buffer[:_LENGTH], "big")
            if length > _LONGEST:
                raise Refused("this is no hello of a node")
            end = _LENGTH + length
            if len(self._buffer) < end:
                break
            raw, self._buffer = self._buffer[_LENGTH:end], self._buffer[end:]
            said, done = self._message(raw)
            answer += said
            if done:
                assert self._member is not None
                return answer, Agreed(self._member, self._version, self._buffer)
        return answer, None

    def _message(self, raw: bytes) -> tuple[bytes, bool]:
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            raise Refused("this is no hello of a node") from None
        if not isinstance(message, dict):
            raise Refused("this is no hello of a node")
        if "refused" in message:
            already = message.get("why") == Why.ALREADY.name
            text = str(message["refused"])[:300]
            raise Refused(f"the other node says: {text}", Why.ALREADY if already else Why.FAULT)
        try:
            return self._step(message, raw)
        except Refused as refused:
            refused.tell = _pack({"refused": str(refused), "why": refused.why.name})
            raise
        except (KeyError, TypeError, ValueError):
            raise Refused("this is no hello of a node") from None

    def _hello(self) -> bytes:
        versions, nonce = list(self._own.versions), secrets.token_hex(32)
        data = _pack({"hello": {"versions": versions, "nonce": nonce}})
        self._hellos[True] = data[_LENGTH:]
        return data

    def _take_hello(self, message: dict[str, Any], raw: bytes) -> tuple[bytes, bool]:
        oldest, newest = map(int, message["hello"]["versions"])
        own = self._own.versions
        self._version = min(newest, own[1])
        if self._version < max(oldest, own[0]):
            raise Refused(
                f"no common version of the links: {own[0]} to {own[1]} here, "
                f"{oldest} to {newest} at the other node"
            )
        if len(str(message["hello"]["nonce"])) < 32:
            raise ValueError("a short nonce")
        self._hellos[False] = raw
        self._step = self._take_proof
        return (self._proof() if self._calling else self._hello()), False

    def _proof(self) -> bytes:
        node = self._own.node
        identity = json.dumps(
            {
                "name": node.name,
                "number": node.number,
                "incarnation": node.incarnation,
                "cluster": self._own.cluster,
                "software": self._own.software,
            }
        )
        return _pack({"identity": identity, "proof": self._mac(identity, caller=self._calling)})

    def _mac(self, identity: str, *, caller: bool) -> str:
        own, other = self._hellos[True], self._hellos[False]
        first, second = (own, other) if self._calling else (other, own)
        role = b"caller" if caller else b"called"
        parts = (b"mongoosetw link", role, first, second, self._binding, identity.encode())
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._secret, text, "sha256").hexdigest()

    def _take_proof(self, message: dict[str, Any], raw: bytes) -> tuple[bytes, bool]:
        identity = str(message["identity"])
        expected = self._mac(identity, caller=not self._calling)
        if not hmac.compare_digest(expected, str(message["proof"])):
            raise Refused("wrong secret")
        self._member = member = _member(json.loads(identity))
        if member.cluster != self._own.cluster:
            raise Refused(f"cluster {self._own.cluster} here, {member.cluster} at the other node")
        objection = self._judge(member.node)
        if objection is not None:
            raise objection
        if self._calling:
            return _pack({"ready": True}), True
        self._step = self._take_ready
        return self._proof(), False

    def _take_ready(self, message: dict[str, Any], raw: bytes) -> tuple[bytes, bool]:
        if message["ready"] is not True:
            raise ValueError("not ready")
        return b"", True


def _member(said: dict[str, Any]) -> Member:
    """What a node says of itself.

    :raises ValueError: nonsense.
    """
    node = Node(str(said["name"]), int(said["number"]), int(said["incarnation"]))
    if not is_name(node.name) or not 0 <= node.number < NODES:
        raise ValueError("no node")
    return Member(node, str(said["cluster"])[:250], software=str(said["software"])[:50])


def _pack(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(_LENGTH, "big") + data
