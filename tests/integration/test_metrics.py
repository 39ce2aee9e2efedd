"""Every metric of the core over HTTP: it moves when what it counts has happened."""

import http.client
from typing import Any

from mongoosetw.docs import found
from mongoosetw.hooks.bus import STOP
from mongoosetw.hooks.routing import FilterPacket
from mongoosetw.module import Module, NoOptions
from mongoosetw.xmpp import ns
from tests.integration.live import free_port
from tests.integration.node import CONFIG, NodeTestCase

DROPPED = "dropped.test"
CORE = ("mongoosetw.server_metrics", "mongoosetw.net.traffic")


def both_ways(*kinds: str) -> list[str]:
    """The counters of kinds of stanzas, in and out."""
    return [f"xmpp_element_{way}_{kind}_count" for way in ("in", "out") for kind in kinds]


class Dropper(Module[NoOptions]):
    """Drops what is sent to a certain domain."""

    name = "mod_dropper"

    def start(self) -> None:
        """Filters all stanzas of the node."""
        self.host.server.hooks.add(FilterPacket, 50, self.name, self.drop)
        self.host.server.hooks.publish()

    def drop(self, event: FilterPacket) -> Any:
        """Drops or not."""
        return STOP if event.stanza.to and event.stanza.to.domain == DROPPED else None


class MetricsOfANode(NodeTestCase):
    """A node that is scraped before and after each thing that happens to it."""

    config = (
        CONFIG
        + """
[[listen.http]]
port = {http}
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_dropper]
class = "tests.integration.test_metrics:Dropper"
"""
    )

    def choose_ports(self) -> dict[str, int]:
        """One for clients, one for the scrape."""
        return {"port": free_port(), "http": free_port()}

    def scrape(self) -> dict[str, float]:
        """All series."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=60)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        self.seen = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {series: float(value) for series, _, value in samples}

    def moved(self, *expected: str) -> None:
        """Scrapes, and fails unless the expected series rose; ``rose`` has all that did."""
        after = self.scrape()
        rose = {
            series.partition("{")[0]
            for series, value in after.items()
            if value > self.before.get(series, 0)
        }
        for name in expected:
            self.assertIn(name, rose)
            self.proven.add(name.removesuffix("_bucket"))
        self.rose, self.before = rose, after

    def test_every_series_moves(self) -> None:
        """Each metric of the core rises when it should, and those of other events do not."""
        self.proven: set[str] = set()
        self.before = self.scrape()
        self.accounts()
        self.logins()
        self.stanzas()
        self.routing()
        series = f'tls_cert_remaining_days{{file="{self.certificate()}"}}'
        self.assertGreater(self.before[series], 9)
        self.proven |= {"tls_cert_remaining_days"}
        # At rest nothing waits for the database, but the level is shown.
        self.assertIn("wpool_global_queue_lengths_total", self.before)
        self.proven |= {"wpool_global_queue_lengths_total"}
        declared = {item.metric.name for item in found.metrics() if item.where in CORE}
        self.assertEqual(declared - self.proven, set())
        self.assertEqual(declared - self.seen, set())

    def certificate(self) -> str:
        """The certificate that the node made."""
        return str(next((self.folder / "data").glob("*.crt")))

    def accounts(self) -> None:
        """What mongoosectl does to accounts."""
        for user in ("alice", "bob", "carol"):
            self.ctl("account", "register", f"{user}@localhost", "--password", "secret")
        self.moved(
            "auth_register_user_count",
            "auth_try_register_count",
            "auth_try_register_time_bucket",
            "rdbms_call_time_bucket",
            "system_up_time_seconds",
        )
        self.assertNotIn("auth_unregister_user_count", self.rose)
        self.ctl("account", "unregister", "carol@localhost")
        self.moved("auth_unregister_user_count", "auth_does_user_exist_count")
        self.ctl("account", "check", "bob@localhost", "--password", "secret")
        self.moved("auth_check_password_count", "auth_check_password_time_bucket")
        self.assertNotIn("sm_session_logins", self.rose)

    def logins(self) -> None:
        """Sessions begin and end, plain and over TLS; a login fails."""
        self.alice = self.client()
        self.alice.login("alice")
        self.moved(
            "sm_session_logins",
            "sm_session_count",
            "sm_node_sessions_count",
            "sm_total_sessions_count",
            "sm_unique_sessions_count",
            "system_tcp_ports_count",
            "auth_authorize_count",
            "tcp_data_in_byte_size",
            "tcp_data_out_byte_size",
        )
        self.assertFalse({"c2s_auth_failed_count", "tls_data_in_byte_size"} & self.rose)
        self.bob = self.client()
        self.bob.secure()
        self.assertIn("not-authorized", self.bob.plain("bob", "wrong"))
        self.moved("c2s_auth_failed_count", "tls_data_in_byte_size", "tls_data_out_byte_size")
        self.assertFalse({"sm_session_logins", "sm_session_logouts"} & self.rose)
        self.assertIn("<success", self.bob.plain("bob"))
        self.bob.bind("r")
        other = self.client()
        other.login("alice", "other")
        self.moved("sm_session_count")
        other.send("</stream:stream>")
        other.rest()
        self.moved("sm_session_logouts")
        self.assertNotIn("sm_session_logins", self.rose)

    def stanzas(self) -> None:
        """Stanzas of each kind, errors among them, from one client to the other."""
        to = "bob@localhost/r"
        body = "<body>hi</body>"
        for kind, stanza in (
            ("message", f"<message to='{to}' type='chat'>{body}</message>"),
            ("presence", f"<presence to='{to}'/>"),
            ("iq", f"<iq to='{to}' id='1' type='get'><x xmlns='urn:x'/></iq>"),
        ):
            self.alice.send(stanza)
            self.bob.until(f"<{kind} from='alice@localhost/r'")
            self.moved(*both_ways(kind, "stanza"))
            self.assertNotIn(f"xmpp_element_in_{kind}_error_count", self.rose)
            self.alice.send(f"<{kind} to='{to}' id='2' type='error'/>")
            self.bob.until("type='error'")
            self.moved(*both_ways(f"{kind}_error", "error"))

    def routing(self) -> None:
        """Stanzas that go nowhere."""
        self.alice.send("<message to='nobody@localhost' type='chat'><body>x</body></message>")
        self.alice.until("service-unavailable")
        self.moved("sm_message_bounced_count")
        self.assertNotIn("router_no_route_found_count", self.rose)
        self.alice.send("<message to='x@elsewhere.test'><body>x</body></message>")
        self.alice.until("remote-server-not-found")
        self.moved("router_no_route_found_count")
        self.alice.send(f"<message to='x@{DROPPED}'><body>x</body></message>")
        self.alice.send(f"<iq type='get' id='3'><query xmlns='{ns.ROSTER}'/></iq>")
        self.alice.until("id='3'")
        self.moved("router_stanza_dropped_count", "mod_roster_get_count")
        self.assertNotIn("sm_message_bounced_count", self.rose)
