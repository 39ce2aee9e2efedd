"""What users want archived (XEP-0441, formerly of XEP-0313), and where that is kept."""

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Column, Connection, String, Table, bindparam, delete, insert, select

from mongoosetw.storage.database import Database
from mongoosetw.storage.schema import metadata
from mongoosetw.xmpp.jid import JID

Mode = Literal["always", "never", "roster"]
_LETTERS: Final[dict[str, str]] = {"always": "A", "never": "N", "roster": "R"}
_MODES: Final[dict[str, Mode]] = {"A": "always", "N": "never", "R": "roster"}

mam_config = Table(
    "mam_config",
    metadata,
    Column("server", String(250), primary_key=True),
    Column("username", String(250), primary_key=True),
    Column("remote_jid", String(3071), primary_key=True),
    Column("behaviour", String(1), nullable=False),
)
_MINE = (mam_config.c.server == bindparam("k_server")) & (
    mam_config.c.username == bindparam("k_username")
)
_GET = select(mam_config.c.remote_jid, mam_config.c.behaviour).where(_MINE)
_CLEAR = delete(mam_config).where(_MINE)
_ADD = insert(mam_config)


@dataclass(frozen=True, slots=True)
class Prefs:
    """A user's archiving preferences.

    :ivar default: what happens to messages with others than these.
    :ivar always: JIDs with whom messages are archived in any case; ``never``: in no case.
    """

    default: Mode = "always"
    always: frozenset[JID] = frozenset()
    never: frozenset[JID] = frozenset()

    def wants(self, remote: JID) -> bool | None:
        """Whether messages with somebody are archived; None: if they are in the roster."""
        if remote in self.never or remote.bare in self.never:
            return False
        if remote in self.always or remote.bare in self.always:
            return True
        return None if self.default == "roster" else self.default == "always"


class PrefsStore:
    """Preferences by account (bare JID), kept as MongooseIM does: one row for each JID."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, user: JID) -> Prefs | None:
        """A user's preferences, None if they have set none."""

        def work(connection: Connection) -> list[tuple[str, str]]:
            return [(r.remote_jid, r.behaviour) for r in connection.execute(_GET, _key(user))]

        rows = await self._db.read("mam_prefs_get", work)
        if not rows:
            return None
        by_letter: dict[str, set[JID]] = {"A": set(), "N": set()}
        default: Mode = "always"
        for jid, letter in rows:
            if jid:
                by_letter[letter].add(JID.parse(jid))
            else:
                default = _MODES[letter]
        return Prefs(default, frozenset(by_letter["A"]), frozenset(by_letter["N"]))

    async def put(self, user: JID, prefs: Prefs) -> None:
        """Stores preferences in place of what there was."""
        owner = {"server": user.domain, "username": user.local}
        letters = [("", _LETTERS[prefs.default])]
        letters += [(str(jid), "A") for jid in prefs.always]
        letters += [(str(jid), "N") for jid in prefs.never - prefs.always]
        rows = [{**owner, "remote_jid": jid, "behaviour": letter} for jid, letter in letters]

        def work(connection: Connection) -> None:
            connection.execute(_CLEAR, _key(user))
            connection.execute(_ADD, rows)

        await self._db.run("mam_prefs_put", work)

    async def remove(self, user: JID) -> None:
        """Forgets a user's preferences."""
        await self._db.run("mam_prefs_remove", lambda c: c.execute(_CLEAR, _key(user)) and None)


def _key(user: JID) -> dict[str, str | None]:
    return {"k_server": user.domain, "k_username": user.local}
