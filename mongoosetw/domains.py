"""Domains that are added and removed while the server runs (MongooseIM's ``service_domain_db``).

The configuration says what a host type is; the database says which domains there are of it.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure

from mongoosetw.hooks.bus import HookFailed
from mongoosetw.hooks.users import RemoveDomain
from mongoosetw.hosting import close_host, dismantle, open_host, prepare_host
from mongoosetw.storage.domains import DomainSetting, DomainStore, DomainTaken, Status
from mongoosetw.storage.keyvalue import forget_host
from mongoosetw.xmpp.jid import JID, InvalidJID

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host
    from mongoosetw.server import Server

logger = logging.getLogger(__name__)
T = TypeVar("T")


class DomainRefused(Exception):
    """A domain cannot be added, changed or removed; the text says why."""


class Domains:
    """The domains of a server that do not stand in its configuration file.

    One change happens at a time.
    """

    def __init__(self, server: "Server", store: DomainStore) -> None:
        self._server = server
        self._store = store
        self._lock = DeferredLock()
        self._shared = server.caches.share("domains", lambda _: self._follow(), self._follow)

    async def start(self) -> None:
        """Serves what the database says, and goes on with removals that were interrupted.

        A domain whose host type is not in the configuration is left alone.
        """
        await self._alone(self._start)

    async def _start(self) -> None:
        for setting in await self._store.all():
            domain, host_type = setting.domain, setting.host_type
            if domain in self._server.hosts:
                continue
            if host_type not in self._server.config.general.host_types:
                logger.warning("domain_without_type domain=%s type=%s", domain, host_type)
            elif setting.status is Status.ENABLED:
                await open_host(self._server, domain, host_type)
            elif setting.status is Status.DELETING:
                await self._resume(setting)

    async def _resume(self, setting: DomainSetting) -> None:
        try:
            await self._erase(setting)
        except HookFailed:
            logger.error("domain_removal_failed domain=%s", setting.domain)

    def _follow(self) -> None:
        """Another node has changed the domains."""
        if self._server.config.general.host_types:
            followed = Deferred.fromCoroutine(self._alone(self._catch_up))
            followed.addErrback(_not_followed)

    async def _catch_up(self) -> None:
        settings = await self._store.all()
        served = {s.domain for s in settings if s.status is Status.ENABLED}
        for domain in set(self._server.hosts) - served - set(self._server.config.general.hosts):
            await self._close(domain)
        for setting in settings:
            known = setting.host_type in self._server.config.general.host_types
            if known and setting.domain in served and setting.domain not in self._server.hosts:
                await open_host(self._server, setting.domain, setting.host_type)

    async def add(self, domain: str, host_type: str) -> DomainSetting:
        """Adds a domain and serves it.

        :raises DomainRefused: it is no domain, is there already, or the host type is unknown.
        """
        name = _prepared(domain)
        self._check_type(host_type)
        return await self._alone(self._add, DomainSetting(name, host_type))

    async def _add(self, setting: DomainSetting) -> DomainSetting:
        self._check_not_static(setting.domain)
        try:
            await self._store.add(setting)
        except DomainTaken:
            raise DomainRefused(f"the domain {setting.domain} exists already") from None
        await open_host(self._server, setting.domain, setting.host_type)
        self._shared.changed(setting.domain)
        return setting

    async def remove(self, domain: str, host_type: str | None = None) -> DomainSetting:
        """Removes a domain with its accounts and all that modules keep of it.

        :param host_type: the domain's, to be sure that it is the right one.
        :raises DomainRefused: there is no such domain, or it is of another type, or a module
            could not remove its data: then the removal can be asked for again.
        """
        return await self._alone(self._remove, _prepared(domain), host_type)

    async def _remove(self, domain: str, host_type: str | None) -> DomainSetting:
        setting = await self._existing(domain)
        if host_type not in (None, setting.host_type):
            raise DomainRefused(f"{domain} is of the host type {setting.host_type}")
        self._check_type(setting.host_type)
        await self._store.set_status(domain, Status.DELETING)
        self._shared.changed(domain)
        await self._close(domain)
        try:
            await self._erase(setting)
        except HookFailed as error:
            raise DomainRefused(
                f"{domain} is no longer served, but its data is not removed: {error} failed"
            ) from None
        return setting

    async def _erase(self, setting: DomainSetting) -> None:
        """Has every module remove its data; the domain is not served meanwhile."""
        host = await prepare_host(self._server, setting.domain, setting.host_type)
        try:
            await self._erase_data(host)
        finally:
            await dismantle(host)
        await self._store.remove(setting.domain)
        logger.info("domain_removed domain=%s", setting.domain)

    async def _erase_data(self, host: "Host") -> None:
        await host.hooks.run(RemoveDomain(host.domain))
        await forget_host(self._server.db, host.domain)
        await host.accounts.remove_domain(host.domain)

    async def enable(self, domain: str) -> DomainSetting:
        """Serves a domain that was disabled.

        :raises DomainRefused: there is no such domain, or it is being removed.
        """
        return await self._alone(self._switch, _prepared(domain), Status.ENABLED)

    async def disable(self, domain: str) -> DomainSetting:
        """Serves a domain no longer, but keeps its data.

        :raises DomainRefused: there is no such domain, or it is being removed.
        """
        return await self._alone(self._switch, _prepared(domain), Status.DISABLED)

    async def _switch(self, domain: str, status: Status) -> DomainSetting:
        setting = await self._existing(domain)
        if setting.status is Status.DELETING:
            raise DomainRefused(f"{domain} is being removed")
        self._check_type(setting.host_type)
        await self._store.set_status(domain, status)
        self._shared.changed(domain)
        if status is Status.DISABLED:
            await self._close(domain)
        elif domain not in self._server.hosts:
            await open_host(self._server, domain, setting.host_type)
        return DomainSetting(domain, setting.host_type, status)

    async def all(self) -> list[DomainSetting]:
        """The domains in the database, sorted; none without host types."""
        return await self._store.all() if self._server.config.general.host_types else []

    async def _close(self, domain: str) -> None:
        host = self._server.hosts.get(domain)
        if host is not None:
            await close_host(self._server, host)

    async def _existing(self, domain: str) -> DomainSetting:
        self._check_not_static(domain)
        types = self._server.config.general.host_types
        setting = await self._store.get(domain) if types else None
        if setting is None:
            raise DomainRefused(f"there is no domain {domain}")
        return setting

    def _check_not_static(self, domain: str) -> None:
        if domain in self._server.config.general.hosts:
            raise DomainRefused(f"{domain} stands in the configuration, general.hosts")

    def _check_type(self, host_type: str) -> None:
        types = self._server.config.general.host_types
        if host_type not in types:
            known = f"there are: {', '.join(types)}" if types else "general.host_types names none"
            raise DomainRefused(f"there is no host type {host_type}; {known}")

    async def _alone(self, change: Callable[..., Awaitable[T]], *args: Any) -> T:
        await self._lock.acquire()
        try:
            return await change(*args)
        finally:
            self._lock.release()


def _not_followed(failure: Failure) -> None:
    logger.error("domains_not_followed reason=%s", failure.value)


def _prepared(text: str) -> str:
    """A domain as the server knows it (RFC 7622 §3.2).

    :raises DomainRefused: it is none.
    """
    try:
        jid = JID.parse(text)
    except InvalidJID as error:
        raise DomainRefused(f"{text!r} is no domain: {error}") from None
    if jid.local is not None or jid.resource is not None:
        raise DomainRefused(f"{text!r} is no domain")
    return jid.domain
