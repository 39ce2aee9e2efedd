"""What a client whose session moves between nodes has seen, and what it has to see.

Its old node and its new one may be linked to different nodes. And what was sent to the old one may
be passed on late, or be lost with a link. So the session takes along whom it has seen, and the new
node compares that with whom it knows; for a while it also corrects what is uncertain. A client may
be told once more what it knows.
"""

from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from modules.mod_presence.contacts import UseLists, say_gone, settled, with_contacts, with_lists
from mongoosetw.delivery import show_presence
from mongoosetw.hooks.bus import started
from mongoosetw.hooks.c2s import SessionLike
from mongoosetw.hooks.roster import SubscriptionLists
from mongoosetw.module import Module
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

_DOUBTFUL: Final = 15.0
"""Seconds after which nothing is under way any more by a session's old node."""
_GATHERED: Final = 1.0
"""Seconds until a session is shown once more whose presence is uncertain, once for all of it."""
_MOST: Final = 2000
"""Senders whose last presence is remembered for one session."""


class _View:
    """What a session has seen, maybe; and whether some of what it should have seen is lost.

    :ivar told: the content of the presence that it was told last here, by sender; None if that is
        not available.
    :ivar asked: how many times senders are to be shown again, only to be sure.
    """

    __slots__ = ("asked", "lossy", "seen", "told")

    def __init__(self, seen: Iterable[JID]) -> None:
        self.seen = set(seen)
        self.lossy = False
        self.told: dict[JID, bytes | None] = {}
        self.asked: Counter[JID] = Counter()

    def repeats(self, sender: JID, content: bytes | None) -> bool:
        """Notes what the session is about to be told; whether that is of no use."""
        asked = self.asked[sender] > 0
        if asked:
            self.asked[sender] -= 1
        if sender in self.told:
            if self.told[sender] == content and (asked or content is None):
                return True
        elif len(self.told) >= _MOST:
            return False
        self.told[sender] = content
        return False


class Views:
    """The views of sessions that have come a moment ago."""

    def __init__(self, module: Module[Any]) -> None:
        self._module = module
        self._views: dict[JID, _View] = {}
        self._doubts: dict[JID, dict[JID, None]] = {}

    def pack(self, session: SessionLike) -> dict[str, int]:
        """Whom a session sees: full JIDs with the sids of their sessions.

        A sid is 0 where it is not known any more, or where that session may not have been seen.
        """
        packed: dict[str, int] = {}

        def look(lists: SubscriptionLists) -> None:
            view = self._views.get(session.jid)
            packed.update((str(jid), 0) for jid in (view.seen if view else ()))
            packed.update((str(jid), 0) for jid in _lingering(session, lists))
            packed.update((str(s.jid), _sid_seen(s)) for s in _visible(session, lists))

        _wait(session, with_lists(session.host, session.bare, look))
        return packed

    def unpack(self, session: SessionLike, packed: Mapping[str, int]) -> None:
        """A session goes on here: it is told what is different here."""
        seen = {JID.parse(address): sid for address, sid in packed.items()}
        view = self._views[session.jid] = _View(seen)
        self._use(session, partial(self._compare, session, seen))
        self._module.later(_DOUBTFUL, self._settle, session, view)

    def forget(self, session: SessionLike) -> None:
        """A session has gone."""
        self._views.pop(session.jid, None)

    def begins_anew(self, session: SessionLike) -> None:
        """Whatever a session was told of others, it will be told again."""
        view = self._views.get(session.jid)
        if view is not None:
            view.told.clear()

    def expects(self, session: SessionLike, sender: JID) -> None:
        """Somebody is shown to a session, to be sure: it may have been told so already."""
        view = self._views.get(session.jid)
        if view is not None:
            view.asked[sender] += 1

    def is_repeated(self, session: SessionLike, stanza: Stanza) -> bool:
        """Whether presence says to a session that has come a moment ago what it knows.

        What was passed on, and is shown once more to be sure, is most often the same.
        """
        view, sender = self._views.get(session.jid), stanza.from_
        if view is None or sender is None or stanza.type not in ("", "unavailable"):
            return False
        return view.repeats(sender, None if stanza.type else stanza.inner)

    def doubt(self, session: SessionLike, sender: JID | None) -> None:
        """A session may have missed the presence of somebody, or of anybody."""
        view = self._views.get(session.jid)
        if sender is None:
            if view is not None:
                view.lossy = True
            self._use(session, partial(self._correct_all, session, view))
            return
        if view is not None:
            view.seen.add(sender)
        if session.jid not in self._doubts:
            self._doubts[session.jid] = {}
            self._module.later(_GATHERED, self._look, session.jid)
        self._doubts[session.jid][sender] = None

    def _look(self, jid: JID) -> None:
        senders = self._doubts.pop(jid)
        session = self._module.host.sessions.get(jid)
        if session is not None and session.local:
            self._use(session, partial(self._correct, session, senders))

    def _settle(self, session: SessionLike, view: _View) -> None:
        if self._views.get(session.jid) is not view:
            return
        if view.lossy:
            self._use(session, partial(self._correct_all, session, view))
        view.seen.clear()
        self._module.later(_DOUBTFUL, self._end, session, view)

    def _end(self, session: SessionLike, view: _View) -> None:
        if self._views.get(session.jid) is view:
            del self._views[session.jid]

    def _use(self, session: SessionLike, use: UseLists) -> None:
        _wait(session, with_contacts(session.host, session.bare, use))

    def _compare(
        self, session: SessionLike, seen: Mapping[JID, int], lists: SubscriptionLists
    ) -> Awaitable[None] | None:
        known = {other.jid: other.sid for other in _visible(session, lists)}
        view = self._views.get(session.jid)
        if view is not None:
            view.seen |= known.keys()
        different = [jid for jid in {**known, **seen} if known.get(jid) != seen.get(jid)]
        return self._correct(session, different, lists)

    def _correct_all(
        self, session: SessionLike, view: _View | None, lists: SubscriptionLists
    ) -> Awaitable[None] | None:
        visible = [other.jid for other in _visible(session, lists)]
        seen = () if view is None else tuple(view.seen)
        return self._correct(session, dict.fromkeys((*visible, *seen)), lists)

    def _correct(
        self, session: SessionLike, jids: Iterable[JID], lists: SubscriptionLists
    ) -> Awaitable[None] | None:
        """Shows a session others as they are."""
        gone = []
        for jid in jids if session.available else ():
            host = session.host.server.host_for(jid.domain)
            if host is None or jid == session.jid:
                continue
            if jid.bare not in lists.to_them and jid.bare != session.bare:
                continue
            other = host.sessions.get(jid)
            if other is not None and other.available:
                self.expects(session, jid)
                show_presence(other, session.jid)
            else:
                gone.append(jid)
        return started(say_gone(gone, session)) if gone else None


def _visible(session: SessionLike, lists: SubscriptionLists) -> Iterator[SessionLike]:
    """The available sessions that a session is subscribed to, as far as they are known."""
    for contact in (*lists.to_them, session.bare):
        host = session.host.server.host_for(contact.domain)
        if host is not None:
            yield from (s for s in host.sessions.available(contact) if s.jid != session.jid)


def _sid_seen(session: SessionLike) -> int:
    """The sid of a session that those have seen who may see it; 0 if they may not have yet."""
    cluster = session.host.server.cluster
    return 0 if cluster is not None and not cluster.directory.has_met(session) else session.sid


def _lingering(session: SessionLike, lists: SubscriptionLists) -> Iterator[JID]:
    """Clients that are not available, and whose goodbye may not have come yet."""
    cluster = session.host.server.cluster
    assert cluster is not None  # else no session moves
    for contact in (*lists.to_them, session.bare):
        yield from cluster.directory.lingering(contact)


def _wait(session: SessionLike, pending: Awaitable[None] | None) -> None:
    if pending is not None:
        session.host.in_background(settled(pending))
