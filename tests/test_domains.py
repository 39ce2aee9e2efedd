"""Domains that are added, switched and removed while the server runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mongoosetw.config.errors import ConfigErrors
from mongoosetw.config.load import load_text
from mongoosetw.config.options import option
from mongoosetw.domains import DomainRefused
from mongoosetw.hooks.users import RemoveDomain
from mongoosetw.loading import options_of
from mongoosetw.module import Module, on
from mongoosetw.server import Server
from mongoosetw.storage.database import Database
from mongoosetw.storage.domains import DomainSetting, Status
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

ROSTER = f"<iq type='get' id='r'><query xmlns='{ns.ROSTER}'/></iq>"
ADD = f"<iq type='set' id='s'><query xmlns='{ns.ROSTER}'><item jid='x@y'/></query></iq>"
LAST = f"<iq type='get' id='l'><query xmlns='{ns.LAST}'/></iq>"


@dataclass(frozen=True)
class KeepOptions:
    """Options of mod_keep."""

    stubborn: bool = option(False, doc="Fail to remove a domain.")


class Keep(Module[KeepOptions]):
    """Keeps a value of each domain, and may refuse to forget it."""

    name = "mod_keep"
    options_class = KeepOptions

    @on(RemoveDomain)
    def remove(self, event: RemoveDomain) -> None:
        """Forgets, or does not."""
        if self.options.stubborn:
            raise ValueError("no")


async def _wait(work: "Deferred[None]") -> None:
    await work


class DomainsTestCase(ServerTestCase):
    """A server with a domain of its own and two host types."""

    general = 'host_types = ["basic", "other"]'
    modules = {
        "mod_roster": {},
        "mod_presence": {},
        "mod_last": {},
        "mod_offline": {},
        "mod_mam": {},
        "mod_keep": {"class": f"{__name__}:Keep"},
    }

    def setUp(self) -> None:
        """Adds a domain."""
        super().setUp()
        self.domains = self.server.domains
        self.await_(self.domains.add("Added.test", "basic"))

    def refused(self, coroutine: Any, text: str) -> None:
        """Asserts that a change is refused with a text."""
        self.assertRegex(self.failure(coroutine, DomainRefused), text)

    def statuses(self) -> dict[str, Status]:
        """What the database says."""
        return {setting.domain: setting.status for setting in self.await_(self.domains.all())}


class ServingTests(DomainsTestCase):
    """What clients see."""

    def test_added(self) -> None:
        """An added domain is served at once, by the modules of its host type."""
        romeo, juliet = self.connect("romeo@added.test/a"), self.connect("juliet@localhost/b")
        romeo.send("<message to='juliet@localhost/b' type='chat'><body>hi</body></message>")
        juliet.receives("<message from='romeo@added.test/a'><body>hi</body></message>")
        self.assertEqual(romeo.request(ROSTER).type, "result")

    def test_disabled(self) -> None:
        """The clients of a disabled domain are told that it is gone, and no new ones get in."""
        romeo, waiting = self.connect("romeo@added.test/a"), self.connect_raw()
        waiting.open("added.test")
        self.await_(self.domains.disable("added.test"))
        for connection in (romeo, waiting):
            self.assertIn(b"<host-gone", connection.output())
            self.assertTrue(connection.transport.closed)
        late = self.connect_raw()
        late.open("added.test")
        self.assertIn(b"<host-unknown", late.output())
        juliet = self.connect("juliet@localhost/b")
        juliet.send("<message to='romeo@added.test'><body>hi</body></message>")
        self.assertIn(b"<remote-server-not-found", juliet.take().inner)

    def test_others_see_it_go(self) -> None:
        """Contacts at other domains see the users of a closed domain go offline."""
        romeo, juliet = self.connect("romeo@added.test/a"), self.connect("juliet@localhost/b")
        for client in (romeo, juliet):
            client.send("<presence/>")
        juliet.send("<presence to='romeo@added.test' type='subscribe'/>")
        romeo.send("<presence to='juliet@localhost' type='subscribed'/>")
        juliet.pump()
        juliet.events.clear()
        self.await_(self.domains.disable("added.test"))
        juliet.receives("<presence from='romeo@added.test/a' type='unavailable'/>")

    def disable(self, finish: Callable[["Deferred[None]"], object]) -> None:
        """Disables the domain while a module has something to do, and finishes that."""
        work: Deferred[None] = Deferred()
        host = self.server.hosts["added.test"]
        host.in_background(_wait(work))
        closed = Deferred.fromCoroutine(self.domains.disable("added.test"))
        self.assertNoResult(closed)
        self.assertIn("mod_roster", host.modules)
        finish(work)
        self.successResultOf(closed)
        self.assertEqual(host.modules, {})

    def test_waits(self) -> None:
        """What modules have begun to do is done before they are stopped."""
        self.disable(lambda work: work.callback(None))

    def test_does_not_wait_for_ever(self) -> None:
        """A module that does not come to an end is not waited for longer than half a minute."""
        with self.assertLogs("mongoosetw.host"):
            self.disable(lambda work: self.clock.advance(31))

    def test_enabled_again(self) -> None:
        """A domain that is enabled again has its accounts and data."""
        self.connect("romeo@added.test/a").request(ADD)
        self.await_(self.domains.disable("added.test"))
        self.await_(self.domains.enable("added.test"))
        self.assertEqual(self.statuses(), {"added.test": Status.ENABLED})
        self.assertIn(b"jid='x@y'", self.connect("romeo@added.test/a").request(ROSTER).inner)

    def test_metrics(self) -> None:
        """The domains of a host type count together."""
        self.await_(self.domains.add("more.test", "basic"))
        before = self.metric("sm_session_logins", host_type="basic")
        self.connect("romeo@added.test/a")
        self.connect("romeo@more.test/a")
        self.assertEqual(self.metric("sm_session_logins", host_type="basic"), before + 2)


class RemovalTests(DomainsTestCase):
    """What becomes of a domain's data."""

    def test_removed(self) -> None:
        """A removed domain loses accounts, rosters, last activity and stored values; others not."""
        for domain in ("added.test", "localhost"):
            romeo = self.connect(f"romeo@{domain}/a")
            romeo.request(ADD)
            romeo.send("<presence/>")
            romeo.send("<presence type='unavailable'/>")
            self.await_(self.kept(domain).set("x", 1))
        self.await_(self.domains.remove("added.test", "basic"))
        self.assertEqual(self.statuses(), {})
        self.await_(self.domains.add("added.test", "other"))
        accounts = self.server.hosts["added.test"].accounts
        self.assertEqual(self.await_(accounts.list("added.test")), [])
        romeo = self.connect("romeo@added.test/a")
        self.assertNotIn(b"jid='x@y'", romeo.request(ROSTER).inner)
        self.assertIn(b"item-not-found", romeo.request(LAST).inner)
        self.assertIsNone(self.await_(self.kept("added.test").get("x")))
        romeo = self.connect("romeo@localhost/b")
        self.assertIn(b"jid='x@y'", romeo.request(ROSTER).inner)
        self.assertIn(b"seconds=", romeo.request(LAST).inner)
        self.assertEqual(self.await_(self.kept("localhost").get("x")), 1)

    def kept(self, domain: str) -> Any:
        """A value that a module stores."""
        return self.server.hosts[domain].modules["mod_keep"].open_keyvalue("store")

    def test_messages(self) -> None:
        """Archives and messages that wait for somebody of a removed domain go with it."""
        self.register("romeo@added.test")
        juliet = self.connect("juliet@localhost/b")
        juliet.send("<message to='romeo@added.test' type='chat'><body>hi</body></message>")
        juliet.nothing()
        self.await_(self.domains.remove("added.test"))
        self.await_(self.domains.add("added.test", "basic"))
        romeo = self.connect("romeo@added.test/a")
        romeo.send("<presence/>")
        self.assertEqual([s for s in romeo.received if s.kind == "message"], [])
        query = f"<iq type='set' id='m'><query xmlns='{ns.MAM}'/></iq>"
        self.assertIn(b"<count>0</count>", romeo.request(query).inner)

    def test_disabled_is_removed(self) -> None:
        """A disabled domain can be removed with its data."""
        self.register("romeo@added.test")
        self.await_(self.domains.disable("added.test"))
        self.await_(self.domains.remove("added.test"))
        self.await_(self.domains.add("added.test", "basic"))
        romeo = JID.parse("romeo@added.test")
        self.assertFalse(self.await_(self.server.hosts["added.test"].accounts.exists(romeo)))


class StubbornTests(DomainsTestCase):
    """A module that cannot remove its data."""

    modules = {"mod_keep": {"class": f"{__name__}:Keep", "stubborn": True}}

    def test_failed_removal(self) -> None:
        """The domain is no longer served, stays to be removed, and can neither be enabled."""
        with self.assertLogs("mongoosetw.hooks.bus", "ERROR"):
            self.refused(self.domains.remove("added.test"), "its data is not removed.*mod_keep")
        self.assertNotIn("added.test", self.server.hosts)
        self.assertEqual(self.statuses(), {"added.test": Status.DELETING})
        self.refused(self.domains.enable("added.test"), "is being removed")


class RefusalTests(DomainsTestCase):
    """What an operator is told."""

    def test_refused(self) -> None:
        """Each change that makes no sense is refused with its reason, and changes nothing."""
        domains = self.domains
        for coroutine, text in (
            (domains.add("added.test", "basic"), "added.test exists already"),
            (domains.add("localhost", "basic"), "localhost stands in the configuration"),
            (domains.add("x.test", "huge"), "no host type huge; there are: basic, other"),
            (domains.add("a@x.test", "basic"), "is no domain"),
            (domains.add("", "basic"), "is no domain"),
            (domains.remove("added.test", "other"), "is of the host type basic"),
            (domains.remove("x.test"), "there is no domain x.test"),
            (domains.enable("x.test"), "there is no domain x.test"),
            (domains.disable("localhost"), "localhost stands in the configuration"),
        ):
            self.refused(coroutine, text)
        self.assertEqual(self.statuses(), {"added.test": Status.ENABLED})
        self.assertEqual(set(self.server.hosts), {"localhost", "added.test"})


class NoTypesTests(ServerTestCase):
    """A server without host types."""

    def test_refused(self) -> None:
        """It takes no domains, and says why."""
        said = self.failure(self.server.domains.add("x.test", "basic"), DomainRefused)
        self.assertIn("general.host_types names none", said)
        self.assertEqual(self.await_(self.server.domains.all()), [])


CONFIG = """
[general]
hosts = {hosts}
host_types = {types}
default_server_domain = "a.test"
[[listen.c2s]]
port = 5222
[auth]
password.scram_iterations = 4096
[modules.mod_keep]
class = "tests.test_domains:Keep"
"""


class RestartTests(ServerTestCase):
    """What a server finds when it starts, and what a reload makes of it."""

    def setUp(self) -> None:
        """A database in a file."""
        self.clock = Clock()
        self.path = self.mktemp()
        self.text = ""

    def begin(self, hosts: str = "[]", types: str = '["basic", "other"]') -> Server:
        """Starts a server on the file, stopped after the test."""
        server = self.open(hosts, types)
        self.addCleanup(lambda: self.await_(server.shut_down()))
        return server

    def open(self, hosts: str = "[]", types: str = '["basic", "other"]') -> Server:
        """Starts a server on the file."""
        self.text = CONFIG.format(hosts=hosts, types=types)
        server = Server(
            self.load(), Database.sqlite_file(self.path), self.clock, load=self.load, threads=False
        )
        self.await_(server.start())
        return server

    def load(self) -> Any:
        """Reads the configuration."""
        return load_text(self.text, options_of)

    def test_restart(self) -> None:
        """Enabled domains are served again after a restart, disabled ones are not."""
        first = self.open()
        for domain in ("a.test", "b.test"):
            self.await_(first.domains.add(domain, "basic"))
        self.await_(first.domains.disable("b.test"))
        self.await_(first.shut_down())
        self.assertEqual(set(self.begin().hosts), {"a.test"})

    def test_interrupted_removal(self) -> None:
        """A removal that was interrupted is finished at the next start."""
        first = self.open()
        self.await_(first.domains.add("a.test", "basic"))
        user = JID.parse("romeo@a.test")
        self.await_(first.hosts["a.test"].accounts.register(user, "secret"))
        self.await_(first.domains._store.set_status("a.test", Status.DELETING))
        self.await_(first.shut_down())
        second = self.begin()
        self.assertEqual(second.hosts, {})
        self.assertEqual(self.await_(second.domains.all()), [])
        self.await_(second.domains.add("a.test", "basic"))
        self.assertFalse(self.await_(second.hosts["a.test"].accounts.exists(user)))

    def test_type_left_the_configuration(self) -> None:
        """A domain whose host type is not configured any more is kept, but not served."""
        first = self.open()
        self.await_(first.domains.add("a.test", "other"))
        self.await_(first.shut_down())
        with self.assertLogs("mongoosetw.domains", "WARNING"):
            second = self.begin(types='["basic"]')
        self.assertEqual(second.hosts, {})
        left = [DomainSetting("a.test", "other")]
        self.assertEqual(self.await_(second.domains.all()), left)

    def test_reload(self) -> None:
        """A reload opens and closes domains as hosts and host types come and go."""
        server = self.begin(hosts='["a.test"]', types='["basic"]')
        self.await_(server.domains.add("b.test", "basic"))
        self.text = CONFIG.format(hosts='["a.test", "c.test"]', types="[]")
        changes = {change.path: change.reloadable for change in self.await_(server.reload())}
        self.assertTrue(changes["general.hosts"] and changes["general.host_types"], changes)
        self.assertEqual(set(server.hosts), {"a.test", "c.test"})
        self.text = CONFIG.format(hosts='["c.test"]', types='["basic"]')
        self.await_(server.reload())
        self.assertEqual(set(server.hosts), {"b.test", "c.test"})

    def test_missing_module(self) -> None:
        """A reload with a module that is missing changes nothing, also not the hosts."""
        server = self.begin(hosts='["a.test"]', types='["basic"]')
        self.text = CONFIG.format(hosts='["c.test"]', types="[]") + "[modules.mod_none]\n"
        self.assertIn("mod_none", self.failure(server.reload(), ConfigErrors))
        self.assertEqual(set(server.hosts), {"a.test"})
