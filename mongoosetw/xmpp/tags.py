"""Where tags end in well-formed XML."""

import re
from typing import Final

# Possessive, so that the time is linear in the length whatever stands in the tag.
_TAG: Final = re.compile(rb"""(?:[^'">]++|'[^']*+'|"[^"]*+")*+>""")


def tag_end(data: bytes, start: int) -> int:
    """The index behind the tag that begins at ``start``; ``>`` may stand in a value.

    :raises ValueError: there is none.
    """
    tag = _TAG.match(data, start)
    if tag is None:
        raise ValueError("no tag ends here")
    return tag.end()


def start_tag_end(xml: str) -> int:
    """The index behind the start tag that ``xml`` begins with, which has to be well-formed."""
    end = xml.index(">") + 1
    single, double = xml.count("'", 0, end), xml.count('"', 0, end)
    if not (single and double) and (single or double) % 2 == 0:
        return end  # one kind of quotes, all of them closed: not within a value
    data = xml.encode()
    return len(data[: tag_end(data, 0)].decode())
