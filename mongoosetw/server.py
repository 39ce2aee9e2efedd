"""The server: configuration, database, hosts and listeners, and nothing global beside it."""

import hmac
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread

from mongoosetw import core_tables
from mongoosetw.c2s.listener import Certificates, CertificateUnusable, ClientListener
from mongoosetw.cluster import draining
from mongoosetw.cluster.alone import Alone
from mongoosetw.cluster.caches import Caches
from mongoosetw.cluster.membership import Membership
from mongoosetw.cluster.mesh import Mesh, Node
from mongoosetw.cluster.sessions.cluster import Cluster
from mongoosetw.config.diff import Change, changed
from mongoosetw.config.errors import ConfigError, ConfigErrors
from mongoosetw.config.load import Config
from mongoosetw.config.redis import RedisPool
from mongoosetw.config.schema import ListenC2S
from mongoosetw.domains import Domains
from mongoosetw.hooks.bus import HookBus
from mongoosetw.host import Host
from mongoosetw.hosting import close_host, open_host
from mongoosetw.ids import TimeIDs
from mongoosetw.loading import check_modules, reload_modules, stop_modules
from mongoosetw.messagelog import MessageLog
from mongoosetw.messagelog.reading import shared_secret
from mongoosetw.net.flush import TurnFlusher
from mongoosetw.router import Router
from mongoosetw.storage.database import Database
from mongoosetw.storage.domains import SQLDomainStore
from mongoosetw.storage.redis import Redis, RedisLike
from mongoosetw.storage.schema import Schema
from mongoosetw.xmpp.jid import JID, InvalidJID

if TYPE_CHECKING:  # types only
    from mongoosetw.c2s.stream import ClientStream

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Server:
    """One node.

    :ivar clock: the reactor, or a test's clock.
    :ivar secret: the same on all nodes: what is made up for accounts that do not exist has to look
        the same whichever node is asked.
    :ivar membership: of a cluster; None in tests.
    :ivar mesh: the links to the other nodes; without any where there are none.
    :ivar caches: has all nodes forget what one of them has changed.
    :ivar ids: makes ids that carry this node's number.
    :ivar session_ids: the same for sessions; they keep above those of the other nodes that they
        replace, so that one fast clock does not move the times of messages.
    :ivar cluster: the sessions of the other nodes; None where there are none.
    :ivar redis: knows where sessions are; None where all nodes know all sessions.
    :ivar message_log: None until a module asks for it.
    :ivar draining: no more clients are taken: the node is about to go.
    :ivar active: the stream whose input is being handled; its client is paused when it
        writes to one that does not read.
    """

    def __init__(
        self,
        config: Config,
        db: Database,
        clock: Any,
        *,
        load: Callable[[], Config] | None = None,
        threads: bool = True,
        membership: Membership | None = None,
        now: Callable[[], int] | None = None,
        redis: Callable[[Any, RedisPool], RedisLike] = Redis,
    ) -> None:
        """
        :param redis: makes the client of Redis, if one is needed.
        :param now: the time that ids are made of, in microseconds since 1970; None: the system's.
        """
        self.config = config
        self.db = db
        self.clock = clock
        self.started_at = time.time()
        self.data_dir = config.general.data_dir
        self.secret = b""
        self.membership = membership
        self.mesh: Mesh = (
            Alone(Node(config.cluster.name, 0, int(self.started_at * 1e6)))
            if membership is None
            else membership.mesh
        )
        self.ids = TimeIDs(self.mesh.local.number, now)
        self.session_ids = TimeIDs(self.mesh.local.number, now)
        self.caches = Caches(self.mesh, clock)
        self.flusher = TurnFlusher(clock)
        self.hooks = HookBus()
        self.router = Router(self.hooks)
        self.hosts: dict[str, Host] = {}
        self.listeners: list[ClientListener] = []
        self.redis: RedisLike | None = None
        self.cluster: Cluster | None = None
        if not isinstance(self.mesh, Alone):
            if config.general.sm_backend == "redis":
                self.redis = redis(clock, config.redis)
            self.cluster = Cluster(self)
        self.active: ClientStream | None = None
        self.when_stopped: Callable[[], None] = lambda: None
        self.draining = False
        self.domains = Domains(self, SQLDomainStore(db))
        self._load = load
        self._threads = threads
        self._schemas: set[str] = set()
        self.message_log: MessageLog | None = None

    @property
    def default_domain(self) -> str:
        """The domain for clients that name none."""
        general = self.config.general
        return general.default_server_domain or next(iter(self.hosts), "")

    def host_for(self, domain: str) -> Host | None:
        """The host that serves a domain (a prepared domainpart) here."""
        return self.hosts.get(domain)

    def host_for_name(self, name: str) -> Host | None:
        """The host that a client names in its stream header."""
        try:
            return self.hosts.get(str(JID.parse(name)))
        except InvalidJID:
            return None

    def run_in_thread(self, function: Callable[[], T]) -> Deferred[T]:
        """Runs a long computation beside the reactor."""
        return deferToThread(function) if self._threads else succeed(function())

    async def ensure_schema(self, schema: Schema) -> None:
        """Creates or upgrades tables, once in a server's life."""
        if schema.owner not in self._schemas:
            await self.db.ensure(schema)
            self._schemas.add(schema.owner)

    async def open_message_log(self) -> MessageLog:
        """The message log, opened when the first module asks for it."""
        if self.message_log is None:
            log = MessageLog(self)
            await log.open()
            self.message_log = log
        return self.message_log

    async def start(self) -> None:
        """Starts hosts and modules; listeners are added by :meth:`listen`."""
        for schema in core_tables.SCHEMAS:
            await self.ensure_schema(schema)
        shared = await self.db.run("server_secret", shared_secret)
        # Another key than the one that it is derived from: their uses must not meet.
        self.secret = hmac.digest(shared, b"accounts that do not exist", "sha256")
        await self._open_hosts()
        if self.redis is not None:
            self.redis.start()
        if self.membership is not None:
            self.membership.start()

    async def _open_hosts(self) -> None:
        """Serves what the configuration names and the database has, unless it is served."""
        general = self.config.general
        for domain in general.hosts:
            if domain not in self.hosts:
                await open_host(self, domain, domain)
        if general.host_types:
            await self.domains.start()

    def listener(self, options: ListenC2S) -> ClientListener:
        """A listener for clients, not yet on a port."""
        listener = ClientListener(self, options)
        self.listeners.append(listener)
        return listener

    def listen(self, reactor: Any) -> None:
        """Opens the clients' ports.

        :raises twisted.internet.error.CannotListenError: one is taken.
        """
        for options in self.config.listen.c2s:
            self.listener(options).listen(reactor)

    async def reload(self) -> list[Change]:
        """Reads the configuration again and applies what can change while it runs.

        :returns: what has changed, and whether it took effect.
        :raises ConfigErrors: the file is bad; nothing was changed.
        :raises LoadError: a module is missing; nothing was changed.
        """
        assert self._load is not None
        old, new = self.config, self._load()
        listeners = self._prepare_listeners(new)
        changes = changed(old, new)
        going = [host for host in self.hosts.values() if not _is_served(host, new)]
        staying = [host for host in self.hosts.values() if _is_served(host, new)]
        for host in staying:
            check_modules(new.hosts[host.host_type].modules)
        for host in going:
            await close_host(self, host)
        for host in staying:
            before, after = old.hosts[host.host_type].modules, new.hosts[host.host_type].modules
            await reload_modules(host, before, after)
        self.config = new
        for host in staying:
            host.reconfigure(new.hosts[host.host_type])
        for listener, options, certificates in listeners:
            listener.reconfigure(options, certificates)
        await self._open_hosts()
        logging.getLogger().setLevel(_level(new))
        logger.info("configuration_reloaded changes=%d", len(changes))
        return changes

    def _prepare_listeners(
        self, config: Config
    ) -> list[tuple[ClientListener, ListenC2S, Certificates | None]]:
        """The options and certificates that the open ports are to have.

        :raises ConfigErrors: a certificate cannot be used.
        """
        running = {(o.options.ip_address, o.options.port): o for o in self.listeners}
        found = []
        for n, options in enumerate(config.listen.c2s):
            listener = running.get((options.ip_address, options.port))
            if listener is None:
                continue
            try:
                found.append((listener, options, listener.read_certificates(options.tls)))
            except CertificateUnusable as error:
                path = f"listen.c2s[{n}].tls"
                raise ConfigErrors([ConfigError(config.file, 1, path, str(error))]) from error
        return found

    def stop(self) -> None:
        """Asks for the end of the process; what ends it was set as ``when_stopped``."""
        self.when_stopped()

    async def shut_down(self) -> None:
        """Closes every stream with ``system-shutdown``, stops the modules, closes the database."""
        self.draining = True
        has_heirs = draining.has_heirs(self)
        for listener in self.listeners:
            await listener.stop()
            await listener.close_streams(may_return=has_heirs)
        if has_heirs:
            await draining.bequeath(self)
        for host in self.hosts.values():
            for session in host.sessions.local():  # those that wait for their client
                session.close("system-shutdown")
            await host.settle()
        for host in self.hosts.values():
            await stop_modules(host)
            host.release()
        if self.cluster is not None:
            self.cluster.stop()
        if self.redis is not None:
            await self.redis.close()
        if self.message_log is not None:
            await self.message_log.close()
        if self.membership is not None:
            await self.membership.leave("it was shut down")
        await self.db.close()


def _is_served(host: Host, config: Config) -> bool:
    """Whether a configuration has what is needed to serve a host."""
    general = config.general
    return host.domain in general.hosts or host.host_type in general.host_types


def _level(config: Config) -> int:
    from mongoosetw.logs import level_number

    return level_number(config.general.loglevel)
