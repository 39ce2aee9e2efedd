"""Slixmpp's clients block and use privacy lists; run by test_privacy with port and CA file.

Prints what the clients see, one line each. Nothing waits for time to pass: who wants to know
that something has not arrived asks the server something and waits for the answer.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import slixmpp
from slixmpp.exceptions import IqError

BOB = "bob@localhost"


class Client(slixmpp.ClientXMPP):  # type: ignore[misc]
    """Collects what it receives."""

    def __init__(self, jid: str, ca_certs: str) -> None:
        super().__init__(jid, "secret")
        self.ca_certs = ca_certs
        self.enable_direct_tls = False
        for plugin in ("xep_0016", "xep_0030", "xep_0191", "xep_0199"):
            self.register_plugin(plugin)
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("message", self.message)
        self.add_event_handler("presence_available", lambda p: self.note("available", p["from"]))
        gone = "presence_unavailable"
        self.add_event_handler(gone, lambda p: self.note("unavailable", p["from"]))
        for event in ("blocked", "unblocked"):
            self.add_event_handler(event, self.pushed(event))

    def note(self, what: str, detail: Any) -> None:
        """Keeps an event; of the own presence none."""
        if str(detail) != self.boundjid.full:
            self.events.put_nowait(f"{what} {detail}")

    def message(self, message: Any) -> None:
        """A message has arrived, or come back."""
        if message["type"] != "error":
            self.note("message", message["body"])
            return
        blocked = message.xml.find(".//{urn:xmpp:blocking:errors}blocked") is not None
        self.note("error", message["error"]["condition"] + (" blocked" if blocked else ""))

    def pushed(self, event: str) -> Callable[[Any], None]:
        """A change of the blocklist was pushed; it is acknowledged."""
        tag = event.removesuffix("ed")

        def handler(iq: Any) -> None:
            self.note(event, sorted(str(item["jid"]) for item in iq[tag]["items"]))
            iq.reply().send()

        return handler

    async def started(self, _: Any) -> None:
        """Becomes available."""
        await self.get_roster()
        self.send_presence()
        self.ready.set()

    async def next(self) -> str:
        """The next event."""
        return await self.events.get()

    async def rest(self) -> list[str]:
        """All that has arrived when the server has answered."""
        await self["xep_0199"].send_ping("localhost")
        found = []
        while not self.events.empty():
            found.append(self.events.get_nowait())
        return found


def show(who: str, what: object) -> None:
    """Tells the test."""
    print(f"{who}: {what}", flush=True)


async def befriend(alice: Client, bob: Client) -> None:
    """Both subscribe to one another; slixmpp approves by itself and asks back."""
    alice.send_presence_subscription(BOB)
    for client, friend in ((alice, bob), (bob, alice)):
        while await client.next() != f"available {friend.boundjid.full}":
            pass


async def blocking(alice: Client, bob: Client) -> None:
    """XEP-0191, from the first request to unblocking."""
    commands = alice["xep_0191"]
    info = await alice["xep_0030"].get_info("localhost")
    show("server", "urn:xmpp:blocking" in info["disco_info"]["features"])
    show("alice", sorted(map(str, await commands.get_blocked_jids())))
    await commands.block([slixmpp.JID(BOB), slixmpp.JID("eve@localhost")])
    show("alice", sorted(await alice.rest()))
    show("bob", await bob.rest())
    bob.send_message(alice.boundjid.full, "are you there?", mtype="chat")
    show("bob", await bob.next())
    alice.send_message(BOB, "go away", mtype="chat")
    show("alice", await alice.next())
    try:
        await bob["xep_0199"].send_ping(alice.boundjid.full)
    except IqError as error:
        show("bob", error.condition)
    show("alice", sorted(map(str, await commands.get_blocked_jids())))
    await commands.unblock(slixmpp.JID(BOB))
    show("alice", sorted(await alice.rest()))
    show("bob", await bob.rest())
    bob.send_message(alice.boundjid.full, "hello again", mtype="chat")
    show("alice", await alice.next())


async def lists(alice: Client, bob: Client) -> None:
    """XEP-0016: a list is made, chosen, applied, declined and removed."""
    privacy = alice["xep_0016"]
    rules = [
        {"type": "jid", "value": BOB, "action": "deny", "order": "1", "message": True},
        {"value": None, "action": "allow", "order": "2"},
    ]
    await privacy.edit_list("quiet", rules)
    await privacy.activate("quiet")
    await privacy.make_default("quiet")
    answer = (await privacy.get_privacy_lists())["privacy"]
    names = [answer["active"]["name"], answer["default"]["name"]]
    show("alice", names + [item["name"] for item in answer["lists"]])
    stored = (await privacy.get_list("quiet"))["privacy"]["list"]["items"]
    show("alice", [(i["type"], i["value"], i["action"], i["order"], i["message"]) for i in stored])
    bob.send_message(alice.boundjid.full, "hidden", mtype="chat")
    show("bob", await bob.next())
    try:
        await privacy.activate("unknown")
    except IqError as error:
        show("alice", error.condition)
    await privacy.deactivate()
    await privacy.remove_default()
    bob.send_message(alice.boundjid.full, "shown", mtype="chat")
    show("alice", await alice.next())
    await privacy.remove_list("quiet")
    show("alice", len((await privacy.get_privacy_lists())["privacy"]["lists"]))


async def run(story: Callable[[Client, Client], Coroutine[Any, Any, None]]) -> None:
    """Logs both in, makes friends of them and tells the story."""
    port, ca_certs = int(sys.argv[2]), sys.argv[3]
    alice, bob = Client("alice@localhost/a", ca_certs), Client("bob@localhost/b", ca_certs)
    for client in (alice, bob):
        client.connect("localhost", port)
    await asyncio.gather(alice.ready.wait(), bob.ready.wait())
    await befriend(alice, bob)
    await alice.rest()
    await bob.rest()
    await story(alice, bob)
    alice.disconnect()
    bob.disconnect()


asyncio.run(asyncio.wait_for(run({"blocking": blocking, "lists": lists}[sys.argv[1]]), 40))
