"""SCRAM keys and how they are derived from a password (RFC 5802 §3)."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from mongoosetw.xmpp.sasl.prepare import prepare_password

__all__ = ["HASHES", "ScramKeys", "derive"]

HASHES: Final = ("sha1", "sha224", "sha256", "sha384", "sha512")
"""Names of the hash functions that have a SCRAM mechanism, as hashlib calls them."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server stores of a password for one hash function.

    Attributes:
        salt: random bytes of this password.
        iterations: rounds of PBKDF2.
        stored_key: hash of the client key; verifies a client's proof.
        server_key: proves the server to the client.
    """

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        # Keys are secrets: with the stored key and an overheard exchange one can log in.
        return f"ScramKeys(iterations={self.iterations})"


def derive(password: str, hash_name: str, iterations: int, salt: bytes) -> ScramKeys:
    """The keys of `password` (RFC 5802 §3); takes milliseconds of CPU.

    Raises InvalidPassword for a password that cannot be prepared, ValueError for an unknown hash.
    """
    prepared = prepare_password(password).encode()
    salted = hashlib.pbkdf2_hmac(hash_name, prepared, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    stored_key = hashlib.new(hash_name, client_key).digest()
    return ScramKeys(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", hash_name))
