"""Paths of Unix sockets, which are bounded."""

import os
from pathlib import Path
from typing import Final

MAX_PATH: Final = 107
"""Bytes of the longest path that a Unix socket can have (unix(7))."""


class PathTooLong(OSError):
    """A control socket cannot have this path."""


def check_path(path: Path) -> None:
    """Check that a Unix socket can have a path.

    :raises PathTooLong: it has more bytes than ``sockaddr_un`` holds.
    """
    length = len(os.fsencode(path))
    if length > MAX_PATH:
        raise PathTooLong(
            f"the path of the control socket has {length} bytes, at most {MAX_PATH} are possible:"
            f" {path}; choose a shorter general.data_dir or general.control_socket"
        )
