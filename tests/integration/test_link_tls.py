"""Links over TLS on real sockets: who is let in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mongoosetw.cluster import places
from mongoosetw.cluster.config import Cluster, ClusterTLS
from mongoosetw.cluster.links import PBMesh, Secrets
from mongoosetw.cluster.tls import LinkTLS
from mongoosetw.net.flush import TurnFlusher
from tests.cluster.memory import member
from tests.integration.certificates import Authority

SECRET = "a secret of tests"
LOOP: Any = reactor


class TLSLinkTests(TestCase):
    """Two nodes of two machines."""

    timeout = 30

    def setUp(self) -> None:
        """A folder for certificates."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = Authority(self.folder, "cluster")

    async def node(self, number: int, options: Cluster, got: list[bytes]) -> tuple[PBMesh, str]:
        """A listening node, and its address."""
        maker = places.Places(reactor, LinkTLS(options, str(self.folder)))
        own = member("ab"[number], number)
        secret = Secrets(b"of the machine", options.secret.encode())
        mesh = PBMesh(LOOP, own, secret, maker.to, TurnFlusher(LOOP), peer_timeout=4)
        mesh.receive("one", lambda node, payload: got.append(payload))
        factory: Any = maker.over_tls(mesh.factory)
        port: Any = await maker.at_port("127.0.0.1", 0).listen(factory)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.stop, mesh)
        mesh.start()
        return mesh, places.tls("127.0.0.1", port.getHost().port)

    def stop(self, mesh: PBMesh) -> "Deferred[None]":
        """Ends a node; its connections close in the next turns."""
        mesh.stop("end of the test")
        return deferLater(LOOP, 0.05, lambda: None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits for something to become true; the test's timeout is the limit."""
        while not condition():
            await deferLater(LOOP, 0.01, lambda: None)

    async def assert_linked(self, one: Cluster, other: Cluster) -> None:
        """Two nodes come together, and a long payload goes through."""
        got: list[bytes] = []
        a, _ = await self.node(0, one, [])
        b, address = await self.node(1, other, got)
        a.expect({"b": (address,)})
        await self.until(lambda: a.peers and b.peers)
        payload = bytes(3_000_000)
        self.assertTrue(a.send("b", "one", payload))
        await self.until(lambda: got)
        self.assertEqual(got, [payload])

    async def assert_refused(self, one: Cluster, other: Cluster, *reasons: str) -> None:
        """Two nodes do not come together; the called one and the caller say why."""
        a, _ = await self.node(0, one, [])
        b, address = await self.node(1, other, [])
        a.expect({"b": (address,)})
        await self.until(lambda: a.happenings.describe() and b.happenings.describe())
        self.assertEqual((a.peers, b.peers), ({}, {}))
        for mesh, reason in zip((b, a), reasons, strict=True):
            self.assertIn(reason, mesh.happenings.describe()[0]["how"])

    def with_certificate(self, authority: Authority, name: str, secret: str = "") -> Cluster:
        """Options of a node with a certificate; it trusts the cluster's authority."""
        certificate = str(authority.issue(common_name=name))
        tls = ClusterTLS(cacertfile=str(self.authority.file), certfile=certificate)
        return Cluster(tls=tls, secret=secret)

    async def test_certificates(self) -> None:
        """Certificates of the cluster's authority are enough."""
        a, b = (self.with_certificate(self.authority, name) for name in "ab")
        await self.assert_linked(a, b)

    async def test_secret(self) -> None:
        """The secret is enough."""
        await self.assert_linked(Cluster(secret=SECRET), Cluster(secret=SECRET))

    async def test_both(self) -> None:
        """Certificates and secret together."""
        a, b = (self.with_certificate(self.authority, name, SECRET) for name in "ab")
        await self.assert_linked(a, b)

    async def test_wrong_secret(self) -> None:
        """Another secret is refused, and both logs say so."""
        a, b = Cluster(secret=SECRET), Cluster(secret="another secret!!")
        await self.assert_refused(a, b, "wrong secret", "wrong secret")

    async def test_wrong_secret_with_certificates(self) -> None:
        """With both configured, both are checked."""
        a = self.with_certificate(self.authority, "a", "another secret!!")
        b = self.with_certificate(self.authority, "b", SECRET)
        await self.assert_refused(a, b, "wrong secret", "wrong secret")

    async def test_certificate_of_another_authority(self) -> None:
        """A certificate that somebody else has issued is refused."""
        a = self.with_certificate(Authority(self.folder, "stranger"), "a")
        b = self.with_certificate(self.authority, "b")
        await self.assert_refused(a, b, "certificate verify failed", "unknown ca")

    async def test_server_with_another_authority(self) -> None:
        """Neither does a node speak to a server that cannot prove itself."""
        a = self.with_certificate(self.authority, "a")
        b = self.with_certificate(Authority(self.folder, "stranger"), "b")
        await self.assert_refused(a, b, "unknown ca", "certificate verify failed")

    async def test_self_signed(self) -> None:
        """The secret does not replace the certificate where certificates are asked for."""
        a = Cluster(secret=SECRET)
        b = self.with_certificate(self.authority, "b", SECRET)
        await self.assert_refused(a, b, "certificate verify failed", "")
