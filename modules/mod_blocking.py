"""The blocking command (XEP-0191), a front end to the default privacy list."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from twisted.words.xish import domish

from modules.mod_privacy import Privacy, PrivacyOptions, own_session
from modules.mod_privacy.requests import address
from modules.mod_privacy.rules import block, unblock
from mongoosetw.hooks.privacy import BlocklistChanged
from mongoosetw.module import BARE, IQ, XEP, Module, Needs, on, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape

INTERESTED: Final = "blocking"
"""Flag of a session that has asked for the blocklist and gets pushes (XEP-0191 §3.3)."""


class Blocking(Module[PrivacyOptions]):
    """XEP-0191: Blocking Command.

    A blocked address is an item of the default privacy list that denies everything, and the
    first one makes a list named ``blocking`` the default. So mod_privacy enforces the blocklist,
    and changes made through either protocol show in the other. If mod_privacy is not configured, it
    is started with the options given here.

    While an address is blocked nothing passes in either direction: to the blocked contact the user
    seems to be offline, and what the user sends comes back with ``not-acceptable`` and
    ``<blocked/>``. Subscriptions stay as they are.
    """

    name = "mod_blocking"
    options_class = PrivacyOptions
    xeps = (XEP(191, "1.3"),)
    features = (ns.BLOCKING,)
    requires = (Needs("mod_privacy"),)

    @property
    def _privacy(self) -> Privacy:
        """mod_privacy as it runs now; it may have been reloaded.

        :raises StanzaError: it is being reloaded.
        """
        privacy = self.host.modules.get(Privacy.name)
        if not isinstance(privacy, Privacy):
            raise StanzaError("internal-server-error", "wait")
        return privacy

    @on_iq("get", ns.BLOCKING, "blocklist", to=BARE)
    async def get(self, iq: IQ) -> str:
        """Answers with all blocked addresses (§3.2)."""
        own_session(iq).flag(INTERESTED)
        return _payload("blocklist", await self._privacy.lists.blocklist(iq.user))

    @on_iq("set", ns.BLOCKING, "block", to=BARE)
    async def block(self, iq: IQ) -> None:
        """Blocks addresses (§3.3)."""
        own_session(iq)
        addresses = _addresses(iq.payload)
        if not addresses:
            raise StanzaError("bad-request")
        edit = partial(block, addresses=addresses)
        await self._privacy.edit_blocklist(iq.user, self.name, edit, create=True)
        self._push(iq.user, "block", addresses)

    @on_iq("set", ns.BLOCKING, "unblock", to=BARE)
    async def unblock(self, iq: IQ) -> None:
        """Unblocks addresses (§3.4), or without any all of them (§3.5)."""
        own_session(iq)
        addresses = _addresses(iq.payload)
        edit = partial(unblock, addresses=addresses or None)
        await self._privacy.edit_blocklist(iq.user, self.name, edit, create=False)
        self._push(iq.user, "unblock", addresses)

    @on(BlocklistChanged)
    def changed(self, event: BlocklistChanged) -> None:
        """Tells clients that use the blocklist of what was changed by privacy lists (§5)."""
        if event.by != self.name:
            for tag, addresses in (("block", event.blocked), ("unblock", event.unblocked)):
                if addresses:
                    self._push(event.user, tag, addresses)

    def _push(self, user: JID, tag: str, addresses: Iterable[JID]) -> None:
        """§3.3, §3.4: to all resources that have asked for the list."""
        payload = _payload(tag, addresses)
        for session in self.host.sessions.of(user):
            if INTERESTED in session.flags:
                identifier = f"push-{self.host.server.ids.next()}"
                push = Stanza.make("iq", to=session.jid, type="set", id=identifier, inner=payload)
                session.send(push)


def _addresses(command: domish.Element) -> list[JID]:
    """:raises StanzaError: ``bad-request``, or ``jid-malformed`` for what is no address."""
    items = [child for child in command.elements() if child.uri == ns.BLOCKING]
    if any(item.name != "item" for item in items):
        raise StanzaError("bad-request")
    return list(dict.fromkeys(address(item.getAttribute("jid")) for item in items))


def _payload(tag: str, addresses: Iterable[JID]) -> str:
    items = "".join(f"<item jid='{escape(str(address))}'/>" for address in addresses)
    return f"<{tag} xmlns='{ns.BLOCKING}'>{items}</{tag}>"
