"""What a client asks of an archive: data form (XEP-0313 §4.1) and page (XEP-0059)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from twisted.words.xish import domish

from mongoosetw.ids import first_at
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.errors import StanzaError
from mongoosetw.xmpp.jid import JID, InvalidJID
from mongoosetw.xmpp.stanza import escape

FIELDS: Final = {
    "with": "jid-single",
    "start": "text-single",
    "end": "text-single",
    "before-id": "text-single",
    "after-id": "text-single",
    "ids": "list-multi",
}
TEXT_FIELDS: Final = (
    "{https://erlang-solutions.com/}full-text-search",
    "{urn:xmpp:fulltext:0}fulltext",
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HIGHEST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Query:
    """Which messages of an archive, and which page of them.

    :ivar after: ids above this one; ``before``: below this one. Both are exclusive.
    :ivar with_: the other side: a bare JID means all its resources.
    :ivar ids: these messages only; all have to exist.
    :ivar text: words that the message has to contain.
    :ivar anchors: ids that the client has named, and that have to exist.
    :ivar backwards: the page is the last one of what matches, not the first.
    :ivar flipped: the page is sent newest message first.
    """

    query_id: str = ""
    after: int = 0
    before: int = HIGHEST
    with_: JID | None = None
    ids: tuple[int, ...] = ()
    text: str = ""
    anchors: tuple[int, ...] = ()
    most: int = 50
    page_after: int = 0
    page_before: int = HIGHEST
    backwards: bool = False
    flipped: bool = False


def parse(element: domish.Element, *, default: int, limit: int, text: bool) -> Query:
    """Reads a ``<query/>``.

    :param default: messages of a page when the client names no number, ``limit`` at most.
    :param text: text search is offered.
    :raises StanzaError: ``bad-request``, ``feature-not-implemented`` or ``item-not-found``.
    """
    form = _form(element, text=text)
    found: dict[str, object] = {"query_id": element.getAttribute("queryid") or ""}
    anchors: list[int] = []
    after, before = 0, HIGHEST
    if "start" in form:
        after = first_at(_time(form["start"])) - 1
    if "end" in form:
        before = first_at(_time(form["end"]) + 1)
    if "after-id" in form:
        anchors.append(_id(form["after-id"]))
        after = max(after, anchors[-1])
    if "before-id" in form:
        anchors.append(_id(form["before-id"]))
        before = min(before, anchors[-1])
    if "with" in form:
        found["with_"] = _jid(form["with"])
    if "ids" in form:
        found["ids"] = tuple(sorted({_id([text]) for text in form["ids"]}))
        if len(form["ids"]) > limit:
            raise StanzaError("bad-request", text=f"more than {limit} ids")
    for name in TEXT_FIELDS:
        if name in form:
            found["text"] = form[name][0]
    found |= _page(element, anchors, default, limit)
    flipped = any(e.uri == ns.MAM and e.name == "flip-page" for e in element.elements())
    return Query(
        after=after,
        before=before,
        anchors=tuple(anchors),
        flipped=flipped,
        **found,  # type: ignore[arg-type]
    )


def _page(
    element: domish.Element, anchors: list[int], default: int, limit: int
) -> dict[str, object]:
    """The ``<set/>`` (XEP-0059 §2)."""
    page = next((e for e in element.elements() if e.uri == ns.RSM and e.name == "set"), None)
    if page is None:
        return {"most": min(default, limit)}
    parts = {e.name: str(e).strip() for e in page.elements()}
    if "index" in parts:
        raise StanzaError("feature-not-implemented")  # XEP-0059 §2.6
    found: dict[str, object] = {"most": min(_number(parts.get("max", str(default))), limit)}
    if parts.get("after"):
        anchors.append(_id([parts["after"]]))
        found["page_after"] = anchors[-1]
    if "before" in parts:
        found["backwards"] = True
        if parts["before"]:
            anchors.append(_id([parts["before"]]))
            found["page_before"] = anchors[-1]
    return found


def _form(element: domish.Element, *, text: bool) -> dict[str, list[str]]:
    form = next((e for e in element.elements() if e.uri == ns.DATA_FORMS), None)
    if form is None:
        return {}
    fields: dict[str, list[str]] = {}
    for field in form.elements():
        if field.name == "field":
            name = field.getAttribute("var") or ""
            fields[name] = [str(e) for e in field.elements() if e.name == "value"]
    kind = fields.pop("FORM_TYPE", [ns.MAM])
    if kind != [ns.MAM]:
        raise StanzaError("bad-request", text="not the form of this protocol")
    known = {*FIELDS, *TEXT_FIELDS} if text else set(FIELDS)
    for name, values in fields.items():
        if name not in known:
            # XEP-0313 §4.1.5: a field that is not understood
            raise StanzaError("feature-not-implemented", text=f"unknown field {name}")
        if not values or (len(values) > 1 and name != "ids"):
            raise StanzaError("bad-request", text=f"one value for {name}")
    return fields


def _time(values: list[str]) -> int:
    """A time by XEP-0082, in microseconds since 1970."""
    try:
        parsed = datetime.fromisoformat(values[0])
    except ValueError:
        raise StanzaError("bad-request", text=f"not a time: {values[0][:40]}") from None
    if parsed.tzinfo is None:
        raise StanzaError("bad-request", text="a time needs a time zone")
    return max((parsed - _EPOCH) // timedelta(microseconds=1), 0)


def _jid(values: list[str]) -> JID:
    try:
        return JID.parse(values[0])
    except InvalidJID as error:
        raise StanzaError("jid-malformed", text=str(error)) from error


def _id(values: list[str]) -> int:
    """An id that we have given; anything else names no message of ours."""
    text = values[0]
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > HIGHEST:
        raise StanzaError("item-not-found")
    return int(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise StanzaError("bad-request", text="max is a number")
    return int(text)


def form(*, text: bool) -> str:
    """The form that a client may fill in (XEP-0313 §4.1.5)."""
    names = {**FIELDS, **dict.fromkeys(TEXT_FIELDS if text else (), "text-single")}
    fields = "".join(f"<field type='{kind}' var='{escape(name)}'/>" for name, kind in names.items())
    head = f"<field type='hidden' var='FORM_TYPE'><value>{ns.MAM}</value></field>"
    return (
        f"<query xmlns='{ns.MAM}'><x xmlns='{ns.DATA_FORMS}' type='form'>{head}{fields}</x></query>"
    )
