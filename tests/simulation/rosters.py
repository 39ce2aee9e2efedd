"""Who is subscribed to whom."""

from random import Random

from sqlalchemy import Connection, insert

from modules.mod_roster.store import rosterusers
from mongoosetw.storage.database import Database
from mongoosetw.xmpp.jid import JID

_CONTACTS = 4


class Rosters:
    """The rosters of all users, which stay as they are."""

    def __init__(self, users: list[JID], random: Random) -> None:
        self.users = users
        self._to: dict[JID, dict[JID, None]] = {user: {} for user in users}
        self._from: dict[JID, dict[JID, None]] = {user: {} for user in users}
        for user in users:
            for contact in random.sample(users, min(len(users), _CONTACTS)):
                if contact != user:
                    self._subscribe(user, contact)
                    if random.random() < 0.8:
                        self._subscribe(contact, user)

    def _subscribe(self, user: JID, contact: JID) -> None:
        self._to[user][contact] = None
        self._from[contact][user] = None

    def seen_by(self, user: JID) -> dict[JID, None]:
        """Whose presence a user sees."""
        return self._to[user]

    def store(self, db: Database) -> None:
        """Writes them into the table."""
        rows = [
            {
                "server": user.domain,
                "username": user.local,
                "jid": str(contact),
                "nick": "",
                "subscription": self._letter(user, contact),
                "ask": "N",
                "askmessage": "",
                "listed": True,
            }
            for user in self.users
            for contact in dict.fromkeys((*self._to[user], *self._from[user]))
        ]

        def write(connection: Connection) -> None:
            connection.execute(insert(rosterusers), rows)

        db.run("rosters", write)

    def _letter(self, user: JID, contact: JID) -> str:
        to, from_ = contact in self._to[user], contact in self._from[user]
        return "B" if to and from_ else "T" if to else "F"
