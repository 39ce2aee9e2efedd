"""The server's own sections: what may stand in a configuration file besides modules' options.

Names and defaults are MongooseIM's where it has the option. Times are in seconds everywhere.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mongoosetw.cluster.config import Cluster
from mongoosetw.config.options import (
    INFINITY,
    Infinity,
    named_sections,
    option,
    optional_section,
    section,
    sections,
)
from mongoosetw.config.redis import RedisPools

LogLevel: TypeAlias = Literal["none", "critical", "error", "warning", "notice", "info", "debug"]
TLSVersion: TypeAlias = Literal["tlsv1.2", "tlsv1.3"]
AuthMethod: TypeAlias = Literal["internal", "rdbms", "anonymous", "pki", "dummy"]
Mechanism: TypeAlias = Literal[
    "scram_sha512_plus",
    "scram_sha512",
    "scram_sha256_plus",
    "scram_sha256",
    "scram_sha1_plus",
    "scram_sha1",
    "plain",
    "anonymous",
    "external",
]
PasswordHash: TypeAlias = Literal["sha", "sha256", "sha512"]
AclMatch: TypeAlias = Literal["all", "any_hosted_domain", "current_domain", "none"]

PORT_MAXIMUM = 65535
SECONDS_MAXIMUM = 600
"""Bound of short times: MongooseIM counts some of them in milliseconds, which this catches."""


@dataclass(frozen=True)
class General:
    """What concerns the server as a whole."""

    hosts: tuple[str, ...] = option((), doc="Domains that are served, each a host type of its own.")
    host_types: tuple[str, ...] = option(
        (), doc="Host types: sets of modules and options that domains are added to at run time."
    )
    default_server_domain: str = option(
        "", doc="Domain used where a client names none; the first of `hosts` if not given."
    )
    loglevel: LogLevel = option("warning", doc="Least severity that is logged.")
    log_format: Literal["text", "json"] = option(
        "text", doc="Log lines for people, or one JSON object a line."
    )
    data_dir: str = option(
        "data", path=True, doc="Directory of databases, certificates and the control socket."
    )
    sm_backend: str = option(
        "replicated",
        doc="How nodes know of one another's sessions. `replicated`: every node knows all; "
        "`redis`: each asks `outgoing_pools.redis.default` for the users that it needs, which is "
        "for clusters of more than about ten nodes.",
    )
    language: str = option("en", doc="Default `xml:lang` of what the server says.")
    workers: int | Literal["auto"] = option(
        1,
        minimum=1,
        maximum=64,
        doc='Node processes on this machine; `"auto"`: one for each processor core.',
    )
    hide_service_name: bool = option(
        False, doc="Do not tell clients that never named a host which one the server serves."
    )
    registration_timeout: float | Infinity = option(
        600.0,
        minimum=0,
        unit="seconds",
        doc='Time between two registrations from one address; 0 or `"infinity"` for no limit.',
    )
    control_socket: str = option(
        "",
        path=True,
        doc="Unix socket that `mongoosectl` talks to; `mongoosectl.sock` in `data_dir` if empty.",
    )


@dataclass(frozen=True)
class DomainCertificate:
    """A certificate for one domain, chosen by the name that the client asks for (SNI)."""

    domain: str = option(doc="The domain.")
    certfile: str = option(path=True, doc="PEM file of the certificate and its chain.")
    keyfile: str = option(
        "", path=True, doc="PEM file of the private key; in `certfile` if not given."
    )


@dataclass(frozen=True)
class ListenTLS:
    """Encryption of a listener."""

    mode: Literal["starttls", "starttls_required", "tls"] = option(
        "starttls",
        doc="Offer STARTTLS, insist on it, or speak TLS from the first byte (XEP-0368).",
    )
    certfile: str = option(
        "",
        path=True,
        doc="PEM file of the certificate and its chain. If empty, a self-signed one is made.",
    )
    keyfile: str = option(
        "", path=True, doc="PEM file of the private key; in `certfile` if not given."
    )
    password: str = option("", secret=True, doc="Password of the private key.")
    certificates: tuple[DomainCertificate, ...] = sections("Certificates of single domains.")
    cacertfile: str = option(
        "", path=True, doc="PEM file of the authorities that clients' certificates are checked by."
    )
    verify_mode: Literal["peer", "selfsigned_peer", "none"] | None = option(
        None,
        doc="Ask clients for a certificate, and whether it may be self-signed; `peer` if"
        " `cacertfile` is given, else `none`.",
    )
    disconnect_on_failure: bool = option(
        True,
        doc="Refuse clients whose certificate is missing or invalid; if not, they may log in by"
        " other means.",
    )
    crl_files: tuple[str, ...] = option(
        (), path=True, doc="PEM files of revoked clients' certificates."
    )
    ciphers: str = option("", doc="OpenSSL's list of allowed ciphers; a safe one if empty.")
    versions: tuple[TLSVersion, ...] = option(
        ("tlsv1.2", "tlsv1.3"), doc="Versions of the protocol that are spoken."
    )

    @property
    def verification(self) -> str:
        """The value of ``verify_mode`` that holds."""
        return self.verify_mode or ("peer" if self.cacertfile else "none")


@dataclass(frozen=True)
class LoginLimits:
    """How failed logins are slowed down, counted by user and by address."""

    max_per_stream: int = option(
        3, minimum=1, doc="Failed attempts after which the stream is closed."
    )
    free_per_user: int = option(
        5, minimum=0, doc="Failed attempts of a user before answers are delayed."
    )
    free_per_address: int = option(
        20, minimum=0, doc="Failed attempts from an address before answers are delayed."
    )
    delay: float = option(
        1.0, minimum=0, unit="seconds", doc="First delay; each further failure doubles it."
    )
    max_delay: float = option(
        30.0, minimum=0, maximum=SECONDS_MAXIMUM, unit="seconds", doc="Longest delay."
    )
    forget_after: float = option(
        900.0, minimum=1, unit="seconds", doc="Time after which a failure no longer counts."
    )


@dataclass(frozen=True)
class ListenC2S:
    """A port for clients."""

    port: int = option(minimum=1, maximum=PORT_MAXIMUM, doc="TCP port.")
    ip_address: str = option("0.0.0.0", doc="Address to listen on, IPv4 or IPv6.")
    backlog: int = option(1024, minimum=1, doc="Connections that may wait to be accepted.")
    tls: ListenTLS | None = optional_section("Encryption; without this table there is none.")
    max_stanza_size: int | Infinity = option(
        262144, minimum=10000, unit="bytes", doc="Longest stanza (RFC 6120 §13.12: at least 10000)."
    )
    max_depth: int = option(64, minimum=4, doc="Deepest nesting of elements in a stanza.")
    max_attributes: int = option(64, minimum=8, doc="Most attributes of one element.")
    max_unauthenticated_bytes: int = option(
        65536, minimum=4096, unit="bytes", doc="Bytes that a client may send before it logged in."
    )
    state_timeout: float = option(
        60.0,
        minimum=1,
        maximum=SECONDS_MAXIMUM,
        unit="seconds",
        doc="Time that a client has from connecting until it is logged in and has a resource.",
    )
    max_send_queue: int = option(
        16_777_216,
        minimum=262_144,
        unit="bytes",
        doc="Bytes that may wait for a client that does not read them; beyond, it is disconnected."
        " Whoever sends it much is paused long before.",
    )
    send_timeout: float = option(
        60.0,
        minimum=1,
        maximum=SECONDS_MAXIMUM,
        unit="seconds",
        doc="Time after which a client that reads nothing of what waits for it is disconnected.",
    )
    max_connections: int | Infinity = option(
        INFINITY, minimum=1, doc="Connections of this listener at one time."
    )
    max_connections_per_address: int | Infinity = option(
        1000, minimum=1, doc="Connections from one address at one time."
    )
    login_attempts: LoginLimits = section(LoginLimits, "How failed logins are slowed down.")
    limits_apply_to_loopback: bool = option(
        False, doc="Apply the limits by address to connections from this machine, too."
    )
    shaper: str = option("none", doc="Shaper of what clients send, or `none`.")
    access: str = option("all", doc="Access rule of who may log in.")
    allowed_auth_methods: tuple[AuthMethod, ...] | None = option(
        None, doc="Authentication methods used here; all that are configured if not given."
    )
    allow_plain_without_tls: bool = option(
        False, doc="Offer SASL PLAIN on unencrypted streams. Passwords travel readable."
    )
    backwards_compatible_session: bool = option(
        True, doc="Offer the session establishment of RFC 3921, which old clients insist on."
    )


@dataclass(frozen=True)
class PrometheusHandler:
    """Answers with the server's metrics in Prometheus' text format."""

    host: str = option("_", doc="Host name in the request that this handler is for; `_`: any.")
    path: str = option("/metrics", doc="Path of the URL.")


@dataclass(frozen=True)
class HTTPHandlers:
    """What an HTTP listener answers."""

    mongoose_prometheus_handler: tuple[PrometheusHandler, ...] = sections("Metrics.")


@dataclass(frozen=True)
class ListenHTTP:
    """A port for HTTP."""

    port: int = option(minimum=1, maximum=PORT_MAXIMUM, doc="TCP port.")
    ip_address: str = option("127.0.0.1", doc="Address to listen on, IPv4 or IPv6.")
    backlog: int = option(1024, minimum=1, doc="Connections that may wait to be accepted.")
    handlers: HTTPHandlers = section(
        HTTPHandlers, "What is answered; without any handler: metrics at `/metrics`."
    )


@dataclass(frozen=True)
class Listen:
    """The ports."""

    c2s: tuple[ListenC2S, ...] = sections("Ports for clients.")
    http: tuple[ListenHTTP, ...] = sections("Ports for HTTP.")


@dataclass(frozen=True)
class AuthPassword:
    """How passwords are kept."""

    format: Literal["scram", "plain"] = option(
        "scram", doc="Keep salted SCRAM keys, or the passwords themselves (`plain`: do not)."
    )
    hash: tuple[PasswordHash, ...] = option(
        ("sha", "sha256", "sha512"), doc="Hashes that SCRAM keys are kept for."
    )
    scram_iterations: int = option(
        10000, minimum=4096, maximum=10_000_000, doc="Iterations of new SCRAM keys (RFC 7677 §4)."
    )


@dataclass(frozen=True)
class AuthAnonymous:
    """Users without an account (XEP-0175)."""

    protocol: Literal["sasl_anon", "login_anon", "both"] = option(
        "sasl_anon", doc="SASL ANONYMOUS, any name with any password, or both."
    )
    allow_multiple_connections: bool = option(
        False, doc="Let several connections of `login_anon` have the same name."
    )


@dataclass(frozen=True)
class AuthDummy:
    """Accepts every password after a pause: for load tests."""

    base_time: float = option(50.0, minimum=0, unit="milliseconds", doc="Shortest pause.")
    variance: float = option(450.0, minimum=0, unit="milliseconds", doc="Random further pause.")


@dataclass(frozen=True)
class Auth:
    """Who may log in, and how."""

    methods: tuple[AuthMethod, ...] = option(
        ("internal",), doc="Where accounts are looked up, in this order."
    )
    sasl_mechanisms: tuple[Mechanism, ...] = option(
        (
            "scram_sha512_plus",
            "scram_sha512",
            "scram_sha256_plus",
            "scram_sha256",
            "scram_sha1_plus",
            "scram_sha1",
            "plain",
            "anonymous",
        ),
        doc="Mechanisms, in the order in which they are announced.",
    )
    sasl_external: tuple[Literal["standard", "common_name"], ...] = option(
        ("standard",), doc="Where SASL EXTERNAL finds the JID in a certificate (XEP-0178)."
    )
    password: AuthPassword = section(AuthPassword, "How passwords are kept.")
    anonymous: AuthAnonymous = section(AuthAnonymous, "Users without an account.")
    dummy: AuthDummy = section(AuthDummy, "Accepts everybody, for load tests.")
    max_users_per_domain: int | Infinity = option(
        INFINITY, minimum=1, doc="Most accounts of one domain."
    )


@dataclass(frozen=True)
class DatabaseConnection:
    """How a database is reached."""

    driver: Literal["sqlite", "pgsql"] = option("sqlite", doc="SQLite or PostgreSQL.")
    path: str = option(
        "", path=True, doc="SQLite: the file; `mongoosetw.sqlite` in `data_dir` if empty."
    )
    host: str = option("localhost", doc="PostgreSQL: name or address, or a socket's directory.")
    port: int = option(5432, minimum=1, maximum=PORT_MAXIMUM, doc="PostgreSQL: TCP port.")
    database: str = option("mongoosetw", doc="PostgreSQL: name of the database.")
    username: str = option("mongoosetw", doc="PostgreSQL: user.")
    password: str = option("", secret=True, doc="PostgreSQL: the user's password.")
    query_timeout: float = option(
        5.0,
        minimum=0.1,
        maximum=SECONDS_MAXIMUM,
        unit="seconds",
        doc="Longest time of one statement.",
    )


@dataclass(frozen=True)
class RDBMSPool(DatabaseConnection):
    """A pool of connections to an SQL database."""

    workers: int = option(10, minimum=1, maximum=1000, doc="Connections.")
    connection: DatabaseConnection | None = optional_section(
        "The options of the connection may also stand here, as MongooseIM groups them."
    )


@dataclass(frozen=True)
class RDBMSPools:
    """SQL databases."""

    default: RDBMSPool = section(RDBMSPool, "The server's database.")


@dataclass(frozen=True)
class OutgoingPools:
    """Connections to other services."""

    rdbms: RDBMSPools = section(RDBMSPools, "SQL databases.")
    redis: RedisPools = section(RedisPools, "Redis or Valkey servers.")


@dataclass(frozen=True)
class AclCondition:
    """One condition; it matches a JID that has everything it names."""

    match: AclMatch | None = option(
        None, doc="Which domains; `current_domain` if no condition on the server is given."
    )
    user: str | None = option(None, doc="Local part.")
    user_regexp: str | None = option(None, doc="Regular expression found in the local part.")
    user_glob: str | None = option(None, doc="Pattern of the local part, with `*` and `?`.")
    server: str | None = option(None, doc="Domain.")
    server_regexp: str | None = option(None, doc="Regular expression found in the domain.")
    server_glob: str | None = option(None, doc="Pattern of the domain.")
    resource: str | None = option(None, doc="Resource.")
    resource_regexp: str | None = option(None, doc="Regular expression found in the resource.")
    resource_glob: str | None = option(None, doc="Pattern of the resource.")


@dataclass(frozen=True)
class AccessRule:
    """One line of an access rule."""

    acl: str = option(doc="Name of an ACL; `all` and `none` always exist.")
    value: str | int = option(
        doc='What holds for those whom it matches: `"allow"`, `"deny"`, a number, a shaper …'
    )


@dataclass(frozen=True)
class ShaperOptions:
    """A limit of speed."""

    max_rate: int = option(minimum=1, unit="bytes a second", doc="Highest mean rate.")


@dataclass(frozen=True)
class HostConfigTable:
    """What differs for one host or host type."""

    host: str = option("", doc="Domain of `general.hosts` that this is for.")
    host_type: str = option("", doc="Or a host type of `general.host_types`.")
    auth: Auth | None = optional_section("Replaces `auth` as a whole.")
    modules: dict[str, dict[str, Any]] | None = optional_section("Replaces `modules` as a whole.")
    acl: dict[str, tuple[AclCondition, ...]] = named_sections("ACLs added to, or replacing, `acl`.")
    access: dict[str, tuple[AccessRule, ...]] = named_sections("Rules replacing those of `access`.")


@dataclass(frozen=True)
class Root:
    """The whole file."""

    general: General = section(General, "What concerns the server as a whole.")
    listen: Listen = section(Listen, "The ports.")
    auth: Auth = section(Auth, "Who may log in, and how.")
    outgoing_pools: OutgoingPools = section(OutgoingPools, "Connections to other services.")
    cluster: Cluster = section(
        Cluster, "How nodes find one another, and how they prove to belong together."
    )
    acl: dict[str, tuple[AclCondition, ...]] = named_sections("Named sets of users.")
    access: dict[str, tuple[AccessRule, ...]] = named_sections(
        "Rules: the first line whose ACL matches gives the value."
    )
    shaper: dict[str, ShaperOptions] = named_sections("Limits of speed, by name.")
    modules: dict[str, dict[str, Any]] = named_sections("The modules that run, with options.")
    host_config: tuple[HostConfigTable, ...] = sections("What differs for one host or host type.")
