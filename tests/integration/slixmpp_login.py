"""slixmpp logs in once for each mechanism; run by test_sasl with port, CA file and more.

Arguments: port, CA file, client's certificate, version of TLS, mechanisms. Prints a line for
each mechanism: its name and the bare JID, or nothing if the login failed.
"""

import asyncio
import ssl
import sys
from typing import Any

import slixmpp


class LoginClient(slixmpp.ClientXMPP):  # type: ignore[misc]
    """Logs in by one mechanism and leaves."""

    def __init__(self, mechanism: str, ca_certs: str, certificate: str, version: str) -> None:
        jid = "localhost" if mechanism == "ANONYMOUS" else "alice@localhost/slixmpp"
        chosen = None if mechanism == "any" else mechanism
        super().__init__(jid, "secret", sasl_mech=chosen)
        self.ca_certs = ca_certs
        self.enable_direct_tls = False
        if mechanism == "EXTERNAL":
            self.certfile = self.keyfile = certificate
        self.ssl_context.maximum_version = ssl.TLSVersion[version]
        self.outcome: asyncio.Future[str] = asyncio.Future()
        self.add_event_handler("session_start", lambda _: self.end(self.boundjid.bare))
        self.add_event_handler("failed_all_auth", lambda _: self.end(""))
        self.add_event_handler("disconnected", lambda _: self.end(""))

    def end(self, outcome: str) -> None:
        """Notes how it went."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


async def log_in(port: int, mechanism: str, *options: Any) -> None:
    """One login."""
    client = LoginClient(mechanism, *options)
    client.connect("localhost", port)
    print(mechanism, await asyncio.wait_for(client.outcome, 20), flush=True)
    await client.disconnect()


async def main() -> None:
    """All of them."""
    port, *options = sys.argv[1:5]
    for mechanism in sys.argv[5:]:
        await log_in(int(port), mechanism, *options)


asyncio.run(main())
