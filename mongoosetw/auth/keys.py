"""All SCRAM keys of one account, and their text in the column ``pass_details`` of table ``users``.

The text is the one that MongooseIM writes, so that its table can be used as it is::

    ==MULTI_SCRAM==,10000,===SHA1===<salt>|<stored key>|<server key>,==SHA256==…,==SHA512==…
"""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from mongoosetw.xmpp.sasl.keys import HASHES, ScramKeys, derive
from mongoosetw.xmpp.sasl.prepare import InvalidPassword

__all__ = [
    "HASHES",
    "Credentials",
    "InvalidPassword",
    "KeyPolicy",
    "Password",
    "ScramKeys",
    "derive",
]

SALT_BYTES: Final = 16
_PREFIX: Final = "==MULTI_SCRAM=="
_OLD_PREFIX: Final = "==SCRAM=="
_HASH: Final = re.compile(r"=+SHA(\d+)=+(.*)")
# The cheapest to compute first: a password is checked against one hash only.
_CHECK_ORDER: Final = ("sha1", "sha256", "sha224", "sha512", "sha384")


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """How the keys of new passwords are made.

    Attributes:
        hashes: the hash functions, as hashlib names them (option ``password.hash``).
        iterations: rounds of PBKDF2 (option ``scram_iterations``); RFC 7677 §4 asks for 4096.
        keep_plain: store passwords themselves instead (option ``password.format``).
        salt: gives random bytes.
    """

    hashes: tuple[str, ...] = ("sha1", "sha256", "sha512")
    iterations: int = 10000
    keep_plain: bool = False
    salt: Callable[[int], bytes] = secrets.token_bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """The SCRAM keys of one password for several hash functions, all with `iterations` rounds."""

    iterations: int
    keys: Mapping[str, ScramKeys]

    @classmethod
    def derive(cls, password: str, policy: KeyPolicy) -> Self:
        """Keys of `password`; milliseconds of CPU for each hash. Raises InvalidPassword."""
        keys = {
            name: derive(password, name, policy.iterations, policy.salt(SALT_BYTES))
            for name in policy.hashes
        }
        return cls(policy.iterations, keys)

    def verify(self, password: str) -> bool:
        """Whether `password` is the one; milliseconds of CPU, compared in constant time."""
        name = next(name for name in _CHECK_ORDER if name in self.keys)
        keys = self.keys[name]
        try:
            given = derive(password, name, keys.iterations, keys.salt)
        except InvalidPassword:
            return False
        return hmac.compare_digest(given.stored_key, keys.stored_key)

    def outdated(self, policy: KeyPolicy) -> bool:
        """Whether a hash of the policy is missing, or the rounds are fewer than it asks for."""
        return self.iterations < policy.iterations or not self.keys.keys() >= set(policy.hashes)

    def to_text(self) -> str:
        """The value of ``pass_details``."""
        return ",".join((_PREFIX, str(self.iterations), *map(_hash_text, self.keys.items())))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The credentials that ``pass_details`` holds; raises ValueError."""
        prefix, *fields = text.split(",")
        try:
            if prefix == _PREFIX:
                iterations = int(fields[0])
                return cls(iterations, _checked(_hash_keys(f, iterations) for f in fields[1:]))
            if prefix == _OLD_PREFIX:
                return cls(int(fields[3]), {"sha1": _old_keys(fields)})
        except (binascii.Error, IndexError):
            pass  # refused below, without showing the keys
        raise ValueError("pass_details holds no SCRAM keys")


def _checked(found: Iterable[tuple[str, ScramKeys]]) -> dict[str, ScramKeys]:
    keys = {name: value for name, value in found if name in HASHES}
    if not keys:
        raise IndexError
    return keys


def _hash_text(item: tuple[str, ScramKeys]) -> str:
    name, keys = item
    label = "===SHA1===" if name == "sha1" else f"=={name.upper()}=="
    parts = (keys.salt, keys.stored_key, keys.server_key)
    return label + "|".join(base64.b64encode(part).decode() for part in parts)


def _hash_keys(field: str, iterations: int) -> tuple[str, ScramKeys]:
    match = _HASH.fullmatch(field)
    if match is None:
        raise IndexError
    parts = [base64.b64decode(part, validate=True) for part in match[2].split("|")]
    return f"sha{match[1]}", ScramKeys(parts[0], iterations, parts[1], parts[2])


def _old_keys(fields: list[str]) -> ScramKeys:
    """The text of MongooseIM before 4.0: stored key, server key, salt, iterations; SHA-1 only."""
    stored_key, server_key, salt = (base64.b64decode(part, validate=True) for part in fields[:3])
    return ScramKeys(salt, int(fields[3]), stored_key, server_key)


Password = str | Credentials
"""A password, or keys that were derived from one before (imports, load generators)."""
