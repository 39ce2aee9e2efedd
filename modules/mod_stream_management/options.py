"""Options of mod_stream_management."""

from dataclasses import dataclass

from mongoosetw.config.options import Infinity, option, section


@dataclass(frozen=True)
class StaleOptions:
    """What is remembered of sessions that are over."""

    enabled: bool = option(
        False,
        doc="Tell a client that comes back too late how many of its stanzas were handled.",
    )
    repeat_after: int = option(
        1800, minimum=1, unit="seconds", doc="How often what is too old is forgotten."
    )
    geriatric: int = option(
        3600, minimum=1, unit="seconds", doc="How old is too old."
    )


@dataclass(frozen=True)
class StreamManagementOptions:
    """Options of mod_stream_management."""

    backend: str = option(
        "memory",
        choices=("memory", "mnesia", "cets"),
        doc="Where it is noted which session a client may resume: in memory; MongooseIM's names "
        "mean the same here.",
    )
    buffer: bool = option(
        True,
        doc="Keep stanzas until the client has acknowledged them; without, nothing can be resumed.",
    )
    buffer_max: int | Infinity = option(
        100,
        minimum=1,
        doc="Stanzas that may wait for one client's acknowledgement. Beyond, messages stay in the "
        "message log alone and the session cannot be resumed; those that are not in the log end "
        "the stream. A client is given five seconds to acknowledge, and as many to come back.",
    )
    ack: bool = option(True, doc="Ask clients for acknowledgements.")
    ack_freq: int = option(
        1,
        minimum=1,
        doc="How many stanzas are worth a request. It is made when the line falls idle, at once "
        "when many have gathered or the client is inactive; fewer wait some seconds.",
    )
    resume_timeout: int = option(
        600, minimum=1, unit="seconds", doc="How long a session waits for its client."
    )
    location: str = option(
        "", doc="Host and port where clients should come back, such as a node's own address."
    )
    stale_h: StaleOptions = section(StaleOptions, "Counts of sessions that are over.")
