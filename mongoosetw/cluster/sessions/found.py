"""Tells modules which sessions of other nodes have come and gone, by host."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mongoosetw.cluster.sessions.changes import Opened
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.cluster import (
    PresenceOverdue,
    PresenceUncertain,
    SessionsFound,
    SessionsLost,
    SessionTakesMessages,
)

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host


def is_registered(session: SessionLike) -> bool:
    """Whether a session has its address, and no other one has it."""
    return session.host.sessions.get(session.jid) is session


def is_there(session: SessionLike) -> bool:
    """Whether it has its address, or another one stands in for it while it moves."""
    found = session.host.sessions.get(session.jid)
    return found is not None and found.sid == session.sid


def successors(sessions: Iterable[SessionLike]) -> list[SessionLike]:
    """The sessions that have the addresses of others, which were kept aside since then."""
    found = [(session, session.host.sessions.get(session.jid)) for session in sessions]
    return [place for session, place in found if place is not None and place is not session]


def takes_messages(session: SessionLike) -> bool:
    """Whether messages for the account may go to it (RFC 6121 §8.5.2.1.1)."""
    return session.priority is not None and session.priority >= 0


def welcome(session: SessionLike) -> None:
    """There may be messages for a session of another node, if it takes any now."""
    if takes_messages(session) and is_registered(session):
        session.host.hooks.fire(SessionTakesMessages(session))


def look_for_own(session: RemoteSession) -> None:
    """A session has moved from a node that is not linked: messages may have been lost by the link.

    If it takes messages for the account it is given those of the log in any case; if its priority
    is negative, those for its own address alone (RFC 6121 §8.5.3.1), before any newer ones.
    """
    log = session.host.server.message_log
    if session.available and not takes_messages(session) and log is not None:
        if not log.nothing_waits(session.bare):
            log.missed(session)


def apply_change(session: RemoteSession, record: Opened) -> RemoteSession | None:
    """A session of another node has changed; returns it if it has become available."""
    available, takes = session.available, takes_messages(session)
    session.priority = record.priority
    session.flags = record.flags
    session.secure = record.secure
    if not takes:
        welcome(session)
    return session if session.available and not available else None


def tell_found(
    found: Iterable[SessionLike],
    missed: Iterable[SessionLike],
    others: Iterable[SessionLike] = (),
) -> None:
    """Sessions of another node have become known, and some of this one have missed them.

    Those of either that are not available any more have missed nothing.

    :param others: further ones that are found, and are not to be registered here.
    """
    found = [s for s in found if s.available and is_registered(s)]
    found += [s for s in others if s.available]
    if found:
        for host, some in _by_host(missed).items():
            host.hooks.fire(SessionsFound(found, some))


def tell_lost(
    lost: Iterable[SessionLike],
    node: str,
    *,
    left: bool,
    over: bool = False,
    missed: list[SessionLike] | None = None,
) -> None:
    """The sessions of a node are gone; as :class:`SessionsLost`."""
    for host, some in _by_host(lost).items():
        host.hooks.fire(SessionsLost(some, node, left, over, missed))


def tell_unsure(gone: SessionLike, missed: Iterable[SessionLike]) -> None:
    """A session of another node has gone there, without a goodbye to some of this one.

    Its node had not heard of them yet; the one that it has come from may have shown it to them.
    If it goes on at a third one, nobody may have shown it to them.
    """
    for session in missed:
        session.host.hooks.fire(PresenceUncertain(session, gone.jid))


def tell_overdue(spoke: Iterable[SessionLike], others: Iterable[SessionLike]) -> None:
    """Sessions of another node are known now, and some of this one have spoken before."""
    there = [s for s in others if s.available and is_registered(s)]
    for host, some in _by_host(s for s in spoke if s.available).items() if there else ():
        host.hooks.fire(PresenceOverdue(some, there))


def _by_host(sessions: Iterable[SessionLike]) -> "dict[Host, list[SessionLike]]":
    found: dict[Host, list[SessionLike]] = {}
    for session in sessions:
        found.setdefault(session.host, []).append(session)
    return found
