"""Two slixmpp clients log in over TLS and chat; run by test_node with port and CA file."""

import asyncio
import sys
from typing import Any

import slixmpp


class ChatClient(slixmpp.ClientXMPP):  # type: ignore[misc]
    """Collects the bodies that it receives."""

    def __init__(self, jid: str, ca_certs: str) -> None:
        super().__init__(jid, "secret")
        self.ca_certs = ca_certs
        self.bodies: asyncio.Queue[str] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.enable_direct_tls = False
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("message", lambda message: self.bodies.put_nowait(message["body"]))

    async def started(self, _: Any) -> None:
        """Becomes available."""
        self.send_presence()
        self.ready.set()


async def chat(port: int, ca_certs: str) -> None:
    """Logs both in, has each say something to the other, prints what they received."""
    alice = ChatClient("alice@localhost/a", ca_certs)
    bob = ChatClient("bob@localhost/b", ca_certs)
    for client in (alice, bob):
        client.connect("localhost", port)
    await asyncio.gather(alice.ready.wait(), bob.ready.wait())
    await asyncio.sleep(0.5)
    alice.send_message("bob@localhost/b", "hello bob", mtype="chat")
    print(await bob.bodies.get())
    bob.send_message("alice@localhost", "hello alice", mtype="chat")
    print(await alice.bodies.get())
    alice.disconnect()
    bob.disconnect()


asyncio.run(asyncio.wait_for(chat(int(sys.argv[1]), sys.argv[2]), 20))
