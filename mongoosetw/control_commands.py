"""The commands that ``mongoosectl`` sends: accounts, sessions, modules, hooks, the server."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mongoosetw import __version__
from mongoosetw.auth.backend import AccountExists, RegistrationRefused
from mongoosetw.cluster.commands import ClusterCommands
from mongoosetw.cluster.sessions.remote import RemoteSession
from mongoosetw.config.errors import ConfigErrors
from mongoosetw.control import Args, CommandError, Control, required
from mongoosetw.control_domains import DomainCommands
from mongoosetw.control_modules import ModuleCommands
from mongoosetw.domains import DomainRefused
from mongoosetw.loading import LoadError
from mongoosetw.logs import UnknownLevel, current_levels, set_level
from mongoosetw.xmpp.errors import BackendUnavailable
from mongoosetw.xmpp.jid import JID, InvalidJID

if TYPE_CHECKING:
    from mongoosetw.hooks.c2s import SessionLike
    from mongoosetw.host import Host
    from mongoosetw.server import Server


NO_DOMAIN = "*"
"""Stands for a domain where something belongs to the server as a whole."""


def server_control(server: "Server", call_later: Callable[..., object]) -> Control:
    """Return the table of all commands of a server.

    :param call_later: ``reactor.callLater``; lets the answer to ``stop`` leave first.
    """
    told = (
        ConfigErrors,
        LoadError,
        BackendUnavailable,
        DomainRefused,
        RegistrationRefused,
        UnknownLevel,
    )
    control = Control(told)
    for commands in (
        AccountCommands(server),
        DomainCommands(server),
        SessionCommands(server),
        ServerCommands(server, call_later),
        ModuleCommands(server),
        ClusterCommands(server),
    ):
        commands.register(control)
    control.command("loglevel get")(get_levels)
    control.command("loglevel set")(change_level)
    return control


def _account(args: Args) -> JID:
    text = required(args, "jid")
    try:
        jid = JID.parse(text)
    except InvalidJID as error:
        raise CommandError(f"{text!r} is no address: {error}") from None
    if not jid.local:
        raise CommandError(f"{text!r} is no account: give it as user@domain")
    return jid


def _host(server: "Server", domain: str) -> "Host":
    host = server.hosts.get(domain)
    if host is None:
        raise CommandError(
            f"{domain!r} is not served here; the domains are: {', '.join(sorted(server.hosts))}"
        )
    return host


def _hosts(server: "Server", args: Args) -> list["Host"]:
    if args.get("domain"):
        return [_host(server, required(args, "domain"))]
    return [server.hosts[domain] for domain in sorted(server.hosts)]


class AccountCommands:
    """``account register|unregister|change-password|check|list|count``."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def register(self, control: Control) -> None:
        """Put the commands into the table."""
        control.command("account register")(self.create)
        control.command("account unregister")(self.remove)
        control.command("account change-password")(self.change_password)
        control.command("account check")(self.check)
        control.command("account list")(self.list_all)
        control.command("account count")(self.count)

    async def create(self, args: Args) -> dict[str, Any]:
        """Create an account."""
        user, host = self._find(args)
        try:
            await host.accounts.register(user, required(args, "password"))
        except AccountExists:
            raise CommandError(f"the account {user} exists already") from None
        return {"jid": str(user)}

    async def remove(self, args: Args) -> dict[str, Any]:
        """Remove an account and all that modules keep of it; its sessions are closed."""
        user, host = await self._existing(args)
        await _locate(host, user)
        for session in host.sessions.of(user):
            session.close("not-authorized", "the account was removed")
        await host.accounts.remove(user)
        return {"jid": str(user)}

    async def change_password(self, args: Args) -> dict[str, Any]:
        """Set another password."""
        user, host = await self._existing(args)
        await host.accounts.set_password(user, required(args, "password"))
        return {"jid": str(user)}

    async def check(self, args: Args) -> dict[str, Any]:
        """Say whether an account exists and, if a password is given, whether it is right."""
        user, host = self._find(args)
        found: dict[str, Any] = {"jid": str(user), "exists": await host.accounts.exists(user)}
        if args.get("password"):
            found["password_correct"] = found["exists"] and await host.accounts.check_password(
                user, required(args, "password")
            )
        return found

    async def list_all(self, args: Args) -> list[str]:
        """Return the accounts of a domain, or of all, sorted."""
        found = []
        for host in _hosts(self._server, args):
            # A back end may list bare names or whole addresses.
            for name in sorted(await host.accounts.list(host.domain)):
                found.append(name if "@" in name else f"{name}@{host.domain}")
        return found

    async def count(self, args: Args) -> dict[str, int]:
        """Return the number of accounts by domain."""
        hosts = _hosts(self._server, args)
        return {host.domain: await host.accounts.count(host.domain) for host in hosts}

    def _find(self, args: Args) -> "tuple[JID, Host]":
        user = _account(args).bare
        return user, _host(self._server, user.domain)

    async def _existing(self, args: Args) -> "tuple[JID, Host]":
        user, host = self._find(args)
        if not await host.accounts.exists(user):
            raise CommandError(f"there is no account {user}")
        return user, host


class SessionCommands:
    """``session list|count|kick``."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def register(self, control: Control) -> None:
        """Put the commands into the table."""
        control.command("session list")(self.list_all)
        control.command("session count")(self.count)
        control.command("session kick")(self.kick)

    async def list_all(self, args: Args) -> list[dict[str, Any]]:
        """Describe the open sessions of an account, a domain or all; with ``own``, of this node."""
        own = bool(args.get("own"))
        if args.get("jid"):
            found = await self._of(args)
        else:
            found = []
            for host in _hosts(self._server, args):
                found += await self._everybody(host, own=own)
            found.sort(key=lambda session: str(session.jid))
        return [self._describe(session) for session in found if session.local or not own]

    def _describe(self, session: "SessionLike") -> dict[str, Any]:
        described = {
            "jid": str(session.jid),
            "available": session.available,
            "priority": session.priority,
            "address": session.address,
            "secure": session.secure,
        }
        if self._server.cluster is not None:
            here = self._server.mesh.local.name
            described["node"] = session.node if isinstance(session, RemoteSession) else here
        return described

    async def _everybody(self, host: "Host", *, own: bool) -> Sequence["SessionLike"]:
        cluster = self._server.cluster
        if own or cluster is None:
            return [session for session in host.sessions if session.local]
        return await cluster.directory.everybody(host)

    async def count(self, args: Args) -> dict[str, int]:
        """Return the number of open sessions by domain; with ``own``, of this node."""
        hosts, cluster = _hosts(self._server, args), self._server.cluster
        if args.get("own") or cluster is None:
            return {host.domain: host.sessions.local_count for host in hosts}
        return {host.domain: await cluster.directory.count(host) for host in hosts}

    async def kick(self, args: Args) -> dict[str, Any]:
        """Close the session of a full JID, or all of a bare one, with a stream error."""
        sessions = await self._of(args)
        if not sessions:
            raise CommandError(f"{required(args, 'jid')} has no session")
        # RFC 6120 §4.9.3.12: the administrator's decision is a policy violation to the client.
        reason = args.get("reason") or "closed by the administrator"
        for session in sessions:
            session.close("policy-violation", reason)
        return {"kicked": [str(session.jid) for session in sessions]}

    async def _of(self, args: Args) -> list["SessionLike"]:
        jid = _account(args)
        host = _host(self._server, jid.domain)
        await _locate(host, jid.bare)
        sessions = host.sessions
        if jid.is_bare:
            return list(sessions.of(jid))
        session = sessions.get(jid)
        return [] if session is None else [session]


async def _locate(host: "Host", user: JID) -> None:
    """Has the sessions of a user known, on whatever node they are."""
    pending = host.prepare((user,))
    if pending is not None:
        await pending


class ServerCommands:
    """``status``, ``modules``, ``hooks``, ``reload``, ``stop``."""

    def __init__(self, server: "Server", call_later: Callable[..., object]) -> None:
        self._server = server
        self._call_later = call_later

    def register(self, control: Control) -> None:
        """Put the commands into the table."""
        control.command("status")(self.status)
        control.command("modules")(self.modules)
        control.command("hooks")(self.hooks)
        control.command("reload")(self.reload)
        control.command("stop")(self.stop)

    def status(self, args: Args) -> dict[str, Any]:
        """Say what runs: version, seconds since the start, ports, domains and sessions."""
        server = self._server
        ports = [listener.options for listener in server.listeners]
        return {
            "version": __version__,
            "uptime": round(time.time() - server.started_at),
            "configuration": server.config.file,
            "database": server.db.dialect,
            "clients": [f"{options.ip_address}:{options.port}" for options in ports],
            "connections": sum(len(listener.streams) for listener in server.listeners),
            "domains": sorted(server.hosts),
            "sessions": sum(host.sessions.count() for host in server.hosts.values()),
            "own_sessions": sum(host.sessions.local_count for host in server.hosts.values()),
        }

    def modules(self, args: Args) -> dict[str, list[dict[str, Any]]]:
        """Return the running modules by domain, with their XEPs."""
        return {
            host.domain: [
                _describe_module(name, module) for name, module in sorted(host.modules.items())
            ]
            for host in _hosts(self._server, args)
        }

    def hooks(self, args: Args) -> dict[str, list[dict[str, object]]]:
        """Return the chains by domain, in their order; ``hook`` names one of them.

        Those that belong to no domain are under ``*``.
        """
        buses = {host.domain: host.hooks for host in _hosts(self._server, args)}
        if not args.get("domain"):
            buses[NO_DOMAIN] = self._server.hooks
        wanted = args.get("hook")
        found = {
            domain: [entry for entry in bus.describe() if wanted in (None, entry["hook"])]
            for domain, bus in buses.items()
        }
        if wanted is not None and not any(found.values()):
            raise CommandError(f"nobody handles a hook {wanted!r}")
        return {domain: entries for domain, entries in found.items() if entries}

    async def reload(self, args: Args) -> list[dict[str, str]]:
        """Read the configuration again; return what changed, and when it takes effect."""
        return [
            {"option": change.path, "applied": "now" if change.reloadable else "after a restart"}
            for change in await self._server.reload()
        ]

    def stop(self, args: Args) -> dict[str, Any]:
        """Stop the server after the answer has left."""
        self._call_later(0.1, self._server.stop)
        return {"stopping": True}


def _describe_module(name: str, module: Any) -> dict[str, Any]:
    return {
        "name": name,
        "class": f"{type(module).__module__}:{type(module).__qualname__}",
        "doc": (type(module).__doc__ or "").strip().split("\n")[0],
        "xeps": [f"XEP-{xep.number:04d}" for xep in type(module).xeps],
    }


def get_levels(args: Args) -> dict[str, str]:
    """Return the level of every logger that has its own; ``""`` is the common one."""
    return current_levels()


def change_level(args: Args) -> dict[str, str]:
    """Set the level of a logger, or the common one."""
    set_level(required(args, "level"), str(args.get("logger") or ""))
    return current_levels()
