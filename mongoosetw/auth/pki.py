"""Method ``pki``: users whose certificates say who they are."""

from mongoosetw.auth.keyless import KeylessBackend
from mongoosetw.xmpp.jid import JID

__all__ = ["PkiBackend"]


class PkiBackend(KeylessBackend):
    """Accepts whoever shows a certificate that TLS has let in, by SASL EXTERNAL.

    Every name exists. With ``tls.verify_mode = "selfsigned_peer"`` anybody can be anybody.
    """

    name = "pki"
    mechanisms = frozenset({"EXTERNAL"})

    async def exists(self, user: JID) -> bool:
        """True: who has a certificate is not known before it is shown."""
        return True

    async def check_password(self, user: JID, password: str) -> bool:
        """False: there are no passwords."""
        return False
