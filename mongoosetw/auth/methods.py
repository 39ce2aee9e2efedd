"""Builds a host's accounts from its configuration."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mongoosetw.auth.accounts import Accounts
from mongoosetw.auth.anonymous import AnonymousBackend
from mongoosetw.auth.backend import AuthBackend
from mongoosetw.auth.counted import CountedAccounts
from mongoosetw.auth.dummy import DummyBackend
from mongoosetw.auth.keys import KeyPolicy
from mongoosetw.auth.pki import PkiBackend
from mongoosetw.auth.rdbms import RdbmsBackend
from mongoosetw.config.schema import Auth
from mongoosetw.hooks.bus import HookBus
from mongoosetw.server_metrics import HostMetrics
from mongoosetw.xmpp.jid import JID

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server


def build_accounts(
    server: "Server",
    options: Auth,
    hooks: HookBus,
    metrics: HostMetrics,
    is_connected: Callable[[JID], bool],
    changed: Callable[[JID], object],
) -> Accounts:
    """The accounts of a host, with the methods that its configuration names."""
    limit = options.max_users_per_domain
    return CountedAccounts(
        metrics,
        [_backend(server, name, options, is_connected) for name in options.methods],
        hooks=hooks,
        max_users_per_domain=limit if isinstance(limit, int) else None,
        changed=changed,
    )


def _backend(
    server: "Server", name: str, options: Auth, is_connected: Callable[[JID], bool]
) -> AuthBackend:
    if name == "anonymous":
        guests = options.anonymous
        return AnonymousBackend(guests.protocol, guests.allow_multiple_connections, is_connected)
    if name == "pki":
        return PkiBackend()
    if name == "dummy":
        return DummyBackend(options.dummy.base_time, options.dummy.variance)
    password = options.password
    hashes = tuple("sha1" if name == "sha" else name for name in password.hash)
    policy = KeyPolicy(
        hashes=hashes,
        iterations=password.scram_iterations,
        keep_plain=password.format == "plain",
    )
    backend = RdbmsBackend(server.db, policy, run_in_thread=server.run_in_thread)
    backend.name = name  # "internal" is the same: the server's database
    return backend
