"""The messages that virtual users send, and what became of them."""

from dataclasses import dataclass, field

from mongoosetw.xmpp.jid import JID


@dataclass
class Receipt:
    """One arrival of a message.

    :ivar binding: which session of the device it was, and since when.
    :ivar available: the session was available.
    """

    device: JID
    binding: int
    bound_at: float
    stanza_id: str
    at: float
    available: bool


@dataclass
class Message:
    """One message.

    :ivar binding: which session of the sender's device sent it.
    :ivar acknowledged: the server has told the sender that it has it.
    :ivar returned: it came back as an error.
    """

    number: int
    sender: JID
    binding: int
    to: JID
    at: float
    acknowledged: bool = False
    returned: bool = False
    arrivals: list[Receipt] = field(default_factory=list)

    def __str__(self) -> str:
        return f"message {self.number} from {self.sender} to {self.to}"
