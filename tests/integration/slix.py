"""Slixmpp's clients in a thread, told by a test what to do and asked what they have heard."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import slixmpp
from slixmpp.exceptions import IqError

from tests.integration.network import enter

PATIENCE = 20.0
"""Seconds after which something that has to come is given up."""
PLUGINS = ("xep_0030", "xep_0191", "xep_0198", "xep_0199", "xep_0280", "xep_0313", "xep_0359")
T = TypeVar("T")


class Clients:
    """The thread.

    :param namespace: the network namespace in which the clients are, if it is another one.
    """

    def __init__(self, namespace: str = "") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(namespace,), daemon=True)
        self._thread.start()

    def _run(self, namespace: str) -> None:
        if namespace:
            enter(namespace)
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine among the clients; what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def close(self) -> None:
        """Ends the thread."""
        self.do(_end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Friend:
    """A client, as a test has it.

    What it hears are lines such as ``available bob@localhost/b`` or ``message bob@localhost hi``.
    """

    def __init__(self, clients: Clients, jid: str, known: set[str] | None = None) -> None:
        """
        :param known: stanza-ids of messages that its user has had from another client.
        """
        self.jid = jid
        self.known: set[str] = set() if known is None else known
        self._clients = clients
        self._client: Client = clients.do(_made(jid, self.known))

    def connect(self, address: tuple[str, int]) -> str:
        """Logs in (``started``), or goes on with the session that it has (``resumed``)."""
        return self._clients.do(self._client.arrive(address))

    def cut(self) -> None:
        """Its connection is lost."""
        self._clients.do(self._client.cut())

    def leave(self) -> None:
        """Goes away properly."""
        self._clients.do(self._client.leave())

    def say(self, to: str, body: str) -> None:
        """Sends a message."""
        self._clients.do(self._client.say(to, body))

    def subscribe(self, to: str) -> None:
        """Asks for somebody's presence."""
        self._clients.do(self._client.subscribe(to))

    def block(self, jid: str) -> None:
        """Wants to hear no more of somebody."""
        self._clients.do(self._client.block(jid))

    def unblock(self, jid: str) -> None:
        """Wants to hear of somebody again."""
        self._clients.do(self._client.unblock(jid))

    def archive(self) -> list[str]:
        """The bodies of all messages in its archive."""
        return self._clients.do(self._client.archive())

    def expect(self, *lines: str) -> None:
        """Waits until it has heard these, in any order, and forgets them.

        :raises AssertionError: it does not.
        """
        for line in lines:
            self._clients.do(self._client.expect(line))

    def settle(self) -> None:
        """Forgets what it has heard."""
        self.rest()

    def rest(self) -> list[str]:
        """What it has heard, without what was expected, when the server answers; forgotten."""
        return self._clients.do(self._client.rest())


async def _end_all() -> None:
    """Cancels all that still goes on: slixmpp's clients have tasks for as long as they are."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _made(jid: str, known: set[str]) -> "Client":
    return Client(jid, known)


class Client(slixmpp.ClientXMPP):
    """Notes what it hears; lives in the thread."""

    def __init__(self, jid: str, known: set[str]) -> None:
        super().__init__(jid, "secret")
        self.loop = asyncio.get_running_loop()
        self.enable_direct_tls = self.enable_starttls = False
        self.enable_plaintext = True
        for plugin in PLUGINS:
            self.register_plugin(plugin, {"window": 1} if plugin == "xep_0198" else {})
        self["feature_mechanisms"].unencrypted_scram = True
        self._heard: list[str] = []
        self._known = known
        self._changed = asyncio.Event()
        self._listen()

    def _listen(self) -> None:
        handlers = {
            "session_start": self._started,
            "session_resumed": lambda _: self._note("resumed"),
            "disconnected": lambda _: self._note("disconnected"),
            "presence_available": lambda p: self._seen("available", p),
            "presence_unavailable": lambda p: self._seen("unavailable", p),
            "message": self._message,
            "carbon_received": lambda m: self._note(f"copy in {m['carbon_received']['body']}"),
            "carbon_sent": lambda m: self._note(f"copy out {m['carbon_sent']['body']}"),
            "stanza_acked": self._acknowledged,
            "roster_update": self._pushed,
            "blocked": lambda iq: self._blocking("blocked", iq),
            "unblocked": lambda iq: self._blocking("unblocked", iq),
            "stream_error": lambda error: self._note(f"stream error {error['condition']}"),
        }
        for event, handler in handlers.items():
            self.add_event_handler(event, handler)

    # -- what comes

    def _note(self, line: str) -> None:
        self._heard.append(line)
        self._changed.set()

    async def _started(self, _: Any) -> None:
        await self.get_roster()
        await self["xep_0280"].enable()
        await self["xep_0191"].get_blocked()  # only who asks for them hears of changes
        self.send_presence()
        self._note("started")

    def _seen(self, what: str, presence: Any) -> None:
        if presence["from"] != self.boundjid:
            self._note(f"{what} {presence['from']}")

    def _message(self, message: Any) -> None:
        if message["type"] == "error":
            self._note(f"error {message['error']['condition']}")
        elif self._is_new(message["stanza_id"]["id"]):
            self._note(f"message {message['from'].bare} {message['body']}")

    def _is_new(self, identifier: str) -> bool:
        """A server that has died may send again what was not acknowledged (XEP-0359 §3)."""
        known = bool(identifier) and identifier in self._known
        self._known.add(identifier)
        return not known

    def _acknowledged(self, stanza: Any) -> None:
        if stanza.name == "message":
            self._note(f"acknowledged {stanza['body']}")

    def _pushed(self, iq: Any) -> None:
        if iq["type"] == "set":
            for jid, item in iq["roster"]["items"].items():
                self._note(f"roster {jid} {item['subscription']}")

    def _blocking(self, what: str, iq: Any) -> None:
        for item in iq[what.removesuffix("ed")]["items"]:
            self._note(f"{what} {item['jid']}")
        iq.reply().send()

    # -- what it does

    async def _next_of(self, *lines: str) -> str:
        while not (found := next((line for line in lines if line in self._heard), "")):
            self._changed.clear()
            await self._changed.wait()
        self._heard.remove(found)
        return found

    async def arrive(self, address: tuple[str, int]) -> str:
        """Connects, and waits until the session begins or goes on."""
        self.connect(*address)
        return await self._next_of("started", "resumed")

    async def cut(self) -> None:
        """Resets the connection."""
        self.transport.abort()
        await self.expect("disconnected")

    async def leave(self) -> None:
        """Closes the stream."""
        await self.disconnect()

    async def say(self, to: str, body: str) -> None:
        """Sends a message, and asks whether it has arrived: slixmpp does so one stanza early."""
        self.send_message(to, body, mtype="chat")
        await asyncio.sleep(0.01)
        self["xep_0198"].request_ack()

    async def subscribe(self, to: str) -> None:
        """Asks for somebody's presence."""
        self.send_presence_subscription(to)

    async def block(self, jid: str) -> None:
        """Blocks somebody (XEP-0191)."""
        await self["xep_0191"].block([jid])

    async def unblock(self, jid: str) -> None:
        """Unblocks somebody."""
        await self["xep_0191"].unblock([jid])

    async def archive(self) -> list[str]:
        """Reads its archive (XEP-0313)."""
        results = self["xep_0313"].retrieve(iterator=True, rsm={"max": 20})
        return [
            message["mam_result"]["forwarded"]["stanza"]["body"]
            async for page in results
            for message in page["mam"]["results"]
        ]

    async def expect(self, line: str) -> None:
        """Waits for one line."""
        try:
            await asyncio.wait_for(self._next_of(line), PATIENCE - 5)
        except TimeoutError:
            raise AssertionError(f"{self.boundjid}: no {line!r} in {self._heard}") from None

    async def rest(self) -> list[str]:
        """All that has come when the server has answered."""
        try:
            await self["xep_0199"].send_ping("localhost")
        except IqError as error:
            raise AssertionError(str(error)) from None
        found, self._heard = self._heard, []
        return found
