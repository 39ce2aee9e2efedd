"""Checks of ``[cluster]`` against itself and the rest of the configuration."""

import ipaddress
import os

from mongoosetw.cluster.config import (
    SECRET_MINIMUM,
    BadEntry,
    Cluster,
    ClusterTLS,
    is_name,
    node_names,
    static_nodes,
)
from mongoosetw.config.certificates import certificate_problem
from mongoosetw.config.errors import Path
from mongoosetw.config.reading import Reader

PATH: Path = ("cluster",)


def check_cluster(cluster: Cluster, workers: int, driver: str, reader: Reader) -> None:
    """Note every contradiction as an error of ``reader``.

    :param workers: nodes of this machine.
    :param driver: of the SQL database.
    """
    if not is_name(cluster.name):
        text = f'expected letters, digits, dots, dashes and underscores, got "{cluster.name}"'
        reader.error((*PATH, "node_name"), text)
    if cluster.secret and len(cluster.secret) < SECRET_MINIMUM:
        reader.error((*PATH, "secret"), f"expected at least {SECRET_MINIMUM} characters")
    _check_tls(cluster.tls, reader)
    if cluster.discovery == "static":
        _check_static(cluster, workers, reader)
    elif cluster.nodes:
        reader.error((*PATH, "nodes"), 'is of use with discovery = "static" only')
    if cluster.discovery == "rdbms":
        _check_rdbms(cluster, driver, reader)
    if cluster.discovery != "supervisor" and not (cluster.secret or cluster.has_certificates):
        text = "nodes of other machines need a secret or tls.cacertfile to prove themselves by"
        reader.error((*PATH, "secret"), text)


def _check_tls(tls: ClusterTLS, reader: Reader) -> None:
    path = (*PATH, "tls")
    if bool(tls.cacertfile) != bool(tls.certfile):
        reader.error(path, "cacertfile and certfile are of use together only")
    if tls.cacertfile and not os.access(tls.cacertfile, os.R_OK):
        reader.error((*path, "cacertfile"), f"{tls.cacertfile} can't be read")
    problem = certificate_problem(tls.certfile, tls.keyfile) if tls.certfile else None
    if problem:
        reader.error((*path, "certfile"), problem)


def _check_static(cluster: Cluster, workers: int, reader: Reader) -> None:
    try:
        nodes = static_nodes(cluster.nodes)
    except BadEntry as error:
        reader.error((*PATH, "nodes"), str(error))
        return
    names = [node.name for node in nodes]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.error((*PATH, "nodes"), f"{name} stands here twice")
    missing = [name for name in node_names(cluster.name, workers) if name not in names]
    if missing:
        text = f"expected this machine's nodes to be among them: {', '.join(missing)}"
        reader.error((*PATH, "nodes"), text)


def _check_rdbms(cluster: Cluster, driver: str, reader: Reader) -> None:
    if driver == "sqlite":
        text = '"rdbms" needs outgoing_pools.rdbms.default.driver = "pgsql": SQLite is a file here'
        reader.error((*PATH, "discovery"), text)
    for name in ("ip_address", "advertised_address"):
        address = getattr(cluster, name)
        if name == "ip_address" or address:
            _check_address(address, name, reader)
    unspecified = cluster.ip_address in ("0.0.0.0", "::")
    if unspecified and not cluster.advertised_address:
        text = f"is missing: nobody can connect to {cluster.ip_address}"
        reader.error((*PATH, "advertised_address"), text)


def _check_address(address: str, name: str, reader: Reader) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        reader.error((*PATH, name), f'expected an IPv4 or IPv6 address, got "{address}"')
