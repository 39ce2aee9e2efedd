"""Writes an element anew so that it needs nothing of what surrounds it.

Stanzas travel as the bytes that the client wrote, and their content is put into other stanzas.
That is safe only while the content declares the prefixes that it uses; where the stanza's own
tag or the stream's header declares them, the stanza is rewritten without any.
"""

from collections.abc import Mapping
from xml.parsers import expat

from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import escape

# What an XML parser would turn into other white space (XML 1.0 §2.11, §3.3.3).
_IN_VALUES = str.maketrans({"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def self_contained(
    raw: bytes, namespaces: Mapping[str | None, str]
) -> tuple[bytes, tuple[int, int]]:
    """Rewrites a well-formed element for a place where ``jabber:client`` is the default.

    :param namespaces: what is declared around it, by prefix; None for the default.
    :returns: the element, and where its content lies in it.
    """
    writer = _Writer()
    writer.parser.Parse(f"<around{declarations(namespaces)}>".encode(), False)
    writer.parser.Parse(raw, False)
    del writer.parser  # it refers to the writer
    head, content, end = (part.encode() for part in writer.parts())
    return head + content + end, (len(head), len(head) + len(content))


def declarations(namespaces: Mapping[str | None, str]) -> str:
    """Declares namespaces in a start tag, by prefix; None for the default."""
    return "".join(
        f" xmlns{':' + prefix if prefix else ''}='{_quoted(uri)}'"
        for prefix, uri in namespaces.items()
    )


def _quoted(text: str) -> str:
    return escape(text).translate(_IN_VALUES)


class _Writer:
    """Writes what expat reports, every element with its namespace as the default one."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate("UTF-8", " ")
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._defaults: list[str] = []
        self._written: list[str] = []

    def parts(self) -> tuple[str, str, str]:
        """Start tag, content, end tag."""
        return self._written[0], "".join(self._written[1:-1]), self._written[-1]

    def _start(self, name: str, attributes: list[str]) -> None:
        if not self._defaults:
            self._defaults.append(ns.CLIENT)
            return
        uri, _, tag = name.rpartition(" ")
        default = self._defaults[-1] if uri == ns.XML else uri  # that one cannot be declared
        declaration = "" if default == self._defaults[-1] else f" xmlns='{_quoted(uri)}'"
        self._defaults.append(default)
        tag = _tag(uri, tag)
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        written = [_attribute(n, key, value) for n, (key, value) in enumerate(pairs)]
        self._written.append(f"<{tag}{declaration}{''.join(written)}>")

    def _end(self, name: str) -> None:
        self._defaults.pop()
        uri, _, tag = name.rpartition(" ")
        self._written.append(f"</{_tag(uri, tag)}>")

    def _text(self, data: str) -> None:
        if len(self._defaults) > 1:
            self._written.append(escape(data).replace("\r", "&#13;"))


def _tag(uri: str, name: str) -> str:
    return f"xml:{name}" if uri == ns.XML else name


def _attribute(number: int, key: str, value: str) -> str:
    uri, _, name = key.rpartition(" ")
    if not uri:
        return f" {name}='{_quoted(value)}'"
    if uri == ns.XML:
        return f" xml:{name}='{_quoted(value)}'"
    return f" xmlns:n{number}='{_quoted(uri)}' n{number}:{name}='{_quoted(value)}'"
