"""XEP-0280: Message Carbons. A user's other devices see what one of them sends and receives."""

from collections.abc import Iterable, Sequence

from mongoosetw.delivery import most_available
from mongoosetw.hooks.bus import STOP, Order, Outcome
from mongoosetw.hooks.c2s import SessionLike, UserReceiveMessage, UserSendMessage
from mongoosetw.hooks.privacy import PrivacyCheck
from mongoosetw.hooks.routing import UnacknowledgedMessage
from mongoosetw.messagelog import with_id
from mongoosetw.module import BARE, IQ, XEP, Module, NoOptions, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.stanza import Stanza

ENABLED = "carbons"
"""Flag of a session that gets copies."""
_PRIVATE = (ns.CARBONS, "private")
_NO_COPY = (ns.HINTS, "no-copy")
_WRAPPED = {(ns.CARBONS, "sent"), (ns.CARBONS, "received")}
_BODY = (ns.CLIENT, "body")
_PAYLOADS = frozenset(
    {ns.CHATSTATES, "urn:xmpp:receipts", "urn:xmpp:chat-markers:0", "jabber:x:conference"}
)
_MUC_USER = ("http://jabber.org/protocol/muc#user", "x")


def eligible(stanza: Stanza, *, sent: bool) -> bool:
    """Whether a message that the user sent, or received, is copied (XEP-0280 §6.1)."""
    children = stanza.children
    if _PRIVATE in children or _NO_COPY in children or not _WRAPPED.isdisjoint(children):
        return False
    if _MUC_USER in children and stanza.type != "groupchat":
        # Private messages come from an occupant, and the room sends them to every client
        # that has joined; invitations come from the room's bare JID and are copied.
        return sent or (stanza.from_ is not None and stanza.from_.is_bare)
    if stanza.type == "chat":
        return True
    if stanza.type in ("", "normal"):
        return _BODY in children or any(namespace in _PAYLOADS for namespace, _ in children)
    return stanza.type == "error"


class Carbons(Module[NoOptions]):
    """XEP-0280: Message Carbons.

    A client that has enabled them gets a copy of every message that its user's other clients
    send or receive: chat messages, messages with a body or with receipts, chat markers, chat
    states or invitations, and errors. Messages with ``<private/>`` or the hint ``no-copy``, and
    private messages of a room, are not copied. Stored are no copies: a client that was away
    asks the archive.
    """

    name = "mod_carboncopy"
    xeps = (XEP(280, "1.0.1"),)
    features = (ns.CARBONS, "urn:xmpp:carbons:rules:0")

    @on_iq("set", ns.CARBONS, "enable", to=BARE)
    def enable(self, iq: IQ) -> None:
        """§4: this resource wants copies."""
        _own_session(iq).flag(ENABLED)

    @on_iq("set", ns.CARBONS, "disable", to=BARE)
    def disable(self, iq: IQ) -> None:
        """§5: it does not any more."""
        _own_session(iq).flag(ENABLED, False)

    def _enabled(self, session: SessionLike) -> tuple[SessionLike, ...]:
        """The resources of the session's user that want copies, itself included."""
        sessions = self.host.sessions.of(session.bare)
        if len(sessions) < 2:
            return ()
        return tuple(s for s in sessions if ENABLED in s.flags)

    @on(UserSendMessage, Order.COPY)
    def sent(self, event: UserSendMessage) -> Outcome:
        """§8: the sender's other resources get a copy."""
        enabled = self._enabled(event.session)
        if enabled and eligible(event.stanza, sent=True):
            if event.stanza.to is None or event.stanza.to.bare != event.session.bare:
                stanza = event.stanza
                if stanza.log is not None:  # in the sender's archive
                    stanza = with_id(stanza, event.session.bare)
                self._copy("sent", stanza, event.session, enabled)
        return None

    @on(UserReceiveMessage, Order.COPY)
    def received(self, event: UserReceiveMessage) -> Outcome:
        """§7: the recipient's other resources get a copy, each one at most."""
        session, stanza = event.session, event.stanza
        enabled = self._enabled(session)
        if not enabled or stanza.to is None or not eligible(stanza, sent=False):
            return None
        others = self._welcoming(stanza, enabled)
        if self.host.sessions.get(stanza.to) is None:
            # Addressed to the account: these get the message itself (RFC 6121 §8.5.2.1.1),
            # and the first of them is the one that copies are made for.
            able = [s for s in self.host.sessions.of(session.bare) if s.available]
            most = most_available([s for s in able if (s.priority or 0) >= 0])
            original = self._welcoming(stanza, most)
            if original and original[0] is not session:
                return None
            others = [s for s in others if s not in original]
        self._copy("received", stanza, session, others)
        return None

    def _welcoming(
        self, stanza: Stanza, sessions: Sequence[SessionLike]
    ) -> Sequence[SessionLike]:
        """The resources to whose eyes a message may come, be it as a copy (XEP-0016 §2.2)."""
        hooks = self.host.hooks
        if not hooks.handled(PrivacyCheck):
            return sessions
        found = []
        for session in sessions:
            check = PrivacyCheck(session.jid, stanza, "in")
            # who is connected is checked at once: a Deferred would be no answer
            if hooks.fire(check) is None and check.allowed:
                found.append(session)
        return found

    @on(UnacknowledgedMessage, Order.CHECK)
    def lost(self, event: UnacknowledgedMessage) -> Outcome:
        """A copy is for one resource: when that is gone, it is for nobody (XEP-0198 §4)."""
        own = event.stanza.from_ == event.session.bare
        return STOP if own and not _WRAPPED.isdisjoint(event.stanza.children) else None

    def _copy(
        self,
        direction: str,
        stanza: Stanza,
        session: SessionLike,
        others: Iterable[SessionLike],
    ) -> None:
        inner = b"<%b xmlns='%b'><forwarded xmlns='%b'>%b</forwarded></%b>" % (
            direction.encode(),
            ns.CARBONS.encode(),
            ns.FORWARD.encode(),
            stanza.forwarded(),
            direction.encode(),
        )
        for other in others:
            # Not to the client that sent the message, which may be one of the user's own
            if other is not session and other.jid != stanza.from_:
                copy = Stanza.make(
                    "message", from_=session.bare, to=other.jid, type=stanza.type, inner=inner
                )
                other.send(copy)


def _own_session(iq: IQ) -> SessionLike:
    if iq.session is None or iq.user != iq.from_.bare:
        raise StanzaError("forbidden")
    return iq.session
