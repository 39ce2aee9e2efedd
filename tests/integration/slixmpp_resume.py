"""A slixmpp client whose socket is cut several times; run with port and CA file.

Prints what each side received, what the server acknowledged, and how often it resumed.
"""

import asyncio
import sys
from typing import Any

import slixmpp

CUTS = 3


class Client(slixmpp.ClientXMPP):  # type: ignore[misc]
    """Uses stream management; comes back when its connection is lost."""

    def __init__(self, jid: str, port: int, ca_certs: str) -> None:
        super().__init__(jid, "secret")
        self.port = port
        self.ca_certs = ca_certs
        self.enable_direct_tls = False
        self.register_plugin("xep_0198", {"window": 1})
        self.bodies: list[str] = []
        self.acknowledged: list[str] = []
        self.resumptions = 0
        self.leaving = False
        self.changed = asyncio.Event()
        self.enabled = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.send_presence())
        self.add_event_handler("sm_enabled", lambda _: self.enabled.set())
        self.add_event_handler("message", self.heard)
        self.add_event_handler("stanza_acked", self.was_acknowledged)
        self.add_event_handler("session_resumed", self.resumed)
        self.add_event_handler("disconnected", self.come_back)

    def start(self) -> None:
        """Connects."""
        self.connect("localhost", self.port)

    def heard(self, message: Any) -> None:
        """A message has come."""
        self.bodies.append(message["body"])
        self.changed.set()

    def was_acknowledged(self, stanza: Any) -> None:
        """The server has handled a stanza."""
        if stanza.name == "message":
            self.acknowledged.append(stanza["body"])
        self.changed.set()

    def resumed(self, _: Any) -> None:
        """The session goes on."""
        self.resumptions += 1
        self.changed.set()

    def come_back(self, _: Any) -> None:
        """The connection is lost."""
        if not self.leaving:
            self.start()

    async def until(self, condition: Any) -> None:
        """Waits until something is so."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()


async def live(port: int, ca_certs: str) -> None:
    """Cuts alice's socket between messages in both directions."""
    alice = Client("alice@localhost/a", port, ca_certs)
    bob = Client("bob@localhost/b", port, ca_certs)
    for client in (alice, bob):
        client.start()
        await client.enabled.wait()
    for cut in range(CUTS):
        for number in range(5):
            bob.send_message("alice@localhost/a", f"b{cut}{number}", mtype="chat")
        await alice.until(lambda cut=cut: len(alice.bodies) > 10 * cut)
        alice.send_message("bob@localhost/b", f"a{cut}", mtype="chat")
        alice.transport.abort()
        for number in range(5, 10):
            bob.send_message("alice@localhost/a", f"b{cut}{number}", mtype="chat")
        await alice.until(lambda cut=cut: alice.resumptions > cut)
    await alice.until(lambda: len(alice.bodies) >= 10 * CUTS)
    await bob.until(lambda: len(bob.bodies) >= CUTS)
    for client in (alice, bob):  # slixmpp does not ask for what it has sent again
        client["xep_0198"].request_ack()
    await alice.until(lambda: len(alice.acknowledged) >= CUTS)
    await bob.until(lambda: len(bob.acknowledged) >= 10 * CUTS)
    print(" ".join(alice.bodies))
    print(" ".join(bob.bodies))
    print(" ".join(alice.acknowledged))
    print(alice.resumptions)
    for client in (alice, bob):
        client.leaving = True
        await client.disconnect()


asyncio.run(asyncio.wait_for(live(int(sys.argv[1]), sys.argv[2]), 40))
