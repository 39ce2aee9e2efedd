"""What an archive answers, as bytes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from mongoosetw.messagelog.stamp import without_ids
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza, escape
from mongoosetw.xmpp.tags import start_tag_end

_HEAD = "<result xmlns='urn:xmpp:mam:2'"
_FORWARDED = "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='"
_RESULT = ((ns.MAM, "result"),)


def stamp(identifier: int) -> str:
    """The time in an id, by XEP-0082."""
    seconds, microseconds = divmod(identifier >> 8, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}Z"


@lru_cache(1024)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def namespaced(xml: str, owner: JID) -> str:
    """A stanza of the log, with its namespace declared, for its archive's owner."""
    if "xmlns" not in xml:
        return f"<message xmlns='jabber:client'{xml[8:]}"
    if "<stanza-id" in xml:
        stanza = without_ids(Stanza.parse(xml), str(owner))
        return stanza.forwarded().decode()
    if "xmlns" in xml[: start_tag_end(xml)]:
        return Stanza.parse(xml).forwarded().decode()
    return f"<message xmlns='jabber:client'{xml[8:]}"


def page(
    messages: Iterable[tuple[int, str]], *, owner: JID, to: JID, query_id: str
) -> list[Stanza]:
    """The messages of a page of a user's archive (XEP-0313 §4.2)."""
    head = f"<message from='{escape(str(owner))}' to='{escape(str(to))}'>"
    query = f" queryid='{escape(query_id)}'" if query_id else ""
    begin, start = f"{head}{_HEAD}{query} id='", len(head.encode())
    found = []
    for identifier, xml in messages:
        raw = (
            f"{begin}{identifier}'>{_FORWARDED}{stamp(identifier)}'/>"
            f"{namespaced(xml, owner)}</forwarded></result></message>"
        ).encode()
        found.append(Stanza.written("message", to, owner, _RESULT, raw, (start, len(raw) - 10)))
    return found


def fin(
    ids: Iterable[int], *, complete: bool, count: int | None, index: int | None, stable: bool = True
) -> str:
    """The end of a page (XEP-0313 §4.2, XEP-0059 §2.4)."""
    ids = list(ids)
    attributes = " complete='true'" if complete else ""
    if not stable:
        attributes += " stable='false'"
    parts = []
    if ids:
        position = "" if index is None else f" index='{index}'"
        parts += [f"<first{position}>{ids[0]}</first>", f"<last>{ids[-1]}</last>"]
    if count is not None:
        parts.append(f"<count>{count}</count>")
    rsm = f"<set xmlns='{ns.RSM}'>{''.join(parts)}</set>"
    return f"<fin xmlns='{ns.MAM}'{attributes}>{rsm}</fin>"


def metadata(first: int | None, last: int | None) -> str:
    """The archive's first and last message (XEP-0313 §6.1.1)."""
    parts = [
        f"<{name} id='{identifier}' timestamp='{stamp(identifier)}'/>"
        for name, identifier in (("start", first), ("end", last))
        if identifier is not None
    ]
    return f"<metadata xmlns='{ns.MAM}'>{''.join(parts)}</metadata>"
