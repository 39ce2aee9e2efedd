"""The client's side of SCRAM (RFC 5802), written for the tests alone."""

import base64
import hashlib
import hmac
import os


class Scram:
    """One exchange.

    :param binding: type and data of the channel binding, None without.
    :param flag: what is said of channel binding (RFC 5802 §7), by default the truth.
    """

    def __init__(
        self,
        user: str,
        password: str,
        hash_name: str,
        binding: tuple[str, bytes] | None = None,
        flag: str = "",
    ) -> None:
        self._password = password
        self._hash = hash_name
        self._nonce = base64.b64encode(os.urandom(15)).decode()
        self._head = (flag or (f"p={binding[0]}" if binding else "n")) + ",,"
        self._bound = self._head.encode() + (binding[1] if binding else b"")
        self._bare = f"n={user},r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """The client's first message."""
        return (self._head + self._bare).encode()

    def final(self, challenge: bytes) -> bytes:
        """The client's final message."""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        assert fields["r"].startswith(self._nonce) and fields["r"] != self._nonce
        salted = hashlib.pbkdf2_hmac(
            self._hash, self._password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        stored = hashlib.new(self._hash, client_key).digest()
        bare = f"c={base64.b64encode(self._bound).decode()},r={fields['r']}"
        signed = f"{self._bare},{challenge.decode()},{bare}".encode()
        signature = hmac.digest(stored, signed, self._hash)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", self._hash)
        self._signature = hmac.digest(server_key, signed, self._hash)
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, success: bytes) -> None:
        """Checks the server's signature.

        :raises AssertionError: it is wrong.
        """
        assert success == b"v=" + base64.b64encode(self._signature), success
