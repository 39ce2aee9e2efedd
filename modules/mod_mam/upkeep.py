"""What happens to archives behind the scenes: search index, retention, retraction, commands."""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from modules.mod_mam import results, retention, retraction, search
from modules.mod_mam.options import MAMOptions
from modules.mod_mam.query import HIGHEST
from modules.mod_mam.retention import BATCH, Limits
from mongoosetw.control import Args, CommandError
from mongoosetw.ids import first_at
from mongoosetw.messagelog import MessageLog
from mongoosetw.storage.database import Database
from mongoosetw.xmpp.jid import JID
from mongoosetw.xmpp.stanza import Stanza

if TYPE_CHECKING:  # types only
    from mongoosetw.host import Host

_DAY = 86_400
_FEW = 50
"""Messages that become searchable in one go: a commit that comes meanwhile waits for them."""
_PAUSE = 0.03
"""Seconds between two such goes."""
_LONG_PAUSE = 0.5
"""The same while many messages are to be written."""


class Upkeep:
    """Works on the archives of one host."""

    def __init__(
        self,
        host: "Host",
        log: MessageLog,
        db: Database,
        options: MAMOptions,
        later: Callable[..., object],
    ) -> None:
        """
        :param later: calls a function after some seconds, unless the module is stopped before.
        """
        self._later = later
        self._host = host
        self._log = log
        self._db = db
        self._text = options.full_text_search
        keeps = options.retention
        self._limits = Limits(
            None if keeps.max_age == inf else int(keeps.max_age * _DAY),
            None if keeps.max_messages == inf else int(keeps.max_messages),
        )
        self._busy = False

    # -- search

    def follow(self) -> None:
        """Begins to make the words of messages that were logged meanwhile searchable.

        That is done a few at a time: whoever sends a message waits for the same writer. So others
        are let past between two goes, and as long as there are many of them nothing is done. One
        host does it for all, since they share the log.
        """
        if self._text and self._log.reader is None:
            self._log.reader = self
            self._go_on()

    def stop(self) -> None:
        """Leaves that to others."""
        if self._log.reader is self:
            self._log.reader = None

    def _go_on(self) -> None:
        if self._log.busy:
            self._later(_LONG_PAUSE, self._go_on)
        else:
            self._host.in_background(self._go())

    async def _go(self) -> None:
        left = False
        try:
            left = await self._follow(_FEW)
        finally:
            if self._log.reader is self:  # else it was stopped meanwhile
                if left:
                    self._later(_PAUSE, self._go_on)
                else:
                    self._log.reader = None

    async def follow_to_the_end(self) -> None:
        """Makes the words of all messages that are logged searchable, for somebody who waits."""
        while await self._follow(search.BATCH):
            pass

    async def _follow(self, most: int) -> bool:
        node = self._host.server.ids.node
        return await self._db.run("mam_follow", lambda c: search.follow(c, node, most))

    # -- retraction

    async def retract(self, stanza: Stanza, user: JID, remote: JID) -> None:
        """Follows a retraction that has just been archived for a user."""
        named = retraction.wanted(stanza)
        if not named or stanza.from_ is None:
            return
        await self._log.indexed()
        author, before = stanza.from_.bare, stanza.log.id
        owner, other = self._log.number(user), self._log.number(remote)
        stamp = results.stamp(before)

        await self._db.run(
            "mam_retract",
            lambda c: retraction.retract(
                c,
                owner=owner,
                remote=other,
                author=author,
                named=named,
                by=stanza,
                before=before,
                stamp=stamp,
                text=self._text,
            ),
        )

    # -- retention

    async def purge(self, user: JID, *, before: int) -> int:
        """Removes the messages of an archive below an id; how many those were."""
        await self._log.indexed()
        owner, text, total = self._log.number(user), self._text, 0
        while True:
            gone = await self._db.run(
                "mam_purge", lambda c: retention.purge(c, owner, before, text=text)
            )
            total += gone
            if gone < BATCH:
                return total

    async def let_go(self) -> None:
        """Removes from all archives of the host what they need not keep."""
        if self._busy:
            return
        self._busy = True
        try:
            await self._log.indexed()
            await self._let_go()
        finally:
            self._busy = False

    async def _let_go(self) -> None:
        domain, after = self._host.domain, 0
        while True:
            owners = await self._db.read(
                "mam_owners", partial(retention.owners_of, domain=domain, after=after)
            )
            for owner, jid in owners:
                after = owner
                user = JID.parse(jid)
                if user.domain == domain:  # the database's pattern may match more
                    await self._shorten(user, owner)
            if not owners:
                return

    async def _shorten(self, user: JID, owner: int) -> None:
        limits = await self._limits_of(user)
        before = 0
        if limits.max_age is not None:
            before = first_at(max(0, int((time.time() - limits.max_age) * 1e6)))
        if limits.max_messages is not None:
            keep = limits.max_messages
            newest = await self._db.read(
                "mam_newest_to_go", lambda c: retention.newest_to_go(c, owner, keep)
            )
            before = max(before, (newest or 0) + 1)
        if before > 1:
            await self.purge(user, before=before)

    async def _limits_of(self, user: JID) -> Limits:
        own = await self._db.read(
            "mam_retention", lambda c: retention.override(c, user.domain, user.local or "")
        )
        return self._limits.over(*own)

    # -- commands

    async def statistics(self, user: JID) -> dict[str, object]:
        """How many messages an archive has, and since when."""
        await self._log.indexed()
        owner = self._log.number(user)
        count, first, last = await self._db.read(
            "mam_statistics", lambda c: retention.statistics(c, owner)
        )
        return {
            "messages": count,
            "first": None if first is None else results.stamp(first),
            "last": None if last is None else results.stamp(last),
        }

    async def purge_by(self, args: Args) -> dict[str, object]:
        """Removes messages of an archive.

        :raises CommandError: a time or number is malformed.
        """
        user = JID.parse(args["jid"]).bare
        before = HIGHEST
        if "before" in args:
            before = first_at(int(_time(args["before"]) * 1e6))
        if "keep" in args:
            await self._log.indexed()
            owner, keep = self._log.number(user), _number(args["keep"])
            newest = await self._db.read(
                "mam_newest_to_go", lambda c: retention.newest_to_go(c, owner, keep)
            )
            before = min(before, (newest or 0) + 1)
        return {"jid": str(user), "removed": await self.purge(user, before=before)}

    async def retention_of(self, args: Args) -> dict[str, object]:
        """Shows or sets what one user's archive keeps.

        :raises CommandError: a number is malformed.
        """
        user = JID.parse(args["jid"]).bare
        if "max-age" in args or "max-messages" in args:
            age, most = args.get("max-age"), args.get("max-messages")
            days = None if age is None else _number(age)
            seconds = days if days is None or days < 0 else days * _DAY
            messages = None if most is None else _number(most)
            await self._db.run(
                "mam_set_retention",
                lambda c: retention.set_override(
                    c, user.domain, user.local or "", seconds, messages
                ),
            )
        limits = await self._limits_of(user)
        return {
            "jid": str(user),
            "max_age": None if limits.max_age is None else limits.max_age // _DAY,
            "max_messages": limits.max_messages,
        }

    async def export(self, user: JID) -> list[dict[str, object]]:
        """All messages of an archive, oldest first."""
        await self._log.indexed()
        owner, after = self._log.number(user), 0
        found: list[dict[str, object]] = []
        while True:
            read = partial(retention.export, owner=owner, after=after)
            rows = await self._db.read("mam_export", read)
            for identifier, xml in rows:
                stamp = results.stamp(identifier)
                found.append({"id": str(identifier), "time": stamp, "stanza": xml})
                after = identifier
            if not rows:
                return found


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise CommandError(f"{text!r} is no time such as 2026-01-31T12:00:00Z") from None


def _number(text: str) -> int:
    """A number; -1 for ``infinity``."""
    if text == "infinity":
        return -1
    if not (text.isascii() and text.isdigit()):
        raise CommandError(f"{text!r} is neither a number nor infinity")
    return int(text)
