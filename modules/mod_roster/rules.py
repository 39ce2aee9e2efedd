"""The subscription states of RFC 6121 §3 and appendix A, without I/O.

A state says what a roster item's owner knows: whether the owner sees the contact's presence
(``to``), whether the contact sees the owner's (``from_``), and what is asked for.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class State:
    """The subscription of one roster item.

    :ivar to: the owner receives the contact's presence.
    :ivar from_: the contact receives the owner's presence.
    :ivar ask: the owner has asked, and the contact has not answered.
    :ivar asked: the contact has asked, and the owner has not answered (not a roster matter).
    :ivar approved: the owner has approved beforehand (RFC 6121 §3.4).
    """

    to: bool = False
    from_: bool = False
    ask: bool = False
    asked: bool = False
    approved: bool = False

    @property
    def subscription(self) -> str:
        """The roster item's ``subscription`` attribute (RFC 6121 §2.1.2.5)."""
        if self.to:
            return "both" if self.from_ else "to"
        return "from" if self.from_ else "none"


NONE = State()


def outbound(state: State, type: str) -> tuple[State, bool]:
    """What the owner's own stanza does (appendix A.2).

    :returns: the new state, and whether the stanza is to be routed to the contact.
    """
    if type == "subscribe":
        return (state, True) if state.to else (replace(state, ask=True), True)
    if type == "unsubscribe":
        return replace(state, to=False, ask=False), True
    if type == "subscribed":
        if state.asked:
            return replace(state, from_=True, asked=False), True
        # A.2.3: nobody has asked: approval beforehand, kept to ourselves
        return (state if state.from_ else replace(state, approved=True)), False
    if state.from_ or state.asked:  # unsubscribed
        return replace(state, from_=False, asked=False, approved=False), True
    return replace(state, approved=False), False


def inbound(state: State, type: str) -> tuple[State, bool, str]:
    """What the contact's stanza does (appendix A.3).

    :returns: the new state, whether the owner's clients are to see the stanza, and the type
        of the answer that the server gives on its own, or nothing.
    """
    if type == "subscribe":
        if state.from_:
            return state, False, "subscribed"  # §3.1.3: already subscribed
        if state.approved:
            return replace(state, from_=True, approved=False), False, "subscribed"
        return replace(state, asked=True), not state.asked, ""
    if type == "unsubscribe":
        known = state.from_ or state.asked
        return replace(state, from_=False, asked=False), known, ""
    if type == "subscribed":
        return replace(state, to=state.to or state.ask, ask=False), state.ask, ""
    return replace(state, to=False, ask=False), state.to or state.ask, ""  # unsubscribed
