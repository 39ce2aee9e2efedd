"""A program that wants a terminal, and somebody who types."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from pathlib import Path

ROWS, COLUMNS = 50, 160


class Terminal:
    """Runs a program in a terminal of its own; what it shows is read and dropped.

    :ivar process: the program.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        """
        :param folder: the program's home.
        """
        self._keyboard, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        surroundings = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
        }
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=surroundings,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
        )
        os.close(screen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while os.read(self._keyboard, 65536):
                pass
        except OSError:
            pass  # the program has ended

    def type(self, *lines: str) -> None:
        """Types lines."""
        for line in lines:
            os.write(self._keyboard, f"{line}\n".encode())

    def close(self) -> None:
        """Ends the program, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._keyboard)
