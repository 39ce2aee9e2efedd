"""Elements as trees, for those who look into them."""

from typing import Final

from twisted.words.xish import domish

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import escape

_HEADER: Final = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}'>".encode()


class _ElementStream(domish.ExpatElementStream):
    """Collects elements. Sizes were checked when they arrived."""

    maxStanzaSize = maxElementCount = 1 << 62

    def __init__(self) -> None:
        super().__init__()
        self._unsafe = False
        self.found: list[domish.Element] = []
        self.DocumentStartEvent = self.DocumentEndEvent = _ignore
        self.ElementEvent = self.found.append

    # domish writes a namespace as it is, so a quote in one would end the attribute.

    def _onStartNamespace(self, prefix: str | None, uri: str) -> None:
        safe = escape(uri or "")
        self._unsafe = self._unsafe or safe != (uri or "")
        super()._onStartNamespace(prefix, safe)

    def _onStartElement(self, name: str, attributes: dict[str, str]) -> None:
        if self._unsafe:
            name = escape(name)
            attributes = {escape(key): value for key, value in attributes.items()}
        super()._onStartElement(name, attributes)


def _ignore(*_: object) -> None:
    return None


def parse_element(xml: bytes) -> domish.Element:
    """Reads one element as a tree, in the default namespace ``jabber:client``.

    :raises ValueError: it is not one well-formed element.
    """
    stream = _ElementStream()
    try:
        stream.parse(_HEADER + xml)
    except domish.ParserError as error:
        raise ValueError("not well-formed") from error
    finally:
        del stream.parser  # it refers to the stream
    if len(stream.found) != 1:
        raise ValueError("not one element")
    return stream.found[0]
