"""``[outgoing_pools.redis]``: how Redis, or Valkey, is reached."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

from mongoosetw.config.certificates import authorities_problem, certificate_problem
from mongoosetw.config.errors import Path
from mongoosetw.config.options import option, optional_section, section
from mongoosetw.config.reading import Reader

_ADDRESS: Final = re.compile(r"(?P<host>[^:\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[1-9][0-9]{0,4})")
DEFAULT_PORT: Final = 6379


@dataclass(frozen=True)
class RedisTLS:
    """Encryption of the connections, to the sentinels, too."""

    verify_mode: Literal["peer", "none"] = option(
        "peer", doc="Whether the server's certificate has to be valid and to name its host."
    )
    cacertfile: str = option(
        "",
        path=True,
        doc="PEM file of the authorities that the server's certificate is checked by; those of the "
        "system if empty.",
    )
    certfile: str = option(
        "", path=True, doc="PEM file of the certificate to show, if the server asks for one."
    )
    keyfile: str = option(
        "", path=True, doc="PEM file of the private key; in `certfile` if not given."
    )


@dataclass(frozen=True)
class RedisConnection:
    """How a server is reached, directly or by asking sentinels."""

    host: str = option("127.0.0.1", doc="Name or address, or the path of a Unix socket.")
    port: int = option(DEFAULT_PORT, minimum=1, maximum=65535, doc="TCP port.")
    database: int = option(0, minimum=0, doc="Number of the database.")
    username: str = option("", doc="User (ACL); the default user if empty.")
    password: str = option("", secret=True, doc="The user's password.")
    tls: RedisTLS | None = optional_section("Encryption; without this table there is none.")
    sentinels: tuple[str, ...] = option(
        (), doc='Sentinels as `"host:port"`: they are asked for the server, `host` is not used.'
    )
    sentinel_master: str = option("mymaster", doc="Name that the sentinels have for the server.")
    sentinel_username: str = option("", doc="User at the sentinels, if they want one.")
    sentinel_password: str = option("", secret=True, doc="Password at the sentinels.")
    call_timeout: float = option(
        2.0,
        minimum=0.1,
        maximum=600,
        unit="seconds",
        doc="Time to connect, or to wait for an answer, after which the server counts as away.",
    )

    @property
    def sentinel_addresses(self) -> list[tuple[str, int]]:
        """Host and port of each sentinel."""
        return [address_of(text) for text in self.sentinels]


@dataclass(frozen=True)
class RedisPool(RedisConnection):
    """A Redis or Valkey server."""

    connection: RedisConnection | None = optional_section(
        "The options may also stand here, as MongooseIM groups them."
    )


@dataclass(frozen=True)
class RedisPools:
    """Redis or Valkey servers."""

    default: RedisPool = section(
        RedisPool, 'Where `general.sm_backend = "redis"` keeps who is on which node.'
    )


def address_of(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``.

    :raises ValueError: it is something else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f'expected "host:port", got "{text}"')
    host = match["host"]
    if host.startswith("["):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    return host, int(match["port"])


def check_redis(pool: RedisConnection, path: Path, reader: Reader) -> None:
    """Note every contradiction as an error of ``reader``."""
    for n, text in enumerate(pool.sentinels):
        try:
            address_of(text)
        except ValueError as error:
            reader.error((*path, "sentinels", n), str(error))
    for name in ("username", "sentinel_username"):
        password = name.replace("username", "password")
        if getattr(pool, name) and not getattr(pool, password):
            reader.error((*path, name), f"is of no use without {password}")
    if pool.tls is not None:
        _check_tls(pool, pool.tls, (*path, "tls"), reader)


def _check_tls(pool: RedisConnection, tls: RedisTLS, path: Path, reader: Reader) -> None:
    if pool.host.startswith("/") and not pool.sentinels:
        reader.error(path, "is of no use with a Unix socket")
    if tls.cacertfile and (problem := authorities_problem(tls.cacertfile)):
        reader.error((*path, "cacertfile"), problem)
    if tls.certfile:
        if problem := certificate_problem(tls.certfile, tls.keyfile):
            reader.error((*path, "certfile"), problem)
    elif tls.keyfile:
        reader.error((*path, "keyfile"), "is of no use without certfile")
