"""Twisted's own client: the XMPP of RFC 3920 and 3921, and what was there before."""

from typing import Any

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.words.protocols.jabber.client import IQ, XMPPClientFactory, basicClientFactory
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.protocols.jabber.jid import JID
from twisted.words.protocols.jabber.xmlstream import STREAM_AUTHD_EVENT, STREAM_ERROR_EVENT
from twisted.words.xish.domish import Element

from mongoosetw.xmpp import ns
from tests.integration.live import LiveTestCase, reactor


class TwistedClientTestCase(LiveTestCase):
    """Clients in the reactor of the server."""

    listener_options = "tls.mode = 'starttls'"
    extra = "[modules.mod_roster]\n[modules.mod_presence]\n[modules.mod_register]"

    def arrive(self, factory: Any, event: str = STREAM_AUTHD_EVENT) -> "Deferred[Any]":
        """Connects; the stream when it is ready, or what another event is about."""
        happened: Deferred[Any] = Deferred()
        factory.addBootstrap(event, happened.callback)
        factory.noisy = False
        connector = reactor.connectTCP("127.0.0.1", self.port, factory)
        self.addCleanup(connector.disconnect)
        self.addCleanup(factory.stopTrying)
        return happened


class NewClientTests(TwistedClientTestCase):
    """XMPPClientFactory: STARTTLS, SASL PLAIN, a resource and a session."""

    def log_in(self, user: str) -> "Deferred[Any]":
        """A user who is logged in."""
        certificate = next((self.folder / "data").glob("*.crt")).read_bytes()
        trusted = ssl.optionsForClientTLS("localhost", ssl.Certificate.loadPEM(certificate))
        return self.arrive(XMPPClientFactory(JID(f"{user}@localhost/t"), "secret", trusted))

    async def chat(self) -> None:
        """One asks for the roster, becomes available, and is written to."""
        alice, bob = await self.log_in("alice"), await self.log_in("bob")
        roster: Deferred[Any] = Deferred()
        heard: Deferred[Any] = Deferred()
        query = IQ(bob, "get")
        query.addElement((ns.ROSTER, "query"))
        query.addCallback(roster.callback)
        query.send()
        self.assertEqual((await roster)["type"], "result")
        bob.addObserver("/message/body", heard.callback)
        bob.send(Element((None, "presence")))
        message = Element((None, "message"))
        message["to"] = "bob@localhost/t"
        message.addElement("body", content="hello")
        alice.send(message)
        received = await heard
        self.assertEqual((received["from"], str(received.body)), ("alice@localhost/t", "hello"))

    def test_chat(self) -> "Deferred[None]":
        """Two people log in with a session, as was usual, and chat."""
        return Deferred.fromCoroutine(self.chat())


class OldClientTests(TwistedClientTestCase):
    """basicClientFactory: a stream without a version, a login by iq (XEP-0078)."""

    def test_refused(self) -> "Deferred[None]":
        """It is told that its version is too old (RFC 6120 §4.9.3.25), not just hung up on."""
        factory = basicClientFactory(JID("alice@localhost/t"), "secret")
        refused = self.assertFailure(self.arrive(factory, STREAM_ERROR_EVENT), StreamError)
        return refused.addCallback(
            lambda error: self.assertEqual(error.condition, "unsupported-version")
        )
