"""Load a configuration file: read it, check it as a whole, and report all errors at once."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, TypeAlias, TypeVar

from mongoosetw.cluster.config import Cluster, worker_count
from mongoosetw.config.acl import Access, Acl, Domains
from mongoosetw.config.checks import check_root, check_rules
from mongoosetw.config.errors import ConfigError, ConfigErrors, Path
from mongoosetw.config.lacking import MONGOOSEIM_ONLY, is_lacking
from mongoosetw.config.reading import Reader
from mongoosetw.config.redis import RedisPool, RedisPools
from mongoosetw.config.schema import (
    AccessRule,
    AclCondition,
    Auth,
    General,
    HostConfigTable,
    Listen,
    OutgoingPools,
    RDBMSPool,
    RDBMSPools,
    Root,
    ShaperOptions,
)
from mongoosetw.config.shaper import Shaper
from mongoosetw.config.toml import Document, parse, read
from mongoosetw.xmpp.jid import JID, InvalidJID

ModuleOptions: TypeAlias = Callable[[str], type[Any] | None]
"""Gives the options' dataclass of a module, by its name or by its ``class`` (``package:Class``);
None if there is no such module."""

SOCKET_NAME = "mongoosectl.sock"
DATABASE_NAME = "mongoosetw.sqlite"


@dataclass(frozen=True)
class ModuleConfig:
    """A module that is to run.

    :ivar name: such as ``mod_ping``.
    :ivar options: instance of the module's options' dataclass.
    :ivar class_path: ``package:Class`` if the configuration names one.
    """

    name: str
    options: Any
    class_path: str | None = None


@dataclass(frozen=True)
class HostConfig:
    """What holds for one host type.

    :ivar name: the host type; of a plain host: its domain.
    """

    name: str
    auth: Auth
    modules: Mapping[str, ModuleConfig]
    acl: Mapping[str, tuple[AclCondition, ...]]
    access: Mapping[str, tuple[AccessRule, ...]]


@dataclass(frozen=True)
class Config:
    """A configuration without errors; all paths in it are absolute.

    :ivar file: the file's name as the operator gave it.
    :ivar hosts: what holds for each host and host type, by name.
    """

    file: str
    general: General
    listen: Listen
    auth: Auth
    outgoing_pools: OutgoingPools
    cluster: Cluster
    shaper: Mapping[str, ShaperOptions]
    modules: Mapping[str, ModuleConfig]
    hosts: Mapping[str, HostConfig] = field(default_factory=dict)

    @property
    def rdbms(self) -> RDBMSPool:
        """The server's database."""
        return self.outgoing_pools.rdbms.default

    @property
    def redis(self) -> RedisPool:
        """Where sessions are looked up with ``general.sm_backend = "redis"``."""
        return self.outgoing_pools.redis.default

    @property
    def workers(self) -> int:
        """How many nodes run on this machine."""
        return worker_count(self.general.workers)

    def access(
        self,
        domain: str,
        host_type: str | None = None,
        is_hosted: Callable[[str], bool] | None = None,
    ) -> Access:
        """Return the access rules as ``domain`` sees them.

        :param host_type: the domain's host type; the domain itself if None.
        :param is_hosted: tells which domains are served; those of the file if None.
        """
        host = self.hosts[host_type or domain]
        hosted = is_hosted or set(self.general.hosts).__contains__
        return Access(host.access, Acl(host.acl, Domains(domain, hosted)))

    def new_shaper(self, name: str) -> Shaper | None:
        """Return a new bucket of the shaper ``name``; None if it is ``none`` or not defined."""
        options = self.shaper.get(name)
        return None if options is None else Shaper(options.max_rate)


def load(
    path: str,
    module_options: ModuleOptions,
    known_unsupported: Collection[str] = MONGOOSEIM_ONLY,
) -> Config:
    """Load a file.

    :param path: the file; relative paths in it count from its directory.
    :param module_options: gives each module's options.
    :param known_unsupported: dotted paths that MongooseIM has; unless declared here, too, they
        are reported as missing features rather than as misspelt names.
    :raises ConfigErrors: with everything that is wrong.
    """
    return build(read(path), module_options, known_unsupported)


def load_text(
    text: str,
    module_options: ModuleOptions,
    *,
    file: str = "mongoosetw.toml",
    known_unsupported: Collection[str] = MONGOOSEIM_ONLY,
) -> Config:
    """Load a configuration that is a string; otherwise like :func:`load`.

    :param file: name for errors, and the place that relative paths count from.
    :raises ConfigErrors: with everything that is wrong.
    """
    return build(parse(text, file), module_options, known_unsupported)


def build(
    document: Document, module_options: ModuleOptions, known_unsupported: Collection[str]
) -> Config:
    """Build the configuration of a parsed document.

    :raises ConfigErrors: with everything that is wrong.
    """
    reader = Reader(document, lambda path: is_lacking(path, known_unsupported))
    root = reader.section(Root, document.values, ()) or Root()
    tables = _Modules(reader, module_options)
    modules = tables.read(root.modules, ("modules",), root.access)
    host_modules = [
        None
        if table.modules is None
        else tables.read(
            table.modules, ("host_config", n, "modules"), {**root.access, **table.access}
        )
        for n, table in enumerate(root.host_config)
    ]
    general = _general(root.general, document, reader)
    root = replace(root, general=general, outgoing_pools=_pools(root, document))
    check_root(root, reader)
    if reader.errors:
        raise ConfigErrors(reader.errors)
    return _config(document.file, root, modules, host_modules)


def _config(
    file: str,
    root: Root,
    modules: Mapping[str, ModuleConfig],
    host_modules: list[dict[str, ModuleConfig] | None],
) -> Config:
    names = (*root.general.hosts, *root.general.host_types)
    hosts = {name: HostConfig(name, root.auth, modules, root.acl, root.access) for name in names}
    for table, own_modules in zip(root.host_config, host_modules, strict=True):
        name = table.host.lower() or table.host_type
        hosts[name] = _override(hosts[name], table, own_modules)
    return Config(
        file=file,
        general=root.general,
        listen=root.listen,
        auth=root.auth,
        outgoing_pools=root.outgoing_pools,
        cluster=root.cluster,
        shaper=root.shaper,
        modules=modules,
        hosts=hosts,
    )


def _override(
    host: HostConfig, table: HostConfigTable, modules: dict[str, ModuleConfig] | None
) -> HostConfig:
    return replace(
        host,
        auth=table.auth or host.auth,
        modules=host.modules if modules is None else modules,
        acl={**host.acl, **table.acl},
        access={**host.access, **table.access},
    )


def _general(general: General, document: Document, reader: Reader) -> General:
    """Prepare domains (RFC 7622 §3.2), and make the defaults that depend on others explicit."""
    prepared = (
        _domain(host, ("general", "hosts", n), reader) for n, host in enumerate(general.hosts)
    )
    hosts = tuple(host for host in prepared if host)
    default = general.default_server_domain
    if default:
        default = _domain(default, ("general", "default_server_domain"), reader) or ""
    directory = FilePath(document.file).absolute().parent
    data_dir = str(directory / general.data_dir)
    return replace(
        general,
        hosts=hosts,
        default_server_domain=default or (hosts[0] if hosts else ""),
        data_dir=data_dir,
        control_socket=general.control_socket or str(FilePath(data_dir, SOCKET_NAME)),
    )


def _domain(text: str, path: Path, reader: Reader) -> str | None:
    try:
        jid = JID.parse(text)
    except InvalidJID as error:
        reader.error(path, f'expected a domain, got "{text}": {error}')
        return None
    if jid.local is not None or jid.resource is not None:
        reader.error(path, f'expected a domain, got "{text}"')
        return None
    return jid.domain


def _pools(root: Root, document: Document) -> OutgoingPools:
    """Bring what stands in ``connection`` up into the pool, and name SQLite's file."""
    pool = _lifted(root.outgoing_pools.rdbms.default, document, "rdbms")
    if not pool.path:
        directory = FilePath(document.file).absolute().parent / root.general.data_dir
        pool = replace(pool, path=str(directory / DATABASE_NAME))
    redis = _lifted(root.outgoing_pools.redis.default, document, "redis")
    return OutgoingPools(rdbms=RDBMSPools(default=pool), redis=RedisPools(default=redis))


_Pool = TypeVar("_Pool", RDBMSPool, RedisPool)


def _lifted(pool: _Pool, document: Document, kind: str) -> _Pool:
    """A pool with what stands in its ``connection``."""
    if pool.connection is None:
        return pool
    given = document.values["outgoing_pools"][kind]["default"]["connection"]
    own = {name: getattr(pool.connection, name) for name in given if hasattr(pool, name)}
    return replace(pool, **own, connection=None)


@dataclass(frozen=True, slots=True)
class _Modules:
    """Reads modules' tables."""

    reader: Reader
    module_options: ModuleOptions

    def read(
        self, tables: Mapping[str, dict[str, Any]], path: Path, rules: Collection[str]
    ) -> dict[str, ModuleConfig]:
        """Read ``[modules]`` or the ``modules`` of a ``[[host_config]]``.

        :param rules: names of the access rules that are defined for them.
        """
        found = {}
        for name, table in tables.items():
            module = self._module(name, dict(table), (*path, name))
            if module is not None:
                found[name] = module
                check_rules(module.options, rules, (*path, name), self.reader)
        return found

    def _module(self, name: str, table: dict[str, Any], path: Path) -> ModuleConfig | None:
        class_path = table.pop("class", None)
        if class_path is not None and (
            not isinstance(class_path, str) or class_path.count(":") != 1
        ):
            self.reader.error((*path, "class"), 'expected a string "package:Class"')
            return None
        options_class = self.module_options(class_path or name)
        if options_class is None:
            self._unknown(name, class_path, path)
            return None
        options = self.reader.section(options_class, table, path)
        return None if options is None else ModuleConfig(name, options, class_path)

    def _unknown(self, name: str, class_path: str | None, path: Path) -> None:
        if class_path is not None:
            self.reader.error((*path, "class"), f"no such class: {class_path}")
        elif self.reader.lacking(f"modules.{name}"):
            self.reader.error(path, "mongoosetw does not have it (yet)")
        else:
            self.reader.error(path, "no such module is installed")


__all__ = [
    "Config",
    "ConfigError",
    "ConfigErrors",
    "HostConfig",
    "ModuleConfig",
    "ModuleOptions",
    "build",
    "load",
    "load_text",
]
