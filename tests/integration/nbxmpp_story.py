"""nbxmpp, the library of Gajim, tells a story; run by test_other_clients with Debian's Python.

Arguments: the story, the ports of STARTTLS and of direct TLS, the server's certificate. Prints what
the clients see, one line each. Nothing waits for time to pass: who wants to know that something has
not arrived asks the server something and waits for the answer.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Soup", "3.0")

from gi.repository import Gio, GLib  # noqa: E402
from nbxmpp.client import Client  # noqa: E402
from nbxmpp.const import ConnectionProtocol, ConnectionType, Mode  # noqa: E402
from nbxmpp.errors import StanzaError  # noqa: E402
from nbxmpp.protocol import JID, Iq, Message, Presence  # noqa: E402
from nbxmpp.structs import StanzaHandler  # noqa: E402

PATIENCE = 90
STORY, STARTTLS_PORT, TLS_PORT, CERTIFICATE = sys.argv[1:]
STARTTLS = (STARTTLS_PORT, ConnectionType.START_TLS)
DIRECT_TLS = (TLS_PORT, ConnectionType.DIRECT_TLS)
ALICE, BOB = JID.from_string("alice@localhost"), JID.from_string("bob@localhost")
SIGNALS = ("connected", "disconnected", "connection-failed", "resume-failed", "resume-successful")
FEATURES = ("urn:xmpp:carbons:2", "urn:xmpp:blocking", "urn:xmpp:ping")
Waited = Callable[[], object]


def wait(condition: Waited) -> None:
    """Waits until something is so."""
    while not condition():
        GLib.MainContext.default().iteration(True)


def show(who: object, what: object) -> None:
    """Tells the test."""
    print(f"{who}: {what}", flush=True)


class Friend:
    """A client, and what it has heard since it was last asked."""

    def __init__(
        self, jid: str, way: tuple[str, Any], mechanism: str = "SCRAM-SHA-256", mode: Any = None
    ) -> None:
        self.jid = JID.from_string(jid)
        self.heard: list[str] = []
        self.signals: list[str] = []
        self.results: list[tuple[str, str]] = []
        self.client = Client(log_context=jid)
        self.client.set_domain(self.jid.domain)
        self.client.set_username(self.jid.localpart)
        self.client.set_resource(self.jid.resource)
        self.client.set_password("secret")
        self.client.set_mechs({mechanism})
        port, kind = way
        self.client.set_custom_host(f"127.0.0.1:{port}", ConnectionProtocol.TCP, kind)
        self.client.set_accepted_certificates([Gio.TlsCertificate.new_from_file(CERTIFICATE)])
        if mode is not None:
            self.client.set_mode(mode)
        self._listen()

    def _listen(self) -> None:
        for signal in SIGNALS:
            self.client.subscribe(signal, self._signalled)
        for name, callback in (("message", self._message), ("presence", self._presence)):
            self.client.register_handler(StanzaHandler(name, callback, priority=60))

    def __str__(self) -> str:
        return str(self.jid.localpart)

    # -- what comes

    def _signalled(self, _client: Any, signal: str, *_: Any) -> None:
        self.signals.append(signal)

    def _message(self, _client: Any, _stanza: Any, properties: Any) -> None:
        if properties.mam is not None:
            self.results.append((properties.mam.id, properties.body))
        elif properties.body is not None:
            copy = "copy of " if properties.carbon is not None else ""
            self.heard.append(f"{copy}{properties.body}")

    def _presence(self, _client: Any, stanza: Any, properties: Any) -> None:
        if properties.jid != self.client.get_bound_jid():
            self.heard.append(f"{stanza.getType() or 'available'} {properties.jid}")

    def hears(self, *lines: str) -> None:
        """Waits until something has come, and forgets it."""
        for line in lines:
            wait(lambda: line in self.heard)  # noqa: B023
            self.heard.remove(line)

    def rest(self) -> list[str]:
        """All else that has come when the server answers; forgotten."""
        self.ask("Ping", "ping", JID.from_string("localhost"))
        heard, self.heard = self.heard, []
        return heard

    # -- what it does

    def arrive(self) -> str:
        """Connects; what came of it."""
        self.signals.clear()
        self.client.connect()
        wait(lambda: self.signals)
        return self.signals[0]

    def begin(self) -> None:
        """Logs in and becomes available, with everything that Gajim switches on."""
        assert self.arrive() == "connected", self.client.get_error()
        self.ask("Roster", "request_roster")
        carbons = Iq("set")
        carbons.addChild("enable", namespace="urn:xmpp:carbons:2")
        self.client.send_stanza(carbons)
        self.client.send_stanza(Presence())
        self.rest()

    def ask(self, module: str, method: str, *arguments: Any, **options: Any) -> Any:
        """What one of the library's requests has come to: its result, or an error's condition."""
        found: list[Any] = []

        def done(task: Any) -> None:
            try:
                found.append(task.finish())
            except StanzaError as error:
                found.append(error.condition)

        getattr(self.client.get_module(module), method)(*arguments, callback=done, **options)
        wait(lambda: found)
        return found[0]

    def say(self, to: JID, body: str) -> None:
        """Sends a message."""
        self.client.send_stanza(Message(to=to, body=body, typ="chat"))

    def cut(self) -> None:
        """Its connection is lost."""
        self.client._con._con.get_socket().shutdown(True, True)
        wait(lambda: "disconnected" in self.signals)

    def leave(self) -> None:
        """Closes its stream."""
        self.client.disconnect()
        wait(lambda: "disconnected" in self.signals)


def register(jid: str) -> str:
    """In-band registration (XEP-0077) before a login; ``registered``, or an error's condition."""
    friend = Friend(jid, STARTTLS, mode=Mode.REGISTER)
    friend.arrive()
    form = friend.ask("Register", "request_register_form").fields_form
    form["username"].value = friend.jid.localpart
    form["password"].value = "secret"
    outcome = friend.ask("Register", "submit_register_form", form)
    friend.leave()
    return outcome if isinstance(outcome, str) else "registered"


def people() -> tuple[Friend, Friend]:
    """Alice by STARTTLS and Bob by direct TLS, both with new accounts."""
    for jid in (ALICE, BOB):
        register(str(jid))
    alice = Friend("alice@localhost/a", STARTTLS)
    bob = Friend("bob@localhost/b", DIRECT_TLS, "SCRAM-SHA-1")
    for friend in (alice, bob):
        friend.begin()
    return alice, bob


def befriend(one: Friend, other: Friend) -> None:
    """One subscribes to the other; what it sees of that."""
    subscriptions = other.client.get_module("BasePresence")
    one.client.get_module("BasePresence").subscribe(other.jid.new_as_bare())
    other.hears(f"subscribe {one.jid.new_as_bare()}")
    subscriptions.subscribed(one.jid.new_as_bare())
    wait(lambda: f"available {other.jid}" in one.heard)
    show(one, one.rest())


def meeting() -> None:
    """Registration, login, roster, presence, discovery, carbons, blocking."""
    show("alice", register("alice@localhost"))
    show("alice", register("alice@localhost"))
    alice, bob = people()
    thief = Friend("alice@localhost/t", STARTTLS)
    thief.client.set_password("wrong")
    show("thief", (thief.arrive(), thief.client.get_error()[1]))
    befriend(alice, bob)
    befriend(bob, alice)
    alice.ask("Roster", "set_item", BOB, "Bob & <Co>", ["Ⓕriends"])
    items = alice.ask("Roster", "request_roster").items
    show(alice, [(str(i.jid), i.name, i.subscription, sorted(i.groups)) for i in items])
    features = alice.ask("Discovery", "disco_info", "localhost").features
    show("server", all(feature in features for feature in FEATURES))
    phone = Friend("alice@localhost/phone", DIRECT_TLS, "SCRAM-SHA-512")
    phone.begin()
    alice.hears(f"available {phone.jid}")
    alice.say(BOB, "hello")
    bob.hears(f"available {phone.jid}", "hello")
    bob.say(alice.jid, "hi")
    alice.hears("hi")
    phone.hears("copy of hello", "copy of hi")
    show(phone, phone.rest())
    phone.leave()
    bob.hears(f"unavailable {phone.jid}")
    alice.ask("Blocking", "block", [BOB])
    show(alice, sorted(map(str, alice.ask("Blocking", "request_blocking_list"))))
    show(bob, bob.rest())
    alice.ask("Blocking", "unblock", [BOB])
    show(bob, bob.rest())
    for friend in (alice, bob):
        friend.leave()


def read(friend: Friend, size: int) -> list[str]:
    """All bodies of a friend's archive, by pages."""
    friend.results.clear()
    page = friend.ask("MAM", "make_query", friend.jid.new_as_bare(), queryid="q", max_=size)
    while not page.complete:
        options = {"queryid": "q", "max_": size, "after": page.rsm.last}
        page = friend.ask("MAM", "make_query", friend.jid.new_as_bare(), **options)
    return [body for _, body in friend.results]


def metadata(friend: Friend) -> tuple[str, str]:
    """The ids with which its archive begins and ends (XEP-0313 §6.1.1)."""
    found: list[Any] = []
    iq = Iq("get", to=friend.jid.new_as_bare())
    iq.addChild("metadata", namespace="urn:xmpp:mam:2")
    friend.client.SendAndCallForResponse(iq, lambda _client, answer: found.append(answer))
    wait(lambda: found)
    answer = found[0].getTag("metadata")
    return answer.getTag("start").getAttr("id"), answer.getTag("end").getAttr("id")


def returning() -> None:
    """Connections that are lost, with something under way in both directions, and the archive."""
    alice, bob = people()
    for number in range(5):
        bob.say(alice.jid, str(number))
    alice.hears(*"01234")
    alice.cut()
    for number in range(5, 8):
        bob.say(alice.jid, str(number))
    bob.rest()
    show(alice, alice.arrive())
    alice.hears(*"567")
    alice.say(BOB, "8")
    alice.cut()  # it cannot know whether that has arrived
    show(alice, alice.arrive())
    bob.hears("8")
    show("both", alice.rest() + bob.rest())
    everything = read(alice, 4)
    show(alice, everything)
    ends = metadata(alice)
    show(alice, ends == (alice.results[0][0], alice.results[-1][0]))
    alice.ask("MAM", "set_preferences", "roster", [BOB], [])
    preferences = alice.ask("MAM", "request_preferences")
    show(alice, (preferences.default, list(map(str, preferences.always)), preferences.never))
    alice.cut()
    other = Friend(str(alice.jid), STARTTLS)
    other.begin()
    alice.arrive()
    wait(lambda: "connected" in alice.signals and "disconnected" in other.signals)
    show(alice, alice.signals)
    show("other", other.client.get_error()[1])


def give_up() -> None:
    """Ends the process, which waits for something that does not come."""
    print("nothing happens any more", file=sys.stderr, flush=True)
    os._exit(1)


GLib.timeout_add_seconds(PATIENCE, give_up)
{"meeting": meeting, "returning": returning}[STORY]()
