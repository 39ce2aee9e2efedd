"""XMPP addresses (RFC 7622): parsing, PRECIS preparation and bounded caches of prepared addresses.

A server sees the same few addresses over and over, so parsing is a cache lookup in the common case,
and plain ASCII addresses never reach the Unicode tables.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Any, Final, NoReturn

import idna
from precis_i18n import get_profile

__all__ = ["JID", "InvalidJID"]

MAX_PART_BYTES: Final = 1023
"""Longest local, domain or resource part in bytes of UTF-8 (RFC 7622 §3.2, §3.3.1, §3.4.1)."""

CACHE_SIZE: Final = 32768
"""Addresses kept by each of the caches."""

CACHED_LENGTH: Final = 256
"""Longer addresses, in characters, are not kept: strangers must not fill the memory with them."""

# RFC 7622 §3.3.1: printable ASCII without space and the eight excluded characters "&'/:<>@
_ASCII_LOCAL: Final = re.compile(r"[!#-%(-.0-9;=?A-~]+")
# RFC 7622 §3.4.1: OpaqueString leaves printable ASCII, with spaces, as it is.
_ASCII_RESOURCE: Final = re.compile(r"[ -~]+")
# Letters, digits, hyphens (RFC 5890 §2.3.1); underscores too, since container host names have them.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_EXCLUDED_LOCAL: Final = frozenset("\"&'/:<>@")
_MAX_LABEL: Final = 63
_MAX_PASSES: Final = 4

_username = get_profile("UsernameCaseMapped")
_opaque = get_profile("OpaqueString")


class InvalidJID(ValueError):
    """A text that is no XMPP address (stanza error ``jid-malformed``)."""


class JID:
    """An immutable, hashable XMPP address of prepared parts.

    Build one with :meth:`parse` or :meth:`of`; the constructor takes prepared parts.

    Attributes:
        local: the localpart, or None.
        domain: the domainpart.
        resource: the resourcepart, or None.
        bare: the address without its resourcepart (itself if it has none).
        is_bare: whether there is no resourcepart.
        text: the address as it is written. As a key it is found faster than the address itself,
            whose hash is a call.
    """

    __slots__ = ("_hash", "bare", "domain", "is_bare", "local", "resource", "text")

    local: str | None
    domain: str
    resource: str | None
    bare: "JID"
    is_bare: bool
    text: str
    _hash: int

    def __init__(self, local: str | None, domain: str, resource: str | None = None) -> None:
        fill = object.__setattr__
        text = f"{local}@{domain}" if local is not None else domain
        bare: JID = self
        if resource is not None:
            bare = _intern(local, domain, None)
            text = f"{text}/{resource}"
        fill(self, "local", local)
        fill(self, "domain", domain)
        fill(self, "resource", resource)
        fill(self, "bare", bare)
        fill(self, "is_bare", resource is None)
        fill(self, "text", text)
        fill(self, "_hash", hash(text))

    @staticmethod
    def parse(text: str) -> "JID":
        """The address that `text` spells; raises InvalidJID (RFC 7622 §3.1)."""
        return _parse(text) if len(text) <= CACHED_LENGTH else _split(text)

    @staticmethod
    def of(local: str | None, domain: str, resource: str | None = None) -> "JID":
        """The address of these unprepared parts; raises InvalidJID (RFC 7622 §3)."""
        return _prepare(local, domain, resource)

    def with_resource(self, text: str) -> "JID":
        """This bare address with the resourcepart `text`; raises InvalidJID."""
        return _intern(self.local, self.domain, _prepare_resource(text))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"JID({self.text!r})"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self.text == other.text if isinstance(other, JID) else NotImplemented

    def __lt__(self, other: "JID") -> bool:
        return self.text < other.text

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a JID cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a JID cannot be changed: {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_intern, (self.local, self.domain, self.resource))


def _intern(local: str | None, domain: str, resource: str | None) -> JID:
    """The address of prepared parts, shared while it is cached."""
    if len(local or "") + len(domain) + len(resource or "") > CACHED_LENGTH:
        return JID(local, domain, resource)
    return _interned(local, domain, resource)


_interned = lru_cache(CACHE_SIZE)(JID)


def _split(text: str) -> JID:
    # RFC 7622 §3.1: the resource starts after the first '/', the domain after the first '@'
    # before that.
    address, slash, resource = text.partition("/")
    local, at, domain = address.partition("@")
    if not at:
        local, domain = "", address
    return _prepare(local if at else None, domain, resource if slash else None)


_parse = lru_cache(CACHE_SIZE)(_split)


def _prepare(local: str | None, domain: str, resource: str | None) -> JID:
    return _intern(
        None if local is None else _prepare_local(local),
        _prepare_domain(domain),
        None if resource is None else _prepare_resource(resource),
    )


def _prepare_local(text: str) -> str:
    """RFC 7622 §3.3: UsernameCaseMapped (RFC 8265 §3.3), fewer characters, at most 1023 bytes."""
    if _ASCII_LOCAL.fullmatch(text):
        prepared = text.lower()
    else:
        prepared = _enforce(_username, text, "localpart")
        # Checked after the mapping: width mapping turns the full-width forms into excluded ASCII.
        if not _EXCLUDED_LOCAL.isdisjoint(prepared):
            raise InvalidJID("localpart has a character that RFC 7622 excludes")
    return _short(prepared, "localpart")


def _prepare_resource(text: str) -> str:
    """RFC 7622 §3.4: OpaqueString (RFC 8265 §4.2), at most 1023 bytes."""
    if not _ASCII_RESOURCE.fullmatch(text):
        text = _enforce(_opaque, text, "resourcepart")
    return _short(text, "resourcepart")


def _enforce(profile: Any, text: str, part: str) -> str:
    # RFC 8264 §7: rules are applied again until the outcome is stable.
    try:
        for _ in range(_MAX_PASSES):
            prepared: str = profile.enforce(text)
            if prepared == text:
                return prepared
            text = prepared
    except ValueError as error:
        raise InvalidJID(f"{part} is not allowed: {error}") from error
    raise InvalidJID(f"{part} does not settle under its PRECIS profile")


def _short(text: str, part: str) -> str:
    if len(text) * 4 > MAX_PART_BYTES and len(text.encode()) > MAX_PART_BYTES:
        raise InvalidJID(f"{part} is longer than {MAX_PART_BYTES} bytes")
    return text


def _prepare_domain(text: str) -> str:
    """RFC 7622 §3.2: an IP literal, or a domain name with A-labels turned into U-labels."""
    return _known_domain(text) if len(text) <= CACHED_LENGTH else _check_domain(text)


def _check_domain(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    # RFC 7622 §3.2: a final label separator is stripped before anything else.
    name = text.removesuffix(".").lower()
    if not name.isascii() or "xn--" in name:
        name = _international(name)
    elif not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidJID("domainpart is not a domain name")
    return _short(name, "domainpart")


_known_domain = lru_cache(4096)(_check_domain)


def _ipv6(text: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(text)}]"
    except ValueError as error:
        raise InvalidJID(f"domainpart is no IPv6 address: {error}") from error


def _international(name: str) -> str:
    try:
        mapped = idna.uts46_remap(name, std3_rules=False).removesuffix(".")
        return ".".join(_u_label(label) for label in mapped.split("."))
    except ValueError as error:
        raise InvalidJID(f"domainpart is not a domain name: {error}") from error


def _u_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        if not _LABEL.fullmatch(label):
            raise InvalidJID("domainpart is not a domain name")
        return label
    u_label = idna.ulabel(label)
    if len(idna.alabel(u_label)) > _MAX_LABEL:
        raise InvalidJID("domainpart has a label longer than 63 bytes")
    return u_label
