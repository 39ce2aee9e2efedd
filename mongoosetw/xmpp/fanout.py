"""One stanza for many recipients: what differs only in ``to`` is serialised once."""

from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape


class Fanout:
    """Makes copies of a stanza that differ in their address.

    >>> romeo, juliet = JID.parse("romeo@localhost"), JID.parse("juliet@localhost")
    >>> Fanout(Stanza.make("presence", from_=romeo)).to(juliet).to_bytes()
    b"<presence to='juliet@localhost' from='romeo@localhost'/>"
    """

    __slots__ = ("_head", "_rest", "_stanza")

    def __init__(self, stanza: Stanza) -> None:
        whole = stanza if stanza.to is None else stanza.copy(to=None)
        self._stanza = stanza
        self._head = b"<%b to='" % stanza.kind.encode()
        self._rest = b"'" + whole.to_bytes()[len(stanza.kind) + 1 :]

    def to(self, address: JID) -> Stanza:
        """The stanza, addressed anew."""
        xml = self._head + escape(str(address)).encode() + self._rest
        return self._stanza.serialised_copy(address, xml)
