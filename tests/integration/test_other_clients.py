"""Clients of other families than slixmpp's: nbxmpp (Gajim), Go's, libstrophe's, Perl's."""

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest

from mongoosetw.xmpp import ns
from tests.integration.live import free_port, wait_until
from tests.integration.node import NodeTestCase
from tests.integration.raw import RawClient
from tests.integration.relay import Relay
from tests.integration.terminal import Terminal

NBXMPP = Path("/usr/lib/python3/dist-packages/nbxmpp")
STORY = Path(__file__).with_name("nbxmpp_story.py").resolve()
CONFIG = """
[general]
hosts = ["localhost"]
data_dir = "data"
[[listen.c2s]]
port = {port}
ip_address = "127.0.0.1"
tls.mode = "starttls"
allow_plain_without_tls = true
[[listen.c2s]]
port = {tls_port}
ip_address = "127.0.0.1"
tls.mode = "tls"
[auth]
password.scram_iterations = 4096
[modules.mod_roster]
[modules.mod_presence]
[modules.mod_disco]
[modules.mod_ping]
[modules.mod_register]
[modules.mod_carboncopy]
[modules.mod_csi]
[modules.mod_blocking]
[modules.mod_offline]
[modules.mod_stream_management]
[modules.mod_mam]
[modules.mod_mam.pm]
"""


class OtherClientTestCase(NodeTestCase):
    """A node with all that clients usually ask for."""

    config = CONFIG

    def choose_ports(self) -> dict[str, int]:
        """One port for STARTTLS, one for direct TLS."""
        return {"port": free_port(), "tls_port": free_port()}

    @property
    def certificate(self) -> Path:
        """The server's certificate, which it has signed itself."""
        return next((self.folder / "data").glob("*.crt"))

    def register(self, *users: str) -> None:
        """Makes accounts with the password ``secret``."""
        client = self.client()
        client.open()
        for user in users:
            fields = f"<username>{user}</username><password>secret</password>"
            query = f"<query xmlns='{ns.REGISTER}'>{fields}</query>"
            client.send(f"<iq type='set' id='{user}'>{query}</iq>")
            self.assertIn("type='result'", client.until(f"id='{user}'/>"))

    def friend(self, user: str) -> RawClient:
        """An available user whose client is bytes only."""
        client = self.client()
        client.login(user)
        client.send("<presence/>")
        client.sync()
        return client


class NbxmppTests(OtherClientTestCase):
    """nbxmpp on GLib's sockets and TLS."""

    def setUp(self) -> None:
        """Debian's Python has it, this one not."""
        if not NBXMPP.is_dir():
            raise SkipTest("python3-nbxmpp is not installed")
        super().setUp()

    def story(self, name: str) -> list[str]:
        """What the clients have seen."""
        ports = [str(self.ports["port"]), str(self.ports["tls_port"])]
        done = subprocess.run(
            ["/usr/bin/python3", str(STORY), name, *ports, str(self.certificate)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.splitlines()

    def test_meeting(self) -> None:
        """Two people register, log in, become friends, chat, and one blocks the other."""
        expected = [
            "alice: registered",
            "alice: conflict",
            "thief: ('disconnected', 'not-authorized')",
            "alice: ['subscribed bob@localhost', 'available bob@localhost/b']",
            "bob: ['subscribed alice@localhost', 'available alice@localhost/a']",
            "alice: [('bob@localhost', 'Bob & <Co>', 'both', ['Ⓕriends'])]",
            "server: True",
            "alice: []",
            "alice: ['bob@localhost']",
            "bob: ['unavailable alice@localhost/a']",
            "bob: ['available alice@localhost/a']",
        ]
        self.assertEqual(self.story("meeting"), expected)

    def test_returning(self) -> None:
        """Cut connections lose and double nothing; the archive is whole; the late begin anew."""
        expected = [
            "alice: resume-successful",
            "alice: resume-successful",
            "both: []",
            "alice: ['0', '1', '2', '3', '4', '5', '6', '7', '8']",
            "alice: True",
            "alice: ('roster', ['bob@localhost'], [])",
            "alice: ['resume-failed', 'connected']",
            "other: conflict",
        ]
        self.assertEqual(self.story("returning"), expected)


class GoSendxmppTests(OtherClientTestCase):
    """go-sendxmpp: Go's TLS, and a login that ends with a newline."""

    def setUp(self) -> None:
        """Two accounts."""
        if shutil.which("go-sendxmpp") is None:
            raise SkipTest("go-sendxmpp is not installed")
        super().setUp()
        self.register("alice", "bob")

    def command(self, user: str, *options: str, password: str = "secret") -> list[str]:
        """A command line."""
        port = self.ports["tls_port" if "--tls" in options else "port"]
        account = ["-u", f"{user}@localhost", "-p", password, "-j", f"localhost:{port}"]
        return ["go-sendxmpp", *account, *options]

    @property
    def surroundings(self) -> dict[str, str]:
        """It checks the certificate."""
        trusted = {"HOME": str(self.folder), "SSL_CERT_FILE": str(self.certificate)}
        return {**os.environ, **trusted}

    def send(self, body: str, *options: str, password: str = "secret") -> tuple[int, str]:
        """Alice sends Bob a message; the exit status and what was complained about."""
        done = subprocess.run(
            self.command("alice", *options, "bob@localhost", password=password),
            input=body,
            capture_output=True,
            text=True,
            env=self.surroundings,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    def test_sent_and_heard(self) -> None:
        """Messages come by STARTTLS, while nobody listens, and by direct TLS; errors are told."""
        self.assertEqual(self.send("first"), (0, ""))
        heard = self.folder / "heard"
        with heard.open("w") as file:
            command = self.command("bob", "--listen")
            listener = subprocess.Popen(command, stdout=file, env=self.surroundings)
        self.addCleanup(listener.wait)
        self.addCleanup(listener.kill)
        wait_until(lambda: "alice@localhost: first\n" in heard.read_text())
        self.assertEqual(self.send("second", "--tls"), (0, ""))
        wait_until(lambda: "alice@localhost: second\n" in heard.read_text())
        status, complaint = self.send("third", password="wrong")
        self.assertEqual(status, 1)
        self.assertIn("the user name or the password is wrong", complaint)


class SendxmppTests(OtherClientTestCase):
    """sendxmpp: Perl's XML::Stream and Net::XMPP, whose stream names the machine as its sender."""

    def test_sent(self) -> None:
        """A message arrives; the program would not tell if it did not."""
        if shutil.which("sendxmpp") is None:
            raise SkipTest("sendxmpp is not installed")
        self.register("alice", "bob")
        bob = self.friend("bob")
        way = ["-j", f"localhost:{self.port}", "-o", "localhost", "--tls", "--no-tls-verify"]
        subprocess.run(
            ["sendxmpp", "-u", "alice", "-p", "secret", *way, "bob@localhost"],
            input="hello",
            env={**os.environ, "HOME": str(self.folder)},
            text=True,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        bob.until("<body>hello")


class ProfanityTests(OtherClientTestCase):
    """Profanity in a terminal; it logs what it sends and receives."""

    def setUp(self) -> None:
        """Two accounts, and a way to the server that can be cut."""
        if shutil.which("profanity") is None:
            raise SkipTest("profanity is not installed")
        super().setUp()
        self.register("alice", "bob")
        self.relay = Relay(self.port)
        self.addCleanup(self.relay.close)
        self.log = self.folder / "profanity.log"
        command = ["profanity", "-l", "DEBUG", "-f", str(self.log)]
        self.profanity = Terminal(command, self.folder)
        self.addCleanup(self.profanity.close)

    def expect(self, text: str) -> None:
        """Waits until the log has something."""
        wait_until(lambda: self.log.exists() and text in self.log.read_text())

    def test_cut_and_back(self) -> None:
        """It chats, reads the archive, and goes on with its session when it was cut off."""
        way = f"server 127.0.0.1 port {self.relay.port} tls trust"
        bob = self.friend("bob")
        self.profanity.type("/reconnect 1", "/mam on", f"/connect alice@localhost/p {way}")
        self.profanity.type("secret")
        self.expect("<enabled ")
        self.expect(ns.MAM)  # what the server can is known
        self.profanity.type("/msg bob@localhost hello")
        bob.until("<body>hello</body>")
        self.expect("<fin ")
        self.relay.cut()
        bob.send("<message to='alice@localhost/p' type='chat'><body>missed</body></message>")
        self.expect("Session resumed successfully.")
        self.expect("<body>missed</body>")
        self.profanity.type("/quit")
        self.assertEqual(self.profanity.process.wait(60), 0)
