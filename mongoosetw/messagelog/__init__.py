"""The message log: all messages that are kept, each once, for archives and offline delivery."""

from mongoosetw.messagelog.entry import Entry
from mongoosetw.messagelog.log import MessageLog, marked, with_id
from mongoosetw.messagelog.reading import Pending

__all__ = ["Entry", "MessageLog", "Pending", "marked", "with_id"]
