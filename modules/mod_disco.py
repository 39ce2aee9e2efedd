"""Service discovery of the server and of accounts (XEP-0030, XEP-0157)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from mongoosetw.config.forms import DOMAIN as DOMAIN_NAME
from mongoosetw.config.options import option, sections
from mongoosetw.hooks.disco import DiscoLocal, DiscoUser
from mongoosetw.hooks.roster import IsSubscribed
from mongoosetw.module import BARE, DOMAIN, IQ, XEP, Module, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import escape

SERVER_INFO = "http://jabber.org/network/serverinfo"  # XEP-0157 §2
E = TypeVar("E", DiscoLocal, DiscoUser)


@dataclass(frozen=True)
class ServerInfo:
    """One kind of contact addresses."""

    name: str = option(doc="The field's name, such as abuse-addresses.")
    urls: tuple[str, ...] = option(doc="The addresses.")
    modules: Literal["all"] | tuple[str, ...] = option(
        "all", doc="Modules that show the field; `mod_disco` is the server itself."
    )


@dataclass(frozen=True)
class DiscoOptions:
    """Options of mod_disco."""

    extra_domains: tuple[str, ...] = option(
        (), form=DOMAIN_NAME, doc="Other domains listed as items."
    )
    server_info: tuple[ServerInfo, ...] = sections("Contact addresses (XEP-0157).")
    users_can_see_hidden_services: bool = option(
        True, doc="Whether services that are marked hidden are listed to users."
    )


class Disco(Module[DiscoOptions]):
    """XEP-0030: Service Discovery.

    The server tells its identity, the features of all running modules and the services next to
    it, and contact addresses where ``server_info`` has any (XEP-0157). An account is told of only
    to its owner and to those who may see its presence; others get the answer of an account
    that does not exist.
    """

    name = "mod_disco"
    options_class = DiscoOptions
    xeps = (XEP(30, "2.5.0"), XEP(157, "1.1.1"))
    features = (ns.DISCO_INFO, ns.DISCO_ITEMS)
    user_features = (ns.DISCO_INFO, ns.DISCO_ITEMS)

    @on_iq("get", ns.DISCO_INFO, "query", to=DOMAIN)
    async def server_info(self, iq: IQ) -> str:
        """Identities and features of the server (XEP-0030 §3.1)."""
        event = await self._local(iq)
        form = "" if event.node else self._contacts()
        return _info(event, form)

    @on_iq("get", ns.DISCO_ITEMS, "query", to=DOMAIN)
    async def server_items(self, iq: IQ) -> str:
        """The services next to the server (XEP-0030 §4.1)."""
        return _items(await self._local(iq))

    @on_iq("get", ns.DISCO_INFO, "query", to=BARE)
    async def user_info(self, iq: IQ) -> str:
        """Identities and features of an account."""
        return _info(await self._user(iq), "")

    @on_iq("get", ns.DISCO_ITEMS, "query", to=BARE)
    async def user_items(self, iq: IQ) -> str:
        """Items of an account: what modules add."""
        return _items(await self._user(iq))

    async def _local(self, iq: IQ) -> DiscoLocal:
        event = DiscoLocal(self.host, iq.payload.getAttribute("node") or "", iq.from_)
        # Other services and servers see all of them, as in MongooseIM
        event.hidden_too = self.options.users_can_see_hidden_services or iq.from_.local is None
        if not event.node:
            event.found = True
            event.identities.append(("server", "im", "mongoosetw"))
            event.items += [(JID.parse(d), "", "") for d in self.options.extra_domains]
            event.features.update(*(module.features for module in self.host.modules.values()))
        await self.host.hooks.run(event)
        return _known(event)

    async def _user(self, iq: IQ) -> DiscoUser:
        await self._authorise(iq)
        node = iq.payload.getAttribute("node") or ""
        event = DiscoUser(self.host, iq.user, node, iq.from_)
        if not node:
            event.found = True
            event.identities.append(("account", "registered", ""))
            modules = self.host.modules.values()
            event.features.update(*(module.user_features for module in modules))
        await self.host.hooks.run(event)
        return _known(event)

    async def _authorise(self, iq: IQ) -> None:
        """XEP-0030 §8, RFC 6121 §8.5.1: only for who may see the account's presence.

        :raises StanzaError: ``service-unavailable``, as for an account that is not there.
        """
        if iq.from_.bare == iq.user:
            return
        event = IsSubscribed(iq.user, iq.from_.bare)
        await self.host.hooks.run(event)
        if event.subscription not in ("from", "both"):
            raise StanzaError("service-unavailable")

    def _contacts(self) -> str:
        fields = [
            _field(info.name, "list-multi", info.urls)
            for info in self.options.server_info
            if info.modules == "all" or self.name in info.modules
        ]
        if not fields:
            return ""
        head = _field("FORM_TYPE", "hidden", (SERVER_INFO,))
        return f"<x xmlns='{ns.DATA_FORMS}' type='result'>{head}{''.join(fields)}</x>"


def _field(name: str, kind: str, values: Iterable[str]) -> str:
    inner = "".join(f"<value>{escape(value)}</value>" for value in values)
    return f"<field var='{escape(name)}' type='{kind}'>{inner}</field>"


def _known(event: E) -> E:
    """:raises StanzaError: no module knows the node (XEP-0030 §7)."""
    if not event.found:
        raise StanzaError("item-not-found")
    return event


def _node(event: DiscoLocal | DiscoUser) -> str:
    return f" node='{escape(event.node)}'" if event.node else ""


def _info(event: DiscoLocal | DiscoUser, form: str) -> str:
    identities = "".join(
        f"<identity category='{escape(category)}' type='{escape(kind)}'"
        + (f" name='{escape(name)}'/>" if name else "/>")
        for category, kind, name in event.identities
    )
    features = "".join(f"<feature var='{escape(name)}'/>" for name in sorted(event.features))
    node = _node(event)
    return f"<query xmlns='{ns.DISCO_INFO}'{node}>{identities}{features}{form}</query>"


def _items(event: DiscoLocal | DiscoUser) -> str:
    items = "".join(
        f"<item jid='{escape(str(jid))}'"
        + (f" name='{escape(name)}'" if name else "")
        + (f" node='{escape(node)}'/>" if node else "/>")
        for jid, name, node in event.items
    )
    return f"<query xmlns='{ns.DISCO_ITEMS}'{_node(event)}>{items}</query>"
