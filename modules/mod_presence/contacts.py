"""Who is concerned by whose presence, and what else is the same for all of it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from typing import Final

from twisted.internet.defer import Deferred

from mongoosetw.cluster.sessions.moving import place_of
from mongoosetw.delivery import gone, is_shown
from mongoosetw.hooks.bus import STOP, Outcome
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.roster import MaySee, SubscriptionLists
from mongoosetw.host import Host
from mongoosetw.xmpp.jid import JID

_FEW: Final = 500
"""Sessions that are looked at in one turn, as by :class:`modules.mod_presence.rounds.Rounds`."""
UseLists = Callable[[SubscriptionLists], Awaitable[None] | None]


def with_lists(host: Host, user: JID, use: UseLists) -> Awaitable[None] | None:
    """Calls ``use`` with the user's subscriptions, at once unless they must be loaded."""
    lists = SubscriptionLists(user)
    pending = host.hooks.fire(lists)
    if not isinstance(pending, Deferred):
        return use(lists)

    async def use_later() -> None:
        await pending
        further = use(lists)
        if further is not None:
            await further

    return use_later()


def with_contacts(host: Host, user: JID, use: UseLists) -> Awaitable[None] | None:
    """As :func:`with_lists`, when the contacts' sessions are known, and the user's to them."""

    def look(lists: SubscriptionLists) -> Awaitable[None] | None:
        pending = [host.prepare((*lists.from_them, *lists.to_them)), host.told()]
        waiting = [each for each in pending if each is not None]
        return use_later(waiting, lists) if waiting else use(lists)

    async def use_later(waiting: list[Deferred[None]], lists: SubscriptionLists) -> None:
        for each in waiting:
            await each
        further = use(lists)
        if further is not None:
            await further

    return with_lists(host, user, look)


def by_user(sessions: Iterable[SessionLike]) -> dict[JID, list[SessionLike]]:
    """The available ones."""
    found: dict[JID, list[SessionLike]] = {}
    for session in sessions:
        if session.available:
            found.setdefault(session.bare, []).append(session)
    return found


def seeing(sessions: Sequence[SessionLike], users: Set[JID]) -> Sequence[SessionLike]:
    """Those of a host's sessions that may be shown users' presence; all, if there are many."""
    if not 0 < len(sessions) <= _FEW:
        return sessions
    asked = MaySee([session.bare for session in sessions], users)
    sessions[0].host.hooks.fire(asked)
    same = {user.text for user in users}
    return [s for s in sessions if s.bare.text in same or (asked.found and s.bare in asked.found)]


def concerning(
    session: SessionLike, others: Mapping[JID, list[SessionLike]], lists: SubscriptionLists
) -> list[SessionLike]:
    """Those of others' sessions whose presence a session is shown."""
    if not session.available:
        return []
    users = others.keys() & lists.to_them | others.keys() & {session.bare}
    return [other for user in users for other in others[user] if other.jid != session.jid]


async def say_gone(
    lost: Iterable[JID], session: SessionLike, *, strangers: bool = False
) -> None:
    """Tells a session that clients are not available any more, unless they are known to be.

    :param strangers: they had sent it directed presence, for which they need not be available.
    """
    lost = [jid for jid in lost if session.host.server.host_for(jid.domain) is not None]
    pending = session.host.prepare({jid.bare for jid in lost})
    if pending is not None:
        await pending  # they may be back on a node that has not been asked for them
    for jid in lost:
        host = session.host.server.host_for(jid.domain)
        if host is not None and await is_shown(host, jid, session.bare):
            back = host.sessions.get(jid)
            if back is None or not (back.available or strangers):
                place_of(session).deliver(gone(jid, session.jid))


async def settled(pending: Awaitable[object]) -> None:
    """For the background."""
    await pending


async def stop_after(pending: Awaitable[None]) -> Outcome:
    """Ends a chain when something has been done."""
    await pending
    return STOP
