"""Options of mod_mam."""

from dataclasses import dataclass

from mongoosetw.config.options import Infinity, option, section


@dataclass(frozen=True)
class RetentionOptions:
    """How long archives keep messages."""

    max_age: int | Infinity = option(
        float("inf"), minimum=1, unit="days", doc="Messages older than this are removed."
    )
    max_messages: int | Infinity = option(
        float("inf"), minimum=1, doc="Of each archive, only the newest so many are kept."
    )


@dataclass(frozen=True)
class PMOptions:
    """Archives of one-to-one messages."""

    archive_groupchats: bool = option(False, doc="Archive what rooms send to their occupants.")
    no_stanzaid_element: bool = option(
        False, doc="Do not tell recipients a message's id in their archive (XEP-0359)."
    )


@dataclass(frozen=True)
class MAMOptions:
    """Options of mod_mam."""

    backend: str = option("rdbms", choices=("rdbms",), doc="Where messages are kept.")
    archive_chat_markers: bool = option(False, doc="Archive chat markers (XEP-0333).")
    message_retraction: bool = option(
        True, doc="Put a tombstone in the place of a message that its sender retracts (XEP-0424)."
    )
    full_text_search: bool = option(True, doc="Let clients search for words.")
    default_result_limit: int = option(
        50, minimum=1, doc="Messages of a page when the client names no number."
    )
    max_result_limit: int = option(50, minimum=1, doc="Most messages of a page.")
    enforce_simple_queries: bool = option(False, doc="Never count how many messages match a query.")
    pm: PMOptions = section(PMOptions, "One-to-one messages.")
    retention: RetentionOptions = section(RetentionOptions, "How long messages are kept.")
