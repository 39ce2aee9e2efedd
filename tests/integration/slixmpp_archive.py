"""slixmpp's own plugins for archives, pages and stream management, against a running node.

Run by test_archive with the port; prints what it has seen, line by line.
"""

import asyncio
import sys
from typing import Any

import slixmpp
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Collector
from slixmpp.xmlstream.matcher import StanzaPath

MESSAGES = 120
SEARCH = """
<query xmlns='urn:xmpp:mam:2' queryid='words'><x xmlns='jabber:x:data' type='submit'>
<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>
<field var='{urn:xmpp:fulltext:0}fulltext'><value>77</value></field></x></query>
"""


class ArchiveClient(slixmpp.ClientXMPP):  # type: ignore[misc]
    """Logs in with stream management."""

    def __init__(self, jid: str) -> None:
        super().__init__(jid, "secret")
        self.enable_direct_tls = False
        self.enable_starttls = False
        self.enable_plaintext = True
        self.bodies: asyncio.Queue[str] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.resumed = asyncio.Event()
        for plugin in ("xep_0030", "xep_0059", "xep_0198", "xep_0313", "xep_0359"):
            self.register_plugin(plugin)
        self["feature_mechanisms"].unencrypted_scram = True
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("session_resumed", lambda _: self.resumed.set())
        self.add_event_handler("message", lambda message: self.bodies.put_nowait(message["body"]))

    async def started(self, _: Any) -> None:
        """Becomes available."""
        self.send_presence()
        self.ready.set()


async def search(client: ArchiveClient) -> list[str]:
    """The bodies of the messages that have a word."""
    results = Collector("words", StanzaPath("message/mam_result@queryid=words"))
    client.register_handler(results)
    asked = client.make_iq_set()
    asked.xml.append(ET.fromstring(SEARCH))
    await asked.send()
    return [m["mam_result"]["forwarded"]["stanza"]["body"] for m in results.stop()]


async def archive(port: int) -> None:
    """Chats, loses a connection, resumes, and reads the archive page by page."""
    alice, bob = ArchiveClient("alice@localhost/a"), ArchiveClient("bob@localhost/b")
    for client in (alice, bob):
        client.connect("127.0.0.1", port)
    await asyncio.gather(alice.ready.wait(), bob.ready.wait())
    for number in range(MESSAGES):
        alice.send_message("bob@localhost", str(number), mtype="chat")
    got = [await bob.bodies.get() for _ in range(MESSAGES)]
    print("received", got == [str(number) for number in range(MESSAGES)])
    bob.abort()  # the socket is cut; the session waits for its client
    for number in range(MESSAGES, MESSAGES + 3):
        alice.send_message("bob@localhost", str(number), mtype="chat")
    await asyncio.sleep(0.2)
    bob.connect("127.0.0.1", port)
    await asyncio.wait_for(bob.resumed.wait(), 10)
    late = [await bob.bodies.get() for _ in range(3)]
    print("resumed", late == [str(number) for number in range(MESSAGES, MESSAGES + 3)])
    found = [
        message["mam_result"]["forwarded"]["stanza"]["body"]
        async for message in bob["xep_0313"].iterate(rsm={"max": 50})
    ]
    print("archive", found == [str(number) for number in range(MESSAGES + 3)])
    last = [
        message["mam_result"]["forwarded"]["stanza"]["body"]
        async for message in alice["xep_0313"].iterate(reverse=True, rsm={"max": 10}, total=10)
    ]
    print("newest", sorted(map(int, last)) == list(range(MESSAGES - 7, MESSAGES + 3)))
    print("words", await search(bob) == ["77"])
    information = await bob["xep_0313"].get_archive_metadata()
    print("metadata", bool(information["mam_metadata"]["start"]["id"]))
    for client in (alice, bob):
        client.disconnect()


asyncio.run(asyncio.wait_for(archive(int(sys.argv[1])), 60))
