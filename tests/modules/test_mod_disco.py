"""mod_disco: what the server and accounts tell of themselves, and what modules add to it."""

from mongoosetw.hooks.disco import DiscoLocal, DiscoUser
from mongoosetw.module import Module, NoOptions, on
from mongoosetw.testing.client import Client
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID

OPEN, SECRET = JID.parse("open.localhost"), JID.parse("secret.localhost")


class Services(Module[NoOptions]):
    """Knows two services, a node, and something about each account."""

    name = "mod_services"

    @on(DiscoLocal)
    async def local(self, event: DiscoLocal) -> None:
        """Lists services; answers for the node ``x``."""
        if event.node == "x":
            event.found = True
            event.features.add("urn:example:x")
        elif not event.node:
            event.items.append((OPEN, "Open", ""))
            if event.hidden_too:
                event.items.append((SECRET, "Secret", ""))

    @on(DiscoUser)
    def user(self, event: DiscoUser) -> None:
        """Tells of an account."""
        event.identities.append(("pubsub", "pep", "A & B"))
        event.items.append((event.user, "", "urn:example:node"))


def info(to: str, node: str = "", namespace: str = ns.DISCO_INFO) -> str:
    """A question."""
    return f"<iq type='get' id='d' to='{to}'><query xmlns='{namespace}' node='{node}'/></iq>"


class DiscoTestCase(ServerTestCase):
    """A client that asks."""

    modules = {
        "mod_disco": {},
        "mod_services": {"class": f"{__name__}:Services"},
    }

    def setUp(self) -> None:
        """Logs in."""
        super().setUp()
        self.romeo: Client = self.connect("romeo@localhost/a")

    def ask(self, to: str = "localhost", node: str = "", namespace: str = ns.DISCO_INFO) -> str:
        """What is answered."""
        return self.romeo.request(info(to, node, namespace)).inner.decode()


class ServerTests(DiscoTestCase):
    """The server."""

    def test_services(self) -> None:
        """Modules add services to the server's items, hidden ones among them."""
        items = self.ask(namespace=ns.DISCO_ITEMS)
        self.assertIn("<item jid='open.localhost' name='Open'/>", items)
        self.assertIn("jid='secret.localhost'", items)

    def test_node(self) -> None:
        """A node that a module knows is answered by it alone; others do not exist."""
        answer = self.ask(node="x")
        self.assertIn("node='x'><feature var='urn:example:x'/></query>", answer)
        self.assertIn("item-not-found", self.ask(node="y"))

    def test_no_contacts(self) -> None:
        """Without contact addresses there is no form."""
        self.assertNotIn(ns.DATA_FORMS, self.ask())


class AccountTests(DiscoTestCase):
    """Accounts."""

    def test_added(self) -> None:
        """Modules add identities and items to an account."""
        answer = self.ask("romeo@localhost")
        self.assertIn("<identity category='account' type='registered'/>", answer)
        self.assertIn("<identity category='pubsub' type='pep' name='A &amp; B'/>", answer)
        items = self.ask("romeo@localhost", namespace=ns.DISCO_ITEMS)
        self.assertIn("<item jid='romeo@localhost' node='urn:example:node'/>", items)


class OptionTests(DiscoTestCase):
    """Options."""

    modules = {
        "mod_disco": {
            "extra_domains": ["extra.test"],
            "users_can_see_hidden_services": False,
        },
        "mod_services": {"class": f"{__name__}:Services"},
    }
    extra = """
[[modules.mod_disco.server_info]]
name = "abuse-addresses"
urls = ["mailto:abuse@localhost", "xmpp:abuse@localhost"]
[[modules.mod_disco.server_info]]
name = "admin-addresses"
urls = ["mailto:admin@localhost"]
modules = ["mod_disco", "mod_muc"]
[[modules.mod_disco.server_info]]
name = "support-addresses"
urls = ["mailto:room@localhost"]
modules = ["mod_muc"]
[[modules.mod_disco.server_info]]
name = "feedback-addresses"
urls = ["mailto:x@localhost"]
modules = "all"
"""

    def configuration(self) -> str:
        """The tables of contact addresses stand behind their module's."""
        text, _, rest = super().configuration().replace(self.extra, "").partition("[modules.mod_s")
        return f"{text}{self.extra}[modules.mod_s{rest}"

    def test_contacts(self) -> None:
        """Contact addresses are told in a form, those that are meant for the server (XEP-0157)."""
        answer = self.ask()
        self.assertIn(
            "<field var='FORM_TYPE' type='hidden'>"
            "<value>http://jabber.org/network/serverinfo</value></field>"
            "<field var='abuse-addresses' type='list-multi'><value>mailto:abuse@localhost</value>"
            "<value>xmpp:abuse@localhost</value></field>"
            "<field var='admin-addresses' type='list-multi'>",
            answer,
        )
        self.assertIn("feedback-addresses", answer)
        self.assertNotIn("support-addresses", answer)

    def test_items(self) -> None:
        """Extra domains are listed; hidden services are not."""
        items = self.ask(namespace=ns.DISCO_ITEMS)
        self.assertIn("<item jid='extra.test'/>", items)
        self.assertIn("jid='open.localhost'", items)
        self.assertNotIn("secret", items)
