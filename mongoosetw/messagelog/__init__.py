"""The message log: all messages that are kept, each once, for archives and offline delivery."""

from mongoosetw.messagelog.entry import Entry
from mongoosetw.messagelog.log import MessageLog
from mongoosetw.messagelog.reading import Pending
from mongoosetw.messagelog.stamp import marked, with_id

__all__ = ["Entry", "MessageLog", "Pending", "marked", "with_id"]
