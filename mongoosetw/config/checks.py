"""Checks that look at more than one option."""

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from pathlib import Path as FilePath
from typing import Any

from cryptography.x509 import load_pem_x509_crl
from OpenSSL import SSL

from mongoosetw.cluster.checks import check_cluster
from mongoosetw.cluster.config import worker_count
from mongoosetw.config.acl import BUILT_IN_ACLS, BUILT_IN_RULES
from mongoosetw.config.certificates import authorities_problem, certificate_problem
from mongoosetw.config.errors import Path
from mongoosetw.config.reading import Reader
from mongoosetw.config.redis import check_redis
from mongoosetw.config.schema import (
    AccessRule,
    AclCondition,
    General,
    HostConfigTable,
    ListenC2S,
    ListenHTTP,
    ListenTLS,
    Root,
)
from mongoosetw.net.tls import dns_name, reason, server_context, set_ciphers
from mongoosetw.xmpp.jid import InvalidJID

_SESSION_BACKENDS = ("replicated", "redis")


def check_root(root: Root, reader: Reader) -> None:
    """Note every contradiction within the file as an error of ``reader``."""
    _check_general(root.general, reader)
    _check_ports(root, reader)
    driver = root.outgoing_pools.rdbms.default.driver
    redis, place = root.outgoing_pools.redis.default, ("outgoing_pools", "redis", "default")
    check_redis(redis, place, reader)
    if redis.connection is not None:
        check_redis(redis.connection, (*place, "connection"), reader)
    check_cluster(root.cluster, worker_count(root.general.workers), driver, reader)
    for n, listener in enumerate(root.listen.c2s):
        path = ("listen", "c2s", n)
        _check_c2s(listener, root, path, reader)
        if listener.tls is not None:
            _check_tls(listener.tls, (*path, "tls"), reader)
    _check_acl(root.acl, ("acl",), reader)
    _check_access(root.access, root.acl, ("access",), reader)
    _check_host_configs(root, reader)


def check_rules(options: Any, rules: Collection[str], path: Path, reader: Reader) -> None:
    """Note options of a module that name an access rule which is not defined.

    :param rules: the rules that are; an option's default need not be.
    """
    for item in fields(options):
        info, rule = item.metadata["option"], getattr(options, item.name)
        if info.rule and rule not in (*rules, *BUILT_IN_RULES, item.default):
            reader.error((*path, item.name), f'no access rule "{rule}" is defined')


def _check_general(general: General, reader: Reader) -> None:
    if general.sm_backend not in _SESSION_BACKENDS:
        hint = ""
        if general.sm_backend in ("mnesia", "cets"):
            hint = f'; "replicated" is what "{general.sm_backend}" is in MongooseIM'
        text = f'expected "replicated" or "redis", got "{general.sm_backend}"{hint}'
        reader.error(("general", "sm_backend"), text)
    if not general.hosts and not general.host_types:
        reader.error(("general", "hosts"), "expected at least one host, or a host type")
    for name in ("hosts", "host_types"):
        _check_repeated(getattr(general, name), ("general", name), reader)
    domain = general.default_server_domain
    if not general.hosts and general.host_types and not domain:
        path = ("general", "default_server_domain")
        reader.error(path, "expected a domain: general.hosts names none to stand in for it")
    if general.hosts and not general.host_types and domain not in general.hosts:
        path = ("general", "default_server_domain")
        reader.error(path, f'expected one of general.hosts, got "{domain}"')


def _check_repeated(names: Iterable[str], path: Path, reader: Reader) -> None:
    seen = set()
    for n, name in enumerate(names):
        if name in seen:
            reader.error((*path, n), f'"{name}" stands here twice')
        seen.add(name)


def _check_ports(root: Root, reader: Reader) -> None:
    taken: dict[tuple[str, int], str] = {}
    listeners: list[tuple[Path, ListenC2S | ListenHTTP]] = [
        *((("listen", "c2s", n), item) for n, item in enumerate(root.listen.c2s)),
        *((("listen", "http", n), item) for n, item in enumerate(root.listen.http)),
    ]
    for path, listener in listeners:
        try:
            ipaddress.ip_address(listener.ip_address)
        except ValueError:
            text = f'expected an IPv4 or IPv6 address, got "{listener.ip_address}"'
            reader.error((*path, "ip_address"), text)
        address = (listener.ip_address, listener.port)
        if address in taken:
            text = f"port {listener.port} of {listener.ip_address} is taken by {taken[address]}"
            reader.error((*path, "port"), text)
        taken.setdefault(address, f"{path[0]}.{path[1]}[{path[2]}]")


def _check_c2s(listener: ListenC2S, root: Root, path: Path, reader: Reader) -> None:
    if listener.shaper != "none" and listener.shaper not in root.shaper:
        reader.error((*path, "shaper"), f'no shaper "{listener.shaper}" is defined')
    rules = {*root.access, *BUILT_IN_RULES}.union(*(table.access for table in root.host_config))
    if listener.access not in rules:
        reader.error((*path, "access"), f'no access rule "{listener.access}" is defined')
    methods = set(root.auth.methods)
    for table in root.host_config:
        methods.update(() if table.auth is None else table.auth.methods)
    for n, method in enumerate(listener.allowed_auth_methods or ()):
        if method not in methods:
            text = f'"{method}" is not among auth.methods'
            reader.error((*path, "allowed_auth_methods", n), text)


def _check_tls(tls: ListenTLS, path: Path, reader: Reader) -> None:
    errors = len(reader.errors)
    if not tls.versions:
        reader.error((*path, "versions"), "expected at least one version")
    _check_ciphers(tls, path, reader)
    _check_verification(tls, path, reader)
    # With these wrong, every certificate would be unusable.
    usable = len(reader.errors) == errors
    if tls.certfile:
        files = (tls.certfile, tls.keyfile)
        _check_certificate(tls, files, usable, (*path, "certfile"), reader)
    elif tls.keyfile:
        reader.error((*path, "keyfile"), "is of no use without tls.certfile")
    for n, own in enumerate(tls.certificates):
        place = (*path, "certificates", n)
        try:
            dns_name(own.domain)
        except InvalidJID as error:
            text = f'expected a domain, got "{own.domain}": {error}'
            reader.error((*place, "domain"), text)
        files = (own.certfile, own.keyfile)
        _check_certificate(tls, files, usable, (*place, "certfile"), reader)


def _check_certificate(
    tls: ListenTLS, files: tuple[str, str], usable: bool, path: Path, reader: Reader
) -> None:
    problem = certificate_problem(*files, tls.password)
    if problem is None and usable:
        try:
            server_context(tls, *files)
        except SSL.Error as error:  # OpenSSL refuses weak keys, for example
            problem = f"{files[0]} can't be used: {reason(error)}"
    if problem:
        reader.error(path, problem)


def _check_ciphers(tls: ListenTLS, path: Path, reader: Reader) -> None:
    try:
        set_ciphers(SSL.Context(SSL.TLS_SERVER_METHOD), tls.ciphers)
    except SSL.Error:
        reader.error((*path, "ciphers"), f'no cipher that OpenSSL knows is in "{tls.ciphers}"')


def _check_verification(tls: ListenTLS, path: Path, reader: Reader) -> None:
    if tls.cacertfile and (problem := authorities_problem(tls.cacertfile)):
        reader.error((*path, "cacertfile"), problem)
    for n, file in enumerate(tls.crl_files):
        try:
            load_pem_x509_crl(FilePath(file).read_bytes())
        except OSError as error:
            reader.error((*path, "crl_files", n), f"{file} can't be read: {error.strerror}")
        except ValueError:
            text = f"{file} holds no revocation list in PEM form"
            reader.error((*path, "crl_files", n), text)


def _check_acl(acl: Mapping[str, tuple[AclCondition, ...]], path: Path, reader: Reader) -> None:
    for name, conditions in acl.items():
        for n, condition in enumerate(conditions):
            for option in ("user_regexp", "server_regexp", "resource_regexp"):
                pattern = getattr(condition, option)
                try:
                    re.compile(pattern or "")
                except re.error as error:
                    text = f'expected a regular expression, got "{pattern}": {error}'
                    reader.error((*path, name, n, option), text)


def _check_access(
    access: Mapping[str, tuple[AccessRule, ...]],
    acl: Mapping[str, object],
    path: Path,
    reader: Reader,
) -> None:
    for name, rules in access.items():
        for n, rule in enumerate(rules):
            if rule.acl not in acl and rule.acl not in BUILT_IN_ACLS:
                reader.error((*path, name, n, "acl"), f'no ACL "{rule.acl}" is defined')


def _check_host_configs(root: Root, reader: Reader) -> None:
    seen: set[str] = set()
    for n, table in enumerate(root.host_config):
        path = ("host_config", n)
        _check_host_name(table, root.general, path, reader)
        name = table.host.lower() or table.host_type
        if name and name in seen:
            reader.error(path, f'"{name}" has a host_config already')
        seen.add(name)
        _check_acl(table.acl, (*path, "acl"), reader)
        _check_access(table.access, {**root.acl, **table.acl}, (*path, "access"), reader)


def _check_host_name(table: HostConfigTable, general: General, path: Path, reader: Reader) -> None:
    if bool(table.host) == bool(table.host_type):
        reader.error(path, "expected either host or host_type")
    elif table.host and table.host.lower() not in general.hosts:
        reader.error((*path, "host"), f'expected one of general.hosts, got "{table.host}"')
    elif table.host_type and table.host_type not in general.host_types:
        text = f'expected one of general.host_types, got "{table.host_type}"'
        reader.error((*path, "host_type"), text)
